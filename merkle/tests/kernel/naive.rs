//! The tree as RFC 6962 defines it, by recursion over all leaves; and a tree kept by [`Frontier`], whose nodes are
//! looked up as a server looks them up.

use std::{collections::HashMap, ops::Range};

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeHead, TreeSize,
    proof::{ConsistencyProof, InclusionProof},
    tile::{TileId, TileTree},
};

/// RFC 6962, section 2.1, as it is written, over the leaves in a range.
pub(crate) struct Naive {
    leaves: Vec<Hash>,
    roots: HashMap<Range<usize>, Hash>,
}

impl Naive {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        Self { leaves: leaves.into_iter().collect(), roots: HashMap::new() }
    }

    /// MTH(D[n]).
    pub(crate) fn root(&mut self, range: Range<usize>) -> Hash {
        if let Some(&root) = self.roots.get(&range) {
            return root;
        }
        let root = match range.len() {
            0 => Hash::of(&[]),
            1 => self.leaves[range.start],
            _ => {
                let (left, right) = halves(&range);
                Hash::of(&[&[0x01], self.root(left).as_bytes(), self.root(right).as_bytes()])
            }
        };
        self.roots.insert(range, root);
        root
    }

    /// PATH(m, D[n]).
    pub(crate) fn inclusion(&mut self, index: usize, range: Range<usize>) -> Vec<Hash> {
        if range.len() == 1 {
            return Vec::new();
        }
        let (left, right) = halves(&range);
        let (mut path, sibling) = if index < left.end {
            (self.inclusion(index, left), right)
        } else {
            (self.inclusion(index, right), left)
        };
        path.push(self.root(sibling));
        path
    }

    /// SUBPROOF(m, D[n], b).
    pub(crate) fn consistency(&mut self, old: usize, range: Range<usize>, known: bool) -> Vec<Hash> {
        if old == range.end {
            return if known { Vec::new() } else { vec![self.root(range)] };
        }
        let (left, right) = halves(&range);
        let (mut proof, other) = if old <= left.end {
            (self.consistency(old, left, known), right)
        } else {
            (self.consistency(old, right, false), left)
        };
        proof.push(self.root(other));
        proof
    }
}

fn halves(range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let mut split = 1;
    while 2 * split < range.len() {
        split *= 2;
    }
    let middle = range.start + split;
    (range.start..middle, middle..range.end)
}

/// A tree as a log keeps it: the right edge in memory, full tiles elsewhere.
pub(crate) struct Tree {
    pub(crate) leaves: Vec<Hash>,
    edge: Frontier,
    full: HashMap<TileId, TileTree>,
}

impl Tree {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self { leaves: Vec::new(), edge: Frontier::new(), full: HashMap::new() };
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        self.leaves.push(leaf);
        self.edge.push(leaf, |tile| drop(self.full.insert(tile.id, tile.tree))).unwrap();
    }

    pub(crate) fn head(&self) -> TreeHead {
        self.edge.head()
    }

    /// The hash of a complete node.
    pub(crate) fn node(&self, node: NodeId) -> Hash {
        let stored = || self.full.get(&TileId::of(node))?.tree_node(node);
        self.edge.node(node).or_else(stored).expect("only complete nodes are asked for")
    }

    pub(crate) fn nodes(&self, nodes: &[NodeId]) -> Vec<Hash> {
        nodes.iter().map(|&node| self.node(node)).collect()
    }

    /// The proof of a leaf in the whole tree.
    pub(crate) fn inclusion(&self, index: u64) -> InclusionProof {
        let (index, size) = (LeafIndex::new(index).unwrap(), self.edge.size());
        let nodes = InclusionProof::nodes(index, size).unwrap();
        InclusionProof::from_nodes(index, size, &self.nodes(&nodes)).unwrap()
    }

    /// The proof that the whole tree starts with its first `old` leaves.
    pub(crate) fn consistency(&self, old: u64) -> ConsistencyProof {
        let (old, new) = (size(old), self.edge.size());
        let nodes = ConsistencyProof::nodes(old, new).unwrap();
        ConsistencyProof::from_nodes(old, new, &self.nodes(&nodes)).unwrap()
    }
}

pub(crate) fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

/// Leaf `index` of a tree whose leaves are all different.
pub(crate) fn leaf(index: u64) -> Hash {
    Hash::leaf(&index.to_be_bytes())
}

/// The hash with one bit changed.
pub(crate) fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::new(bytes)
}

//! Proofs that a subtree is in a tree: inclusion and consistency are its two ends (RFC 6962, sections 2.1.1 and
//! 2.1.2; verification as in RFC 9162 and draft-ietf-plants-merkle-tree-certs, section 4).
//!
//! Building is "which nodes, then fold": [`InclusionProof::nodes`] says which hashes are needed, the caller
//! fetches them however it likes, [`InclusionProof::from_nodes`] folds them into the proof.

use crate::{
    hash::Hash,
    tree::{LeafIndex, NodeId, Subtree, TreeError, TreeHead, TreeSize, low_u8},
};

/// The most hashes a proof can have: one a level of the largest tree, and one more where a consistency proof
/// starts below the old tree's root.
pub const PROOF_HASHES_MAX: usize = 41;

/// The most nodes that a proof is built from: the ragged edge is folded of one a level.
const NODES_MAX: usize = 78;

/// Proof that a tree has a certain leaf at a certain index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    index: LeafIndex,
    size: TreeSize,
    hashes: Vec<Hash>,
}

impl InclusionProof {
    /// The nodes whose hashes prove leaf `index` in a tree of `size` leaves, in the order in which
    /// [`InclusionProof::from_nodes`] takes them. At most 78 nodes.
    pub fn nodes(index: LeafIndex, size: TreeSize) -> Result<Vec<NodeId>, TreeError> {
        check_index(index, size)?;
        Ok(cover_all(siblings(Subtree::leaf(index), size)))
    }

    /// The proof, from the hashes of [`InclusionProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(index: LeafIndex, size: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_index(index, size)?;
        Ok(Self { index, size, hashes: fold_all(siblings(Subtree::leaf(index), size), hashes) })
    }

    /// A proof as somebody sent it: nothing is checked but its place in the tree.
    pub fn new(index: LeafIndex, size: TreeSize, hashes: Vec<Hash>) -> Result<Self, TreeError> {
        check_index(index, size)?;
        Ok(Self { index, size, hashes })
    }

    /// The leaf's index.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The tree's size.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Sibling hashes, leaf side first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Checks that the tree with this root has a leaf of this hash at [`InclusionProof::index`].
    pub fn verify(&self, leaf: Hash, root: Hash) -> Result<(), ProofError> {
        verify(Subtree::leaf(self.index), self.size, &self.hashes, leaf, root)
    }
}

fn check_index(index: LeafIndex, size: TreeSize) -> Result<(), TreeError> {
    if index.get() < size.get() { Ok(()) } else { Err(TreeError::OutOfRange { index, size }) }
}

/// Proof that a tree grew from another by appending alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    old: TreeSize,
    new: TreeSize,
    hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// The nodes whose hashes prove that the tree of size `new` starts with the one of size `old`, in the order in
    /// which [`ConsistencyProof::from_nodes`] takes them. None for equal sizes, and none from the empty tree.
    pub fn nodes(old: TreeSize, new: TreeSize) -> Result<Vec<NodeId>, TreeError> {
        check_order(old, new)?;
        Ok(cover_all(siblings(Subtree::whole(old), new)))
    }

    /// The proof, from the hashes of [`ConsistencyProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(old: TreeSize, new: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_order(old, new)?;
        Ok(Self { old, new, hashes: fold_all(siblings(Subtree::whole(old), new), hashes) })
    }

    /// A proof as somebody sent it: nothing is checked but the order of the sizes.
    pub fn new(old: TreeSize, new: TreeSize, hashes: Vec<Hash>) -> Result<Self, TreeError> {
        check_order(old, new)?;
        Ok(Self { old, new, hashes })
    }

    /// The smaller size.
    pub const fn old(&self) -> TreeSize {
        self.old
    }

    /// The larger size.
    pub const fn new_size(&self) -> TreeSize {
        self.new
    }

    /// The proof's hashes, as RFC 6962 orders them.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Checks that the tree `new_root` starts with the tree `old_root`.
    ///
    /// Every tree starts with the empty one, so from size 0 this says nothing about a `new_root` of another size.
    pub fn verify(&self, old_root: Hash, new_root: Hash) -> Result<(), ProofError> {
        verify(Subtree::whole(self.old), self.new, &self.hashes, old_root, new_root)
    }
}

fn check_order(old: TreeSize, new: TreeSize) -> Result<(), TreeError> {
    if old <= new { Ok(()) } else { Err(TreeError::Backwards { old, new }) }
}

/// Proof that a tree has a certain subtree: what a cosigner of subtrees is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtreeProof {
    subtree: Subtree,
    size: TreeSize,
    hashes: Vec<Hash>,
}

impl SubtreeProof {
    /// The nodes whose hashes prove `subtree` in a tree of `size` leaves.
    pub fn nodes(subtree: Subtree, size: TreeSize) -> Result<Vec<NodeId>, TreeError> {
        check_within(subtree, size)?;
        Ok(cover_all(siblings(subtree, size)))
    }

    /// The proof, from the hashes of [`SubtreeProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(subtree: Subtree, size: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_within(subtree, size)?;
        Ok(Self { subtree, size, hashes: fold_all(siblings(subtree, size), hashes) })
    }

    /// A proof as somebody sent it: nothing is checked but its place in the tree.
    pub fn new(subtree: Subtree, size: TreeSize, hashes: Vec<Hash>) -> Result<Self, TreeError> {
        check_within(subtree, size)?;
        Ok(Self { subtree, size, hashes })
    }

    /// The proof's hashes.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Checks that the tree with this head has a subtree of this hash.
    pub fn verify(&self, hash: Hash, head: &TreeHead) -> Result<(), ProofError> {
        if head.size != self.size {
            return Err(ProofError::OtherTree { proof: self.size, head: head.size });
        }
        verify(self.subtree, self.size, &self.hashes, hash, head.root)
    }
}

fn check_within(subtree: Subtree, size: TreeSize) -> Result<(), TreeError> {
    if subtree.end() <= size.get() {
        return Ok(());
    }
    Err(TreeError::NotASubtree { start: subtree.start(), end: subtree.end() })
}

/// What a proof's hashes cover, in the order in which [`verify`] takes them (SUBTREE_PROOF of the draft).
///
/// It climbs as [`verify`] does. At most one of the subtrees is not a complete node: the ragged right edge of the tree.
struct Siblings {
    size: TreeSize,
    level: u8,
    /// Places on this level of the subtree's last node, and of the tree's.
    last: u64,
    end: u64,
    /// Whether the node at `last` is part of the subtree only, so that the verifier must be told its hash.
    seed: bool,
}

fn siblings(subtree: Subtree, size: TreeSize) -> Siblings {
    if subtree.start() == subtree.end() {
        return Siblings { size, level: 0, last: 0, end: 0, seed: false };
    }
    let (start, last, end) = (subtree.start(), subtree.end() - 1, size.get() - 1);
    let level = seed_level(start, last, end);
    Siblings { size, level, last: last >> level, end: end >> level, seed: start >> level != last >> level }
}

/// The level of the largest node at the right end of `start..=last` that a verifier can begin with: complete, or as
/// ragged as the tree whose last leaf is `end`.
fn seed_level(start: u64, last: u64, end: u64) -> u8 {
    let within = u64::BITS - (start ^ last).leading_zeros();
    low_u8(if last == end { within } else { within.min(last.trailing_ones()) })
}

impl Siblings {
    fn climb(&mut self, levels: u8) {
        self.level += levels;
        self.last >>= levels;
        self.end >>= levels;
    }
}

impl Iterator for Siblings {
    type Item = Subtree;

    fn next(&mut self) -> Option<Subtree> {
        if std::mem::take(&mut self.seed) {
            return Some(Subtree::of_node(NodeId { level: self.level, index: self.last }, self.size));
        }
        if self.end == 0 {
            return None;
        }
        if self.last == self.end {
            // At the ragged edge, nodes without a sibling are their parents.
            self.climb(low_u8(self.last.trailing_zeros()));
        }
        let sibling = NodeId { level: self.level, index: self.last ^ 1 };
        self.climb(1);
        Some(Subtree::of_node(sibling, self.size))
    }
}

/// Splits at the largest power of two below the length, as RFC 6962 does.
pub(crate) fn halves(tree: Subtree) -> (Subtree, Subtree) {
    let length = tree.end() - tree.start();
    assert!(length > 1, "a leaf has no halves");
    let middle = tree.start() + length.next_power_of_two() / 2;
    let part = |start, end| Subtree::new(start, end).expect("halves of a subtree are subtrees");
    (part(tree.start(), middle), part(middle, tree.end()))
}

pub(crate) fn cover_all(subtrees: impl IntoIterator<Item = Subtree>) -> Vec<NodeId> {
    let mut nodes = Vec::with_capacity(NODES_MAX);
    for subtree in subtrees {
        nodes.extend(subtree.complete_nodes());
    }
    nodes
}

pub(crate) fn fold_all(subtrees: impl IntoIterator<Item = Subtree>, hashes: &[Hash]) -> Vec<Hash> {
    let mut rest = hashes;
    let mut folded = Vec::with_capacity(PROOF_HASHES_MAX);
    for subtree in subtrees {
        let length = (subtree.end() - subtree.start()).count_ones() as usize;
        let (own, others) = rest.split_at(length);
        rest = others;
        folded.push(Subtree::fold(own));
    }
    assert!(rest.is_empty(), "one hash for each requested node");
    folded
}

/// Subtree verification of the draft: walks from `subtree` to the root, hashing what the proof gives.
fn verify(
    subtree: Subtree,
    size: TreeSize,
    proof: &[Hash],
    hash: Hash,
    root: Hash,
) -> Result<(), ProofError> {
    if subtree.start() == subtree.end() {
        return if !proof.is_empty() {
            Err(ProofError::TooLong)
        } else if hash != Hash::EMPTY_ROOT {
            Err(ProofError::SubtreeMismatch { expected: hash, computed: Hash::EMPTY_ROOT })
        } else if size == TreeSize::ZERO && root != Hash::EMPTY_ROOT {
            Err(ProofError::RootMismatch { expected: root, computed: Hash::EMPTY_ROOT })
        } else {
            Ok(())
        };
    }
    let (mut first, mut last, mut end) = (subtree.start(), subtree.end() - 1, size.get() - 1);
    let level = seed_level(first, last, end);
    (first, last, end) = (first >> level, last >> level, end >> level);
    let mut rest = proof.iter();
    let seed = if first == last { hash } else { *rest.next().ok_or(ProofError::TooShort)? };
    let (mut of_subtree, mut of_tree) = (seed, seed);
    for &sibling in rest {
        if end == 0 {
            return Err(ProofError::TooLong);
        }
        if last & 1 == 1 || last == end {
            if first < last {
                of_subtree = Hash::node(sibling, of_subtree);
            }
            of_tree = Hash::node(sibling, of_tree);
            while last & 1 == 0 {
                (first, last, end) = (first >> 1, last >> 1, end >> 1);
            }
        } else {
            of_tree = Hash::node(of_tree, sibling);
        }
        (first, last, end) = (first >> 1, last >> 1, end >> 1);
    }
    if end != 0 {
        return Err(ProofError::TooShort);
    }
    if of_subtree != hash {
        return Err(ProofError::SubtreeMismatch { expected: hash, computed: of_subtree });
    }
    if of_tree != root {
        return Err(ProofError::RootMismatch { expected: root, computed: of_tree });
    }
    Ok(())
}

/// Why a proof does not hold. None of these proves misbehaviour: anybody can send a bad proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof ends before the root.
    #[error("the proof has too few hashes")]
    TooShort,
    /// The proof goes on after the root.
    #[error("the proof has too many hashes")]
    TooLong,
    /// The hashes lead to another root.
    #[error("the proof leads to root {computed}, not {expected}")]
    RootMismatch {
        /// The root that was to be reached.
        expected: Hash,
        /// The root that the proof gives.
        computed: Hash,
    },
    /// The hashes give the older tree, or the subtree, another hash.
    #[error("the proof gives the older tree root {computed}, not {expected}")]
    SubtreeMismatch {
        /// What the older tree or subtree was to hash to.
        expected: Hash,
        /// What the proof makes of it.
        computed: Hash,
    },
    /// The proof is for a tree of another size.
    #[error("the proof is for size {proof}, the tree head for {head}")]
    OtherTree {
        /// Size that the proof is for.
        proof: TreeSize,
        /// Size of the tree head.
        head: TreeSize,
    },
}

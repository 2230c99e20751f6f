//! Proofs that a subtree is in a tree: inclusion and consistency are its two ends (RFC 6962, sections 2.1.1 and
//! 2.1.2; verification as in RFC 9162 and draft-ietf-plants-merkle-tree-certs, section 4).
//!
//! Building is "which nodes, then fold": [`InclusionProof::nodes`] says which hashes are needed, the caller
//! fetches them however it likes, [`InclusionProof::from_nodes`] folds them into the proof.

use crate::{
    hash::Hash,
    tree::{LeafIndex, NodeId, Subtree, TreeError, TreeHead, TreeSize},
};

/// The most hashes a proof can have: one a level of the largest tree, and one more where a consistency proof
/// starts below the old tree's root.
pub const PROOF_HASHES_MAX: usize = 41;

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
        Ok(cover_all(&siblings(Subtree::leaf(index), size)))
    }

    /// The proof, from the hashes of [`InclusionProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(index: LeafIndex, size: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_index(index, size)?;
        Ok(Self { index, size, hashes: fold_all(&siblings(Subtree::leaf(index), size), hashes) })
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
        Ok(cover_all(&siblings(Subtree::whole(old), new)))
    }

    /// The proof, from the hashes of [`ConsistencyProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(old: TreeSize, new: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_order(old, new)?;
        Ok(Self { old, new, hashes: fold_all(&siblings(Subtree::whole(old), new), hashes) })
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
        Ok(cover_all(&siblings(subtree, size)))
    }

    /// The proof, from the hashes of [`SubtreeProof::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(subtree: Subtree, size: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        check_within(subtree, size)?;
        Ok(Self { subtree, size, hashes: fold_all(&siblings(subtree, size), hashes) })
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

/// SUBTREE_PROOF of the draft, with each hash named by the leaves it covers.
fn siblings(subtree: Subtree, size: TreeSize) -> Vec<Subtree> {
    let mut found = Vec::new();
    if subtree.start() < subtree.end() {
        let whole = Subtree::whole(size);
        descend(subtree, whole, true, &mut found);
    }
    found
}

/// One step of the recursion: `within` holds `subtree`; `known` says that the verifier has the hash of `subtree`.
fn descend(subtree: Subtree, within: Subtree, known: bool, found: &mut Vec<Subtree>) {
    if subtree == within {
        if !known {
            found.push(within);
        }
        return;
    }
    let (left, right) = halves(within);
    if subtree.end() <= left.end() {
        descend(subtree, left, known, found);
        found.push(right);
    } else if subtree.start() >= right.start() {
        descend(subtree, right, known, found);
        found.push(left);
    } else {
        // Only the start of `within` can straddle the split: the left half is whole, and the verifier must be told
        // of the rest.
        let rest = Subtree::new(right.start(), subtree.end()).expect("the start of a right half is aligned");
        descend(rest, right, false, found);
        found.push(left);
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

pub(crate) fn cover_all(subtrees: &[Subtree]) -> Vec<NodeId> {
    subtrees.iter().flat_map(|subtree| subtree.cover()).collect()
}

pub(crate) fn fold_all(subtrees: &[Subtree], hashes: &[Hash]) -> Vec<Hash> {
    let mut rest = hashes;
    let folded = subtrees
        .iter()
        .map(|subtree| {
            let length = (subtree.end() - subtree.start()).count_ones() as usize;
            let (own, others) = rest.split_at(length);
            rest = others;
            Subtree::fold(own)
        })
        .collect();
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
    // Skip to the largest complete node at the right end of the subtree: what the proof starts from.
    if last == end {
        while first != last {
            (first, last, end) = (first >> 1, last >> 1, end >> 1);
        }
    } else {
        while first != last && last & 1 == 1 {
            (first, last, end) = (first >> 1, last >> 1, end >> 1);
        }
    }
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

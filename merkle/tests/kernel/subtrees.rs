//! The accumulated test vectors of draft-ietf-plants-merkle-tree-certs, appendix "Subtree Test Vectors": SHA-256 of
//! one line for each case over trees of up to 130 leaves, leaf i being the one byte i.

use std::fmt::Write as _;

use counterfoil_merkle::{
    Hash, LeafIndex, NodeId, TreeHead,
    proof::{InclusionProof, SubtreeProof},
    tree::{Subtree, covering_pair},
};

use crate::naive::{Tree, flipped, size};

const SIZE_MAX: u8 = 130;

fn tree() -> Tree {
    Tree::of((0..SIZE_MAX).map(|byte| Hash::leaf(&[byte])))
}

fn subtrees(end_max: u64) -> impl Iterator<Item = Subtree> {
    (0..=end_max).flat_map(|end| (0..=end).filter_map(move |start| Subtree::new(start, end).ok()))
}

fn line(accumulated: &mut String, case: &str, hashes: &[Hash]) {
    accumulated.push_str(case);
    for hash in hashes {
        write!(accumulated, " {hash}").unwrap();
    }
    accumulated.push('\n');
}

fn digest(accumulated: &str) -> String {
    Hash::of(&[accumulated.as_bytes()]).to_string()
}

#[test]
fn subtree_hashes() {
    let tree = tree();
    let mut lines = String::new();
    for subtree in subtrees(SIZE_MAX.into()) {
        let hash = Subtree::fold(&tree.nodes(&subtree.cover()));
        line(&mut lines, &format!("[{}, {})", subtree.start(), subtree.end()), &[hash]);
    }
    assert_eq!(digest(&lines), "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81");
}

/// The inclusion proof of a leaf in a subtree is that in a tree of its own, and verifies there.
#[test]
fn subtree_inclusion() {
    let tree = tree();
    let mut lines = String::new();
    for subtree in subtrees(SIZE_MAX.into()) {
        let (start, length) = (subtree.start(), size(subtree.end() - subtree.start()));
        let root = Subtree::fold(&tree.nodes(&subtree.cover()));
        for index in start..subtree.end() {
            let within = LeafIndex::new(index - start).unwrap();
            let shifted = |node: &NodeId| NodeId { index: node.index + (start >> node.level), ..*node };
            let nodes: Vec<_> = InclusionProof::nodes(within, length).unwrap().iter().map(shifted).collect();
            let proof = InclusionProof::from_nodes(within, length, &tree.nodes(&nodes)).unwrap();
            let leaf = tree.leaves[usize::try_from(index).unwrap()];
            assert_eq!(proof.verify(leaf, root), Ok(()));
            line(&mut lines, &format!("{index} [{start}, {})", subtree.end()), proof.hashes());
        }
    }
    assert_eq!(digest(&lines), "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f");
}

/// Every subtree proof is the draft's, verifies, and stops doing so once a hash, or what it proves, is changed.
#[test]
fn subtree_consistency() {
    let whole = tree();
    let mut lines = String::new();
    let mut tree = Tree::of([]);
    for n in 0..=u64::from(SIZE_MAX) {
        let head = tree.head();
        for subtree in subtrees(n) {
            let nodes = SubtreeProof::nodes(subtree, head.size).unwrap();
            let proof = SubtreeProof::from_nodes(subtree, head.size, &tree.nodes(&nodes)).unwrap();
            let hash = Subtree::fold(&tree.nodes(&subtree.cover()));
            assert_eq!(proof.verify(hash, &head), Ok(()));
            if n <= 34 || n >= 129 {
                refuses_changes(subtree, &proof, hash, &head);
            }
            line(&mut lines, &format!("[{}, {}) {n}", subtree.start(), subtree.end()), proof.hashes());
        }
        assert!(SubtreeProof::new(Subtree::new(n + 1, n + 1).unwrap(), head.size, vec![]).is_err());
        if let Some(&leaf) = whole.leaves.get(tree.leaves.len()) {
            tree.push(leaf);
        }
    }
    assert_eq!(digest(&lines), "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74");
}

fn refuses_changes(subtree: Subtree, proof: &SubtreeProof, hash: Hash, head: &TreeHead) {
    assert!(proof.verify(flipped(hash, 7), head).is_err());
    for at in 0..proof.hashes().len() {
        let mut hashes = proof.hashes().to_vec();
        hashes[at] = flipped(hashes[at], 19 * at);
        let changed = SubtreeProof::new(subtree, head.size, hashes).unwrap();
        assert!(changed.verify(hash, head).is_err());
    }
}

#[test]
fn covering_pairs() {
    let mut lines = String::new();
    for end in 0..=u64::from(SIZE_MAX) {
        for start in 0..=end {
            let (left, right) = covering_pair(start, end).unwrap();
            assert!(left.start() <= start && left.end() == right.start() && right.end() == end);
            let case = format!("[{}, {}) [{}, {})", left.start(), left.end(), right.start(), right.end());
            line(&mut lines, &case, &[]);
        }
    }
    assert_eq!(digest(&lines), "7fd9c8b926e9d2b5cf831560e8ce295a5ef97ad5c5ede4ea0dea28a8c8fc8bb0");
}

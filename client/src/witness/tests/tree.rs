//! A small log: its trees, its forks, and what it would submit.

use counterfoil_merkle::{
    Hash, NodeId, TreeHead, TreeSize,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::Algorithm,
    proof::ConsistencyProof,
    witness::AddCheckpoint,
};

use crate::{
    testlog::{ORIGIN, signer},
    witness::roster::WatchedLog,
};

/// The log as a witness is told of it.
pub(in crate::witness) fn watched() -> WatchedLog {
    let key = signer(ORIGIN, Algorithm::Ed25519).public().clone();
    WatchedLog::new(ORIGIN, vec![key], 1_000_000).unwrap()
}

/// A history of the log: the hashes of its leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::witness) struct Tree(Vec<Hash>);

impl Tree {
    pub(in crate::witness) fn new(size: u64) -> Self {
        let mut tree = Self(Vec::new());
        tree.grow(0, size);
        tree
    }

    /// Appends up to that size what is that branch's own.
    pub(in crate::witness) fn grow(&mut self, branch: u64, size: u64) {
        self.0.extend((self.size()..size).map(|index| Hash::leaf(format!("{branch} {index}").as_bytes())));
    }

    /// Another history, of that size, that has the first `at` leaves in common with this one, and no other.
    pub(in crate::witness) fn forked(&self, at: u64, size: u64) -> Self {
        self.branch(1, at, size)
    }

    /// As [`Tree::forked`], for as many forks of one tree as there are numbers from 1.
    pub(in crate::witness) fn branch(&self, number: u64, at: u64, size: u64) -> Self {
        let mut fork = Self(self.0[..usize::try_from(at).unwrap()].to_vec());
        fork.grow(number, size);
        fork
    }

    /// Whether both are one history as far as that size.
    pub(in crate::witness) fn agrees(&self, other: &Self, size: u64) -> bool {
        let size = usize::try_from(size).unwrap();
        self.0.get(..size).is_some_and(|own| other.0.get(..size) == Some(own))
    }

    pub(in crate::witness) fn size(&self) -> u64 {
        self.0.len() as u64
    }

    pub(in crate::witness) fn head(&self, size: u64) -> TreeHead {
        let root = root(&self.0[..usize::try_from(size).unwrap()]);
        TreeHead { size: TreeSize::new(size).unwrap(), root }
    }

    pub(in crate::witness) fn node(&self, node: NodeId) -> Hash {
        let width = 1 << node.level;
        let start = usize::try_from(node.index).unwrap() * width;
        root(&self.0[start..start + width])
    }

    pub(in crate::witness) fn proof(&self, old: u64, new: u64) -> Vec<Hash> {
        let [old, new] = [old, new].map(|size| TreeSize::new(size).unwrap());
        let nodes = ConsistencyProof::nodes(old, new).unwrap();
        let hashes: Vec<_> = nodes.into_iter().map(|node| self.node(node)).collect();
        ConsistencyProof::from_nodes(old, new, &hashes).unwrap().hashes().to_vec()
    }

    pub(in crate::witness) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let origin = Origin::new(ORIGIN).unwrap();
        Checkpoint::new(origin, self.head(size)).sign(&signer(ORIGIN, Algorithm::Ed25519))
    }

    pub(in crate::witness) fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let proof = if old <= new { self.proof(old, new) } else { Vec::new() };
        self.request_with(old, proof, new)
    }

    pub(in crate::witness) fn request_with(&self, old: u64, proof: Vec<Hash>, new: u64) -> AddCheckpoint {
        AddCheckpoint {
            old: TreeSize::new(old).unwrap(),
            proof,
            checkpoint: self.checkpoint(new).note().clone(),
        }
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::node(root(left), root(right))
        }
    }
}

//! Trees of some tens of thousands of leaves, kept as a log keeps them.

use std::collections::HashMap;

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeSize,
    proof::InclusionProof,
    tile::{TileId, TileTree},
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use crate::{
    dice::Dice,
    oracle::{self, Nodes, size},
};

/// Enough for two full tiles of level 1 and a ragged third.
pub(crate) const LEAVES: u64 = 150_000;

/// A tree of real leaves: full tiles as they filled, and the edge.
pub(crate) struct Log {
    pub(crate) edge: Frontier,
    pub(crate) full: HashMap<TileId, TileTree>,
}

impl Log {
    pub(crate) fn of(leaves: u64) -> Self {
        let mut log = Self { edge: Frontier::new(), full: HashMap::new() };
        (0..leaves).for_each(|index| log.push(index));
        log
    }

    pub(crate) fn push(&mut self, index: u64) {
        let leaf = Hash::leaf(&data(index));
        self.edge.push(leaf, |tile| assert!(self.full.insert(tile.id, tile.tree).is_none())).unwrap();
    }

    pub(crate) fn size(&self) -> TreeSize {
        self.edge.size()
    }
}

pub(crate) fn data(index: u64) -> Vec<u8> {
    format!("receipt-{index}").into_bytes()
}

impl Nodes for Log {
    fn node(&self, node: NodeId) -> Hash {
        let stored = || self.full.get(&TileId::of(node))?.tree_node(node);
        self.edge.node(node).or_else(stored).expect("only complete nodes are asked for")
    }

    fn data(&self, index: u64) -> Vec<u8> {
        data(index)
    }
}

/// Roots and proofs at random sizes of a real tree; its nodes outlive its growth, so one store serves every size.
#[test]
fn proofs_of_a_real_tree_are_the_same() {
    let log = Log::of(LEAVES);
    assert_eq!(log.edge.root(), log.root(log.size()));
    let mut dice = Dice::new("real trees");
    for _ in 0..300 {
        let new = dice.size(LEAVES);
        let old = dice.size(new);
        oracle::agree_on_root(&log, size(new));
        oracle::agree_on_inclusion(&log, dice.below(new), new);
        oracle::agree_on_inclusion(&log, new - 1, new);
        oracle::agree_on_consistency(&log, old, new);
    }
}

/// `ct-merkle` with a tree of its own, from the leaves alone, has the same roots and proofs at every size it passes.
#[test]
fn a_tree_of_their_own_is_the_same() {
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut log = Log::of(0);
    let mut dice = Dice::new("a tree of their own");
    for n in 1..=20_000_u64 {
        theirs.push(data(n - 1));
        log.push(n - 1);
        let near_a_tile = n.wrapping_add(1) % 256 < 3;
        if n > 300 && !near_a_tile && dice.below(64) > 0 {
            continue;
        }
        assert_eq!(log.edge.root().as_bytes().as_slice(), theirs.root().as_bytes().as_slice(), "{n}");
        let index = dice.below(n);
        let place = LeafIndex::new(index).unwrap();
        let nodes = InclusionProof::nodes(place, size(n)).unwrap();
        let proof = InclusionProof::from_nodes(place, size(n), &log.nodes(&nodes)).unwrap();
        let made = theirs.prove_inclusion(usize::try_from(index).unwrap());
        assert_eq!(oracle::concatenated(proof.hashes()), made.as_bytes(), "{index} of {n}");
    }
}

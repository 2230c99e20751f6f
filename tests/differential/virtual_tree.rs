//! Trees of up to 2^40 leaves that nobody stores: all leaves are the same but a few, so a node's hash depends on its
//! level alone unless one of the few lies under it.
//!
//! All three implementations work at 2^40; `ct-merkle` counts leaves in `u64` as far as proofs go.

use std::collections::BTreeSet;

use counterfoil_merkle::{Hash, NodeId, TreeSize};

use crate::{
    dice::Dice,
    oracle::{self, Nodes, size},
};

struct Virtual {
    /// Hash of a node of each level under which all leaves are the same.
    plain: Vec<Hash>,
    special: BTreeSet<u64>,
}

impl Virtual {
    fn new(special: impl IntoIterator<Item = u64>) -> Self {
        let above = |below: &Hash| Some(Hash::node(*below, *below));
        let plain = std::iter::successors(Some(Hash::leaf(b"the same")), above).take(41).collect();
        Self { plain, special: special.into_iter().collect() }
    }
}

impl Nodes for Virtual {
    fn node(&self, node: NodeId) -> Hash {
        let leaves = node.index << node.level..(node.index + 1) << node.level;
        if self.special.range(leaves).next().is_none() {
            self.plain[usize::from(node.level)]
        } else if node.level == 0 {
            Hash::leaf(&self.data(node.index))
        } else {
            let child = |side| NodeId { level: node.level - 1, index: 2 * node.index + side };
            Hash::node(self.node(child(0)), self.node(child(1)))
        }
    }

    fn data(&self, index: u64) -> Vec<u8> {
        if self.special.contains(&index) { index.to_be_bytes().to_vec() } else { b"the same".to_vec() }
    }
}

/// Any sizes up to the largest; every proof is about leaves that differ from their neighbours.
#[test]
fn proofs_of_virtual_trees_are_the_same() {
    let most = TreeSize::MAX.get();
    let mut dice = Dice::new("virtual trees");
    for round in 0..120 {
        let new = if round < 4 { most - round } else { dice.size(most) };
        let old = dice.size(new);
        let (some, last) = (dice.below(new), new - 1);
        let special = [0, 1, some, some ^ 1, old - 1, old, last, dice.below(new), dice.below(new)];
        let tree = Virtual::new(special);
        oracle::agree_on_root(&tree, size(new));
        for index in [0, some, old - 1, last, old.min(last)] {
            oracle::agree_on_inclusion(&tree, index, new);
        }
        for old in [old, 1, new, last.max(1), 1 << old.ilog2()] {
            oracle::agree_on_consistency(&tree, old, new);
        }
    }
}

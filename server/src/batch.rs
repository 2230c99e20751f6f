//! A committed batch, as those see it who wait for its receipts.

use std::sync::Arc;

use counterfoil_merkle::{NodeId, frontier::FullTile, proof::InclusionProof, tile::TileId};

use crate::{publish::View, sequencer::SealedLeaf};

/// A committed batch.
pub struct Batch {
    /// Its entries.
    pub leaves: Vec<SealedLeaf>,
    /// Its publication, if that came with the commit: a log with witnesses publishes later.
    pub published: Option<Published>,
}

/// The published state that a batch led to, with all that its proofs need.
pub struct Published {
    /// The state.
    pub view: Arc<View>,
    /// Hash tiles that the batch filled.
    pub filled: Vec<FullTile>,
}

impl Batch {
    /// Proof of one of its leaves under its own checkpoint, from memory.
    pub fn proof(&self, position: usize) -> Option<(InclusionProof, &View)> {
        let published = self.published.as_ref()?;
        let (index, size) = (self.leaves[position].index, published.view.head().size);
        let nodes = InclusionProof::nodes(index, size).expect("a batch's leaves are in its tree");
        let hashes: Vec<_> = nodes.into_iter().map(|node| published.node(node)).collect();
        let proof = InclusionProof::from_nodes(index, size, &hashes);
        Some((proof.expect("a batch's leaves are in its tree"), &published.view))
    }
}

impl Published {
    fn node(&self, node: NodeId) -> counterfoil_merkle::Hash {
        let id = TileId::of(node);
        let filled = || self.filled.iter().find(|tile| tile.id == id)?.tree.tree_node(node);
        let hash = self.view.edge.frontier.node(node).or_else(filled);
        hash.expect("a new leaf's siblings lie in tiles that its batch touched")
    }
}

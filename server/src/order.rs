//! An erasure as the log has to carry it out: which record orders it, and whose statement goes.

use counterfoil_merkle::{LeafIndex, TreeSize, tile::TILE_WIDTH};

/// An order to erase a statement. It stands in the log, so it is found again at every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The entry whose statement is to go.
    pub target: LeafIndex,
    /// The entry of the record that orders it.
    pub record: LeafIndex,
}

impl Order {
    /// The bundle that the statement is in, and its slot there.
    pub fn place(&self) -> (u64, usize) {
        let slot = usize::try_from(self.target.get() % TILE_WIDTH).expect("below 256");
        (self.target.get() / TILE_WIDTH, slot)
    }

    /// Whether a log of that size has the order: who sees a log without it sees the statement.
    pub const fn is_in(&self, size: TreeSize) -> bool {
        self.record.get() < size.get()
    }
}

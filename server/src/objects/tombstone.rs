//! Settled commits on a store that others can write. Their names stay taken for a while, so that a create of a former
//! life that comes late meets something.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What stands in the place of a settled commit. No commit record is as short as this.
pub(super) const TOMBSTONE: &[u8] = b"counterfoil-settled/v1\n";

/// The tombstones of one store, in the order of their numbers, and since when each is known.
#[derive(Debug, Default)]
pub(super) struct Tombstones(VecDeque<(u64, Instant)>);

impl Tombstones {
    /// One was laid now, or found: then nobody knows how long it has been there.
    pub(super) fn add(&mut self, number: u64) {
        if let Err(at) = self.0.binary_search_by_key(&number, |(number, _)| *number) {
            self.0.insert(at, (number, Instant::now()));
        }
    }

    /// The lowest number, if it has stood for so long.
    pub(super) fn due(&self, stand: Duration) -> Option<u64> {
        self.0.front().filter(|(_, since)| since.elapsed() >= stand).map(|(number, _)| *number)
    }

    /// The lowest one is gone.
    pub(super) fn gone(&mut self) {
        self.0.pop_front();
    }
}

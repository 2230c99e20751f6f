//! Which records were seen, so that one that is logged twice is found.

use std::collections::{HashMap, VecDeque};

use counterfoil_merkle::LeafIndex;

use crate::envelope::Id;

/// Ids of the newest records, as many as asked for: some 60 bytes each.
///
/// They are no part of an audit's lasting state: whoever reads a log from its first leaf can remember all, whoever goes
/// on from where it stopped finds repetitions of what it saw itself.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    max: usize,
    indexes: HashMap<[u8; 16], LeafIndex>,
    order: VecDeque<[u8; 16]>,
}

impl Ids {
    /// Remembers nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Remembers the newest `max` records.
    pub fn newest(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Remembers every record.
    pub fn all() -> Self {
        Self::newest(usize::MAX)
    }

    /// Takes a record; gives the index where it was seen before. Ids are compared by 128 of their 256 bits.
    pub(super) fn insert(&mut self, id: Id, index: LeafIndex) -> Option<LeafIndex> {
        if self.max == 0 {
            return None;
        }
        let (prefix, _) = id.as_bytes().split_first_chunk().expect("an id has 32 bytes");
        if let Some(first) = self.indexes.get(prefix) {
            return Some(*first);
        }
        self.indexes.insert(*prefix, index);
        if self.max < usize::MAX {
            self.order.push_back(*prefix);
            if self.order.len() > self.max
                && let Some(oldest) = self.order.pop_front()
            {
                self.indexes.remove(&oldest);
            }
        }
        None
    }
}

//! Where a receipt is, by its id: a table in memory, made from the entries and never trusted alone.
//!
//! A slot holds the first 8 bytes of an id and a position. What it finds is a candidate: the caller compares all 256
//! bits with the entry itself, so neither damage here nor a forged prefix can pass one receipt off as another.

use std::hash::{BuildHasher as _, RandomState};

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::Id;
use hashbrown::HashTable;

const PREFIX_BYTES: usize = 8;
const POSITION_BYTES: usize = 5;

/// The table: 13 bytes a receipt, and the slack of a hash table.
#[derive(Default)]
pub struct Index {
    slots: HashTable<Slot>,
    size: u64,
    /// Keyed anew in each process, so that nobody can choose ids that all fall into one place.
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    prefix: [u8; PREFIX_BYTES],
    position: [u8; POSITION_BYTES],
}

impl Index {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries it knows: all below that index.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the id of the next entry.
    pub fn push(&mut self, id: &Id) {
        let (prefix, position) = (prefix(id.as_bytes()), position(self.size));
        let hasher = &self.hasher;
        self.slots.insert_unique(hasher.hash_one(prefix), Slot { prefix, position }, |slot| {
            hasher.hash_one(slot.prefix)
        });
        self.size += 1;
    }

    /// Positions of entries whose ids may begin with these bytes, in no particular order. Nearly always none or one.
    ///
    /// # Panics
    /// If fewer than 8 bytes are given.
    pub fn candidates<'a>(&'a self, id: &[u8]) -> impl Iterator<Item = LeafIndex> + use<'a> {
        let prefix = prefix(id);
        self.slots
            .iter_hash(self.hasher.hash_one(prefix))
            .filter(move |slot| slot.prefix == prefix)
            .map(|slot| LeafIndex::new(number(slot.position)).expect("a position is below 2^40"))
    }
}

fn prefix(id: &[u8]) -> [u8; PREFIX_BYTES] {
    *id.first_chunk().expect("an id is looked up by at least 8 bytes")
}

fn position(index: u64) -> [u8; POSITION_BYTES] {
    let [.., a, b, c, d, e] = index.to_be_bytes();
    [a, b, c, d, e]
}

fn number([a, b, c, d, e]: [u8; POSITION_BYTES]) -> u64 {
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every id is found at its position, and two ids with one prefix are both candidates.
    #[test]
    fn every_entry_is_a_candidate() {
        let mut index = Index::new();
        let ids: Vec<_> = (0..5000_u32).map(|n| Id::of_statement(&n.to_be_bytes())).collect();
        for id in &ids {
            index.push(id);
        }
        let mut twin = *ids[17].as_bytes();
        twin[31] ^= 1;
        index.push(&Id::new(counterfoil_merkle::Hash::new(twin)));
        for (position, id) in ids.iter().enumerate() {
            let mut found: Vec<_> = index.candidates(id.as_bytes()).map(LeafIndex::get).collect();
            found.sort_unstable();
            let expected: &[u64] = if position == 17 { &[17, 5000] } else { &[position as u64] };
            assert_eq!(found, expected);
        }
        assert_eq!(index.candidates(Id::of_statement(b"another").as_bytes()).count(), 0);
        assert_eq!(number(position((1 << 40) - 1)), (1 << 40) - 1);
    }
}

//! Where a record is, by its id or its leaf hash: tables in memory, made from the entries and never trusted alone.
//!
//! A table holds the first 5 bytes of a digest and a position. What it finds is a candidate: the caller compares all
//! 256 bits with the entry itself, so neither damage here nor a forged prefix can pass one record off as another.

pub mod runs;
mod table;

use std::thread;

use counterfoil_merkle::{Hash, LeafIndex, TreeSize};
use counterfoil_receipt::{Id, Kind, admission::Ledger};

use self::{
    runs::{RUN_ENTRIES, Run},
    table::Table,
};

/// Of a digest in a run.
const PREFIX_BYTES: usize = 8;

/// The tables of a log: ids and leaf hashes of all its entries, and which of them are clock or erasure records, or decide who
/// may append.
#[derive(Default)]
pub struct Index {
    ids: Table,
    leaves: Table,
    /// Indexes of clock records, rising: one an hour.
    clocks: Vec<u64>,
    /// Indexes of the records that others are judged by, rising: rules, keys and revocations.
    deciding: Vec<u64>,
    /// Indexes of erasure records, rising.
    erasures: Vec<u64>,
    size: u64,
    /// Prefixes of the entries since the last run.
    recent: Run,
}

impl Index {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries it knows: all below that index.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next entry.
    pub fn push(&mut self, id: &Id, leaf: Hash, kind: Kind) {
        if kind == Kind::Clock {
            self.clocks.push(self.size);
        }
        if Ledger::is_changed_by(kind) {
            self.deciding.push(self.size);
        }
        if kind == Kind::Erasure {
            self.erasures.push(self.size);
        }
        self.ids.insert(id.as_bytes(), self.size);
        self.leaves.insert(leaf.as_bytes(), self.size);
        self.recent.ids.push(prefix(id.as_bytes()));
        self.recent.leaves.push(prefix(leaf.as_bytes()));
        self.size += 1;
    }

    /// Makes room for so many entries at once, which is cheaper than to grow again and again.
    pub fn reserve(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let (ids, leaves) = (&mut self.ids, &mut self.leaves);
        thread::scope(|scope| {
            scope.spawn(|| ids.reserve(entries));
            leaves.reserve(entries);
        });
    }

    /// Adds 65,536 entries at once, from a stored run; both tables at the same time.
    ///
    /// # Panics
    /// If the last run is not complete.
    pub fn push_run(&mut self, run: &Run) {
        assert!(self.recent.ids.is_empty(), "runs come before single entries");
        let size = self.size;
        let place = |&position: &u16| size + u64::from(position);
        self.clocks.extend(run.clocks.iter().map(place));
        self.deciding.extend(run.deciding.iter().map(place));
        self.erasures.extend(run.erasures.iter().map(place));
        let (ids, leaves) = (&mut self.ids, &mut self.leaves);
        thread::scope(|scope| {
            scope.spawn(|| ids.insert_all(&run.ids, size));
            leaves.insert_all(&run.leaves, size);
        });
        self.size += RUN_ENTRIES as u64;
    }

    /// The number and content of the oldest run that was not taken yet and lies wholly below `size`.
    pub fn take_run(&mut self, size: TreeSize) -> Option<(u64, Run)> {
        let start = self.size - self.recent.ids.len() as u64;
        if start + RUN_ENTRIES as u64 > size.get().min(self.size) {
            return None;
        }
        let number = start / RUN_ENTRIES as u64;
        let ids = self.recent.ids.split_off(RUN_ENTRIES);
        let leaves = self.recent.leaves.split_off(RUN_ENTRIES);
        let mut run = std::mem::replace(&mut self.recent, Run { ids, leaves, ..Run::default() });
        let inside = |index: &u64| u16::try_from(index.checked_sub(start)?).ok();
        run.clocks = self.clocks.iter().filter_map(inside).collect();
        run.deciding = self.deciding.iter().filter_map(inside).collect();
        run.erasures = self.erasures.iter().filter_map(inside).collect();
        Some((number, run))
    }

    /// Indexes of all clock records, rising.
    pub fn clocks(&self) -> &[u64] {
        &self.clocks
    }

    /// Indexes of all records that others are judged by, rising.
    pub fn deciding(&self) -> &[u64] {
        &self.deciding
    }

    /// Indexes of all erasure records, rising.
    pub fn erasures(&self) -> &[u64] {
        &self.erasures
    }

    /// Positions of entries whose ids may begin with these bytes. Nearly always none or one.
    ///
    /// # Panics
    /// If fewer than 5 bytes are given.
    pub fn ids(&self, id: &[u8]) -> Vec<LeafIndex> {
        self.ids.candidates(id)
    }

    /// Positions of entries that may have this leaf hash. Nearly always none or one.
    pub fn leaves(&self, leaf: Hash) -> Vec<LeafIndex> {
        self.leaves.candidates(leaf.as_bytes())
    }
}

fn prefix<const N: usize>(digest: &[u8]) -> [u8; N] {
    *digest.first_chunk().expect("a digest is looked up by at least 5 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run is taken once it is complete below the size that is asked for, and never twice.
    #[test]
    fn runs_are_taken_below_a_size() {
        let mut index = Index::new();
        let size = |size: usize| TreeSize::new(size as u64).unwrap();
        let clocks = [3, 65_535, 65_536, 131_074];
        let deciding = [0, 65_534, 131_071, 131_076];
        let erasures = [9, 65_537, 131_075];
        for n in 0..2 * RUN_ENTRIES + 5 {
            let leaf = Hash::leaf(&n.to_be_bytes());
            let kind = match n as u64 {
                n if clocks.contains(&n) => Kind::Clock,
                n if deciding.contains(&n) => Kind::Key,
                n if erasures.contains(&n) => Kind::Erasure,
                _ => Kind::Receipt,
            };
            index.push(&Id::new(leaf), leaf, kind);
        }
        assert_eq!(index.take_run(size(RUN_ENTRIES - 1)), None);
        let (number, first) = index.take_run(size(2 * RUN_ENTRIES - 1)).unwrap();
        assert_eq!((number, first.ids.len(), first.leaves.len()), (0, RUN_ENTRIES, RUN_ENTRIES));
        assert_eq!(index.take_run(size(2 * RUN_ENTRIES - 1)), None);
        let (number, second) = index.take_run(size(2 * RUN_ENTRIES)).unwrap();
        assert_eq!(
            (number, first.clocks.as_slice(), second.clocks.as_slice()),
            (1, &[3, 65_535][..], &[0][..])
        );
        assert_eq!(index.take_run(TreeSize::MAX), None);

        // What is loaded again knows the same clock and erasure records, and those that decide.
        let mut again = Index::new();
        again.push_run(&first);
        again.push_run(&second);
        assert_eq!((again.clocks(), index.clocks()), (&clocks[..3], &clocks[..]));
        assert_eq!((again.deciding(), index.deciding()), (&deciding[..3], &deciding[..]));
        assert_eq!((again.erasures(), index.erasures()), (&erasures[..2], &erasures[..]));
    }

    /// Every entry is found at its position by either digest, and two ids with one prefix are both candidates.
    #[test]
    fn every_entry_is_a_candidate() {
        let mut index = Index::new();
        let ids: Vec<_> = (0..5000_u32).map(|n| Id::of_statement(&n.to_be_bytes())).collect();
        for id in &ids {
            index.push(id, Hash::leaf(id.as_bytes()), Kind::Receipt);
        }
        let mut twin = *ids[17].as_bytes();
        twin[31] ^= 1;
        index.push(&Id::new(Hash::new(twin)), Hash::leaf(&twin), Kind::Receipt);
        for (position, id) in ids.iter().enumerate() {
            let numbers = |found: Vec<LeafIndex>| {
                let mut numbers: Vec<_> = found.into_iter().map(LeafIndex::get).collect();
                numbers.sort_unstable();
                numbers
            };
            let expected: &[u64] = if position == 17 { &[17, 5000] } else { &[position as u64] };
            assert_eq!(numbers(index.ids(id.as_bytes())), expected);
            assert_eq!(numbers(index.ids(&id.as_bytes()[..16])), expected);
            assert_eq!(numbers(index.leaves(Hash::leaf(id.as_bytes()))), [position as u64]);
        }
        assert!(index.ids(Id::of_statement(b"another").as_bytes()).is_empty());
    }
}

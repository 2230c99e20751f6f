//! The model: a list of records, and a tree that is computed from nothing each time.

use std::collections::HashMap;

use counterfoil_merkle::Hash;
use counterfoil_receipt::{Entry, Id, Kind, Timestamp};
use counterfoil_server::commit::Item;
use proptest::sample::Index;

use crate::records::Record;

/// One record, as it has to stand in the log.
struct Row {
    entry: Vec<u8>,
    statement: Vec<u8>,
    kind: Kind,
    erased: bool,
}

/// A receipt whose statement is still there.
pub(crate) struct Target {
    pub(crate) index: u64,
    pub(crate) entry: Vec<u8>,
}

/// The list.
pub(crate) struct Plain {
    rows: Vec<Row>,
    places: HashMap<Id, u64>,
    at: Timestamp,
}

impl Plain {
    /// The list of a new log, which has its rules.
    pub(crate) fn beginning_with(rules: &Item) -> Self {
        let entry = Entry::parse(&rules.entry).expect("an entry");
        assert_eq!(entry.kind, Kind::Rules);
        entry.check_statement(&rules.statement).expect("its statement");
        let row = Row {
            entry: rules.entry.to_vec(),
            statement: rules.statement.to_vec(),
            kind: Kind::Rules,
            erased: false,
        };
        Self { rows: vec![row], places: HashMap::from([(entry.id, 0)]), at: entry.at }
    }

    /// Takes a record at the next place, where the log has this. The time is the log's own, all else is not.
    pub(crate) fn append(&mut self, record: &Record, item: &Item) {
        let at = Entry::parse(&item.entry).expect("an entry").at;
        assert!(at >= self.at, "the time went back");
        assert_eq!(record.entry(at), item.entry, "another entry than the record makes");
        assert_eq!(record.statement(), item.statement, "another statement than was sent");
        assert!(self.places.insert(record.id(), self.size()).is_none(), "it is there twice");
        let row = Row {
            entry: item.entry.to_vec(),
            statement: item.statement.to_vec(),
            kind: record.kind(),
            erased: false,
        };
        self.rows.push(row);
        self.at = at;
    }

    /// The statement at that place was ordered to go.
    pub(crate) fn erase(&mut self, index: u64) {
        self.rows[usize::try_from(index).unwrap()].erased = true;
    }

    pub(crate) fn size(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(crate) fn find(&self, id: Id) -> Option<u64> {
        self.places.get(&id).copied()
    }

    /// Some receipt that was not erased.
    pub(crate) fn receipt(&self, which: Index) -> Option<Target> {
        let there = |(_, row): &(usize, &Row)| row.kind == Kind::Receipt && !row.erased;
        let receipts: Vec<_> = self.rows.iter().enumerate().filter(there).collect();
        let (index, row) = receipts.get(which.index(receipts.len().max(1)))?;
        Some(Target { index: *index as u64, entry: row.entry.clone() })
    }

    /// What the log shows at a place is what the list has there.
    pub(crate) fn check(&self, index: u64, item: &Item) {
        let row = &self.rows[usize::try_from(index).unwrap()];
        assert_eq!(item.entry, row.entry, "entry {index}");
        let statement = if row.erased { &[][..] } else { &row.statement };
        assert_eq!(item.statement, statement, "statement {index}");
    }

    pub(crate) fn leaf(&self, index: u64) -> Hash {
        Hash::leaf(&self.rows[usize::try_from(index).unwrap()].entry)
    }

    /// The root of the first `size` records, as RFC 6962 defines it.
    pub(crate) fn root(&self, size: u64) -> Hash {
        let leaves: Vec<Hash> = (0..size).map(|index| self.leaf(index)).collect();
        root(&leaves)
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::node(root(left), root(right))
        }
    }
}

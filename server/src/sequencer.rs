//! The sequencer's state and its two steps: seal a batch, and take it for committed.
//!
//! Pure: no clock, no disk, no channel. The order of entries and the bytes that are hashed are decided here and
//! nowhere else.

use bytes::Bytes;
use counterfoil_merkle::{Frontier, Hash, LeafIndex, TreeHead, frontier::FullTile, tree::TreeError};
use counterfoil_receipt::{
    Id, Kind, Timestamp,
    admission::{self, Judged},
    entry::EntryDraft,
};

use crate::commit::{CommitRecord, Header, Item, Parts};

/// What admission let in: an entry but for its time, and the statement it is about.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// SHA-256 of the statement's pre-authentication encoding, computed when its signature was checked.
    pub id: Id,
    /// The entry but for its time.
    pub draft: EntryDraft,
    /// SHA-256 of that, computed then too.
    pub draft_digest: Hash,
    /// What kind of record it is.
    pub kind: Kind,
    /// The statement as it was received.
    pub statement: Bytes,
    /// What it is judged by once more, at its place.
    pub judged: Judged,
}

impl From<admission::Admitted> for Admitted {
    fn from(admitted: admission::Admitted) -> Self {
        Self {
            id: admitted.id,
            draft: admitted.draft,
            draft_digest: admitted.draft_digest,
            kind: admitted.kind,
            statement: admitted.statement.into(),
            judged: admitted.judged,
        }
    }
}

/// The end of the log: what the next batch is built on.
#[derive(Clone, Debug)]
pub struct Sequencer {
    frontier: Frontier,
    number: u64,
    digest: Hash,
    at: Timestamp,
}

/// A batch with its place in the log, not yet committed.
#[derive(Debug)]
pub struct Sealed {
    /// The record to commit.
    pub record: Bytes,
    /// Its place in the chain.
    pub header: Header,
    /// Its digest.
    pub digest: Hash,
    /// The time in its entries.
    pub at: Timestamp,
    /// Its entries in the order of their indexes.
    pub leaves: Vec<SealedLeaf>,
    /// The right edge after it.
    pub frontier: Frontier,
    /// Hash tiles that it fills, lowest level first.
    pub filled: Vec<FullTile>,
}

/// One entry with its place.
#[derive(Clone, Debug)]
pub struct SealedLeaf {
    /// Where it is.
    pub index: LeafIndex,
    /// The id that admission computed.
    pub id: Id,
    /// SHA-256 of the entry but for its time, computed by admission.
    pub draft_digest: Hash,
    /// What kind of record it is.
    pub kind: Kind,
    /// The leaf hash.
    pub hash: Hash,
    /// Entry and statement.
    pub item: Item,
}

impl Sequencer {
    /// Goes on from a commit: its number and digest, the right edge after it, and the latest time attested.
    pub const fn new(frontier: Frontier, number: u64, digest: Hash, at: Timestamp) -> Self {
        Self { frontier, number, digest, at }
    }

    /// Size and root of all that is committed.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The right edge of all that is committed.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Number of the newest commit; 0 before the first.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The latest time in an entry or attested by the clock.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Gives admitted records their places, in the order they come, and their time, which never goes back.
    ///
    /// Nothing changes here until [`Sequencer::committed`]; a sealed batch that is dropped was never there.
    /// An empty batch seals an empty record.
    ///
    /// # Errors
    /// [`TreeError::TooLarge`] if the log is full.
    pub fn seal(&self, now: Timestamp, nonce: [u8; 16], batch: Vec<Admitted>) -> Result<Sealed, TreeError> {
        let at = now.max(self.at);
        let mut frontier = self.frontier.clone();
        let (mut leaves, mut filled) = (Vec::with_capacity(batch.len()), Vec::new());
        for admitted in batch {
            let index = frontier.size().next_index();
            let entry = Bytes::from(admitted.draft.stamp(at));
            let hash = Hash::leaf(&entry);
            frontier.push(hash, |tile| filled.push(tile))?;
            let item = Item { entry, statement: admitted.statement };
            leaves.push(SealedLeaf {
                index,
                id: admitted.id,
                draft_digest: admitted.draft_digest,
                kind: admitted.kind,
                hash,
                item,
            });
        }
        let header = Header {
            number: self.number + 1,
            previous: self.digest,
            nonce,
            old: self.frontier.head(),
            new: frontier.head(),
        };
        let (record, digest) = CommitRecord::format(&header, leaves.iter().map(|leaf| &leaf.item));
        Ok(Sealed { record: record.into(), header, digest, at, leaves, frontier, filled })
    }

    /// Takes a sealed batch for committed: the next one is built on it.
    ///
    /// # Panics
    /// If it was not built on this state.
    pub fn committed(&mut self, sealed: &Sealed) {
        assert_eq!(sealed.header.previous, self.digest, "a batch follows the commit that it was sealed on");
        self.frontier.clone_from(&sealed.frontier);
        (self.number, self.digest, self.at) = (sealed.header.number, sealed.digest, sealed.at);
    }

    /// Attests a time without an entry; no later entry is dated before it.
    pub fn attested(&mut self, time: Timestamp) {
        self.at = self.at.max(time);
    }
}

impl Sealed {
    /// Checks a record that was read back from the store against what admission checked, trusting nothing in memory
    /// but the digests that were made then: every byte, every entry, every statement, and the root over them.
    pub fn check_read_back(&self, before: &Frontier, found: &[u8]) -> Result<(), ReadBackError> {
        if *found != self.record {
            return Err(ReadBackError::Bytes);
        }
        let record = Parts::parse(found).map_err(|_| ReadBackError::Bytes)?;
        let mut frontier = before.clone();
        for ((entry, statement), leaf) in record.items.into_iter().zip(&self.leaves) {
            let hash = Hash::leaf(entry);
            if hash != leaf.hash || EntryDraft::digest_of(entry, self.at) != Some(leaf.draft_digest) {
                return Err(ReadBackError::Entry { index: leaf.index });
            }
            if Id::of_statement(statement) != leaf.id {
                return Err(ReadBackError::Statement { index: leaf.index });
            }
            frontier.push(hash, drop).map_err(|_| ReadBackError::Root)?;
        }
        if frontier.head() != record.header.new || record.header != self.header {
            return Err(ReadBackError::Root);
        }
        Ok(())
    }
}

/// How a record differs, once read back, from what was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBackError {
    /// Other bytes than were written.
    #[error("the record reads back with other bytes")]
    Bytes,
    /// An entry is not the one that was hashed, or not the one that was admitted.
    #[error("entry {index} reads back other than it was admitted")]
    Entry {
        /// Which.
        index: LeafIndex,
    },
    /// A statement is not the one that was admitted.
    #[error("the statement of entry {index} reads back with another id than was admitted")]
    Statement {
        /// Which.
        index: LeafIndex,
    },
    /// The entries lead to another root.
    #[error("the record's entries lead to another root than it states")]
    Root,
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::Entry;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        commit::NO_DIGEST,
        testing::{admitted, at},
    };

    fn empty() -> Sequencer {
        Sequencer::new(Frontier::new(), 0, NO_DIGEST, at(0))
    }

    /// A batch that is sealed and dropped was never there; one that is committed is what the next is built on.
    #[test]
    fn only_commits_count() {
        let mut sequencer = empty();
        let before = sequencer.head();
        drop(sequencer.seal(at(5), [0; 16], vec![admitted(0)]).unwrap());
        assert_eq!((sequencer.head(), sequencer.number(), sequencer.at()), (before, 0, at(0)));
        let sealed = sequencer.seal(at(5), [1; 16], vec![admitted(0), admitted(1)]).unwrap();
        sequencer.committed(&sealed);
        assert_eq!((sequencer.head(), sequencer.number(), sequencer.at()), (sealed.header.new, 1, at(5)));
        let next = sequencer.seal(at(6), [2; 16], Vec::new()).unwrap();
        assert_eq!(
            (next.header.previous, next.header.old, next.header.new.size.get()),
            (sealed.digest, sealed.header.new, 2)
        );
    }

    /// Whatever byte of a record changes on its way through memory and store, the read-back says so; also when the
    /// record's own digest was made over the changed bytes.
    #[test]
    fn the_read_back_trusts_nothing_but_ids() {
        let sealed = empty().seal(at(5), [0; 16], vec![admitted(0), admitted(1)]).unwrap();
        assert_eq!(sealed.check_read_back(&Frontier::new(), &sealed.record), Ok(()));
        for offset in 0..sealed.record.len() {
            let mut bytes = sealed.record.to_vec();
            bytes[offset] ^= 0x10;
            let found = sealed.check_read_back(&Frontier::new(), &bytes);
            assert_eq!(found, Err(ReadBackError::Bytes), "byte {offset}");
        }
        // A bit of memory flips between admission and commit: record and digest agree with one another, not with the id.
        for (index, part) in [(0, "statement"), (1, "statement"), (0, "entry"), (1, "entry")] {
            let mut flipped = empty().seal(at(5), [0; 16], vec![admitted(0), admitted(1)]).unwrap();
            let item = &mut flipped.leaves[index].item;
            let bytes = if part == "entry" { &mut item.entry } else { &mut item.statement };
            let mut changed = bytes.to_vec();
            changed[40] ^= 1;
            *bytes = changed.into();
            let items = flipped.leaves.iter().map(|leaf| &leaf.item);
            let (record, digest) = CommitRecord::format(&flipped.header, items);
            (flipped.record, flipped.digest) = (record.into(), digest);
            let found = flipped.check_read_back(&Frontier::new(), &flipped.record);
            let index = flipped.leaves[index].index;
            let expected = if part == "entry" {
                ReadBackError::Entry { index }
            } else {
                ReadBackError::Statement { index }
            };
            assert_eq!(found, Err(expected), "{part}");
        }
    }

    /// A bit of memory flips between admission and seal: tree and record agree with one another, not with admission.
    #[test]
    fn what_changes_before_the_seal_is_noticed_too() {
        let mut other = admitted(0);
        other.draft = admitted(1).draft;
        let sealed = empty().seal(at(5), [0; 16], vec![other]).unwrap();
        let index = sealed.leaves[0].index;
        let found = sealed.check_read_back(&Frontier::new(), &sealed.record);
        assert_eq!(found, Err(ReadBackError::Entry { index }));
        let mut other = admitted(0);
        other.statement = admitted(1).statement;
        let sealed = empty().seal(at(5), [0; 16], vec![other]).unwrap();
        let found = sealed.check_read_back(&Frontier::new(), &sealed.record);
        assert_eq!(found, Err(ReadBackError::Statement { index }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Against a model that is a plain list: indexes count up, times never go back, and the root is that of all
        /// entries, however they are cut into batches and whatever the clock says.
        #[test]
        fn batches_are_only_a_way_of_cutting(batches in prop::collection::vec((0_u64..6, 0_u64..1000), 1..40)) {
            let (mut sequencer, mut model, mut number) = (empty(), Vec::new(), 0);
            for (count, now) in batches {
                let batch = (0..count).map(|n| admitted(number + n)).collect();
                number += count;
                let sealed = sequencer.seal(at(now), [9; 16], batch).unwrap();
                prop_assert_eq!(sealed.check_read_back(sequencer.frontier(), &sealed.record), Ok(()));
                for leaf in &sealed.leaves {
                    prop_assert_eq!(leaf.index.get(), model.len() as u64);
                    model.push(leaf.item.entry.clone());
                }
                sequencer.committed(&sealed);
            }
            let mut whole = Frontier::new();
            let mut last = at(0);
            for entry in &model {
                whole.push(Hash::leaf(entry), drop).unwrap();
                let entry = Entry::parse(entry).unwrap();
                prop_assert!(entry.at >= last);
                last = entry.at;
            }
            prop_assert_eq!(sequencer.head(), whole.head());
        }
    }
}

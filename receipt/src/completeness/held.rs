//! What an auditor holds that says what a log must have: receipts, and promises of receipts.

use std::collections::{BTreeMap, HashMap};

use counterfoil_merkle::{Hash, LeafIndex};

use super::Extent;
use crate::{
    audit::{Code, Place, Report},
    entry::Entry,
    envelope::{Envelope, Id},
    key::PublicKey,
    standing::PromiseState,
    statement::{Enclosed, Kind, Numbering, OpenError, Origin, Predicate, StreamId},
    timestamp::Timestamp,
};

/// Something that the auditor holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The envelope: a numbered record of the issuer's, or a promise.
    pub envelope: Envelope,
    /// Where the log proved that it had the record, if it did: the index in a bundle whose proof holds.
    pub proven_at: Option<LeafIndex>,
}

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseOutcome {
    /// The promise.
    pub promise: Id,
    /// What became of it.
    pub state: PromiseState,
    /// Where the receipt is that it is kept by.
    pub index: Option<LeafIndex>,
}

/// All that is held, and what was seen of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    records: BTreeMap<Id, HeldRecord>,
    numbers: HashMap<(StreamId, u64), Id>,
    promises: Vec<HeldPromise>,
}

#[derive(Clone, Debug)]
struct HeldRecord {
    numbering: Numbering,
    proven_at: Option<LeafIndex>,
    seen: bool,
}

#[derive(Clone, Debug)]
struct HeldPromise {
    id: Id,
    claim: PublicKey,
    by: Timestamp,
    kept: Option<(LeafIndex, Hash, Timestamp)>,
}

impl Held {
    pub(super) fn add(
        &mut self,
        holding: Holding,
        log: &Origin,
        issuer: &PublicKey,
    ) -> Result<(), HoldError> {
        let read = Enclosed::open(holding.envelope)?;
        let (id, statement) = (read.id(), read.statement());
        let (frame, kind) = (&statement.frame, statement.kind());
        if frame.log != *log {
            return Err(HoldError::OtherLog { kind, id, meant: frame.log.clone(), log: log.clone() });
        }
        if frame.issuer.key != *issuer {
            let (got, expected) = (frame.issuer.key.clone(), issuer.clone());
            return Err(HoldError::OtherIssuer { kind, id, got, expected });
        }
        match (&statement.predicate, frame.numbering) {
            (Predicate::Promise(promise), _) => {
                if self.promises.iter().all(|held| held.id != id) {
                    let (claim, by) = (promise.claim.clone(), promise.by);
                    self.promises.push(HeldPromise { id, claim, by, kept: None });
                }
            }
            (_, Some(numbering)) => {
                let number = (numbering.stream, numbering.number.get());
                if let Some(other) = self.numbers.insert(number, id).filter(|other| *other != id) {
                    let (stream, number) = number;
                    return Err(HoldError::NumberAgain { stream, number, one: other, other: id });
                }
                let record = HeldRecord { numbering, proven_at: holding.proven_at, seen: false };
                self.records.insert(id, record);
            }
            _ => return Err(HoldError::OtherKind { kind, id }),
        }
        Ok(())
    }

    pub(super) const fn has_promises(&self) -> bool {
        !self.promises.is_empty()
    }

    /// Sees a record of the issuer's in the log.
    pub(super) fn seen(&mut self, index: LeafIndex, leaf: Hash, entry: &Entry, report: &mut Report) {
        if let Some(held) = self.records.get_mut(&entry.id) {
            held.seen = true;
        }
        if let Some(position) = entry.position
            && let Some(held) = self.numbers.get(&(position.stream, position.number.get()))
            && *held != entry.id
        {
            let message = format_args!(
                "number {} of stream {} is {} here, and {held} in what you hold: both are signed by the issuer",
                position.number.get(),
                position.stream,
                entry.id
            );
            report.push(Code::NumberAgain, Place::Entry(index), message);
        }
        if entry.kind == Kind::Receipt {
            let kept = self.promises.iter_mut().filter(|held| entry.claim.as_ref() == Some(&held.claim));
            kept.for_each(|held| held.kept = held.kept.or(Some((index, leaf, entry.at))));
        }
    }

    /// The streams that records which are held show to have gone further than the log shows.
    pub(super) fn beyond(
        &self,
        extents: &BTreeMap<StreamId, Extent>,
        only: Option<StreamId>,
    ) -> Vec<(Place, String)> {
        let mut ends: BTreeMap<StreamId, (u64, Id)> = BTreeMap::new();
        for (id, held) in &self.records {
            let Numbering { stream, number, .. } = held.numbering;
            let end = ends.entry(stream).or_insert((number.get(), *id));
            *end = (*end).max((number.get(), *id));
        }
        ends.retain(|stream, _| only.is_none_or(|only| only == *stream));
        let beyond = |(stream, (number, id)): (StreamId, (u64, Id))| {
            let first =
                extents.get(&stream).and_then(|extent| extent.highest).map_or(0, |highest| highest + 1);
            let message = format!(
                "numbers {first} to {number} of stream {stream} are missing: you hold {id}, the last of them"
            );
            (first <= number).then_some((Place::Log, message))
        };
        ends.into_iter().filter_map(beyond).collect()
    }

    /// Reports the records that are held and not in the log.
    pub(super) fn missing(&self, only: Option<StreamId>, report: &mut Report) {
        for (id, HeldRecord { numbering, proven_at, .. }) in
            self.records.iter().filter(|(_, held)| !held.seen)
        {
            let Numbering { stream, number, .. } = *numbering;
            if only.is_some_and(|only| only != stream) {
                continue;
            }
            let proven = proven_at.map_or_else(String::new, |index| {
                format!(
                    "; the log proved it at index {index}: verify that bundle with --log, for this is a fork"
                )
            });
            let number = number.get();
            let message = format_args!(
                "you hold {id}, number {number} of stream {stream}, and the log does not{proven}"
            );
            report.push(Code::RecordMissing, Place::Log, message);
        }
    }

    /// What has become of the promises by that moment.
    pub(super) fn outcomes(&self, moment: Timestamp, report: &mut Report) -> Vec<PromiseOutcome> {
        let mut outcomes = Vec::new();
        for HeldPromise { id, by, kept, .. } in &self.promises {
            let (index, found) = (kept.map(|(index, ..)| index), kept.map(|(_, leaf, at)| (leaf, at)));
            let state = PromiseState::at(moment, *by, found);
            match state {
                PromiseState::Broken { .. } => {
                    let message =
                        format_args!("no receipt is there for promise {id}, which was due by {by} ms");
                    report.push(Code::PromiseBroken, Place::Log, message);
                }
                PromiseState::Kept { at, late: true, .. } => {
                    let place = index.map_or(Place::Log, Place::Entry);
                    let message = format_args!("promise {id} was due by {by} ms, and kept at {at} ms");
                    report.push(Code::PromiseLate, place, message);
                }
                PromiseState::Kept { .. } | PromiseState::Pending { .. } => {}
            }
            outcomes.push(PromiseOutcome { promise: *id, state, index });
        }
        outcomes
    }
}

/// Why something that is held says nothing about the streams in question. Names the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It cannot be read, or its signature does not verify.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is another log's.
    #[error("rule log: the {kind} {id} is for {meant}, and this log is {log}")]
    OtherLog {
        /// What it is.
        kind: Kind,
        /// Its id.
        id: Id,
        /// The log that it is for.
        meant: Origin,
        /// The log in question.
        log: Origin,
    },
    /// It is another issuer's.
    #[error("rule signer: the {kind} {id} is signed by {got}, and not by {expected}")]
    OtherIssuer {
        /// What it is.
        kind: Kind,
        /// Its id.
        id: Id,
        /// Who signed it.
        got: PublicKey,
        /// The issuer in question.
        expected: PublicKey,
    },
    /// It is neither numbered nor a promise.
    #[error("rule statement: the {kind} {id} is neither a promise nor has it a number in a stream")]
    OtherKind {
        /// What it is.
        kind: Kind,
        /// Its id.
        id: Id,
    },
    /// Two records that are held have one number: that alone convicts the issuer.
    #[error("the issuer signed both {one} and {other} as number {number} of stream {stream}")]
    NumberAgain {
        /// The stream.
        stream: StreamId,
        /// The number.
        number: u64,
        /// One of them.
        one: Id,
        /// The other.
        other: Id,
    },
}

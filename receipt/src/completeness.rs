//! Whether an issuer logged all that it issued: its streams, walked from the first record of a log to the last, and held against
//! everything else that says how far they went.
//!
//! Numbers that are missing, come twice or do not follow one another show in the log itself. A missing tail does not, unless
//! something says how far the stream went: an epoch record of the issuer, a receipt or a promise that somebody holds. What was
//! never issued at all, and promised to nobody, shows nowhere.

mod held;

pub use held::{HoldError, Holding, PromiseOutcome};

use std::collections::BTreeMap;

use counterfoil_merkle::{Hash, LeafIndex, TreeSize};

use self::held::Held;
use crate::{
    audit::{
        Code, Place, Report, Streams,
        streams::{Ahead, StreamKey},
    },
    entry::{Entry, Position},
    envelope::Id,
    key::PublicKey,
    statement::{Epoch, Kind, Origin, Predicate, Statement, StreamId},
    timestamp::Timestamp,
};

/// Most epoch records that are kept for numbers that have not come.
const AWAITED_MAX: usize = 1 << 16;

/// An audit of one issuer's streams, as far as it went.
///
/// Keeps some 100 bytes a stream, and what the auditor holds.
#[derive(Clone, Debug)]
pub struct Completeness {
    log: Origin,
    issuer: PublicKey,
    only: Option<StreamId>,
    size: TreeSize,
    last: Option<Timestamp>,
    streams: Streams,
    extents: BTreeMap<StreamId, Extent>,
    held: Held,
    report: Report,
}

/// How far a stream goes in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many records of it the log has.
    pub records: u64,
    /// How many of them without a statement: what they say of number and stream is the log's word.
    pub unseen: u64,
    /// The highest number; none if there is no record.
    pub highest: Option<u64>,
    /// The first number that is missing, or is not used yet.
    pub next: u64,
    /// How many epoch records speak of it.
    pub epochs: u64,
    /// The end of the stream as each epoch record says, where the records did not go that far: by the first unused number.
    awaited: BTreeMap<u64, Awaited>,
}

/// What an epoch record says of a number that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Awaited {
    last: Option<Id>,
    epoch: LeafIndex,
    at: Timestamp,
}

/// What an audit came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What does not hold.
    pub report: Report,
    /// The issuer's streams.
    pub streams: BTreeMap<StreamId, Extent>,
    /// What became of the promises.
    pub promises: Vec<PromiseOutcome>,
    /// How many numbers are missing, and have not been for long enough to be called late.
    pub waiting: u64,
    /// Whether promises were not judged, for there is no attested time.
    pub untimed: bool,
}

impl Completeness {
    /// The audit of an issuer's streams in a log, or of one of them.
    pub fn new(log: Origin, issuer: PublicKey, only: Option<StreamId>) -> Self {
        Self {
            log,
            issuer,
            only,
            size: TreeSize::ZERO,
            last: None,
            streams: Streams::default(),
            extents: BTreeMap::new(),
            held: Held::default(),
            report: Report::new(),
        }
    }

    /// Adds something that the auditor holds: a receipt of the issuer's that must be in the log, or a promise of one.
    ///
    /// # Errors
    /// [`HoldError`] if it says nothing about these streams: it is another log's, another issuer's, or of another kind.
    pub fn hold(&mut self, holding: Holding) -> Result<(), HoldError> {
        self.held.add(holding, &self.log, &self.issuer)
    }

    /// Whether the statement of the next record is needed.
    pub fn needs(&self, entry: &Entry) -> bool {
        entry.issuer == self.issuer && (entry.kind == Kind::Epoch || entry.position.is_some())
    }

    /// How many records it went through.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Goes past a record that cannot be read.
    pub fn pass(&mut self) {
        self.size = self.size.next_index().size_through();
    }

    /// Takes the next record of the log. Its statement may be left out if [`Completeness::needs`] says no.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn take(&mut self, index: LeafIndex, leaf: Hash, entry: &Entry, statement: Option<&Statement>) {
        assert_eq!(index, self.size.next_index(), "records are taken in index order");
        self.size = index.size_through();
        self.last = Some(entry.at);
        if entry.issuer != self.issuer {
            return;
        }
        self.held.seen(index, leaf, entry, &mut self.report);
        match (entry.position, statement.map(|statement| &statement.predicate)) {
            (Some(position), _) if self.is_meant(position.stream) => {
                self.numbered(index, position, entry, statement);
            }
            (_, Some(Predicate::Epoch(epoch))) if self.is_meant(epoch.stream) => {
                self.epoch(index, entry.at, epoch);
            }
            _ => {}
        }
    }

    /// What it came to, with all records taken. `attested` is the time that the log's clock gave the tree that they are; `grace_ms` is
    /// how long a number may be missing before that is a finding.
    pub fn finish(mut self, attested: Option<Timestamp>, grace_ms: u64) -> Finished {
        let moment = attested.into_iter().chain(self.last).max();
        if let Some(moment) = moment {
            self.streams.gaps_after(grace_ms, moment, &mut self.report);
        }
        let mut waiting = 0;
        for (stream, extent) in &self.extents {
            waiting += self.unclaimed(*stream, extent, moment, grace_ms);
            self.tail(*stream, extent, moment, grace_ms).into_iter().for_each(|found| match found {
                Tail::Late { place, message } => self.report.push(Code::TailMissing, place, message),
                Tail::Waiting { count } => waiting += count,
            });
        }
        self.hidden(waiting);
        let beyond = self.held.beyond(&self.extents, self.only);
        for (place, message) in beyond {
            self.report.push(Code::TailMissing, place, message);
        }
        self.held.missing(self.only, &mut self.report);
        let promises = attested.map(|moment| self.held.outcomes(moment, &mut self.report));
        let untimed = promises.is_none() && self.held.has_promises();
        let Self { report, extents: streams, .. } = self;
        Finished { report, streams, promises: promises.unwrap_or_default(), waiting, untimed }
    }

    fn is_meant(&self, stream: StreamId) -> bool {
        self.only.is_none_or(|only| only == stream)
    }

    fn numbered(
        &mut self,
        index: LeafIndex,
        position: Position,
        entry: &Entry,
        statement: Option<&Statement>,
    ) {
        let numbering = statement.and_then(|statement| statement.frame.numbering);
        match numbering {
            Some(numbering) => {
                let record = Ahead { id: entry.id, previous: numbering.previous, index, at: entry.at };
                self.streams.proven(&self.issuer, position, record, &mut self.report);
            }
            None => self.streams.unproven(&self.issuer, position, index, &mut self.report),
        }
        let number = position.number.get();
        let next = self.streams.followed.get(&StreamKey::new(&self.issuer, &position));
        let extent = self.extents.entry(position.stream).or_default();
        extent.records += 1;
        extent.unseen += u64::from(numbering.is_none());
        extent.highest = extent.highest.max(Some(number));
        extent.next = next.map_or(extent.next, |stream| stream.next);
        if let Some(awaited) = extent.awaited.remove(&(number + 1))
            && awaited.last != Some(entry.id)
        {
            differs(awaited.epoch, number, awaited.last, Some(entry.id), &mut self.report);
        }
    }

    fn epoch(&mut self, index: LeafIndex, at: Timestamp, epoch: &Epoch) {
        let Epoch { stream, next, last, .. } = *epoch;
        let extent = self.extents.entry(stream).or_default();
        extent.epochs += 1;
        let claimed = next.get();
        if let Some(highest) = extent.highest.filter(|highest| *highest >= claimed) {
            let message = format_args!(
                "says that {claimed} is the first number of stream {stream} that is not used; number {highest} was logged before it"
            );
            self.report.push(Code::EpochDiffers, Place::Entry(index), message);
            return;
        }
        let position = Position { stream, number: next };
        let followed = self.streams.followed.get(&StreamKey::new(&self.issuer, &position));
        match followed.filter(|followed| followed.next == claimed && followed.last.is_some()) {
            Some(followed) if followed.last == last => {}
            Some(followed) => {
                differs(index, claimed.saturating_sub(1), last, followed.last, &mut self.report);
            }
            None if claimed > extent.highest.map_or(0, |highest| highest + 1)
                && extent.awaited.len() < AWAITED_MAX =>
            {
                extent.awaited.entry(claimed).or_insert(Awaited { last, epoch: index, at });
            }
            // Numbers before it are missing, or their statements: that is told as it is.
            None => {}
        }
    }

    /// Numbers that others follow, and that are missing for less time than would be a finding.
    fn unclaimed(&self, stream: StreamId, extent: &Extent, moment: Option<Timestamp>, grace_ms: u64) -> u64 {
        let number = crate::statement::Number::FIRST;
        let followed = self.streams.followed.get(&StreamKey::new(&self.issuer, &Position { stream, number }));
        let Some((first, ahead)) = followed.and_then(|followed| followed.ahead.first_key_value()) else {
            return 0;
        };
        let late = moment.is_some_and(|moment| is_late(ahead.at, grace_ms, moment));
        if late { 0 } else { first - extent.next }
    }

    /// Numbers that are missing before records whose statements are gone: no single record shows which they are, but their count does.
    fn hidden(&mut self, waiting: u64) {
        if waiting > 0 || self.report.has(Code::NumberGap) {
            return;
        }
        for (stream, extent) in self.extents.iter().filter(|(_, extent)| extent.unseen > 0) {
            let Some(highest) = extent.highest else { continue };
            let missing = (highest + 1).saturating_sub(extent.records);
            if missing > 0 {
                let message = format_args!(
                    "{missing} of the numbers 0 to {highest} of stream {stream} are missing, among records whose statements are gone"
                );
                self.report.push(Code::NumberGap, Place::Log, message);
            }
        }
    }

    /// What epoch records say that the stream must have beyond its last record.
    fn tail(
        &self,
        stream: StreamId,
        extent: &Extent,
        moment: Option<Timestamp>,
        grace_ms: u64,
    ) -> Option<Tail> {
        let (&next, awaited) = extent.awaited.last_key_value()?;
        let first = extent.highest.map_or(0, |highest| highest + 1);
        let count = next.checked_sub(first).filter(|count| *count > 0)?;
        if !moment.is_some_and(|moment| is_late(awaited.at, grace_ms, moment)) {
            return Some(Tail::Waiting { count });
        }
        let message = format!(
            "numbers {first} to {} of stream {stream} are missing: its issuer says here that it went so far",
            next - 1
        );
        Some(Tail::Late { place: Place::Entry(awaited.epoch), message })
    }
}

/// A tail that is missing.
enum Tail {
    Late { place: Place, message: String },
    Waiting { count: u64 },
}

const fn is_late(since: Timestamp, grace_ms: u64, moment: Timestamp) -> bool {
    since.millis().saturating_add(grace_ms) < moment.millis()
}

fn differs(epoch: LeafIndex, number: u64, said: Option<Id>, got: Option<Id>, report: &mut Report) {
    let shown = |id: Option<Id>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let message = format_args!("says that number {number} is {}, where it is {}", shown(said), shown(got));
    report.push(Code::EpochDiffers, Place::Entry(epoch), message);
}

#[cfg(test)]
mod tests;

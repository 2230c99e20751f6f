//! Issuers' streams: whether numbers are used once, none is missing, and each record names the one before it.
//!
//! What is found here is an issuer's doing, for a log takes what is signed. It is raised only where statements prove
//! it. Records that an issuer sent side by side may be logged out of order; so a number counts as missing only after
//! many later ones, or some time.

use std::collections::{BTreeMap, HashMap};

use counterfoil_merkle::{Hash, LeafIndex};

use super::{
    finding::{Code, Place},
    report::Report,
};
use crate::{entry::Position, envelope::Id, key::PublicKey, statement::Number, timestamp::Timestamp};

/// Most streams that are kept in mind: some 30 MB.
pub const STREAMS_MAX: usize = 1 << 18;

/// Most records of one stream that are kept while a number before them is missing.
pub const AHEAD_MAX: usize = 512;

/// How long a number may be missing before it is reported.
pub const GAP_GRACE_MS: u64 = 60_000;

/// Issuer and stream, as a digest: nobody else can write into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub Hash);

impl StreamKey {
    /// The key of an issuer's stream.
    pub fn new(issuer: &PublicKey, position: &Position) -> Self {
        Self(Hash::of(&[position.stream.as_bytes(), issuer.as_str().as_bytes()]))
    }
}

/// How far a stream has been followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The first number that has not been seen.
    pub next: u64,
    /// The record with the number before that, if it was proven.
    pub last: Option<Id>,
    /// Below this number a statement was missing, so that nothing is raised.
    pub proven_from: u64,
    /// Records beyond a missing number.
    pub ahead: BTreeMap<u64, Ahead>,
}

/// A record beyond a missing number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The record.
    pub id: Id,
    /// The record it names as the one before it.
    pub previous: Option<Id>,
    /// Its index in the log.
    pub index: LeafIndex,
    /// Its date.
    pub at: Timestamp,
}

/// All streams of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// How far each has been followed.
    pub followed: HashMap<StreamKey, Stream>,
    /// Whether there were more than [`STREAMS_MAX`], of which the later ones are not followed.
    pub overflowed: bool,
}

impl Streams {
    /// Takes a record that its statement proves.
    pub(crate) fn proven(
        &mut self,
        issuer: &PublicKey,
        position: Position,
        record: Ahead,
        report: &mut Report,
    ) {
        let Some(stream) = self.follow(issuer, &position, record.index, report) else { return };
        stream.take(position.number.get(), record, report);
    }

    /// Takes a record without its statement: where it says it belongs is the log's word.
    pub(crate) fn unproven(
        &mut self,
        issuer: &PublicKey,
        position: Position,
        index: LeafIndex,
        report: &mut Report,
    ) {
        let Some(stream) = self.follow(issuer, &position, index, report) else { return };
        let after = position.number.get() + 1;
        stream.proven_from = stream.proven_from.max(after);
        if stream.next < after {
            stream.next = after;
            stream.last = None;
            stream.ahead = stream.ahead.split_off(&after);
            stream.advance(report);
        }
    }

    /// Reports numbers that have been missing for longer than [`GAP_GRACE_MS`]. Costs one look at each stream.
    pub(super) fn gaps(&self, now: Timestamp, report: &mut Report) {
        self.gaps_after(GAP_GRACE_MS, now, report);
    }

    /// As [`Streams::gaps`], for numbers that have been missing for longer than `grace_ms`.
    pub(crate) fn gaps_after(&self, grace_ms: u64, now: Timestamp, report: &mut Report) {
        let mut late: Vec<_> = self
            .followed
            .values()
            .filter_map(|stream| Some((stream, stream.ahead.first_key_value()?)))
            .filter(|(_, (_, first))| first.at.millis().saturating_add(grace_ms) < now.millis())
            .collect();
        late.sort_by_key(|(_, (_, first))| first.index);
        for (stream, (&number, first)) in late {
            report_gap(stream.next, number, first.index, report);
        }
    }

    fn follow(
        &mut self,
        issuer: &PublicKey,
        position: &Position,
        index: LeafIndex,
        report: &mut Report,
    ) -> Option<&mut Stream> {
        let key = StreamKey::new(issuer, position);
        if self.followed.len() >= STREAMS_MAX && !self.followed.contains_key(&key) {
            if !self.overflowed {
                let message = format_args!("more than {STREAMS_MAX} streams; later ones are not followed");
                report.push(Code::StreamsUntracked, Place::Entry(index), message);
            }
            self.overflowed = true;
            return None;
        }
        Some(self.followed.entry(key).or_default())
    }
}

impl Stream {
    fn take(&mut self, number: u64, record: Ahead, report: &mut Report) {
        let place = Place::Entry(record.index);
        let before = match number {
            number if number + 1 == self.next => self.last,
            number => self.ahead.get(&number).map(|ahead| ahead.id),
        };
        if before == Some(record.id) {
            report.push(Code::RecordTwice, place, format_args!("record {} is logged twice", record.id));
        } else if before.is_some() {
            report.push(
                Code::NumberAgain,
                place,
                format_args!("two records of the stream have number {number}"),
            );
        } else if number < self.next {
            if number >= self.proven_from {
                let message = format_args!(
                    "number {number} comes when {} is next: its issuer used it twice, or came late, or the log \
                     repeats a record",
                    self.next
                );
                report.push(Code::NumberAgain, place, message);
            }
        } else {
            self.ahead.insert(number, record);
            self.advance(report);
            if self.ahead.len() > AHEAD_MAX
                && let Some((&first, ahead)) = self.ahead.first_key_value()
            {
                report_gap(self.next, first, ahead.index, report);
                (self.next, self.last) = (first, None);
                self.advance(report);
            }
        }
    }

    /// Takes from `ahead` what follows without a gap.
    fn advance(&mut self, report: &mut Report) {
        while let Some(record) = self.ahead.remove(&self.next) {
            let expected = if self.next == Number::FIRST.get() { Some(None) } else { self.last.map(Some) };
            if let Some(expected) = expected.filter(|expected| *expected != record.previous) {
                let shown = |id: Option<Id>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
                let message = format_args!(
                    "names {} as the record before it, where number {} is {}",
                    shown(record.previous),
                    self.next.saturating_sub(1),
                    shown(expected)
                );
                report.push(Code::ChainBroken, Place::Entry(record.index), message);
            }
            self.last = Some(record.id);
            self.next += 1;
        }
    }
}

fn report_gap(next: u64, first: u64, index: LeafIndex, report: &mut Report) {
    let message = format_args!("numbers {next} to {} of the stream are missing", first.saturating_sub(1));
    report.push(Code::NumberGap, Place::Entry(index), message);
}

//! When entries say they were taken, held between the times that the log's clock put on its checkpoints.

use std::collections::VecDeque;

use counterfoil_merkle::{LeafIndex, TreeSize};

use super::{
    finding::{Code, Place},
    report::Report,
};
use crate::timestamp::Timestamp;

/// How far the log's clock may be ahead of the auditor's.
pub const CLOCK_SKEW_MS: u64 = 30_000;

/// How many sizes with attested times are kept in mind.
pub const ATTESTED_MAX: usize = 64;

/// How many changes of `at` are kept in mind, for checkpoints that are seen after their entries.
pub const TURNS_MAX: usize = 256;

/// The times that the log's clock put on checkpoints of one size, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The size.
    pub size: TreeSize,
    /// The earliest time seen.
    pub earliest_s: u64,
    /// The latest time seen.
    pub latest_s: u64,
}

/// Entries from this index on are dated `at`, until the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// First entry with this date.
    pub index: LeafIndex,
    /// The date.
    pub at: Timestamp,
}

/// What is known of a log's times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The date of the newest entry that could be read.
    pub at: Option<Timestamp>,
    /// The newest dates of entries, oldest first.
    pub turns: VecDeque<Turn>,
    /// Attested times by size, smallest first.
    pub attested: Vec<Attested>,
}

impl Times {
    /// The newest time that the log's clock attested, in seconds.
    pub fn newest_s(&self) -> Option<u64> {
        self.attested.iter().map(|attested| attested.latest_s).max()
    }

    /// Takes the next entry.
    pub(super) fn entry(&mut self, index: LeafIndex, at: Timestamp, now: Timestamp, report: &mut Report) {
        let place = Place::Entry(index);
        if let Some(before) = self.at.filter(|before| at < *before) {
            report.push(Code::AtBack, place, format_args!("dated {at} ms, the entry before it {before} ms"));
        }
        let (before, after) =
            self.attested.split_at(self.attested.partition_point(|a| a.size.get() <= index.get()));
        if let Some(a) = before.iter().max_by_key(|a| a.latest_s) {
            check_after(index, at, a.size, a.latest_s, report);
        }
        if let Some(a) = after.iter().min_by_key(|a| a.earliest_s) {
            check_before(index, at, a.size, a.earliest_s, report);
        }
        if at.millis() > now.millis().saturating_add(CLOCK_SKEW_MS) {
            report.push(Code::AtAhead, place, format_args!("dated {at} ms, first seen at {now} ms"));
        }
        if self.at != Some(at) || self.turns.is_empty() {
            self.turns.push_back(Turn { index, at });
            if self.turns.len() > TURNS_MAX {
                self.turns.pop_front();
            }
        }
        self.at = Some(at);
    }

    /// Takes an entry whose date cannot be read: dates before it say nothing about it.
    pub(super) fn unreadable(&mut self) {
        self.turns.clear();
    }

    /// Holds the time of a checkpoint, whatever its size, against all that is known when the first `audited` entries have
    /// been taken. Whether it may be kept in mind: not if it lies in the future.
    pub(super) fn check(
        &self,
        size: TreeSize,
        time_s: u64,
        audited: TreeSize,
        now: Timestamp,
        report: &mut Report,
    ) -> bool {
        let place = Place::Checkpoint(size);
        if time_s.saturating_mul(1000) > now.millis().saturating_add(CLOCK_SKEW_MS) {
            report.push(
                Code::ClockAhead,
                place,
                format_args!("attested at {time_s} s, and now it is {now} ms"),
            );
            return false;
        }
        for known in &self.attested {
            let back = (known.size < size && known.latest_s > time_s)
                || (known.size > size && known.earliest_s < time_s);
            if back {
                let Attested { size: other, earliest_s, latest_s } = known;
                let message =
                    format_args!("attested at {time_s} s, size {other} from {earliest_s} s to {latest_s} s");
                report.push(Code::ClockBack, place, message);
            }
        }
        if let Some(last) = size.get().checked_sub(1).and_then(|last| LeafIndex::new(last).ok())
            && size <= audited
            && let Some(at) = self.at_of(last)
        {
            check_before(last, at, size, time_s, report);
        }
        if size < audited
            && let Some(at) = self.at_of(size.next_index())
        {
            check_after(size.next_index(), at, size, time_s, report);
        }
        true
    }

    /// Keeps the time of a checkpoint in mind.
    pub(super) fn attest(&mut self, size: TreeSize, time_s: u64) {
        match self.attested.binary_search_by_key(&size, |attested| attested.size) {
            Ok(known) => {
                let known = &mut self.attested[known];
                known.earliest_s = known.earliest_s.min(time_s);
                known.latest_s = known.latest_s.max(time_s);
            }
            Err(place) => {
                self.attested.insert(place, Attested { size, earliest_s: time_s, latest_s: time_s });
                if self.attested.len() > ATTESTED_MAX {
                    self.attested.remove(0);
                }
            }
        }
    }

    /// The date of an entry that has been taken, if it is still in mind.
    fn at_of(&self, index: LeafIndex) -> Option<Timestamp> {
        let after = self.turns.partition_point(|turn| turn.index <= index);
        self.turns.get(after.checked_sub(1)?).map(|turn| turn.at)
    }
}

/// An entry that a checkpoint does not have yet is not dated before it.
fn check_after(index: LeafIndex, at: Timestamp, size: TreeSize, time_s: u64, report: &mut Report) {
    if at.millis() < time_s.saturating_mul(1000) {
        let message = format_args!("dated {at} ms, the checkpoint of size {size} before it {time_s} s");
        report.push(Code::AtBeforeCheckpoint, Place::Entry(index), message);
    }
}

/// An entry that a checkpoint has is not dated after it.
fn check_before(index: LeafIndex, at: Timestamp, size: TreeSize, time_s: u64, report: &mut Report) {
    if at.seconds() > time_s {
        let message = format_args!("dated {at} ms, the checkpoint of size {size} that has it {time_s} s");
        report.push(Code::AtAfterCheckpoint, Place::Entry(index), message);
    }
}

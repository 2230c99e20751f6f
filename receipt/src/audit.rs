//! Whether a log keeps its promises: fed with its leaves in order and with its checkpoints, an [`Audit`] recomputes the
//! tree and says what does not hold.
//!
//! `fsck`, the monitor, the scrubber and repair are shells over it. It reads nothing itself and stops at nothing: a leaf
//! that cannot be understood is still a leaf of the tree.

pub mod erasures;
pub mod finding;
pub mod ids;
pub mod leaf;
pub mod report;
pub mod served;
pub mod streams;
pub mod times;

pub use erasures::Erasures;
pub use finding::{Class, Code, Finding, Place};
pub use ids::Ids;
pub use leaf::{Leaf, Slot};
pub use report::Report;
pub use streams::Streams;
pub use times::Times;

use counterfoil_merkle::{
    Frontier, LeafIndex, TreeHead, TreeSize,
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    frontier::FullTile,
    key::VerifierKey,
    note::NoteError,
    tree::TreeError,
};

use crate::{entry::Entry, statement::Kind, timestamp::Timestamp};

/// A checkpoint that the log signed, and when its clock says it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The checkpoint.
    pub checkpoint: VerifiedCheckpoint,
    /// Seconds since 1970; none if the clock's key is unknown or its signature does not verify.
    pub time_s: Option<u64>,
}

/// Whether a checkpoint must carry the line of the log's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockLine {
    /// As the log itself must show it.
    Due,
    /// As others hand it on, who may strip lines that they do not know.
    Optional,
}

impl Seen {
    /// Size and root.
    pub const fn head(&self) -> TreeHead {
        self.checkpoint.head()
    }
}

/// An audit of one log, as far as it went.
///
/// All of its state is plain data: keep [`Audit::times`], [`Audit::streams`], [`Audit::erasures`] and the ragged tiles of
/// [`Audit::frontier`], and [`Audit::resume`] goes on from there.
#[derive(Clone, Debug)]
pub struct Audit {
    log: VerifierKey,
    clock: Option<VerifierKey>,
    frontier: Frontier,
    times: Times,
    streams: Streams,
    erasures: Erasures,
    ids: Ids,
}

impl Audit {
    /// The audit of a log from its first leaf on.
    ///
    /// Without the key of its clock no time of a checkpoint is checked: say so to whoever reads the findings.
    pub fn new(log: VerifierKey, clock: Option<VerifierKey>) -> Self {
        Self::resume(log, clock, Frontier::new(), Times::default(), Streams::default())
    }

    /// The audit that stopped there.
    pub fn resume(
        log: VerifierKey,
        clock: Option<VerifierKey>,
        frontier: Frontier,
        times: Times,
        streams: Streams,
    ) -> Self {
        Self { log, clock, frontier, times, streams, erasures: Erasures::default(), ids: Ids::none() }
    }

    /// The same audit, which remembers ids so as to find records that were logged twice.
    #[must_use]
    pub fn with_ids(self, ids: Ids) -> Self {
        Self { ids, ..self }
    }

    /// The same audit, which goes on from what was known of erasures.
    #[must_use]
    pub fn with_erasures(self, erasures: Erasures) -> Self {
        Self { erasures, ..self }
    }

    /// The key of the log's clock, if it is known.
    pub const fn clock_key(&self) -> Option<&VerifierKey> {
        self.clock.as_ref()
    }

    /// The right edge of the tree that the leaves make up.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Size and root of that tree.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// Number of leaves taken.
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// What is known of the log's times.
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// What is known of issuers' streams.
    pub const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// What is known of erasures.
    pub const fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// What is known of erasures, for whoever looks up orders.
    pub const fn erasures_mut(&mut self) -> &mut Erasures {
        &mut self.erasures
    }

    /// Reads the next leaf and takes it: [`Leaf::read`], then [`Audit::take`].
    ///
    /// # Errors
    /// [`TreeError::TooLarge`] if no tree can have another leaf; then nothing changes.
    pub fn leaf(
        &mut self,
        entry: &[u8],
        statement: Slot<'_>,
        now: Timestamp,
        report: &mut Report,
        filled: impl FnMut(FullTile),
    ) -> Result<(), TreeError> {
        self.take(&Leaf::read(entry, statement), now, report, filled)
    }

    /// Takes the next leaf, which was first seen at `now`, and hands on each hash tile that it fills, lowest first.
    ///
    /// What is dear was done when the leaf was read; this costs some microseconds.
    ///
    /// # Errors
    /// [`TreeError::TooLarge`] if no tree can have another leaf; then nothing changes.
    pub fn take(
        &mut self,
        leaf: &Leaf,
        now: Timestamp,
        report: &mut Report,
        filled: impl FnMut(FullTile),
    ) -> Result<(), TreeError> {
        let index = self.frontier.size().next_index();
        self.frontier.push(leaf.hash(), filled)?;
        match leaf.read_entry() {
            Ok(entry) => self.entry(index, entry, leaf, now, report),
            Err(error) => {
                self.times.unreadable();
                report.push(Code::EntryUnreadable, Place::Entry(index), error);
            }
        }
        Ok(())
    }

    fn entry(&mut self, index: LeafIndex, entry: &Entry, leaf: &Leaf, now: Timestamp, report: &mut Report) {
        let place = Place::Entry(index);
        self.times.entry(index, entry.at, now, report);
        if index.get() == 0 && entry.kind != Kind::Rules {
            report.push(Code::RulesMissing, place, format_args!("the first record is a {}", entry.kind));
        }
        if let Some(first) = self.ids.insert(entry.id, index) {
            report.push(Code::RecordTwice, place, format_args!("record {} is entry {first} too", entry.id));
            return;
        }
        leaf.check_statement(place, report);
        self.erasures.take(index, entry, leaf, report);
        let statement = leaf.statement();
        if let Some(meant) = statement.map(|statement| &statement.frame.log)
            && meant.as_str() != self.log.name().as_str()
        {
            report.push(Code::StatementLog, place, format_args!("the record is meant for {meant}"));
            return;
        }
        let Some(position) = entry.position else { return };
        match statement.and_then(|statement| statement.frame.numbering) {
            Some(numbering) => {
                let previous = numbering.previous;
                let record = streams::Ahead { id: entry.id, previous, index, at: entry.at };
                self.streams.proven(&entry.issuer, position, record, report);
            }
            None => self.streams.unproven(&entry.issuer, position, index, report),
        }
    }

    /// Takes a checkpoint of any size, which was read at `now`: [`Audit::read_checkpoint`], then its time, which is
    /// held against all others and kept in mind.
    ///
    /// None if the log did not sign it. What its root means for the tree is for [`Audit::check_head`] or, where
    /// checkpoints were seen before, for fork evidence. Take a checkpoint before the leaves that it adds, so that
    /// their dates are held against it.
    pub fn checkpoint(&mut self, note: &[u8], now: Timestamp, report: &mut Report) -> Option<Seen> {
        let seen = self.read_checkpoint(note, ClockLine::Due, report)?;
        if self.check_time(&seen, now, report) {
            self.remember_time(&seen);
        }
        Some(seen)
    }

    /// Reads a checkpoint: its form, the log's signature, and that of the log's clock. Nothing is kept in mind.
    pub fn read_checkpoint(&self, note: &[u8], clock: ClockLine, report: &mut Report) -> Option<Seen> {
        let checkpoint = match read_checkpoint(note, &self.log) {
            Ok(checkpoint) => checkpoint,
            Err((code, error)) => {
                report.push(code, Place::Log, error);
                return None;
            }
        };
        let place = Place::Checkpoint(checkpoint.head().size);
        let time_s = match self.clock.as_ref().map(|clock| checkpoint.cosignature(clock)) {
            None => None,
            Some(Ok(cosignature)) => Some(cosignature.time_s),
            Some(Err(CheckpointError::Note(NoteError::NotSigned { .. }))) if clock == ClockLine::Optional => {
                None
            }
            Some(Err(error)) => {
                let missing = matches!(error, CheckpointError::Note(NoteError::NotSigned { .. }));
                report.push(if missing { Code::ClockMissing } else { Code::ClockSignature }, place, error);
                None
            }
        };
        Some(Seen { checkpoint, time_s })
    }

    /// Holds the time of a checkpoint, which was read at `now`, against those of others and the dates of entries.
    ///
    /// Whether it may be kept in mind: not if it has none, or one in the future.
    pub fn check_time(&self, seen: &Seen, now: Timestamp, report: &mut Report) -> bool {
        let Some(time_s) = seen.time_s else { return false };
        self.times.check(seen.head().size, time_s, self.frontier.size(), now, report)
    }

    /// Keeps the time of a checkpoint in mind, which is known to be of this log's tree.
    pub fn remember_time(&mut self, seen: &Seen) {
        if let Some(time_s) = seen.time_s {
            self.times.attest(seen.head().size, time_s);
        }
    }

    /// Holds the head of a checkpoint of the audited size against the leaves.
    pub fn check_head(&self, head: TreeHead, report: &mut Report) {
        let own = self.head();
        if head != own {
            let TreeHead { size, root } = own;
            let message = format_args!("the first {size} entries give root {root}, signed is {}", head.root);
            report.push(Code::RootMismatch, Place::Checkpoint(head.size), message);
        }
    }

    /// Reports numbers that issuers have left out for some time. Costs one look at each stream: once a round is enough.
    pub fn check_gaps(&self, now: Timestamp, report: &mut Report) {
        self.streams.gaps(now, report);
    }
}

/// Reads a checkpoint that must be signed by that log, or says what a failure amounts to.
fn read_checkpoint(note: &[u8], log: &VerifierKey) -> Result<VerifiedCheckpoint, (Code, CheckpointError)> {
    let text = std::str::from_utf8(note).map_err(|_| (Code::CheckpointMalformed, CheckpointError::Form))?;
    let signed: SignedCheckpoint = text.parse().map_err(|error| (Code::CheckpointMalformed, error))?;
    signed.verify(log).map_err(|error| match error {
        CheckpointError::OtherOrigin { .. } => (Code::CheckpointOrigin, error),
        _ => (Code::CheckpointSignature, error),
    })
}

#[cfg(test)]
mod tests;

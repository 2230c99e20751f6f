//! What witnesses' times say of when an entry was appended.
//!
//! A witness' cosignature cannot be made before its time, nor over a tree that is not there yet. So an entry is not younger
//! than the cosignatures of any tree that has it: the one of its own proof, and the one in a clock record after it. And it is
//! not older than those in a clock record before it, for the log had them in hand when it appended that record. How far
//! apart the two bounds are depends on how often the log makes such records: once an hour, by default.
//!
//! That record and entry are of one history is shown by one tree head, or by a witness that cosigned both.

use counterfoil_merkle::{
    LeafIndex, TreeHead, TreeSize,
    cosign::Cosignature,
    key::KeyName,
    policy::{Accepted, PolicyError},
    proof::ProofError,
};

use super::{Failure, Report};
use crate::{bundle::Bundle, entry::EntryError, statement::Predicate, trust::Trust};

/// How far a witness' clock may be off, in seconds, before it contradicts the log's.
pub use counterfoil_merkle::witness::SKEW_S_MAX;

/// What witnesses' times say of an entry's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// It was not appended before that.
    pub not_before: Option<Bound>,
    /// It was appended by then.
    pub not_after: Option<Bound>,
    /// Clock records that say nothing of it, and why.
    pub refused: Vec<(LeafIndex, ClockError)>,
}

/// A time by a witness' clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The witness.
    pub witness: KeyName,
    /// POSIX seconds.
    pub time_s: u64,
    /// The clock record that it is from; `None` if it is from the entry's own checkpoint.
    pub record: Option<LeafIndex>,
}

impl Bounds {
    /// What the cosignatures of the entry's own checkpoint say, if it proves the entry.
    pub(super) fn of(inclusion: &Result<(), ProofError>, checkpoint: &Result<Accepted, PolicyError>) -> Self {
        let mut bounds = Self::default();
        if let (Ok(()), Ok(accepted)) = (inclusion, checkpoint) {
            bounds.appended_by(&accepted.witnesses, None);
        }
        bounds
    }

    fn appended_by(&mut self, witnesses: &[Cosignature], record: Option<LeafIndex>) {
        let bounds = witnesses.iter().map(|it| Bound { witness: it.name.clone(), time_s: it.time_s, record });
        self.not_after = self.not_after.take().into_iter().chain(bounds).min_by_key(|bound| bound.time_s);
    }

    fn appended_after(&mut self, witnesses: &[Cosignature], record: Option<LeafIndex>) {
        let bounds = witnesses.iter().map(|it| Bound { witness: it.name.clone(), time_s: it.time_s, record });
        self.not_before = self.not_before.take().into_iter().chain(bounds).max_by_key(|bound| bound.time_s);
    }

    /// What of it contradicts the time that the log gave the entry.
    pub(super) fn failures(&self, at_s: u64) -> Vec<Failure> {
        let refused = self.refused.iter();
        let mut failures: Vec<_> = refused
            .map(|(index, reason)| Failure::ClockRecord { index: *index, reason: reason.clone() })
            .collect();
        if let Some(bound) = &self.not_before
            && at_s.saturating_add(SKEW_S_MAX) < bound.time_s
        {
            failures.push(Failure::BeforeBound { at_s, bound: bound.clone() });
        }
        if let Some(bound) = &self.not_after
            && at_s > bound.time_s.saturating_add(SKEW_S_MAX)
        {
            failures.push(Failure::AfterBound { at_s, bound: bound.clone() });
        }
        failures
    }
}

impl Report {
    /// Adds what clock records of the same log say. What a record does not bear out is in [`Bounds::refused`].
    pub fn bound_by(&mut self, records: &[Bundle], trust: &Trust) {
        for record in records {
            let index = record.proof.index();
            match self.read(record, trust) {
                Ok(accepted) if index < self.index => {
                    self.bounds.appended_after(&accepted.witnesses, Some(index));
                }
                Ok(accepted) => self.bounds.appended_by(&accepted.witnesses, Some(index)),
                Err(reason) => self.bounds.refused.push((index, reason)),
            }
        }
    }

    /// The checkpoint in a clock record, if the record is in the log and says something of this entry's time.
    fn read(&self, record: &Bundle, trust: &Trust) -> Result<Accepted, ClockError> {
        let index = record.proof.index();
        let (Ok(()), Ok(own)) = (&self.inclusion, &self.checkpoint) else { return Err(ClockError::Entry) };
        let outer = trust.policy.check(record.proof.checkpoint()).map_err(ClockError::Checkpoint)?;
        if outer.checkpoint.log_key() != own.checkpoint.log_key() {
            return Err(ClockError::OtherLog);
        }
        record.proof.verify(record.leaf(), &outer.checkpoint).map_err(ClockError::Inclusion)?;
        let statement = record.statement.as_ref().ok_or(ClockError::NoClock)?;
        let statement = record.entry.check_statement(statement).map_err(ClockError::Statement)?;
        let Predicate::Clock(clock) = &statement.predicate else { return Err(ClockError::NoClock) };
        let inner = trust.policy.check(&clock.checkpoint).map_err(ClockError::Clock)?;
        if inner.checkpoint.log_key() != own.checkpoint.log_key() {
            return Err(ClockError::OtherLog);
        }
        if inner.witnesses.is_empty() {
            return Err(ClockError::NoWitness);
        }
        if index == self.index {
            return Err(ClockError::Itself);
        }
        // Before the entry it is the record that has to be of its history, after it the checkpoint in it.
        let size = inner.checkpoint.head().size;
        let of_its_history = if index < self.index {
            of_one_history(&outer, own)
        } else if self.index.get() < size.get() {
            of_one_history(&inner, own)
        } else {
            return Err(ClockError::TooSmall { size });
        };
        if of_its_history { Ok(inner) } else { Err(ClockError::Unlinked) }
    }
}

/// Whether two checkpoints are of one tree, or some witness vouches that the one grew from the other.
fn of_one_history(one: &Accepted, other: &Accepted) -> bool {
    let head = |accepted: &Accepted| -> TreeHead { accepted.checkpoint.head() };
    let vouches = |it: &Cosignature| other.witnesses.iter().any(|also| also.name == it.name);
    head(one) == head(other) || one.witnesses.iter().any(vouches)
}

/// Why a record says nothing of an entry's time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The entry itself is not proven.
    #[error("the entry is not proven itself")]
    Entry,
    /// It is the very entry.
    #[error("it is the entry itself")]
    Itself,
    /// It is not a clock record, or its statement is missing.
    #[error("it is not a clock record")]
    NoClock,
    /// It is in another log.
    #[error("it is of another log")]
    OtherLog,
    /// Its own checkpoint is not acceptable.
    #[error("its checkpoint is not acceptable: {0}")]
    Checkpoint(PolicyError),
    /// Its proof does not hold.
    #[error("its proof does not hold: {0}")]
    Inclusion(ProofError),
    /// Its statement does not go with it.
    #[error("entry and statement do not match: {0}")]
    Statement(EntryError),
    /// The checkpoint that it records is not acceptable.
    #[error("the checkpoint that it records is not acceptable: {0}")]
    Clock(PolicyError),
    /// None of the policy's witnesses cosigned what it records.
    #[error("no witness that you listed cosigned what it records")]
    NoWitness,
    /// Its checkpoint does not have the entry.
    #[error("the tree of size {size} that it records does not have the entry")]
    TooSmall {
        /// The size that it records.
        size: TreeSize,
    },
    /// Nothing shows that it is of the entry's history.
    #[error("no witness that you listed cosigned both its tree and that of the entry")]
    Unlinked,
}

#[cfg(test)]
mod tests;

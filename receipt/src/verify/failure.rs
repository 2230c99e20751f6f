//! What does not hold about a bundle, and in which part of it.

use counterfoil_merkle::{LeafIndex, policy::PolicyError, proof::ProofError};

use super::{Bound, ClockError, ContentsCheck, IssuerCheck, Report, StatementCheck, TimeCheck};
use crate::{
    Id, Timestamp,
    code::codes,
    commitment::{Finding, Label},
    entry::EntryError,
};

codes! {
    /// A part of what is verified.
    Part {
        /// Statement, signature and entry.
        Statement = "statement",
        /// Who issued it.
        Issuer = "issuer",
        /// Entry, index and hashes of the proof.
        Proof = "proof",
        /// The checkpoint and its signatures.
        Checkpoint = "checkpoint",
        /// When it was logged.
        Time = "time",
        /// Bodies and sealed groups.
        Contents = "contents",
    }
}

/// One thing that was asked for and does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Entry and statement do not go together.
    #[error("entry and statement do not match: {0}")]
    Statement(EntryError),
    /// The statement is meant for another log.
    #[error("the statement is meant for {meant}, the checkpoint is of {got}")]
    OtherLog {
        /// The log in the statement.
        meant: String,
        /// The log of the checkpoint.
        got: String,
    },
    /// A named issuer is asked for, and nobody named has this key.
    #[error("no issuer that you named has the key {key}")]
    NotNamed {
        /// The key.
        key: String,
    },
    /// A named issuer is asked for, and without a statement nothing proves who issued it.
    #[error("there is no statement, so that the issuer is the log's word")]
    NotProven,
    /// The key is trusted in other roles only.
    #[error("{name} is named, but not as an issuer of receipts")]
    OtherRole {
        /// The name.
        name: String,
    },
    /// The key was not that issuer's at the time.
    #[error("the key was not {name}'s at {at}")]
    NotValid {
        /// The name.
        name: String,
        /// When the entry was logged, in ms.
        at: Timestamp,
    },
    /// Entry and proof do not lead to the root of the checkpoint.
    #[error("entry, proof and checkpoint do not match: {0}")]
    Inclusion(ProofError),
    /// The policy does not take the checkpoint.
    #[error("the checkpoint is not acceptable: {0}")]
    Checkpoint(PolicyError),
    /// The checkpoint lacks the time that the policy expects.
    #[error("the checkpoint does not have the signature of the log's clock, which your policy lists")]
    NoClock,
    /// The entry is dated after the checkpoint that holds it.
    #[error("the entry is dated {at_s}, after its checkpoint, which is of {clock_s}")]
    AfterCheckpoint {
        /// The entry's time in seconds.
        at_s: u64,
        /// The checkpoint's.
        clock_s: u64,
    },
    /// The entry is dated before a witness' time that came before it.
    #[error(
        "the entry is dated {at_s}, and was not appended before {}, by the clock of {}",
        bound.time_s,
        bound.witness
    )]
    BeforeBound {
        /// The entry's time in seconds.
        at_s: u64,
        /// What bounds it.
        bound: Bound,
    },
    /// The entry is dated after a witness saw it.
    #[error("the entry is dated {at_s}, and was there at {}, by the clock of {}", bound.time_s, bound.witness)]
    AfterBound {
        /// The entry's time in seconds.
        at_s: u64,
        /// What bounds it.
        bound: Bound,
    },
    /// A clock record that was given says nothing of the entry's time.
    #[error("clock record {index}: {reason}")]
    ClockRecord {
        /// Its index, going by its proof.
        index: LeafIndex,
        /// Why.
        reason: ClockError,
    },
    /// The openings are those of another record.
    #[error("the openings are those of record {openings}")]
    OtherOpenings {
        /// That record.
        openings: Id,
    },
    /// There is no statement to hold the contents against.
    #[error("there is no statement that matches, so that the contents cannot be checked")]
    NoStatement,
    /// Contents differ, or are not committed to.
    #[error("{label} {}", describe(*finding))]
    Contents {
        /// What was committed to.
        label: Label,
        /// What was found.
        finding: Finding,
    },
}

const fn describe(finding: Finding) -> &'static str {
    match finding {
        Finding::Opened => "matches",
        Finding::NoOpening => "has no opening",
        Finding::NoBody => "was not given",
        Finding::Differs => "differs from what was committed to",
        Finding::Malformed => "matches, but is not what it should be",
        Finding::NotCommitted => "cannot be checked: commitment or opening is missing",
    }
}

impl Failure {
    /// The part that does not hold.
    pub const fn part(&self) -> Part {
        match self {
            Self::Statement(_) | Self::OtherLog { .. } => Part::Statement,
            Self::NotNamed { .. } | Self::NotProven | Self::OtherRole { .. } | Self::NotValid { .. } => {
                Part::Issuer
            }
            Self::Inclusion(_) => Part::Proof,
            Self::Checkpoint(_) => Part::Checkpoint,
            Self::NoClock
            | Self::AfterCheckpoint { .. }
            | Self::BeforeBound { .. }
            | Self::AfterBound { .. }
            | Self::ClockRecord { .. } => Part::Time,
            Self::OtherOpenings { .. } | Self::NoStatement | Self::Contents { .. } => Part::Contents,
        }
    }
}

impl Report {
    /// All that was asked for and does not hold, in the order of the parts.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        match &self.statement {
            StatementCheck::Matches(_) | StatementCheck::Erased => {}
            StatementCheck::Differs(reason) => failures.push(Failure::Statement(reason.clone())),
            StatementCheck::OtherLog(statement) => failures
                .push(Failure::OtherLog { meant: statement.frame.log.to_string(), got: self.origin.clone() }),
        }
        failures.extend(self.issuer_failure());
        failures.extend(self.inclusion.err().map(Failure::Inclusion));
        failures.extend(self.checkpoint.as_ref().err().cloned().map(Failure::Checkpoint));
        match self.time {
            TimeCheck::Attested { .. } | TimeCheck::Unattested => {}
            TimeCheck::NoClock => failures.push(Failure::NoClock),
            TimeCheck::AfterCheckpoint { clock_s } => {
                failures.push(Failure::AfterCheckpoint { at_s: self.entry.at.seconds(), clock_s });
            }
        }
        failures.extend(self.bounds.failures(self.entry.at.seconds()));
        match &self.contents {
            ContentsCheck::NotGiven => {}
            ContentsCheck::OtherRecord { openings } => {
                failures.push(Failure::OtherOpenings { openings: *openings });
            }
            ContentsCheck::NoStatement => failures.push(Failure::NoStatement),
            ContentsCheck::Checked(checked) => failures.extend(checked.iter().filter_map(|it| {
                let bad = matches!(it.finding, Finding::Differs | Finding::Malformed | Finding::NotCommitted);
                bad.then_some(Failure::Contents { label: it.label, finding: it.finding })
            })),
        }
        failures
    }

    fn issuer_failure(&self) -> Option<Failure> {
        if !self.issuer_demanded {
            return None;
        }
        match &self.issuer {
            IssuerCheck::OtherRole { name } => Some(Failure::OtherRole { name: name.clone() }),
            IssuerCheck::NotNamed => Some(Failure::NotNamed { key: self.entry.issuer.to_string() }),
            IssuerCheck::NotValid { name, .. } => {
                Some(Failure::NotValid { name: name.clone(), at: self.entry.at })
            }
            IssuerCheck::Named { .. } if matches!(self.statement, StatementCheck::Erased) => {
                Some(Failure::NotProven)
            }
            IssuerCheck::Named { .. } => None,
        }
    }
}

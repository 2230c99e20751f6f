//! Admission over again: from entry 0 on, with nothing but entries and statements.

use counterfoil_merkle::{Hash, TreeSize};

use super::{Blind, Candidate, Chain, Ledger, Pass, Refused};
use crate::{
    entry::Entry,
    statement::{Origin, Statement},
};

/// A replay of the admission of a log, as far as it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    ledger: Ledger,
    blind: Option<Blind>,
}

impl Replay {
    /// A replay from the first record of a log.
    pub fn new(log: Origin) -> Self {
        Self { ledger: Ledger::new(log), blind: None }
    }

    /// What admission knows by now.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many records were judged.
    pub const fn size(&self) -> TreeSize {
        self.ledger.size()
    }

    /// Goes past a leaf that cannot be read.
    pub fn pass(&mut self) {
        self.ledger.skip_to(self.ledger.size().next_index().size_through());
    }

    /// Judges the next record of the log again.
    ///
    /// `statement` is that of the entry, which the caller has checked; `chain` is what the log has before it of the
    /// records it is about, filled. A record that should not have been admitted changes nothing for those after it.
    pub fn next(
        &mut self,
        entry: &Entry,
        leaf: Hash,
        statement: Option<&Statement>,
        chain: &Chain,
    ) -> Result<Pass, NotAdmitted> {
        let record = Candidate::logged(entry, statement);
        let size = self.ledger.size();
        let outcome = match self.blind {
            Some(blind) => Err(NotAdmitted::Blind(blind)),
            None => self.judge(&record, leaf, chain, entry),
        };
        if self.ledger.size() == size {
            self.pass();
        }
        outcome
    }

    fn judge(
        &mut self,
        record: &Candidate<'_>,
        leaf: Hash,
        chain: &Chain,
        entry: &Entry,
    ) -> Result<Pass, NotAdmitted> {
        let pass = self.ledger.judge(record, chain, entry.at)?;
        if let Err(blind) = self.ledger.take(record, leaf) {
            self.blind = Some(blind);
            return Err(blind.into());
        }
        Ok(pass)
    }
}

/// Why a record of a log is not found to have been admitted rightly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// It breaks a rule: the log should not have taken it.
    #[error("the record should not have been admitted: {0}")]
    Refused(#[from] Refused),
    /// A record before it that others are judged by is not shown.
    #[error(transparent)]
    Blind(#[from] Blind),
}

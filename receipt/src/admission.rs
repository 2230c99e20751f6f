//! May this record enter? A pure function of the records before it, its envelope, and its date.
//!
//! Admission judges form and right, never content, and nothing that cannot be checked again later from entries and
//! statements: [`Replay`] does. `RECORDS.md` has the rules. Quotas are not admission.

mod chain;
mod judge;
mod ledger;
mod refused;
mod replay;

pub use chain::{CHAIN_MAX, Chain, Link};
pub use judge::DUE_WITHIN_MS_MAX;
pub use ledger::{Blind, Ledger, Registered, STRANGERS_MAX};
pub use refused::Refused;
pub use replay::{NotAdmitted, Replay};

use counterfoil_merkle::Hash;

use crate::{
    entry::{Entry, EntryDraft},
    envelope::{Id, VerifiedEnvelope},
    key::PublicKey,
    statement::{Kind, Statement},
    timestamp::Timestamp,
};

/// A record to be judged: what its entry says of it, and its statement if that is there.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The key that signed it.
    pub issuer: &'a PublicKey,
    /// The record it is about.
    pub about: Option<Hash>,
    /// Its statement; `None` if that was erased, or is not shown.
    pub statement: Option<&'a Statement>,
}

impl<'a> Candidate<'a> {
    /// A record that has no entry yet.
    pub fn new(statement: &'a Statement) -> Self {
        let (kind, about) = (statement.kind(), statement.about());
        Self { kind, issuer: &statement.frame.issuer.key, about, statement: Some(statement) }
    }

    /// A record of a log. `statement` is that of the entry, which the caller has checked.
    pub const fn logged(entry: &'a Entry, statement: Option<&'a Statement>) -> Self {
        Self { kind: entry.kind, issuer: &entry.issuer, about: entry.about, statement }
    }
}

/// What admitting a record rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pass {
    /// On all that there is to judge.
    Whole,
    /// On what can be seen, and something cannot.
    InPart(Unseen),
}

/// What could not be judged, because a statement is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// What the record itself says beyond its entry.
    Statement,
    /// Whether the signer is the one who may: the statement of that dispute shows it.
    Right {
        /// The dispute.
        leaf: Hash,
    },
    /// Whether an arbiter is a party itself: the statement of that dispute shows it.
    Case {
        /// The dispute.
        leaf: Hash,
    },
}

impl Pass {
    /// What a log does with a new record: it takes none whose right nobody can see.
    pub const fn for_new(self) -> Result<(), Refused> {
        match self {
            Self::InPart(Unseen::Right { leaf }) => Err(Refused::AboutErased { leaf }),
            _ => Ok(()),
        }
    }
}

/// A record that may enter, as far as that was judged when it came; the sequencer judges it once more, at its place.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// SHA-256 of what was signed, computed when the signature was checked.
    pub id: Id,
    /// The entry but for its time.
    pub draft: EntryDraft,
    /// SHA-256 of that.
    pub draft_digest: Hash,
    /// What kind of record it is.
    pub kind: Kind,
    /// The statement, byte for byte as it was signed.
    pub statement: Vec<u8>,
    /// What it is judged by.
    pub judged: Judged,
}

/// What a record is judged by once more.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    issuer: PublicKey,
    kind: Kind,
    /// None for plain receipts, of which only the issuer matters.
    rest: Option<Box<(Statement, Chain)>>,
}

impl Admitted {
    /// The record of an envelope whose statement was read; `chain` is that of the statement, filled.
    pub fn new(envelope: VerifiedEnvelope, statement: Statement, chain: Chain) -> Self {
        let (id, draft) = (envelope.id(), EntryDraft::new(&envelope, &statement));
        let (draft_digest, kind) = (draft.digest(), statement.kind());
        let envelope = envelope.into_envelope();
        let issuer = envelope.key().clone();
        let rest = (kind != Kind::Receipt).then(|| Box::new((statement, chain)));
        let judged = Judged { issuer, kind, rest };
        Self { id, draft, draft_digest, kind, statement: envelope.into_statement(), judged }
    }
}

impl Judged {
    /// Judges the record as the next one of a log, dated `at`.
    pub fn judge(&self, ledger: &Ledger, at: Timestamp) -> Result<(), Refused> {
        match &self.rest {
            Some(rest) => ledger.judge(&Candidate::new(&rest.0), &rest.1, at)?.for_new(),
            None => {
                let plain = Candidate { kind: self.kind, issuer: &self.issuer, about: None, statement: None };
                ledger.judge(&plain, &Chain::default(), at)?.for_new()
            }
        }
    }

    /// The statement, if others are judged by such records.
    pub fn decides(&self) -> Option<&Statement> {
        self.rest.as_ref().map(|rest| &rest.0).filter(|_| Ledger::is_changed_by(self.kind))
    }
}

#[cfg(test)]
mod tests;

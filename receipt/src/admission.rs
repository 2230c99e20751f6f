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
    envelope::{Envelope, EnvelopeError, Id, VerifiedEnvelope},
    key::PublicKey,
    statement::{Kind, Origin, Statement, StatementError},
    timestamp::Timestamp,
    trust::{Issuers, Role},
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

/// Who may write receipts.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Every key: each signature is checked, and that is all.
    Open {
        /// The log.
        log: Origin,
    },
    /// Keys that are listed, while they are valid.
    Registered {
        /// The log.
        log: Origin,
        /// Who is listed.
        issuers: Issuers,
    },
}

/// A record that may enter, as the sequencer takes it.
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
}

impl Admission {
    /// Judges an envelope at the present time.
    ///
    /// The signature is checked before the statement is parsed. Costs one signature check, some 50 us.
    pub fn admit(&self, envelope: Envelope, now: Timestamp) -> Result<Admitted, Refusal> {
        self.check_issuer(envelope.key(), now)?;
        let envelope = envelope.verify()?;
        let statement = Statement::parse(&envelope)?;
        let (log, meant) = (self.log(), &statement.frame.log);
        if meant != log {
            return Err(Refusal::OtherLog { log: log.clone(), meant: meant.clone() });
        }
        match statement.kind() {
            Kind::Receipt => Ok(Admitted::new(envelope, &statement)),
            kind => Err(Refusal::Kind { kind }),
        }
    }

    /// The log's origin.
    pub const fn log(&self) -> &Origin {
        match self {
            Self::Open { log } | Self::Registered { log, .. } => log,
        }
    }

    fn check_issuer(&self, key: &PublicKey, now: Timestamp) -> Result<(), Refusal> {
        let Self::Registered { issuers, .. } = self else { return Ok(()) };
        let issuer = issuers.find(key).ok_or_else(|| Refusal::UnknownIssuer { key: key.clone() })?;
        if !issuer.roles().is_empty() && !issuer.roles().contains(&Role::Issuer) {
            return Err(Refusal::NotAnIssuer { name: issuer.name().to_owned() });
        }
        if !issuer.is_valid_at(now) {
            return Err(Refusal::IssuerNotValid { name: issuer.name().to_owned(), now });
        }
        Ok(())
    }
}

impl Admitted {
    /// The record of an envelope whose statement was judged.
    pub fn new(envelope: VerifiedEnvelope, statement: &Statement) -> Self {
        let (id, draft) = (envelope.id(), EntryDraft::new(&envelope, statement));
        let draft_digest = draft.digest();
        let (kind, statement) = (statement.kind(), envelope.into_envelope().into_statement());
        Self { id, draft, draft_digest, kind, statement }
    }
}

/// The rule that a record broke. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The envelope cannot be read, or its signature does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement is not one that a log takes.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The statement is meant for another log.
    #[error("statement, predicate.log: the record is meant for {meant}, this log is {log}")]
    OtherLog {
        /// This log.
        log: Origin,
        /// The log it is meant for.
        meant: Origin,
    },
    /// Records of this kind are not taken from outside.
    #[error("statement, predicateType: records of kind {kind} are not taken here")]
    Kind {
        /// The kind.
        kind: Kind,
    },
    /// The key is not listed.
    #[error("envelope, signatures[0].keyid: issuer {key} is not registered with this log")]
    UnknownIssuer {
        /// The key.
        key: PublicKey,
    },
    /// The key is listed for other things.
    #[error("envelope, signatures[0].keyid: {name} is registered, but not as an issuer")]
    NotAnIssuer {
        /// The issuer's name.
        name: String,
    },
    /// The key is listed for another time.
    #[error("envelope, signatures[0].keyid: the registration of {name} is not valid at {now} ms")]
    IssuerNotValid {
        /// The issuer's name.
        name: String,
        /// When it was judged.
        now: Timestamp,
    },
}

#[cfg(test)]
mod tests;

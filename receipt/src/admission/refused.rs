//! The rule that a record broke.

use counterfoil_merkle::Hash;

use crate::{
    envelope::EnvelopeError,
    key::PublicKey,
    statement::{Ground, Kind, Origin, Role, Rule, StatementError},
    timestamp::Timestamp,
};

/// Why a record may not enter. Nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The envelope cannot be read, or its signature does not verify: it has no author.
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
    /// Records of this kind are never logged.
    #[error("statement, predicateType: records of kind {kind} are never logged")]
    NeverLogged {
        /// The kind.
        kind: Kind,
    },
    /// The first record is another than the rules.
    #[error("the first record of a log is its rules, signed by the operator they name")]
    FirstRecord,
    /// The operator alone signs this.
    #[error("envelope, signatures[0].keyid: the log's operator signs records of this kind, nobody else")]
    Operator,
    /// A registrar alone signs this.
    #[error("envelope, signatures[0].keyid: {key} may not register or revoke this: a registrar may")]
    Registrar {
        /// The signer.
        key: PublicKey,
    },
    /// The key has no record.
    #[error("envelope, signatures[0].keyid: {key} is not registered with this log")]
    KeyUnknown {
        /// The key.
        key: PublicKey,
    },
    /// The key has other roles.
    #[error("envelope, signatures[0].keyid: {key} is registered, but not as {role}")]
    KeyRole {
        /// The key.
        key: PublicKey,
        /// The role that is needed.
        role: Role,
    },
    /// The key is registered for another time.
    #[error("envelope, signatures[0].keyid: the registration of {key} is not valid at {at} ms")]
    KeyWindow {
        /// The key.
        key: PublicKey,
        /// When it was judged.
        at: Timestamp,
    },
    /// The key was revoked.
    #[error("{key} was revoked: it signs nothing more, and is not registered again")]
    KeyRevoked {
        /// The key.
        key: PublicKey,
    },
    /// No more keys that nobody registered can be remembered as revoked.
    #[error("too many keys that nobody registered were revoked already")]
    KeysFull,
    /// A revocation is not about the record of its key.
    #[error("statement, subject: the revocation must be about {}", .record.map_or_else(|| "the log, or the key's own card".to_owned(), |leaf| format!("the key's record {leaf}")))]
    Card {
        /// The key's record.
        record: Option<Hash>,
    },
    /// The log has no such record.
    #[error("statement, subject[0].digest.counterfoilLeaf: this log has no record {leaf} before this one")]
    AboutMissing {
        /// The leaf hash.
        leaf: Hash,
    },
    /// It must be about a record.
    #[error("statement, subject: a {kind} is about a record")]
    AboutNothing {
        /// The kind.
        kind: Kind,
    },
    /// It cannot be about a record of that kind.
    #[error("statement, subject: a {kind} cannot be about a {about}{}", if *.appeal { " that decided an appeal" } else { "" })]
    AboutKind {
        /// The kind of the record.
        kind: Kind,
        /// The kind of the record it is about.
        about: Kind,
        /// Whether it would be a second appeal.
        appeal: bool,
    },
    /// What it depends on was erased.
    #[error("the statement of record {leaf} was erased, and only it shows who may sign this")]
    AboutErased {
        /// The record.
        leaf: Hash,
    },
    /// The signer may not say this about that record.
    #[error("envelope, signatures[0].keyid: {key} is none of those who may sign this about that record")]
    Signer {
        /// The signer.
        key: PublicKey,
    },
    /// Somebody decides on their own case.
    #[error("envelope, signatures[0].keyid: {key} is a party to this, and decides nothing in it")]
    OwnCase {
        /// The signer.
        key: PublicKey,
    },
    /// The ground does not fit.
    #[error("statement, predicate.grounds: {ground} is no ground against a {about}")]
    Ground {
        /// The ground.
        ground: Ground,
        /// What is disputed.
        about: Kind,
    },
    /// The deadline cannot be.
    #[error("statement: something due at {due} ms is not after {at} ms, or more than ten years after")]
    Deadline {
        /// The deadline.
        due: Timestamp,
        /// The record's date.
        at: Timestamp,
    },
    /// A key is disowned from a time to come.
    #[error("statement, predicate.since: {since} ms is after the record itself, which is of {at} ms")]
    Since {
        /// From when on.
        since: Timestamp,
        /// The record's date.
        at: Timestamp,
    },
    /// The promise is not due yet.
    #[error("the promise is due by {by} ms, and it is {at} ms now")]
    PromiseEarly {
        /// By when.
        by: Timestamp,
        /// The record's date.
        at: Timestamp,
    },
}

impl Refused {
    /// The rule, as a signed refusal names it; none if the record has no author to give one to.
    pub const fn rule(&self) -> Option<Rule> {
        Some(match self {
            Self::Envelope(_) => return None,
            Self::Statement(_) => Rule::Statement,
            Self::OtherLog { .. } => Rule::Log,
            Self::NeverLogged { .. } => Rule::NeverLogged,
            Self::FirstRecord => Rule::FirstRecord,
            Self::Operator => Rule::Operator,
            Self::Registrar { .. } => Rule::Registrar,
            Self::KeyUnknown { .. } => Rule::KeyUnknown,
            Self::KeyRole { .. } => Rule::KeyRole,
            Self::KeyWindow { .. } => Rule::KeyWindow,
            Self::KeyRevoked { .. } => Rule::KeyRevoked,
            Self::KeysFull => Rule::KeysFull,
            Self::Card { .. } => Rule::Card,
            Self::AboutMissing { .. } => Rule::AboutMissing,
            Self::AboutNothing { .. } | Self::AboutKind { .. } => Rule::AboutKind,
            Self::AboutErased { .. } => Rule::AboutErased,
            Self::Signer { .. } => Rule::Signer,
            Self::OwnCase { .. } => Rule::OwnCase,
            Self::Ground { .. } => Rule::Ground,
            Self::Deadline { .. } => Rule::Deadline,
            Self::Since { .. } => Rule::Since,
            Self::PromiseEarly { .. } => Rule::PromiseEarly,
        })
    }
}

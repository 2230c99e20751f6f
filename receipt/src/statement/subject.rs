//! What a statement is about: an exchange, by commitments; a record in the log, by its leaf hash; or something outside.

use std::{fmt, str::FromStr};

use counterfoil_merkle::{Hash, hash::HashError};

use super::{Kind, Origin};
use crate::{
    envelope::Id,
    json::{
        field::{Field, FieldError, Reason},
        write,
    },
};

const COMMITMENT: &str = "counterfoilCommitment";
const LEAF: &str = "counterfoilLeaf";
const ID: &str = "counterfoilId";

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An exchange with a model.
    Exchange {
        /// The request's body.
        request: Commitment,
        /// The response's body; absent when nothing was sent.
        response: Option<Commitment>,
    },
    /// A record in the log, by its leaf hash.
    Record(Hash),
    /// No record: the log itself. Written as the origin's name and the hash of the empty string.
    Log,
    /// A promise of a receipt, by its id; it lies in the predicate.
    Promise(Id),
    /// A record of another log, by its leaf hash; its entry lies in the predicate.
    Elsewhere(Hash),
}

impl Subject {
    /// Reads the subject that is due for a kind; a dispute's depends on what it says besides.
    pub(super) fn read(field: &Field<'_, '_>, kind: Kind, log: &Origin) -> Result<Self, FieldError> {
        match kind {
            Kind::Receipt => Self::read_exchange(field),
            Kind::Rules | Kind::Revocation => Self::read_record(field, log),
            Kind::Clock
            | Kind::Key
            | Kind::Policy
            | Kind::Epoch
            | Kind::Void
            | Kind::Promise
            | Kind::Refusal => Self::read_log(field, log),
            Kind::Verdict
            | Kind::Dispute
            | Kind::Response
            | Kind::Resolution
            | Kind::Remedy
            | Kind::Correction
            | Kind::Erasure => Self::read_leaf(field),
        }
    }

    fn read_exchange(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut items = field.items(2)?;
        let request = items.next().ok_or_else(|| field.error(Reason::Empty))?;
        let request = digest(&request, "request", COMMITMENT)?;
        let response = items.next().map(|item| digest(&item, "response", COMMITMENT)).transpose()?;
        Ok(Self::Exchange { request: Commitment(request), response: response.map(Commitment) })
    }

    fn read_record(field: &Field<'_, '_>, log: &Origin) -> Result<Self, FieldError> {
        let item = only(field)?;
        if item.value().member("name").and_then(|name| name.text()) == Some(log.as_str())
            && digest(&item, log.as_str(), LEAF)? == Hash::EMPTY_ROOT
        {
            return Ok(Self::Log);
        }
        digest(&item, "record", LEAF).map(Self::Record)
    }

    /// Reads a subject that must be a record.
    pub(super) fn read_leaf(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        digest(&only(field)?, "record", LEAF).map(Self::Record)
    }

    /// Reads a subject that must be the log.
    fn read_log(field: &Field<'_, '_>, log: &Origin) -> Result<Self, FieldError> {
        match Self::read_record(field, log)? {
            Self::Log => Ok(Self::Log),
            _ => Err(field.error(Reason::Rule("must be the log itself, not a record"))),
        }
    }

    /// Reads a subject that must be that promise.
    pub(super) fn read_promise(field: &Field<'_, '_>, promise: Id) -> Result<Self, FieldError> {
        match Id::new(digest(&only(field)?, "promise", ID)?) {
            id if id == promise => Ok(Self::Promise(id)),
            other => Err(field.mismatch(&promise.to_string(), &other.to_string())),
        }
    }

    /// Reads a subject that must be that record of another log.
    pub(super) fn read_elsewhere(field: &Field<'_, '_>, leaf: Hash) -> Result<Self, FieldError> {
        match digest(&only(field)?, "elsewhere", LEAF)? {
            hash if hash == leaf => Ok(Self::Elsewhere(hash)),
            other => Err(field.mismatch(&leaf.to_string(), &other.to_string())),
        }
    }

    pub(super) fn write(&self, log: &Origin, out: &mut String) {
        let descriptor = |out: &mut String, (name, digest, hash): (&str, &str, Hash)| {
            write::write_object(out, |item| {
                item.string("name", name);
                item.object("digest", |set| set.display(digest, hash));
            });
        };
        match *self {
            Self::Exchange { request, response } => {
                let items = [Some(("request", request)), response.map(|response| ("response", response))];
                let items = items.into_iter().flatten().map(|(name, it)| (name, COMMITMENT, it.0));
                write::array(out, items, descriptor);
            }
            Self::Record(leaf) => write::array(out, [("record", LEAF, leaf)], descriptor),
            Self::Log => write::array(out, [(log.as_str(), LEAF, Hash::EMPTY_ROOT)], descriptor),
            Self::Promise(id) => write::array(out, [("promise", ID, Hash::new(*id.as_bytes()))], descriptor),
            Self::Elsewhere(leaf) => write::array(out, [("elsewhere", LEAF, leaf)], descriptor),
        }
    }
}

/// The one item of a subject.
fn only<'p, 'a>(field: &'p Field<'p, 'a>) -> Result<Field<'p, 'a>, FieldError> {
    field.items(1)?.next().ok_or_else(|| field.error(Reason::Empty))
}

fn digest(item: &Field<'_, '_>, name: &str, algorithm: &'static str) -> Result<Hash, FieldError> {
    let mut members = item.object()?;
    members.required("name")?.exactly(name)?;
    let set = members.required("digest")?;
    members.finish()?;
    let mut digests = set.object()?;
    let hash = digests.required(algorithm)?.parse()?;
    digests.finish()?;
    Ok(hash)
}

/// An HMAC-SHA256 commitment to bytes that stay outside the log, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment(Hash);

impl Commitment {
    /// Wraps 32 bytes that are a commitment already.
    pub const fn new(bytes: [u8; Hash::BYTES]) -> Self {
        Self(Hash::new(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Hash::BYTES] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({})", self.0)
    }
}

impl FromStr for Commitment {
    type Err = HashError;

    /// Reads 64 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, HashError> {
        text.parse().map(Self)
    }
}

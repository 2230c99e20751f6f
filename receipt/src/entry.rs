//! The leaf: a small canonical JSON object, public and for ever.
//!
//! All of it but `at` is what envelope and statement say: an entry and its statement give the envelope back. What it says of
//! claim key, stream, number and subject is proven only together with the statement; alone it is the log's word.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::Hash;

use crate::{
    envelope::{Envelope, EnvelopeError, Id, VerifiedEnvelope},
    json::{
        JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
    key::{KeyError, PublicKey, SIGNATURE_BYTES_MAX},
    statement::{Kind, Number, Statement, StatementError, StreamId},
    timestamp::Timestamp,
};

/// Most bytes of an entry: two P-256 keys, a P-256 signature, everything else present and as long as it gets.
pub const ENTRY_BYTES_MAX: usize = 636;

/// One leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leaf hash of the record that this one concerns.
    pub about: Option<Hash>,
    /// When the log took it, by the log's clock; never going back.
    pub at: Timestamp,
    /// The public half of the one-time key that came with the answer.
    pub claim: Option<PublicKey>,
    /// The id of the statement.
    pub id: Id,
    /// The key that signed the statement.
    pub issuer: PublicKey,
    /// The kind of record.
    pub kind: Kind,
    /// Its signature.
    pub signature: Vec<u8>,
    /// Its place in a stream of the issuer's.
    pub position: Option<Position>,
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The stream.
    pub stream: StreamId,
    /// The place, counted from 0.
    pub number: Number,
}

impl Entry {
    /// Reads the canonical form: what parses prints back identically.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { got: bytes.len() });
        }
        let value = Value::parse(bytes)?;
        let entry = Self::read(&Field::root(&value))?;
        if !entry.kind.is_logged() {
            return Err(EntryError::NotLogged { kind: entry.kind });
        }
        if entry.to_bytes() != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(entry)
    }

    /// Prints the canonical form.
    pub fn to_bytes(&self) -> Vec<u8> {
        EntryDraft::print(self).stamp(self.at)
    }

    /// The leaf hash: SHA-256(0x00 || entry).
    pub fn leaf_hash(&self) -> Hash {
        Hash::leaf(&self.to_bytes())
    }

    /// The envelope that this entry and its statement came from. Nothing is checked: see [`Entry::check_statement`].
    pub fn envelope(&self, statement: Vec<u8>) -> Result<Envelope, EnvelopeError> {
        Envelope::new(statement, self.issuer.clone(), self.signature.clone())
    }

    /// Checks that all of the entry but `at` is what `statement` and its signature say, and reads the statement.
    pub fn check_statement(&self, statement: &[u8]) -> Result<Statement, EntryError> {
        let id = Id::of_statement(statement);
        if id != self.id {
            return Err(EntryError::OtherStatement { entry: self.id, statement: id });
        }
        let envelope = self.envelope(statement.to_vec())?.verify()?;
        let statement = Statement::parse(&envelope)?;
        let said = Self::said(&envelope, &statement, self.at);
        let differs = |member| Err(EntryError::Differs { member });
        match () {
            () if said.about != self.about => differs("about"),
            () if said.claim != self.claim => differs("claim"),
            () if said.kind != self.kind => differs("kind"),
            () if said.position != self.position => differs("stream or number"),
            () => {
                assert_eq!(&said, self, "issuer, id and signature went into the envelope");
                Ok(statement)
            }
        }
    }

    /// The entry that envelope and statement make.
    fn said(envelope: &VerifiedEnvelope, statement: &Statement, at: Timestamp) -> Self {
        let position = |numbering: crate::statement::Numbering| Position {
            stream: numbering.stream,
            number: numbering.number,
        };
        Self {
            about: statement.about(),
            at,
            claim: statement.claim().cloned(),
            id: envelope.id(),
            issuer: envelope.key().clone(),
            kind: statement.kind(),
            signature: envelope.envelope().signature().to_vec(),
            position: statement.frame.numbering.map(position),
        }
    }

    fn read(root: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = root.object()?;
        let about = members.required("about")?.nullable(Field::parse)?;
        let at = members.required("at")?;
        let at = Timestamp::from_millis(at.integer()?)
            .ok_or_else(|| at.error(Reason::Rule("must be a time in ms")))?;
        let claim = members.required("claim")?.nullable(Field::parse)?;
        let id = members.required("id")?.parse()?;
        let issuer = members.required("issuer")?.parse()?;
        let kind = members.required("kind")?.code(Kind::CODES)?;
        let number = members.required("number")?.nullable(Field::integer)?;
        let signature = members.required("sig")?;
        let stream = members.required("stream")?.nullable(Field::parse)?;
        let position = match (stream, number.and_then(Number::new)) {
            (Some(stream), Some(number)) => Some(Position { stream, number }),
            (None, None) => None,
            _ => return Err(members.at("stream", Reason::Together { names: "stream and number" })),
        };
        members.finish()?;
        let bytes = BASE64.decode(signature.string()?);
        let Some(bytes) = bytes.ok().filter(|bytes| bytes.len() <= SIGNATURE_BYTES_MAX) else {
            return Err(signature.error(Reason::Rule("must be the base64 of a signature")));
        };
        Ok(Self { about, at, claim, id, issuer, kind, signature: bytes, position })
    }
}

/// An entry that lacks only its time, which goes to one place between bytes that are ready: a batch is stamped in no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDraft {
    text: String,
    /// Where the time goes.
    at: usize,
}

impl EntryDraft {
    /// The entry of a record. `statement` is what was read from `envelope`.
    pub fn new(envelope: &VerifiedEnvelope, statement: &Statement) -> Self {
        assert_eq!(envelope.key(), &statement.frame.issuer.key, "the statement was read from this envelope");
        let unstamped = Timestamp::from_millis(0).expect("0 is a time");
        Self::print(&Entry::said(envelope, statement, unstamped))
    }

    /// The canonical entry, dated `at`.
    pub fn stamp(&self, at: Timestamp) -> Vec<u8> {
        let digits = at.millis().to_string();
        let (before, after) = self.text.split_at(self.at);
        [before.as_bytes(), digits.as_bytes(), after.as_bytes()].concat()
    }

    /// SHA-256 of all of the entry but its time. Taken when a record is admitted, it tells later whether the entry still
    /// says what was admitted.
    pub fn digest(&self) -> Hash {
        Hash::of(&[self.text.as_bytes()])
    }

    /// The [`EntryDraft::digest`] that a stamped entry must have come from; `None` if it is not dated `at`.
    pub fn digest_of(entry: &[u8], at: Timestamp) -> Option<Hash> {
        let dated = format!("\"at\":{at},");
        let found = entry.windows(dated.len()).position(|window| window == dated.as_bytes())?;
        let digits = found + "\"at\":".len()..found + dated.len() - 1;
        Some(Hash::of(&[&entry[..digits.start], &entry[digits.end..]]))
    }

    fn print(entry: &Entry) -> Self {
        let (mut text, mut at) = (String::with_capacity(ENTRY_BYTES_MAX), 0);
        write::write_object(&mut text, |members| {
            match entry.about {
                Some(leaf) => members.display("about", leaf),
                None => members.null("about"),
            }
            at = members.member("at").len();
            match &entry.claim {
                Some(key) => members.string("claim", key.as_str()),
                None => members.null("claim"),
            }
            members.display("id", entry.id);
            members.string("issuer", entry.issuer.as_str());
            members.string("kind", entry.kind.as_str());
            match entry.position {
                Some(Position { number, .. }) => members.integer("number", number.get()),
                None => members.null("number"),
            }
            members.string("sig", &BASE64.encode(&entry.signature));
            match entry.position {
                Some(Position { stream, .. }) => members.display("stream", stream),
                None => members.null("stream"),
            }
        });
        Self { text, at }
    }
}

/// Why an entry is refused, or does not belong to a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is too long to be one.
    #[error("an entry has at most {ENTRY_BYTES_MAX} bytes, this has {got}")]
    TooLong {
        /// How many bytes it has.
        got: usize,
    },
    /// It is no JSON that we read.
    #[error("entry, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("entry, {0}")]
    Field(#[from] FieldError),
    /// It says the right things in another form than the only one allowed.
    #[error("the entry is not in canonical form")]
    NotCanonical,
    /// Records of this kind never enter a log.
    #[error("records of kind {kind} are never logged")]
    NotLogged {
        /// The kind.
        kind: Kind,
    },
    /// It belongs to another statement.
    #[error("the entry is that of {entry}, the statement is {statement}")]
    OtherStatement {
        /// The id in the entry.
        entry: Id,
        /// The id of the statement.
        statement: Id,
    },
    /// Its signature does not verify, or the statement fits no envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement is none.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It says something else than the statement: the log's doing, not the issuer's.
    #[error("{member} in the entry is not what the statement says")]
    Differs {
        /// The member.
        member: &'static str,
    },
}

impl EntryError {
    /// Whether the signature is what is wrong.
    pub fn is_signature(&self) -> bool {
        matches!(
            self,
            Self::Envelope(EnvelopeError::Signature(KeyError::Signature | KeyError::SignatureForm))
        )
    }
}

#[cfg(test)]
mod tests;

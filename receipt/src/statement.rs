//! Statements: what an issuer signs. An in-toto Statement v1 whose predicate is one of Counterfoil's records.
//!
//! Reading is strict: unknown members, open codes, texts without bound and control characters are refused, so that what a
//! log took means one thing to everybody. A statement is kept byte for byte; it need not be canonical.

pub mod clock;
pub mod frame;
pub mod groups;
pub mod kind;
pub mod receipt;
pub mod rules;
pub mod subject;

pub use clock::Clock;
pub use frame::{Frame, Issuer, Nonce, Number, Numbering, Origin, StreamId};
pub use groups::{Group, GroupName, Sealable};
pub use kind::Kind;
pub use receipt::Receipt;
pub use rules::Rules;
pub use subject::{Commitment, Subject};

use counterfoil_merkle::Hash;

use crate::{
    envelope::{EnvelopeError, VerifiedEnvelope},
    json::{
        Data, JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
    key::{PublicKey, SigningKey},
};

/// The `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Most bytes of a text in a statement: model names, paths, engines.
pub const TEXT_BYTES_MAX: usize = 512;

/// A statement, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it is about.
    pub subject: Subject,
    /// What every record says: nonce, log, issuer, numbering.
    pub frame: Frame,
    /// What this kind of record says.
    pub predicate: Predicate,
}

/// What a record says beyond its frame, by kind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Predicate {
    /// An inference receipt.
    Receipt(Box<Receipt>),
    /// Who may write into the log.
    Rules(Rules),
    /// A checkpoint with witnesses' times.
    Clock(Box<Clock>),
}

impl Statement {
    /// Reads the statement of an envelope that verified.
    ///
    /// Its issuer must be the envelope's key: nobody signs in another's name.
    pub fn parse(envelope: &VerifiedEnvelope) -> Result<Self, StatementError> {
        Self::parse_as(envelope.envelope().statement_bytes(), envelope.key())
    }

    /// Prints the statement, checks that it reads back, and signs it.
    pub fn sign(&self, key: &SigningKey) -> Result<VerifiedEnvelope, SignError> {
        let json = self.to_json();
        Self::parse_as(json.as_bytes(), key.public())?;
        Ok(VerifiedEnvelope::sign(json.into_bytes(), key)?)
    }

    /// Prints it as compact JSON, members in the order of the formats. Not checked: [`Statement::sign`] does.
    pub fn to_json(&self) -> String {
        write::object(|statement| {
            statement.string("_type", STATEMENT_TYPE);
            self.subject.write(&self.frame.log, statement.member("subject"));
            statement.string("predicateType", self.kind().predicate_type());
            statement.object("predicate", |predicate| {
                self.frame.write(predicate);
                match &self.predicate {
                    Predicate::Receipt(receipt) => receipt.write(predicate),
                    Predicate::Rules(rules) => rules.write(predicate),
                    Predicate::Clock(clock) => clock.write(predicate),
                }
            });
        })
    }

    /// The kind of record this is.
    pub fn kind(&self) -> Kind {
        match self.predicate {
            Predicate::Receipt(_) => Kind::Receipt,
            Predicate::Rules(_) => Kind::Rules,
            Predicate::Clock(_) => Kind::Clock,
        }
    }

    /// The leaf hash of the record this one is about.
    pub fn about(&self) -> Option<Hash> {
        if let Subject::Record(leaf) = self.subject { Some(leaf) } else { None }
    }

    /// The public half of the one-time key that came with the answer.
    pub fn claim(&self) -> Option<&PublicKey> {
        if let Predicate::Receipt(receipt) = &self.predicate { receipt.claim.as_ref() } else { None }
    }

    pub(crate) fn parse_as(bytes: &[u8], signer: &PublicKey) -> Result<Self, StatementError> {
        let value = Value::parse(bytes)?;
        let root = Field::root(&value);
        let mut statement = root.object()?;
        statement.required("_type")?.exactly(STATEMENT_TYPE)?;
        let kind = Kind::read(&statement.required("predicateType")?)?;
        let subject = statement.required("subject")?;
        let predicate = statement.required("predicate")?;
        statement.finish()?;

        let mut members = predicate.object()?;
        let frame = Frame::read(&mut members, signer)?;
        if frame.issuer.key != *signer {
            return Err(StatementError::Issuer { signer: signer.clone(), named: frame.issuer.key });
        }
        if frame.numbering.is_none() && kind.is_numbered() {
            return Err(members.at("stream", Reason::Missing).into());
        }
        let (subject, read) = match kind {
            Kind::Receipt => {
                let receipt = Receipt::read(&mut members)?;
                (Subject::read_exchange(&subject)?, Predicate::Receipt(Box::new(receipt)))
            }
            Kind::Rules => {
                let rules = Rules::read(&mut members)?;
                (Subject::read_record(&subject, &frame.log)?, Predicate::Rules(rules))
            }
            Kind::Clock => {
                let clock = Clock::read(&mut members, &frame.log)?;
                (Subject::read_log(&subject, &frame.log)?, Predicate::Clock(Box::new(clock)))
            }
            kind => return Err(StatementError::KindNotSupported { kind }),
        };
        members.finish()?;
        Ok(Self { subject, frame, predicate: read })
    }
}

/// Why a statement is refused. The message names the place, and is fit to be shown to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// It is no JSON that we read.
    #[error("statement, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("statement, {0}")]
    Field(#[from] FieldError),
    /// It names another issuer than the key that signed it.
    #[error(
        "statement, predicate.issuer.key: the envelope is signed by {signer}, the statement names {named}"
    )]
    Issuer {
        /// The key of the envelope.
        signer: PublicKey,
        /// The key of the statement.
        named: PublicKey,
    },
    /// A record of a kind whose members are not defined yet.
    #[error("records of kind {kind} are not supported yet")]
    KindNotSupported {
        /// The kind.
        kind: Kind,
    },
}

/// Why a statement was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// It would not be read.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It would not fit into an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// Demands that every number in a free-form value is an integer: decimals are carried as strings.
pub(crate) fn check_integers(field: &Field<'_, '_>) -> Result<(), FieldError> {
    match field.value().data() {
        Data::Number => field.integer().map(drop),
        Data::Array(items) => field.items(items.len())?.try_for_each(|item| check_integers(&item)),
        Data::Object(members) => {
            field.members(members.len())?.try_for_each(|(_, member)| check_integers(&member))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

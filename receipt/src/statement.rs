//! Statements: what an issuer signs. An in-toto Statement v1 whose predicate is one of Counterfoil's records.
//!
//! `RECORDS.md` in this crate has the table of every kind's members and codes. Reading is strict: unknown members, open
//! codes, texts without bound and control characters are refused, so that what a log took means one thing to everybody. A
//! statement is kept byte for byte; it need not be canonical.

pub mod clock;
pub mod correction;
pub mod dispute;
mod enclosed;
pub mod epoch;
pub mod erasure;
pub mod frame;
pub mod groups;
pub mod key;
pub mod kind;
pub mod party;
pub mod policy;
pub mod promise;
pub mod receipt;
pub mod refusal;
pub mod remedy;
pub mod resolution;
pub mod response;
pub mod revocation;
pub mod rules;
pub mod sample;
pub mod subject;
pub mod verdict;

pub use clock::Clock;
pub use correction::Correction;
pub use dispute::{Dispute, Ground};
pub use enclosed::{Enclosed, OpenError};
pub use epoch::{Epoch, Void};
pub use erasure::Erasure;
pub use frame::{Frame, FrameError, Issuer, Nonce, Number, Numbering, Origin, StreamId};
pub use groups::{Group, GroupName, Sealable};
pub use key::{Card, Key, Registration, Role};
pub use kind::Kind;
pub use party::{Contact, Name};
pub use policy::Policy;
pub use promise::Promise;
pub use receipt::Receipt;
pub use refusal::{Refusal, Rule};
pub use remedy::{Remedy, RemedyKind};
pub use resolution::Resolution;
pub use response::{Response, Undertaking};
pub use revocation::Revocation;
pub use rules::Rules;
pub use sample::{Decimal, Sample};
pub use subject::{Commitment, Subject};
pub use verdict::Verdict;

use counterfoil_merkle::Hash;

use crate::{
    envelope::{EnvelopeError, VerifiedEnvelope},
    json::{
        Data, JsonError, Value,
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    key::{PublicKey, Signer},
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
    /// A key and its roles.
    Key(Key),
    /// A key is withdrawn.
    Revocation(Revocation),
    /// What an operator promises.
    Policy(Policy),
    /// Somebody checked a receipt's claims.
    Verdict(Box<Verdict>),
    /// Somebody contests a record.
    Dispute(Box<Dispute>),
    /// The answer to a dispute.
    Response(Response),
    /// How a dispute was decided.
    Resolution(Resolution),
    /// What was done about it.
    Remedy(Remedy),
    /// An issuer corrects what it said.
    Correction(Correction),
    /// A statement is to be erased.
    Erasure(Erasure),
    /// How far a stream went.
    Epoch(Epoch),
    /// A number was spent without a receipt.
    Void(Void),
    /// A receipt is promised.
    Promise(Promise),
    /// A log says why it refused a record.
    Refusal(Refusal),
}

impl Statement {
    /// Reads the statement of an envelope that verified.
    ///
    /// Its issuer must be the envelope's key: nobody signs in another's name.
    pub fn parse(envelope: &VerifiedEnvelope) -> Result<Self, StatementError> {
        Self::parse_as(envelope.envelope().statement_bytes(), envelope.key())
    }

    /// Prints the statement, checks that it reads back, and signs it.
    pub fn sign(&self, key: &dyn Signer) -> Result<VerifiedEnvelope, SignError> {
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
                self.predicate.write(predicate);
            });
        })
    }

    /// The kind of record this is.
    pub fn kind(&self) -> Kind {
        self.predicate.kind()
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
        let frame = Frame::read(&mut members, signer, kind)?;
        if frame.issuer.key != *signer {
            return Err(StatementError::Issuer { signer: signer.clone(), named: frame.issuer.key });
        }
        if frame.numbering.is_none() && kind.is_numbered() {
            return Err(members.at("stream", Reason::Missing).into());
        }
        let (subject, read) = Predicate::read(kind, &mut members, &subject, &frame)?;
        members.finish()?;
        Ok(Self { subject, frame, predicate: read })
    }
}

impl Predicate {
    /// Reads what a record of this kind says, and about what.
    fn read(
        kind: Kind,
        members: &mut Object<'_, '_>,
        subject: &Field<'_, '_>,
        frame: &Frame,
    ) -> Result<(Subject, Self), FieldError> {
        let read = match kind {
            Kind::Receipt => Self::Receipt(Box::new(Receipt::read(members)?)),
            Kind::Rules => Self::Rules(Rules::read(members)?),
            Kind::Clock => Self::Clock(Box::new(Clock::read(members, &frame.log)?)),
            Kind::Key => Self::Key(Key::read(members, frame)?),
            Kind::Revocation => Self::Revocation(Revocation::read(members)?),
            Kind::Policy => Self::Policy(Policy::read(members)?),
            Kind::Verdict => Self::Verdict(Box::new(Verdict::read(members)?)),
            Kind::Dispute => {
                let (about, dispute) = Dispute::read(members, subject, frame)?;
                return Ok((about, Self::Dispute(Box::new(dispute))));
            }
            Kind::Response => Self::Response(Response::read(members)?),
            Kind::Resolution => Self::Resolution(Resolution::read(members)?),
            Kind::Remedy => Self::Remedy(Remedy::read(members)?),
            Kind::Correction => Self::Correction(Correction::read(members)?),
            Kind::Erasure => Self::Erasure(Erasure::read(members)?),
            Kind::Epoch => Self::Epoch(Epoch::read(members)?),
            Kind::Void => Self::Void(Void::read(members)?),
            Kind::Promise => Self::Promise(Promise::read(members)?),
            Kind::Refusal => Self::Refusal(Refusal::read(members)?),
        };
        Ok((Subject::read(subject, kind, &frame.log)?, read))
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        match self {
            Self::Receipt(receipt) => receipt.write(members),
            Self::Rules(rules) => rules.write(members),
            Self::Clock(clock) => clock.write(members),
            Self::Key(key) => key.write(members),
            Self::Revocation(revocation) => revocation.write(members),
            Self::Policy(policy) => policy.write(members),
            Self::Verdict(verdict) => verdict.write(members),
            Self::Dispute(dispute) => dispute.write(members),
            Self::Response(response) => response.write(members),
            Self::Resolution(resolution) => resolution.write(members),
            Self::Remedy(remedy) => remedy.write(members),
            Self::Correction(correction) => correction.write(members),
            Self::Erasure(erasure) => erasure.write(members),
            Self::Epoch(epoch) => epoch.write(members),
            Self::Void(void) => void.write(members),
            Self::Promise(promise) => promise.write(members),
            Self::Refusal(refusal) => refusal.write(members),
        }
    }

    /// The kind of record that says this.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Receipt(_) => Kind::Receipt,
            Self::Rules(_) => Kind::Rules,
            Self::Clock(_) => Kind::Clock,
            Self::Key(_) => Kind::Key,
            Self::Revocation(_) => Kind::Revocation,
            Self::Policy(_) => Kind::Policy,
            Self::Verdict(_) => Kind::Verdict,
            Self::Dispute(_) => Kind::Dispute,
            Self::Response(_) => Kind::Response,
            Self::Resolution(_) => Kind::Resolution,
            Self::Remedy(_) => Kind::Remedy,
            Self::Correction(_) => Kind::Correction,
            Self::Erasure(_) => Kind::Erasure,
            Self::Epoch(_) => Kind::Epoch,
            Self::Void(_) => Kind::Void,
            Self::Promise(_) => Kind::Promise,
            Self::Refusal(_) => Kind::Refusal,
        }
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

impl SignError {
    /// Whether the same may succeed later: whatever has the private key did not sign.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Envelope(EnvelopeError::Signer(_)))
    }
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

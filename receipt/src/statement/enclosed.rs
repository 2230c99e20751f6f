//! An envelope that lies inside a statement: a card in a registration, a promise in a dispute.

use super::{Kind, Statement, StatementError};
use crate::{
    envelope::{Envelope, EnvelopeError, Id},
    json::field::{Field, FieldError, Reason},
};

/// An envelope that verifies, and its statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Enclosed {
    envelope: Envelope,
    id: Id,
    statement: Box<Statement>,
}

impl Enclosed {
    /// Verifies an envelope and reads its statement.
    pub fn open(envelope: Envelope) -> Result<Self, OpenError> {
        let verified = envelope.verify()?;
        let statement = Box::new(Statement::parse(&verified)?);
        Ok(Self { id: verified.id(), envelope: verified.into_envelope(), statement })
    }

    /// Reads an envelope of one kind. Costs a signature check.
    pub(super) fn read(field: &Field<'_, '_>, kind: Kind) -> Result<Self, FieldError> {
        let refused = |error: OpenError| {
            field.error(Reason::Form { got: "the envelope".to_owned(), why: error.to_string() })
        };
        let envelope =
            Envelope::parse(field.value().raw().as_bytes()).map_err(|error| refused(error.into()))?;
        let enclosed = Self::open(envelope).map_err(refused)?;
        let got = enclosed.statement.kind();
        if got != kind {
            return Err(field.mismatch(kind.predicate_type(), got.predicate_type()));
        }
        Ok(enclosed)
    }

    /// The envelope.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The id of its statement.
    pub const fn id(&self) -> Id {
        self.id
    }

    /// Its statement.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// Why an enclosed envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be read, or its signature does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its statement is none.
    #[error(transparent)]
    Statement(Box<StatementError>),
}

impl From<StatementError> for OpenError {
    fn from(error: StatementError) -> Self {
        Self::Statement(Box::new(error))
    }
}

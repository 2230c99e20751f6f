//! Signed refusals: what a log says when it does not take a record, and whether that holds.
//!
//! The author of a record can publish record and refusal together. Whoever replays admission at the size that the refusal
//! states finds the rule that it names, or has caught the log.

use counterfoil_merkle::TreeSize;

use crate::{
    Envelope, Id, Statement,
    admission::{Candidate, Chain, Ledger, Pass, Refused, Unseen},
    envelope::{EnvelopeError, VerifiedEnvelope},
    key::{PublicKey, Signer},
    statement::{Frame, Issuer, Nonce, Origin, Predicate, Refusal, Rule, SignError, StatementError, Subject},
};

/// Signs a refusal. `key` is the operator's.
pub fn sign(
    refusal: Refusal,
    log: Origin,
    nonce: Nonce,
    key: &dyn Signer,
) -> Result<VerifiedEnvelope, SignError> {
    let issuer = Issuer { key: key.public().clone(), software: None };
    let frame = Frame { nonce, log, issuer, numbering: None };
    Statement { subject: Subject::Log, frame, predicate: Predicate::Refusal(refusal) }.sign(key)
}

/// A refusal that its key signed. Whether that is the operator's is for [`SignedRefusal::check`] to see.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedRefusal {
    /// What it says.
    pub refusal: Refusal,
    /// The log that it speaks for.
    pub log: Origin,
    /// Who signed it.
    pub key: PublicKey,
}

impl SignedRefusal {
    /// Verifies a refusal and reads it.
    pub fn open(envelope: Envelope) -> Result<Self, RefusalError> {
        let envelope = envelope.verify()?;
        let statement = Statement::parse(&envelope)?;
        let Predicate::Refusal(refusal) = statement.predicate else { return Err(RefusalError::NoRefusal) };
        Ok(Self { refusal, log: statement.frame.log, key: envelope.key().clone() })
    }

    /// Judges the record again. `ledger` is that of the log after [`Refusal::size`] entries, `chain` what the log has among those
    /// of the records that this one is about, filled.
    ///
    /// # Errors
    /// [`RefusalError`] if refusal, record and ledger do not go together; then nothing was found out.
    pub fn check(&self, record: &Envelope, ledger: &Ledger, chain: &Chain) -> Result<Borne, RefusalError> {
        let Refusal { id, rule, size, at } = self.refusal;
        if record.id() != id {
            return Err(RefusalError::OtherRecord { refused: id, got: record.id() });
        }
        if *ledger.log() != self.log {
            return Err(RefusalError::OtherLog { refusal: self.log.clone(), log: ledger.log().clone() });
        }
        if ledger.size() != size {
            return Err(RefusalError::OtherSize { refusal: size, ledger: ledger.size() });
        }
        if ledger.rules().is_some_and(|rules| rules.operator != self.key) {
            return Err(RefusalError::NotTheOperator { key: self.key.clone() });
        }
        let verified = record.clone().verify()?;
        let found = match Statement::parse(&verified) {
            Err(error) => Err(Refused::Statement(error)),
            Ok(statement) => ledger.judge(&Candidate::new(&statement), chain, at),
        };
        Ok(match found.map_err(|refused| refused.rule()) {
            Err(Some(found)) if found == rule => Borne::Out,
            Ok(Pass::InPart(Unseen::Right { .. })) if rule == Rule::AboutErased => Borne::Out,
            Ok(Pass::InPart(Unseen::Right { .. } | Unseen::Case { .. })) => Borne::CannotTell,
            Err(found) => Borne::Not { found },
            Ok(_) => Borne::Not { found: None },
        })
    }
}

/// Whether a refusal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Borne {
    /// The record broke that rule.
    Out,
    /// It did not. The log refused it wrongly.
    Not {
        /// The rule that it broke instead; none if it should have been admitted.
        found: Option<Rule>,
    },
    /// A statement that it turned on was erased since.
    CannotTell,
}

/// Why a refusal cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalError {
    /// Refusal or record cannot be read, or its signature does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The refusal's statement is none.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It is another record.
    #[error("the envelope is no refusal")]
    NoRefusal,
    /// It is about another record.
    #[error("the refusal is of {refused}, the record is {got}")]
    OtherRecord {
        /// The record that was refused.
        refused: Id,
        /// The record that was given.
        got: Id,
    },
    /// It is of another log.
    #[error("the refusal speaks for {refusal}, the log is {log}")]
    OtherLog {
        /// The log it speaks for.
        refusal: Origin,
        /// The log it was held against.
        log: Origin,
    },
    /// The ledger is of another size.
    #[error("the refusal is of size {refusal}, the log was replayed to {ledger}")]
    OtherSize {
        /// The size of the refusal.
        refusal: TreeSize,
        /// The size of the ledger.
        ledger: TreeSize,
    },
    /// Somebody else than the operator signed it.
    #[error("{key} is not the operator's key: this is no refusal of the log's")]
    NotTheOperator {
        /// Who signed.
        key: PublicKey,
    },
}

//! Erasing a statement of a log that is not running: the order is appended as any record is, and carried out.
//!
//! A running log needs none of this: whoever appends an order to it has it carried out at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Envelope, Id, Kind, Statement, VerifiedEnvelope,
    admission::{Admitted, Refused},
    envelope::EnvelopeError,
    key::PublicKey,
    statement::{
        Erasure, Frame, Issuer, Nonce, Predicate, Rule, SignError, StatementError, Subject, erasure::Basis,
    },
};
use tokio::sync::oneshot;

use crate::{
    admission::Refusals,
    clock::{ClockError, wall_now},
    config::Config,
    log::Status,
    objects::StoreError,
    queue::{Outcome, Submission, SubmitError},
    run::{RunError, Started, start},
    tiles::ReadError,
};

/// How long witnesses have for cosigning the tree with the order in it.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);

/// Which record.
#[derive(Clone, Debug)]
pub enum Target {
    /// The one whose id begins with these bytes: at least 16.
    Id(Vec<u8>),
    /// The one at this index.
    Index(LeafIndex),
}

/// Whose order it is.
#[derive(Clone, Debug)]
pub enum Ordered {
    /// That of whoever signed this envelope.
    By(Vec<u8>),
    /// The operator's own. Monitors report it.
    ByOperator {
        /// What is erased.
        target: Target,
        /// Why.
        basis: Basis,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Erased {
    /// The entry whose statement is gone.
    pub target: LeafIndex,
    /// The record that ordered it.
    pub record: LeafIndex,
}

/// Appends an order, and carries it out. On return nothing of the statement is left in the data directory.
///
/// The log is recovered first, as at every start, which carries out whatever was ordered before.
pub fn erase(config: &Config, ordered: &Ordered) -> Result<Erased, EraseError> {
    // Before anything is touched: most of what can be wrong with an order shows in it.
    let signed = match ordered {
        Ordered::By(envelope) => Some(read(envelope)?),
        Ordered::ByOperator { .. } => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(RunError::Thread)?;
    let started = start(config, false).map_err(|error| match error {
        RunError::Store(StoreError::InUse { .. }) => EraseError::Running,
        error => EraseError::Run(error),
    })?;
    let log = Arc::clone(&started.log);
    let appended = runtime.block_on(append(&started, ordered, signed));
    let published = match &appended {
        Ok(erased) => runtime.block_on(log.published(erased.record, Instant::now() + PUBLISHED_WITHIN)),
        Err(_) => None,
    };
    let in_order = started.stop();
    let erased = appended?;
    if !in_order {
        return Err(EraseError::Run(RunError::Stopped));
    }
    if published.is_none() || log.tiles.is_erasing(erased.target) {
        return Err(EraseError::NotPublished { record: erased.record });
    }
    Ok(erased)
}

/// Reads an order: an erasure record, signed.
fn read(envelope: &[u8]) -> Result<(VerifiedEnvelope, Statement), EraseError> {
    let envelope = Envelope::parse(envelope)?.verify()?;
    let statement = Statement::parse(&envelope)?;
    match statement.kind() {
        Kind::Erasure => Ok((envelope, statement)),
        kind => Err(EraseError::Kind { kind }),
    }
}

async fn append(
    started: &Started,
    ordered: &Ordered,
    signed: Option<(VerifiedEnvelope, Statement)>,
) -> Result<Erased, EraseError> {
    let log = &started.log;
    if let Status::Stopped { reason } = log.started().await {
        return Err(EraseError::Stopped { reason });
    }
    let edge = log.view().ok_or(EraseError::Stopped { reason: "nothing is published".to_owned() })?;
    let (envelope, statement) = match (ordered, signed) {
        (Ordered::ByOperator { target, basis }, _) => {
            let index = match target {
                Target::Index(index) => Some(*index),
                Target::Id(id) => log.find_id(&edge.edge, id).await?,
            };
            let item = match index {
                Some(index) => log.item(&edge, index).await?,
                None => None,
            };
            let leaf = Hash::leaf(&item.ok_or(EraseError::NoTarget)?.entry);
            sign(started.refusals.as_ref().ok_or(EraseError::NoKey)?, leaf, *basis)?
        }
        (Ordered::By(_), Some(signed)) => signed,
        (Ordered::By(envelope), None) => read(envelope)?,
    };
    let now = wall_now()?;
    let judged = log.admission.judge_new(log, &statement, now).await?;
    let judged = judged.ok_or(EraseError::Stopped { reason: "the log is not recovered".to_owned() })?;
    let chain = judged.map_err(|refused| EraseError::refused(refused.refused, envelope.id()))?;
    let about = statement.about();
    let admitted = Admitted::new(envelope, statement, chain);
    let (reply, outcome) = oneshot::channel();
    log.queue.submit(vec![Submission { admitted: admitted.into(), reply }])?;
    let record = match outcome.await.map_err(|_| EraseError::Run(RunError::Stopped))? {
        Outcome::Appended { batch, position } => batch.leaves[position].index,
        Outcome::Known { index, .. } => index,
        Outcome::NoRoom => {
            return Err(EraseError::Stopped { reason: "less is free than limits.free_bytes_min".to_owned() });
        }
        Outcome::Refused { id, refused } => return Err(EraseError::refused(refused.refused, id)),
    };
    let target = log.find_leaf(&edge.edge, about.ok_or(EraseError::NoTarget)?).await?;
    Ok(Erased { target: target.ok_or(EraseError::NoTarget)?, record })
}

/// The operator's own order.
fn sign(operator: &Refusals, leaf: Hash, basis: Basis) -> Result<(VerifiedEnvelope, Statement), EraseError> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| RunError::Thread(std::io::Error::other(error)))?;
    let key: PublicKey = operator.key.public().clone();
    let statement = Statement {
        subject: Subject::Record(leaf),
        frame: Frame {
            nonce: Nonce::new(nonce),
            log: operator.log.clone(),
            issuer: Issuer { key, software: None },
            numbering: None,
        },
        predicate: Predicate::Erasure(Erasure { basis }),
    };
    Ok((statement.sign(&*operator.key)?, statement))
}

/// Why nothing was erased, or not yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The order is no envelope, or its signature is bad.
    #[error("the order: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The order is no record.
    #[error("the order: {0}")]
    Statement(#[from] StatementError),
    /// The order is another kind of record.
    #[error("the order is a {kind}, not an erasure; nothing was changed")]
    Kind {
        /// Which.
        kind: Kind,
    },
    /// The log does not admit the order.
    #[error("rule {}: {refused}; nothing was changed", .rule.map_or("envelope", |rule| rule.as_str()))]
    Refused {
        /// The rule, as refusals name it.
        rule: Option<Rule>,
        /// Why.
        refused: Box<Refused>,
        /// Which order.
        id: Id,
    },
    /// A server holds the log.
    #[error(
        "a server is running on this log: append the order to it, with `counterfoil append ORDER`, or \
         `counterfoil erase ID --key operator.pem` for one of the operator's own; it carries it out at once"
    )]
    Running,
    /// The log cannot be written to.
    #[error("the log cannot be written to: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// There is nothing to erase.
    #[error("the log has no such record")]
    NoTarget,
    /// Nobody can sign for the operator.
    #[error("without operator_key_file in the configuration nobody can sign for the operator")]
    NoKey,
    /// The order is in the log, and witnesses have not cosigned it.
    #[error(
        "the order is entry {record}, and the witnesses have not cosigned it: the statement goes once they have, \
         while a server runs"
    )]
    NotPublished {
        /// The order.
        record: LeafIndex,
    },
    /// The operator's order was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The log did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The queue does not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Something of the log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl EraseError {
    fn refused(refused: Refused, id: Id) -> Self {
        Self::Refused { rule: refused.rule(), refused: Box::new(refused), id }
    }

    /// Whether it is the order that is at fault: it was read, and is not one that the log takes.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Kind { .. }
                | Self::Envelope(_)
                | Self::Statement(_)
                | Self::NoTarget
        )
    }
}

//! Why the sequencer stops, and whether it may go on by itself.

use std::io;

use counterfoil_merkle::tree::TreeError;

use crate::{
    admission::LedgerError,
    clock::ClockError,
    guard::GuardError,
    objects::StoreError,
    publish::{PublishError, run::Halted},
    recover::RecoverError,
    rules::RulesError,
    scrub::Damaged,
    sequencer::ReadBackError,
    tiles::ReadError,
};

/// Why the sequencer stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// The log cannot be found again.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The store failed; what was being written may be there or not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Who may append cannot be found out.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The rules cannot be made what the configuration says.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Something that the log has cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The guard cannot be written.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The time cannot be believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// A head was not signed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The publish loop has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The log is full.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Another writer has committed under this number.
    #[error("another writer has made commit {number}")]
    Fenced {
        /// Which.
        number: u64,
    },
    /// Other writers have gone past this commit, which nobody is told of.
    #[error("another writer has gone past commit {number}")]
    Overtaken {
        /// Which.
        number: u64,
    },
    /// A commit reads back other than it was admitted, again and again.
    #[error("commit {number}: {reason}; nobody was told of it")]
    ReadBack {
        /// Which.
        number: u64,
        /// How it differs.
        reason: ReadBackError,
    },
    /// The stored log is damaged.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A thread could not be started.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
    /// The settling thread died.
    #[error("the settling thread has died")]
    Settler,
}

impl Stop {
    /// Whether recovering again may help without a person's doing.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Recover(error) => error.may_pass(),
            Self::Rules(RulesError::Sign(error)) => error.may_pass(),
            Self::Store(
                StoreError::Differs { .. } | StoreError::Missing { .. } | StoreError::Stranger { .. },
            ) => false,
            Self::Store(_)
            | Self::Guard(GuardError::Io { .. })
            | Self::Publish(PublishError::Signer(_))
            | Self::Read(ReadError::Store(_))
            | Self::Ledger(LedgerError::Read(ReadError::Store(_))) => true,
            _ => false,
        }
    }
}

//! Checkpoints of one log that others were shown, and evidence against it that others have.
//!
//! Whoever has a checkpoint asks whether it is of the tree that the monitor verified. What can be told is told from the
//! monitor's own durable state and leaves nothing behind. What cannot be told yet is kept, durably and before the answer,
//! until the monitor has read as far. Strangers' signatures are stripped, so a checkpoint is kept once, however it is
//! decorated; and only the log can make another.

pub mod peers;
mod store;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use counterfoil_merkle::{
    Hash, TreeSize,
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    evidence::{EvidenceError, ForkEvidence},
    key::VerifierKey,
};
use serde::{Deserialize, Serialize};

use self::store::Store;
pub use self::store::{EVIDENCE_MAX, NOTES_MAX, StoreError};
use crate::monitor::{Snapshot, StateError, Verdict};

/// What a checkpoint is to the monitor that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Of the tree that it verified.
    Consistent,
    /// Of another: the log signed two histories, and the evidence proves it.
    Inconsistent,
    /// Of a larger tree than it has read so far.
    Unknown,
}

impl Relation {
    /// The relation as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Inconsistent => "inconsistent",
            Self::Unknown => "unknown",
        }
    }
}

/// The answer to whoever sent a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it is.
    pub relation: Relation,
    /// The size of the tree that was verified.
    pub size: u64,
    /// Evidence (fork-evidence/v1), if it is inconsistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// What is heard of one log.
#[derive(Debug)]
pub struct Hearsay {
    log: VerifierKey,
    clock: Option<VerifierKey>,
    store: Mutex<Store>,
}

impl Hearsay {
    /// Opens what was heard before, and checks all of it.
    pub fn open(directory: &Path, log: VerifierKey, clock: Option<VerifierKey>) -> Result<Self, StoreError> {
        let store = Mutex::new(Store::open(directory, &log)?);
        Ok(Self { log, clock, store })
    }

    /// Takes a checkpoint that somebody has, and says what it is. Reads at most 79 nodes of the monitor's own tiles.
    pub fn hear(&self, note: &SignedCheckpoint, snapshot: &Snapshot) -> Result<Answer, HearsayError> {
        let seen = note.verify(&self.log).map_err(HearsayError::NotSigned)?;
        let size = snapshot.head().size.get();
        let answer = |relation, evidence| Answer { relation, size, evidence };
        let stripped = self.strip(&seen);
        match snapshot.judge(&seen)? {
            Verdict::Consistent => Ok(answer(Relation::Consistent, None)),
            Verdict::Inconsistent(evidence) => {
                self.store().keep_note(&stripped)?;
                self.store().keep_evidence(&evidence)?;
                Ok(answer(Relation::Inconsistent, Some(evidence.to_string())))
            }
            Verdict::Unknown => {
                let mut store = self.store();
                // Two roots for one size convict the log, wherever the monitor is.
                let other = store.other_root(seen.head());
                let evidence = other.map(|other| ForkEvidence::same_size(other, stripped.clone()));
                store.keep_note(&stripped)?;
                let Some(evidence) = evidence else { return Ok(answer(Relation::Unknown, None)) };
                store.keep_evidence(&evidence)?;
                Ok(answer(Relation::Inconsistent, Some(evidence.to_string())))
            }
        }
    }

    /// Takes evidence that somebody has, if it proves that this log forked. Whether it is new.
    pub fn hear_evidence(&self, evidence: &ForkEvidence) -> Result<bool, HearsayError> {
        evidence.verify(&self.log).map_err(HearsayError::NotProven)?;
        Ok(self.store().keep_evidence(evidence)?)
    }

    /// The checkpoints that are still to be judged, for the monitor's next round.
    pub fn notes(&self) -> Vec<SignedCheckpoint> {
        self.store().notes().cloned().collect()
    }

    /// Forks that others proved.
    pub fn evidence(&self) -> Vec<ForkEvidence> {
        self.store().evidence().to_vec()
    }

    /// Lets go of checkpoints that a round was given, and that are not larger than the tree verified by it.
    pub fn settle(&self, given: &[SignedCheckpoint], verified: TreeSize) -> Result<(), StoreError> {
        let mut store = self.store();
        let settled = |note: &&SignedCheckpoint| note.unverified().head.size <= verified;
        given.iter().filter(settled).try_for_each(|note| store.drop_note(note.unverified().head))
    }

    /// The checkpoint with the lines of log and clock alone: others' are nobody's word here, and without number.
    fn strip(&self, seen: &VerifiedCheckpoint) -> SignedCheckpoint {
        let note = seen.note_with(self.clock.as_ref().as_slice()).to_string();
        note.parse().expect("a checkpoint with fewer lines is a checkpoint")
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a log is named in a path: the SHA-256 of its origin, in lower-case hex.
pub fn path_name(log: &VerifierKey) -> Hash {
    Hash::of(&[log.name().as_str().as_bytes()])
}

/// Why a checkpoint or evidence was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HearsayError {
    /// The log did not sign the checkpoint.
    #[error("{0}")]
    NotSigned(CheckpointError),
    /// The evidence proves nothing against the log.
    #[error("{0}")]
    NotProven(EvidenceError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The monitor's own state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

#[cfg(test)]
mod tests;

//! A witness: all its logs, by the names that requests have for them.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use counterfoil_merkle::{
    Hash,
    evidence::{EvidenceError, ForkEvidence},
    key::{Algorithm, KeyError, KeyName, NoteSigner},
    note::SignatureLine,
};
use tracing::warn;

use super::{
    judge::{Refusal, Request},
    roster::{Roster, RosterError},
    slot::{Slot, Tools},
    state::{StateDir, StateError},
};

/// A witness at work.
pub struct Witness {
    state: StateDir,
    tools: Arc<Tools>,
    logs: RwLock<Logs>,
}

#[derive(Default)]
struct Logs {
    roster: Roster,
    slots: HashMap<Hash, Arc<Slot>>,
}

impl Witness {
    /// The witness with this state, with all logs on the roster read and checked.
    pub fn open(state: &Path, tools: Tools, roster: &Roster) -> Result<Self, WitnessError> {
        let state = StateDir::open(state, tools.vkey())?;
        let witness = Self { state, tools: Arc::new(tools), logs: RwLock::default() };
        witness.watch(roster)?;
        let logs = witness.logs.read().unwrap_or_else(PoisonError::into_inner);
        for origin in witness.state.cosigned()? {
            if !logs.slots.contains_key(&Hash::of(&[origin.as_str().as_bytes()])) {
                warn!(log = %origin, "this log was cosigned and is not watched any more; its state is kept");
            }
        }
        drop(logs);
        Ok(witness)
    }

    /// Watches these logs too. Those that are watched already stay as they are. After an error nothing has changed.
    pub fn watch(&self, more: &Roster) -> Result<usize, WitnessError> {
        let (mut roster, mut slots) = {
            let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
            (logs.roster.clone(), logs.slots.clone())
        };
        let before = slots.len();
        for log in more.logs() {
            roster.merge(log.clone())?;
        }
        for log in &roster.logs()[before..] {
            let slot = Slot::open(log.clone(), self.state.log(log), Arc::clone(&self.tools))?;
            slots.insert(log.id(), Arc::new(slot));
        }
        let added = slots.len() - before;
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = Logs { roster, slots };
        Ok(added)
    }

    /// With what it works.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// All logs.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).slots.values().cloned().collect()
    }

    /// The log whose origin has this SHA-256.
    pub fn slot(&self, id: Hash) -> Option<Arc<Slot>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).slots.get(&id).cloned()
    }

    fn slot_of(&self, origin: &str) -> Option<Arc<Slot>> {
        self.slot(Hash::of(&[origin.as_bytes()]))
    }

    /// `add-checkpoint`: the lines that cosign the checkpoint in this body.
    pub async fn add_checkpoint(&self, body: &[u8]) -> Result<Vec<SignatureLine>, Refusal> {
        let request = Request::read(body)?;
        let slot = self.slot_of(request.origin()).ok_or(Refusal::UnknownLog)?;
        // Before the log is taken: whoever signed nothing waits for nobody, and nobody waits for him.
        let request = slot.log().authenticate(request)?;
        slot.add(request).await
    }

    /// Takes evidence that a log signed two histories; gives the log's name in paths.
    pub async fn add_evidence(&self, body: &[u8]) -> Result<Hash, EvidenceRefusal> {
        let text = str::from_utf8(body).map_err(|_| EvidenceRefusal::NotText)?;
        let evidence: ForkEvidence = text.parse().map_err(EvidenceRefusal::Malformed)?;
        let origin = &evidence.a().unverified().origin;
        let slot = self.slot_of(origin.as_str()).ok_or(EvidenceRefusal::UnknownLog)?;
        slot.log().check(&evidence).map_err(EvidenceRefusal::Unproven)?;
        slot.convict(evidence).await.map_err(|_| EvidenceRefusal::Storage)?;
        Ok(slot.log().id())
    }
}

/// Why a witness does not start, or does not watch more logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The logs cannot be watched together.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// Why evidence is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceRefusal {
    /// Not UTF-8.
    #[error("the evidence is not UTF-8")]
    NotText,
    /// Not in the format.
    #[error(transparent)]
    Malformed(EvidenceError),
    /// Nobody told the witness of this log.
    #[error("this witness does not know a log of that origin")]
    UnknownLog,
    /// It proves nothing.
    #[error("this proves no fork: {0}")]
    Unproven(EvidenceError),
    /// It could not be stored.
    #[error("the witness cannot store its state")]
    Storage,
}

/// The key of a new witness, from 32 random bytes.
pub fn new_signer(name: &str, seed: &[u8; 32]) -> Result<NoteSigner, KeyError> {
    NoteSigner::from_seed(KeyName::new(name)?, Algorithm::CosignatureV1, seed)
}

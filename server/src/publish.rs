//! Signing tree heads: only a larger tree than the last, or the same again, and nothing that does not verify.
//!
//! Without witnesses the sequencer signs and publishes each batch itself. With witnesses a loop of its own does, beside the
//! sequencer: [`heads`] is the fork in the way, [`handle`] starts the loop and [`run`] is it, [`rounds`] and [`witness`]
//! decide, [`ask`] talks to one witness, [`shown`] judges what witnesses show of us, [`clock_record`] puts their times into
//! the log.

pub mod ask;
pub mod clock_record;
pub mod handle;
pub mod heads;
pub mod panel;
pub mod rounds;
pub mod run;
pub mod shown;
pub mod witness;

use std::sync::Arc;

use counterfoil_merkle::{
    LeafIndex, TreeHead,
    checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint},
    key::{Signer, SignerError, VerifierKey},
};
use counterfoil_receipt::Timestamp;

use crate::tiles::Edge;

/// A published state of the log: what readers see.
#[derive(Clone, Debug)]
pub struct View {
    /// The right edge at the published size.
    pub edge: Arc<Edge>,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The checkpoint's text.
    pub text: Arc<str>,
    /// The time that it attests.
    pub time: Timestamp,
}

impl View {
    /// Size and root that were published.
    pub const fn head(&self) -> TreeHead {
        self.checkpoint.unverified().head
    }

    /// Whether the entry at that index is published.
    pub const fn has(&self, index: LeafIndex) -> bool {
        index.get() < self.head().size.get()
    }
}

/// The log's public keys, as the configuration pins them.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its origin.
    pub origin: Origin,
    /// The key that signs its tree heads.
    pub log: VerifierKey,
    /// The key that attests their time.
    pub clock: VerifierKey,
}

impl Identity {
    /// Reads a checkpoint that was published before, if it is this log's own; with the time that it attests.
    pub fn published_before(&self, text: &[u8]) -> Option<(SignedCheckpoint, Timestamp)> {
        let checkpoint: SignedCheckpoint = str::from_utf8(text).ok()?.parse().ok()?;
        let attested = checkpoint.verify(&self.log).ok()?.cosignature(&self.clock).ok()?;
        Some((checkpoint, Timestamp::from_millis(attested.time_s.checked_mul(1000)?)?))
    }
}

/// The log's signing keys, with the public keys that the configuration pins.
pub struct Publisher {
    identity: Identity,
    log: Box<dyn Signer>,
    clock: Box<dyn Signer>,
    last: Option<(TreeHead, Timestamp)>,
}

impl Publisher {
    /// A publisher of that log.
    ///
    /// # Errors
    /// [`PublishError::Pinned`] if a private key is not that of the pinned public key.
    pub fn new(
        log: Box<dyn Signer>,
        clock: Box<dyn Signer>,
        pinned_log: VerifierKey,
        pinned_clock: VerifierKey,
    ) -> Result<Self, PublishError> {
        let origin = Origin::new(pinned_log.name().as_str())?;
        for (signer, pinned) in [(&log, &pinned_log), (&clock, &pinned_clock)] {
            if signer.public() != pinned {
                return Err(PublishError::Pinned { name: pinned.name().to_string() });
            }
        }
        let identity = Identity { origin, log: pinned_log, clock: pinned_clock };
        Ok(Self { identity, log, clock, last: None })
    }

    /// The log's public keys.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Signs a committed head and publishes it at once.
    ///
    /// # Errors
    /// As [`Publisher::sign`].
    pub fn publish(&mut self, edge: Arc<Edge>, time: Timestamp) -> Result<View, PublishError> {
        let (checkpoint, text) = self.sign(edge.frontier.head(), time)?;
        Ok(View { edge, checkpoint, text: text.into(), time })
    }

    /// Signs a committed head that is meant for publication, attesting a time for it; checks the signatures with the pinned
    /// keys. Returns the checkpoint and its text.
    ///
    /// # Errors
    /// [`PublishError::Backwards`] if a larger tree, the same size with another root, or a later time was signed before;
    /// [`PublishError::Signer`] if the keys are elsewhere and were not to be had, and then the same may succeed later.
    pub fn sign(
        &mut self,
        head: TreeHead,
        time: Timestamp,
    ) -> Result<(SignedCheckpoint, String), PublishError> {
        if let Some((last, last_time)) = self.last {
            let forward = head.size > last.size || head == last;
            if !forward || time < last_time {
                return Err(PublishError::Backwards { last, next: head });
            }
        }
        let mut checkpoint = Checkpoint::new(self.identity.origin.clone(), head).try_sign(&*self.log)?;
        checkpoint.try_cosign(&*self.clock, time.seconds())?;
        let text = checkpoint.to_string();
        let again: SignedCheckpoint = text.parse()?;
        let attested = again.verify(&self.identity.log)?.cosignature(&self.identity.clock)?;
        if again.unverified().head != head || attested.time_s != time.seconds() {
            return Err(PublishError::Backwards { last: again.unverified().head, next: head });
        }
        self.last = Some((head, time));
        Ok((checkpoint, text))
    }
}

/// Why a head was not signed. Nothing may be written after this, before the log is recovered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A private key is not that of the pinned public key.
    #[error("the private key of {name} is not that of the public key in the configuration")]
    Pinned {
        /// The key's name.
        name: String,
    },
    /// The head or the time lies before one that was signed.
    #[error("a head of size {} is not signed after one of size {}", next.size, last.size)]
    Backwards {
        /// What was signed last.
        last: TreeHead,
        /// What was not signed.
        next: TreeHead,
    },
    /// Whatever has a private key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Our own signature does not verify.
    #[error("our own checkpoint does not verify: {0}")]
    Checkpoint(#[from] CheckpointError),
}

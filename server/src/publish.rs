//! Signing tree heads: only a larger tree than the last, or the same again, and nothing that does not verify.

use std::sync::Arc;

use counterfoil_merkle::{
    TreeHead,
    checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint},
    key::{NoteSigner, VerifierKey},
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
}

/// The log's signing keys, with the public keys that the configuration pins.
pub struct Publisher {
    origin: Origin,
    log: NoteSigner,
    clock: NoteSigner,
    pinned_log: VerifierKey,
    pinned_clock: VerifierKey,
    last: Option<(TreeHead, Timestamp)>,
}

impl Publisher {
    /// A publisher of that log.
    ///
    /// # Errors
    /// [`PublishError::Pinned`] if a private key is not that of the pinned public key.
    pub fn new(
        log: NoteSigner,
        clock: NoteSigner,
        pinned_log: VerifierKey,
        pinned_clock: VerifierKey,
    ) -> Result<Self, PublishError> {
        let origin = Origin::new(pinned_log.name().as_str())?;
        for (signer, pinned) in [(&log, &pinned_log), (&clock, &pinned_clock)] {
            if signer.public() != pinned {
                return Err(PublishError::Pinned { name: pinned.name().to_string() });
            }
        }
        Ok(Self { origin, log, clock, pinned_log, pinned_clock, last: None })
    }

    /// The log's origin.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads a checkpoint that was published before, if it is this log's own; with the time that it attests.
    pub fn published_before(&self, text: &[u8]) -> Option<(SignedCheckpoint, Timestamp)> {
        let checkpoint: SignedCheckpoint = str::from_utf8(text).ok()?.parse().ok()?;
        let attested = checkpoint.verify(&self.pinned_log).ok()?.cosignature(&self.pinned_clock).ok()?;
        Some((checkpoint, Timestamp::from_millis(attested.time_s.checked_mul(1000)?)?))
    }

    /// Signs a committed head, attesting a time for it; checks the signatures with the pinned keys.
    ///
    /// # Errors
    /// [`PublishError::Backwards`] if a larger tree, the same size with another root, or a later time was signed before.
    pub fn publish(&mut self, edge: Arc<Edge>, time: Timestamp) -> Result<View, PublishError> {
        let head = edge.frontier.head();
        if let Some((last, last_time)) = self.last {
            let forward = head.size > last.size || head == last;
            if !forward || time < last_time {
                return Err(PublishError::Backwards { last, next: head });
            }
        }
        let mut checkpoint = Checkpoint::new(self.origin.clone(), head).sign(&self.log);
        checkpoint.cosign(&self.clock, time.seconds());
        let text = checkpoint.to_string();
        let again: SignedCheckpoint = text.parse()?;
        let attested = again.verify(&self.pinned_log)?.cosignature(&self.pinned_clock)?;
        if again.unverified().head != head || attested.time_s != time.seconds() {
            return Err(PublishError::Backwards { last: again.unverified().head, next: head });
        }
        self.last = Some((head, time));
        Ok(View { edge, checkpoint, text: text.into(), time })
    }
}

/// Why a head was not signed. Nothing may be written after this.
#[derive(Debug, thiserror::Error)]
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
    /// Our own signature does not verify.
    #[error("our own checkpoint does not verify: {0}")]
    Checkpoint(#[from] CheckpointError),
}

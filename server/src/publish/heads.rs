//! Who signs and publishes what is committed: the sequencer itself, or the publish loop.

use std::sync::Arc;

use counterfoil_receipt::Timestamp;
use tracing::warn;

use super::{Identity, PublishError, Publisher, View, handle::PublishLoop, run::Halted, shown::Shown};
use crate::{log::Log, tiles::Edge};

/// Who signs and publishes what is committed.
pub enum Heads {
    /// The sequencer, at once: nobody else has to see it first.
    Alone(Box<Publisher>),
    /// The publish loop, when witnesses have cosigned it.
    Witnessed(Box<PublishLoop>),
}

impl Heads {
    /// The log's public keys.
    pub const fn identity(&self) -> &Identity {
        match self {
            Self::Alone(publisher) => publisher.identity(),
            Self::Witnessed(publishing) => publishing.identity(),
        }
    }

    /// Takes a committed state, newer than those before, and attests a time for it. Returns what is published, if that is
    /// done on the spot.
    pub fn committed(
        &mut self,
        log: &Log,
        edge: &Arc<Edge>,
        time: Timestamp,
    ) -> Result<Option<Arc<View>>, PublishError> {
        match self {
            Self::Alone(publisher) => {
                let view = Arc::new(publisher.publish(Arc::clone(edge), time)?);
                log.publish(Arc::clone(&view));
                Ok(Some(view))
            }
            Self::Witnessed(publishing) => {
                publishing.offer(Arc::clone(edge), time);
                Ok(None)
            }
        }
    }

    /// Why nothing more may be committed, if so it is.
    pub fn check(&self) -> Result<(), Halted> {
        match self {
            Self::Alone(_) => Ok(()),
            Self::Witnessed(publishing) => publishing.check(),
        }
    }

    /// What witnesses saw last of this log. Those that do not answer in time are not waited for.
    pub fn ask_witnesses(&self) -> Vec<Shown> {
        match self {
            Self::Alone(_) => Vec::new(),
            Self::Witnessed(publishing) => publishing.ask().unwrap_or_else(|error| {
                warn!(%error, "the witnesses cannot be asked what they saw of this log");
                Vec::new()
            }),
        }
    }

    /// Ends the publish loop, if there is one.
    pub fn finish(self) {
        if let Self::Witnessed(publishing) = self {
            publishing.finish();
        }
    }
}

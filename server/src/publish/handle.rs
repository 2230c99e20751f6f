//! The publish loop as the sequencer sees it: started, offered what is committed, asked whether it goes on.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use counterfoil_receipt::Timestamp;
use tokio::sync::watch;
use tracing::warn;

use super::{
    Identity, Publisher,
    ask::{AskerError, Reach},
    clock_record::ClockRecords,
    panel::Panel,
    run::{Halted, Loop, Offer},
    shown::{EvidencePlace, Shown},
};
use crate::{log::Log, metrics::Metrics, tiles::Edge};

/// How a log publishes with witnesses.
pub struct Setup {
    /// Its witnesses and their quorum.
    pub panel: Panel,
    /// At most one head is signed in each.
    pub period: Duration,
    /// How to reach them.
    pub reach: Reach,
    /// Where evidence against this log goes.
    pub evidence: EvidencePlace,
    /// Who puts witnesses' times into the log.
    pub clock_records: Option<ClockRecords>,
}

/// The loop, as the sequencer sees it.
pub struct PublishLoop {
    offers: watch::Sender<Option<Offer>>,
    halted: Arc<Halt>,
    thread: JoinHandle<()>,
    identity: Identity,
    panel: Panel,
    reach: Reach,
}

impl PublishLoop {
    /// Starts the loop, with nothing to publish.
    pub fn start(
        setup: Setup,
        log: Arc<Log>,
        publisher: Publisher,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let askers = setup.reach.askers(&setup.panel)?;
        let (offers, received) = watch::channel(None);
        let halted = Arc::new(Halt { reason: Mutex::default(), log: Arc::clone(&log) });
        let identity = publisher.identity().clone();
        let (panel, reach) = (setup.panel.clone(), setup.reach.clone());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let mut publishing = Loop::new(setup, askers, log, publisher, metrics, received);
        let halt = Arc::clone(&halted);
        let thread = thread::Builder::new().name("publish".into()).spawn(move || {
            // If this thread dies, the sequencer hears of it too.
            let mut ended = Ended { halt, reason: Some(Halted::Died) };
            ended.reason = runtime.block_on(publishing.run()).err();
        });
        let thread = thread.map_err(StartError::Thread)?;
        Ok(Self { offers, halted, thread, identity, panel, reach })
    }

    /// The log's public keys.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Offers a committed state, newer than those before. Never waits.
    pub fn offer(&self, edge: Arc<Edge>, time: Timestamp) {
        self.offers.send_replace(Some(Offer { edge, time }));
    }

    /// Why the loop has stopped, if it has.
    pub fn check(&self) -> Result<(), Halted> {
        let reason = self.halted.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone().map_or(Ok(()), Err)
    }

    /// Asks all witnesses what they saw last of this log, and waits for them no longer than their time. Whoever does not
    /// answer has nothing to say.
    pub fn ask(&self) -> Result<Vec<Shown>, StartError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        // Connections belong to the runtime that made them, so these clients are not those of the loop.
        let (askers, origin) = (self.reach.askers(&self.panel)?, &self.identity.origin);
        let asked = askers.iter().map(async |(name, asker)| (name, asker.show(origin).await));
        let answers = runtime.block_on(futures::future::join_all(asked));
        let mut shown = Vec::new();
        for (witness, answer) in answers {
            match answer {
                Ok(Some(text)) => shown.extend(Shown::read(witness, &text, &self.identity.log)),
                Ok(None) => {}
                Err(reason) => warn!(witness, %reason, "a witness does not say what it saw of this log"),
            }
        }
        Ok(shown)
    }

    /// Ends the loop. What was not published is found again by the next start.
    pub fn finish(self) {
        drop(self.offers);
        // Whatever it died of was told already.
        let _ = self.thread.join();
    }
}

/// How the sequencer hears that the loop has stopped.
struct Halt {
    reason: Mutex<Option<Halted>>,
    log: Arc<Log>,
}

struct Ended {
    halt: Arc<Halt>,
    reason: Option<Halted>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            *self.halt.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            self.halt.log.queue.interrupt();
        }
    }
}

/// Why the loop was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A witness cannot be asked.
    #[error(transparent)]
    Asker(#[from] AskerError),
    /// The system gave no thread.
    #[error("starting the publishing thread: {0}")]
    Thread(io::Error),
}

//! Watching one log: opened, looked at again and again, and opened anew when something is wrong here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use counterfoil_receipt::audit::Class;
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use super::{LogPlan, News, Outcome, Running, Watched, step::Step};
use crate::{
    alert::{Alerts, Found, Metrics, QueueError, deliver::stopped},
    hearsay::{Hearsay, Relation, StoreError, peers::Peer},
    monitor::{Monitor, Outside, StateError},
};

/// How long to wait before a log that could not be watched is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The code of the finding that a log is not being watched.
const STOPPED_CODE: &str = "monitor-stopped";

/// One log's life.
pub(super) struct Life {
    pub(super) plan: LogPlan,
    pub(super) watched: Arc<Watched>,
    pub(super) alerts: Option<Arc<Alerts>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) interval: Duration,
    pub(super) running: Running,
}

impl Life {
    /// Watches the log until told to stop, or once.
    pub(super) async fn run(self) -> Outcome {
        let life = Arc::new(self);
        let mut stop = life.running.stop.clone();
        let mut outcome = Outcome::default();
        loop {
            // In a task of its own, so that a panic, which is a fault of ours, ends one life and not all.
            let span = tokio::spawn(Arc::clone(&life).span(life.running.stop.clone()));
            let (gravest, ended) =
                span.await.unwrap_or_else(|panic| (None, Err(LifeError::Panic(panic.to_string()))));
            outcome = outcome.with(Outcome { gravest, lost: false });
            let Err(reason) = ended else { return outcome };
            life.lost(&reason);
            // What an earlier write left in the queue is read again by the next process alone.
            let broken = life.alerts.as_ref().is_some_and(|alerts| alerts.is_broken());
            if life.running.once || !life.running.persist || broken {
                return outcome.with(Outcome { gravest: None, lost: true });
            }
            tokio::select! {
                () = sleep(TRY_AGAIN) => {}
                () = stopped(&mut stop) => return outcome.with(Outcome { gravest: None, lost: true }),
            }
        }
    }

    fn lost(&self, reason: &LifeError) {
        let (origin, text) = (self.watched.origin(), describe(reason));
        error!(log = origin, reason = text, "the log is not being watched; it is tried again");
        (self.running.audience)(News::Lost { origin, reason: &text });
        self.watched.lose(&text);
        self.metrics.round(origin, "failed");
        let found = Found {
            class: Class::Coverage,
            code: STOPPED_CODE.to_owned(),
            place: "log".to_owned(),
            rule: None,
            for_good: false,
            message: format!("the log is not being watched: {text}"),
        };
        if let Err(error) = self.step().tell(found) {
            error!(log = origin, %error, "nobody can be told");
        }
    }

    fn step(&self) -> Step {
        Step::new(self.plan.watch.clone(), self.alerts.clone(), self.watched.origin(), self.running.now)
    }

    /// One span of life: from opening to the end, or to whatever goes wrong. Gives the gravest finding in any case.
    async fn span(self: Arc<Self>, stop: watch::Receiver<bool>) -> (Option<Class>, Result<(), LifeError>) {
        let mut gravest = None;
        let ended = self.look_on(stop, &mut gravest).await;
        (gravest, ended)
    }

    async fn look_on(
        &self,
        mut stop: watch::Receiver<bool>,
        gravest: &mut Option<Class>,
    ) -> Result<(), LifeError> {
        let LogPlan { known, state, vantages, settings, .. } = self.plan.clone();
        let mut monitor = Monitor::open(&state, &known, vantages, settings)?;
        let hearsay = Arc::new(Hearsay::open(&state.join("hearsay"), known.key, known.clock)?);
        self.watched.open(&monitor, Arc::clone(&hearsay));
        let step = self.step();
        let mut before = monitor.state().head().size;
        loop {
            tokio::select! {
                found = self.look(&mut monitor, &hearsay, &step) => {
                    *gravest = (*gravest).into_iter().chain(found?).min();
                }
                // A look that is cut off leaves the state as it was.
                () = stopped(&mut stop) => return Ok(()),
            }
            let size = monitor.state().head().size;
            if self.running.once {
                return Ok(());
            }
            if size > before && monitor.state().backlog() > 0 {
                before = size;
                continue;
            }
            tokio::select! {
                () = sleep(self.interval) => {}
                () = self.watched.woken() => {}
                () = stopped(&mut stop) => return Ok(()),
            }
        }
    }

    /// One look. Gives the gravest finding.
    async fn look(
        &self,
        monitor: &mut Monitor,
        hearsay: &Hearsay,
        step: &Step,
    ) -> Result<Option<Class>, LifeError> {
        let (now, origin) = (self.running.now, self.watched.origin());
        if self.alerts.as_ref().is_some_and(|alerts| alerts.is_broken()) {
            return Err(LifeError::Broken);
        }
        for evidence in hearsay.evidence() {
            monitor.believe(&evidence)?;
        }
        let heard = hearsay.notes();
        let notes: Vec<_> =
            self.plan.notes.iter().cloned().chain(heard.iter().map(ToString::to_string)).collect();
        let progress = |read, whole| {
            self.watched.reads(read, whole, now());
            (self.running.audience)(News::Reads { read, whole });
        };
        step.begin();
        let mut outside = Outside {
            now: &now,
            progress: &progress,
            notes: &notes,
            observe: &mut |sight, report| step.observe(sight, report),
            record: &mut |findings| step.record(findings),
        };
        let report = if self.running.once {
            monitor.catch_up(&mut outside).await?
        } else {
            monitor.round(&mut outside).await?
        };
        step.end(&report)?;
        hearsay.settle(&heard, monitor.state().head().size)?;
        self.watched.looked(monitor, &report, now());
        self.metrics.round(origin, if report.is_clean() { "clean" } else { "findings" });
        (self.running.audience)(News::Looked { monitor, report: &report });
        Ok(report.gravest())
    }
}

/// Exchanges checkpoints of a log with peers, as often as it is looked at. Ends when dropped.
pub(super) async fn gossip(
    watched: Arc<Watched>,
    peers: Vec<Peer>,
    interval: Duration,
    metrics: Arc<Metrics>,
) {
    let mut silent = HashSet::new();
    loop {
        sleep(interval).await;
        for peer in &peers {
            let Some((snapshot, hearsay)) = watched.hearsay() else { continue };
            let exchanged = match peer.exchange(snapshot.newest(), &watched.known.key).await {
                Ok(exchanged) => {
                    if silent.remove(peer.url()) {
                        info!(log = watched.origin(), peer = peer.url(), "the peer can be heard again");
                    }
                    exchanged
                }
                Err(error) => {
                    if silent.insert(peer.url().to_owned()) {
                        warn!(log = watched.origin(), %error, "the peer could not be heard");
                    }
                    continue;
                }
            };
            let heard = exchanged.note.map(|note| hearsay.hear(&note, &snapshot));
            match heard {
                Some(Ok(answer)) => {
                    metrics.gossip(watched.origin(), answer.relation.as_str());
                    if answer.relation == Relation::Inconsistent {
                        watched.wake();
                    }
                }
                Some(Err(error)) => warn!(log = watched.origin(), peer = peer.url(), %error, "not taken"),
                None => {}
            }
            match exchanged.evidence.map(|evidence| hearsay.hear_evidence(&evidence)) {
                Some(Ok(true)) => watched.wake(),
                Some(Err(error)) => {
                    warn!(log = watched.origin(), peer = peer.url(), %error, "evidence that is not taken");
                }
                Some(Ok(false)) | None => {}
            }
        }
    }
}

/// Why a log's life was cut short.
#[derive(Debug, thiserror::Error)]
pub(super) enum LifeError {
    /// Its own state.
    #[error(transparent)]
    State(#[from] StateError),
    /// What others said of it.
    #[error(transparent)]
    Hearsay(#[from] StoreError),
    /// The queue of alerts.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue of alerts, whatever it was that broke it.
    #[error("nothing can be put into the queue of alerts any more; restart to read it again")]
    Broken,
    /// A fault of this program.
    #[error("a fault of this program: {0}")]
    Panic(String),
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    crate::outbound::chain(error)
}

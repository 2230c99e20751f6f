//! A monitor of several logs: each in a task of its own, with one queue of alerts for all of them.
//!
//! [`config`] says what there is, `life` watches one log, [`watched`] is what everybody may know of it meanwhile, and
//! [`serve`] shows it. A log that cannot be watched, whatever the reason, is told of and tried again; the others go on.

pub mod config;
pub mod heartbeat;
mod life;
pub mod serve;
mod step;
pub mod watched;

use std::{sync::Arc, time::Duration};

use counterfoil_merkle::TreeSize;
use counterfoil_receipt::{
    Timestamp,
    audit::{Class, Report},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use self::{
    config::{Config, ConfigError, LogPlan, Plan},
    watched::Watched,
};
use crate::{
    alert::{Alerts, Metrics, OpenError, Sink, deliver::Delivery},
    hearsay::peers::Peer,
    monitor::Monitor,
};

/// How long, at the end of a single look, sinks are waited for.
pub const LAST_WORDS: Duration = Duration::from_secs(60);

/// What happens while logs are watched, for whoever sits before a terminal.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// A look at a log has ended.
    Looked {
        /// Who looked.
        monitor: &'a Monitor,
        /// What was found.
        report: &'a Report,
    },
    /// A long look goes on.
    Reads {
        /// Entries read.
        read: TreeSize,
        /// Entries to read.
        whole: TreeSize,
    },
    /// A log cannot be watched.
    Lost {
        /// Which.
        origin: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Who is told the news.
pub type Audience = dyn Fn(News<'_>) + Send + Sync;

/// How a fleet is run.
#[derive(Clone)]
pub struct Running {
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// Whether each log is looked at once only.
    pub once: bool,
    /// Whether a log that cannot be watched is tried again; else its watching ends there.
    pub persist: bool,
    /// Who sees what comes of it.
    pub audience: Arc<Audience>,
    /// Becomes true when it is to end.
    pub stop: watch::Receiver<bool>,
}

/// Logs, alerts and sinks, ready to run.
pub struct Fleet {
    watched: Vec<Arc<Watched>>,
    plans: Vec<LogPlan>,
    alerts: Option<Arc<Alerts>>,
    metrics: Arc<Metrics>,
    sinks: Vec<Sink>,
    peers: Vec<Peer>,
    interval: Duration,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The gravest class of all that was found in any log.
    pub gravest: Option<Class>,
    /// Whether a log could not be watched at the end.
    pub lost: bool,
}

impl Outcome {
    fn with(self, other: Self) -> Self {
        let gravest = self.gravest.into_iter().chain(other.gravest).min();
        Self { gravest, lost: self.lost || other.lost }
    }
}

impl Fleet {
    /// Opens the alerts, if they are kept; logs are opened as they are watched.
    pub fn open(plan: Plan, with_alerts: bool, now: fn() -> Timestamp) -> Result<Self, OpenError> {
        let Plan { state, interval, logs, alerts, sinks, peers, .. } = plan;
        let metrics = Arc::new(Metrics::new());
        let listening: Vec<_> = sinks.iter().map(|sink| (sink.name.clone(), sink.classes.clone())).collect();
        let alerts = with_alerts.then(|| {
            let directory = config::alerts_directory(&state);
            Alerts::open(&directory, &listening, alerts, Arc::clone(&metrics), now())
        });
        let alerts = alerts.transpose()?.map(Arc::new);
        let watched =
            logs.iter().map(|log| Arc::new(Watched::new(&log.name, log.known.clone(), now()))).collect();
        Ok(Self { watched, plans: logs, alerts, metrics, sinks, peers, interval })
    }

    /// The logs, for whoever asks while they are watched.
    pub fn watched(&self) -> &[Arc<Watched>] {
        &self.watched
    }

    /// What a page about this fleet is made from.
    pub fn view(&self) -> serve::View {
        let sinks = self.sinks.iter().map(|sink| (sink.name.clone(), sink.way.as_str())).collect();
        serve::View {
            logs: self.watched.clone(),
            alerts: self.alerts.clone(),
            metrics: Arc::clone(&self.metrics),
            sinks,
        }
    }

    /// Watches all logs until told to stop, or once each, and tells the sinks.
    pub async fn run(self, running: Running) -> Outcome {
        let Self { watched, plans, alerts, metrics, sinks, peers, interval } = self;
        let (end, ended) = watch::channel(false);
        let heartbeat = heartbeat::heartbeat(watched.clone(), interval, running.now);
        let mut telling = JoinSet::new();
        for sink in sinks {
            let Some(alerts) = alerts.clone() else { continue };
            let heartbeat = Arc::clone(&heartbeat);
            let delivery = Delivery { alerts, sink, now: running.now, heartbeat };
            telling.spawn(delivery.run(ended.clone()));
        }
        let mut gossiping = JoinSet::new();
        let mut looking: Vec<JoinHandle<Outcome>> = Vec::new();
        for (plan, watched) in plans.into_iter().zip(watched) {
            if !peers.is_empty() && !running.once {
                let peers = peers.clone();
                gossiping.spawn(life::gossip(Arc::clone(&watched), peers, interval, Arc::clone(&metrics)));
            }
            let (alerts, metrics) = (alerts.clone(), Arc::clone(&metrics));
            let life = life::Life { plan, watched, alerts, metrics, interval, running: running.clone() };
            looking.push(tokio::spawn(life.run()));
        }
        let mut outcome = Outcome::default();
        for look in looking {
            let ended = look.await.unwrap_or(Outcome { gravest: None, lost: true });
            outcome = outcome.with(ended);
        }
        gossiping.shutdown().await;
        if running.once
            && let Some(alerts) = &alerts
        {
            crate::alert::deliver::all_told(alerts, LAST_WORDS).await;
        }
        // What has not been told is told when the monitor runs again.
        end.send_replace(true);
        telling.join_all().await;
        outcome
    }
}

#[cfg(test)]
mod tests;

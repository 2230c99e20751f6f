//! What is counted, for Prometheus.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use counterfoil_receipt::audit::Class;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    Standing,
    message::{Alert, Event},
};

/// Counters and gauges of one monitor.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    findings: Family<Finding, Counter>,
    deliveries: Family<Delivery, Counter>,
    open: Family<Finding, Gauge>,
    verified_size: Family<OfLog, Gauge>,
    known_size: Family<OfLog, Gauge>,
    backlog: Family<OfLog, Gauge>,
    attested_seconds: Family<OfLog, Gauge>,
    progress_seconds: Family<OfLog, Gauge>,
    round_seconds: Family<OfLog, Gauge>,
    rounds: Family<Round, Counter>,
    forks: Family<OfLog, Gauge>,
    queue_depth: Family<OfSink, Gauge>,
    missed: Family<OfSink, Gauge>,
    queue_bytes: Gauge,
    gossip: Family<Gossip, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finding {
    log: String,
    class: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    sink: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    log: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Round {
    log: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Gossip {
    log: String,
    relation: &'static str,
}

/// What a log's look at it says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were read and verified.
    pub verified: u64,
    /// Entries that the log has, as far as is known.
    pub known: u64,
    /// The newest time that the log's clock attested.
    pub attested_s: Option<u64>,
    /// When more was verified than before.
    pub advanced_s: Option<u64>,
    /// When the last look at the log ended.
    pub round_s: Option<u64>,
    /// Forks that were proven.
    pub forks: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("counterfoil_monitor")),
            findings: Family::default(),
            deliveries: Family::default(),
            open: Family::default(),
            verified_size: Family::default(),
            known_size: Family::default(),
            backlog: Family::default(),
            attested_seconds: Family::default(),
            progress_seconds: Family::default(),
            round_seconds: Family::default(),
            rounds: Family::default(),
            forks: Family::default(),
            queue_depth: Family::default(),
            missed: Family::default(),
            queue_bytes: Gauge::default(),
            gossip: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("findings", "New findings, by class and code", self.findings.clone());
        r.register("findings_open", "Findings that last now, by class and code", self.open.clone());
        r.register("forks_proven", "Forks of the log for which there is evidence", self.forks.clone());
        r.register("verified_size", "Entries read and verified", self.verified_size.clone());
        r.register("known_size", "Entries that the log has signed for", self.known_size.clone());
        r.register("backlog", "Entries still to be read", self.backlog.clone());
        let help = "POSIX time of the newest time that the log's clock attested";
        r.register("attested_time_seconds", help, self.attested_seconds.clone());
        let help = "POSIX time at which more was verified than before";
        r.register("progress_time_seconds", help, self.progress_seconds.clone());
        let help = "POSIX time at which the last look at the log ended";
        r.register("round_time_seconds", help, self.round_seconds.clone());
        r.register("rounds", "Looks at the log, by what came of them", self.rounds.clone());
        r.register("queue_depth", "Alerts that a sink has not been told of yet", self.queue_depth.clone());
        let help = "Alerts that a sink will never be told of, until it has been told their number";
        r.register("queue_missed", help, self.missed.clone());
        r.register("queue_bytes", "Bytes of the queue of alerts", self.queue_bytes.clone());
        r.register("deliveries", "Messages to sinks, by what came of them", self.deliveries.clone());
        r.register(
            "gossip",
            "Checkpoints that others sent, by what they turned out to be",
            self.gossip.clone(),
        );
    }

    /// An alert is new.
    pub(super) fn found(&self, alert: &Alert) {
        if alert.event == Event::Finding {
            let (log, class, code) = (alert.log.clone(), alert.class.to_string(), alert.code.clone());
            self.findings.get_or_create(&Finding { log, class, code }).inc();
        }
    }

    /// A message went to a sink, or did not.
    pub fn delivered(&self, sink: &str, result: &'static str) {
        self.deliveries.get_or_create(&Delivery { sink: sink.to_owned(), result }).inc();
    }

    /// A look at a log ended.
    pub fn round(&self, log: &str, result: &'static str) {
        self.rounds.get_or_create(&Round { log: log.to_owned(), result }).inc();
    }

    /// Somebody sent a checkpoint.
    pub fn gossip(&self, log: &str, relation: &'static str) {
        self.gossip.get_or_create(&Gossip { log: log.to_owned(), relation }).inc();
    }

    /// The text that Prometheus reads, with the gauges as they are given.
    pub fn print<'a>(
        &self,
        logs: impl Iterator<Item = (&'a str, Progress)>,
        open: &BTreeMap<(String, Class, String), u64>,
        sinks: &[Standing],
        queue_bytes: u64,
    ) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (log, progress) in logs {
            let log = OfLog { log: log.to_owned() };
            let set = |family: &Family<OfLog, Gauge>, value: u64| {
                family.get_or_create(&log).set(number(value));
            };
            set(&self.verified_size, progress.verified);
            set(&self.known_size, progress.known);
            set(&self.backlog, progress.known.saturating_sub(progress.verified));
            set(&self.forks, progress.forks);
            // What never happened has no time.
            for (family, value) in [
                (&self.attested_seconds, progress.attested_s),
                (&self.progress_seconds, progress.advanced_s),
                (&self.round_seconds, progress.round_s),
            ] {
                value.into_iter().for_each(|value| set(family, value));
            }
        }
        self.open.clear();
        for ((log, class, code), count) in open {
            let finding = Finding { log: log.clone(), class: class.to_string(), code: code.clone() };
            self.open.get_or_create(&finding).set(number(*count));
        }
        for standing in sinks {
            let sink = OfSink { sink: standing.name.clone() };
            self.queue_depth.get_or_create(&sink).set(number(standing.behind));
            self.missed.get_or_create(&sink).set(number(standing.missed));
        }
        self.queue_bytes.set(number(queue_bytes));
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("writing into memory");
        out
    }
}

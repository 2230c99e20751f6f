//! What is counted, for Prometheus.

use std::{sync::PoisonError, time::Duration};

use counterfoil_receipt::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::log::{Log, Status};

/// Counters, gauges and histograms of one server.
pub struct Metrics {
    registry: std::sync::Mutex<Registry>,
    appends: Counter,
    rejects: Family<Reason, Counter>,
    batch_leaves: Histogram,
    commit_seconds: Histogram,
    publish_seconds: Histogram,
    tree_size: Gauge,
    checkpoint_age_seconds: Gauge,
    queue_depth: Gauge,
    writing: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let latency = || Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        let metrics = Self {
            registry: std::sync::Mutex::new(Registry::with_prefix("counterfoil")),
            appends: Counter::default(),
            rejects: Family::default(),
            batch_leaves: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_seconds: latency(),
            publish_seconds: latency(),
            tree_size: Gauge::default(),
            checkpoint_age_seconds: Gauge::default(),
            queue_depth: Gauge::default(),
            writing: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("appends", "Receipts acknowledged as new", self.appends.clone());
        r.register("rejects", "Requests or batch lines refused, by reason", self.rejects.clone());
        r.register("batch_leaves", "Entries of a batch", self.batch_leaves.clone());
        r.register(
            "commit_seconds",
            "From a batch's start to its commit, read back",
            self.commit_seconds.clone(),
        );
        r.register(
            "publish_seconds",
            "From a batch's start to its publication",
            self.publish_seconds.clone(),
        );
        r.register("tree_size", "Entries of the published tree", self.tree_size.clone());
        r.register(
            "checkpoint_age_seconds",
            "Seconds since the time that the published checkpoint attests",
            self.checkpoint_age_seconds.clone(),
        );
        r.register("queue_depth", "Receipts that wait for the sequencer", self.queue_depth.clone());
        r.register("writing", "1 while the log takes receipts", self.writing.clone());
    }

    /// A receipt was acknowledged as new.
    pub fn appended(&self) {
        self.appends.inc();
    }

    /// A request or a line of a batch was refused.
    pub fn rejected(&self, reason: &'static str) {
        self.rejects.get_or_create(&Reason { reason }).inc();
    }

    /// A batch was published.
    pub fn published(&self, leaves: usize, committed: Duration, published: Duration) {
        self.batch_leaves.observe(f64::from(u32::try_from(leaves).unwrap_or(u32::MAX)));
        self.commit_seconds.observe(committed.as_secs_f64());
        self.publish_seconds.observe(published.as_secs_f64());
    }

    /// The text that Prometheus reads, with the gauges as of now.
    pub fn print(&self, log: &Log, now: Timestamp) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(view) = log.view() {
            self.tree_size.set(number(view.head().size.get()));
            self.checkpoint_age_seconds.set(number(now.seconds().saturating_sub(view.time.seconds())));
        }
        self.queue_depth.set(number(log.queue.depth() as u64));
        self.writing.set(i64::from(log.status() == Status::Writing));
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("writing into memory");
        out
    }
}

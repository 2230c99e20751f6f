//! What is counted, for Prometheus.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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
use tracing::warn;

use crate::log::{Log, Status};

/// Counters, gauges and histograms of one server.
pub struct Metrics {
    registry: Mutex<Registry>,
    appends: Counter,
    rejects: Family<Reason, Counter>,
    batch_leaves: Histogram,
    commit_seconds: Histogram,
    publish_seconds: Histogram,
    tree_size: Gauge,
    committed_size: Gauge,
    searchable_size: Gauge,
    checkpoint_age_seconds: Gauge,
    queue_depth: Gauge,
    writing: Gauge,
    free_bytes: Gauge,
    witness_size: Family<WitnessName, Gauge>,
    witness_failures: Family<WitnessFailure, Counter>,
    witness_age_seconds: Family<WitnessName, Gauge>,
    /// Times of the newest cosignatures, in seconds.
    cosigned_s: Mutex<BTreeMap<String, u64>>,
    quorum_missing_seconds: Gauge,
    quorum_missing_since: Mutex<Option<Instant>>,
    scrub_position: Gauge,
    scrub_passes: Counter,
    scrub_passed_time_seconds: Gauge,
    scrub_damaged: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessName {
    witness: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessFailure {
    witness: String,
    kind: &'static str,
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
            registry: Mutex::new(Registry::with_prefix("counterfoil")),
            appends: Counter::default(),
            rejects: Family::default(),
            batch_leaves: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_seconds: latency(),
            publish_seconds: latency(),
            tree_size: Gauge::default(),
            committed_size: Gauge::default(),
            searchable_size: Gauge::default(),
            checkpoint_age_seconds: Gauge::default(),
            queue_depth: Gauge::default(),
            writing: Gauge::default(),
            free_bytes: Gauge::default(),
            witness_size: Family::default(),
            witness_failures: Family::default(),
            witness_age_seconds: Family::default(),
            cosigned_s: Mutex::default(),
            quorum_missing_seconds: Gauge::default(),
            quorum_missing_since: Mutex::default(),
            scrub_position: Gauge::default(),
            scrub_passes: Counter::default(),
            scrub_passed_time_seconds: Gauge::default(),
            scrub_damaged: Gauge::default(),
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
            "From a batch's start to its publication; with witnesses, the longest wait that a publication ended",
            self.publish_seconds.clone(),
        );
        r.register("tree_size", "Entries of the published tree", self.tree_size.clone());
        r.register(
            "committed_size",
            "Entries that are durable, published or not",
            self.committed_size.clone(),
        );
        r.register(
            "searchable_size",
            "Entries that the search index is complete for",
            self.searchable_size.clone(),
        );
        r.register(
            "checkpoint_age_seconds",
            "Seconds since the time that the published checkpoint attests",
            self.checkpoint_age_seconds.clone(),
        );
        r.register("queue_depth", "Receipts that wait for the sequencer", self.queue_depth.clone());
        r.register("writing", "1 while the log takes receipts", self.writing.clone());
        r.register("free_bytes", "Bytes free where the data directory is", self.free_bytes.clone());
        self.register_witnesses(&mut r);
        self.register_scrubber(&mut r);
    }

    fn register_witnesses(&self, r: &mut Registry) {
        r.register("witness_size", "Size that each witness cosigned last", self.witness_size.clone());
        r.register(
            "witness_failures",
            "Times that a witness' vote was missing, by kind",
            self.witness_failures.clone(),
        );
        r.register(
            "witness_cosignature_age_seconds",
            "Seconds since the time in each witness' newest cosignature",
            self.witness_age_seconds.clone(),
        );
        r.register(
            "quorum_missing_seconds",
            "How long the published checkpoint has stood still for lack of witnesses; 0 if it does not",
            self.quorum_missing_seconds.clone(),
        );
    }

    fn register_scrubber(&self, r: &mut Registry) {
        r.register(
            "scrub_position",
            "Entries that the scrubber has read again in its present or last pass",
            self.scrub_position.clone(),
        );
        r.register(
            "scrub_passes",
            "Times that the whole stored log was read again since the start",
            self.scrub_passes.clone(),
        );
        r.register(
            "scrub_passed_time_seconds",
            "When the last such pass ended, in seconds since 1970; 0 before the first",
            self.scrub_passed_time_seconds.clone(),
        );
        r.register(
            "scrub_damaged",
            "1 once the stored log was found damaged: then nothing is appended",
            self.scrub_damaged.clone(),
        );
    }

    /// The scrubber has read so many entries of its present pass.
    pub fn scrubbed(&self, entries: u64) {
        self.scrub_position.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// The scrubber has read the whole log.
    pub fn passed(&self, now: Timestamp) {
        self.scrub_passes.inc();
        self.scrub_passed_time_seconds.set(i64::try_from(now.seconds()).unwrap_or(i64::MAX));
    }

    /// The stored log is damaged.
    pub fn damaged(&self) {
        self.scrub_damaged.set(1);
    }

    /// A receipt was acknowledged as new.
    pub fn appended(&self) {
        self.appends.inc();
    }

    /// A request or a line of a batch was refused.
    pub fn rejected(&self, reason: &'static str) {
        self.rejects.get_or_create(&Reason { reason }).inc();
    }

    /// A batch was committed, and the log has so many entries now.
    pub fn committed(&self, leaves: usize, size: u64, elapsed: Duration) {
        self.batch_leaves.observe(f64::from(u32::try_from(leaves).unwrap_or(u32::MAX)));
        self.committed_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.commit_seconds.observe(elapsed.as_secs_f64());
    }

    /// The search index is complete for that many entries.
    pub fn searchable(&self, size: u64) {
        self.searchable_size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// A head was published.
    pub fn published(&self, elapsed: Duration) {
        self.publish_seconds.observe(elapsed.as_secs_f64());
    }

    /// A witness cosigned that size, at that time by its own clock.
    pub fn cosigned(&self, witness: &str, size: u64, time_s: u64) {
        let name = WitnessName { witness: witness.to_owned() };
        self.witness_size.get_or_create(&name).set(i64::try_from(size).unwrap_or(i64::MAX));
        let mut times = self.cosigned_s.lock().unwrap_or_else(PoisonError::into_inner);
        times.insert(name.witness, time_s);
    }

    /// A witness' vote is missing.
    pub fn witness_failed(&self, witness: &str, kind: &'static str) {
        self.witness_failures.get_or_create(&WitnessFailure { witness: witness.to_owned(), kind }).inc();
    }

    /// Heads have lacked their quorum since then, or no longer do.
    pub fn quorum_missing_since(&self, since: Option<Instant>) {
        *self.quorum_missing_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// The text that Prometheus reads, with the gauges as of now.
    pub fn print(&self, log: &Log, now: Timestamp) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(view) = log.view() {
            self.tree_size.set(number(view.head().size.get()));
            self.checkpoint_age_seconds.set(number(now.seconds().saturating_sub(view.time.seconds())));
        }
        for (witness, time_s) in self.cosigned_s.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let name = WitnessName { witness: witness.clone() };
            let age = self.witness_age_seconds.get_or_create(&name);
            age.set(number(now.seconds().saturating_sub(*time_s)));
        }
        let missing = *self.quorum_missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.quorum_missing_seconds.set(number(missing.map_or(0, |since| since.elapsed().as_secs())));
        self.queue_depth.set(number(log.queue.depth() as u64));
        self.writing.set(i64::from(log.status() == Status::Writing));
        match log.tiles.objects().free_bytes() {
            Ok(free) => {
                self.free_bytes.set(number(free.unwrap_or(u64::MAX)));
            }
            Err(error) => warn!(%error, "the free space cannot be told"),
        }
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("writing into memory");
        out
    }
}

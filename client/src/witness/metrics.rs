//! What a witness counts, for Prometheus.

use std::sync::{Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::service::Witness;

/// Counters, and gauges that are set when they are read.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    logs: Gauge,
    lost: Gauge,
    refused: Gauge,
    waiting: Gauge,
    size: Family<OfLog, Gauge>,
    age: Family<OfLog, Gauge>,
    forked: Family<OfLog, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    origin: String,
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
            registry: Mutex::new(Registry::with_prefix("counterfoil_witness")),
            requests: Family::default(),
            logs: Gauge::default(),
            lost: Gauge::default(),
            refused: Gauge::default(),
            waiting: Gauge::default(),
            size: Family::default(),
            age: Family::default(),
            forked: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("requests", "Requests answered, by path and status", self.requests.clone());
        r.register("logs", "Logs that are watched", self.logs.clone());
        r.register(
            "lost_logs",
            "Logs not served until a restart, for their state is in doubt",
            self.lost.clone(),
        );
        r.register(
            "refused_notes",
            "Notes that logs signed and that were refused and kept",
            self.refused.clone(),
        );
        r.register("pending_handovers", "Refused notes that no monitor has yet", self.waiting.clone());
        r.register("size", "Size of the newest tree that was cosigned, by log", self.size.clone());
        r.register(
            "cosignature_age_seconds",
            "Seconds since the newest cosignature, by log",
            self.age.clone(),
        );
        r.register("forked", "1 if the log is proven to have signed two histories", self.forked.clone());
    }

    /// A request was answered.
    pub fn answered(&self, path: &str, status: u16) {
        self.requests.get_or_create(&Answered { path: path.to_owned(), status }).inc();
    }

    /// The text that Prometheus reads, with the gauges as of now. Logs that were never cosigned have none.
    pub fn print(&self, witness: &Witness) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (slots, now_s) = (witness.slots(), witness.tools().now_s());
        let (mut lost, mut refused, mut waiting) = (0, 0, 0);
        for slot in &slots {
            let view = slot.view();
            lost += i64::from(view.lost);
            refused += number(view.refused as u64);
            waiting += number(view.waiting as u64);
            let label = OfLog { origin: slot.log().origin().to_string() };
            if view.evidence.is_some() {
                self.forked.get_or_create(&label).set(1);
            }
            if let Some(newest) = view.newest {
                self.size.get_or_create(&label).set(number(newest.head().size.get()));
                self.age.get_or_create(&label).set(number(now_s.saturating_sub(newest.time_s)));
            }
        }
        self.logs.set(number(slots.len() as u64));
        self.lost.set(lost);
        self.refused.set(refused);
        self.waiting.set(waiting);
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("writing into memory");
        out
    }
}

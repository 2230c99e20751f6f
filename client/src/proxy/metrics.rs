//! What is counted, for Prometheus.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

use super::{recorder::Summary, spool};

/// Counters, gauges and histograms of one proxy.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    exchanges: Family<Exchange, Counter>,
    passed: Counter,
    refused: Family<Reason, Counter>,
    unreceipted: Family<Reason, Counter>,
    left_out: Counter,
    attempts: Family<Upstream, Counter>,
    added: Histogram,
    held_back: Histogram,
    receipts: Counter,
    delivered: Counter,
    delivery_failures: Counter,
    delivery_refusals: Counter,
    delivery_delay: Histogram,
    pushed: Counter,
    push_failures: Counter,
    bodies_dropped: Counter,
    under_way: Gauge,
    held_bytes: Gauge,
    undelivered: Gauge,
    spool_bytes: Gauge,
    spool_bytes_max: Gauge,
    spool_works: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exchange {
    protocol: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    upstream: String,
    result: &'static str,
}

/// How things stand at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Exchanges under way.
    pub under_way: usize,
    /// Bytes held of them.
    pub held_bytes: usize,
    /// The spool.
    pub spool: spool::Status,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let latency = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("counterfoil_proxy")),
            exchanges: Family::default(),
            passed: Counter::default(),
            refused: Family::default(),
            unreceipted: Family::default(),
            left_out: Counter::default(),
            attempts: Family::default(),
            added: latency(),
            held_back: latency(),
            receipts: Counter::default(),
            delivered: Counter::default(),
            delivery_failures: Counter::default(),
            delivery_refusals: Counter::default(),
            delivery_delay: Histogram::new(exponential_buckets(0.01, 4.0, 12)),
            pushed: Counter::default(),
            push_failures: Counter::default(),
            bodies_dropped: Counter::default(),
            under_way: Gauge::default(),
            held_bytes: Gauge::default(),
            undelivered: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_bytes_max: Gauge::default(),
            spool_works: Gauge::default(),
        };
        metrics.register_exchanges();
        metrics.register_receipts();
        metrics
    }

    fn register_exchanges(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("exchanges", "Exchanges that are over, by protocol and outcome", self.exchanges.clone());
        r.register("passed", "Requests that call no model, passed through unlogged", self.passed.clone());
        r.register("refused", "Requests that the proxy answered itself, by reason", self.refused.clone());
        r.register("unreceipted", "Exchanges that have no receipt, by reason", self.unreceipted.clone());
        r.register("contents_left_out", "Exchanges whose content was too long", self.left_out.clone());
        r.register("attempts", "Requests sent to upstreams, by upstream and result", self.attempts.clone());
        r.register(
            "added_seconds",
            "Time that the proxy itself took until an answer began",
            self.added.clone(),
        );
        r.register(
            "held_back_seconds",
            "Time that the end of an answer waited for its receipt to last",
            self.held_back.clone(),
        );
        r.register("under_way", "Exchanges under way", self.under_way.clone());
        r.register("held_bytes", "Bytes held of exchanges under way", self.held_bytes.clone());
        r.register("bodies_dropped", "Bodies that were to be kept and were not", self.bodies_dropped.clone());
    }

    fn register_receipts(&self) {
        let mut r = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        r.register("receipts", "Receipts written into the spool", self.receipts.clone());
        r.register("delivered", "Receipts that are in the log", self.delivered.clone());
        r.register(
            "delivery_failures",
            "Batches that the log did not answer",
            self.delivery_failures.clone(),
        );
        r.register("delivery_refusals", "Receipts that the log refused", self.delivery_refusals.clone());
        r.register(
            "delivery_delay_seconds",
            "From an exchange's end until its receipt is in the log",
            self.delivery_delay.clone(),
        );
        r.register("pushed", "Openings handed to the operator", self.pushed.clone());
        r.register("push_failures", "Openings that could not be handed over", self.push_failures.clone());
        r.register("undelivered", "Receipts in the spool that are not in the log", self.undelivered.clone());
        r.register("spool_bytes", "Bytes of the spool", self.spool_bytes.clone());
        r.register("spool_bytes_max", "Bytes that the spool may have", self.spool_bytes_max.clone());
        r.register("spool_works", "1 unless the spool's disk has failed", self.spool_works.clone());
    }

    /// An exchange is over.
    pub fn over(&self, summary: Summary) {
        let Summary { protocol, outcome, left_out } = summary;
        self.exchanges.get_or_create(&Exchange { protocol, outcome }).inc();
        self.left_out.inc_by(u64::from(left_out));
    }

    /// A request passes unlogged.
    pub fn passed(&self) {
        self.passed.inc();
    }

    /// The proxy answers a request itself.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// An exchange goes without a receipt.
    pub fn unreceipted(&self, reason: &'static str) {
        self.unreceipted.get_or_create(&Reason { reason }).inc();
    }

    /// An upstream was tried.
    pub fn tried(&self, upstream: &str, result: &'static str) {
        self.attempts.get_or_create(&Upstream { upstream: upstream.to_owned(), result }).inc();
    }

    /// An answer began, that much later for the proxy.
    pub fn added(&self, time: Duration) {
        self.added.observe(time.as_secs_f64());
    }

    /// The end of an answer waited for its receipt.
    pub fn held_back(&self, time: Duration) {
        self.held_back.observe(time.as_secs_f64());
    }

    /// A receipt lasts.
    pub fn receipted(&self) {
        self.receipts.inc();
    }

    /// A receipt is in the log, that long after its exchange was over.
    pub fn delivered(&self, delay: Duration) {
        self.delivered.inc();
        self.delivery_delay.observe(delay.as_secs_f64());
    }

    /// The log did not answer.
    pub fn delivery_failed(&self) {
        self.delivery_failures.inc();
    }

    /// The log refused a receipt.
    pub fn delivery_refused(&self) {
        self.delivery_refusals.inc();
    }

    /// Openings were handed to the operator, or could not be.
    pub fn pushed(&self, done: bool) {
        if done {
            self.pushed.inc()
        } else {
            self.push_failures.inc()
        };
    }

    /// A body was to be kept, and is not.
    pub fn body_dropped(&self) {
        self.bodies_dropped.inc();
    }

    /// The text that Prometheus reads, with the gauges as of now.
    pub fn print(&self, standing: Standing) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let Standing { under_way, held_bytes, spool } = standing;
        self.under_way.set(number(under_way as u64));
        self.held_bytes.set(number(held_bytes as u64));
        self.undelivered.set(number(spool.undelivered as u64));
        self.spool_bytes.set(number(spool.bytes));
        self.spool_bytes_max.set(number(spool.bytes_max));
        self.spool_works.set(i64::from(!spool.has_failed));
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("writing into memory");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_printed_by_its_name() {
        let metrics = Metrics::new();
        metrics.over(Summary { protocol: "openai.chat", outcome: "complete", left_out: false });
        metrics.added(Duration::from_micros(70));
        let spool = spool::Status { undelivered: 3, bytes: 10, bytes_max: 20, has_failed: false };
        let text = metrics.print(Standing { under_way: 1, held_bytes: 2, spool });
        for line in [
            "counterfoil_proxy_exchanges_total{protocol=\"openai.chat\",outcome=\"complete\"} 1",
            "counterfoil_proxy_added_seconds_count 1",
            "counterfoil_proxy_undelivered 3",
            "counterfoil_proxy_spool_works 1",
            "counterfoil_proxy_passed_total 0",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} in\n{text}");
        }
    }
}

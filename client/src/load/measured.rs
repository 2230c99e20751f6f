//! What came of a load.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Reading;

/// The longest latency that is told from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// Latencies, each to three digits, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let longest = u64::try_from(LATENCY_MAX.as_micros()).expect("an hour in microseconds");
        Self(Histogram::new_with_bounds(1, longest, 3).expect("bounds and digits that a histogram can have"))
    }
}

impl Latencies {
    /// How many requests.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that so many per cent of the requests did not exceed.
    pub fn percentile(&self, per_cent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(per_cent))
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms with the same bounds");
    }
}

/// What came of a load. What began before the warm-up was over is not in it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Receipts that were acknowledged as new.
    pub acknowledged: u64,
    /// Receipts that the log had no room for: it answered 429 or 503.
    pub refused: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long each append took.
    pub appends: Latencies,
    /// How long each read took.
    pub reads: [Latencies; Reading::ALL.len()],
    /// Processor time of this process while it sent, the warm-up included.
    pub processor: Duration,
    /// Requests in that time.
    pub requests: u64,
}

impl Measured {
    /// So many a second of what was counted.
    pub fn rate(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let count = count as f64;
        if self.elapsed.is_zero() { 0.0 } else { count / self.elapsed.as_secs_f64() }
    }

    /// Processor time that each request cost this process.
    pub fn processor_per_request(&self) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let requests = self.requests.max(1) as f64;
        self.processor.div_f64(requests)
    }

    /// Adds what another part of the same load measured.
    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.elapsed += other.elapsed;
        self.processor += other.processor;
        self.requests += other.requests;
        self.appends.add(&other.appends);
        for (own, other) in self.reads.iter_mut().zip(&other.reads) {
            own.add(other);
        }
    }
}

/// What the requests of one thread came to.
pub(super) struct Tally {
    from: Instant,
    last: Instant,
    measured: Measured,
}

impl Tally {
    /// Counts what is due from this moment on.
    pub(super) fn new(from: Instant) -> Self {
        Self { from, last: from, measured: Measured::default() }
    }

    /// An append that was answered: how many receipts were taken, and how many there was no room for.
    pub(super) fn append(&mut self, due: Instant, acknowledged: usize, refused: usize) {
        if let Some(latency) = self.latency(due) {
            self.measured.acknowledged += acknowledged as u64;
            self.measured.refused += refused as u64;
            if refused == 0 {
                self.measured.appends.record(latency);
            }
        }
    }

    /// A read that was answered.
    pub(super) fn read(&mut self, due: Instant, reading: Reading) {
        if let Some(latency) = self.latency(due) {
            self.measured.reads[reading as usize].record(latency);
        }
    }

    /// How long a request took that was due then; none if it is not to be counted.
    fn latency(&mut self, due: Instant) -> Option<Duration> {
        self.measured.requests += 1;
        let now = Instant::now();
        self.last = self.last.max(now);
        (due >= self.from).then(|| now - due)
    }

    /// All threads' tallies as one.
    pub(super) fn sum(tallies: impl Iterator<Item = Self>) -> Measured {
        let mut sum = Measured::default();
        for mut tally in tallies {
            tally.measured.elapsed = Duration::ZERO;
            sum.add(&tally.measured);
            sum.elapsed = sum.elapsed.max(tally.last - tally.from);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what began in the warm-up nothing counts; the clock runs from its end to the last answer.
    #[test]
    fn the_warm_up_is_left_out() {
        let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let from = start + Duration::from_secs(2);
        let mut tally = Tally::new(from);
        tally.append(start, 5, 0);
        tally.append(from, 3, 0);
        tally.append(from, 0, 2);
        tally.read(from, Reading::Tile);
        let mut other = Tally::new(from);
        other.append(from, 4, 0);
        let sum = Tally::sum([tally, other].into_iter());
        assert_eq!((sum.acknowledged, sum.refused, sum.requests), (7, 2, 5));
        assert_eq!((sum.appends.count(), sum.reads[Reading::Tile as usize].count()), (2, 1));
        assert!(sum.elapsed >= Duration::from_secs(8) && sum.elapsed < Duration::from_secs(60));
        assert!(sum.appends.percentile(50.0) >= Duration::from_secs(7), "{:?}", sum.appends.percentile(50.0));
    }
}

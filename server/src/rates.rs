//! How fast somebody may go: a bucket for each, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most buckets that are not full: those of others are not remembered, for they are as new ones.
pub const BUCKETS_MAX: usize = 1 << 16;

/// How long to wait at least until full buckets are looked for again.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// In which time one more is allowed.
    period: Duration,
    /// In which time a bucket that is empty is full.
    fills: Duration,
}

/// Whoever goes too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// When there is one left again, in whole seconds.
    pub wait_s: u64,
}

/// A bucket for each key: full at first, one less for each that is counted, and full again in time.
pub struct Buckets<K> {
    rate: Option<Rate>,
    most: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    /// When each bucket is full again: what is past is as good as not there.
    full_at: HashMap<K, Instant>,
    /// The bucket of all who came when there was no room for another.
    others: Option<Instant>,
    swept: Option<Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets of `burst`, which get `per_second` anew each second; 0: no limit.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::bounded(per_second, burst, BUCKETS_MAX)
    }

    fn bounded(per_second: u32, burst: u32, most: usize) -> Self {
        let rate = (per_second > 0).then(|| {
            let period = Duration::from_secs(1) / per_second;
            Rate { period, fills: period * burst }
        });
        Self { rate, most, table: Mutex::new(Table { full_at: HashMap::new(), others: None, swept: None }) }
    }

    /// Whether anything is counted at all.
    pub fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// Counts one for a key, if its bucket has one left.
    ///
    /// # Errors
    /// If it has none left. Then nothing is counted.
    pub fn spend(&self, key: K, now: Instant) -> Result<(), TooFast> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = table.bucket(key, self.most, now);
        let missing = full_at.saturating_duration_since(now);
        let allowed = rate.fills.saturating_sub(rate.period);
        if let Some(wait) = missing.checked_sub(allowed).filter(|wait| !wait.is_zero()) {
            return Err(TooFast { wait_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) });
        }
        *full_at = now + missing + rate.period;
        Ok(())
    }

    /// Counts so many for a key, whether its bucket has one left or not: they were let in already.
    pub fn owe(&self, key: K, count: u32, now: Instant) {
        let Some(rate) = self.rate else { return };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = table.bucket(key, self.most, now);
        *full_at = (*full_at).max(now) + rate.period * count;
    }
}

impl<K: Eq + Hash> Table<K> {
    fn bucket(&mut self, key: K, most: usize, now: Instant) -> &mut Instant {
        if self.full_at.len() >= most && !self.full_at.contains_key(&key) {
            if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE) {
                self.swept = Some(now);
                self.full_at.retain(|_, full_at| *full_at > now);
            }
            if self.full_at.len() >= most {
                return self.others.get_or_insert(now);
            }
        }
        self.full_at.entry(key).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A burst at once, then the rate and no more; each key for itself.
    #[test]
    fn a_bucket_empties_and_fills() {
        let (buckets, start) = (Buckets::new(10, 3), Instant::now());
        let spend = |key, ms| buckets.spend(key, after(start, ms)).is_ok();
        assert_eq!([spend(1, 0), spend(1, 0), spend(1, 0), spend(1, 0)], [true, true, true, false]);
        assert!(spend(2, 0));
        assert_eq!([spend(1, 99), spend(1, 100), spend(1, 150), spend(1, 200)], [false, true, false, true]);
        // Full again, and no fuller than at first.
        assert_eq!([0; 4].map(|_| spend(1, 60_000)), [true, true, true, false]);
        let allowed = (0..10_000).filter(|ms| spend(3, *ms)).count();
        assert_eq!(allowed, 3 + 99);
    }

    /// What was let in together is waited for afterwards.
    #[test]
    fn a_batch_is_owed() {
        let (buckets, start) = (Buckets::new(2, 5), Instant::now());
        let spend = |ms| buckets.spend((), after(start, ms));
        assert_eq!(spend(0), Ok(()));
        buckets.owe((), 103, start);
        assert_eq!(spend(0), Err(TooFast { wait_s: 50 }));
        assert_eq!(spend(49_400), Err(TooFast { wait_s: 1 }));
        assert_eq!(spend(50_000), Ok(()));
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let buckets = Buckets::new(0, 1);
        buckets.owe((), 1000, Instant::now());
        assert!((0..100).all(|_| buckets.spend((), Instant::now()).is_ok()));
        assert!(!buckets.is_limited() && buckets.table.lock().unwrap().full_at.is_empty());
    }

    /// However many come, so many are remembered. The rest shares one bucket, until others are full and forgotten.
    #[test]
    fn memory_is_bounded() {
        let (buckets, start) = (Buckets::bounded(1, 2, 100), Instant::now());
        let spend = |key, ms| buckets.spend(key, after(start, ms)).is_ok();
        assert!((0..100).all(|key| spend(key, 0)));
        let others = (100..10_000).filter(|key| spend(*key, 0)).count();
        assert_eq!(others, 2, "of one bucket");
        assert!(spend(7, 0) && !spend(7, 0), "who is known has its own");
        assert_eq!(buckets.table.lock().unwrap().full_at.len(), 100);
        assert!((100..199).all(|key| spend(key, 1_500)), "99 buckets are full by now");
        assert_eq!(buckets.table.lock().unwrap().full_at.len(), 100);
    }
}

//! How often a witness cosigns for one log. Pure: the time is an argument.

use std::time::Duration;

/// A day, in which a log has its requests.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a log's requests are counted against: as many a day as its `qpd` says, for each use apart.
///
/// Whoever reads a log can submit its newest checkpoint again and again. So a new time under a tree that was cosigned
/// before must not use up what a larger tree needs.
#[derive(Clone, Debug)]
pub struct Quota {
    interval: Duration,
    growth: Bucket,
    renewal: Bucket,
    doubt: Bucket,
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A larger tree.
    Growth,
    /// A new time under the same tree.
    Renewal,
    /// A place among what was refused.
    Doubt,
}

impl Quota {
    /// The full quota of so many requests a day.
    pub fn new(per_day: u32, now: Duration) -> Self {
        let full = Bucket { credit: DAY, at: now };
        Self { interval: DAY / per_day.max(1), growth: full.clone(), renewal: full.clone(), doubt: full }
    }

    /// Takes one request, or says how long to wait for the next.
    pub fn take(&mut self, what: Use, now: Duration) -> Result<(), Duration> {
        let bucket = match what {
            Use::Growth => &mut self.growth,
            Use::Renewal => &mut self.renewal,
            Use::Doubt => &mut self.doubt,
        };
        bucket.take(self.interval, now)
    }
}

/// Time that was saved up, at most a day; each request costs some.
#[derive(Clone, Debug)]
struct Bucket {
    credit: Duration,
    at: Duration,
}

impl Bucket {
    fn take(&mut self, cost: Duration, now: Duration) -> Result<(), Duration> {
        self.credit = (self.credit + now.saturating_sub(self.at)).min(DAY);
        self.at = self.at.max(now);
        match self.credit.checked_sub(cost) {
            Some(rest) => {
                self.credit = rest;
                Ok(())
            }
            None => Err(cost - self.credit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that keeps to its number in any day is never refused; one that does not gets no more than twice of it
    /// within a day, and no less than it.
    #[test]
    fn a_day_has_its_number() {
        for per_day in [1, 2, 24, 1000] {
            let start = Duration::from_secs(5);
            let mut quota = Quota::new(per_day, start);
            for day in 0..3 {
                for n in 0..per_day {
                    let now = start + DAY * day + DAY * n / per_day;
                    assert_eq!(quota.take(Use::Growth, now), Ok(()), "{per_day} a day, day {day}, {n}");
                }
            }
            let mut quota = Quota::new(per_day, start);
            let tried = per_day * 20;
            let taken =
                (0..tried).filter(|n| quota.take(Use::Growth, start + DAY * *n / tried).is_ok()).count();
            assert!((per_day as usize..2 * per_day as usize).contains(&taken), "{per_day} a day: {taken}");
        }
    }

    /// The wait that is told is as long as needed and no longer; a clock that goes back gives nothing.
    #[test]
    fn the_wait_is_exact() {
        let mut quota = Quota::new(4, Duration::ZERO);
        (0..4).for_each(|_| assert_eq!(quota.take(Use::Growth, Duration::ZERO), Ok(())));
        let wait = quota.take(Use::Growth, Duration::ZERO).unwrap_err();
        assert_eq!(wait, DAY / 4);
        assert!(quota.take(Use::Growth, wait - Duration::from_nanos(1)).is_err());
        assert_eq!(quota.take(Use::Growth, wait), Ok(()));
        assert!(quota.take(Use::Growth, Duration::ZERO).is_err());
        assert!(quota.take(Use::Growth, wait).is_err());
    }

    /// However often anybody asks for a new time, growth has its own.
    #[test]
    fn renewals_take_nothing_from_growth() {
        let mut quota = Quota::new(2, Duration::ZERO);
        let renewed = (0..100).filter(|_| quota.take(Use::Renewal, Duration::ZERO).is_ok()).count();
        assert_eq!(renewed, 2);
        assert_eq!(quota.take(Use::Growth, Duration::ZERO), Ok(()));
    }
}

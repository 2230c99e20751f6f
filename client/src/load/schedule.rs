//! When the requests of a load may start.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// Requests of an open loop are released this often: no later than this after they were due.
const TICK: Duration = Duration::from_micros(200);

/// Hands out turns. Closed loop: whoever asks may start. Open loop: at even intervals, whoever waits.
pub(super) struct Schedule {
    start: Instant,
    turns: u64,
    /// Requests a second; none in a closed loop.
    rate: Option<f64>,
    /// No turn of a closed loop begins later.
    end: Option<Instant>,
    next: AtomicU64,
    released: Semaphore,
    stopped: AtomicBool,
}

/// Permission to send one request.
pub(super) struct Turn {
    /// Which request, from 0.
    pub(super) number: u64,
    /// When it was meant to start: what its latency counts from.
    pub(super) due: Instant,
}

impl Schedule {
    /// At most so many turns, beginning before `end`.
    pub(super) fn new(start: Instant, turns: u64, rate: Option<f64>, end: Option<Instant>) -> Self {
        let turns = match (rate, end) {
            (Some(rate), Some(end)) => turns.min(whole((end - start).as_secs_f64() * rate)),
            _ => turns,
        };
        let released = Semaphore::new(0);
        Self { start, turns, rate, end, next: AtomicU64::new(0), released, stopped: AtomicBool::new(false) }
    }

    /// The next turn; none when all are taken, the time is over, or the load was stopped.
    pub(super) async fn next(&self) -> Option<Turn> {
        if self.rate.is_some() {
            self.released.acquire().await.ok()?.forget();
        }
        let now = Instant::now();
        if self.stopped.load(Ordering::Relaxed)
            || self.rate.is_none() && self.end.is_some_and(|end| now >= end)
        {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.rate.map_or(now, |rate| self.due(number, rate));
        (number < self.turns).then_some(Turn { number, due })
    }

    /// Releases the turns of an open loop as they become due; returns at once in a closed loop.
    pub(super) fn release(&self) {
        let Some(rate) = self.rate else { return };
        let mut released = 0;
        while released < self.turns && !self.is_stopped() {
            let due = whole(self.start.elapsed().as_secs_f64() * rate).saturating_add(1).min(self.turns);
            self.released.add_permits(usize::try_from(due - released).unwrap_or(Semaphore::MAX_PERMITS));
            released = due;
            let pause = self.due(released, rate).saturating_duration_since(Instant::now());
            thread::sleep(pause.clamp(TICK, Duration::from_millis(100)));
        }
        // Whoever still waits for a turn once these are taken gets none.
        while self.taken() < self.turns && !self.is_stopped() {
            thread::sleep(Duration::from_millis(10));
        }
        self.released.close();
    }

    /// Gives no more turns.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.released.close();
    }

    /// How many turns were taken.
    pub(super) fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.turns)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn due(&self, number: u64, rate: f64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let number = number as f64;
        self.start + Duration::from_secs_f64(number / rate)
    }
}

/// The whole part of a positive number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In an open loop a turn is due when it is due, however late somebody is free to take it, and the time that a load
    /// may take says how many there are.
    #[test]
    fn turns_are_due_whether_or_not_anybody_is_free() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let start = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let end = Some(start + Duration::from_millis(2500));
        for (turns, expected) in [(3, 3), (1000, 10)] {
            let schedule = Schedule::new(start, turns, Some(4.0), end);
            let taken = thread::scope(|scope| {
                scope.spawn(|| schedule.release());
                runtime.block_on(async {
                    let mut taken = Vec::new();
                    while let Some(turn) = schedule.next().await {
                        taken.push((turn.number, turn.due - start));
                    }
                    taken
                })
            });
            let due: Vec<_> =
                (0..expected).map(|number| (number, Duration::from_millis(number * 250))).collect();
            assert_eq!((taken, schedule.taken()), (due, expected));
        }
    }

    /// In a closed loop a turn is due when it is taken, and none begins after the end.
    #[tokio::test]
    async fn a_closed_loop_waits_for_nobody() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 2, None, None);
        assert!(schedule.next().await.is_some_and(|turn| turn.number == 0 && turn.due >= start));
        assert!(schedule.next().await.is_some_and(|turn| turn.number == 1));
        assert!(schedule.next().await.is_none());
        assert!(Schedule::new(start, 2, None, Some(start)).next().await.is_none());
        let stopped = Schedule::new(start, 2, None, None);
        stopped.stop();
        assert!(stopped.next().await.is_none());
    }
}

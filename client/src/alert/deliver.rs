//! Telling one sink, in order, until it has heard.

use std::{sync::Arc, time::Duration};

use counterfoil_receipt::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, error, info, warn};

use super::{
    Alerts, Due,
    sink::{Message, Sink, TellError},
};

/// The wait after the first failure; it doubles with each.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// The longest wait, unless the sink asks for a longer one.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// How often a sink may refuse one message before it is left out and counted: half an hour with the waits between.
pub const REFUSALS_MAX: u32 = 12;

/// Gives the message that the monitor lives, or nothing if it does not.
pub type Heartbeat = Arc<dyn Fn() -> Option<Message> + Send + Sync>;

/// One sink being told.
pub struct Delivery {
    /// What there is to tell.
    pub alerts: Arc<Alerts>,
    /// Who is told.
    pub sink: Sink,
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// What to send so that silence is noticed.
    pub heartbeat: Heartbeat,
}

/// What is done until somebody has something to tell.
struct Failures {
    count: u32,
    refusals: u32,
}

impl Delivery {
    /// Tells the sink whatever there is to tell, until `stop` says so. A message that is under way is let finish.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.alerts.changes();
        let mut failures = Failures { count: 0, refusals: 0 };
        let mut beat = self.sink.heartbeat.map(|_| Instant::now());
        while !*stop.borrow() {
            changes.mark_unchanged();
            let wait = self.step(&mut failures).await;
            if wait == Some(Duration::ZERO) {
                // The heart beats in the midst of work too.
                if beat.is_none_or(|beat| beat > Instant::now()) {
                    continue;
                }
            }
            let again = wait.map(|wait| Instant::now() + wait);
            loop {
                tokio::select! {
                    () = until(again) => break,
                    () = until(beat) => {
                        self.beat().await;
                        beat = self.sink.heartbeat.map(|every| Instant::now() + every);
                    }
                    // While a sink is waited for, what is new waits too.
                    changed = changes.changed(), if again.is_none() => {
                        if changed.is_err() {
                            return;
                        }
                        break;
                    }
                    () = stopped(&mut stop) => return,
                }
            }
        }
    }

    /// Tells what is due next. Gives how long to wait for more: not at all, some time, or until there is something new.
    async fn step(&self, failures: &mut Failures) -> Option<Duration> {
        let name = &self.sink.name;
        // What this machine's disk does is no fault of the sink's, and may pass.
        let trouble = |reason: &dyn std::fmt::Display| {
            error!(sink = name, %reason, "the queue of alerts cannot be used");
            Some(BACK_OFF_MAX)
        };
        let due = match self.alerts.due(name, self.sink.way.batch_max(), (self.now)()) {
            Ok(Some(due)) => due,
            Ok(None) => return None,
            Err(reason) => return trouble(&reason),
        };
        let messages: Vec<_> = match &due {
            Due::Missed(alert) => vec![Message::of(alert)],
            Due::Alerts(alerts) => alerts.iter().map(|(_, alert)| Message::of(alert)).collect(),
        };
        let result = match self.sink.way.tell(&messages).await {
            Ok(()) => {
                if failures.count > 0 {
                    info!(sink = name, "the sink can be told again");
                }
                *failures = Failures { count: 0, refusals: 0 };
                messages.iter().for_each(|_| self.alerts.metrics().delivered(name, "ok"));
                self.alerts.told(name, &due, (self.now)())
            }
            Err(error) => {
                let wait = self.failed(failures, &error);
                if failures.refusals < REFUSALS_MAX {
                    return Some(wait);
                }
                warn!(sink = name, reason = error.reason, "a message is left out, for the sink refuses it");
                *failures = Failures { count: 0, refusals: 0 };
                self.alerts.metrics().delivered(name, "left-out");
                self.alerts.give_up(name, &due, (self.now)())
            }
        };
        result.map_or_else(|reason| trouble(&reason), |()| Some(Duration::ZERO))
    }

    fn failed(&self, failures: &mut Failures, error: &TellError) -> Duration {
        let name = &self.sink.name;
        let wait = error.retry_after.unwrap_or_else(|| back_off(failures.count));
        failures.count = failures.count.saturating_add(1);
        failures.refusals = if error.refused { failures.refusals + 1 } else { 0 };
        self.alerts.metrics().delivered(name, if error.refused { "refused" } else { "failed" });
        // Once is enough for a log; the metrics count the rest.
        if failures.count == 1 {
            warn!(sink = name, reason = error.reason, "the sink could not be told; it is tried again");
        } else {
            debug!(sink = name, reason = error.reason, "the sink could not be told");
        }
        wait
    }

    async fn beat(&self) {
        let name = &self.sink.name;
        let Some(message) = (self.heartbeat)() else {
            warn!(sink = name, "no heartbeat: a log is not being looked at");
            return;
        };
        let told = self.sink.way.tell(&[message]).await;
        self.alerts.metrics().delivered(name, if told.is_ok() { "heartbeat" } else { "heartbeat-failed" });
        if let Err(error) = told {
            warn!(sink = name, reason = error.reason, "the heartbeat could not be sent");
        }
    }
}

/// Waits until it is time to stop.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that says so too.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Waits until then; without a time, for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// How long to wait after that many failures in a row.
fn back_off(failures: u32) -> Duration {
    BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACK_OFF_MAX)
}

/// Waits until these sinks have been told all that there is, but no longer than that. Whether they have.
pub async fn all_told(alerts: &Alerts, patience: Duration) -> bool {
    let mut changes = alerts.changes();
    let limit = sleep(patience);
    let mut limit = std::pin::pin!(limit);
    loop {
        changes.mark_unchanged();
        if alerts.standings().iter().all(|standing| standing.behind == 0 && standing.missed == 0) {
            return true;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return false },
            () = &mut limit => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = [0, 1, 2, 8, 9, u32::MAX].map(|count| back_off(count).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
        let whole: u64 = (0..REFUSALS_MAX).map(|count| back_off(count).as_secs()).sum();
        assert!((1000..3600).contains(&whole), "{whole} s before a message is left out");
    }
}

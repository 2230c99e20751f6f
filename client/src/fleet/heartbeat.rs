//! The message that says that all is being watched. Its silence says that it is not.

use std::{sync::Arc, time::Duration};

use counterfoil_merkle::Hash;
use counterfoil_receipt::Timestamp;
use serde_json::{Value, json};

use super::Watched;
use crate::{
    alert::{Event, deliver::Heartbeat, sink::Message},
    monitor::Snapshot,
};

/// How long a log may give no sign of life, beyond the time between two looks.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// The heartbeat of a monitor of these logs: none once one of them is not being looked at.
pub fn heartbeat(watched: Vec<Arc<Watched>>, interval: Duration, now: fn() -> Timestamp) -> Heartbeat {
    Arc::new(move || {
        let now = now();
        let alive = watched.iter().all(|log| is_watched(log, interval, now));
        alive.then(|| message(&watched, now))
    })
}

/// Whether a log is being looked at.
pub fn is_watched(log: &Watched, interval: Duration, now: Timestamp) -> bool {
    let standing = log.standing();
    let silent = Duration::from_millis(now.millis().saturating_sub(standing.alive.millis()));
    standing.trouble.is_none() && silent <= interval.saturating_add(SILENCE_MAX)
}

fn message(watched: &[Arc<Watched>], now: Timestamp) -> Message {
    let id = Hash::of(&[b"counterfoil-heartbeat/v1", &now.millis().to_be_bytes()]).to_string();
    let log = |log: &Arc<Watched>| -> Value {
        let snapshot = log.snapshot();
        let snapshot = snapshot.as_ref();
        json!({
            "log": log.origin(),
            "size": snapshot.map(|snapshot| snapshot.head().size.get()),
            "attested_s": snapshot.and_then(Snapshot::attested_s),
            "advanced": snapshot.and_then(Snapshot::advanced).map(Timestamp::millis),
            "looked": log.standing().looked.map(Timestamp::millis),
        })
    };
    let logs: Vec<_> = watched.iter().map(log).collect();
    let json = json!({ "event": Event::Heartbeat.as_str(), "id": id, "at": now.millis(), "logs": logs });
    Message { id, event: Event::Heartbeat, facts: Vec::new(), json: json.to_string() }
}

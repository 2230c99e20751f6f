//! Which findings are the same thing as before, and which of them last.
//!
//! - What is about an entry, and every fork, was found once and for all.
//! - What is about a checkpoint, a tile or the log as a whole lasts while it is seen again, and for [`QUIET_MS`] after; if it
//!   comes back later, that is another finding.
//! - What passes, [`Class::Stale`] and [`Class::Unavailable`], is raised and cleared; an outage is raised only once it has
//!   lasted.
//!
//! Pure: what is open is a fold over the alerts of the queue, so a crash cannot part the two.

use std::collections::{BTreeMap, HashSet};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Timestamp,
    audit::{Class, Code, Finding, Place},
};

use super::message::{Alert, Event, cut};

/// How long something must not have been seen to be something else when it comes back.
pub const QUIET_MS: u64 = 3_600_000;

/// Most open findings; of more, each is taken for something that was found once and for all.
pub const OPEN_MAX: usize = 4096;

/// Most bytes of an open finding's text that are carried from file to file.
const CARRIED_BYTES_MAX: usize = 200;

/// The code that says that a place does not show the log: all else that passes is seen behind a checkpoint.
const OUT: &str = Code::CheckpointUnavailable.as_str();

/// Something that was found, before it is known whether it was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How grave it is.
    pub class: Class,
    /// What was found.
    pub code: String,
    /// Where.
    pub place: String,
    /// The watch rule that asked for it.
    pub rule: Option<String>,
    /// Whether it was found once and for all.
    pub for_good: bool,
    /// The particulars, for people.
    pub message: String,
}

impl Found {
    /// What an audit or a rule found.
    pub fn new(finding: &Finding, rule: Option<String>) -> Self {
        let class = finding.class();
        let for_good = class == Class::Fork || matches!(finding.place, Place::Entry(_));
        let place = match finding.place {
            // Another file is missing each time, or the size is another: it is one outage.
            Place::Checkpoint(_) | Place::Entry(_) | Place::Tile(_) if passes(class) => Place::Log,
            place => place,
        };
        let (code, place) = (finding.code.to_string(), place.to_string());
        Self { class, code, place, rule, for_good, message: finding.message.clone() }
    }
}

/// Log, code and place.
type Key = (String, String, String);

/// The findings that last.
#[derive(Clone, Debug, Default)]
pub struct Episodes {
    open: BTreeMap<Key, Episode>,
}

#[derive(Clone, Debug)]
struct Episode {
    /// The alert that opened it: a finding, or only seen.
    opened: Alert,
    /// When it was last seen. Not kept over restarts: there it counts as seen just now.
    seen: Timestamp,
}

impl Episodes {
    /// Takes an alert of the queue, new or read again.
    pub fn apply(&mut self, alert: &Alert, now: Timestamp) {
        let key = key(alert);
        match alert.event {
            Event::Finding | Event::Seen if alert.since.is_some() => {
                self.open.insert(key, Episode { opened: alert.clone(), seen: now });
            }
            Event::Cleared | Event::Ended => drop(self.open.remove(&key)),
            _ => {}
        }
    }

    /// What lasts, for the head of a new file.
    pub fn carried(&self) -> Vec<Alert> {
        let carried = |episode: &Episode| {
            let mut alert = episode.opened.clone();
            let end = alert.message.floor_char_boundary(CARRIED_BYTES_MAX);
            alert.message.truncate(end);
            alert
        };
        self.open.values().map(carried).collect()
    }

    /// What lasts and was told, of all logs.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.open.values().map(|episode| &episode.opened).filter(|alert| alert.event == Event::Finding)
    }

    /// The alerts for what was found in a step: those that nobody was told of. What passes waits for the round's end.
    ///
    /// `known` tells whether a finding of that id is in the queue.
    pub fn found(
        &mut self,
        log: &str,
        found: &[Found],
        known: impl Fn(Hash) -> bool,
        now: Timestamp,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let mut new = HashSet::new();
        for found in found.iter().filter(|found| !passes(found.class)) {
            let key = (log.to_owned(), found.code.clone(), found.place.clone());
            if let Some(episode) = self.open.get_mut(&key) {
                episode.seen = now;
                continue;
            }
            let lasts = !found.for_good && self.open.len() + alerts.len() < OPEN_MAX;
            let alert = alert(log, found, Event::Finding, now, lasts.then_some(now));
            if new.insert(alert.id) && !known(alert.id) {
                alerts.push(alert);
            }
        }
        alerts
    }

    /// The alerts for what a whole round saw, and did not see: outages that have lasted, and what has passed.
    pub fn round(&mut self, log: &str, found: &[Found], outage_after_ms: u64, now: Timestamp) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let mut present = HashSet::new();
        for found in found.iter().filter(|found| passes(found.class)) {
            let key = (log.to_owned(), found.code.clone(), found.place.clone());
            if !present.insert(key.clone()) {
                continue;
            }
            let open = self.open.get_mut(&key);
            let since = open.as_ref().and_then(|episode| episode.opened.since).unwrap_or(now);
            let lasted = now.millis().saturating_sub(since.millis()) >= outage_after_ms;
            let due = found.class == Class::Stale || lasted;
            match open {
                Some(episode) if episode.opened.event == Event::Finding || !due => episode.seen = now,
                None if !due => alerts.push(alert(log, found, Event::Seen, now, Some(since))),
                _ => alerts.push(alert(log, found, Event::Finding, now, Some(since))),
            }
        }
        for (key, episode) in self.open.iter().filter(|(key, _)| key.0 == log && !present.contains(*key)) {
            let opened = &episode.opened;
            let quiet = now.millis().saturating_sub(episode.seen.millis()) >= QUIET_MS;
            let event = match (passes(opened.class), opened.event) {
                // Behind a checkpoint that could not be had, nothing could be seen.
                (true, _) if key.1 != OUT && present.contains(&out(log, &key.2)) => continue,
                (true, Event::Finding) => Event::Cleared,
                (false, _) if !quiet => continue,
                _ => Event::Ended,
            };
            let message = format!("no longer seen: {}", opened.message);
            alerts.push(Alert { event, at: now, message: cut(&message), ..opened.clone() });
        }
        alerts
    }

    /// The alert that ends what lasts, if it does.
    pub fn end(&self, log: &str, code: &str, place: &str, event: Event, now: Timestamp) -> Option<Alert> {
        let opened = &self.open.get(&(log.to_owned(), code.to_owned(), place.to_owned()))?.opened;
        Some(Alert { event, at: now, ..opened.clone() })
    }
}

fn out(log: &str, place: &str) -> Key {
    (log.to_owned(), OUT.to_owned(), place.to_owned())
}

fn key(alert: &Alert) -> Key {
    (alert.log.clone(), alert.code.clone(), alert.place.clone())
}

/// Whether findings of this class are states of the log that pass, rather than things that it did.
pub const fn passes(class: Class) -> bool {
    matches!(class, Class::Stale | Class::Unavailable)
}

fn alert(log: &str, found: &Found, event: Event, now: Timestamp, since: Option<Timestamp>) -> Alert {
    let id = Alert::id(log, &found.code, &found.place, found.rule.as_deref(), since);
    Alert {
        event,
        id,
        log: log.to_owned(),
        class: found.class,
        code: found.code.clone(),
        place: found.place.clone(),
        rule: found.rule.clone(),
        message: cut(&found.message),
        at: now,
        since,
    }
}

#[cfg(test)]
mod tests;

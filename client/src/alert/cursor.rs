//! How far a sink has been told, kept so that a crash takes nothing back but the last few.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{Timestamp, audit::Class};
use serde::{Deserialize, Serialize};

use super::{
    message::{Alert, Event, cut},
    queue::QueueError,
};
use crate::file::{self, Access};

const CURSOR_BYTES_MAX: usize = 256 * 1024;

/// The code of the finding that a sink was not told all.
pub const MISSED_CODE: &str = "alerts-missed";

/// Where one sink stands in the queue.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    sink: String,
    /// The number of the first alert that it has not been told of.
    next: u64,
    /// What it will never be told of, if there is anything.
    missed: Option<Missed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missed {
    first: u64,
    last: u64,
    /// When the first of them was found.
    since: u64,
    /// How many, by class and code.
    counts: BTreeMap<String, u64>,
}

impl Cursor {
    /// Reads where a sink stands. One that is new stands at `end`: it is told of what is found from now on.
    pub fn open(folder: &Path, sink: &str, end: u64) -> Result<Self, QueueError> {
        let path = folder.join(format!("{sink}.json"));
        let Some(bytes) = file::read_if_there(&path, CURSOR_BYTES_MAX)? else {
            let state = State { sink: sink.to_owned(), next: end, missed: None };
            let cursor = Self { path, state };
            cursor.save()?;
            return Ok(cursor);
        };
        let damaged = |reason| QueueError::Damaged { path: path.clone(), offset: 0, reason };
        let text = str::from_utf8(&bytes).map_err(|_| damaged("not UTF-8"))?;
        let (json, digest) = text.split_once('\n').ok_or_else(|| damaged("not JSON and a digest"))?;
        if digest != digest_line(json) {
            return Err(damaged("the digest is not that of the line before it"));
        }
        let state: State = serde_json::from_str(json).map_err(|_| damaged("it cannot be read"))?;
        if state.sink != sink {
            return Err(damaged("it is another sink's"));
        }
        if state.next > end {
            return Err(damaged("it is ahead of the queue, which has lost its newest alerts"));
        }
        Ok(Self { path, state })
    }

    /// The number of the first alert that the sink has not been told of.
    pub const fn next(&self) -> u64 {
        self.state.next
    }

    /// Goes on to that number; never back. Not durable before [`Cursor::save`].
    pub fn advance(&mut self, next: u64) {
        self.state.next = self.state.next.max(next);
    }

    /// Counts an alert that the sink will never be told of. Not durable before [`Cursor::save`].
    pub fn miss(&mut self, number: u64, alert: &Alert) {
        let missed = self.state.missed.get_or_insert_with(|| Missed {
            first: number,
            last: number,
            since: alert.at.millis(),
            counts: BTreeMap::new(),
        });
        missed.last = missed.last.max(number);
        *missed.counts.entry(format!("{} {}", alert.class, alert.code)).or_default() += 1;
    }

    /// How many alerts the sink will never be told of, and has not been told so.
    pub fn missed(&self) -> u64 {
        self.state.missed.as_ref().map_or(0, |missed| missed.counts.values().sum())
    }

    /// What the sink is to be told of what it missed, if it missed anything.
    pub fn missed_alert(&self, now: Timestamp) -> Option<Alert> {
        let missed = self.state.missed.as_ref()?;
        let place = format!("alerts {} to {}", missed.first, missed.last);
        let class = |name: &String| Class::from_code(name.split(' ').next()?);
        let counts: Vec<_> = missed.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let since = Timestamp::from_millis(missed.since);
        Some(Alert {
            event: Event::Missed,
            id: Alert::id("", MISSED_CODE, &format!("sink {} {place}", self.state.sink), None, since),
            log: String::new(),
            class: missed.counts.keys().filter_map(class).min().unwrap_or(Class::Coverage),
            code: MISSED_CODE.to_owned(),
            place,
            rule: None,
            message: cut(&format!("never delivered here: {}", counts.join(", "))),
            at: now,
            since,
        })
    }

    /// The sink has been told what it missed, up to that number. Not durable before [`Cursor::save`].
    pub fn forgive(&mut self, told: &Alert) {
        // What was missed since is told next.
        if self.missed_alert(told.at).is_some_and(|alert| alert.id == told.id) {
            self.state.missed = None;
        }
    }

    /// Makes all of this durable.
    pub fn save(&self) -> Result<(), QueueError> {
        let json = serde_json::to_string(&self.state).expect("a cursor is plain JSON");
        let text = format!("{json}\n{}", digest_line(&json));
        Ok(file::replace_durably(&self.path, text.as_bytes(), Access::Public)?)
    }
}

fn digest_line(json: &str) -> String {
    format!("{}\n", Hash::of(&[json.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(class: Class, code: &str) -> Alert {
        let at = Timestamp::from_millis(7).unwrap();
        Alert {
            event: Event::Finding,
            id: Hash::of(&[b"x"]),
            log: String::new(),
            class,
            code: code.to_owned(),
            place: String::new(),
            rule: None,
            message: String::new(),
            at,
            since: None,
        }
    }

    /// Where a sink stands, and what it missed, is the same after a restart; damage is named.
    #[test]
    fn cursors_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(folder.path(), "pager", 5).unwrap();
        assert_eq!((cursor.next(), cursor.missed()), (5, 0));
        cursor.advance(9);
        cursor.advance(3);
        cursor.miss(9, &alert(Class::Match, "watch-match"));
        cursor.miss(10, &alert(Class::Fork, "fork-larger"));
        cursor.miss(11, &alert(Class::Match, "watch-match"));
        cursor.save().unwrap();
        let mut again = Cursor::open(folder.path(), "pager", 12).unwrap();
        assert_eq!((again.next(), again.missed(), &again.state), (9, 3, &cursor.state));
        let told = again.missed_alert(Timestamp::from_millis(99).unwrap()).unwrap();
        assert_eq!((told.class, told.place.as_str()), (Class::Fork, "alerts 9 to 11"));
        assert_eq!(told.message, "never delivered here: 1 FORK fork-larger, 2 MATCH watch-match");
        again.miss(12, &alert(Class::Match, "watch-match"));
        again.forgive(&told);
        assert_eq!(again.missed(), 4, "more was missed since: that is told next");
        again.forgive(&again.missed_alert(told.at).unwrap());
        assert_eq!(again.missed(), 0);

        let path = folder.path().join("pager.json");
        let whole = std::fs::read(&path).unwrap();
        assert!(matches!(Cursor::open(folder.path(), "pager", 8), Err(QueueError::Damaged { .. })), "ahead");
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(
                matches!(Cursor::open(folder.path(), "pager", 12), Err(QueueError::Damaged { .. })),
                "{place}"
            );
        }
    }
}

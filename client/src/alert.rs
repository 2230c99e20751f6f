//! Alerts: what was found, told to whoever must know, at least once each, and over crashes too.
//!
//! ```text
//! lock     held while a monitor runs
//! queue/   every alert, in the order in which it was found
//! sink/    how far each sink has been told
//! exec/    files for programs that are being told
//! ```
//!
//! A finding is durable here before the monitor's state goes past what it is about: [`Alerts::record`] is called first.
//! From then on each sink is told by itself, in order, until it has heard; a sink that does not listen holds up neither
//! the others nor the monitor. Space is bounded. When it runs out, the oldest alerts go, delivered ones first. If a sink
//! has not heard of them by then, they are counted by class and code, and the counts are the next thing that it is told;
//! the others are told meanwhile that it has missed something. So a dead sink cannot stop a monitor, nor can a log or its
//! issuers by making much noise; and nobody misses anything without being told so.

pub mod cursor;
pub mod deliver;
pub mod episode;
pub mod message;
pub mod metrics;
pub mod queue;
pub mod sink;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use counterfoil_receipt::{Timestamp, audit::Class};
use tokio::sync::watch;

use self::{
    cursor::{Cursor, MISSED_CODE},
    episode::Episodes,
    queue::Queue,
};
pub use self::{
    episode::Found,
    message::{Alert, Event},
    metrics::Metrics,
    queue::QueueError,
    sink::Sink,
};
use crate::file;

/// Bytes that the queue takes, unless somebody says otherwise: some 150,000 alerts.
pub const QUEUE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long, in seconds, something must be out before anybody is told, unless somebody says otherwise.
pub const OUTAGE_AFTER_S: u64 = 600;

/// Most alerts that are written in one go.
const APPEND_MAX: usize = 256;

/// What an alerting is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes that the queue may take.
    pub queue_bytes_max: u64,
    /// How long something must be out before anybody is told.
    pub outage_after_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_bytes_max: QUEUE_BYTES_MAX, outage_after_s: OUTAGE_AFTER_S }
    }
}

/// The alerts of one monitor, for all its logs and sinks.
#[derive(Debug)]
pub struct Alerts {
    inner: Mutex<Inner>,
    outage_after_ms: u64,
    metrics: Arc<Metrics>,
    /// Told whenever there is something new for sinks, or a sink has been told something.
    changed: watch::Sender<()>,
    scratch: PathBuf,
    _lock: File,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    episodes: Episodes,
    sinks: Vec<Listener>,
}

/// A sink, as the queue knows it.
#[derive(Debug)]
struct Listener {
    name: String,
    classes: BTreeSet<Class>,
    cursor: Cursor,
}

impl Listener {
    fn is_told(&self, alert: &Alert) -> bool {
        alert.event.is_told() && self.classes.contains(&alert.class)
    }
}

/// What a sink is to be told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// What it missed.
    Missed(Alert),
    /// Alerts with their numbers, in order.
    Alerts(Vec<(u64, Alert)>),
}

/// How a sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The sink.
    pub name: String,
    /// Alerts in the queue that it has not been told of, those of other classes included.
    pub behind: u64,
    /// Alerts that it will never be told of, and has not been told so.
    pub missed: u64,
}

impl Alerts {
    /// Opens the alerts in a directory, or starts them, for these sinks: a name, and the classes that it is told of.
    ///
    /// # Errors
    /// If the directory is in use or damaged, which names the file.
    pub fn open(
        directory: &Path,
        sinks: &[(String, BTreeSet<Class>)],
        settings: Settings,
        metrics: Arc<Metrics>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let (cursors, scratch) = (directory.join("sink"), scratch(directory));
        for folder in [&cursors, &scratch] {
            file::create_folder(folder).map_err(QueueError::File)?;
        }
        let lock = lock(directory)?;
        sweep(&scratch)?;
        let mut episodes = Episodes::default();
        let queue = Queue::open(&directory.join("queue"), settings.queue_bytes_max, |_, alert| {
            episodes.apply(alert, now);
        })?;
        let end = queue.numbers().end;
        let listener = |(name, classes): &(String, BTreeSet<Class>)| {
            let cursor = Cursor::open(&cursors, name, end)?;
            Ok(Listener { name: name.clone(), classes: classes.clone(), cursor })
        };
        let sinks: Result<_, QueueError> = sinks.iter().map(listener).collect();
        let inner = Mutex::new(Inner { queue, episodes, sinks: sinks? });
        let outage_after_ms = settings.outage_after_s.saturating_mul(1000);
        Ok(Self { inner, outage_after_ms, metrics, changed: watch::Sender::new(()), scratch, _lock: lock })
    }

    /// What is counted.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Where files for programs are put.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Takes what was found in a step of reading a log, durably when it returns. What is known is not taken again, and
    /// what passes waits for [`Alerts::round`].
    pub fn record(&self, log: &str, found: &[Found], now: Timestamp) -> Result<(), QueueError> {
        let mut inner = self.lock();
        let Inner { queue, episodes, .. } = &mut *inner;
        let alerts = episodes.found(log, found, |id| queue.has(id), now);
        self.take(inner, &alerts, now)
    }

    /// Takes what a whole round has found in a log, and has not: outages that have lasted, and what has passed.
    pub fn round(&self, log: &str, found: &[Found], now: Timestamp) -> Result<(), QueueError> {
        self.record(log, found, now)?;
        let mut inner = self.lock();
        let alerts = inner.episodes.round(log, found, self.outage_after_ms, now);
        self.take(inner, &alerts, now)
    }

    fn take(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        alerts: &[Alert],
        now: Timestamp,
    ) -> Result<(), QueueError> {
        for alerts in alerts.chunks(APPEND_MAX) {
            inner.make_room(now)?;
            inner.append(alerts, now)?;
            alerts.iter().for_each(|alert| self.metrics.found(alert));
        }
        if !alerts.is_empty() {
            self.changed.send_replace(());
        }
        Ok(())
    }

    /// What sinks are told of among the newest `count` alerts, newest first.
    pub fn newest(&self, count: usize) -> Result<Vec<Alert>, QueueError> {
        let inner = self.lock();
        let mut alerts = Vec::new();
        for number in inner.queue.numbers().rev().take(count) {
            let alert = inner.queue.alert(number)?;
            if alert.event.is_told() {
                alerts.push(alert);
            }
        }
        Ok(alerts)
    }

    /// What lasts now, of all logs: at most `count`, the gravest and oldest first.
    pub fn open_now(&self, count: usize) -> Vec<Alert> {
        let inner = self.lock();
        let mut open: Vec<_> = inner.episodes.open().collect();
        open.sort_by_key(|alert| (alert.class, alert.at));
        open.into_iter().take(count).cloned().collect()
    }

    /// How much lasts now, by log, class and code.
    pub fn open_counts(&self) -> BTreeMap<(String, Class, String), u64> {
        let mut counts = BTreeMap::new();
        for alert in self.lock().episodes.open() {
            *counts.entry((alert.log.clone(), alert.class, alert.code.clone())).or_default() += 1;
        }
        counts
    }

    /// Whether nothing can be kept any more before the queue is opened again.
    pub fn is_broken(&self) -> bool {
        self.lock().queue.is_broken()
    }

    /// How all sinks stand.
    pub fn standings(&self) -> Vec<Standing> {
        let inner = self.lock();
        let end = inner.queue.numbers().end;
        let standing = |sink: &Listener| Standing {
            name: sink.name.clone(),
            behind: end - sink.cursor.next(),
            missed: sink.cursor.missed(),
        };
        inner.sinks.iter().map(standing).collect()
    }

    /// Bytes of the queue, and how many it may have.
    pub fn space(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.queue.bytes(), inner.queue.bytes_max())
    }

    /// Told whenever there is something new for sinks, or one has been told something.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What a sink is to be told next, at most `count` alerts; `None` if it has been told all.
    pub fn due(&self, sink: &str, count: usize, now: Timestamp) -> Result<Option<Due>, QueueError> {
        let mut inner = self.lock();
        let Inner { queue, sinks, .. } = &mut *inner;
        let Some(listener) = sinks.iter_mut().find(|listener| listener.name == sink) else { return Ok(None) };
        if let Some(missed) = listener.cursor.missed_alert(now) {
            return Ok(Some(Due::Missed(missed)));
        }
        let mut due = Vec::new();
        let next = listener.cursor.next();
        for number in next..queue.numbers().end {
            let alert = queue.alert(number)?;
            if listener.is_told(&alert) {
                due.push((number, alert));
            } else if due.is_empty() {
                // Made durable with the next that it is told of.
                listener.cursor.advance(number + 1);
            }
            if due.len() == count {
                break;
            }
        }
        if !due.is_empty() {
            return Ok(Some(Due::Alerts(due)));
        }
        if listener.cursor.next() > next {
            self.changed.send_replace(());
        }
        Ok(None)
    }

    /// A sink has been told what was due; durable when it returns.
    pub fn told(&self, sink: &str, due: &Due, now: Timestamp) -> Result<(), QueueError> {
        self.pass(sink, due, now, false)
    }

    /// A sink will not be told what was due, for it refuses it: that is counted, and it is told the count.
    pub fn give_up(&self, sink: &str, due: &Due, now: Timestamp) -> Result<(), QueueError> {
        self.pass(sink, due, now, true)
    }

    fn pass(&self, sink: &str, due: &Due, now: Timestamp, given_up: bool) -> Result<(), QueueError> {
        let mut inner = self.lock();
        let Some(listener) = inner.sinks.iter_mut().find(|listener| listener.name == sink) else {
            return Ok(());
        };
        let mut ended = false;
        match due {
            // A sink that refuses even this has been told all that it can be.
            Due::Missed(missed) => {
                listener.cursor.forgive(missed);
                ended = listener.cursor.missed() == 0;
            }
            Due::Alerts(alerts) => {
                for (number, alert) in alerts {
                    // What has been dropped meanwhile is counted already.
                    if *number >= listener.cursor.next() {
                        if given_up {
                            listener.cursor.miss(*number, alert);
                        }
                        listener.cursor.advance(number + 1);
                    }
                }
            }
        }
        listener.cursor.save()?;
        if given_up && matches!(due, Due::Alerts(_)) {
            let alerts = inner.missing(&[sink.to_owned()], now);
            inner.append(&alerts, now)?;
        }
        let place = missed_place(sink);
        if ended && let Some(alert) = inner.episodes.end("", MISSED_CODE, &place, Event::Ended, now) {
            inner.append(&[alert], now)?;
        }
        drop(inner);
        self.changed.send_replace(());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Appends, and takes what is appended to heart.
    fn append(&mut self, alerts: &[Alert], now: Timestamp) -> Result<(), QueueError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let episodes = &self.episodes;
        self.queue.append(alerts, || episodes.carried())?;
        alerts.iter().for_each(|alert| self.episodes.apply(alert, now));
        Ok(())
    }

    /// Drops the oldest alerts while there is no room for more, and counts what sinks miss by it, durably and first.
    fn make_room(&mut self, now: Timestamp) -> Result<(), QueueError> {
        let mut missing = BTreeSet::new();
        while let Some(oldest) = self.queue.must_drop() {
            for sink in &mut self.sinks {
                let next = sink.cursor.next();
                for number in next.max(oldest.start)..oldest.end {
                    let alert = self.queue.alert(number)?;
                    if sink.is_told(&alert) {
                        sink.cursor.miss(number, &alert);
                        missing.insert(sink.name.clone());
                    }
                }
                if next < oldest.end {
                    sink.cursor.advance(oldest.end);
                    sink.cursor.save()?;
                }
            }
            self.queue.drop_oldest()?;
        }
        let alerts = self.missing(&missing.into_iter().collect::<Vec<_>>(), now);
        self.append(&alerts, now)
    }

    /// The alerts that say which sinks miss something, unless that was said.
    fn missing(&mut self, sinks: &[String], now: Timestamp) -> Vec<Alert> {
        let found = |sink: &String| Found {
            class: Class::Coverage,
            code: MISSED_CODE.to_owned(),
            place: missed_place(sink),
            rule: None,
            for_good: false,
            message: format!(
                "sink {sink} was not told of everything; it is told how much it missed when it listens"
            ),
        };
        let found: Vec<_> = sinks.iter().map(found).collect();
        let queue = &self.queue;
        self.episodes.found("", &found, |id| queue.has(id), now)
    }
}

fn missed_place(sink: &str) -> String {
    format!("sink {sink}")
}

/// Where, in the directory of the alerts, files for programs are put.
pub fn scratch(directory: &Path) -> PathBuf {
    directory.join("exec")
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let failed = |source| QueueError::Io { path: path.clone(), source };
    let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(failed(source).into()),
    }
}

/// Removes what a crash left of files for programs.
fn sweep(scratch: &Path) -> Result<(), QueueError> {
    let failed = |source| QueueError::Io { path: scratch.to_owned(), source };
    for file in fs::read_dir(scratch).map_err(failed)? {
        fs::remove_file(file.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}

/// Why the alerts cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another monitor holds them.
    #[error("{} is locked: another monitor is running on this directory", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// They cannot be read or written.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

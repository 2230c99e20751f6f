mod attacks;
mod cosigning;
mod duties;
mod erasing;
mod evil;
mod forking;
mod hostile;
mod keeping;
mod mirroring;
mod reading;

use std::{fs, path::PathBuf};

use counterfoil_merkle::evidence::ForkEvidence;
use counterfoil_receipt::audit::Report;

use super::{state::State, *};
use crate::source::{Connection, Source};
use evil::{EvilLog, FULL, ORIGIN, START_S};

/// A log and its monitor, each with a directory of its own.
struct Watch {
    log: EvilLog,
    state: PathBuf,
    /// Places beside the log itself.
    others: Vec<Vantage>,
    settings: Settings,
    policy: Option<String>,
    monitor: Option<Monitor>,
    /// By the monitor's wall clock.
    now_s: u64,
    /// What strangers hand on.
    notes: Vec<String>,
    /// The indexes of the entries that were observed.
    observed: Vec<u64>,
    home: tempfile::TempDir,
}

/// What is missing is asked for once: nothing here comes by itself.
fn settings() -> Settings {
    Settings { attempts: 1, ..Settings::default() }
}

fn source(place: &str) -> Source {
    Source::open(place, &Connection::default()).unwrap()
}

/// Whoever watches several logs gives each a task of its own.
fn sendable<F: Future + Send>(round: F) -> F {
    round
}

/// One round of a monitor, nothing beside it.
async fn look(monitor: &mut Monitor, now: Timestamp) -> Report {
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |_, _| (),
        record: &mut |_| Ok(()),
    };
    monitor.round(&mut outside).await.unwrap()
}

impl Watch {
    /// A log that has `size` records, and a monitor that has not looked yet.
    fn new(size: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut log = EvilLog::new(&home.path().join("log"));
        log.grow_to(size);
        log.publish();
        let state = home.path().join("state");
        let mut watch = Self {
            log,
            state,
            others: Vec::new(),
            settings: settings(),
            policy: None,
            monitor: None,
            now_s: START_S,
            notes: Vec::new(),
            observed: Vec::new(),
            home,
        };
        watch.restart().unwrap();
        watch
    }

    /// As [`Watch::new`], and the monitor has verified all of it.
    async fn verified(size: usize) -> Self {
        let mut watch = Self::new(size);
        assert_eq!(watch.codes().await, [""; 0]);
        assert_eq!(watch.size(), size as u64);
        watch
    }

    /// Another place that shows the log, empty so far; its directory.
    fn add_mirror(&mut self, name: &str) -> PathBuf {
        let directory = self.home.path().join(name);
        let vantage = Vantage::mirror(name.to_owned(), source(directory.to_str().unwrap()));
        self.others.push(vantage);
        self.restart().unwrap();
        directory
    }

    /// A witness' place, empty so far; its directory.
    fn add_witness(&mut self, name: &str) -> PathBuf {
        let directory = self.home.path().join(name);
        let vantage = Vantage::witness(name.to_owned(), source(directory.to_str().unwrap()));
        self.others.push(vantage);
        self.restart().unwrap();
        directory
    }

    /// Stops the monitor and starts it again.
    fn restart(&mut self) -> Result<(), StateError> {
        self.monitor = None;
        let policy = self.policy.as_ref().map(|policy| policy.parse().unwrap());
        let known = crate::log::KnownLog { policy, ..self.log.known() };
        let log = Vantage::direct(source(&known.url));
        let vantages = std::iter::once(log).chain(self.others.iter().cloned()).collect();
        self.monitor = Some(Monitor::open(&self.state, &known, vantages, self.settings.clone())?);
        Ok(())
    }

    /// As [`Watch::restart`], with other settings.
    fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.restart().unwrap();
    }

    async fn try_round(&mut self) -> Result<Report, StateError> {
        let now = Timestamp::from_millis(1000 * self.now_s).unwrap();
        let (mut recorded, mut observed) = (Report::keeping(u64::MAX), Vec::new());
        let mut outside = Outside {
            now: &move || now,
            progress: &|_, _| (),
            notes: &self.notes,
            observe: &mut |sight, _| {
                let Sight::Record(record) = sight else { return };
                assert!(record.statement.is_none_or(|statement| statement.kind() == record.entry.kind));
                observed.push(record.index.get());
            },
            record: &mut |found| {
                found.iter().for_each(|found| recorded.push(found.code, found.place, &found.message));
                Ok(())
            },
        };
        let report = sendable(self.monitor.as_mut().unwrap().round(&mut outside)).await?;
        self.observed.append(&mut observed);
        assert_eq!(recorded.counts(), report.counts(), "all that was found was recorded");
        Ok(report)
    }

    async fn round(&mut self) -> Report {
        self.try_round().await.unwrap()
    }

    async fn codes(&mut self) -> Vec<&'static str> {
        let report = self.round().await;
        report.findings().iter().map(|finding| finding.code.as_str()).collect()
    }

    async fn shown(&mut self) -> Vec<String> {
        let report = self.round().await;
        report.findings().iter().map(|finding| format!("{} at {}", finding.code, finding.place)).collect()
    }

    fn size(&self) -> u64 {
        self.state().head().size.get()
    }

    fn state(&self) -> &State {
        self.monitor.as_ref().unwrap().state()
    }

    /// The same log with other records from `size` on, up to `to`. Nothing is published.
    fn branch(&self, size: usize, to: usize) -> EvilLog {
        let mut other = EvilLog::new(&self.log.directory);
        other.grow_to(size);
        other.receipt(1);
        other.grow_to(to);
        other
    }

    /// All evidence, checked with the log's key alone.
    fn evidence(&self) -> Vec<ForkEvidence> {
        let files = fs::read_dir(self.state.join("evidence")).into_iter().flatten();
        let read = |file: std::io::Result<fs::DirEntry>| {
            let evidence: ForkEvidence = fs::read_to_string(file.unwrap().path()).unwrap().parse().unwrap();
            evidence.verify(&self.log.known().key).unwrap();
            evidence
        };
        files.map(read).collect()
    }
}

#[tokio::test]
async fn an_honest_log_is_followed_across_restarts() {
    let mut watch = Watch::verified(1).await;
    for size in [2, FULL - 1, FULL, FULL + 1, 2 * FULL + 3] {
        watch.log.now_s += 1;
        watch.now_s += 1;
        watch.log.grow_to(size);
        watch.log.publish();
        assert_eq!(watch.codes().await, [""; 0], "{size}");
        assert_eq!(watch.codes().await, [""; 0], "{size}");
        watch.restart().unwrap();
        assert_eq!(watch.state().head(), watch.log.head(size));
    }
    assert!(watch.state.join("log/tile/0/001").exists());
    assert!(watch.evidence().is_empty());
}

/// Tiles that are honest do not hide a changed entry.

#[tokio::test]
async fn a_changed_entry_is_no_fork_but_invalid() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(6);
    watch.log.publish();
    let (mut entry, statement) = watch.log.items[4].clone();
    let at = entry.windows(4).position(|bytes| bytes == b"\"at\"").unwrap() + 17;
    entry[at] ^= 1;
    let mut evil = watch.log.clone();
    evil.items[4] = (entry, statement);
    let bundle = counterfoil_merkle::bundle::format_bundle(evil.items.iter().map(|item| item.0.as_slice()));
    watch.log.write("tile/entries/000.p/6", &bundle);
    assert_eq!(watch.shown().await, ["root-mismatch at entry 4"]);
    assert_eq!((watch.size(), watch.evidence().len()), (3, 0));
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!(watch.size(), 6);
}

#[tokio::test]
async fn an_entry_that_was_verified_must_not_change() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(6);
    watch.log.publish();
    watch.log.flip("tile/entries/000.p/6", 2 + 40);
    assert_eq!(watch.shown().await, ["entry-changed at entry 0"]);
}

/// A tile that does not lead to the signed root is named; what is wrong beside entries that are right stops nothing.
#[tokio::test]
async fn changed_tiles_are_invalid() {
    let mut watch = Watch::new(2 * FULL + 9);
    watch.log.flip("tile/0/000", 32 * 7);
    assert_eq!(watch.shown().await, ["tile-mismatch at tile/0/000"]);
    assert_eq!(watch.size(), 2 * FULL as u64 + 9, "entries and root are right");

    watch.log.grow_to(3 * FULL + 4);
    watch.log.publish();
    for (path, byte) in [("tile/1/000.p/3", 95), ("tile/0/003.p/4", 5)] {
        watch.log.flip(path, byte);
        assert_eq!(watch.codes().await, ["root-mismatch"], "{path}");
        assert_eq!(watch.size(), 2 * FULL as u64 + 9);
        watch.log.flip(path, byte);
    }
    watch.log.flip("tile/0/002", 5);
    // Where the tree ended before, the tile is needed to see that it has grown from there.
    assert_eq!(watch.shown().await[0], "tile-mismatch at tile/0/002");
    assert_eq!(watch.size(), 2 * FULL as u64 + 9);
    watch.log.flip("tile/0/002", 5);
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!(watch.size(), 3 * FULL as u64 + 4);
    watch.restart().unwrap();
}

#[tokio::test]
async fn what_is_missing_moves_nothing() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(FULL + 6);
    let state = watch.state().head();
    for path in ["tile/entries/000", "statement/000", "tile/0/000", "tile/0/001.p/6", "tile/1/000.p/1"] {
        watch.log.publish();
        watch.log.remove(path);
        assert_eq!(watch.shown().await, [format!("tile-unavailable at {path}")]);
        assert_eq!(watch.state().head(), state);
    }
    // What was read before it stays read.
    for path in ["tile/entries/001.p/6", "statement/001.p/6"] {
        watch.log.publish();
        watch.log.remove(path);
        assert_eq!(watch.shown().await, [format!("tile-unavailable at {path}")]);
        assert_eq!(watch.size(), FULL as u64);
        watch.restart().unwrap();
    }
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!(watch.state().head(), watch.log.head(FULL + 6));
    watch.log.withdraw();
    assert_eq!(watch.codes().await, ["checkpoint-unavailable"]);
}

#[tokio::test]
async fn a_missing_statement_is_a_fault_and_the_rest_is_still_read() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(9);
    watch.log.items[5].1.clear();
    watch.log.publish();
    // A record may have come since: only another look at the log tells.
    assert_eq!(watch.shown().await, [""; 0]);
    assert_eq!(watch.size(), 9);
    watch.restart().unwrap();
    assert_eq!(watch.shown().await, ["statement-missing at entry 5"]);
    assert_eq!(watch.shown().await, [""; 0], "it was told");
}

#[tokio::test]
async fn a_log_that_shows_nothing_new_is_stale() {
    let mut watch = Watch::verified(3).await;
    watch.now_s += STALE_AFTER_S;
    assert_eq!(watch.codes().await, [""; 0]);
    watch.now_s += 1;
    assert_eq!(watch.shown().await, ["clock-stale at checkpoint 3"]);
    watch.log.now_s = watch.now_s - 10;
    watch.log.show(3);
    assert_eq!(watch.codes().await, [""; 0]);
    // An older checkpoint does not make a log stale as long as newer times were seen.
    watch.log.now_s = START_S;
    watch.log.show(2);
    assert_eq!(watch.codes().await, [""; 0]);
    watch.log.withdraw();
    watch.now_s += 10 * STALE_AFTER_S;
    assert_eq!(watch.codes().await, ["checkpoint-unavailable"]);
}

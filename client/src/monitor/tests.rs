mod evil;
mod forking;
mod hostile;
mod keeping;

use std::{fs, path::PathBuf};

use counterfoil_merkle::evidence::ForkEvidence;
use counterfoil_receipt::audit::Report;

use super::*;
use crate::source::{Connection, Source};
use evil::{EvilLog, FULL, ORIGIN, START_S};

/// A log and its monitor, each with a directory of its own.
struct Watch {
    log: EvilLog,
    state: PathBuf,
    monitor: Option<Monitor>,
    /// By the monitor's wall clock.
    now_s: u64,
    _home: tempfile::TempDir,
}

fn open(log: &EvilLog, state: &std::path::Path) -> Result<Monitor, StateError> {
    let known = log.known();
    let source = Source::open(&known.url, &Connection::default()).unwrap();
    Monitor::open(state, &known, vec![Vantage::direct(source)], Settings::default())
}

async fn look(monitor: &mut Monitor, now: Timestamp) -> Report {
    look_with(monitor, now, &[]).await
}

/// Whoever watches several logs gives each a task of its own.
fn sendable<F: Future + Send>(round: F) -> F {
    round
}

async fn look_with(monitor: &mut Monitor, now: Timestamp, notes: &[String]) -> Report {
    let mut recorded = Vec::new();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes,
        observe: &mut |_, _, _, _| (),
        record: &mut |found| {
            recorded.extend_from_slice(found);
            Ok(())
        },
    };
    let report = sendable(monitor.round(&mut outside)).await.unwrap();
    assert_eq!(recorded, report.findings(), "all that was found was recorded");
    report
}

impl Watch {
    /// A log that has `size` records, and a monitor that has not looked yet.
    fn new(size: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut log = EvilLog::new(&home.path().join("log"));
        log.grow_to(size);
        log.publish();
        let state = home.path().join("state");
        let monitor = Some(open(&log, &state).unwrap());
        Self { log, state, monitor, now_s: START_S, _home: home }
    }

    /// As [`Watch::new`], and the monitor has verified all of it.
    async fn verified(size: usize) -> Self {
        let mut watch = Self::new(size);
        assert_eq!(watch.codes().await, [""; 0]);
        assert_eq!(watch.size(), size as u64);
        watch
    }

    async fn round(&mut self) -> Report {
        let now = Timestamp::from_millis(1000 * self.now_s).unwrap();
        look(self.monitor.as_mut().unwrap(), now).await
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
        self.monitor.as_ref().unwrap().state().head().size.get()
    }

    /// Stops the monitor and starts it again.
    fn restart(&mut self) -> Result<(), StateError> {
        self.monitor = None;
        self.monitor = Some(open(&self.log, &self.state)?);
        Ok(())
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
        assert_eq!(watch.monitor.as_ref().unwrap().state().head(), watch.log.head(size));
    }
    assert!(watch.state.join("tile/0/001").exists());
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
    let codes = watch.codes().await;
    assert!(codes.contains(&"root-mismatch"), "{codes:?}");
    assert!(codes.contains(&"tile-mismatch"), "{codes:?}");
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

#[tokio::test]
async fn changed_tiles_are_invalid() {
    let mut watch = Watch::new(FULL + 9);
    watch.log.flip("tile/0/000", 32 * 7);
    let codes = watch.codes().await;
    assert!(codes.iter().all(|code| matches!(*code, "root-mismatch" | "tile-mismatch")), "{codes:?}");
    assert!(!codes.is_empty());

    let mut watch = Watch::verified(2 * FULL + 9).await;
    watch.log.grow_to(3 * FULL + 4);
    watch.log.publish();
    watch.log.flip("tile/0/002", 5);
    assert_eq!(watch.codes().await, ["root-mismatch"]);
    assert_eq!(watch.size(), 2 * FULL as u64 + 9);
    watch.log.publish();
    watch.log.flip("tile/1/000.p/3", 95);
    assert_eq!(watch.shown().await, ["tile-mismatch at tile/1/000.p/3"]);
    assert_eq!(
        watch.size(),
        3 * FULL as u64 + 4,
        "entries and root are right: the tree was verified all the same"
    );
    watch.restart().unwrap();
}

#[tokio::test]
async fn what_is_missing_moves_nothing() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(FULL + 6);
    let state = watch.monitor.as_ref().unwrap().state().head();
    for path in [
        "tile/entries/000",
        "tile/entries/001.p/6",
        "statement/000",
        "statement/001.p/6",
        "tile/0/000",
        "tile/0/001.p/6",
        "tile/1/000.p/1",
    ] {
        watch.log.publish();
        watch.log.remove(path);
        assert_eq!(watch.shown().await, [format!("tile-unavailable at {path}")]);
        assert_eq!(watch.monitor.as_ref().unwrap().state().head(), state);
    }
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    watch.log.withdraw();
    assert_eq!(watch.codes().await, ["checkpoint-unavailable"]);
}

#[tokio::test]
async fn a_missing_statement_is_a_fault_and_the_rest_is_still_read() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(9);
    watch.log.items[5].1.clear();
    watch.log.publish();
    assert_eq!(watch.shown().await, ["statement-missing at entry 5"]);
    assert_eq!(watch.size(), 9);
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

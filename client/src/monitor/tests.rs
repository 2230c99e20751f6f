mod evil;
mod hostile;

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
    Monitor::open(state, &known, source, Settings::default())
}

async fn look(monitor: &mut Monitor, now: Timestamp) -> Report {
    monitor.round(Outside { now: &move || now, progress: &|_, _| () }).await.unwrap()
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

#[tokio::test]
async fn equal_sizes_with_other_roots_are_a_fork() {
    let mut watch = Watch::verified(5).await;
    let before = watch.monitor.as_ref().unwrap().state().head();
    watch.branch(4, 5).publish();
    assert_eq!(watch.shown().await, ["fork-same-size at checkpoint 5"]);
    assert_eq!(watch.evidence().len(), 1);
    assert_eq!(watch.monitor.as_ref().unwrap().state().head(), before);

    // It stays convicted, once, whatever it shows later; and is watched on.
    assert_eq!(watch.shown().await, ["fork-known at log", "fork-same-size at checkpoint 5"]);
    assert_eq!(watch.evidence().len(), 1);
    watch.restart().unwrap();
    watch.log.grow_to(9);
    watch.log.publish();
    assert_eq!(watch.shown().await, ["fork-known at log"]);
    assert_eq!(watch.size(), 9);
    assert_eq!(watch.round().await.exit_code(), 10);
}

/// The other branch shows a checkpoint and nothing else: the monitor's own tiles convict it.
#[tokio::test]
async fn smaller_checkpoints_are_held_against_own_tiles() {
    for size in [2, 3, FULL - 1, FULL, FULL + 1, 2 * FULL + 2] {
        let mut watch = Watch::verified(2 * FULL + 3).await;
        watch.log.withdraw();
        watch.branch(size - 1, size).show(size);
        assert_eq!(watch.shown().await, [format!("fork-smaller at checkpoint {size}")]);
        let [evidence] = watch.evidence().try_into().unwrap();
        assert_eq!(evidence.a().unverified().head.size.get(), size as u64);
        assert_eq!(evidence.b().unverified().head, watch.log.head(2 * FULL + 3));
    }
}

#[tokio::test]
async fn smaller_consistent_checkpoints_are_no_fork() {
    let mut watch = Watch::verified(FULL + 9).await;
    for size in [1, 2, FULL, FULL + 8] {
        watch.log.show(size);
        assert_eq!(watch.codes().await, [""; 0], "{size}");
        assert_eq!(watch.size(), FULL as u64 + 9);
    }
}

#[tokio::test]
async fn larger_trees_that_do_not_start_with_the_verified_one_are_a_fork() {
    for (size, other) in [(3, 4), (5, FULL + 7), (FULL + 2, FULL + 3), (FULL + 2, 2 * FULL)] {
        let mut watch = Watch::verified(size).await;
        let state = fs::read(watch.state.join("monitor.json")).unwrap();
        watch.branch(size - 1, other).publish();
        assert_eq!(watch.shown().await, [format!("fork-larger at checkpoint {other}")]);
        let [evidence] = watch.evidence().try_into().unwrap();
        assert_eq!(evidence.a().unverified().head, watch.log.head(size));
        assert_eq!(fs::read(watch.state.join("monitor.json")).unwrap(), state, "the state is untouched");
        assert!(!watch.state.join("staging").exists());
    }
}

/// A branch whose tiles are offline when its checkpoint is seen is convicted once the log has grown past it.
#[tokio::test]
async fn checkpoints_that_could_not_be_followed_are_held_against_what_comes_later() {
    let mut watch = Watch::verified(5).await;
    let other = watch.branch(5, 8);
    watch.log.withdraw();
    other.show(8);
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    assert_eq!(watch.size(), 5);
    watch.restart().unwrap();
    watch.log.grow_to(20);
    watch.log.publish();
    assert_eq!(watch.shown().await, ["fork-smaller at checkpoint 8"]);
    assert_eq!(watch.size(), 20);
    assert_eq!(watch.evidence().len(), 1);
    assert_eq!(watch.shown().await, ["fork-known at log"]);
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

#[tokio::test]
async fn without_the_clocks_key_times_are_not_checked_and_it_says_so() {
    let watch = Watch::new(3);
    let known = crate::log::KnownLog { clock: None, ..watch.log.known() };
    let state = watch.state.with_file_name("other");
    let open = |known: &crate::log::KnownLog| {
        let source = Source::open(&known.url, &Connection::default()).unwrap();
        Monitor::open(&state, known, source, Settings::default()).unwrap()
    };
    let now = Timestamp::from_millis(1000 * (START_S + 9999)).unwrap();
    let report = look(&mut open(&known), now).await;
    assert_eq!((report.exit_code(), report.findings().len()), (14, 1));
    // Once given, the key is kept.
    assert_eq!(look(&mut open(&watch.log.known()), now).await.exit_code(), 12);
    assert_eq!(look(&mut open(&known), now).await.exit_code(), 12);
}

#[tokio::test]
async fn damage_to_the_state_is_noticed_and_named() {
    let mut watch = Watch::verified(2 * FULL + 9).await;
    for path in ["tile/0/000", "tile/0/001", "monitor.json"] {
        let path = watch.state.join(path);
        let good = fs::read(&path).unwrap();
        for byte in [0, 100, good.len() - 1] {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(&path, bad).unwrap();
            let error = watch.restart().unwrap_err();
            assert!(
                matches!(&error, StateError::Damaged { path: named } | StateError::Io { path: named, .. } if *named == path),
                "{error}"
            );
        }
        fs::remove_file(&path).unwrap();
        let error = watch.restart().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(&path, good).unwrap();
        watch.restart().unwrap();
    }
}

#[tokio::test]
async fn one_monitor_a_directory_and_one_log_a_directory() {
    let mut watch = Watch::verified(3).await;
    assert!(matches!(open(&watch.log, &watch.state), Err(StateError::Locked { .. })));
    watch.monitor = None;
    let mut known = watch.log.known();
    known.key = known.clock.take().unwrap();
    let source = Source::open(&known.url, &Connection::default()).unwrap();
    let other = Monitor::open(&watch.state, &known, source, Settings::default());
    assert!(matches!(other, Err(StateError::OtherLog { .. })));
}

#[tokio::test]
async fn damaged_evidence_is_not_overlooked() {
    let mut watch = Watch::verified(5).await;
    watch.branch(4, 5).publish();
    assert_eq!(watch.round().await.exit_code(), 10);
    let file = fs::read_dir(watch.state.join("evidence")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\n5\n", "\n6\n", 1)).unwrap();
    assert!(matches!(watch.restart(), Err(StateError::Damaged { path }) if path == file));
}

//! Backups: taken while the log is written to, restored, and what neither may ever do.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{
    Deployment, Issuing, Run,
    audit::{Ack, check_answer, check_kept},
};

use crate::PROGRAMS;

/// Every file of a backup, but its lock.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut directories) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().unwrap() != "lock" {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

fn back_up(log: &Deployment, to: &Path) -> Run {
    log.server_run(&["backup", "--to", to.to_str().unwrap()])
}

fn restore(log: &Deployment, from: &Path) -> Run {
    log.server_run(&["restore", "--from", from.to_str().unwrap()])
}

/// Appends as many receipts, some dozens at once.
pub(crate) fn append(log: &Deployment, issuing: &mut Issuing, count: usize) -> Vec<Ack> {
    let (mut http, key) = (log.http(), log.log_key.parse::<VerifierKey>().unwrap());
    let (mut acks, mut left) = (Vec::new(), count);
    while left > 0 {
        let some: Vec<_> = (0..left.min(64)).map(|_| issuing.issue()).collect();
        left -= some.len();
        let lines: String = some.iter().map(|(_, envelope)| format!("{envelope}\n")).collect();
        let reply = http.post("/v1/receipts/batch", lines.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{error}\n{}", log.server_log()));
        assert_eq!(reply.status, 200, "{}", reply.text());
        for ((id, _), line) in some.iter().zip(reply.text().lines()) {
            acks.push(check_answer(&serde_json::from_str(line).unwrap(), *id, &key));
        }
    }
    acks
}

/// Whatever is being appended, each backup is a log of its own in order, the next one adds to it, and the last one gives the
/// log back: every acknowledged receipt at its index, and it goes on.
#[test]
fn backups_of_a_busy_log_restore_it() {
    let mut log = Deployment::start(PROGRAMS, "log.example/busy");
    let key: VerifierKey = log.log_key.parse().unwrap();
    let mut issuing = Issuing::new(&log.origin, 31);
    let mut acks = append(&log, &mut issuing, 600);
    let (to, done) = (log.home().join("backup"), AtomicBool::new(false));
    let during = std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut acks = Vec::new();
            while !done.load(Ordering::Relaxed) {
                acks.extend(append(&log, &mut issuing, 64));
            }
            acks
        });
        let backups: Vec<_> = (0..3).map(|_| back_up(&log, &to)).collect();
        done.store(true, Ordering::Relaxed);
        let acks = appending.join().unwrap();
        for backup in backups {
            assert!(backup.exits(0).out.contains("audited"));
        }
        acks
    });
    assert!(during.len() > 256, "the log grew meanwhile: {}", during.len());
    acks.extend(during);
    let last = back_up(&log, &to).exits(0);
    assert!(last.out.contains(&format!("{} entries", acks.len() + 1)), "{}", last.out);
    log.down();

    fs::remove_dir_all(log.data()).unwrap();
    let restored = restore(&log, &to).exits(0);
    assert!(!restored.out.contains("no guard"), "{}", restored.out);
    log.server_run(&["fsck", "--admission"]).exits(0);
    log.up();
    let mut http = log.http();
    acks.iter().step_by(7).chain(acks.last()).for_each(|ack| check_kept(&mut http, ack, &key));
    append(&log, &mut issuing, 3);
    let again = restore(&log, &to).exits(2);
    assert!(again.err.contains("is not empty"), "{}", again.err);
}

/// A backup never goes back: neither to an older copy of the log, nor to another history of it. And nothing older than
/// what was published is restored under the log's guard.
#[test]
fn nothing_is_rolled_back() {
    let mut log = Deployment::start(PROGRAMS, "log.example/back");
    let mut issuing = Issuing::new(&log.origin, 32);
    append(&log, &mut issuing, 300);
    log.down();
    let (older, newer) = (log.home().join("older"), log.home().join("newer"));
    back_up(&log, &older).exits(0);
    let mut old = log.copy();
    log.up();
    append(&log, &mut issuing, 300);
    back_up(&log, &newer).exits(0);
    let kept = contents(&newer);
    let refused = back_up(&old, &newer).exits(1);
    assert!(refused.err.contains("the log went back"), "{}", refused.err);
    assert_eq!(contents(&newer), kept);

    old.up();
    append(&old, &mut Issuing::new(&log.origin, 33), 600);
    old.down();
    let refused = back_up(&old, &newer).exits(1);
    assert!(refused.err.contains("another history"), "{}", refused.err);
    assert_eq!(contents(&newer), kept);

    log.down();
    let away = log.home().join("away");
    fs::rename(log.data(), &away).unwrap();
    let refused = restore(&log, &older).exits(1);
    assert!(refused.err.contains("was published past this backup"), "{}", refused.err);
    assert!(!log.data().exists(), "nothing was made");
    restore(&log, &newer).exits(0);
    log.server_run(&["fsck"]).exits(0);
}

/// A backup that was cut short counts for nothing, and the next one completes it; but not one of a log that has less.
#[test]
fn a_backup_that_was_cut_short_is_completed() {
    let mut log = Deployment::start(PROGRAMS, "log.example/cut");
    let mut issuing = Issuing::new(&log.origin, 34);
    append(&log, &mut issuing, 100);
    log.down();
    let old = log.copy();
    log.up();
    append(&log, &mut issuing, 500);
    log.down();
    let to = log.home().join("backup");
    back_up(&log, &to).exits(0);
    let whole = contents(&to);
    fs::remove_dir_all(to.join("commit")).unwrap();
    fs::remove_file(to.join("tile/0/000")).unwrap();
    let refused = back_up(&old, &to).exits(1);
    assert!(refused.err.contains("the log went back"), "{}", refused.err);
    fs::rename(log.data(), log.home().join("away")).unwrap();
    assert!(restore(&log, &to).exits(1).err.contains("the backup was cut short"));
    assert!(!log.data().exists());
    fs::rename(log.home().join("away"), log.data()).unwrap();
    back_up(&log, &to).exits(0);
    let completed = contents(&to);
    let is_full = |path: &Path| {
        let of = path.strip_prefix(&to).unwrap().display().to_string();
        (of.starts_with("tile/") || of.starts_with("statement/")) && !of.contains(".p/")
    };
    for (path, bytes) in whole.iter().filter(|(path, _)| is_full(path)) {
        assert_eq!(completed.get(path), Some(bytes), "{}", path.display());
    }
    fs::remove_dir_all(log.data()).unwrap();
    restore(&log, &to).exits(0);
    log.server_run(&["fsck"]).exits(0);
}

/// A damaged tile is named and not copied over a good one, nor into a new backup; another log, and a directory with other
/// things in it, are refused.
#[test]
fn what_does_not_belong_is_refused() {
    let mut log = Deployment::start(PROGRAMS, "log.example/damaged-tile");
    append(&log, &mut Issuing::new(&log.origin, 35), 600);
    let to = log.home().join("backup");
    log.down();
    back_up(&log, &to).exits(0);
    let kept = contents(&to);
    for name in ["tile/entries/000", "tile/0/000", "statement/000"] {
        let path = log.data().join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[5000] ^= 8;
        fs::write(&path, &bad).unwrap();
        for to in [to.clone(), log.home().join(format!("new-{}", name.replace('/', "-")))] {
            let refused = back_up(&log, &to).exits(1);
            assert!(refused.err.contains(name), "{name}: {}", refused.err);
        }
        assert_eq!(contents(&to), kept);
        fs::write(&path, good).unwrap();
    }
    let other = Deployment::start(PROGRAMS, "log.example/other");
    let refused = back_up(&other, &to).exits(1);
    assert!(refused.err.contains("the backup is not one of log.example/other"), "{}", refused.err);
    assert_eq!(contents(&to), kept);
    assert!(back_up(&other, other.directory()).exits(2).err.contains("is no backup"));
    assert!(back_up(&other, &other.data().join("here")).exits(2).err.contains("lies in the data directory"));
    for made in [other.directory().join("backup"), other.directory().join("lock"), other.data().join("here")]
    {
        assert!(!made.exists(), "{}", made.display());
    }
}

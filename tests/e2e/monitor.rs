//! The monitor against real logs: honest ones, and ones that forked because somebody ran a copy.

use std::fs;

use counterfoil_merkle::{evidence::ForkEvidence, key::VerifierKey};
use counterfoil_tests::{Deployment, Issuing, Run};

use crate::PROGRAMS;

const FORK: i32 = 10;
const UNAVAILABLE: i32 = 13;

/// One round of the monitor whose state lies in `watcher`'s home, on the log that `shown` serves.
fn watch(watcher: &Deployment, shown: &str) -> Run {
    let keys = ["--log-key", &watcher.log_key, "--clock", &watcher.clock_key];
    watcher.client(&[&["monitor", "--once", "--state", "monitor", "--url", shown], &keys[..]].concat())
}

fn append(log: &Deployment, issuing: &mut Issuing, count: usize) {
    let mut http = log.http();
    for _ in 0..count {
        assert_eq!(http.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap().status, 201);
    }
}

/// Runs a log and a copy of it; each gets as many receipts of its own as said.
fn forked(common: usize, first: usize, second: usize) -> (Deployment, Deployment) {
    let mut log = Deployment::start(PROGRAMS, "log.example/fork");
    append(&log, &mut Issuing::new(&log.origin, 10), common);
    let _ = watch(&log, &log.url()).exits(0);
    log.down();
    let mut copy = log.copy();
    log.up();
    copy.up();
    append(&log, &mut Issuing::new(&log.origin, 11), first);
    append(&copy, &mut Issuing::new(&copy.origin, 12), second);
    (log, copy)
}

/// The evidence that the monitor wrote convinces whoever has the log's key, and nobody else.
fn check_evidence(watcher: &Deployment, sizes: (u64, u64)) {
    let files: Vec<_> =
        fs::read_dir(watcher.home().join("monitor/evidence")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = fs::read_to_string(&files[0]).unwrap();
    let evidence: ForkEvidence = text.parse().unwrap();
    let key: VerifierKey = watcher.log_key.parse().unwrap();
    evidence.verify(&key).unwrap();
    let size = |checkpoint: &counterfoil_merkle::checkpoint::SignedCheckpoint| {
        checkpoint.unverified().head.size.get()
    };
    assert_eq!((size(evidence.a()), size(evidence.b())), sizes);
    let file = files[0].to_str().unwrap();
    let _ = watcher.client(&["verify-evidence", file, "--log-key", &watcher.log_key]).exits(0);
    let other = Deployment::init(PROGRAMS, "log.example/fork", &["--open"]);
    let _ = watcher.client(&["verify-evidence", file, "--log-key", &other.log_key]).exits(1);
    fs::write(watcher.home().join("changed.txt"), text.replacen("\n306\n", "\n305\n", 1)).unwrap();
    let _ = watcher.client(&["verify-evidence", "changed.txt", "--log-key", &watcher.log_key]).exits(1);
}

/// An honest log is fine at every size, across restarts of both sides; a dead one is unavailable, not forked.
#[test]
fn an_honest_log_passes() {
    let mut log = Deployment::start(PROGRAMS, "log.example/honest");
    let mut issuing = Issuing::new(&log.origin, 9);
    for count in [0, 1, 254, 1, 300] {
        append(&log, &mut issuing, count);
        let _ = watch(&log, &log.url()).exits(0);
        log.down();
        log.up();
        let again = watch(&log, &log.url()).exits(0);
        assert!(again.out.contains("OK log.example/honest"), "{}", again.out);
    }
    let url = log.url();
    log.down();
    let _ = watch(&log, &url).exits(UNAVAILABLE);
    log.up();
    let _ = watch(&log, &log.url()).exits(0);
}

/// Two roots for one size.
#[test]
fn a_fork_at_equal_sizes_is_caught() {
    let (log, copy) = forked(300, 5, 5);
    let _ = watch(&log, &log.url()).exits(0);
    let caught = watch(&log, &copy.url()).exits(FORK);
    assert!(caught.out.contains("FORK"), "{}", caught.out);
    check_evidence(&log, (306, 306));
    let again = watch(&log, &log.url()).exits(FORK);
    assert!(again.out.contains("evidence"), "a proven fork is never forgotten: {}", again.out);
}

/// The branch that the monitor follows is gone when a smaller tree of the other one turns up: its own tiles convict.
#[test]
fn a_fork_at_a_smaller_size_is_caught_with_one_branch_offline() {
    let (mut log, copy) = forked(300, 400, 5);
    let _ = watch(&log, &log.url()).exits(0);
    log.down();
    let _ = watch(&log, &copy.url()).exits(FORK);
    check_evidence(&log, (306, 701));
}

/// The other branch is the larger one, and the one that the monitor follows is gone.
#[test]
fn a_fork_at_a_larger_size_is_caught_with_one_branch_offline() {
    let (mut log, copy) = forked(300, 5, 400);
    let _ = watch(&log, &log.url()).exits(0);
    log.down();
    let _ = watch(&log, &copy.url()).exits(FORK);
    check_evidence(&log, (306, 701));
}

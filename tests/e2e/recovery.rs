//! What a restart finds, and what it refuses.

use std::fs;

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{
    Deployment, Issuing,
    audit::{check_answer, check_kept, checkpoint},
};

use crate::PROGRAMS;

fn append(log: &Deployment, issuing: &mut Issuing, count: usize) -> Vec<counterfoil_tests::audit::Ack> {
    let (mut http, key) = (log.http(), log.log_key.parse::<VerifierKey>().unwrap());
    (0..count)
        .map(|_| {
            let (id, envelope) = issuing.issue();
            check_answer(&http.post("/v1/receipts", envelope.as_bytes()).unwrap().json(), id, &key)
        })
        .collect()
}

/// The second server on a directory, and a server on a copy of it that shares the guard, end with a reason.
#[test]
fn a_directory_has_one_server() {
    let log = Deployment::start(PROGRAMS, "log.example/two");
    let second = log.server_run(&["run"]).exits(2);
    assert!(second.err.contains("another server is running on"), "{}", second.err);
}

/// Who restores yesterday's data directory gets reads of what it holds, and no signature.
#[test]
fn an_old_copy_is_refused_by_the_guard() {
    let mut log = Deployment::start(PROGRAMS, "log.example/old");
    let key: VerifierKey = log.log_key.parse().unwrap();
    let mut issuing = Issuing::new(&log.origin, 3);
    append(&log, &mut issuing, 20);
    log.down();
    let old = log.copy();
    log.up();
    append(&log, &mut issuing, 20);
    log.down();
    fs::remove_dir_all(log.data()).unwrap();
    fs::rename(old.data(), log.data()).unwrap();

    log.spawn();
    let mut http = log.http();
    let refused = loop {
        let reply = http.get("/readyz").unwrap();
        if reply.json()["type"] != "https://counterfoil.dev/problems/starting" {
            break reply;
        }
    };
    assert_eq!((refused.status, refused.json()["title"].as_str()), (503, Some("Not writing")));
    let (_, envelope) = issuing.issue();
    assert_eq!(http.post("/v1/receipts", envelope.as_bytes()).unwrap().status, 503);
    assert_eq!(checkpoint(&mut http, &key).head().size.get(), 21, "what it published then can be read");
    assert!(
        log.server_log()
            .contains("the data directory is an old copy: it holds 21 entries, and the guard saw 41")
    );
}

/// Without its guard a log is read, not written, until a person takes it over.
#[test]
fn a_lost_guard_stops_writing_until_adopted() {
    let mut log = Deployment::start(PROGRAMS, "log.example/guard");
    let key: VerifierKey = log.log_key.parse().unwrap();
    let mut issuing = Issuing::new(&log.origin, 4);
    let acks = append(&log, &mut issuing, 300);
    log.down();
    fs::remove_file(log.guard()).unwrap();
    log.spawn();
    assert_eq!(log.http().get("/readyz").unwrap().status, 503);
    check_kept(&mut log.http(), &acks[17], &key);
    log.down();

    let shown = log.server_run(&["adopt"]).exits(0);
    assert!(
        shown.out.contains("tree size   301") && shown.out.contains("repeat with --yes"),
        "{}",
        shown.out
    );
    assert!(!log.guard().exists(), "nothing is done without --yes");
    log.server_run(&["adopt", "--yes"]).exits(0);
    log.up();
    append(&log, &mut issuing, 1);
    acks.iter().for_each(|ack| check_kept(&mut log.http(), ack, &key));
}

/// Any damaged commit record is named, and nothing is signed over it.
#[test]
fn a_damaged_commit_is_named() {
    let mut log = Deployment::start(PROGRAMS, "log.example/damage");
    append(&log, &mut Issuing::new(&log.origin, 5), 3);
    log.down();
    let mut commits: Vec<_> =
        fs::read_dir(log.data().join("commit")).unwrap().map(|c| c.unwrap().path()).collect();
    commits.sort();
    let middle = &commits[commits.len() / 2];
    let mut bytes = fs::read(middle).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(middle, bytes).unwrap();
    log.spawn();
    while log.http().get("/readyz").unwrap().json()["type"] == "https://counterfoil.dev/problems/starting" {}
    assert_eq!(log.http().get("/readyz").unwrap().status, 503);
    let number: u64 = middle.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let reason = format!("commit {number}: the commit record's digest does not match its bytes");
    assert!(log.server_log().contains(&reason), "{}", log.server_log());
}

/// A commit that the log never told anybody of is not built upon; set aside, it was never there.
#[test]
fn a_commit_that_was_never_told_is_set_aside() {
    let mut log = Deployment::start(PROGRAMS, "log.example/never-told");
    let mut issuing = Issuing::new(&log.origin, 6);
    let kept = append(&log, &mut issuing, 1);
    // Within the guard's lag of a second, as a commit whose read-back failed would be.
    let (_, lost) = issuing.issue();
    assert_eq!(log.http().post("/v1/receipts", lost.as_bytes()).unwrap().status, 201);
    log.kill();
    let newest =
        fs::read_dir(log.data().join("commit")).unwrap().map(|c| c.unwrap().file_name()).max().unwrap();
    let number: u64 = newest.to_str().unwrap().parse().unwrap();
    let refused = log.server_run(&["adopt", "--set-aside", &number.to_string()]).exits(2);
    assert!(refused.err.contains("has no never-told marker"), "{}", refused.err);
    fs::create_dir_all(log.data().join("never-told")).unwrap();
    fs::write(log.data().join("never-told").join(&newest), "entry 2 reads back other than it was admitted")
        .unwrap();

    log.spawn();
    while log.http().get("/readyz").unwrap().json()["type"] == "https://counterfoil.dev/problems/starting" {}
    assert_eq!(log.http().get("/readyz").unwrap().status, 503);
    let said = format!("`counterfoil-server adopt --set-aside {number}` sets it aside");
    assert!(log.server_log().contains(&said), "{}", log.server_log());
    log.kill();
    log.server_run(&["adopt", "--set-aside", &number.to_string()]).exits(0);
    for _ in 0..2 {
        log.up();
        check_kept(&mut log.http(), &kept[0], &log.log_key.parse().unwrap());
        log.down();
    }
    log.up();
    assert_eq!(log.http().post("/v1/receipts", lost.as_bytes()).unwrap().status, 201, "it was never there");
    log.down();
    log.server_run(&["fsck"]).exits(0);
}

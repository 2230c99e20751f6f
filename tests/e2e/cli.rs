//! The command line as a person or a script uses it: exit codes, resuming, and what is said when nothing can be told.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{Deployment, Issuing, audit::checkpoint};

use crate::PROGRAMS;

fn size(log: &Deployment) -> u64 {
    let key: VerifierKey = log.log_key.parse().unwrap();
    checkpoint(&mut log.http(), &key).head().size.get()
}

/// An append that is killed in the middle goes on where it stopped: nothing is sent twice into the log, nothing is left
/// out, and every receipt has its bundle in the end.
#[test]
fn append_resumes_after_a_kill() {
    const RECEIPTS: usize = 400;
    let log = Deployment::start(PROGRAMS, "log.example/resume");
    let _ = log.client(&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]).exits(0);
    let mut issuing = Issuing::new(&log.origin, 70);
    let lines: String = (0..RECEIPTS).map(|_| issuing.issue().1 + "\n").collect();
    fs::write(log.home().join("all.ndjson"), lines).unwrap();
    let append = ["append", "--log", "l", "--out", "bundles", "all.ndjson"];
    for pause_ms in [60, 120] {
        let mut killed = Command::new(PROGRAMS.client)
            .args(append)
            .current_dir(log.home())
            .env("XDG_CONFIG_HOME", log.home().join("config"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(pause_ms));
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let before = size(&log);
    let _ = log.client(&append).exits(0);
    assert_eq!(size(&log), RECEIPTS as u64 + 1, "{before} were there before the last run");
    // A killed run may leave a file that it had not named yet.
    let is_bundle = |name: &str| name.ends_with(".counterfoil.json");
    let names = fs::read_dir(log.home().join("bundles")).unwrap();
    let bundles =
        names.filter(|item| is_bundle(&item.as_ref().unwrap().file_name().to_string_lossy())).count();
    assert_eq!(bundles, RECEIPTS);
    let again = log.client(&append).exits(0);
    assert!(again.out.contains("0 refused"), "{}", again.out);
    assert_eq!(size(&log), RECEIPTS as u64 + 1);
}

/// 0 is yes, 1 is no, 2 is could not tell, in each command that asks the log something.
#[test]
fn exit_codes_tell_yes_from_no_from_nothing() {
    let mut log = Deployment::start(PROGRAMS, "log.example/codes");
    let _ = log.client(&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]).exits(0);
    let mut issuing = Issuing::new(&log.origin, 71);
    let ids: Vec<_> = (0..5)
        .map(|_| {
            let (id, envelope) = issuing.issue();
            assert_eq!(log.http().post("/v1/receipts", envelope.as_bytes()).unwrap().status, 201);
            id.to_string()
        })
        .collect();
    for (arguments, code) in [
        (vec!["checkpoint"], 0),
        (vec!["consistency", "1"], 0),
        (vec!["consistency", "2", "6"], 0),
        (vec!["prove", "3"], 0),
        (vec!["prove", &ids[2]], 0),
        (vec!["prove", &ids[2][..32]], 0),
        (vec!["get", &ids[4], "-o", "four.json"], 0),
        (vec!["verify", "four.json", "--log", "l"], 0),
        (vec!["prove", "6"], 1),
        (vec!["get", &ids[0].replace(|c: char| c.is_ascii_digit(), "f")], 1),
        (vec!["verify", "four.json"], 2),
        (vec!["verify", "nowhere.json", "--log", "l"], 2),
        (vec!["get", "not a record"], 2),
        (vec!["completions", "bash"], 0),
    ] {
        let run = log.client(&arguments);
        assert_eq!(run.code, code, "{arguments:?}\n{}\n{}", run.out, run.err);
    }
    let json = log.client(&["--json", "checkpoint"]).exits(0).json();
    assert_eq!(json["size"], 6);
    log.down();
    for arguments in [vec!["checkpoint"], vec!["consistency", "1"], vec!["prove", "3"], vec!["get", "3"]] {
        let run = log.client(&arguments);
        assert_eq!(run.code, 2, "{arguments:?}\n{}\n{}", run.out, run.err);
    }
    let _ = log.client(&["verify", "four.json", "--log", "l"]).exits(0);
}

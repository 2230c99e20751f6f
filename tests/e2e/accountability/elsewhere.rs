//! A log that will not hear a complaint is not the only one.

use super::*;

/// Whoever holds the claim key disputes the receipt in another log, which needs nothing of the first but the bundle; `standing` over
/// both logs shows the receipt and the dispute. Another's claim key gains nothing there either.
#[test]
fn a_dispute_may_lie_in_another_log() {
    let town = Town::new("log.example/here");
    let there = Deployment::start(PROGRAMS, "log.example/there");
    let add = ["log", "add", "there", &there.url(), &there.log_key, "--clock", &there.clock_key];
    town.does(&add);
    let (id, claim) = town.answers();
    let (_, other) = town.answers();
    town.does(&["get", &id, "--log", "l", "-o", "receipt.json"]);
    let dispute = |claim: &Path| {
        town.log.client(&[
            "--json",
            "dispute",
            "--claim",
            claim.to_str().unwrap(),
            "--elsewhere",
            "receipt.json",
            "--ground",
            "billing",
            "--log",
            "there",
            "--out",
            "records",
        ])
    };
    assert_ne!(dispute(&other).code, 0, "the claim key of another receipt");
    let disputed = dispute(&claim).exits(0).json();
    assert_eq!(disputed["status"], "proven");

    let here = town.does(&["--json", "standing", &id, "--log", "l"]).json();
    assert_eq!(here["logs"].as_array().unwrap().len(), 1);
    assert!(facts(&here["logs"][0], "disputed").is_empty());
    let both = town.does(&["--json", "standing", &id, "--log", "l", "--also", "there"]).json();
    let logs = both["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(fact(&logs[0], "claimed")["by"]["name"], "bank Ltd");
    let said = fact(&logs[1], "disputed");
    assert_eq!((&said["by"], &said["record"]), (&"claim key".into(), &disputed["leaf"]));
    assert_eq!(fact(&logs[1], "open")["record"], disputed["leaf"]);
    let screen = town.does(&["standing", &id, "--log", "l", "--also", "there"]).out;
    assert!(screen.contains("log.example/there") && screen.contains("OPEN until"), "{screen}");
}

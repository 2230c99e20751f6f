//! Dates of entries, times and signatures of checkpoints.

use super::*;

#[test]
fn times_of_entries_do_not_go_back() {
    let mut log = EvilLog::begun();
    log.take_at(&receipt(0, None), START - 1);
    assert_eq!(log.shown(), ["at-back at entry 1"]);
}

#[test]
fn no_entry_is_dated_after_it_was_first_seen() {
    let mut log = EvilLog::begun();
    let latest = log.now + times::CLOCK_SKEW_MS;
    let records = chain(2);
    log.take_at(&records[0], latest);
    assert!(log.codes().is_empty());
    log.take_at(&records[1], latest + 1);
    assert_eq!(log.shown(), ["at-ahead at entry 2"]);
}

/// Whichever comes first, entry or checkpoint: what the checkpoint has is not later, what it lacks is not earlier.
#[test]
fn checkpoints_hold_entries_from_both_sides() {
    let second = START / 1000;
    let records = chain(2);
    for (size, time_s, found) in [
        (2, second, "at-after-checkpoint at entry 1"),
        (1, second + 3, "at-before-checkpoint at entry 1"),
        (2, second + 3, "at-before-checkpoint at entry 2"),
    ] {
        let mut before = EvilLog::begun();
        before.attest(size, time_s);
        let mut after = EvilLog::begun();
        for record in &records {
            before.take_at(record, START + 2999);
            after.take_at(record, START + 2999);
        }
        after.attest(size, time_s);
        assert_eq!(before.shown()[0], found);
        assert_eq!(after.shown(), [found]);
    }
    let mut honest = EvilLog::begun();
    honest.attest(1, second);
    honest.take_at(&records[0], START + 2999);
    honest.attest(2, second + 2);
    honest.attest(1, second + 2);
    assert!(honest.codes().is_empty());
}

#[test]
fn times_of_checkpoints_grow_with_their_sizes() {
    let second = START / 1000;
    let mut log = EvilLog::begun();
    log.attest(10, second + 5);
    log.attest(11, second + 4);
    log.attest(9, second + 6);
    assert_eq!(
        log.shown(),
        ["clock-back at checkpoint 11", "clock-back at checkpoint 9", "clock-back at checkpoint 9"]
    );
    let mut log = EvilLog::begun();
    log.attest(1, (log.now + times::CLOCK_SKEW_MS) / 1000);
    assert!(log.codes().is_empty());
    log.attest(1, (log.now + times::CLOCK_SKEW_MS) / 1000 + 1);
    assert_eq!(log.shown(), ["clock-ahead at checkpoint 1"]);
}

#[test]
fn checkpoints_are_signed_by_log_and_clock() {
    let stranger = |name: &str, algorithm| {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[6; 32]).unwrap()
    };
    let mut log = EvilLog::begun();
    let text = log.head(1, log.audit.head().root);
    let signed = text.sign(&log.signer);
    assert!(log.show(signed.to_string().as_bytes()).unwrap().time_s.is_none());
    let mut forged = signed;
    forged.cosign(&log.clock, START / 1000);
    let forged = forged.to_string();
    let (head, line) = forged.trim_end().rsplit_once(' ').unwrap();
    let mut line = line.to_owned();
    line.replace_range(30..31, if &line[30..31] == "A" { "B" } else { "A" });
    assert!(log.show(format!("{head} {line}\n").as_bytes()).unwrap().time_s.is_none());
    assert!(log.show(text.sign(&stranger(ORIGIN, Algorithm::Ed25519)).to_string().as_bytes()).is_none());
    let other = Checkpoint::new(Origin::new("other.example").unwrap(), text.head);
    let other = other.sign(&stranger("other.example", Algorithm::Ed25519));
    assert!(log.show(other.to_string().as_bytes()).is_none());
    assert!(log.show(b"\xff").is_none());
    assert!(log.show(b"not a checkpoint\n").is_none());
    let expected = [
        "clock-missing",
        "clock-signature",
        "checkpoint-signature",
        "checkpoint-origin",
        "checkpoint-malformed",
        "checkpoint-malformed",
    ];
    assert_eq!(log.codes(), expected);
}

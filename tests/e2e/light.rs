//! The light client: what one person saw of a log is held against whatever it shows that person later.

use std::{fs, path::PathBuf};

use counterfoil_merkle::{evidence::ForkEvidence, key::VerifierKey};
use counterfoil_tests::{Deployment, Issuing, Person, Run};

use crate::PROGRAMS;

/// Two branches of one log, both served: so many receipts in common, and so many of its own each.
fn split(common: usize, first: usize, second: usize) -> (Deployment, Deployment) {
    let mut one = Deployment::start(PROGRAMS, "log.example/light");
    one.append(&mut Issuing::new(&one.origin, 10), common);
    one.down();
    let mut other = one.copy();
    one.up();
    other.up();
    one.append(&mut Issuing::new(&one.origin, 11), first);
    other.append(&mut Issuing::new(&other.origin, 12), second);
    (one, other)
}

/// A person who knows the log under the name `l`, at the address of this branch.
fn knowing(log: &Deployment) -> Person {
    let person = Person::new(PROGRAMS);
    let _ = person.run(&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]).exits(0);
    person
}

/// From now on the log's address shows this person another branch.
fn show(person: &Person, from: &str, to: &Deployment) {
    let path = person.home().join("config/counterfoil/logs/l/log.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, &to.url())).unwrap();
}

/// The one file of evidence in the log's folder, checked, and named by whoever refuses the log.
fn evidence(person: &Person, refused: &Run, log: &Deployment) -> (PathBuf, ForkEvidence) {
    let folder = person.home().join("config/counterfoil/logs/l/evidence");
    let [file] = fs::read_dir(&folder)
        .unwrap_or_else(|_| panic!("no evidence\n{}\n{}", refused.out, refused.err))
        .map(|file| file.unwrap().path())
        .collect::<Vec<_>>()
        .try_into()
        .expect("one file");
    let said = format!("{}{}", refused.out, refused.err);
    assert!(said.contains(&file.display().to_string()), "{said}");
    let evidence: ForkEvidence = fs::read_to_string(&file).unwrap().parse().unwrap();
    evidence.verify(&log.log_key.parse::<VerifierKey>().unwrap()).unwrap();
    (file, evidence)
}

/// Whichever branch is longer, and though the one that was seen first is gone: the second look convicts the log, and from then on no
/// command has anything to do with it, under whatever name, until a person deletes the file.
#[test]
fn a_log_with_two_faces_is_refused_for_good() {
    for (first, second, kind) in [(5, 5, "same-size"), (5, 300, "consistency"), (300, 5, "consistency")] {
        let (mut one, other) = split(20, first, second);
        let person = knowing(&one);
        let url = one.url();
        one.down();
        show(&person, &url, &other);
        if second < first {
            // What is gone is the larger tree: nothing to prove, and nothing to trust, until the other outgrows it.
            let refused = person.run(&["checkpoint"]).exits(2);
            assert!(refused.err.contains("does not show the tree"), "{}", refused.err);
            other.append(&mut Issuing::new(&other.origin, 13), first);
        }
        let refused = person.run(&["checkpoint"]).exits(1);
        let (file, evidence) = evidence(&person, &refused, &other);
        assert_eq!(evidence.kind(), kind);

        let key = other.log_key.as_str();
        fs::write(person.home().join("envelope.json"), Issuing::new(&other.origin, 14).issue().1).unwrap();
        for command in [
            vec!["checkpoint"],
            vec!["checkpoint", "--no-remember"],
            vec!["checkpoint", "--url", &other.url(), "--log-key", key],
            vec!["consistency", "1"],
            vec!["prove", "1"],
            vec!["get", "1"],
            vec!["append", "envelope.json"],
            vec!["log", "add", "again", &other.url(), key],
            vec!["load", "--fill", "1"],
        ] {
            let refused = person.run(&command).exits(1);
            assert!(refused.err.contains(&file.display().to_string()), "{command:?}: {}", refused.err);
        }
        let listed = person.run(&["log", "list"]).exits(0);
        assert!(
            listed.out.contains("REFUSED") && listed.out.contains(file.to_str().unwrap()),
            "{}",
            listed.out
        );
        let _ = person.run(&["verify-evidence", file.to_str().unwrap()]).exits(0);
        let _ = person.run(&["monitor", "--state", "m", "--log", "l"]).exits(10);

        // Evidence that somebody damaged lets nobody go on either; without it the log is what it was.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("kind", "kinD", 1)).unwrap();
        let _ = person.run(&["checkpoint"]).exits(2);
        fs::remove_file(&file).unwrap();
        let again = person.run(&["checkpoint"]).exits(1);
        assert!(again.err.contains("signed two histories"), "{}", again.err);
    }
}

/// A receipt of a branch that is gone convicts the log with the tiles of the other, be that smaller or larger.
#[test]
fn a_receipt_convicts_where_a_checkpoint_does_not() {
    for (first, second) in [(5, 300), (300, 5)] {
        let (one, mut other) = split(20, first, second);
        let stranger = knowing(&other);
        let (shared, own) = ("shared.json", "own.json");
        let _ = stranger.run(&["get", "3", "-o", shared]).exits(0);
        let _ = stranger.run(&["get", "22", "-o", own]).exits(0);
        other.down();

        let person = knowing(&one);
        for file in [shared, own] {
            fs::copy(stranger.home().join(file), person.home().join(file)).unwrap();
        }
        let shared = person.run(&["verify", shared, "--log", "l"]);
        if second < first {
            // The checkpoint of any receipt does, once the tree that is there has outgrown it.
            let _ = shared.exits(1);
            fs::remove_dir_all(person.home().join("config/counterfoil/logs/l/evidence")).unwrap();
        } else {
            let shared = shared.exits(2);
            assert!(shared.out.contains("history: COULD NOT TELL"), "{}", shared.out);
        }
        let _ = person.run(&["verify", own, "--log", "l", "--no-remember"]).exits(0);
        let refused = person.run(&["verify", own, "--log", "l"]).exits(1);
        assert!(refused.out.contains("history: NO"), "{}", refused.out);
        let (file, evidence) = evidence(&person, &refused, &one);
        assert_eq!(evidence.kind(), if second < first { "consistency" } else { "index" });
        // What verifies offline stays offline, but not with a log that is known to lie.
        let offline = person.run(&["verify", own, "--log-key", &one.log_key]).exits(1);
        assert!(offline.out.contains(file.to_str().unwrap()), "{}", offline.out);

        // Two receipts for one index are enough, with both branches gone.
        let both = Person::new(PROGRAMS);
        let _ = both.run(&["log", "add", "l", &one.url(), &one.log_key]).exits(0);
        let _ = both.run(&["get", "22", "-o", "theirs.json"]).exits(0);
        drop(one);
        fs::copy(stranger.home().join(own), both.home().join(own)).unwrap();
        let refused = both.run(&["consistency", "theirs.json", own]).exits(1);
        assert_eq!(self::evidence(&both, &refused, &other).1.kind(), "index");
    }
}

/// Evidence from elsewhere convinces if it is proven; then it is the same as evidence of one's own.
#[test]
fn evidence_from_elsewhere_convinces() {
    let (one, other) = split(20, 5, 300);
    let victim = knowing(&one);
    let refused = victim.run(&["log", "add", "l", &other.url(), &other.log_key]).exits(1);
    let (file, evidence) = evidence(&victim, &refused, &one);

    let person = knowing(&one);
    let bystander = Deployment::start(PROGRAMS, "log.example/bystander");
    let _ = person.run(&["log", "add", "b", &bystander.url(), &bystander.log_key]).exits(0);
    fs::write(person.home().join("evidence.json"), evidence.to_json()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(person.home().join("changed.txt"), text.replacen("\n26\n", "\n27\n", 1)).unwrap();
    let _ = person.run(&["log", "convict", "nowhere.txt"]).exits(2);
    let _ = person.run(&["log", "convict", "changed.txt"]).exits(1);
    let _ = person.run(&["log", "convict", "evidence.json", "--log", "b"]).exits(1);
    for log in ["l", "b"] {
        let _ = person.run(&["checkpoint", "--log", log]).exits(0);
    }
    let kept = person.run(&["log", "convict", "evidence.json"]).exits(0);
    assert_eq!(self::evidence(&person, &kept, &one).1, evidence);
    let _ = person.run(&["checkpoint", "--log", "l"]).exits(1);
    let _ = person.run(&["checkpoint", "--log", "b"]).exits(0);
}

/// A checkpoint without the policy's quorum is no checkpoint, whoever asks; the policy stays with the log.
#[test]
fn a_policy_is_demanded_everywhere() {
    let log = Deployment::start(PROGRAMS, "log.example/quorum");
    log.append(&mut Issuing::new(&log.origin, 10), 3);
    let person = knowing(&log);
    let policy = |name: &str, quorum: &str, key: &str| {
        let witness = "witness.example/w1+e0cd2864+BKCapfR6Z1mAL/lV+NwtKhSlyZ0jvpf4ZBJ/+Tg0VaTw";
        let text = format!("log {key}\nwitness w {witness}\nquorum {quorum}\n");
        fs::write(person.home().join(name), text).unwrap();
    };
    let add = |policy: &[&str]| {
        person.run(
            &[&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key], policy].concat(),
        )
    };
    policy("none.txt", "none", &log.log_key);
    policy("w.txt", "w", &log.log_key);
    policy("other.txt", "none", "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    let _ = add(&["--policy", "other.txt"]).exits(2);
    let refused = add(&["--policy", "w.txt"]).exits(1);
    assert!(refused.err.contains("quorum is not met"), "{}", refused.err);
    let _ = add(&["--policy", "none.txt"]).exits(0);
    let _ = add(&[]).exits(0);
    let listed = person.run(&["log", "list"]).exits(0);
    assert!(listed.out.contains("policy: quorum none; witnesses w"), "{}", listed.out);
    let _ = person.run(&["get", "1", "-o", "one.json"]).exits(0);
    fs::write(person.home().join("envelope.json"), Issuing::new(&log.origin, 14).issue().1).unwrap();

    // The operator of this account has second thoughts.
    let path = person.home().join("config/counterfoil/logs/l/log.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("quorum none", "quorum w")).unwrap();
    for command in [
        vec!["checkpoint"],
        vec!["prove", "1"],
        vec!["get", "1"],
        vec!["verify", "one.json", "--log", "l"],
        vec!["append", "envelope.json"],
    ] {
        let refused = person.run(&command).exits(1);
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains("quorum is not met"), "{command:?}: {said}");
    }
}

/// What a person saw is demanded of the log again, unless it is not to be remembered.
#[test]
fn what_was_seen_is_demanded() {
    let mut log = Deployment::start(PROGRAMS, "log.example/seen");
    let mut issuing = Issuing::new(&log.origin, 10);
    log.append(&mut issuing, 5);
    let forgetful = knowing(&log);
    let person = knowing(&log);
    let _ = person.run(&["get", "2", "-o", "old.json"]).exits(0);
    log.append(&mut issuing, 5);
    let newer = person.run(&["checkpoint", "--json"]).exits(0).json();
    assert_eq!((&newer["size"], &newer["consistent_with"]), (&11.into(), &6.into()));
    let _ = forgetful.run(&["checkpoint", "--no-remember"]).exits(0);
    let first = forgetful.run(&["log", "list", "--json"]).exits(0).json();
    assert_eq!(first["logs"][0]["size"], 6);

    let verified = person.run(&["verify", "old.json", "--log", "l", "--json"]).exits(0).json();
    assert_eq!((&verified["holds"], &verified["history"]["status"]), (&true.into(), &"older".into()));
    // Offline nobody can tell how the log got from the one to the other. Whoever does not ask is answered.
    log.down();
    let asked = person.run(&["verify", "old.json", "--log", "l"]).exits(2);
    assert!(asked.out.contains("COULD NOT TELL") && !asked.out.contains("yes:"), "{}", asked.out);
    let _ = person.run(&["verify", "old.json", "--log", "l", "--no-remember"]).exits(0);
    let _ = person.run(&["verify", "old.json", "--log-key", &log.log_key]).exits(0);
    let _ = person.run(&["verify", "old.json", "--log-key", &log.log_key, "--no-remember"]).exits(2);
}

//! A log of every kind of record, good and bad: what was admitted is admitted on replay, and what was refused breaks the rule that
//! the refusal names.
//!
//! `COUNTERFOIL_MIXED_RECORDS` says how many records are to be logged, `COUNTERFOIL_MIXED_SEED` which.

mod maker;
mod replayed;

use std::{collections::BTreeMap, time::Instant};

use counterfoil_receipt::{Envelope, Kind, refusal::SignedRefusal, statement::Rule};
use counterfoil_tests::{Deployment, Http};
use serde_json::Value;

use self::maker::{Made, Maker};
use crate::PROGRAMS;

/// Records in one request.
const BATCH: usize = 500;

/// A record that was refused, and the log's word for it.
struct Refused {
    record: Envelope,
    refusal: SignedRefusal,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Each record of a log of all kinds is let in again when admission is replayed from its entries and statements, by the server's own
/// check and by one that shares no code with the server; and each refusal, at its size, gives its rule.
#[test]
fn every_record_is_admitted_again_and_every_refusal_holds() {
    let (count, seed) =
        (from_environment("COUNTERFOIL_MIXED_RECORDS", 3_000), from_environment("COUNTERFOIL_MIXED_SEED", 1));
    let started = Instant::now();
    let mut log = Deployment::init(PROGRAMS, "log.example/mixed", &[]);
    log.up();
    let mut maker = Maker::new(&log, seed);
    let (mut http, mut refused) = (log.http(), Vec::new());
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::from([(Kind::Rules, 1)]);
    maker.begun().iter().for_each(|kind| *kinds.entry(*kind).or_default() += 1);
    let mut logged = 1 + maker.begun().len() as u64;
    while logged < count {
        let batch = maker.batch(BATCH);
        let answers = send(&mut http, maker.last());
        for (made, answer) in batch.into_iter().zip(answers) {
            match check(&made, &answer) {
                None => {
                    *kinds.entry(made.kind()).or_default() += 1;
                    logged += 1;
                    maker.logged(made, answer["leaf"].as_str().unwrap().parse().unwrap());
                }
                Some(refusal) => refused.push(Refused { record: made.envelope, refusal }),
            }
        }
        maker.settle();
    }
    let appended = started.elapsed();
    let rules = rules(&refused);
    let replayed = replayed::replay(&mut http, &log, &refused);
    assert_eq!(replayed, logged, "all that was acknowledged was judged again");
    is_watched(&log, &kinds);
    log.down();
    let checked = Instant::now();
    let fsck = log.server_run(&["fsck", "--admission"]).exits(0);
    println!(
        "seed {seed}: {logged} records and {} refusals in {appended:.0?}; fsck --admission in {:.0?}: {}",
        refused.len(),
        checked.elapsed(),
        fsck.out.trim().replace('\n', "; ")
    );
    println!("logged: {}", counted(kinds.iter().map(|(kind, count)| (kind.to_string(), *count))));
    println!("refused: {}", counted(rules.iter().map(|(rule, count)| (rule.to_string(), *count))));
    // A promise and a refusal are never logged, a clock record only with witnesses.
    let all = Kind::ALL.iter().filter(|kind| kind.is_logged() && **kind != Kind::Clock);
    let missing: Vec<_> = all.filter(|kind| !kinds.contains_key(kind)).collect();
    assert!(missing.is_empty(), "no record of kind {missing:?}");
    // What needs an empty log, half a million keys, or an erased statement is tried elsewhere.
    let apart = [Rule::FirstRecord, Rule::KeysFull, Rule::AboutErased];
    let missing: Vec<_> =
        Rule::ALL.iter().filter(|rule| !rules.contains_key(rule) && !apart.contains(rule)).collect();
    assert!(missing.is_empty(), "no refusal by rule {missing:?}");
}

/// A monitor finds no fault with the log: it knows what each record is about, and tells every record about keys, and each
/// erasure that nobody ordered but the operator.
fn is_watched(log: &Deployment, kinds: &BTreeMap<Kind, u64>) {
    let (url, key, clock) = (log.url(), &log.log_key, &log.clock_key);
    let once = [
        "--json",
        "monitor",
        "--once",
        "--state",
        "state",
        "--url",
        &url,
        "--log-key",
        key,
        "--clock",
        clock,
    ];
    let watched = log.client(&once).exits(15);
    let summary: Value = serde_json::from_str(watched.out.lines().last().unwrap()).unwrap();
    let found = summary["findings"].as_object().unwrap();
    assert_eq!(found["key-record"], kinds[&Kind::Key] + kinds[&Kind::Revocation], "{summary}");
    // Some policies give a second to answer.
    let due = ["key-record", "answer-overdue", "erased-by-log"];
    assert!(found.keys().all(|code| due.contains(&code.as_str())), "{summary}");
}

/// How many were refused by which rule.
fn rules(refused: &[Refused]) -> BTreeMap<Rule, u64> {
    let mut rules = BTreeMap::new();
    for Refused { refusal, .. } in refused {
        *rules.entry(refusal.refusal.rule).or_default() += 1;
    }
    rules
}

fn counted(counts: impl Iterator<Item = (String, u64)>) -> String {
    counts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// Sends a batch; an answer for each line.
fn send(http: &mut Http, body: &str) -> Vec<Value> {
    let reply = http.post("/v1/receipts/batch", body.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answers: Vec<Value> = reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), body.lines().count());
    answers
}

/// Whether a record was taken or refused as it must be; the refusal, if it was.
fn check(made: &Made, answer: &Value) -> Option<SignedRefusal> {
    let id = made.envelope.id();
    let Some(due) = made.due else {
        assert_eq!(answer["id"], id.to_string(), "{}: {answer}", made.what);
        return None;
    };
    let problem = &answer["error"];
    assert_eq!(problem["rule"], due.as_str(), "{}: {answer}", made.what);
    let signed = Envelope::parse(problem["refusal"].to_string().as_bytes()).expect("a refusal");
    let refusal = SignedRefusal::open(signed).unwrap();
    assert_eq!((refusal.refusal.id, refusal.refusal.rule), (id, due), "{}", made.what);
    Some(refusal)
}

//! `kill -9` while erasures are ordered and carried out: whatever was ordered is gone after the next start, and all else stays.

use std::collections::BTreeSet;

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Entry,
    statement::{Erasure, erasure::Basis},
};
use counterfoil_tests::{Http, records::record};

use super::*;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 30;

/// How many receipts are appended in each round, and how many erasures are ordered.
const APPENDED: usize = 24;
const ORDERED: usize = 6;

/// The numbers of all statements of which anything is left in these files.
fn left(all: &[(PathBuf, Vec<u8>)]) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for (_, bytes) in all {
        let mut rest = &bytes[..];
        while let Some(at) = rest.iter().position(|byte| *byte == MARK.as_bytes()[0]) {
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix(MARK.as_bytes()) {
                let digits = after.get(..6).and_then(|digits| str::from_utf8(digits).ok());
                numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
            }
            rest = &rest[1..];
        }
    }
    numbers
}

/// Sends orders until the server is gone; the numbers of those that were answered.
fn order(http: &mut Http, envelopes: &[(u64, String)]) -> Vec<u64> {
    let mut answered = Vec::new();
    for (number, envelope) in envelopes {
        match http.post("/v1/receipts", envelope.as_bytes()) {
            Ok(reply) if matches!(reply.status, 200 | 201) => answered.push(*number),
            _ => break,
        }
    }
    answered
}

/// The server is killed again and again while receipts are appended and others erased. After each start everything whose
/// erasure was answered is gone from every file; at the end all that was ordered is, nothing else is, and the log is in order.
///
/// `COUNTERFOIL_ERASE_ROUNDS` and `COUNTERFOIL_ERASE_SEED` prolong or repeat it.
#[test]
fn an_erasure_once_begun_is_finished() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, mut dice) =
        (number("COUNTERFOIL_ERASE_ROUNDS", ROUNDS), number("COUNTERFOIL_ERASE_SEED", 1));
    let mut throw = |sides: u64| {
        // A linear congruential step (Knuth, MMIX).
        dice = dice.wrapping_mul(6_364_136_223_846_793_005_u64).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let (mut log, mut bank, mut issued) = begun("log.example/kill", 40);
    let mut orders: Vec<(u64, String)> = Vec::new();
    let (mut answered, mut unfinished) = (BTreeSet::new(), 0);
    for round in 0..rounds {
        let mut new = Vec::new();
        while new.len() < ORDERED {
            let it = &issued[usize::try_from(throw(issued.len() as u64)).unwrap()];
            if orders.iter().chain(&new).all(|(number, _)| *number != it.number) {
                let entry = bundle(&log, it)["entry"].as_str().unwrap().to_owned();
                let leaf = Hash::leaf(Entry::parse(entry.as_bytes()).unwrap().to_bytes().as_slice());
                let erasure = Predicate::Erasure(Erasure { basis: Basis::RightsRequest });
                let order = record(&log.origin, &bank.key, Subject::Record(leaf), erasure);
                new.push((it.number, order.to_json()));
            }
        }
        orders.extend(new.clone());
        let mut http = log.http();
        let ordering = thread::spawn(move || order(&mut http, &new));
        thread::sleep(Duration::from_millis(throw(40)));
        log.kill();
        let told = ordering.join().unwrap();
        unfinished += usize::from(left(&all_of(&log)).iter().any(|number| told.contains(number)));
        answered.extend(told);
        log.up();
        until_gone(&log, &answered);
        let count = if round % 4 == 3 { 5 * APPENDED } else { APPENDED };
        issued.extend(bank.append(&log, count));
    }
    // Whoever was not answered asks again.
    let told = order(&mut log.http(), &orders);
    assert_eq!(told.len(), orders.len());
    let ordered: BTreeSet<_> = orders.iter().map(|(number, _)| *number).collect();
    until_gone(&log, &ordered);
    let stays: BTreeSet<_> =
        issued.iter().map(|it| it.number).filter(|number| !ordered.contains(number)).collect();
    assert_eq!(left(&all_of(&log)), stays, "nothing else is lost");
    look(&log, "watching", &[]).exits(0);
    log.down();
    let checked = log.server_run(&["fsck", "--admission"]).exits(0);
    assert!(checked.out.contains(", 0 still to be carried out"), "{}", checked.out);
    println!(
        "{rounds} kills, {} erasures of {} receipts, {unfinished} kills left an answered one unfinished; 0 left",
        ordered.len(),
        issued.len()
    );
}

fn until_gone(log: &Deployment, numbers: &BTreeSet<u64>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left: Vec<_> = left(&all_of(log)).intersection(numbers).copied().collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}\n{}", log.server_log());
        thread::sleep(Duration::from_millis(10));
    }
}

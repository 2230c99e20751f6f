//! `kill -9` under load: whatever was acknowledged stays, and no two checkpoints contradict one another.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{
    Deployment, Http, Issuing,
    audit::{Ack, Seen, check_answer, check_kept, checkpoint},
};

use crate::PROGRAMS;

/// How many writers send at once.
const WRITERS: u64 = 8;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 50;

/// The server is killed again and again while eight writers append; after each restart every receipt that was ever
/// acknowledged is at its index with a valid proof, and all tree heads that were ever seen are consistent.
///
/// `COUNTERFOIL_CRASH_ROUNDS` and `COUNTERFOIL_CRASH_SEED` repeat or prolong it.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let rounds = number("COUNTERFOIL_CRASH_ROUNDS", ROUNDS);
    let mut dice = number("COUNTERFOIL_CRASH_SEED", 1);
    let mut log = Deployment::init(PROGRAMS, "log.example/crash", &["--open"]);
    let key: VerifierKey = log.log_key.parse().unwrap();
    let ledger: Arc<Mutex<Vec<Ack>>> = Arc::default();
    let mut seen = Seen::default();
    let issued = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        log.up();
        let mut http = log.http();
        seen.add(checkpoint(&mut http, &key).head());
        // The newest acknowledgements matter most; all are checked at the end.
        let acks = ledger.lock().unwrap();
        for ack in acks.iter().rev().take(500) {
            check_kept(&mut http, ack, &key);
            seen.add(ack.head);
        }
        drop(acks);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (ledger, stop, key) = (Arc::clone(&ledger), Arc::clone(&stop), key.clone());
                let (origin, address) = (log.origin.clone(), log.address());
                let seed = issued.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || append_until_killed(&origin, address, seed, &key, &ledger, &stop))
            })
            .collect();
        // A linear congruential step (Knuth, MMIX): 5 to 300 ms until the kill.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(5 + (dice >> 33) % 296));
        log.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let acknowledged = ledger.lock().unwrap().len();
        eprintln!("round {round}: {acknowledged} acknowledged so far");
    }
    log.up();
    let (mut http, acks) = (log.http(), ledger.lock().unwrap());
    assert!(acks.len() as u64 > rounds, "the load was real");
    for ack in acks.iter() {
        check_kept(&mut http, ack, &key);
        seen.add(ack.head);
    }
    seen.add(checkpoint(&mut http, &key).head());
    seen.check_consistent(&mut http);
    log.down();
    log.server_run(&["fsck"]).exits(0);
    println!("{rounds} rounds, {} acknowledged, {} tree heads, 0 lost, 0 forks", acks.len(), seen.len());
}

/// Sends receipts until the server is gone.
fn append_until_killed(
    origin: &str,
    address: std::net::SocketAddr,
    seed: u64,
    key: &VerifierKey,
    ledger: &Mutex<Vec<Ack>>,
    stop: &AtomicBool,
) {
    let mut issuing = Issuing::new(origin, seed);
    let Ok(mut http) = Http::connect(address) else { return };
    while !stop.load(Ordering::Relaxed) {
        let (id, envelope) = issuing.issue();
        let Ok(reply) = http.post("/v1/receipts", envelope.as_bytes()) else { return };
        if reply.status == 201 {
            let ack = check_answer(&reply.json(), id, key);
            ledger.lock().unwrap().push(ack);
        }
    }
}

//! `kill -9` of a log with witnesses: nothing that was acknowledged or shown is rolled back.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_receipt::Id;
use counterfoil_tests::{
    Http, Issuing, Manner,
    audit::{Ack, Seen, check_answer, check_kept},
};

use super::{ASYNC, QUICK, World};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 12;

/// A receipt that was acknowledged: with its proof, or with its place alone.
enum Acknowledged {
    Published(Ack),
    Committed { id: Id, index: u64, entry: String },
}

/// The log is killed again and again under load while witnesses come and go. After each start no published head is smaller
/// than one that was seen, every receipt that was acknowledged, with a proof or without, is at its index, and all that any
/// witness ever cosigned is one history.
///
/// `COUNTERFOIL_CRASH_ROUNDS` and `COUNTERFOIL_CRASH_SEED` repeat or prolong it.
#[test]
fn nothing_is_rolled_back_by_kill_9() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, mut dice) =
        (number("COUNTERFOIL_CRASH_ROUNDS", ROUNDS), number("COUNTERFOIL_CRASH_SEED", 1));
    let mut world = World::new("log.example/killed", 2, &QUICK.replace("period_ms = 200", "period_ms = 50"));
    let ledger: Arc<Mutex<Vec<Acknowledged>>> = Arc::default();
    let (mut seen, mut largest) = (Seen::default(), 0);
    for round in 0..rounds {
        world.log.up();
        let mut http = world.log.http();
        let size = world.size(&mut http);
        assert!(size >= largest, "round {round}: {size} is shown, after {largest}");
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..6_u64)
            .map(|n| {
                let (ledger, stop, key) = (Arc::clone(&ledger), Arc::clone(&stop), world.key.clone());
                let (origin, address) = (world.log.origin.clone(), world.log.address());
                let issuing = Issuing::new(&origin, round * 100 + n);
                let headers = if n % 2 == 0 { ASYNC } else { "" };
                thread::spawn(move || append_until_killed(issuing, address, headers, &key, &ledger, &stop))
            })
            .collect();
        // A linear congruential step (Knuth, MMIX): 50 to 700 ms until the kill, and who is away meanwhile.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let away = usize::try_from((dice >> 20) % 5).unwrap();
        for (n, witness) in world.witnesses.iter().enumerate() {
            witness.behave(if n == away || away == 4 { Manner::Dead } else { Manner::Honest });
        }
        thread::sleep(Duration::from_millis(50 + (dice >> 33) % 651));
        // What readers saw last, right before the end, is what must not go back.
        largest = largest.max(world.size(&mut http));
        world.log.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Honest));
    world.log.up();
    let (mut http, ledger) = (world.log.http(), ledger.lock().unwrap());
    let last = ledger.iter().map(|acknowledged| match acknowledged {
        Acknowledged::Published(ack) => ack.index,
        Acknowledged::Committed { index, .. } => *index,
    });
    world.await_size(&mut http, last.max().unwrap() + 1);
    let mut unproven = 0;
    for acknowledged in ledger.iter() {
        match acknowledged {
            Acknowledged::Published(ack) => {
                check_kept(&mut http, ack, &world.key);
                seen.add(ack.head);
            }
            Acknowledged::Committed { id, index, entry } => {
                let bundle = http.get(&format!("/v1/receipts/{id}")).unwrap().json();
                assert_eq!(bundle["entry"].as_str(), Some(&**entry), "entry {index}");
                unproven += 1;
            }
        }
    }
    assert!(ledger.len() as u64 > rounds && unproven > 0, "the load was real");
    for witness in &world.witnesses {
        witness.seen().check_consistent(&mut http);
    }
    seen.check_consistent(&mut http);
    world.log.down();
    world.log.server_run(&["fsck"]).exits(0);
    println!("{rounds} rounds, {} acknowledged, {unproven} of them before they were published", ledger.len());
}

/// Sends receipts until the server is gone.
fn append_until_killed(
    mut issuing: Issuing,
    address: std::net::SocketAddr,
    headers: &str,
    key: &VerifierKey,
    ledger: &Mutex<Vec<Acknowledged>>,
    stop: &AtomicBool,
) {
    let Ok(mut http) = Http::connect(address) else { return };
    while !stop.load(Ordering::Relaxed) {
        let (id, envelope) = issuing.issue();
        let Ok(reply) = http.post_with("/v1/receipts", headers, envelope.as_bytes()) else { return };
        let answer = reply.json();
        let acknowledged = match reply.status {
            201 => Acknowledged::Published(check_answer(&answer, id, key)),
            202 => Acknowledged::Committed {
                id,
                index: answer["index"].as_u64().unwrap(),
                entry: answer["entry"].as_str().unwrap().to_owned(),
            },
            _ => return,
        };
        ledger.lock().unwrap().push(acknowledged);
    }
}

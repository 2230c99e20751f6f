//! `kill -9` of a log with witnesses: nothing that was acknowledged or shown is rolled back.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use counterfoil_tests::{
    Issuing, Manner,
    audit::Seen,
    ledger::{Acknowledged, append_until_killed},
};

use super::{ASYNC, QUICK, World};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 12;

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
                let how = (address, headers, Duration::ZERO);
                thread::spawn(move || append_until_killed(issuing, how, &key, &ledger, &stop))
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
    let last = ledger.iter().map(Acknowledged::index).max().unwrap();
    world.await_size(&mut http, last + 1);
    ledger.iter().for_each(|acknowledged| acknowledged.check(&mut http, &world.key, &mut seen));
    let unproven = ledger.iter().filter(|acknowledged| acknowledged.is_unproven()).count();
    assert!(ledger.len() as u64 > rounds && unproven > 0, "the load was real");
    for witness in &world.witnesses {
        witness.seen().check_consistent(&mut http);
    }
    seen.check_consistent(&mut http);
    world.log.down();
    world.log.server_run(&["fsck"]).exits(0);
    println!("{rounds} rounds, {} acknowledged, {unproven} of them before they were published", ledger.len());
}

//! `kill -9` under load, with everything that a log lives with: three witnesses, of which it needs two, and a monitor, each
//! a process of its own, and each killed too.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::{checkpoint::SignedCheckpoint, key::VerifierKey, witness::checkpoint_path};
use counterfoil_tests::{
    Deployment, Http, Issuing, ServedWitness, Watcher,
    audit::Seen,
    ledger::{Acknowledged, append_until_killed},
    until,
};

use crate::{PROGRAMS, campaign::number, dice::Dice};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 6;

/// How many writers send at once; every other one does not wait for witnesses.
const WRITERS: u64 = 4;

/// Publishes often, and does not wait long for anybody.
const QUICK: &str = "period_ms = 100\ntimeout_ms = 1000\nappend_wait_s = 5\nclock_record_period_s = 60";

/// A log, its witnesses and its monitor.
struct World {
    log: Deployment,
    key: VerifierKey,
    witnesses: Vec<(ServedWitness, u64)>,
    monitor: Watcher,
    seen: Seen,
    /// The largest size that was shown.
    largest: u64,
}

impl World {
    fn start() -> Self {
        let mut log = Deployment::init(PROGRAMS, "log.example/kills", &["--open"]);
        let key: VerifierKey = log.log_key.parse().unwrap();
        let witnesses: Vec<_> = (1..=3)
            .map(|n| {
                ServedWitness::start(PROGRAMS, &format!("witness.example/w{n}"), std::slice::from_ref(&key))
            })
            .collect();
        let lines: String = witnesses.iter().map(ServedWitness::policy_line).collect();
        let names: Vec<_> = witnesses.iter().map(|witness| witness.key().name().to_string()).collect();
        log.witnessed_by(&format!("{lines}group all 2 {}\nquorum all\n", names.join(" ")), QUICK);
        log.up();
        log.keep_address();
        let (url, policy) = (log.url(), log.policy().display().to_string());
        until(|| log.http().get("/checkpoint").unwrap().status == 200, "the first cosigned checkpoint");
        let add = ["log", "add", "l", &url, &log.log_key, "--clock", &log.clock_key, "--policy", &policy];
        log.client(&add).exits(0);
        log.kill();
        let monitor = Watcher::new(PROGRAMS, log.home());
        let witnesses = witnesses.into_iter().map(|witness| (witness, 0)).collect();
        Self { log, key, witnesses, monitor, seen: Seen::default(), largest: 0 }
    }

    /// Takes in what is shown: it never goes back.
    fn look(&mut self, http: &mut Http) {
        let reply = http.fetch("/checkpoint").unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let head = reply.text().parse::<SignedCheckpoint>().unwrap().verify(&self.key).unwrap().head();
        assert!(head.size.get() >= self.largest, "{} is shown, after {}", head.size, self.largest);
        self.largest = head.size.get();
        self.seen.add(head);
    }

    /// Takes in what each witness shows: it never goes back either.
    fn look_at_witnesses(&mut self) {
        let path = format!("/{}", checkpoint_path(&self.log.origin));
        for (witness, largest) in &mut self.witnesses {
            let reply = witness.http().get(&path).unwrap();
            if reply.status == 404 && *largest == 0 {
                continue;
            }
            assert_eq!(reply.status, 200, "{}", reply.text());
            let shown = reply.text().parse::<SignedCheckpoint>().unwrap().verify(&self.key).unwrap();
            shown.cosignature(witness.key()).unwrap();
            let size = shown.head().size.get();
            assert!(size >= *largest, "{} shows {size}, after {largest}", witness.key().name());
            *largest = size;
            self.seen.add(shown.head());
        }
    }

    /// Load, and kills: of a witness and the monitor now and then, of the log at the end.
    fn kill_under_load(&mut self, round: u64, dice: &mut Dice, ledger: &Arc<Mutex<Vec<Acknowledged>>>) {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let (ledger, stop, key) = (Arc::clone(ledger), Arc::clone(&stop), self.key.clone());
                let issuing = Issuing::new(&self.log.origin, round * WRITERS + n);
                let (address, headers) =
                    (self.log.address(), if n % 2 == 0 { "Prefer: respond-async\r\n" } else { "" });
                let how = (address, headers, Duration::from_millis(4));
                thread::spawn(move || append_until_killed(issuing, how, &key, &ledger, &stop))
            })
            .collect();
        thread::sleep(Duration::from_millis(10 + dice.below(150) as u64));
        if dice.one_in(4) {
            let witness = dice.below(3);
            self.witnesses[witness].0.kill();
            thread::sleep(Duration::from_millis(dice.below(150) as u64));
            self.witnesses[witness].0.up();
        }
        if dice.one_in(4) {
            self.monitor.kill();
        }
        thread::sleep(Duration::from_millis(dice.below(150) as u64));
        // What readers saw last, right before the end, is what must not go back.
        self.look(&mut self.log.http());
        self.log.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}

/// After each kill every acknowledged receipt is at its index, no published head is smaller than one that was seen before,
/// and no witness has gone back; in the end all heads that anybody ever saw are one history, and the monitor, which was
/// killed too, has read all of it and found nothing.
///
/// `COUNTERFOIL_CRASH_ROUNDS` and `COUNTERFOIL_CRASH_SEED` prolong or repeat it; `COUNTERFOIL_CRASH_S` ends it after so many
/// seconds all the same.
#[test]
fn nothing_is_lost_by_kill_9() {
    let (rounds, seed) = (number("COUNTERFOIL_CRASH_ROUNDS", ROUNDS), number("COUNTERFOIL_CRASH_SEED", 1));
    let (started, most) = (Instant::now(), Duration::from_secs(number("COUNTERFOIL_CRASH_S", 24 * 3600)));
    let (mut world, ledger) = (World::start(), Arc::<Mutex<Vec<Acknowledged>>>::default());
    let mut done = 0;
    while done < rounds && started.elapsed() < most {
        let mut dice = Dice::new(seed, done);
        world.log.up();
        world.monitor.up();
        let mut http = world.log.http();
        world.look(&mut http);
        // The newest matter most, some older ones besides; all are checked at the end.
        let acks = ledger.lock().unwrap();
        let last = acks.iter().rev().take(80).map(Acknowledged::index).max();
        if let Some(last) = last {
            until(
                || {
                    world.look(&mut http);
                    world.largest > last
                },
                "what was acknowledged is published",
            );
        }
        for ack in acks.iter().rev().take(80) {
            ack.check(&mut http, &world.key, &mut world.seen);
        }
        for _ in 0..acks.len().min(20) {
            dice.pick(&acks).check(&mut http, &world.key, &mut world.seen);
        }
        drop((acks, http));
        world.look_at_witnesses();
        world.kill_under_load(done, &mut dice, &ledger);
        done += 1;
        if done.is_multiple_of(50) {
            let acknowledged = ledger.lock().unwrap().len();
            eprintln!("{done} rounds in {} s, {acknowledged} acknowledged", started.elapsed().as_secs());
        }
    }
    end(world, &ledger.lock().unwrap(), done);
}

/// Checks all that was ever acknowledged or shown.
fn end(mut world: World, ledger: &[Acknowledged], rounds: u64) {
    world.log.up();
    let mut http = world.log.http();
    let last = ledger.iter().map(Acknowledged::index).max().unwrap();
    let all_is_published = || {
        world.look(&mut http);
        world.largest > last
    };
    until(all_is_published, "what was acknowledged is published");
    ledger.iter().for_each(|ack| ack.check(&mut http, &world.key, &mut world.seen));
    let unproven = ledger.iter().filter(|ack| ack.is_unproven()).count();
    assert!(ledger.len() as u64 > rounds && unproven > 0, "the load was real");
    world.look_at_witnesses();
    world.seen.check_consistent(&mut http);
    world.monitor.kill();
    let said = world.monitor.once().exits(0);
    assert!(said.out.contains("OK "), "{}", said.out);
    let before = world.monitor.said();
    assert!(!before.contains("FORK") && !before.contains("INVALID"), "{before}");
    let evidence = fs::read_dir(world.monitor.state().join("evidence")).map_or(0, Iterator::count);
    assert_eq!(evidence, 0, "nothing is proven against an honest log");
    world.log.down();
    world.log.server_run(&["fsck"]).exits(0);
    println!(
        "kills: {rounds} rounds, {} acknowledged, {unproven} of them before they were published, {} tree heads: nothing \
         lost, no fork",
        ledger.len(),
        world.seen.len()
    );
}

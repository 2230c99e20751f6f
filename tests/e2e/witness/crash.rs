//! `kill -9` while checkpoints are added: what a witness has answered it never takes back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use counterfoil_merkle::{TreeHead, key::VerifierKey};
use counterfoil_tests::{Http, ServedWitness, SignedTree};

use super::{PROGRAMS, cosigned, shown, submit};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 8;

/// Logs that are witnessed at once.
const LOGS: usize = 3;

/// Submitters of each log. They race from the same size to different ones: the next even size, and the next odd one, so
/// that no two of their checkpoints convict the log.
const RACERS: u64 = 2;

/// What a log has heard from the witness.
struct Ledger {
    /// The tree that was cosigned last, as far as was answered.
    tree: SignedTree,
    /// The time in that cosignature.
    time_s: u64,
}

impl Ledger {
    /// What a racer submits next. Always the same from the same tree, so that it is known again after a crash.
    fn next(&self, racer: u64) -> SignedTree {
        let size = self.tree.size() + 1;
        self.tree.grown(racer, if size % RACERS == racer { size } else { size + 1 })
    }

    /// Takes over what a restarted witness shows: what was answered, or one step more that nobody heard of.
    fn resume(&mut self, head: TreeHead, time_s: u64) {
        assert!(time_s >= self.time_s, "time went back from {} to {time_s}", self.time_s);
        if head != self.tree.head() {
            let next = (0..RACERS).map(|racer| self.next(racer)).find(|tree| tree.head() == head);
            self.tree = next.unwrap_or_else(|| {
                panic!("{:?} was answered, and after the kill the witness is at {head:?}", self.tree.head())
            });
        }
        self.time_s = time_s;
    }
}

/// The witness is killed again and again while three logs submit, two racing requests each; after each restart it is where
/// it said it was, or one submitted step further, and no request from an older size is cosigned.
///
/// `COUNTERFOIL_WITNESS_ROUNDS` and `COUNTERFOIL_WITNESS_SEED` prolong or repeat it.
#[test]
fn what_was_cosigned_survives_kill_9() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let rounds = number("COUNTERFOIL_WITNESS_ROUNDS", ROUNDS);
    let mut dice = number("COUNTERFOIL_WITNESS_SEED", 1);
    let trees: Vec<_> = (0..LOGS).map(|n| SignedTree::new(&format!("log.example/killed/{n}"))).collect();
    let keys: Vec<VerifierKey> = trees.iter().map(SignedTree::key).collect();
    let mut witness = ServedWitness::init(PROGRAMS, "witness.example/killed", &keys);
    let ledgers: Vec<_> =
        trees.into_iter().map(|tree| Arc::new(Mutex::new(Ledger { tree, time_s: 0 }))).collect();
    let answered = Arc::new(AtomicU64::new(0));
    let mut unheard = 0;
    for round in 0..rounds {
        witness.up();
        for ledger in &ledgers {
            unheard += check(&witness, &mut ledger.lock().unwrap());
        }
        let killed = Arc::new(AtomicBool::new(false));
        let racers: Vec<_> = ledgers
            .iter()
            .flat_map(|ledger| (0..RACERS).map(move |racer| (Arc::clone(ledger), racer)))
            .map(|(ledger, racer)| {
                let (address, key) = (witness.address(), witness.key().clone());
                let (killed, answered) = (Arc::clone(&killed), Arc::clone(&answered));
                thread::spawn(move || race(address, racer, &key, &ledger, &killed, &answered))
            })
            .collect();
        // A linear congruential step (Knuth, MMIX): 5 to 150 ms until the kill.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(5 + (dice >> 33) % 146));
        witness.kill();
        killed.store(true, Ordering::Relaxed);
        racers.into_iter().for_each(|racer| racer.join().unwrap());
        eprintln!("round {round}: {} answered so far", answered.load(Ordering::Relaxed));
    }
    witness.up();
    for ledger in &ledgers {
        unheard += check(&witness, &mut ledger.lock().unwrap());
    }
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > rounds, "the load was real: {answered}");
    println!(
        "{rounds} kills, {answered} cosignatures answered, {unheard} stored but not heard of, 0 taken back"
    );
}

/// Checks one log after a restart; 1 if the witness is a step further than was answered.
fn check(witness: &ServedWitness, ledger: &mut Ledger) -> u64 {
    let mut http = witness.http();
    let origin = ledger.tree.key().name().to_string();
    let answered = ledger.tree.head();
    let Some(checkpoint) = shown(&mut http, &origin) else {
        assert_eq!(ledger.tree.size(), 0, "what was answered is gone");
        return 0;
    };
    let verified = checkpoint.verify(&ledger.tree.key()).unwrap();
    ledger.resume(verified.head(), verified.cosignature(witness.key()).unwrap().time_s);
    if ledger.tree.size() > 1 {
        // Another history, from the size before.
        let mut older = SignedTree::new(&origin);
        older.grow(99, ledger.tree.size() - 1);
        let refused = submit(&mut http, &older.grown(99, ledger.tree.size() + 50), ledger.tree.size() - 1);
        assert_eq!((refused.status, refused.text()), (409, format!("{}\n", ledger.tree.size()).as_str()));
    }
    u64::from(ledger.tree.head() != answered)
}

/// Submits the next tree, and the next, until the witness is gone.
fn race(
    address: SocketAddr,
    racer: u64,
    witness: &VerifierKey,
    ledger: &Mutex<Ledger>,
    killed: &AtomicBool,
    answered: &AtomicU64,
) {
    let Ok(mut http) = Http::connect(address) else { return };
    while !killed.load(Ordering::Relaxed) {
        let (old, next) = {
            let ledger = ledger.lock().unwrap();
            (ledger.tree.size(), ledger.next(racer))
        };
        let Ok(reply) = http.post("/add-checkpoint", next.request(old).to_string().as_bytes()) else {
            return;
        };
        if reply.status == 409 {
            // The other one was first; his answer is on its way.
            thread::yield_now();
            continue;
        }
        let mut checkpoint = next.checkpoint();
        cosigned(&reply).into_iter().for_each(|line| checkpoint.push(line));
        let time_s = checkpoint.cosignature(witness).unwrap().time_s;
        let mut ledger = ledger.lock().unwrap();
        assert_eq!(ledger.tree.size(), old, "two were cosigned from one size");
        *ledger = Ledger { tree: next, time_s };
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

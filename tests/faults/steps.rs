//! Any step of storage fails: the log loses nothing, and finds itself again.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use counterfoil_merkle::LeafIndex;
use counterfoil_server::steps::{Step, Steps, Watch};

use crate::{
    campaign::rounds,
    dice::Dice,
    life::{Answer, Ledger, Life, audit, until},
    receipts::receipt,
    template::{FIRST, PACE, SIZE, directory, read, template, write},
};

/// Rounds, unless the environment says otherwise. So many cover only a part of all cases.
const ROUNDS: u64 = 60;

/// The same, with erasures, which take longer.
const ERASING_ROUNDS: u64 = 20;

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It is not done.
    Lost,
    /// It is done, and reported failed.
    Persisted,
}

/// A step that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    step: usize,
    failure: Failure,
    /// Whether all steps after it fail too, as when the process is killed or the disk is gone.
    deadly: bool,
}

/// Counts steps, and lets some of them fail.
#[derive(Default)]
struct Faulty {
    faults: Vec<Fault>,
    taken: AtomicUsize,
    dead: AtomicBool,
}

thread_local! {
    /// The step that this thread is taking.
    static STEP: Cell<usize> = const { Cell::new(0) };
}

impl Faulty {
    fn count(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn fail(&self, step: usize, failure: Failure) -> io::Result<()> {
        let Some(fault) = self.faults.iter().find(|fault| fault.step == step && fault.failure == failure)
        else {
            return Ok(());
        };
        self.dead.fetch_or(fault.deadly, Ordering::SeqCst);
        Err(io::Error::other("injected"))
    }
}

impl Watch for Faulty {
    fn begin(&self, _: Step<'_>) -> io::Result<()> {
        let step = self.taken.fetch_add(1, Ordering::SeqCst);
        STEP.set(step);
        if self.is_dead() {
            return Err(io::Error::other("the disk is gone"));
        }
        self.fail(step, Failure::Lost)
    }

    fn end(&self, _: Step<'_>) -> io::Result<()> {
        self.fail(STEP.get(), Failure::Persisted)
    }
}

/// Whatever step fails, lost or persisted although reported failed, once, twice, or with all after it: every receipt is
/// acknowledged in the end, stands where it was acknowledged first, and is there once.
#[test]
fn acknowledged_receipts_survive_failing_steps() {
    campaign("failing steps", ROUNDS, &receipts);
}

/// The same with orders to erase statements among the receipts, one in a bundle and one in a commit that is still kept: whatever step
/// of carrying them out fails, nothing of them is in any file in the end, and all else is as it was.
#[test]
fn erased_statements_are_gone_whatever_steps_fail() {
    campaign("failing steps of erasures", ERASING_ROUNDS, &|| {
        let mut work = receipts();
        let last = LeafIndex::new(SIZE).unwrap();
        work.insert(3, Work::Erasure(last));
        work.insert(6, Work::Erasure(LeafIndex::new(5).unwrap()));
        work
    });
}

/// A dozen receipts one by one, then four at once, with two that the log has already; the first ones last.
fn receipts() -> Vec<Work> {
    let first = FIRST;
    let mut work: Vec<_> = (first..first + 12).map(|number| Work::Receipts(vec![number])).collect();
    work.push(Work::Receipts((first + 12..first + 16).chain([3, first]).collect()));
    work.reverse();
    work
}

fn campaign(name: &str, short: u64, work: &dyn Fn() -> Vec<Work>) {
    let steps = run(work(), &[], true, true);
    println!("{steps} steps without a fault");
    // Every case comes once in as many rounds; a second fault is chosen by the dice.
    let cases = 8 * steps;
    rounds(name, short, |round, mut dice| {
        let case = usize::try_from(round * 7919 % cases as u64).unwrap();
        let fault = Fault {
            step: case / 8,
            failure: if case % 2 == 0 { Failure::Lost } else { Failure::Persisted },
            deadly: case / 2 % 2 == 1,
        };
        let mut faults = vec![fault];
        if case / 4 % 2 == 1 {
            faults.push(second(fault, &mut dice));
        }
        let _told = Told(&faults);
        run(work(), &faults, false, dice.one_in(8));
    });
}

/// Says which faults there were, if the round fails.
struct Told<'a>(&'a [Fault]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.0);
        }
    }
}

/// A fault while the log finds itself again after the first.
fn second(first: Fault, dice: &mut Dice) -> Fault {
    Fault {
        step: first.step + 1 + dice.below(40),
        failure: *dice.pick(&[Failure::Lost, Failure::Persisted]),
        deadly: dice.one_in(2),
    }
}

/// Runs a log through faults, and checks it. Returns how many steps were taken before the last start.
fn run(mut batches: Vec<Work>, faults: &[Fault], sound: bool, whole: bool) -> usize {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let config = made.config(home.path());
    let mut ledger = made.ledger.clone();
    let targets: Vec<_> = batches.iter().filter_map(Work::erases).collect();
    let watch = Arc::new(Faulty { faults: faults.to_vec(), ..Faulty::default() });
    let mut passed = true;
    match Life::start(&config, &Steps::watched(watch.clone()), PACE) {
        Ok(life) => {
            passed = drive(&life, &mut batches, &mut ledger, &watch);
            let in_order = life.stop(&mut ledger);
            assert!(in_order || !sound);
        }
        // A start that fails is tried again by whoever starts the server.
        Err(error) => assert!(!sound, "{error:?}"),
    }
    let deadly = faults.iter().any(|fault| fault.deadly);
    assert!(passed || deadly, "the faults passed, and the log did not find itself again: {faults:?}");
    let steps = watch.count();

    let life = Life::start(&config, &Steps::default(), PACE).unwrap();
    let sound = Faulty::default();
    batches.insert(0, Work::Receipts(vec![FIRST + 16]));
    assert!(drive(&life, &mut batches, &mut ledger, &sound), "{:?}", life.log().status());
    let carried_out = || targets.iter().all(|target| !life.log().tiles.is_erasing(*target));
    until(carried_out, "orders are carried out");
    assert!(life.stop(&mut ledger));
    let due = SIZE + 17 + targets.len() as u64;
    assert_eq!(audit(&config, &ledger, whole).get(), due, "every record is there once");
    for (path, bytes) in read(home.path()) {
        for target in &targets {
            let gone = receipt(usize::try_from(target.get()).unwrap()).statement;
            let is_there = bytes.windows(gone.len()).any(|part| part == gone);
            assert!(!is_there, "{} has the statement of entry {target}", path.display());
        }
    }
    steps
}

/// What is sent to a log at once.
enum Work {
    /// Receipts, by their numbers.
    Receipts(Vec<usize>),
    /// The order to erase the statement of an entry.
    Erasure(LeafIndex),
}

impl Work {
    fn erases(&self) -> Option<LeafIndex> {
        if let Self::Erasure(target) = self { Some(*target) } else { None }
    }
}

/// Sends work, the last first, each again until it is acknowledged. Returns whether all was.
fn drive(life: &Life, batches: &mut Vec<Work>, ledger: &mut Ledger, watch: &Faulty) -> bool {
    while let Some(work) = batches.last_mut() {
        if !life.wait(|| watch.is_dead()) {
            return false;
        }
        life.look(ledger);
        let batch = match work {
            Work::Receipts(batch) => batch,
            Work::Erasure(target) => {
                let sent = life.submit_erasure(*target);
                if let Some((id, answer)) = sent
                    && life.answer(id, answer, ledger) != Answer::Unknown
                {
                    ledger.erase(*target);
                    batches.pop();
                }
                continue;
            }
        };
        let Some(answers) = life.submit(batch.iter().copied()) else { continue };
        let mut unknown = Vec::new();
        for (number, (id, answer)) in batch.iter().zip(answers) {
            if life.answer(id, answer, ledger) == Answer::Unknown {
                unknown.push(*number);
            }
        }
        *batch = unknown;
        if batch.is_empty() {
            batches.pop();
        }
    }
    true
}

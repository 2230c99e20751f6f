//! Any step of storage fails: the log loses nothing, and finds itself again.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use counterfoil_server::steps::{Step, Steps, Watch};

use crate::{
    campaign::rounds,
    dice::Dice,
    life::{Answer, Ledger, Life, audit},
    template::{FIRST, PACE, SIZE, directory, template, write},
};

/// Rounds, unless the environment says otherwise. So many cover only a part of all cases.
const ROUNDS: u64 = 60;

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
    let steps = run(&[], true, true);
    println!("{steps} steps without a fault");
    // Every case comes once in as many rounds; a second fault is chosen by the dice.
    let cases = 8 * steps;
    rounds("failing steps", ROUNDS, |round, mut dice| {
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
        run(&faults, false, dice.one_in(8));
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
fn run(faults: &[Fault], sound: bool, whole: bool) -> usize {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let config = made.config(home.path());
    let mut ledger = made.ledger.clone();
    let first = FIRST;
    let mut batches: Vec<Vec<usize>> = (first..first + 12).map(|number| vec![number]).collect();
    // Four at once, and two that the log has already.
    batches.push((first + 12..first + 16).chain([3, first]).collect());
    batches.reverse();

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
    batches.insert(0, vec![first + 16]);
    assert!(drive(&life, &mut batches, &mut ledger, &sound), "{:?}", life.log().status());
    assert!(life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, whole).get(), SIZE + 17, "every receipt is there once");
    steps
}

/// Sends batches, the last one first, each again until it is acknowledged. Returns whether all were.
fn drive(life: &Life, batches: &mut Vec<Vec<usize>>, ledger: &mut Ledger, watch: &Faulty) -> bool {
    while let Some(batch) = batches.last_mut() {
        if !life.wait(|| watch.is_dead()) {
            return false;
        }
        life.look(ledger);
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

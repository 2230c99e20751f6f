//! The power goes, or the process dies, at any operation of a log's life, and again in the lives after it.

use std::time::Duration;

use counterfoil_server::{pace::Pace, steps::Steps};

use crate::{
    campaign::rounds,
    dice::Dice,
    disk::{Cut, Disk, Op},
    life::{Ledger, Life, audit},
    recorder::Recorder,
    template::{FIRST, PACE, directory, read, template},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 40;

/// What is known of a log between two lives.
struct Between {
    disk: Disk,
    ledger: Ledger,
    /// The next receipt that nobody has sent yet.
    next: usize,
    /// Receipts that were sent and not acknowledged.
    unknown: Vec<usize>,
}

/// Wherever a life ends, by a kill or by a cut that drops or tears whatever was not synced, the next one finds all that
/// was acknowledged, every head that was signed, and goes on.
#[test]
fn what_was_acknowledged_survives_power_cuts() {
    rounds("power cuts", ROUNDS, |_, mut dice| {
        let mut log = Between::new();
        for _ in 0..=dice.below(3) {
            let (pace, batches) = (pace(&mut dice), 2 + dice.below(14));
            let life = live(log, &mut dice, pace, batches);
            let end = position(&life.ops, &mut dice);
            let cut = if dice.one_in(3) { None } else { Some(Cut::any(&mut dice)) };
            log = life.end(end, cut, &mut dice);
        }
        survives(log, dice.one_in(8));
    });
}

/// Found is not durable: what a killed life left behind unsynced, the next one relies on, and deletes commits for it.
/// Then the power goes and takes all that was not synced.
#[test]
fn what_a_killed_life_left_is_synced_before_it_counts() {
    // With partial bundles and without: what is put beside an object syncs its name too.
    let paces = [2, 1000].map(|retained_max| Pace { retained_max, ..PACE });
    let count = |pace| {
        let mut dice = Dice::new(0, 0);
        named(&live(Between::new(), &mut dice, pace, 8).ops, |tile| tile).len()
    };
    // A little more than there were, for no two lives are alike.
    let counts = paces.map(|pace| count(pace) + 2);
    rounds("killed, then cut", counts.iter().sum::<usize>() as u64, |round, mut dice| {
        let round = usize::try_from(round).unwrap() % (counts[0] + counts[1]);
        let (pace, at) = if round < counts[0] { (paces[0], round) } else { (paces[1], round - counts[0]) };
        let life = live(Between::new(), &mut dice, pace, 8);
        let positions = named(&life.ops, |tile| tile);
        let end = positions[at % positions.len()];
        let log = life.end(end, None, &mut dice);
        let life = live(log, &mut dice, pace, 12);
        let end = life.ops.len();
        survives(life.end(end, Some(Cut::Drop), &mut dice), false);
    });
}

impl Between {
    /// The log as it was made.
    fn new() -> Self {
        let made = template();
        let (disk, ledger) = (Disk::new(&made.files), made.ledger.clone());
        Self { disk, ledger, next: FIRST, unknown: Vec::new() }
    }
}

/// Starts the log once more, appends what nobody knows of, and checks all of it.
fn survives(mut log: Between, whole: bool) {
    let home = directory();
    log.disk.write(home.path()).unwrap();
    let config = template().config(home.path());
    let life = Life::start(&config, &Steps::default(), PACE).unwrap();
    log.unknown.push(log.next);
    life.append(log.unknown, &mut log.ledger);
    assert!(life.stop(&mut log.ledger));
    audit(&config, &log.ledger, whole);
}

/// A life that went to its end, with all that it did.
struct Lived {
    before: Disk,
    ops: Vec<Op>,
    /// What was promised once so many operations were done.
    promised: Vec<(usize, Ledger)>,
    sent: Vec<usize>,
    next: usize,
}

/// One life of so many batches.
fn live(before: Between, dice: &mut Dice, pace: Pace, batches: usize) -> Lived {
    let Between { disk, mut ledger, mut next, unknown } = before;
    let home = directory();
    disk.write(home.path()).unwrap();
    let recorder = Recorder::new(home.path(), disk.clone());
    let config = template().config(home.path());
    let life = Life::start(&config, &Steps::watched(recorder.clone()), pace).unwrap();
    let mut promised = vec![(0, ledger.clone())];
    let mut sent = unknown;
    for batch in 0..batches {
        let numbers: Vec<_> = if batch == 0 && !sent.is_empty() {
            sent.clone()
        } else {
            let count = if dice.one_in(3) { 1 + dice.below(5) } else { 1 };
            let numbers = (next..next + count).collect();
            next += count;
            numbers
        };
        sent.extend(numbers.iter().filter(|number| !sent.contains(number)).copied().collect::<Vec<_>>());
        life.append(numbers, &mut ledger);
        promised.push((recorder.count(), ledger.clone()));
    }
    assert!(life.stop(&mut ledger));
    let there = read(home.path()).into_iter().filter(|(path, _)| !path.starts_with("index"));
    assert!(there.eq(recorder.files()), "the operations written down are those of the log");

    let ops = recorder.ops();
    promised.push((ops.len(), ledger));
    Lived { before: disk, ops, promised, sent, next }
}

impl Lived {
    /// Ends it after so many operations: by a kill, or by a cut.
    fn end(self, end: usize, cut: Option<Cut>, dice: &mut Dice) -> Between {
        let mut disk = self.before;
        self.ops[..end].iter().for_each(|op| disk.apply(op));
        let ledger = self.promised.into_iter().rfind(|(count, _)| *count <= end).expect("the first").1;
        let disk = cut.map_or(disk.clone(), |cut| disk.cut(cut, dice));
        let unknown = self.sent.into_iter().filter(|number| !ledger.has(*number)).collect();
        Between { disk, ledger, next: self.next, unknown }
    }
}

/// A pace that uses commits' files again soon, or hardly ever, and moves the guard at once, or hardly ever.
fn pace(dice: &mut Dice) -> Pace {
    Pace {
        retained_max: *dice.pick(&[2, 5, 1000]),
        guard_lag: *dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(3600)]),
        ..PACE
    }
}

/// Where a life ends: anywhere; but often right after a name was given, and often that of a tile or bundle.
fn position(ops: &[Op], dice: &mut Dice) -> usize {
    let (names, tiles) = (named(ops, |_| true), named(ops, |tile| tile));
    match dice.below(4) {
        0 if !tiles.is_empty() => *dice.pick(&tiles),
        1 if !names.is_empty() => *dice.pick(&names),
        _ => dice.below(ops.len() + 1),
    }
}

/// Where names were given: of tiles and bundles, or of anything.
fn named(ops: &[Op], wanted: impl Fn(bool) -> bool) -> Vec<usize> {
    let is_wanted = |op: &Op| match op {
        Op::MakeDirectory(path) | Op::Make(path) | Op::Link(_, path) | Op::Rename(_, path) => {
            wanted(path.starts_with("data/tile") || path.starts_with("data/statement"))
        }
        _ => false,
    };
    (0..ops.len()).filter(|at| is_wanted(&ops[*at])).map(|at| at + 1).collect()
}

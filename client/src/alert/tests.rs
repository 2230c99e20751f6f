use std::collections::BTreeMap;

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::audit::{Code, Finding, Place};

use super::*;

const LOG: &str = "log.example";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn found(index: u64) -> Found {
    let place = Place::Entry(LeafIndex::new(index).unwrap());
    let finding = Finding { code: Code::EntryDiffers, place, message: "x".repeat(300) };
    Found::new(&finding, None)
}

fn open(directory: &Path, sinks: &[(&str, &[Class])], bytes_max: u64) -> Result<Alerts, OpenError> {
    let sinks: Vec<_> =
        sinks.iter().map(|(name, classes)| ((*name).to_owned(), classes.iter().copied().collect())).collect();
    let settings = Settings { queue_bytes_max: bytes_max, ..Settings::default() };
    Alerts::open(directory, &sinks, settings, Arc::default(), at(0))
}

/// What a sink was told, as often as it was.
#[derive(Default)]
struct Heard {
    alerts: Vec<Alert>,
    missed: Vec<Alert>,
}

impl Heard {
    /// Tells a sink up to `count` alerts; the last of them, if so wished, without the queue hearing of it.
    fn listen(&mut self, alerts: &Alerts, sink: &str, count: usize, crash: bool) {
        self.listen_to(alerts, sink, count, 1, crash);
    }

    fn listen_to(&mut self, alerts: &Alerts, sink: &str, count: usize, at_once: usize, crash: bool) {
        for round in 1..=count {
            let Some(due) = alerts.due(sink, at_once, at(1)).unwrap() else { return };
            match &due {
                Due::Missed(missed) => self.missed.push(missed.clone()),
                Due::Alerts(due) => self.alerts.extend(due.iter().map(|(_, alert)| alert.clone())),
            }
            if !(crash && round == count) {
                alerts.told(sink, &due, at(1)).unwrap();
            }
        }
    }

    fn places(&self) -> Vec<&str> {
        self.alerts.iter().map(|alert| alert.place.as_str()).collect()
    }
}

/// Dice that fall the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Each sink is told everything in the order in which it was found: once if nothing crashes, and else at least once.
#[test]
fn each_sink_is_told_everything_in_order() {
    for seed in 0..20 {
        let crashes = seed % 2 == 1;
        let directory = tempfile::tempdir().unwrap();
        let sinks: [(&str, &[Class]); 3] = [("a", Class::ALL), ("b", Class::ALL), ("forks", &[Class::Fork])];
        let mut alerts = open(directory.path(), &sinks, QUEUE_BYTES_MAX).unwrap();
        let mut heard: BTreeMap<&str, Heard> =
            sinks.iter().map(|(name, _)| (*name, Heard::default())).collect();
        let (mut dice, mut next) = (Dice(seed), 0);
        for _ in 0..40 {
            match dice.roll(6) {
                0 | 1 => {
                    let count = dice.roll(5);
                    // What is found again, as after a crash of the monitor, changes nothing.
                    let step: Vec<_> = (next - dice.roll(3).min(next)..next + count).map(found).collect();
                    alerts.record(LOG, &step, at(1)).unwrap();
                    next += count;
                }
                2 if crashes => {
                    drop(alerts);
                    alerts = open(directory.path(), &sinks, QUEUE_BYTES_MAX).unwrap();
                }
                roll => {
                    let name = if roll == 3 { "a" } else { "b" };
                    let lost = crashes && dice.roll(4) == 0;
                    let count = usize::try_from(dice.roll(4)).unwrap();
                    heard.get_mut(name).unwrap().listen(&alerts, name, count, lost);
                }
            }
        }
        for (name, heard) in &mut heard {
            heard.listen(&alerts, name, usize::MAX, false);
        }
        let all: Vec<_> = (0..next).map(|index| format!("entry {index}")).collect();
        for name in ["a", "b"] {
            let mut places = heard[name].places();
            if crashes {
                // A crash repeats the last one, and never goes further back.
                places.dedup();
            }
            assert_eq!(places, all, "seed {seed}, sink {name}");
        }
        assert!(heard["forks"].alerts.is_empty(), "what is not asked for is not told");
        assert!(alerts.standings().iter().all(|standing| standing.behind == 0));
    }
}

/// A sink that is dead costs the others nothing; when it comes back it is told how much it missed, exactly.
#[test]
fn a_dead_sink_is_told_what_it_missed() {
    let directory = tempfile::tempdir().unwrap();
    let sinks: [(&str, &[Class]); 2] = [("alive", Class::ALL), ("dead", &[Class::Invalid, Class::Fork])];
    let mut alerts = open(directory.path(), &sinks, 0).unwrap();
    let (mut alive, mut dead) = (Heard::default(), Heard::default());
    let count = 6000;
    for first in (0..count).step_by(100) {
        alerts.record(LOG, &(first..first + 100).map(found).collect::<Vec<_>>(), at(1)).unwrap();
        alive.listen_to(&alerts, "alive", usize::MAX, 100, false);
        let (bytes, bytes_max) = alerts.space();
        assert!(bytes <= bytes_max, "{bytes}");
        if first == 3000 {
            drop(alerts);
            alerts = open(directory.path(), &sinks, 0).unwrap();
        }
    }
    let (said, told): (Vec<_>, Vec<_>) = alive.alerts.iter().partition(|alert| alert.code == MISSED_CODE);
    assert_eq!(told.len() as u64, count);
    assert_eq!(said.len(), 1, "the others are told once that a sink misses something: {said:?}");
    assert_eq!((said[0].class, said[0].place.as_str()), (Class::Coverage, "sink dead"));
    assert_eq!(alerts.open_now(9).len(), 1);
    let missed = alerts.standings()[1].missed;
    assert!(missed > 0);

    dead.listen_to(&alerts, "dead", usize::MAX, 100, false);
    assert_eq!(dead.missed.len(), 1);
    let said = &dead.missed[0];
    assert_eq!((said.event, said.class), (Event::Missed, Class::Invalid));
    assert_eq!(said.message, format!("never delivered here: {missed} INVALID entry-differs"));
    let rest: Vec<_> = (missed..count).map(|index| format!("entry {index}")).collect();
    assert_eq!(dead.places(), rest, "what it did not miss it is told");
    assert!(alerts.open_now(9).is_empty(), "nobody misses anything any more");
    assert!(open(directory.path(), &sinks, 0).is_err_and(|error| matches!(error, OpenError::Locked { .. })));
}

/// A message that a sink refuses for good is counted and told of; what comes after it is delivered.
#[test]
fn what_is_refused_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let alerts = open(directory.path(), &[("picky", Class::ALL)], 0).unwrap();
    alerts.record(LOG, &[found(0), found(1)], at(1)).unwrap();
    let due = alerts.due("picky", 1, at(1)).unwrap().unwrap();
    alerts.give_up("picky", &due, at(1)).unwrap();
    drop(alerts);
    let alerts = open(directory.path(), &[("picky", Class::ALL)], 0).unwrap();
    let mut picky = Heard::default();
    picky.listen(&alerts, "picky", usize::MAX, false);
    assert_eq!(picky.missed[0].message, "never delivered here: 1 INVALID entry-differs");
    assert_eq!(picky.places(), ["entry 1", "sink picky"]);
}

/// A sink that is new is told of what is found from then on, and one that is gone holds nothing up.
#[test]
fn sinks_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let alerts = open(directory.path(), &[("old", Class::ALL)], 0).unwrap();
    alerts.record(LOG, &[found(0)], at(1)).unwrap();
    drop(alerts);
    let alerts = open(directory.path(), &[("new", Class::ALL)], 0).unwrap();
    alerts.record(LOG, &[found(1)], at(1)).unwrap();
    let mut new = Heard::default();
    new.listen(&alerts, "new", usize::MAX, false);
    assert_eq!(new.places(), ["entry 1"]);
    assert_eq!(alerts.due("old", 1, at(1)).unwrap(), None);
}

/// A queue or a cursor that is damaged is not used, and its file is named.
#[test]
fn damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let sinks: [(&str, &[Class]); 1] = [("a", Class::ALL)];
    drop(open(directory.path(), &sinks, 0).unwrap());
    let queue = fs::read_dir(directory.path().join("queue")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&queue).unwrap();
    fs::write(&queue, &whole[1..]).unwrap();
    let refused = open(directory.path(), &sinks, 0).unwrap_err().to_string();
    assert!(refused.contains(queue.to_str().unwrap()), "{refused}");
    fs::write(&queue, whole).unwrap();
    let alerts = open(directory.path(), &sinks, 0).unwrap();
    fs::write(directory.path().join("sink/a.json"), b"x\n").unwrap();
    drop(alerts);
    assert!(open(directory.path(), &sinks, 0).unwrap_err().to_string().contains("a.json"));
}

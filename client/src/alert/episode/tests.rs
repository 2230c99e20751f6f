use counterfoil_merkle::{LeafIndex, TreeSize};
use counterfoil_receipt::audit::Report;

use super::*;

const LOG: &str = "log.example";
const OUTAGE_MS: u64 = 600_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn entry(index: u64) -> Place {
    Place::Entry(LeafIndex::new(index).unwrap())
}

fn checkpoint(size: u64) -> Place {
    Place::Checkpoint(TreeSize::new(size).unwrap())
}

/// A monitor's memory: what is open, what is in the queue, and everything that was told.
#[derive(Default)]
struct Memory {
    episodes: Episodes,
    queue: Vec<Alert>,
}

impl Memory {
    /// One round that finds this: as its steps, and as a whole.
    fn round(&mut self, found: &[(Code, Place, &str)], now_ms: u64) -> Vec<(Event, String)> {
        let mut report = Report::new();
        found.iter().for_each(|(code, place, message)| report.push(*code, *place, message));
        let found = |finding: &Finding| Found::new(finding, None);
        let found: Vec<_> = report.findings().iter().map(found).collect();
        let mut told = Vec::new();
        let known = |id| self.queue.iter().any(|alert| alert.event == Event::Finding && alert.id == id);
        let steps = self.episodes.found(LOG, &found, known, at(now_ms));
        self.take(steps, now_ms, &mut told);
        let whole = self.episodes.round(LOG, &found, OUTAGE_MS, at(now_ms));
        self.take(whole, now_ms, &mut told);
        told
    }

    fn take(&mut self, alerts: Vec<Alert>, now_ms: u64, told: &mut Vec<(Event, String)>) {
        for alert in alerts {
            self.episodes.apply(&alert, at(now_ms));
            if alert.event.is_told() {
                told.push((alert.event, alert.code.clone()));
            }
            self.queue.push(alert);
        }
    }

    /// The memory after a restart: what the queue alone gives.
    fn restarted(&self, now_ms: u64) -> Self {
        let mut episodes = Episodes::default();
        self.queue.iter().for_each(|alert| episodes.apply(alert, at(now_ms)));
        Self { episodes, queue: self.queue.clone() }
    }
}

fn told(event: Event, code: Code) -> Vec<(Event, String)> {
    vec![(event, code.to_string())]
}

/// What was found in an entry, and every fork, is told once, however often it is found and whatever happens between.
#[test]
fn what_is_for_good_is_told_once() {
    let mut memory = Memory::default();
    for (code, place) in
        [(Code::EntryDiffers, entry(7)), (Code::ForkSameSize, checkpoint(9)), (Code::ForkKnown, Place::Log)]
    {
        assert_eq!(memory.round(&[(code, place, "a"), (code, place, "b")], 1), told(Event::Finding, code));
        assert_eq!(memory.round(&[(code, place, "c")], 2), []);
        assert_eq!(memory.round(&[], 3 * QUIET_MS), []);
        memory = memory.restarted(4 * QUIET_MS);
        assert_eq!(memory.round(&[(code, place, "d")], 5 * QUIET_MS), []);
    }
    let other = told(Event::Finding, Code::EntryDiffers);
    assert_eq!(memory.round(&[(Code::EntryDiffers, entry(8), "a")], 1), other, "another entry");
}

/// What is wrong with the log as a whole is told once while it is seen, and again when it comes back after some time.
#[test]
fn what_lasts_is_told_again_when_it_comes_back() {
    let mut memory = Memory::default();
    let code = Code::CheckpointSignature;
    let found = [(code, Place::Log, "bad")];
    assert_eq!(memory.round(&found, 1000), told(Event::Finding, code));
    let first = memory.queue[0].id;
    assert_eq!(memory.round(&found, 2000), []);
    assert_eq!(memory.round(&[], 3000), [], "an attack is not cleared");
    assert_eq!(memory.round(&found, 4000), [], "flapping is one finding");
    let mut memory = memory.restarted(5000);
    assert_eq!(memory.round(&found, 6000), []);
    assert_eq!(memory.round(&[], 6000 + QUIET_MS), []);
    assert_eq!(memory.round(&found, 7000 + QUIET_MS), told(Event::Finding, code));
    assert_ne!(memory.queue.last().unwrap().id, first);
}

/// An outage is told only once it has lasted, over restarts too; the same outage has one id, and its end is told.
#[test]
fn outages_are_told_once_they_have_lasted() {
    let mut memory = Memory::default();
    let code = Code::CheckpointUnavailable;
    let out = [(code, Place::Log, "log: no answer")];
    assert_eq!(memory.round(&out, 1000), []);
    assert_eq!(memory.round(&out, 1000 + OUTAGE_MS - 1), []);
    assert_eq!(memory.round(&[], 1000 + OUTAGE_MS), [], "a short one is never told");
    let start = 5_000_000;
    assert_eq!(memory.round(&out, start), []);
    let mut memory = memory.restarted(start + 10);
    assert_eq!(memory.round(&out, start + OUTAGE_MS - 1), []);
    assert_eq!(memory.round(&out, start + OUTAGE_MS), told(Event::Finding, code));
    let alert = memory.queue.last().unwrap().clone();
    assert_eq!((alert.since, alert.class), (Some(at(start)), Class::Unavailable));
    assert_eq!(memory.round(&out, start + 2 * OUTAGE_MS), []);
    let mut memory = memory.restarted(start + 2 * OUTAGE_MS);
    assert_eq!(memory.round(&out, start + 3 * OUTAGE_MS), []);
    assert_eq!(memory.round(&[], start + 4 * OUTAGE_MS), told(Event::Cleared, code));
    assert_eq!(memory.queue.last().unwrap().id, alert.id);
}

/// Which tile is missing does not matter: it is one outage.
#[test]
fn an_outage_is_not_one_of_each_tile() {
    let mut memory = Memory::default();
    let tile = |path: &str| (Code::TileUnavailable, Place::Tile(path.parse().unwrap()), "not there");
    assert_eq!(memory.round(&[tile("tile/0/000"), tile("tile/0/001")], 0), []);
    assert_eq!(memory.round(&[tile("tile/0/002")], OUTAGE_MS), told(Event::Finding, Code::TileUnavailable));
}

/// Nothing counts as passed that could not be looked at.
#[test]
fn what_cannot_be_seen_is_not_cleared() {
    let mut memory = Memory::default();
    let stale = (Code::ClockStale, checkpoint(5), "old");
    let tile = (Code::TileUnavailable, Place::Tile("tile/0/000".parse().unwrap()), "not there");
    let out = (Code::CheckpointUnavailable, Place::Log, "log: no answer");
    assert_eq!(memory.round(&[stale], 0), told(Event::Finding, Code::ClockStale), "freezes are told at once");
    assert_eq!(memory.round(&[(Code::ClockStale, checkpoint(6), "older")], 1), []);
    memory.round(&[stale, tile], 2);
    assert_eq!(memory.round(&[stale, tile], 2 + OUTAGE_MS), told(Event::Finding, Code::TileUnavailable));
    assert_eq!(memory.round(&[out], 3 + OUTAGE_MS), []);
    let cleared = memory.round(&[], 4 + OUTAGE_MS);
    let codes: Vec<_> = cleared.iter().map(|(event, code)| (*event, code.as_str())).collect();
    assert_eq!(codes, [(Event::Cleared, "clock-stale"), (Event::Cleared, "tile-unavailable")]);
}

/// A mirror that is out, or a witness that is missing, does not keep what has passed elsewhere from being cleared.
#[test]
fn what_is_out_elsewhere_hides_nothing() {
    let mut memory = Memory::default();
    let stale = (Code::ClockStale, checkpoint(5), "old");
    let mirror = (Code::CheckpointUnavailable, Place::Vantage(1), "no answer");
    let witness = (Code::WitnessMissing, Place::Witness(0), "not there");
    memory.round(&[stale, mirror, witness], 0);
    assert_eq!(memory.round(&[stale, mirror, witness], OUTAGE_MS).len(), 2);
    assert_eq!(memory.round(&[mirror, witness], OUTAGE_MS + 1), told(Event::Cleared, Code::ClockStale));
    assert_eq!(memory.round(&[mirror], OUTAGE_MS + 2), told(Event::Cleared, Code::WitnessMissing));
    assert_eq!(memory.round(&[], OUTAGE_MS + 3), told(Event::Cleared, Code::CheckpointUnavailable));
}

/// A log that is at fault in ever new places fills neither memory nor head; it is told of all the same.
#[test]
fn what_is_open_is_bounded() {
    let mut memory = Memory::default();
    let mut count = 0;
    for size in 0..OPEN_MAX as u64 + 50 {
        count += memory.round(&[(Code::RootMismatch, checkpoint(size), "x")], 7).len() as u64;
    }
    assert_eq!(count, OPEN_MAX as u64 + 50);
    assert_eq!(memory.episodes.carried().len(), OPEN_MAX);
    let again = [(Code::RootMismatch, checkpoint(OPEN_MAX as u64 + 1), "x")];
    assert_eq!(memory.round(&again, 8), []);
    assert!(memory.round(&[], 7 + QUIET_MS).is_empty() && memory.episodes.carried().is_empty());
}

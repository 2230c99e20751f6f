//! Several writers on one store: whoever was overtaken signs nothing and changes no tile, and no create that comes late or
//! twice makes anybody be told of another batch.
//!
//! The store is one in memory. Built with the feature `s3`, and with `COUNTERFOIL_S3_URL` set, it is a real one, of which each
//! round has a prefix of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
#[cfg(feature = "s3")]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "s3")]
use counterfoil_server::config::StoreConfig;
use counterfoil_server::{
    clock::{Clock, wall_now},
    config::Config,
    log::Status,
    objects::Objects,
    pace::Pace,
    steps::Steps,
};
use futures::{StreamExt as _, executor::block_on};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};

use crate::{
    campaign::rounds,
    life::{Answer, Ledger, Life, audit_objects},
    line::{Fate, Line, When},
    locks,
    template::{FIRST, PACE, SIZE, directory, template},
};

/// So many calls of one append at which its writer is stopped: more than there are.
const CALLS: usize = 8;

/// Rounds of late and doubled creates, unless the environment says otherwise.
const ROUNDS: u64 = 24;

/// Nothing waits for an hour here; what settles, settles soon.
const SWIFT: Pace = Pace { retained_max: 2, ..PACE };

/// An empty store.
#[cfg(not(feature = "s3"))]
fn empty() -> Arc<dyn ObjectStore> {
    Arc::new(object_store::memory::InMemory::new())
}

/// An empty store.
#[cfg(feature = "s3")]
fn empty() -> Arc<dyn ObjectStore> {
    counterfoil_server::objects::s3::connect(&store_config()).unwrap()
}

/// A prefix that nobody else has, of the store that the environment names.
#[cfg(feature = "s3")]
pub(crate) fn store_config() -> StoreConfig {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let url = std::env::var("COUNTERFOIL_S3_URL").expect("COUNTERFOIL_S3_URL names the store: s3://bucket");
    let (run, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    StoreConfig {
        url: format!("{url}/{run}-{number}"),
        endpoint: std::env::var("COUNTERFOIL_S3_ENDPOINT").ok(),
        region: "us-east-1".to_owned(),
    }
}

/// A store with the template's log in it.
fn store() -> Arc<dyn ObjectStore> {
    let store = empty();
    for (path, bytes) in &template().files {
        let Ok(name) = path.strip_prefix("data") else { continue };
        if name.to_str() != Some("lock") {
            let name = Path::from(name.to_str().unwrap());
            block_on(store.put(&name, PutPayload::from(bytes.clone()))).unwrap();
        }
    }
    store
}

/// A writer with a guard of its own, as the template left it.
struct Writer {
    home: tempfile::TempDir,
    line: Arc<Line>,
}

impl Writer {
    fn new(store: &Arc<dyn ObjectStore>) -> Self {
        let home = directory();
        let guard = &template().files[std::path::Path::new("guard")];
        std::fs::write(home.path().join("guard"), guard).unwrap();
        Self { home, line: Line::new(store) }
    }

    fn config(&self) -> Config {
        template().config(self.home.path())
    }

    fn start(&self, pace: Pace) -> Life {
        let (config, objects) = (self.config(), Objects::shared(self.line.clone()));
        let guard = locks::guard(&config.guard, &Steps::default()).unwrap();
        Life::start_with(&config, objects, guard, pace, Clock::start().unwrap())
    }
}

/// All objects that never change.
pub(crate) fn tiles(store: &dyn ObjectStore) -> BTreeMap<Path, Bytes> {
    block_on(async {
        let listed: Vec<_> = store.list(None).collect().await;
        let mut tiles = BTreeMap::new();
        for object in listed {
            let path = object.unwrap().location;
            if path.as_ref().starts_with("tile/") || path.as_ref().starts_with("statement/") {
                let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
                tiles.insert(path, bytes);
            }
        }
        tiles
    })
}

fn numbers(store: &Arc<dyn ObjectStore>) -> Vec<u64> {
    Objects::shared(Arc::clone(store)).commit_numbers().unwrap()
}

/// What the new writer does while the old one stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heir {
    /// It takes the log over, and that is all.
    Idles,
    /// It goes on, and settles what the old one missed; the names are still taken.
    Settles,
    /// The names are free again, too.
    Frees,
}

/// A writer is stopped at any call of an append, or of an idle log's renewal. Another takes the log over, and may go on and
/// settle the commits that the first one missed; their names are still taken, or free again. When the first goes on, it
/// acknowledges nothing that the other has not, signs no head of another history, changes no tile, and stops.
#[test]
fn whoever_was_overtaken_signs_nothing() {
    let cases = (2 * 2 * 3 * CALLS) as u64;
    rounds("overtaken writers", cases, |round, _| {
        let case = usize::try_from(round).unwrap();
        let when = if case % 2 == 0 { When::Before } else { When::After };
        let heir = [Heir::Idles, Heir::Settles, Heir::Frees][case / 4 % 3];
        overtake(case / 12 % CALLS, when, heir, case / 2 % 2 == 0);
    });
}

fn overtake(calls: usize, when: When, heir_does: Heir, idle: bool) {
    let first = FIRST;
    let (store, mut ledger) = (store(), template().ledger.clone());
    let (old, new) = (Writer::new(&store), Writer::new(&store));
    let renew = if idle { Duration::from_millis(20) } else { PACE.renew };
    let zombie = old.start(Pace { renew, ..SWIFT });
    zombie.append([first], &mut ledger);
    let last = *numbers(&store).last().unwrap();

    old.line.stop(calls, when);
    let mut waiting = if idle { Vec::new() } else { zombie.submit([first + 1]).unwrap() };
    let stopped = old.line.is_stopped_or(|| waiting.iter().any(|(_, answer)| !answer.is_empty()));
    let tombstone = if heir_does == Heir::Frees { Duration::ZERO } else { SWIFT.tombstone };
    let heir = new.start(Pace { tombstone, ..SWIFT });
    assert!(heir.wait(|| false));
    if heir_does != Heir::Idles {
        for number in first + 2..first + 12 {
            heir.append([number], &mut ledger);
        }
        // What the first writer missed is settled, and it could not know.
        crate::life::until(|| numbers(&store).first().is_some_and(|oldest| *oldest > last + 2), "settled");
    }
    let before = tiles(&*store);
    if idle && heir_does == Heir::Settles {
        // Heads have whole seconds: one that is dated now has a later one than the new writer's entries.
        next_second();
    }

    old.line.go_on();
    let mut after = Ledger::default();
    let (mut acknowledged, mut late) = (0, 0);
    for (id, answer) in waiting.drain(..) {
        acknowledged += usize::from(zombie.answer(id, answer, &mut after) != Answer::Unknown);
    }
    for number in first + 20..first + 23 {
        for (id, answer) in zombie.submit([number]).into_iter().flatten() {
            late += usize::from(zombie.answer(id, answer, &mut after) != Answer::Unknown);
        }
    }
    assert_eq!(late, 0, "an overtaken writer acknowledged");
    let has_stopped = || matches!(zombie.log().status(), Status::Stopped { .. });
    crate::life::until(has_stopped, "the overtaken writer stops");
    heir.append([first + 12], &mut ledger);
    let after_all = tiles(&*store);
    assert!(before.iter().all(|(path, bytes)| after_all.get(path) == Some(bytes)), "a tile has changed");
    zombie.stop(&mut after);
    ledger.merge(&after);
    assert!(heir.stop(&mut ledger), "the new writer was not disturbed");

    let markers = block_on(store.list(Some(&Path::from("never-told"))).collect::<Vec<_>>());
    assert!(markers.is_empty(), "what was settled reads back otherwise, and that is no fault: {markers:?}");

    // What is left of the first one does not keep anybody from finding the log.
    let third = Writer::new(&store);
    let life = third.start(SWIFT);
    life.append([first + 13], &mut ledger);
    assert!(life.stop(&mut ledger));
    let size = audit_objects(&Arc::new(Objects::shared(store)), &ledger);
    let appended = if heir_does == Heir::Idles { 3 } else { 13 };
    assert!(stopped || acknowledged == 1 || idle);
    assert!(size.get() == SIZE + appended || size.get() == SIZE + appended + 1, "{size}");
}

/// Waits until the wall clock shows another second.
fn next_second() {
    let second = || wall_now().unwrap().seconds();
    let now = second();
    crate::life::until(|| second() > now, "time goes on");
}

/// Creates of commits that come late, twice, or without an answer: whatever was acknowledged stands, nobody is answered
/// from another batch, and the log goes on by itself.
#[test]
fn creates_that_come_late_or_twice_change_nothing() {
    rounds("late creates", ROUNDS, |_, mut dice| {
        let first = FIRST;
        let (store, mut ledger) = (store(), template().ledger.clone());
        let writer = Writer::new(&store);
        let life = writer.start(SWIFT);
        assert!(life.wait(|| false));
        let fates: Vec<_> = (0..30)
            .map(|_| match dice.below(5) {
                0 => Fate::Late(1 + dice.below(40)),
                1 => Fate::Twice,
                2 => Fate::AnswerLost,
                _ => Fate::Done,
            })
            .collect();
        writer.line.destine(fates);
        let mut pending: Vec<_> = (first..first + 16).rev().collect();
        while let Some(&number) = pending.last() {
            if !life.wait(|| false) {
                break;
            }
            life.look(&mut ledger);
            let Some(answers) = life.submit([number]) else { continue };
            for (id, answer) in answers {
                if life.answer(id, answer, &mut ledger) != Answer::Unknown {
                    pending.pop();
                }
            }
        }
        assert!(pending.is_empty(), "the log did not go on: {:?}", life.log().status());
        assert!(life.stop(&mut ledger));
        block_on(writer.line.arrive());
        let next = Writer::new(&store).start(SWIFT);
        next.append([first + 16], &mut ledger);
        assert!(next.stop(&mut ledger));
        assert_eq!(audit_objects(&Arc::new(Objects::shared(store)), &ledger).get(), SIZE + 17);
    });
}

//! Old copies, lost guards, a second server, and clocks that were set.

use std::{
    fs,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use counterfoil_merkle::{checkpoint::SignedCheckpoint, evidence::ForkEvidence};
use counterfoil_receipt::Timestamp;
use counterfoil_server::{
    clock::{Clock, ClockError, wall_now},
    config::Config,
    log::Status,
    steps::Steps,
};

use crate::{
    life::{Ledger, Life, audit, until},
    locks,
    template::{FIRST, Files, PACE, SIZE, directory, read, template, write},
};

/// Appends so many receipts in a life of its own; returns the newest checkpoint, and what is there then.
fn grow(config: &Config, numbers: std::ops::Range<usize>, ledger: &mut Ledger) -> (SignedCheckpoint, Files) {
    let life = Life::start(config, &Steps::default(), PACE).unwrap();
    life.append(numbers, ledger);
    let newest = life.log().view().unwrap().checkpoint.clone();
    assert!(life.stop(ledger));
    (newest, read(config.data.parent().unwrap()))
}

/// Puts data directory, guard, or both back to what they were.
fn restore(config: &Config, files: &Files, data: bool, guard: bool) {
    let home = config.data.parent().unwrap();
    if data {
        fs::remove_dir_all(&config.data).unwrap();
    }
    let wanted = |path: &&std::path::PathBuf| {
        (data && path.starts_with("data")) || (guard && path.starts_with("guard"))
    };
    write(
        home,
        &files.iter().filter(|(path, _)| wanted(path)).map(|(p, b)| (p.clone(), b.clone())).collect(),
    );
}

/// The log starts, refuses to write, and says why; it signs nothing and goes on serving what it has.
fn is_refused(config: &Config, reason: &str) {
    let mut after = Ledger::default();
    let life = Life::start(config, &Steps::default(), PACE).unwrap();
    until(|| matches!(life.log().status(), Status::Stopped { .. }), "the log is refused");
    let Status::Stopped { reason: said } = life.log().status() else { unreachable!() };
    assert!(said.contains(reason), "{said}");
    assert!(life.submit([FIRST + 99]).is_none(), "nothing is taken");
    assert!(life.log().view().is_some(), "reads go on");
    assert!(!life.stop(&mut after));
}

/// An old copy under the newer guard is never signed over, and neither is another history of the same size or a larger.
/// Without a guard nothing is. Together with its own guard an old copy forks, as the manual says, and that is proven.
#[test]
fn an_old_copy_is_never_signed_over_unseen() {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());
    let (_, old) = grow(&config, FIRST..FIRST + 3, &mut ledger);
    let mut kept = ledger.clone();
    let (told, new) = grow(&config, FIRST + 3..FIRST + 8, &mut kept);

    restore(&config, &old, true, false);
    is_refused(&config, "is an old copy: it holds 254 entries, and the guard saw 259");

    fs::rename(&config.guard, home.path().join("away")).unwrap();
    assert!(Life::start(&config, &Steps::default(), PACE).is_err(), "without a guard nothing is written");
    fs::rename(home.path().join("away"), &config.guard).unwrap();

    // The one way to make an honest log fork, and how it is convicted.
    for entries in [5, 9] {
        restore(&config, &old, true, true);
        let mut other = ledger.clone();
        let (forked, _) = grow(&config, FIRST + 20..FIRST + 20 + entries, &mut other);
        if entries == 5 {
            let evidence = ForkEvidence::same_size(told.clone(), forked);
            assert!(evidence.verify(&config.log_vkey().unwrap()).is_ok(), "the fork is proven");
        }
        restore(&config, &new, false, true);
        is_refused(&config, "another history");
    }

    restore(&config, &new, true, true);
    grow(&config, FIRST + 8..FIRST + 9, &mut kept);
    assert_eq!(audit(&config, &kept, true).get(), SIZE + 9);
}

/// Directory and guard have one holder each.
#[test]
fn a_log_has_one_writer() {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());
    let life = Life::start(&config, &Steps::default(), PACE).unwrap();
    life.append([FIRST], &mut ledger);
    let second = Life::start(&config, &Steps::default(), PACE).err().unwrap().to_string();
    assert!(second.contains("another server is running on"), "{second}");
    // A copy of the directory that shares the guard.
    let copy = directory();
    write(copy.path(), &read(home.path()));
    let shared = Config { guard: config.guard.clone(), ..made.config(copy.path()) };
    let second = Life::start(&shared, &Steps::default(), PACE).err().unwrap().to_string();
    assert!(second.contains("another server holds the guard"), "{second}");
    life.append([FIRST + 1], &mut ledger);
    assert!(life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, false).get(), SIZE + 2);
}

/// How far the test's wall clock is off, in ms.
static OFF_BY: AtomicI64 = AtomicI64::new(0);

fn crooked() -> Result<Timestamp, ClockError> {
    let millis = wall_now()?.millis().checked_add_signed(OFF_BY.load(Ordering::SeqCst));
    millis.and_then(Timestamp::from_millis).ok_or(ClockError::Impossible)
}

fn start(config: &Config) -> Life {
    let objects = locks::objects(&config.data, &Steps::default()).unwrap();
    Life::start_with(
        config,
        objects,
        locks::guard(&config.guard, &Steps::default()).unwrap(),
        PACE,
        Clock::start_from(crooked).unwrap(),
    )
}

/// Set back, running or between two lives, the clock changes no order; set forward while the log runs, or by more than
/// the configured gap before it starts, it stops the log before anything is dated into the future.
#[test]
fn clocks_that_were_set_date_nothing_wrongly() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());

    let life = start(&config);
    life.append([FIRST], &mut ledger);
    OFF_BY.store(-DAY_MS, Ordering::SeqCst);
    life.append([FIRST + 1], &mut ledger);
    assert!(life.stop(&mut ledger));
    let life = start(&config);
    life.append([FIRST + 2], &mut ledger);
    // As seen from where the clock was when this life began: ahead by a day.
    OFF_BY.store(0, Ordering::SeqCst);
    let unknown = life.submit([FIRST + 3]).unwrap();
    for (id, answer) in unknown {
        assert_eq!(life.answer(id, answer, &mut ledger), crate::life::Answer::Unknown);
    }
    until(|| matches!(life.log().status(), Status::Stopped { .. }), "the log stops");
    assert!(!life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, false).get(), SIZE + 3);

    let gap = Duration::from_secs(config.limits.clock_gap_max_s);
    OFF_BY.store(i64::try_from(gap.as_millis()).unwrap() + 60_000, Ordering::SeqCst);
    let life = start(&config);
    until(|| matches!(life.log().status(), Status::Stopped { .. }), "the log is refused");
    assert!(!life.stop(&mut ledger));
    OFF_BY.store(0, Ordering::SeqCst);
    let life = start(&config);
    life.append([FIRST + 3], &mut ledger);
    assert!(life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, false).get(), SIZE + 4);
}

//! A full disk: what is new is refused cleanly, reads go on, and once there is room so does the log, with all that it
//! acknowledged. Once with the floor of free space that the server keeps, once without it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use counterfoil_server::{
    objects::CHECKPOINT,
    steps::{Step, Steps, Watch},
};
use counterfoil_tests::{
    Deployment, Reply,
    audit::{check_kept, checkpoint},
    until,
};

use crate::{
    PROGRAMS,
    campaign::rounds,
    dice::Dice,
    life::{Life, audit},
    small_disk::{SmallDisk, free},
    subject::Subject,
    template::{FIRST, PACE, SIZE, directory, template, write},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 8;

/// Bytes that stay free, where there is a floor.
const FLOOR: u64 = 4 << 20;

/// No log of these tests takes more receipts before its disk is full.
const RECEIPTS_MAX: usize = 3000;

/// A log with all its files on the disk, indexes, guard and the server's own log too.
fn on(disk: &SmallDisk, floor: u64, origin: &str) -> Subject {
    let mut log = Deployment::init_in(PROGRAMS, disk.path(), origin, &["--open"]);
    log.configure(&[("free_bytes_min = 67108864", &format!("free_bytes_min = {floor}"))]);
    log.up();
    Subject::of(log, 254)
}

/// The kind of problem in an answer.
fn problem(reply: &Reply) -> String {
    let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    told["type"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or_default().to_owned()
}

/// A number that the server counts.
fn metric(subject: &Subject, name: &str) -> u64 {
    let reply = subject.log.http().fetch("/metrics").unwrap();
    let line = reply.text().lines().find_map(|line| line.strip_prefix(&format!("counterfoil_{name} ")));
    line.unwrap().parse().unwrap()
}

/// With the floor nothing ever fails: new receipts are refused, known ones answered, in the same words every time, after a
/// restart too.
#[test]
fn a_floor_of_free_space_is_kept() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut subject = on(&disk, FLOOR, "log.example/floor");
    let data = subject.log.data();
    let known = subject.issuing.issue();
    assert_eq!(subject.send(known.clone()), None);
    let index = subject.acks[0].index;
    disk.fill(FLOOR + (2 << 20), &data);
    let mut receipts = 0;
    let refused = loop {
        let receipt = subject.issuing.issue();
        receipts += 1;
        assert!(receipts < RECEIPTS_MAX, "the floor is never reached");
        if receipts == 20 {
            disk.fill(FLOOR + (64 << 10), &data);
        }
        if let Some(refused) = subject.send(receipt) {
            break refused;
        }
    };
    assert!(receipts > 10, "there was room for some");

    for restarted in [false, true] {
        if restarted {
            subject.log.down();
            disk.fill(FLOOR - (1 << 20), &data);
            subject.log.spawn();
            let mut http = subject.log.http();
            until(|| problem(&http.fetch("/readyz").unwrap()) == "no-room", "the log is found again");
        }
        // What is settled meanwhile gives some room back.
        disk.fill(FLOOR - (1 << 20), &data);
        let mut http = subject.log.http();
        let reply = http.post("/v1/receipts", refused.1.as_bytes()).unwrap();
        assert_eq!((reply.status, &*problem(&reply)), (503, "no-room"), "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        let another = subject.issuing.issue().1;
        let again = http.post("/v1/receipts", another.as_bytes()).unwrap();
        assert_eq!((again.status, again.text()), (503, reply.text()), "always the same");
        let lines = format!("{}\n{another}\n", known.1);
        let batch = http.post("/v1/receipts/batch", lines.as_bytes()).unwrap().text().to_owned();
        let lines: Vec<serde_json::Value> =
            batch.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["index"].as_u64(), Some(index), "what the log has is answered: {batch}");
        assert_eq!(lines[1]["error"]["status"], 503);
        for _ in 0..100 {
            let envelope = subject.issuing.issue().1;
            assert_eq!(http.post("/v1/receipts", envelope.as_bytes()).unwrap().status, 503);
        }
        assert!(free(&data) > FLOOR / 2, "the floor is kept, but for indexes, and what was on its way");
        let ready = http.fetch("/readyz").unwrap();
        assert_eq!((ready.status, &*problem(&ready)), (503, "no-room"));
        assert_eq!(http.fetch("/healthz").unwrap().status, 200);
        assert_eq!(metric(&subject, "writing"), 0);
        assert!(metric(&subject, "free_bytes") < FLOOR + FLOOR / 8);
        subject.check(usize::MAX);
    }

    disk.clear();
    subject.back();
    assert_eq!(subject.send(refused), None);
    for _ in 0..300 {
        let receipt = subject.issuing.issue();
        assert_eq!(subject.send(receipt), None);
    }
    assert!(metric(&subject, "free_bytes") > FLOOR && metric(&subject, "writing") == 1);
    subject.check(usize::MAX);
    assert!(!subject.log.server_log().contains("panicked"), "{}", subject.log.server_log());
    subject.log.down();
    subject.log.server_run(&["fsck"]).exits(0);
}

/// Without the floor whatever comes next fails: a commit, a tile, a bundle, the checkpoint's file, the index, the server's
/// own log. It may be killed then, too.
#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut subject = on(&disk, 0, "log.example/full");
    let mut refusals = 0;
    rounds("full disks", ROUNDS, |_, mut dice| refusals += full(&disk, &mut subject, &mut dice));
    subject.check(usize::MAX);
    let said = subject.log.server_log();
    assert!(!said.contains("panicked"), "{said}");
    subject.log.down();
    subject.log.server_run(&["fsck"]).exits(0);
    let stops = |whats: &[&str]| {
        let told = said.lines().filter(|line| line.contains("recovering"));
        told.filter(|line| whats.iter().any(|what| line.contains(what))).count()
    };
    println!(
        "full disks: {} receipts acknowledged, {refusals} refused; stops that were told of: {} at commits, {} at tiles and \
         bundles, {} at the checkpoint",
        subject.acks.len(),
        stops(&["object commit/", "commit record "]),
        stops(&["object tile/", "object statement/"]),
        stops(&["object checkpoint"])
    );
}

/// One round. Returns how many receipts were refused.
fn full(disk: &SmallDisk, subject: &mut Subject, dice: &mut Dice) -> usize {
    let (data, before) = (subject.log.data(), subject.acks.len());
    disk.fill(4096 * dice.below(48) as u64, &data);
    let mut unknown = Vec::new();
    let at_most = 1 + dice.below(6);
    for n in 0.. {
        assert!(n < RECEIPTS_MAX, "the disk is never full");
        let receipt = subject.issuing.issue();
        unknown.extend(subject.send(receipt));
        if unknown.len() == at_most {
            break;
        }
        // Whoever was taken once more finds the disk full again in the end.
        disk.fill(0, &data);
    }
    let mut reply = subject.log.http().post("/v1/receipts", unknown[0].1.as_bytes()).unwrap();
    until(
        || {
            reply = subject.log.http().post("/v1/receipts", unknown[0].1.as_bytes()).unwrap();
            // It may have been stored after all, or find its way into the room of something else.
            reply.status == 503 || reply.status < 300
        },
        "an answer",
    );
    if reply.status == 503 {
        let known = ["no-room", "stopped", "starting", "unknown-outcome"];
        assert!(known.contains(&&*problem(&reply)), "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
    }
    if dice.one_in(3) {
        subject.log.kill();
        subject.log.spawn();
        until(|| subject.log.http().fetch("/checkpoint").unwrap().status == 200, "reads go on after a kill");
    }
    let mut http = subject.log.http();
    assert_eq!(http.fetch("/healthz").unwrap().status, 200);
    // After a kill that is what the checkpoint's file has, a tenth of a second behind: more is signed once there is room.
    let shown = checkpoint(&mut http, &subject.key).head().size.get();
    let newest = subject.acks.iter().rev().filter(|ack| ack.index < shown).take(20);
    newest.for_each(|ack| check_kept(&mut http, ack, &subject.key));
    disk.clear();
    subject.back();
    let refused = unknown.len();
    for receipt in unknown {
        until(|| subject.send(receipt.clone()).is_none(), "what was refused is taken");
    }
    subject.check(subject.acks.len() - before);
    refused
}

/// Lets the checkpoint's file fail once, as on a full disk, when it is told to.
#[derive(Default)]
struct Failing {
    armed: AtomicBool,
    failed: AtomicBool,
    /// How often it was put since it failed.
    put: AtomicUsize,
}

impl Watch for Failing {
    fn begin(&self, step: Step<'_>) -> io::Result<()> {
        if !matches!(step, Step::Put { name: CHECKPOINT, .. }) {
            return Ok(());
        }
        if self.armed.swap(false, Ordering::SeqCst) {
            self.failed.store(true, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.put.fetch_add(usize::from(self.failed.load(Ordering::SeqCst)), Ordering::SeqCst);
        Ok(())
    }

    fn end(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// What fails beside the sequencer wakes it, though nobody appends: the log recovers at once, not with the next receipt.
#[test]
fn what_fails_beside_the_sequencer_is_noticed_at_once() {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());
    let failing = Arc::<Failing>::default();
    let watch: Arc<dyn Watch> = Arc::<Failing>::clone(&failing);
    let life = Life::start(&config, &Steps::watched(watch), PACE).unwrap();
    life.append([FIRST], &mut ledger);
    failing.armed.store(true, Ordering::SeqCst);
    // Whether it is acknowledged depends on which of the two is first.
    for (id, answer) in life.submit([FIRST + 1]).unwrap() {
        life.answer(id, answer, &mut ledger);
    }
    crate::life::until(|| failing.put.load(Ordering::SeqCst) > 0, "the checkpoint's file is put after all");
    life.append([FIRST + 1], &mut ledger);
    assert!(life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, false).get(), SIZE + 2);
}

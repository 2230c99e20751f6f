//! Reading in steps: what was read is kept, nothing is read twice, nothing is passed over.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A log that stops serving halfway is read up to there; the rest is read later, and each entry is observed once.
#[tokio::test]
async fn what_was_read_is_kept_although_the_rest_is_missing() {
    let mut watch = Watch::new(4 * FULL + 7);
    for missing in [2, 3] {
        watch.log.publish();
        watch.log.remove(&format!("tile/entries/00{missing}"));
        assert_eq!(watch.codes().await, ["tile-unavailable"]);
        assert_eq!((watch.size(), watch.state().known().size.get()), (missing * 256, 4 * 256 + 7));
        watch.restart().unwrap();
        assert_eq!(watch.state().backlog(), 4 * 256 + 7 - missing * 256);
    }
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!(watch.state().head(), watch.log.head(4 * FULL + 7));
    assert!(watch.observed.iter().copied().eq(0..4 * 256 + 7), "{:?}", watch.observed.len());
    watch.restart().unwrap();
}

/// A checkpoint that is read halfway counts all the same: another one of its size is a fork, and so are smaller ones,
/// above and below what was read.
#[tokio::test]
async fn what_is_read_halfway_convicts() {
    for (size, code) in [(4 * FULL, "fork-same-size"), (4 * FULL - 1, "fork-smaller"), (FULL, "fork-smaller")]
    {
        let mut watch = Watch::new(4 * FULL);
        watch.log.remove("tile/entries/002");
        assert_eq!(watch.codes().await, ["tile-unavailable"]);
        watch.restart().unwrap();
        watch.branch(size - 1, size).show(size);
        assert!(watch.codes().await.contains(&code), "{size}");
        let [evidence] = watch.evidence().try_into().unwrap();
        let larger = evidence.b().unverified().head.size.get();
        assert_eq!(larger, 4 * FULL as u64);
    }
}

/// While one checkpoint is read halfway, a larger one must start with it.
#[tokio::test]
async fn larger_trees_start_with_what_is_still_to_be_read() {
    let mut watch = Watch::new(4 * FULL);
    watch.log.remove("tile/entries/002");
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    // This one differs beyond what was read.
    let branch = watch.branch(4 * FULL - 1, 5 * FULL);
    branch.publish();
    assert_eq!(watch.codes().await[..1], ["fork-larger"]);
    watch.log.grow_to(6 * FULL);
    watch.log.publish();
    assert_eq!(watch.codes().await, ["fork-known"]);
    assert_eq!(watch.state().head(), watch.log.head(6 * FULL));
}

/// Findings that cannot be recorded hold the state where it is; a round that is dropped halfway does no harm either.
#[tokio::test]
async fn the_state_goes_past_nothing_that_is_not_recorded() {
    let mut watch = Watch::verified(5).await;
    watch.log.grow_to(7);
    watch.log.take(b"unreadable", b"");
    watch.log.publish();
    let now = Timestamp::from_millis(1000 * START_S).unwrap();
    let (attempts, seen) = (AtomicU32::new(0), AtomicU32::new(0));
    for attempt in 0..3 {
        let mut outside = Outside {
            now: &move || now,
            progress: &|_, _| (),
            notes: &[],
            observe: &mut |_, _| {
                seen.fetch_add(1, Ordering::Relaxed);
            },
            record: &mut |found| {
                assert_eq!(found.len(), 1);
                match attempts.fetch_add(1, Ordering::Relaxed) {
                    0 | 1 => Err(StateError::Record("the disk is full".into())),
                    _ => Ok(()),
                }
            },
        };
        let result = watch.monitor.as_mut().unwrap().round(&mut outside).await;
        assert_eq!(result.is_ok(), attempt == 2);
        assert_eq!(watch.size(), if attempt == 2 { 8 } else { 5 });
        if attempt == 0 {
            watch.restart().unwrap();
        }
    }
    assert_eq!(attempts.into_inner(), 3);
    assert_eq!(seen.into_inner(), 6, "what was not kept is observed again");
}

/// What was found in a round that could not be recorded is found again, even if it is found at one look only.
#[tokio::test]
async fn what_was_not_recorded_is_found_again() {
    let mut watch = Watch::verified(5).await;
    watch.log.now_s -= 1;
    watch.log.grow_to(6);
    watch.log.publish();
    let now = Timestamp::from_millis(1000 * START_S).unwrap();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |_, _| (),
        record: &mut |_| Err(StateError::Record("the disk is full".into())),
    };
    assert!(watch.monitor.as_mut().unwrap().round(&mut outside).await.is_err());
    let found = ["clock-back at checkpoint 6", "at-back at entry 5", "at-before-checkpoint at entry 5"];
    assert_eq!(watch.shown().await, found);
    assert_eq!(watch.size(), 6);
}

/// More findings than one step hands on: none is lost.
#[tokio::test]
async fn every_finding_is_handed_on() {
    let mut watch = Watch::verified(1).await;
    for n in 0..2000_u32 {
        watch.log.take(&n.to_be_bytes(), b"");
    }
    watch.log.publish();
    let now = Timestamp::from_millis(1000 * START_S).unwrap();
    let mut places = Vec::new();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |_, _| (),
        record: &mut |found| {
            places.extend(found.iter().map(|found| found.place.to_string()));
            Ok(())
        },
    };
    let report = watch.monitor.as_mut().unwrap().round(&mut outside).await.unwrap();
    assert_eq!(places, (1..=2000).map(|index| format!("entry {index}")).collect::<Vec<_>>());
    assert_eq!(report.findings().len(), 100, "people are shown the first of them");
    assert_eq!(report.counts().values().sum::<u64>(), 2000);
}

/// A disk that is full stops the reading and nothing else.
#[tokio::test]
async fn a_full_disk_is_said_and_left_alone() {
    let mut watch = Watch::verified(5).await;
    watch.set(Settings { free_bytes_min: u64::MAX, ..settings() });
    watch.log.grow_to(7);
    watch.log.publish();
    assert_eq!(watch.shown().await, ["disk-full at log"]);
    assert_eq!(watch.size(), 5);
    watch.branch(6, 7).show(7);
    assert!(watch.codes().await.contains(&"fork-same-size"));
    watch.set(settings());
    watch.log.publish();
    assert_eq!(watch.codes().await, ["fork-known"]);
    assert_eq!(watch.size(), 7);
}

/// What is observed can be found fault with, and that is recorded like everything else.
#[tokio::test]
async fn observers_find_too() {
    let mut watch = Watch::verified(1).await;
    watch.log.grow_to(3);
    watch.log.publish();
    let now = Timestamp::from_millis(1000 * START_S).unwrap();
    let mut recorded = Vec::new();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |sight, report| {
            let Sight::Record(record) = sight else { return };
            assert!(record.statement.is_some());
            let place = counterfoil_receipt::audit::Place::Entry(record.index);
            report.push(counterfoil_receipt::audit::Code::WatchMatch, place, "");
        },
        record: &mut |found| {
            recorded.extend(found.iter().map(|found| found.place.to_string()));
            Ok(())
        },
    };
    let report = watch.monitor.as_mut().unwrap().round(&mut outside).await.unwrap();
    assert_eq!((report.exit_code(), recorded), (0, vec!["entry 1".to_owned(), "entry 2".to_owned()]));
}

/// Whoever asks a snapshot hears what the monitor would say, while it goes on.
#[tokio::test]
async fn snapshots_judge_without_the_log() {
    let mut watch = Watch::verified(FULL + 9).await;
    let snapshots = watch.monitor.as_ref().unwrap().snapshots();
    watch.log.grow_to(4 * FULL);
    watch.log.publish();
    watch.log.remove("tile/entries/003");
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    watch.log.withdraw();
    let snapshot = snapshots.borrow().clone();
    assert_eq!((snapshot.head().size.get(), snapshot.known_size().get()), (3 * 256, 4 * 256));
    let verdict = |log: &EvilLog, size: usize| {
        let note = log.sign(log.head(size)).parse::<SignedCheckpoint>().unwrap();
        snapshot.judge(&note.verify(&log.known().key).unwrap()).unwrap()
    };
    for size in [2, FULL, 3 * FULL, 4 * FULL] {
        assert_eq!(verdict(&watch.log, size), Verdict::Consistent, "{size}");
        let Verdict::Inconsistent(evidence) = verdict(&watch.branch(size - 1, size), size) else {
            panic!("{size}")
        };
        evidence.verify(&watch.log.known().key).unwrap();
    }
    assert_eq!(verdict(&watch.log, 4 * FULL - 1), Verdict::Unknown);
    watch.log.grow_to(5 * FULL);
    assert_eq!(verdict(&watch.log, 5 * FULL), Verdict::Unknown);
}

//! Streams, and records that come twice.

use super::*;
use crate::audit::streams::AHEAD_MAX;

/// Ids find a record again wherever it was; without them a stream finds the one just before.
#[test]
fn no_record_is_logged_twice() {
    let mut log = EvilLog::begun();
    let records = chain(3);
    records.iter().for_each(|record| log.take(record));
    log.take(&records[0]);
    assert_eq!(log.shown(), ["record-twice at entry 4"]);
    log.audit = log.audit.clone().with_ids(Ids::none());
    log.take(&records[2]);
    assert_eq!(log.shown()[1], "record-twice at entry 5");
    log.take(&records[0]);
    assert_eq!(log.shown()[2], "number-again at entry 6");
}

#[test]
fn ids_are_forgotten_oldest_first() {
    let mut ids = Ids::newest(2);
    let id = |n: u8| Id::new(Hash::leaf(&[n]));
    let index = |n| LeafIndex::new(n).unwrap();
    for n in 0..3 {
        assert_eq!(ids.insert(id(n), index(n.into())), None);
    }
    assert_eq!(ids.insert(id(2), index(3)), Some(index(2)));
    assert_eq!(ids.insert(id(0), index(4)), None);
}

#[test]
fn issuers_who_break_their_streams_are_named_and_the_log_is_not() {
    let mut log = EvilLog::begun();
    let records = chain(3);
    records[..2].iter().for_each(|record| log.take(record));
    log.take(&receipt_of(&issuer(1), ORIGIN, 1, Some(records[0].entry.id), 9));
    log.take(&receipt(2, Some(records[0].entry.id)));
    log.take(&receipt_of(&issuer(2), ORIGIN, 0, Some(records[0].entry.id), 0));
    assert_eq!(
        log.shown(),
        ["number-again at entry 3", "chain-broken at entry 4", "chain-broken at entry 5"],
    );
    assert_eq!(log.report.exit_code(), 0);
}

/// A missing number is reported after a while, or when many have come after it.
#[test]
fn gaps_are_reported_when_they_last() {
    let mut log = EvilLog::begun();
    log.take(&receipt(2, None));
    log.audit.check_gaps(ms(START + GAP_GRACE_MS), &mut log.report);
    assert!(log.codes().is_empty());
    log.audit.check_gaps(ms(START + GAP_GRACE_MS + 1), &mut log.report);
    assert_eq!(log.shown(), ["number-gap at entry 1"]);
    assert!(log.report.findings()[0].message.contains("numbers 0 to 1 "));

    let mut log = EvilLog::begun();
    let records = chain(AHEAD_MAX as u64 + 3);
    records[2..].iter().for_each(|record| log.take(record));
    assert_eq!(log.shown(), ["number-gap at entry 1"]);
    log.audit.check_gaps(ms(START + 2 * GAP_GRACE_MS), &mut log.report);
    assert_eq!(log.codes().len(), 1, "it is reported once, and the stream goes on behind it");
}

/// Without the statement, a place in a stream is the log's word: nothing is raised against the issuer.
#[test]
fn issuers_are_not_judged_by_the_logs_word() {
    let mut log = EvilLog::begun();
    log.take(&receipt(0, None));
    let word = Entry { id: Id::new(Hash::leaf(b"1")), ..receipt(7, None).entry };
    log.serve(&word.to_bytes(), Slot::Withheld);
    log.take(&receipt(3, None));
    log.take(&receipt(8, None));
    log.audit.check_gaps(ms(START + 2 * GAP_GRACE_MS), &mut log.report);
    assert!(log.codes().is_empty());
    log.take(&receipt(9, None));
    assert_eq!(log.shown(), ["chain-broken at entry 5"]);
}

/// Beyond a limit streams are not followed, which is said once and raised against nobody.
#[test]
fn streams_without_number_fill_no_memory() {
    let mut log = EvilLog::begun();
    let key = |n: usize| streams::StreamKey(Hash::leaf(&n.to_be_bytes()));
    let followed = (0..streams::STREAMS_MAX).map(|n| (key(n), streams::Stream::default())).collect();
    let (frontier, times) = (log.audit.frontier().clone(), log.audit.times().clone());
    let streams = Streams { followed, overflowed: false };
    log.audit = Audit::resume(log.signer.public().clone(), None, frontier, times, streams);
    log.take(&receipt(0, None));
    log.take(&receipt(7, None));
    assert_eq!(log.shown(), ["streams-untracked at entry 1"]);
    assert_eq!(log.audit.streams().followed.len(), streams::STREAMS_MAX);
}

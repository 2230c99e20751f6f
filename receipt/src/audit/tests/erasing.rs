//! Statements that are gone: by whose order, or by nobody's.

use super::{evil::*, *};
use crate::{
    key::SigningKey,
    statement::{Erasure, Predicate, Revocation, Subject, erasure::Basis, revocation::RevocationReason},
};

/// An order to erase a record, by the key with that seed.
fn order(seed: u8, about: &Record) -> Record {
    let subject = Subject::Record(about.entry.leaf_hash());
    record(&issuer(seed), ORIGIN, subject, None, Predicate::Erasure(Erasure { basis: Basis::RightsRequest }))
}

/// A receipt by the key with seed 1, which came with a claim key with seed 6.
fn claimed(number: u64) -> Record {
    let plain = receipt(number, None);
    let mut statement = plain_statement(&plain);
    if let Predicate::Receipt(receipt) = &mut statement.predicate {
        receipt.claim = Some(issuer(6).public().clone());
    }
    of_envelope(&statement.sign(&issuer(1)).unwrap())
}

fn plain_statement(record: &Record) -> crate::Statement {
    record.entry.check_statement(&record.statement).unwrap()
}

fn gone(log: &mut EvilLog, record: &Record) {
    log.serve(&record.entry.to_bytes(), Slot::Served(b""));
}

fn settled(log: &mut EvilLog) -> Vec<String> {
    log.audit.erasures_mut().report_unexplained(|_| true, &mut log.report);
    log.shown()
}

/// An empty slot waits for its record; issuer, claim key and an issuer's successor may order it, and nothing is found.
#[test]
fn who_may_order_an_erasure_leaves_no_finding() {
    let (old, new) = (issuer(1), issuer(4));
    for signer in [1, 6, 4] {
        let mut log = EvilLog::begun();
        let erased = claimed(0);
        gone(&mut log, &erased);
        let revocation = Revocation {
            key: old.public().clone(),
            reason: RevocationReason::ALL[0],
            since: None,
            successor: Some(new.public().clone()),
        };
        log.take(&record(&old, ORIGIN, Subject::Log, None, Predicate::Revocation(revocation)));
        assert_eq!(log.audit.erasures().empty.len(), 1);
        log.take(&order(signer, &erased));
        assert_eq!(log.audit.erasures().empty.len(), 0);
        assert_eq!(settled(&mut log), [""; 0], "{signer}");
    }
}

/// The operator alone is reported, in a class of its own; a stranger's order is one that the log had no right to take.
#[test]
fn orders_of_others_are_found() {
    for (signer, shown, code) in [(9, "erased-by-log at entry 2", 15), (5, "not-admitted at entry 2", 11)] {
        let mut log = EvilLog::begun();
        let erased = claimed(0);
        gone(&mut log, &erased);
        log.take(&order(signer, &erased));
        assert_eq!(settled(&mut log), [shown]);
        assert_eq!(log.report.exit_code(), code);
    }
}

/// Without a record, or with one about another entry, or one whose own statement is not signed as it must be, a slot that is
/// empty is a fault; and so is that of a record which is never erased, at once.
#[test]
fn what_vanishes_without_an_order_is_a_fault() {
    let mut log = EvilLog::begun();
    let (erased, other) = (claimed(0), claimed(1));
    gone(&mut log, &erased);
    log.take(&other);
    log.take(&order(1, &other));
    let forged = order(1, &erased);
    let mut entry = forged.entry.clone();
    entry.signature = erased.entry.signature.clone();
    log.serve(&entry.to_bytes(), Slot::Served(&forged.statement));
    let lost = order(1, &erased);
    assert_eq!(settled(&mut log), ["statement-signature at entry 4", "statement-missing at entry 1"]);

    let mut log = EvilLog::begun();
    log.take(&erased);
    gone(&mut log, &lost);
    assert_eq!(log.shown(), ["statement-missing at entry 2"]);
    assert!(log.audit.erasures().orders.is_empty(), "what orders nothing that is signed orders nothing");
}

/// An order about a statement that was still there is handed out, to be judged once its target was looked up.
#[test]
fn later_orders_are_judged_by_the_entry_they_are_about() {
    for (signer, shown, may) in [
        (1, None, true),
        (6, None, true),
        (9, Some("erased-by-log at entry 2"), true),
        (5, Some("not-admitted at entry 2"), false),
    ] {
        let mut log = EvilLog::begun();
        let target = claimed(0);
        log.take(&target);
        log.take(&order(signer, &target));
        let [order] = &log.audit.erasures().orders.clone()[..] else { panic!("one order") };
        assert_eq!((order.record.get(), order.about, order.target), (2, target.entry.leaf_hash(), None));
        let index = LeafIndex::new(1).unwrap();
        assert_eq!(log.audit.erasures().judge_target(order, index, &target.entry, &mut log.report), may);
        assert_eq!(log.shown(), Vec::from_iter(shown));
    }
    let mut log = EvilLog::begun();
    log.take(&order(1, &rules()));
    let [order] = &log.audit.erasures().orders.clone()[..] else { panic!("one order") };
    let index = LeafIndex::new(0).unwrap();
    assert!(!log.audit.erasures().judge_target(order, index, &rules().entry, &mut log.report));
    Erasures::judge_missing(order, &mut log.report);
    assert_eq!(log.shown(), ["not-admitted at entry 1", "not-admitted at entry 1"]);
}

/// Who does not see statements sees who orders erasures all the same.
#[test]
fn orders_are_seen_without_statements() {
    let mut log = EvilLog::begun();
    let target = claimed(0);
    log.serve(&target.entry.to_bytes(), Slot::Withheld);
    log.serve(&order(9, &target).entry.to_bytes(), Slot::Withheld);
    assert_eq!(log.audit.erasures().orders.len(), 1);
    assert_eq!(settled(&mut log), [""; 0]);
}

/// A log cannot fill its auditor's memory with empty slots, and what is not followed is told once.
#[test]
fn empty_slots_are_bounded() {
    let mut erasures = Erasures::default();
    let key: SigningKey = issuer(1);
    for n in 0..erasures::EMPTY_MAX as u64 {
        let index = LeafIndex::new(n).unwrap();
        let empty = erasures::Empty { index, issuer: key.public().clone(), claim: None };
        erasures.empty.insert(Hash::leaf(&n.to_be_bytes()), empty);
    }
    let mut log = EvilLog::begun();
    *log.audit.erasures_mut() = erasures;
    gone(&mut log, &claimed(0));
    gone(&mut log, &claimed(1));
    assert_eq!(log.shown(), ["erasures-untracked at entry 1"]);
    assert_eq!(log.audit.erasures().empty.len(), erasures::EMPTY_MAX);
}

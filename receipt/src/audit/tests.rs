mod erasing;
mod evil;
mod numbering;
mod timing;

use counterfoil_merkle::{
    Hash,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
    tile::{TileKind, TilePath, TileTree},
};

use super::{streams::GAP_GRACE_MS, *};
use crate::envelope::{Id, VerifiedEnvelope};
use evil::{EvilLog, ORIGIN, START, chain, issuer, ms, receipt, receipt_of, rules};

/// A log that keeps its promises: nothing is found, and its tree is the tree of its entries.
#[test]
fn an_honest_log_passes() {
    let mut log = EvilLog::begun();
    let mut tree = Frontier::new();
    tree.push(rules().entry.leaf_hash(), |_| ()).unwrap();
    for (n, record) in chain(5).iter().enumerate() {
        let at = START + 600 * n as u64;
        log.attest(log.audit.size().get() + 1, at / 1000);
        log.take_at(record, at);
        tree.push(Entry { at: ms(at), ..record.entry.clone() }.leaf_hash(), |_| ()).unwrap();
    }
    assert_eq!(log.audit.head(), tree.head());
    log.audit.check_head(tree.head(), &mut log.report);
    log.audit.check_gaps(ms(log.now + 10 * GAP_GRACE_MS), &mut log.report);
    assert!(log.codes().is_empty());
    assert_eq!(log.audit.times().newest_s(), Some((START + 2400) / 1000));
}

/// An audit that is put down and taken up again finds what one that went through would have found.
#[test]
fn an_audit_can_be_resumed() {
    let mut log = EvilLog::begun();
    let records = chain(4);
    log.take_at(&records[0], START + 2000);
    log.take_at(&records[2], START + 2000);
    let audit = &log.audit;
    log.audit = Audit::resume(
        log.signer.public().clone(),
        Some(log.clock.public().clone()),
        audit.frontier().clone(),
        audit.times().clone(),
        audit.streams().clone(),
    );
    log.take_at(&records[1], START + 2000);
    assert!(log.codes().is_empty(), "a number that came late is no gap");
    log.take_at(&records[3], START + 1000);
    assert_eq!(log.shown(), ["at-back at entry 4"]);
}

#[test]
fn unreadable_entries_are_reported_and_hashed() {
    let mut log = EvilLog::begun();
    let spaced = String::from_utf8(receipt(0, None).entry.to_bytes()).unwrap().replace(':', ": ");
    for entry in [spaced.as_bytes(), b"", b"{}", &[0xff; 700]] {
        log.serve(entry, Slot::Served(b"x"));
    }
    assert_eq!(log.codes(), ["entry-unreadable"; 4]);
    assert_eq!((log.report.exit_code(), log.audit.size().get()), (14, 5));
}

#[test]
fn entries_must_hash_to_what_is_signed() {
    let mut log = EvilLog::begun();
    let head = TreeHead { root: Hash::leaf(b"other"), ..log.audit.head() };
    log.audit.check_head(head, &mut log.report);
    assert_eq!(log.shown(), ["root-mismatch at checkpoint 1"]);
}

#[test]
fn statements_must_be_those_of_their_entries() {
    let mut log = EvilLog::begun();
    let good = receipt(0, None);
    log.serve(&good.entry.to_bytes(), Slot::Served(b""));
    log.serve(&receipt(1, None).entry.to_bytes(), Slot::Served(&good.statement));
    let mut entry = receipt(2, None).entry;
    entry.signature = good.entry.signature;
    log.serve(&entry.to_bytes(), Slot::Served(&receipt(2, None).statement));
    let claimed = receipt(3, None);
    let entry = Entry { claim: Some(issuer(4).public().clone()), ..claimed.entry };
    log.serve(&entry.to_bytes(), Slot::Served(&claimed.statement));
    log.take(&receipt_of(&issuer(1), "other.example", 4, None, 0));
    log.audit.erasures_mut().report_unexplained(|_| true, &mut log.report);
    assert_eq!(
        log.shown(),
        [
            "statement-other at entry 2",
            "statement-signature at entry 3",
            "entry-differs at entry 4",
            "statement-log at entry 5",
            "statement-missing at entry 1",
        ]
    );
    assert_eq!(log.report.exit_code(), 11);
}

/// What was signed but is no statement is the log's fault, whatever kind it says it is.
#[test]
fn statements_are_judged_apart_from_their_signatures() {
    let mut log = EvilLog::begun();
    let text = String::from_utf8(receipt(0, None).statement).unwrap();
    let mut take_text = |text: String| {
        let envelope = VerifiedEnvelope::sign(text.into_bytes(), &issuer(1)).unwrap();
        let entry = Entry {
            id: envelope.id(),
            signature: envelope.envelope().signature().to_vec(),
            ..receipt(0, None).entry
        };
        log.serve(&entry.to_bytes(), Slot::Served(envelope.envelope().statement_bytes()));
    };
    take_text(text.replace("timeout", "ended by the moon"));
    take_text(text.replace("inference-receipt", "verdict"));
    assert_eq!(log.shown(), ["statement-malformed at entry 1", "statement-malformed at entry 2"]);
}

#[test]
fn a_log_begins_with_its_rules() {
    let mut log = EvilLog::empty();
    log.take(&receipt(0, None));
    assert_eq!(log.shown(), ["rules-missing at entry 0"]);
}

#[test]
fn served_tiles_are_what_the_entries_give() {
    let path: TilePath = "tile/0/000.p/3".parse().unwrap();
    let tree = TileTree::from_hashes((0..5_u8).map(|n| Hash::leaf(&[n])));
    let mut bytes = tree.to_bytes(3);
    let mut report = Report::new();
    served::check_tile(path, &bytes, &tree, &mut report);
    assert_eq!(report, Report::new());
    bytes[40] ^= 1;
    served::check_tile(path, &bytes, &tree, &mut report);
    served::check_tile(path, &bytes[..64], &tree, &mut report);
    let bundle = TilePath { kind: TileKind::Entries, index: 0, width: 2 };
    assert!(served::bundle_items(bundle, b"\0\x01a\0\x01b", &mut report).is_some());
    assert!(served::bundle_items(bundle, b"\0\x01a", &mut report).is_none());
    assert!(served::bundle_items(bundle, b"\0\x09a", &mut report).is_none());
    let codes: Vec<_> = report.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes[..2], [Code::TileMismatch, Code::TileMalformed]);
    assert_eq!(codes[2..], [Code::TileMalformed; 2]);
}

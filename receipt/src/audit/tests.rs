use counterfoil_merkle::{
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
    tile::{TileKind, TilePath, TileTree},
};

use super::{
    streams::{AHEAD_MAX, GAP_GRACE_MS},
    *,
};
use crate::{
    envelope::{Id, VerifiedEnvelope},
    key::SigningKey,
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, Rules, StreamId, Subject,
        receipt::{Api, Model, Outcome, Protocol},
        rules::Mode,
    },
};

const ORIGIN: &str = "log.example/2026";
/// When the first entry is taken: a whole second.
const START: u64 = 1_763_712_345_000;

/// A log with two issuers' keys and whatever anybody wants it to say.
struct EvilLog {
    signer: NoteSigner,
    clock: NoteSigner,
    audit: Audit,
    report: Report,
    now: u64,
}

/// A record as a log holds it.
#[derive(Clone)]
struct Record {
    entry: Entry,
    statement: Vec<u8>,
}

fn ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn issuer(seed: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&[seed; 32])
}

fn record(
    key: &SigningKey,
    log: &str,
    subject: Subject,
    numbering: Option<Numbering>,
    predicate: Predicate,
) -> Record {
    let issuer = Issuer { key: key.public().clone(), software: None };
    let frame = Frame { nonce: Nonce::new([7; 16]), log: log.parse().unwrap(), issuer, numbering };
    let statement = Statement { subject, frame, predicate };
    of_envelope(&statement.sign(key).unwrap())
}

fn of_envelope(envelope: &VerifiedEnvelope) -> Record {
    let statement = Statement::parse(envelope).unwrap();
    let draft = crate::entry::EntryDraft::new(envelope, &statement);
    let entry = Entry::parse(&draft.stamp(ms(START))).unwrap();
    Record { entry, statement: envelope.envelope().statement_bytes().to_vec() }
}

fn rules() -> Record {
    let key = issuer(9);
    let rules = Rules { mode: Mode::Open, registrars: Vec::new(), operator: key.public().clone() };
    record(&key, ORIGIN, Subject::Log, None, Predicate::Rules(rules))
}

fn receipt_of(key: &SigningKey, log: &str, number: u64, previous: Option<Id>, what: u8) -> Record {
    let subject = Subject::Exchange { request: Commitment::new([what; 32]), response: None };
    let number = Number::new(number).unwrap();
    let numbering = Numbering { stream: StreamId::new([3; 16]), number, previous };
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".to_owned(), stream: false };
    let model = Model { requested: None, reported: None, alias: None, claimed: None };
    let receipt = Receipt::new(api, model, Outcome::Timeout);
    record(key, log, subject, Some(numbering), Predicate::Receipt(Box::new(receipt)))
}

fn receipt(number: u64, previous: Option<Id>) -> Record {
    receipt_of(&issuer(1), ORIGIN, number, previous, 0)
}

/// Receipts 0 to `count` of one stream, each naming the one before.
fn chain(count: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for number in 0..count {
        let previous = records.last().map(|record| record.entry.id);
        records.push(receipt(number, previous));
    }
    records
}

impl EvilLog {
    /// A log without entries.
    fn empty() -> Self {
        let signer = |name: &str, algorithm| {
            NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[5; 32]).unwrap()
        };
        let (log, clock) = (
            signer(ORIGIN, Algorithm::Ed25519),
            signer(&format!("{ORIGIN}/clock"), Algorithm::CosignatureV1),
        );
        let audit = Audit::new(log.public().clone(), Some(clock.public().clone())).with_ids(Ids::all());
        Self { signer: log, clock, audit, report: Report::new(), now: START + 10_000 }
    }

    /// A log that begins as every log must.
    fn begun() -> Self {
        let mut log = Self::empty();
        log.take(&rules());
        assert!(log.codes().is_empty());
        log
    }

    fn take(&mut self, record: &Record) {
        self.serve(&record.entry.to_bytes(), Slot::Served(&record.statement));
    }

    fn take_at(&mut self, record: &Record, at: u64) {
        let entry = Entry { at: ms(at), ..record.entry.clone() };
        self.serve(&entry.to_bytes(), Slot::Served(&record.statement));
    }

    fn serve(&mut self, entry: &[u8], slot: Slot<'_>) {
        self.audit.leaf(entry, slot, ms(self.now), &mut self.report, |_| ()).unwrap();
    }

    fn head(&self, size: u64, root: Hash) -> Checkpoint {
        let size = TreeSize::new(size).unwrap();
        Checkpoint::new(Origin::new(ORIGIN).unwrap(), TreeHead { size, root })
    }

    fn show(&mut self, note: &[u8]) -> Option<Seen> {
        self.audit.checkpoint(note, ms(self.now), &mut self.report)
    }

    /// A checkpoint of that size with the given time.
    fn attest(&mut self, size: u64, time_s: u64) {
        let mut signed = self.head(size, Hash::leaf(b"any")).sign(&self.signer);
        signed.cosign(&self.clock, time_s);
        let seen = self.show(signed.to_string().as_bytes()).unwrap();
        assert_eq!(seen.time_s, Some(time_s));
    }

    fn codes(&self) -> Vec<&'static str> {
        self.report.findings().iter().map(|finding| finding.code.as_str()).collect()
    }

    fn shown(&self) -> Vec<String> {
        let place = |finding: &Finding| format!("{} at {}", finding.code, finding.place);
        self.report.findings().iter().map(place).collect()
    }
}

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
fn times_of_entries_do_not_go_back() {
    let mut log = EvilLog::begun();
    log.take_at(&receipt(0, None), START - 1);
    assert_eq!(log.shown(), ["at-back at entry 1"]);
}

#[test]
fn no_entry_is_dated_after_it_was_first_seen() {
    let mut log = EvilLog::begun();
    let latest = log.now + times::CLOCK_SKEW_MS;
    let records = chain(2);
    log.take_at(&records[0], latest);
    assert!(log.codes().is_empty());
    log.take_at(&records[1], latest + 1);
    assert_eq!(log.shown(), ["at-ahead at entry 2"]);
}

/// Whichever comes first, entry or checkpoint: what the checkpoint has is not later, what it lacks is not earlier.
#[test]
fn checkpoints_hold_entries_from_both_sides() {
    let second = START / 1000;
    let records = chain(2);
    for (size, time_s, found) in [
        (2, second, "at-after-checkpoint at entry 1"),
        (1, second + 3, "at-before-checkpoint at entry 1"),
        (2, second + 3, "at-before-checkpoint at entry 2"),
    ] {
        let mut before = EvilLog::begun();
        before.attest(size, time_s);
        let mut after = EvilLog::begun();
        for record in &records {
            before.take_at(record, START + 2999);
            after.take_at(record, START + 2999);
        }
        after.attest(size, time_s);
        assert_eq!(before.shown()[0], found);
        assert_eq!(after.shown(), [found]);
    }
    let mut honest = EvilLog::begun();
    honest.attest(1, second);
    honest.take_at(&records[0], START + 2999);
    honest.attest(2, second + 2);
    honest.attest(1, second + 2);
    assert!(honest.codes().is_empty());
}

#[test]
fn times_of_checkpoints_grow_with_their_sizes() {
    let second = START / 1000;
    let mut log = EvilLog::begun();
    log.attest(10, second + 5);
    log.attest(11, second + 4);
    log.attest(9, second + 6);
    assert_eq!(
        log.shown(),
        ["clock-back at checkpoint 11", "clock-back at checkpoint 9", "clock-back at checkpoint 9"]
    );
    let mut log = EvilLog::begun();
    log.attest(1, (log.now + times::CLOCK_SKEW_MS) / 1000);
    assert!(log.codes().is_empty());
    log.attest(1, (log.now + times::CLOCK_SKEW_MS) / 1000 + 1);
    assert_eq!(log.shown(), ["clock-ahead at checkpoint 1"]);
}

#[test]
fn checkpoints_are_signed_by_log_and_clock() {
    let stranger = |name: &str, algorithm| {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[6; 32]).unwrap()
    };
    let mut log = EvilLog::begun();
    let text = log.head(1, log.audit.head().root);
    let signed = text.sign(&log.signer);
    assert!(log.show(signed.to_string().as_bytes()).unwrap().time_s.is_none());
    let mut forged = signed;
    forged.cosign(&log.clock, START / 1000);
    let forged = forged.to_string();
    let (head, line) = forged.trim_end().rsplit_once(' ').unwrap();
    let mut line = line.to_owned();
    line.replace_range(30..31, if &line[30..31] == "A" { "B" } else { "A" });
    assert!(log.show(format!("{head} {line}\n").as_bytes()).unwrap().time_s.is_none());
    assert!(log.show(text.sign(&stranger(ORIGIN, Algorithm::Ed25519)).to_string().as_bytes()).is_none());
    let other = Checkpoint::new(Origin::new("other.example").unwrap(), text.head);
    let other = other.sign(&stranger("other.example", Algorithm::Ed25519));
    assert!(log.show(other.to_string().as_bytes()).is_none());
    assert!(log.show(b"\xff").is_none());
    assert!(log.show(b"not a checkpoint\n").is_none());
    let expected = [
        "clock-missing",
        "clock-signature",
        "checkpoint-signature",
        "checkpoint-origin",
        "checkpoint-malformed",
        "checkpoint-malformed",
    ];
    assert_eq!(log.codes(), expected);
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
    assert_eq!(
        log.shown(),
        [
            "statement-missing at entry 1",
            "statement-other at entry 2",
            "statement-signature at entry 3",
            "entry-differs at entry 4",
            "statement-log at entry 5",
        ]
    );
    assert_eq!(log.report.exit_code(), 11);
}

/// What was signed but is no statement is the log's fault; a kind of record from a later version is nobody's.
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
    assert_eq!(log.shown(), ["statement-malformed at entry 1", "kind-unknown at entry 2"]);
}

#[test]
fn a_log_begins_with_its_rules() {
    let mut log = EvilLog::empty();
    log.take(&receipt(0, None));
    assert_eq!(log.shown(), ["rules-missing at entry 0"]);
}

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

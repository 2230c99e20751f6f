use super::*;
use crate::{
    Envelope,
    entry::EntryDraft,
    standing::PromiseState,
    statement::{Frame, Issuer, Nonce, Number, Numbering, Promise, Subject},
    testing::{at, exchange, key, log, public, receipt},
};

const STREAM: StreamId = StreamId::new([3; 16]);

/// What an issuer signed, in order, and what of it a log took.
struct Issued {
    records: Vec<(Statement, Envelope)>,
    promises: Vec<Envelope>,
}

fn signed(statement: &Statement, signer: &str) -> Envelope {
    statement.sign(&key(signer)).unwrap().into_envelope()
}

fn statement(signer: &str, nonce: u64, subject: Subject, predicate: Predicate) -> Statement {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    let issuer = Issuer { key: public(signer), software: None };
    let frame = Frame { nonce: Nonce::new(bytes), log: log(), issuer, numbering: None };
    Statement { subject, frame, predicate }
}

impl Issued {
    /// Receipts with the numbers from 0, a claim key and a promise for each.
    fn new(count: u64) -> Self {
        let (mut records, mut promises, mut previous) = (Vec::new(), Vec::new(), None);
        for number in 0..count {
            let claim = format!("claim {number}");
            let mut it = statement("issuer", number, exchange(), receipt(Some(&claim)));
            let number = Number::new(number).unwrap();
            it.frame.numbering = Some(Numbering { stream: STREAM, number, previous });
            let envelope = signed(&it, "issuer");
            previous = Some(envelope.id());
            records.push((it, envelope));
            let promise = Predicate::Promise(Promise { claim: public(&claim), by: at(5_000) });
            promises
                .push(signed(&statement("issuer", 1_000 + number.get(), Subject::Log, promise), "issuer"));
        }
        Self { records, promises }
    }

    fn epoch(&self, next: usize) -> Statement {
        let last = next.checked_sub(1).map(|last| self.records[last].1.id());
        let next = Number::new(next as u64).unwrap();
        let epoch = Epoch { stream: STREAM, next, last, from: at(0), to: at(1) };
        statement("issuer", 5_000 + next.get(), Subject::Log, Predicate::Epoch(epoch))
    }

    fn all(&self) -> Vec<Statement> {
        self.records.iter().map(|(statement, _)| statement.clone()).collect()
    }
}

fn auditor() -> Completeness {
    Completeness::new(log(), public("issuer"), None)
}

fn holding(envelope: &Envelope) -> Holding {
    Holding { envelope: envelope.clone(), proven_at: None }
}

/// A log of these records, each a millisecond after the one before from 1000 on, among some of others.
fn walk(auditor: Completeness, records: &[Statement], attested: u64) -> Finished {
    walk_past(auditor, records, attested, &[])
}

/// As [`walk`], where the statements of those records are gone.
fn walk_past(mut auditor: Completeness, records: &[Statement], attested: u64, gone: &[usize]) -> Finished {
    let others = |n: u64| statement("issuer2", n, exchange(), receipt(None));
    let mut all = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let mut other = others(n as u64);
        let number = Number::new(7 * n as u64).unwrap();
        other.frame.numbering = Some(Numbering {
            stream: STREAM,
            number,
            previous: (n > 0).then(|| Id::of_statement(b"whatever")),
        });
        all.extend([(other, "issuer2"), (record.clone(), "issuer")]);
    }
    for (index, (statement, signer)) in all.iter().enumerate() {
        let envelope = statement.sign(&key(signer)).unwrap();
        let entry = EntryDraft::new(&envelope, statement).stamp(at(1_000 + index as u64));
        let (leaf, entry) = (Hash::leaf(&entry), Entry::parse(&entry).unwrap());
        let shown = index % 2 == 0 || !gone.contains(&(index / 2));
        let said = (auditor.needs(&entry) && shown).then_some(statement);
        auditor.take(LeafIndex::new(index as u64).unwrap(), leaf, &entry, said);
    }
    auditor.finish(Some(at(attested)), 60_000)
}

const LATER: u64 = 100_000;

fn codes(finished: &Finished) -> Vec<Code> {
    let mut codes: Vec<_> = finished.report.findings().iter().map(|finding| finding.code).collect();
    codes.dedup();
    codes
}

/// A log that has all of a stream passes, whatever the auditor holds of it.
#[test]
fn a_whole_stream_passes() {
    let issued = Issued::new(30);
    let mut auditor = auditor();
    for envelope in issued.promises.iter().chain(issued.records.iter().map(|(_, envelope)| envelope)) {
        auditor.hold(holding(envelope)).unwrap();
    }
    let mut records = issued.all();
    records.push(issued.epoch(30));
    let finished = walk(auditor, &records, LATER);
    assert_eq!((codes(&finished), finished.waiting), (vec![], 0));
    let extent = &finished.streams[&STREAM];
    assert_eq!((extent.records, extent.highest, extent.next, extent.epochs), (30, Some(29), 30, 1));
    assert_eq!(finished.promises.len(), 30);
    let kept = |outcome: &PromiseOutcome| matches!(outcome.state, PromiseState::Kept { late: false, .. });
    assert!(finished.promises.iter().all(kept));
}

/// Whatever one record is dropped, and however many of the last: an epoch record, one receipt from the tail or one promise is enough
/// to see it; and without any of them, a tail that is cut shows nowhere.
#[test]
fn what_is_dropped_is_found() {
    let issued = Issued::new(30);
    for dropped in 0..30 {
        let mut records = issued.all();
        records.remove(dropped);
        let plain = walk(auditor(), &records, LATER);
        assert_eq!(codes(&plain), if dropped < 29 { vec![Code::NumberGap] } else { vec![] }, "{dropped}");
        let mut holds = auditor();
        holds.hold(holding(&issued.promises[dropped])).unwrap();
        assert!(codes(&walk(holds, &records, LATER)).contains(&Code::PromiseBroken), "{dropped}");
        let mut holds = auditor();
        holds.hold(holding(&issued.records[dropped].1)).unwrap();
        assert!(codes(&walk(holds, &records, LATER)).contains(&Code::RecordMissing), "{dropped}");
    }
    for kept in 0..30 {
        let mut records = issued.all();
        records.truncate(kept);
        assert_eq!(codes(&walk(auditor(), &records, LATER)), []);
        let mut holds = auditor();
        holds.hold(holding(&issued.records[29].1)).unwrap();
        let found = walk(holds, &records, LATER);
        assert_eq!(codes(&found), [Code::TailMissing, Code::RecordMissing], "{kept}");
        let said = format!("numbers {kept} to 29 of stream");
        assert!(found.report.findings()[0].message.contains(&said), "{:?}", found.report);
        records.push(issued.epoch(30));
        let found = walk(auditor(), &records, LATER);
        assert_eq!(codes(&found), [Code::TailMissing], "{kept}");
        assert!(found.report.findings()[0].message.contains(&said), "{:?}", found.report);
    }
}

/// Who drops a record and has the next one erased hides nothing; and erasing alone is no fault.
#[test]
fn erasing_hides_no_gap() {
    let issued = Issued::new(30);
    let mut records = issued.all();
    assert_eq!(codes(&walk_past(auditor(), &records, LATER, &[3, 17, 29])), []);
    records.remove(17);
    for gone in [&[17][..], &[16, 17, 18], &[28]] {
        assert_eq!(codes(&walk_past(auditor(), &records, LATER, gone)), [Code::NumberGap], "{gone:?}");
    }
}

/// What is not late yet is waited for, and may come after the epoch record that speaks of it.
#[test]
fn what_may_be_on_its_way_is_waited_for() {
    let issued = Issued::new(10);
    let mut records = issued.all();
    records.remove(5);
    let gap = walk(auditor(), &records, 2_000);
    assert_eq!((codes(&gap), gap.waiting), (vec![], 1));
    let mut records = issued.all();
    let last = records.split_off(7);
    records.push(issued.epoch(10));
    let tail = walk(auditor(), &records, 2_000);
    assert_eq!((codes(&tail), tail.waiting), (vec![], 3));
    records.extend(last);
    let whole = walk(auditor(), &records, LATER);
    assert_eq!((codes(&whole), whole.waiting), (vec![], 0));
    let mut holds = auditor();
    holds.hold(holding(&issued.promises[9])).unwrap();
    let early = walk(holds, &issued.all()[..9], 5_000);
    assert_eq!(codes(&early), []);
    assert!(matches!(early.promises[0].state, PromiseState::Pending { .. }));
    let mut holds = auditor();
    holds.hold(holding(&issued.promises[9])).unwrap();
    let untimed = holds.finish(None, 0);
    assert!(untimed.untimed && untimed.promises.is_empty());
}

/// An issuer that says one thing in its epoch records and another in its stream, or signs one number twice, is caught.
#[test]
fn contradictions_are_found() {
    let issued = Issued::new(10);
    let mut records = issued.all();
    records.push(issued.epoch(7));
    assert_eq!(codes(&walk(auditor(), &records, LATER)), [Code::EpochDiffers]);

    let mut records = issued.all();
    let mut lies = issued.epoch(10);
    let Predicate::Epoch(epoch) = &mut lies.predicate else { unreachable!() };
    epoch.last = Some(issued.records[3].1.id());
    records.push(lies.clone());
    assert_eq!(codes(&walk(auditor(), &records, LATER)), [Code::EpochDiffers]);
    records.rotate_right(1);
    assert_eq!(codes(&walk(auditor(), &records, LATER)), [Code::EpochDiffers], "also if it comes first");

    let mut other = issued.records[9].0.clone();
    other.frame.nonce = Nonce::new([0xee; 16]);
    let mut holds = auditor();
    holds.hold(holding(&signed(&other, "issuer"))).unwrap();
    let found = walk(holds, &issued.all(), LATER);
    assert_eq!(codes(&found), [Code::NumberAgain, Code::RecordMissing]);
    let mut records = issued.all();
    records.push(other.clone());
    assert_eq!(codes(&walk(auditor(), &records, LATER)), [Code::NumberAgain]);
    let mut holds = auditor();
    holds.hold(holding(&issued.records[9].1)).unwrap();
    let twice = holds.hold(holding(&signed(&other, "issuer"))).unwrap_err();
    assert!(matches!(twice, HoldError::NumberAgain { number: 9, .. }), "{twice}");
}

/// A promise that was kept late is said to be.
#[test]
fn late_is_not_kept() {
    let issued = Issued::new(1);
    let mut holds = auditor();
    let promise = Predicate::Promise(Promise { claim: public("claim 0"), by: at(1_000) });
    let promise = signed(&statement("issuer", 9, Subject::Log, promise), "issuer");
    holds.hold(holding(&promise)).unwrap();
    let finished = walk(holds, &issued.all(), LATER);
    assert_eq!(codes(&finished), [Code::PromiseLate]);
    assert!(matches!(finished.promises[0].state, PromiseState::Kept { late: true, .. }));
}

/// What is held and says nothing about these streams is refused, with the rule that it breaks.
#[test]
fn what_is_held_must_be_about_these_streams() {
    let promise = |signer: &str, origin: &str| {
        let promise = Predicate::Promise(Promise { claim: public("claim"), by: at(1) });
        let mut statement = statement(signer, 1, Subject::Log, promise);
        statement.frame.log = origin.parse().unwrap();
        holding(&signed(&statement, signer))
    };
    let refused = |holding| auditor().hold(holding).unwrap_err().to_string();
    assert!(refused(promise("issuer", "other.example")).starts_with("rule log: the promise"));
    assert!(refused(promise("issuer2", crate::testing::LOG)).starts_with("rule signer: the promise"));
    let epoch = Issued::new(1).epoch(1);
    assert!(refused(holding(&signed(&epoch, "issuer"))).starts_with("rule statement: the epoch"));
    let good = promise("issuer", crate::testing::LOG);
    let json = good.envelope.to_json();
    let other = signed(&epoch, "issuer").to_json();
    let signature = |json: &str| json.split("\"sig\":").nth(1).unwrap().to_owned();
    let forged = json.replace(&signature(&json), &signature(&other));
    let forged = Holding { envelope: Envelope::parse(forged.as_bytes()).unwrap(), proven_at: None };
    assert!(matches!(auditor().hold(forged), Err(HoldError::Open(_))));
}

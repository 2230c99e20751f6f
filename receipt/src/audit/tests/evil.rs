//! A log that signs and serves whatever a test wants it to.

use counterfoil_merkle::{
    Hash,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
};

use crate::{
    audit::*,
    envelope::{Id, VerifiedEnvelope},
    key::SigningKey,
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, Rules, Statement, StreamId,
        Subject,
        receipt::{Api, Model, Outcome, Protocol},
        rules::Mode,
    },
};

pub(super) const ORIGIN: &str = "log.example/2026";
/// When the first entry is taken: a whole second.
pub(super) const START: u64 = 1_763_712_345_000;

/// A log with two issuers' keys and whatever anybody wants it to say.
pub(super) struct EvilLog {
    pub(super) signer: NoteSigner,
    pub(super) clock: NoteSigner,
    pub(super) audit: Audit,
    pub(super) report: Report,
    pub(super) now: u64,
}

/// A record as a log holds it.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) entry: Entry,
    pub(super) statement: Vec<u8>,
}

pub(super) fn ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

pub(super) fn issuer(seed: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&[seed; 32])
}

pub(super) fn record(
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

pub(super) fn of_envelope(envelope: &VerifiedEnvelope) -> Record {
    let statement = Statement::parse(envelope).unwrap();
    let draft = crate::entry::EntryDraft::new(envelope, &statement);
    let entry = Entry::parse(&draft.stamp(ms(START))).unwrap();
    Record { entry, statement: envelope.envelope().statement_bytes().to_vec() }
}

pub(super) fn rules() -> Record {
    let key = issuer(9);
    let rules = Rules { mode: Mode::Open, registrars: Vec::new(), operator: key.public().clone() };
    record(&key, ORIGIN, Subject::Log, None, Predicate::Rules(rules))
}

pub(super) fn receipt_of(key: &SigningKey, log: &str, number: u64, previous: Option<Id>, what: u8) -> Record {
    let subject = Subject::Exchange { request: Commitment::new([what; 32]), response: None };
    let number = Number::new(number).unwrap();
    let numbering = Numbering { stream: StreamId::new([3; 16]), number, previous };
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".to_owned(), stream: false };
    let model = Model { requested: None, reported: None, alias: None, claimed: None };
    let receipt = Receipt::new(api, model, Outcome::Timeout);
    record(key, log, subject, Some(numbering), Predicate::Receipt(Box::new(receipt)))
}

pub(super) fn receipt(number: u64, previous: Option<Id>) -> Record {
    receipt_of(&issuer(1), ORIGIN, number, previous, 0)
}

/// Receipts 0 to `count` of one stream, each naming the one before.
pub(super) fn chain(count: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for number in 0..count {
        let previous = records.last().map(|record| record.entry.id);
        records.push(receipt(number, previous));
    }
    records
}

impl EvilLog {
    /// A log without entries.
    pub(super) fn empty() -> Self {
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
    pub(super) fn begun() -> Self {
        let mut log = Self::empty();
        log.take(&rules());
        assert!(log.codes().is_empty());
        log
    }

    pub(super) fn take(&mut self, record: &Record) {
        self.serve(&record.entry.to_bytes(), Slot::Served(&record.statement));
    }

    pub(super) fn take_at(&mut self, record: &Record, at: u64) {
        let entry = Entry { at: ms(at), ..record.entry.clone() };
        self.serve(&entry.to_bytes(), Slot::Served(&record.statement));
    }

    pub(super) fn serve(&mut self, entry: &[u8], slot: Slot<'_>) {
        self.audit.leaf(entry, slot, ms(self.now), &mut self.report, |_| ()).unwrap();
    }

    pub(super) fn head(&self, size: u64, root: Hash) -> Checkpoint {
        let size = TreeSize::new(size).unwrap();
        Checkpoint::new(Origin::new(ORIGIN).unwrap(), TreeHead { size, root })
    }

    pub(super) fn show(&mut self, note: &[u8]) -> Option<Seen> {
        self.audit.checkpoint(note, ms(self.now), &mut self.report)
    }

    /// A checkpoint of that size with the given time.
    pub(super) fn attest(&mut self, size: u64, time_s: u64) {
        let mut signed = self.head(size, Hash::leaf(b"any")).sign(&self.signer);
        signed.cosign(&self.clock, time_s);
        let seen = self.show(signed.to_string().as_bytes()).unwrap();
        assert_eq!(seen.time_s, Some(time_s));
    }

    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.report.findings().iter().map(|finding| finding.code.as_str()).collect()
    }

    pub(super) fn shown(&self) -> Vec<String> {
        let place = |finding: &Finding| format!("{} at {}", finding.code, finding.place);
        self.report.findings().iter().map(place).collect()
    }
}

//! Records as they are sent: receipts by their numbers, and orders to erase them.

use std::cell::RefCell;

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Entry, Id, Kind, SigningKey, Statement, Timestamp, VerifiedEnvelope,
    admission::{Admitted, Chain, Link},
    entry::EntryDraft,
    statement::{
        Commitment, Erasure, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        erasure::Basis,
        receipt::{Api, Model, Outcome, Protocol},
    },
};

use crate::life::ORIGIN;

/// A signed record, with what it is about.
#[derive(Clone)]
pub(crate) struct Record {
    signed: VerifiedEnvelope,
    statement: Statement,
    chain: Chain,
}

impl Record {
    fn new(statement: Statement, chain: Chain) -> Self {
        Self { signed: statement.sign(&key()).unwrap(), statement, chain }
    }

    pub(crate) fn id(&self) -> Id {
        self.signed.id()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.statement.kind()
    }

    pub(crate) fn statement(&self) -> &[u8] {
        self.signed.envelope().statement_bytes()
    }

    /// The entry that it makes at that time.
    pub(crate) fn entry(&self, at: Timestamp) -> Vec<u8> {
        EntryDraft::new(&self.signed, &self.statement).stamp(at)
    }

    /// Whether that is its entry, at whatever time.
    pub(crate) fn made(&self, entry: &[u8]) -> bool {
        Entry::parse(entry).unwrap().id == self.id()
    }

    /// As admission lets it in.
    pub(crate) fn admitted(&self) -> Admitted {
        Admitted::new(self.signed.clone(), self.statement.clone(), self.chain.clone())
    }
}

fn key() -> SigningKey {
    SigningKey::from_ed25519_seed(&[7; 32])
}

fn frame(nonce: Hash, numbering: Option<Numbering>) -> Frame {
    let nonce: [u8; 16] = nonce.as_bytes()[..16].try_into().unwrap();
    let issuer = Issuer { key: key().public().clone(), software: None };
    Frame { nonce: Nonce::new(nonce), log: ORIGIN.parse().unwrap(), issuer, numbering }
}

thread_local! {
    /// Receipts that were made, in the order of their numbers: the same whenever they are asked for.
    static RECEIPTS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

/// The receipt with that number.
pub(crate) fn receipt(number: u64) -> Record {
    RECEIPTS.with_borrow_mut(|receipts| {
        for next in receipts.len() as u64..=number {
            let previous = receipts.last().map(Record::id);
            receipts.push(make(next, previous));
        }
        receipts[usize::try_from(number).unwrap()].clone()
    })
}

fn make(number: u64, previous: Option<Id>) -> Record {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
    let model = Model { requested: Some("m-1".into()), reported: None, alias: None, claimed: None };
    let numbering =
        Numbering { stream: StreamId::new([2; 16]), number: Number::new(number).unwrap(), previous };
    let statement = Statement {
        subject: Subject::Exchange { request: Commitment::new([7; 32]), response: None },
        frame: frame(Hash::leaf(&number.to_be_bytes()), Some(numbering)),
        predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Outcome::Complete))),
    };
    Record::new(statement, Chain::default())
}

/// The order to erase the receipt with that entry, by who issued it.
pub(crate) fn erasure(entry: &[u8], index: u64) -> Record {
    let leaf = Hash::leaf(entry);
    let statement = Statement {
        subject: Subject::Record(leaf),
        frame: frame(leaf, None),
        predicate: Predicate::Erasure(Erasure { basis: Basis::RightsRequest }),
    };
    let link = Link::new(LeafIndex::new(index).unwrap(), leaf, Entry::parse(entry).unwrap(), &[]);
    let chain = Chain::of_statement(&statement).fill(|wanted| (wanted == leaf).then(|| link.clone()));
    Record::new(statement, chain)
}

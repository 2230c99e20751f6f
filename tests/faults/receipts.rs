//! Receipts as admission lets them in, and orders to erase them.

use std::sync::OnceLock;

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Id, SigningKey, Statement, VerifiedEnvelope,
    admission::{self, Chain},
    statement::{
        Commitment, Erasure, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        erasure::Basis,
        receipt::{Api, Model, Outcome, Protocol},
    },
};
use counterfoil_server::sequencer::Admitted;

use crate::template::ORIGIN;

/// How many there are.
const COUNT: usize = 900;

/// The receipt with that number, of one stream.
///
/// # Panics
/// If there are not so many.
pub(crate) fn receipt(number: usize) -> Admitted {
    static RECEIPTS: OnceLock<Vec<Admitted>> = OnceLock::new();
    RECEIPTS.get_or_init(|| (0..COUNT as u64).scan(None, |previous, n| Some(make(n, previous))).collect())
        [number]
        .clone()
}

/// The issuer's order that the statement of the record with this leaf hash be erased: always the same.
pub(crate) fn erasure(leaf: Hash) -> (VerifiedEnvelope, Statement) {
    let key = issuer();
    let statement = Statement {
        subject: Subject::Record(leaf),
        frame: Frame {
            nonce: Nonce::new([9; 16]),
            log: ORIGIN.parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: None,
        },
        predicate: Predicate::Erasure(Erasure { basis: Basis::Mistake }),
    };
    (statement.sign(&key).unwrap(), statement)
}

fn issuer() -> SigningKey {
    SigningKey::from_ed25519_seed(&[7; 32])
}

fn make(number: u64, previous: &mut Option<Id>) -> Admitted {
    let key = issuer();
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
    let model = Model { requested: Some("m-1".into()), reported: None, alias: None, claimed: None };
    let statement = Statement {
        subject: Subject::Exchange { request: Commitment::new([7; 32]), response: None },
        frame: Frame {
            nonce: Nonce::new(u128::from(number).to_be_bytes()),
            log: ORIGIN.parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: Some(Numbering {
                stream: StreamId::new([2; 16]),
                number: Number::new(number).unwrap(),
                previous: *previous,
            }),
        },
        predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Outcome::Complete))),
    };
    let admitted: Admitted =
        admission::Admitted::new(statement.sign(&key).unwrap(), statement, Chain::default()).into();
    *previous = Some(admitted.id);
    admitted
}

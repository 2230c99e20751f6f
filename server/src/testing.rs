//! What unit tests share: records that admission let in.

use counterfoil_receipt::{
    Id, SigningKey, Statement, Timestamp,
    admission::Chain,
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        receipt::{Api, Model, Outcome, Protocol},
    },
};

use crate::sequencer::Admitted;

/// A moment.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// The admitted receipt with that number.
pub(crate) fn admitted(number: u64) -> Admitted {
    let key = SigningKey::from_ed25519_seed(&[1; 32]);
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1".into(), stream: false };
    let model = Model { requested: None, reported: None, alias: None, claimed: None };
    let statement = Statement {
        subject: Subject::Exchange { request: Commitment::new([7; 32]), response: None },
        frame: Frame {
            nonce: Nonce::new(u128::from(number).to_be_bytes()),
            log: "log.example".parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: Some(Numbering {
                stream: StreamId::new([2; 16]),
                number: Number::new(number).unwrap(),
                previous: (number > 0).then(|| Id::of_statement(&number.to_be_bytes())),
            }),
        },
        predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Outcome::Complete))),
    };
    let signed = statement.sign(&key).unwrap();
    counterfoil_receipt::admission::Admitted::new(signed, statement, Chain::default()).into()
}

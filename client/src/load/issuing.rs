//! Receipts by the thousand: small, valid, all different, the same again for the same seed.

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Id, SigningKey, Statement,
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Origin, Predicate, Receipt, StreamId, Subject,
        receipt::{Api, Model, Outcome, Protocol},
    },
};

/// An issuer that numbers one stream without gaps.
pub struct Issuing {
    key: SigningKey,
    log: Origin,
    stream: StreamId,
    next: Number,
    previous: Option<Id>,
}

impl Issuing {
    /// An issuer whose key and stream follow from a seed.
    ///
    /// # Panics
    /// If `log` is not an origin.
    pub fn new(log: &str, seed: u64) -> Self {
        let key = SigningKey::from_ed25519_seed(Hash::leaf(&seed.to_be_bytes()).as_bytes());
        Self::with_key(log, seed, key)
    }

    /// An issuer with that key, whose stream follows from a seed.
    ///
    /// # Panics
    /// If `log` is not an origin.
    pub fn with_key(log: &str, seed: u64, key: SigningKey) -> Self {
        let digest = Hash::leaf(&seed.to_be_bytes());
        let stream = digest.as_bytes()[..16].try_into().expect("16 of 32 bytes");
        Self {
            key,
            log: log.parse().expect("an origin"),
            stream: StreamId::new(stream),
            next: Number::FIRST,
            previous: None,
        }
    }

    /// The issuer's key, as it stands in envelopes.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The next receipt: its id and its envelope.
    ///
    /// # Panics
    /// If the receipt is not one that a log takes.
    pub fn issue(&mut self) -> (Id, String) {
        let digest = Hash::of(&[b"exchange", self.stream.as_bytes(), &self.next.get().to_be_bytes()]);
        let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
        let model = Model { requested: Some("m-1".into()), reported: None, alias: None, claimed: None };
        let statement = Statement {
            subject: Subject::Exchange {
                request: Commitment::new(*digest.as_bytes()),
                response: Some(Commitment::new(*Hash::leaf(digest.as_bytes()).as_bytes())),
            },
            frame: Frame {
                nonce: Nonce::new(digest.as_bytes()[..16].try_into().expect("16 of 32 bytes")),
                log: self.log.clone(),
                issuer: Issuer { key: self.key.public().clone(), software: None },
                numbering: Some(Numbering {
                    stream: self.stream,
                    number: self.next,
                    previous: self.previous,
                }),
            },
            predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Outcome::Complete))),
        };
        let envelope = statement.sign(&self.key).expect("a receipt that a log takes");
        self.next = self.next.next().expect("far below the last number");
        self.previous = Some(envelope.id());
        (envelope.id(), envelope.envelope().to_json())
    }
}

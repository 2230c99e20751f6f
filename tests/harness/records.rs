//! Records that are not receipts, signed by whom a test likes, and appended over plain HTTP.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope, SigningKey, Statement, Timestamp,
    statement::{
        Card, Frame, Issuer, Key, Nonce, Number, Numbering, Predicate, Registration, Role, StreamId, Subject,
    },
};
use serde_json::Value;

use crate::{deployment::Deployment, http::Reply};

/// Nonces that no two records of a test run share.
static NONCES: AtomicU64 = AtomicU64::new(1);

/// Signs a record for a log.
///
/// # Panics
/// If it is not one that a log would read.
pub fn record(origin: &str, key: &SigningKey, subject: Subject, predicate: Predicate) -> Envelope {
    let number = NONCES.fetch_add(1, Ordering::Relaxed);
    let nonce: [u8; 16] = Hash::leaf(&number.to_be_bytes()).as_bytes()[..16].try_into().expect("16 bytes");
    let numbering = predicate.kind().is_numbered().then(|| Numbering {
        stream: StreamId::new(nonce),
        number: Number::FIRST,
        previous: None,
    });
    let issuer = Issuer { key: key.public().clone(), software: None };
    let log = origin.parse().expect("an origin");
    let frame = Frame { nonce: Nonce::new(nonce), log, issuer, numbering };
    let statement = Statement { subject, frame, predicate };
    statement.sign(key).expect("a record in good form").into_envelope()
}

/// The card of a party.
pub fn card(origin: &str, key: &SigningKey, name: &str, roles: &[Role]) -> Envelope {
    let card = Card { name: name.parse().expect("a name"), contact: None, roles: roles.to_vec() };
    record(origin, key, Subject::Log, Predicate::Key(Key::Card(card)))
}

impl Deployment {
    /// The registrar's key, where `init` made one.
    ///
    /// # Panics
    /// If it did not.
    pub fn registrar(&self) -> SigningKey {
        let pem = fs::read_to_string(self.directory().join("keys/registrar.pem")).expect("a registrar's key");
        SigningKey::from_pkcs8_pem(&pem).expect("a key")
    }

    /// The operator's key.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn operator(&self) -> SigningKey {
        let pem = fs::read_to_string(self.directory().join("keys/operator.pem")).expect("an operator's key");
        SigningKey::from_pkcs8_pem(&pem).expect("a key")
    }

    /// Sends an envelope.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn send(&self, envelope: &Envelope) -> Reply {
        let sent = self.http().post("/v1/receipts", envelope.to_json().as_bytes());
        sent.expect("the server answers")
    }

    /// Appends an envelope; its leaf hash.
    ///
    /// # Panics
    /// If the log does not take it.
    pub fn put(&self, envelope: &Envelope) -> Hash {
        let reply = self.send(envelope);
        assert_eq!(reply.status, 201, "{}", reply.text());
        let leaf = reply.json()["leaf"].as_str().map(str::parse);
        leaf.expect("a leaf hash").expect("64 hex digits")
    }

    /// Registers a key as the log's registrar would; the leaf hash of the key record.
    pub fn register(&self, key: &SigningKey, name: &str, roles: &[Role]) -> Hash {
        self.register_for(key, name, roles, None, None)
    }

    /// Registers a key for a time.
    ///
    /// # Panics
    /// If the log does not take it.
    pub fn register_for(
        &self,
        key: &SigningKey,
        name: &str,
        roles: &[Role],
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
    ) -> Hash {
        let card = card(&self.origin, key, name, roles);
        let log = self.origin.parse().expect("an origin");
        let mut registration = Registration::new(card, &log).expect("a card");
        (registration.not_before, registration.not_after) = (not_before, not_after);
        let predicate = Predicate::Key(Key::Registration(Box::new(registration)));
        self.put(&record(&self.origin, &self.registrar(), Subject::Log, predicate))
    }
}

/// The rule that an answer says was broken, checked against the refusal in it: signed, of this record, by this operator.
///
/// # Panics
/// If the answer is no refusal, or the refusal in it says something else.
pub fn refused(problem: &Value, envelope: &Envelope, operator: &SigningKey) -> String {
    let rule = problem["rule"].as_str().unwrap_or_else(|| panic!("no rule: {problem}")).to_owned();
    let signed = Envelope::parse(problem["refusal"].to_string().as_bytes()).expect("a refusal");
    let refusal = counterfoil_receipt::refusal::SignedRefusal::open(signed).expect("a refusal");
    assert_eq!(refusal.refusal.id, envelope.id(), "{problem}");
    assert_eq!(refusal.refusal.rule.as_str(), rule, "{problem}");
    assert_eq!(refusal.key, *operator.public(), "{problem}");
    rule
}

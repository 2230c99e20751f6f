//! The shared vectors, for tests.

use crate::key::{PublicKey, SigningKey};
use counterfoil_merkle::Hash;
use serde_json::Value;

const JSON: &str = include_str!("../../tests/vectors/vectors.json");

/// The whole file.
pub(crate) fn all() -> Value {
    serde_json::from_str(JSON).unwrap()
}

/// One record: statement, envelope, entry and so on, by name.
pub(crate) struct Record(Value);

impl Record {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }
}

/// The three records.
pub(crate) fn records() -> Vec<Record> {
    all()["records"].as_array().unwrap().iter().cloned().map(Record).collect()
}

/// The Ed25519 key of that name.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_ed25519_seed(Hash::of(&[b"counterfoil test key ", name.as_bytes()]).as_bytes())
}

/// The P-256 key: the scalar is half the digest.
pub(crate) fn p256_key() -> SigningKey {
    let digest = Hash::of(&[b"counterfoil test key p256"]);
    let mut scalar = [0; 32];
    let mut carry = 0;
    for (half, byte) in scalar.iter_mut().zip(digest.as_bytes()) {
        *half = byte >> 1 | carry << 7;
        carry = byte & 1;
    }
    SigningKey::from_p256_scalar(&scalar).unwrap()
}

/// The key that signed record `n`.
pub(crate) fn issuer(n: usize) -> PublicKey {
    if n == 2 { p256_key().public().clone() } else { key("issuer").public().clone() }
}

/// The bundle of the second record.
pub(crate) fn bundle() -> crate::bundle::Bundle {
    crate::bundle::Bundle::parse(all()["bundle_1"].as_str().unwrap().as_bytes()).unwrap()
}

//! Commitments: how a statement speaks of bytes that never enter the log.
//!
//! HMAC-SHA256 under a fresh random key: binding, because the key has a fixed length; hiding, because nobody can confirm a
//! guess without the key. Destroying the key erases the content while every proof still verifies.

pub mod label;
pub mod openings;

pub use label::{Evidenced, Label, MemberLabel};
pub use openings::{Bodies, Checked, Finding, Opening, Openings, OpeningsError};

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    hex,
    statement::{Commitment, Group, Sealable, groups::OpenedError},
};

/// What is hashed before the label, so that these commitments are nothing else.
const CONTEXT: &[u8] = b"counterfoil/v1/";

/// The key of one commitment: 32 random bytes, used once. Wiped from memory when dropped; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct OpeningKey(Zeroizing<[u8; 32]>);

impl OpeningKey {
    /// Wraps 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::parse(text).map(Self::new)
    }

    /// Prints 64 hex digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        text
    }

    /// The commitment to `bytes` under `label`.
    pub fn commit(&self, label: Label, bytes: &[u8]) -> Commitment {
        let mut committer = Committer::new(self, label);
        committer.update(bytes);
        committer.finish()
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningKey(…)")
    }
}

/// A commitment in the making, for bytes that come in pieces.
#[derive(Clone)]
pub struct Committer(Hmac<Sha256>);

impl Committer {
    /// Starts a commitment under `label`.
    pub fn new(key: &OpeningKey, label: Label) -> Self {
        let mut mac = Hmac::new_from_slice(&*key.0).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(label.to_string().as_bytes());
        mac.update(&[0]);
        Self(mac)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The commitment to all bytes added.
    pub fn finish(self) -> Commitment {
        Commitment::new(self.0.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer(…)")
    }
}

/// Seals a group: the commitment that stands in its place, and the opening that brings it back.
///
/// A group that would not be read when it is opened is refused now.
pub fn seal<T: Group>(group: &T, key: OpeningKey) -> Result<(Sealable<T>, Opening), OpenedError> {
    let json = group.to_json();
    T::from_json(&json)?;
    let commitment = key.commit(Label::Group(T::NAME), json.as_bytes());
    Ok((Sealable::Sealed(commitment), Opening { key, value: Some(json.into_bytes()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        statement::{Statement, groups::Usage},
        vectors,
    };

    #[test]
    fn vectors_are_reproduced() {
        let all = vectors::all();
        for vector in all["commitments"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let key = OpeningKey::from_hex(text("key")).unwrap();
            assert_eq!(key.to_hex().as_str(), text("key"));
            let label: Label = text("label").parse().unwrap();
            assert_eq!(key.commit(label, text("data").as_bytes()).to_string(), text("commitment"));
        }
    }

    /// The sealed group of the first record, made again from the open one of the second.
    #[test]
    fn sealing_reproduces_the_vector() {
        let records = vectors::records();
        let read = |n: usize| {
            let statement = records[n].text("statement");
            Statement::parse_as(statement.as_bytes(), &vectors::issuer(n)).unwrap()
        };
        let crate::statement::Predicate::Receipt(sealed) = read(0).predicate else { panic!("a receipt") };
        let crate::statement::Predicate::Receipt(open) = read(1).predicate else { panic!("a receipt") };
        let key = vectors::all()["commitments"][2]["key"].as_str().and_then(OpeningKey::from_hex).unwrap();
        let usage: &Usage = open.usage.as_ref().and_then(Sealable::open).unwrap();
        let (group, opening) = seal(usage, key).unwrap();
        assert_eq!(Some(group), sealed.usage);
        assert_eq!(opening.value.as_deref(), Some(&b"{\"input\":9,\"output\":1}"[..]));
    }

    #[test]
    fn label_and_pieces_do_not_run_together() {
        let key = OpeningKey::new([1; 32]);
        let whole = key.commit(Label::Request, b"ab");
        let mut pieces = Committer::new(&key, Label::Request);
        pieces.update(b"a");
        pieces.update(b"b");
        assert_eq!(pieces.finish(), whole);
        assert_ne!(key.commit(Label::Response, b"ab"), whole);
        assert_ne!(key.commit(Label::Part(1), b"1"), key.commit(Label::Part(11), b""));
        assert_ne!(OpeningKey::new([2; 32]).commit(Label::Request, b"ab"), whole);
    }
}

//! Checks that share nothing with the server but the kernel: what was acknowledged is there, and proven.

use std::collections::BTreeMap;

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    key::VerifierKey,
    proof::ConsistencyProof,
    tlogproof::TlogProof,
};
use counterfoil_receipt::{Entry, Id};
use serde_json::Value;

use crate::http::Http;

/// An acknowledged receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its id.
    pub id: Id,
    /// Where the log said it is.
    pub index: u64,
    /// The entry that the log made of it.
    pub entry: String,
    /// The tree that its proof was for.
    pub head: TreeHead,
}

/// Reads the answer to an append and checks all of it with the log's key.
///
/// # Panics
/// If anything about it is wrong.
pub fn check_answer(answer: &Value, id: Id, log: &VerifierKey) -> Ack {
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_owned();
    assert_eq!(text("id"), id.to_string());
    let (entry, proof) = (text("entry"), text("proof"));
    assert_eq!(Entry::parse(entry.as_bytes()).expect("a canonical entry").id, id);
    let leaf = Hash::leaf(entry.as_bytes());
    assert_eq!(text("leaf"), leaf.to_string());
    let proof: TlogProof = proof.parse().expect("a tlog-proof");
    let checkpoint = proof.checkpoint().verify(log).expect("a checkpoint of the log");
    proof.verify(leaf, &checkpoint).expect("a valid proof");
    assert_eq!(answer["index"].as_u64(), Some(proof.index().get()));
    Ack { id, index: proof.index().get(), entry, head: checkpoint.head() }
}

/// The published checkpoint, verified.
///
/// # Panics
/// If it is not one.
pub fn checkpoint(http: &mut Http, log: &VerifierKey) -> VerifiedCheckpoint {
    let reply = http.fetch("/checkpoint").expect("the server answers");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let signed: SignedCheckpoint = reply.text().parse().expect("a checkpoint");
    signed.verify(log).expect("a checkpoint of the log")
}

/// Checks that an acknowledged receipt is at its index, in the tree that is published now.
///
/// # Panics
/// If it is not.
pub fn check_kept(http: &mut Http, ack: &Ack, log: &VerifierKey) {
    let reply = http.fetch(&format!("/v1/entries/{}", ack.index)).expect("the server answers");
    assert_eq!(reply.status, 200, "{ack:?}: {}", reply.text());
    let bundle = reply.json();
    assert_eq!(bundle["entry"].as_str(), Some(ack.entry.as_str()), "entry {}", ack.index);
    let proof: TlogProof = bundle["proof"].as_str().expect("a proof").parse().expect("a tlog-proof");
    let checkpoint = proof.checkpoint().verify(log).expect("a checkpoint of the log");
    proof.verify(Hash::leaf(ack.entry.as_bytes()), &checkpoint).expect("a valid proof");
}

/// All tree heads that were ever seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    heads: BTreeMap<TreeSize, Hash>,
}

impl Seen {
    /// Remembers a head.
    ///
    /// # Panics
    /// If another root was seen for that size: a fork.
    pub fn add(&mut self, head: TreeHead) {
        let before = *self.heads.entry(head.size).or_insert(head.root);
        assert_eq!(before, head.root, "two roots for size {}", head.size);
    }

    /// Checks that each head grew from the one before it, by proofs that the server gives.
    ///
    /// # Panics
    /// If one did not.
    pub fn check_consistent(&self, http: &mut Http) {
        let heads: Vec<_> = self.heads.iter().collect();
        for pair in heads.windows(2) {
            let ((&from, &old), (&to, &new)) = (pair[0], pair[1]);
            let path = format!("/v1/proofs/consistency?from={from}&to={to}");
            let answer = http.fetch(&path).expect("the server answers").json();
            let hashes = answer["hashes"].as_array().expect("hashes").iter();
            let hashes = hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap_or("")).expect("a hash"));
            let proof = ConsistencyProof::new(from, to, hashes.collect()).expect("sizes in order");
            proof.verify(old, new).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        }
    }

    /// How many were seen.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

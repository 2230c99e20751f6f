//! Signed texts: notes, checkpoints, offline proofs, fork evidence.

use std::{fmt::Display, str::FromStr, sync::OnceLock};

use counterfoil_merkle::{
    Hash,
    checkpoint::{Checkpoint, SignedCheckpoint},
    evidence::{Conflict, EVIDENCE_BYTES_MAX, EVIDENCE_JSON_BYTES_MAX, ForkEvidence},
    key::{NoteSigner, VerifierKey},
    note::{NOTE_BYTES_MAX, Note, SIGNATURES_MAX},
    proof::PROOF_HASHES_MAX,
    tlogproof::TlogProof,
};
use serde_json::Value;

use super::vectors;

/// Reads a text that has one form: what is accepted prints back identically.
pub(super) fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    let parsed: T = text.parse().ok()?;
    assert_eq!(parsed.to_string(), text, "accepted, and printed otherwise");
    Some(parsed)
}

/// A note has one text, within its limits; to strip lines adds none, and who did not sign is not said to have signed.
pub fn note(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Some(note) = canonical::<Note>(text) else { return false };
    assert!(bytes.len() <= NOTE_BYTES_MAX);
    assert!((1..=SIGNATURES_MAX).contains(&note.signatures().len()));
    assert!(note.text().ends_with('\n') && text.starts_with(note.text()));
    for key in [vectors::log(), vectors::clock()] {
        let own = note.only(&[key]);
        assert_eq!(own.text(), note.text());
        let named = |line: &&_| own.signatures().contains(line);
        assert_eq!(own.signatures().len(), note.signatures().iter().filter(named).count());
        assert_eq!(own.verify(key).is_ok(), note.verify(key).is_ok(), "other lines decide over this key's");
    }
    true
}

/// A checkpoint and a key have one text each. What verifies under the log's key is what the log signed: the fuzzer has no key.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut accepted = canonical::<Checkpoint>(text).is_some();
    accepted |= canonical::<VerifierKey>(text).is_some();
    accepted |= canonical::<Hash>(text).is_some();
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
        accepted = true;
    }
    if let Ok(signer) = text.parse::<NoteSigner>() {
        assert_eq!(*signer.to_text(), text);
        accepted = true;
    }
    let Some(signed) = canonical::<SignedCheckpoint>(text) else { return accepted };
    let head = signed.unverified().head;
    let verified = signed.verify(vectors::log());
    if let Ok(verified) = &verified {
        assert_eq!(verified.head(), head);
        assert!(was_signed(signed.note().text()), "a signature that nobody made");
        let stripped = verified.note_with(&[vectors::clock()]).to_string();
        assert!(stripped.parse::<SignedCheckpoint>().expect("still one").verify(vectors::log()).is_ok());
    }
    if let Ok(held) = signed.signed_head(vectors::log()) {
        assert_eq!(held, head);
        assert!(was_signed(signed.note().text()), "a signature that nobody made");
    } else {
        assert!(verified.is_err(), "it verifies, and the log is not held to it");
    }
    true
}

/// Whether the vectors' log signed that text.
pub(super) fn was_signed(text: &str) -> bool {
    static SIGNED: OnceLock<Vec<String>> = OnceLock::new();
    let signed = SIGNED.get_or_init(|| {
        let mut notes: Vec<Note> = vec![vectors::text("checkpoint").parse().expect("a note")];
        let evidence = |case: &Value| {
            let path = format!("{}/vectors/evidence/{}", env!("CARGO_MANIFEST_DIR"), case["file"].as_str()?);
            ForkEvidence::from_either(&std::fs::read_to_string(path).ok()?).ok()
        };
        let cases: Value =
            serde_json::from_str(include_str!("../../vectors/evidence/cases.json")).expect("JSON");
        for evidence in cases["cases"].as_array().expect("a list").iter().filter_map(evidence) {
            notes.extend([evidence.a().note().clone(), evidence.b().note().clone()]);
        }
        let genuine = notes.iter().filter(|note| {
            let signed = SignedCheckpoint::try_from((*note).clone());
            signed.is_ok_and(|signed| signed.signed_head(vectors::log()).is_ok())
        });
        genuine.map(|note| note.text().to_owned()).collect()
    });
    signed.iter().any(|known| known == text)
}

/// An offline proof has one text and no more hashes than a proof can have. It proves nothing of a leaf that the tree has not.
pub fn tlog_proof(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Some(proof) = canonical::<TlogProof>(text) else { return false };
    let head = proof.checkpoint().unverified().head;
    assert!(proof.proof().hashes().len() <= PROOF_HASHES_MAX);
    assert!(proof.index().get() < head.size.get(), "the index is in the tree");
    assert_eq!(proof.proof().size(), head.size);
    if proof.extra().is_none() {
        let checkpoint = proof.checkpoint().to_string();
        assert_eq!(TlogProof::print(proof.proof(), &checkpoint), text, "two ways to print");
    }
    assert!(proof.proof().verify(Hash::leaf(b"no leaf of any log"), head.root).is_err());
    true
}

/// Evidence has one form as text and one as JSON, which say the same; what it proves is a contradiction between two heads that
/// the log signed, and it cannot be told from the order of its notes.
pub fn evidence(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(evidence) = ForkEvidence::from_either(text) else { return false };
    let (plain, json) = (evidence.to_string(), evidence.to_json());
    assert!(plain == text || json == text, "accepted, and printed otherwise");
    assert!(plain.len() <= EVIDENCE_BYTES_MAX && json.len() <= EVIDENCE_JSON_BYTES_MAX);
    assert_eq!(plain.parse::<ForkEvidence>().as_ref(), Ok(&evidence));
    assert_eq!(ForkEvidence::from_json(&json).as_ref(), Ok(&evidence));
    assert!(plain.trim_end().ends_with(&evidence.id().to_string()), "it is not named by its last line");
    let (a, b) = (evidence.a().unverified().head, evidence.b().unverified().head);
    assert!(a.size <= b.size, "the smaller tree comes first");
    if evidence.verify(vectors::log()).is_ok() {
        assert!([evidence.a(), evidence.b()].iter().all(|note| was_signed(note.note().text())));
        assert_ne!(a.root, b.root, "one head twice convicts nobody");
        match evidence.conflict() {
            Conflict::Roots => assert_eq!(a.size, b.size),
            Conflict::Growth(growth) => assert_ne!(growth.old_root(), a.root),
            Conflict::Leaves { a, b, .. } => assert_ne!(a.leaf(), b.leaf()),
        }
    }
    true
}

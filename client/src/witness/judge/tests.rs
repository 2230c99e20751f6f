use counterfoil_merkle::{
    key::{Algorithm, VerifierKey},
    note::SIGNATURES_MAX,
    witness::PROOF_LINES_MAX,
};

use super::*;
use crate::{
    testlog::{ORIGIN, signer},
    witness::tests::tree::{Tree, watched},
};

/// What is decided about a request's bytes, by a witness that has cosigned `known`.
fn decide(known: TreeHead, body: &str) -> Result<SignedCheckpoint, Refusal> {
    match verdict(known, body) {
        Verdict::Cosign(checkpoint) => Ok(checkpoint),
        Verdict::Refuse(refusal) | Verdict::Suspect(refusal, _) => Err(refusal),
    }
}

fn verdict(known: TreeHead, body: &str) -> Verdict {
    let authentic = Request::read(body.as_bytes()).and_then(|request| watched().authenticate(request));
    authentic.map_or_else(Verdict::Refuse, |request| judge(known, request))
}

/// Every pair of sizes of a small tree: the honest proof is enough, and from every other size it is a conflict.
#[test]
fn honest_growth_is_cosigned() {
    let tree = Tree::new(20);
    for new in 0..=20 {
        for old in 0..=new {
            let cosigned = decide(tree.head(old), &tree.request(old, new).to_string()).unwrap();
            assert_eq!(cosigned, tree.checkpoint(new));
            for known in (0..=20).filter(|known| *known != old) {
                let refused = decide(tree.head(known), &tree.request(old, new).to_string());
                assert_eq!(refused, Err(Refusal::Conflict { size: tree.head(known).size }));
            }
        }
    }
}

/// One hash more, less or changed, anywhere in a proof, and nothing is cosigned.
#[test]
fn no_proof_but_the_right_one_is_taken() {
    let tree = Tree::new(20);
    for new in 0..=20 {
        for old in 0..=new {
            let honest = tree.request(old, new);
            let mut wrong = Vec::new();
            for position in 0..honest.proof.len() {
                let mut less = honest.clone();
                less.proof.remove(position);
                let mut changed = honest.clone();
                changed.proof[position] = Hash::leaf(b"another");
                wrong.extend([less, changed]);
            }
            for position in 0..=honest.proof.len() {
                for hash in [Hash::leaf(b"another"), tree.head(new).root, tree.head(old).root] {
                    let mut more = honest.clone();
                    more.proof.insert(position, hash);
                    wrong.push(more);
                }
            }
            for request in wrong {
                let refused = verdict(tree.head(old), &request.to_string());
                // Without a tree before it, or with the same one, a wrong proof casts no doubt on the log.
                match (&refused, old > 0 && old < new) {
                    (Verdict::Suspect(Refusal::Proof(_), suspect), true) => {
                        assert_eq!(*suspect, tree.checkpoint(new));
                    }
                    (Verdict::Refuse(Refusal::Proof(_)), false) => {}
                    other => panic!("{old} to {new}: {other:?}"),
                }
            }
        }
    }
}

/// A fork is refused at every size; where both trees have one size, as a suspect whatever old size is claimed.
#[test]
fn forks_are_refused_and_suspected() {
    let tree = Tree::new(7);
    for at in 0..7 {
        let fork = tree.forked(at, 10);
        for known in at + 1..=7 {
            let known = tree.head(known);
            for new in at + 1..=10 {
                for old in 0..=new {
                    let refused = verdict(known, &fork.request(old, new).to_string());
                    let (claimed, size) = (old == known.size.get(), new == known.size.get());
                    let larger = new > known.size.get();
                    let expected = match (&refused, claimed) {
                        (Verdict::Suspect(Refusal::OtherRoot, _), true) => size,
                        (Verdict::Suspect(Refusal::Conflict { .. }, _), false) => size,
                        (Verdict::Suspect(Refusal::Proof(_), _), true) => larger,
                        (Verdict::Refuse(Refusal::Conflict { .. }), false) => !size,
                        _ => false,
                    };
                    assert!(expected, "{known:?}, {old} to {new}: {refused:?}");
                }
            }
        }
    }
}

/// Where a request has two faults, the one that comes earlier in the protocol answers.
#[test]
fn the_first_fault_answers() {
    let tree = Tree::new(9);
    let known = tree.head(4);
    let refused = |body: String| decide(known, &body).unwrap_err();
    let unsigned = |request: &AddCheckpoint| {
        let mut note = Note::new(request.checkpoint.text().to_owned()).unwrap();
        note.sign(&signer("someone.else", Algorithm::Ed25519));
        AddCheckpoint { checkpoint: note, ..request.clone() }.to_string()
    };

    let malformed = tree.request(4, 8).to_string().replace("\n8\n", "\n08\n");
    assert_eq!(refused(malformed), Refusal::Malformed(CheckpointError::Size));
    assert!(matches!(
        refused(unsigned(&tree.request(4, 8))),
        Refusal::Signature(NoteError::NotSigned { .. })
    ));
    let above = tree.request_with(9, vec![], 8);
    assert!(matches!(refused(unsigned(&above)), Refusal::Signature(_)));
    assert!(matches!(refused(above.to_string()), Refusal::OldAboveSize { .. }));
    let conflict = Refusal::Conflict { size: known.size };
    assert_eq!(refused(tree.request_with(5, vec![Hash::EMPTY_ROOT], 8).to_string()), conflict);

    // Size 0 with a root that no tree of that size has: well formed, and refused after everything else.
    let mut note = Note::new(format!("{ORIGIN}\n0\n{}\n", known.root.to_base64())).unwrap();
    note.sign(&signer(ORIGIN, Algorithm::Ed25519));
    let impossible = AddCheckpoint { old: TreeSize::ZERO, proof: vec![], checkpoint: note };
    assert!(matches!(refused(unsigned(&impossible)), Refusal::Signature(_)));
    assert_eq!(refused(impossible.to_string()), conflict);
    assert_eq!(decide(TreeHead::EMPTY, &impossible.to_string()), Err(Refusal::EmptyRoot));
    let above = AddCheckpoint { old: TreeSize::new(1).unwrap(), ..impossible };
    assert!(matches!(refused(above.to_string()), Refusal::OldAboveSize { .. }));
}

/// Sizes that no tree has, texts that are none, and proofs without end are malformed, whatever else they are.
#[test]
fn what_is_malformed_is_told_so() {
    let tree = Tree::new(8);
    let body = tree.request(4, 8).to_string();
    for size in ["9223372036854775808", "18446744073709551616", "1099511627777", "-8", "+8", "008", "8 ", ""]
    {
        for (from, to) in [("\n8\n", format!("\n{size}\n")), ("old 4\n", format!("old {size}\n"))] {
            let refusal = decide(tree.head(4), &body.replacen(from, &to, 1)).unwrap_err();
            assert!(matches!(refusal, Refusal::Malformed(_) | Refusal::Request(_)), "{to:?}: {refusal:?}");
        }
    }
    let long = tree.request_with(4, vec![Hash::EMPTY_ROOT; PROOF_LINES_MAX + 1], 8).to_string();
    assert_eq!(decide(tree.head(4), &long), Err(Refusal::Request(RequestError::TooManyHashes)));
    let longest = tree.request_with(4, vec![Hash::EMPTY_ROOT; PROOF_LINES_MAX], 8).to_string();
    assert_eq!(decide(tree.head(4), &longest), Err(Refusal::Proof(ProofError::TooLong)));
    assert!(matches!(Request::read(b"old 4\n\n\xff"), Err(Refusal::NotText)));
    for cut in 0..body.len() {
        let Some(part) = body.get(..cut) else { continue };
        assert!(matches!(decide(tree.head(4), part), Err(Refusal::Request(_))), "cut at {cut}");
    }
}

/// A note counts as signed by what its own keys signed: others' lines change nothing and are dropped, and one bad line
/// of a known key spoils all.
#[test]
fn signatures_are_the_logs_own() {
    let tree = Tree::new(8);
    let request = tree.request(4, 8);
    let with = |lines: &[counterfoil_merkle::note::SignatureLine]| {
        let mut request = request.clone();
        lines.iter().for_each(|line| request.checkpoint.push(line.clone()));
        decide(tree.head(4), &request.to_string())
    };
    let good = request.checkpoint.signatures()[0].clone();
    let mut bad = good.clone();
    bad.signature[0] ^= 1;
    let mut foreign = bad.clone();
    foreign.name = counterfoil_merkle::key::KeyName::new("grease").unwrap();
    let clean = Ok(tree.checkpoint(8));
    assert_eq!(with(&vec![foreign.clone(); SIGNATURES_MAX - 1]), clean);
    assert_eq!(with(&vec![good; SIGNATURES_MAX - 1]), clean);
    assert!(matches!(with(&vec![foreign.clone(); SIGNATURES_MAX]), Err(Refusal::Request(_))));
    assert!(matches!(with(&[foreign, bad]), Err(Refusal::Signature(NoteError::BadSignature { .. }))));
}

/// While a log changes its key, either key is good; both lines are kept if both signed.
#[test]
fn a_log_may_have_two_keys() {
    let new = signer("log.example/2027", Algorithm::Ed25519);
    let old: VerifierKey = signer(ORIGIN, Algorithm::Ed25519).public().clone();
    let log = WatchedLog::new(ORIGIN, vec![old, new.public().clone()], 1).unwrap();
    let request = Tree::new(8).request(0, 8);
    let mut by_new = Note::new(request.checkpoint.text().to_owned()).unwrap();
    by_new.sign(&new);
    let mut by_both = request.checkpoint.clone();
    by_both.sign(&new);
    for note in [request.checkpoint, by_new, by_both.clone()] {
        assert_eq!(log.signed(&note), Ok(note));
    }
    let mut spoilt = by_both.signatures()[1].clone();
    spoilt.signature[9] ^= 1;
    by_both.push(spoilt);
    assert!(matches!(log.signed(&by_both), Err(NoteError::BadSignature { .. })));
}

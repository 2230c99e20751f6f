//! A log that signs two histories: refused, kept, and once it is proven, cosigned no more.

use counterfoil_merkle::{TreeSize, checkpoint::SignedCheckpoint, evidence::ForkEvidence, growth::Growth};

use super::{tree::Tree, *};
use crate::{
    testlog::ORIGIN,
    witness::{
        refused::{NOTES_BYTES_MAX, NOTES_MAX},
        service::EvidenceRefusal,
    },
};

fn forked(witness: &Witness) -> Refusal {
    Refusal::Forked { log: slot(witness).log().id() }
}

/// The evidence that the witness shows proves the fork to whoever has the log's key, whatever the witness says.
fn check_shown(witness: &Witness) {
    let evidence: ForkEvidence = view(witness).evidence.unwrap().parse().unwrap();
    evidence.verify(&watched().keys()[0]).unwrap();
}

/// Another root for the size that was cosigned: the request gets the protocol's answer, the log is proven a liar, and
/// from then on cosigned no more, through restarts too. What was cosigned before is shown as ever.
#[tokio::test]
async fn two_roots_for_one_size_end_it() {
    let tree = Tree::new(9);
    let conflict = Refusal::Conflict { size: tree.head(5).size };
    for (old, answer) in [(5, Refusal::OtherRoot), (0, conflict)] {
        let home = Home::new();
        let witness = home.up();
        add(&witness, &tree.request(0, 5)).await.unwrap();
        let lie = tree.forked(3, 9).request_with(old, vec![], 5);
        assert_eq!(add(&witness, &lie).await, Err(answer));
        check_shown(&witness);
        for request in [lie, tree.request(5, 5), tree.request(5, 9), tree.request(0, 9)] {
            assert_eq!(add(&witness, &request).await, Err(forked(&witness)));
        }
        assert!(
            matches!(add(&witness, &unsigned(&tree, 9)).await, Err(Refusal::Signature(_))),
            "who signed nothing is told nothing"
        );
        drop(witness);
        let witness = home.up();
        check_shown(&witness);
        assert_eq!((size(&witness), view(&witness).refused), (5, 1));
        assert_eq!(add(&witness, &tree.request(5, 9)).await, Err(forked(&witness)));
    }
}

fn unsigned(tree: &Tree, size: u64) -> AddCheckpoint {
    let mut note =
        counterfoil_merkle::note::Note::new(tree.checkpoint(size).note().text().to_owned()).unwrap();
    note.sign(&signer("nobody", Algorithm::Ed25519));
    AddCheckpoint { checkpoint: note, ..tree.request(0, size) }
}

/// A larger tree without a proof convicts nobody: anybody can send that. It is kept, once, and growth goes on. When the
/// log then shows another tree of that size, the two convict it before the second is cosigned.
#[tokio::test]
async fn a_refused_note_convicts_when_its_counterpart_comes() {
    let (home, tree) = (Home::new(), Tree::new(20));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let lie = tree.forked(3, 9).request(5, 9);
    for _ in 0..3 {
        assert!(matches!(add(&witness, &lie).await, Err(Refusal::Proof(_))));
    }
    assert_eq!((view(&witness).refused, view(&witness).evidence), (1, None));
    add(&witness, &tree.request(5, 8)).await.unwrap();
    drop(witness);
    let witness = home.up();
    assert_eq!(view(&witness).refused, 1);
    assert_eq!(add(&witness, &tree.request(8, 9)).await, Err(forked(&witness)));
    assert_eq!(size(&witness), 8);
    check_shown(&witness);
}

/// Two refused notes of one size convict, too.
#[tokio::test]
async fn two_refused_notes_convict() {
    let (home, tree) = (Home::new(), Tree::new(20));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    for (at, proven) in [(2, false), (3, true)] {
        assert!(matches!(add(&witness, &tree.forked(at, 9).request(5, 9)).await, Err(Refusal::Proof(_))));
        assert_eq!(view(&witness).evidence.is_some(), proven);
    }
    check_shown(&witness);
}

/// An honest checkpoint with rubbish for a proof is a suspect until its tree is cosigned.
#[tokio::test]
async fn an_honest_note_is_cleared_by_being_cosigned() {
    let (home, tree) = (Home::new(), Tree::new(20));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let rubbish = tree.request_with(5, vec![counterfoil_merkle::Hash::EMPTY_ROOT; 3], 9);
    assert!(matches!(add(&witness, &rubbish).await, Err(Refusal::Proof(_))));
    assert_eq!(view(&witness).refused, 1);
    add(&witness, &tree.request(5, 9)).await.unwrap();
    assert_eq!((view(&witness).refused, files(&home.log().join("refused")).len()), (0, 0));
}

/// Whoever floods the shelf of refused notes, with new notes, new lines or huge ones, gets it full and no further; the
/// log is served on.
#[tokio::test]
async fn a_flood_of_refused_notes_ends() {
    let (home, tree) = (Home::new(), Tree::new(300));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let garbage = vec![counterfoil_merkle::Hash::EMPTY_ROOT];
    for new in 6..6 + 2 * NOTES_MAX as u64 {
        let mut request = tree.request_with(5, garbage.clone(), new);
        for grease in 0..20 {
            request
                .checkpoint
                .sign(&signer(&format!("grease {new} {grease}").replace(' ', "-"), Algorithm::Ed25519));
        }
        assert!(matches!(add(&witness, &request).await, Err(Refusal::Proof(_))));
        add(&witness, &request).await.unwrap_err();
    }
    let shelf = files(&home.log().join("refused"));
    assert_eq!((shelf.len(), view(&witness).refused), (NOTES_MAX, NOTES_MAX));
    for path in shelf {
        assert!(!fs::read_to_string(path).unwrap().contains("grease"), "only the log's own lines are kept");
    }
    drop(witness);
    let witness = home.up();
    add(&witness, &tree.request(5, 300)).await.unwrap();

    let home = Home::new();
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    for new in 6..40 {
        let text = format!("{}{}\n", tree.checkpoint(new).note().text(), "x".repeat(100_000));
        let mut note = counterfoil_merkle::note::Note::new(text).unwrap();
        note.sign(&signer(ORIGIN, Algorithm::Ed25519));
        let request = AddCheckpoint { checkpoint: note, ..tree.request_with(5, garbage.clone(), new) };
        assert!(matches!(add(&witness, &request).await, Err(Refusal::Proof(_))));
    }
    let bytes: u64 = files(&home.log()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < NOTES_BYTES_MAX as u64 + 100_000, "{bytes}");
}

/// Evidence of the log's two histories, at unequal sizes.
fn consistency_evidence(tree: &Tree, fork: &Tree, small: u64, large: u64) -> ForkEvidence {
    let [old, new] = [small, large].map(|size| TreeSize::new(size).unwrap());
    let hashes: Vec<_> = Growth::nodes(old, new).unwrap().into_iter().map(|node| fork.node(node)).collect();
    let growth = Growth::from_nodes(old, new, &hashes).unwrap();
    ForkEvidence::grown(tree.checkpoint(small), fork.checkpoint(large), growth)
}

/// Proof that somebody else found ends it too, at whatever sizes, for a log that was never cosigned as well.
#[tokio::test]
async fn evidence_from_outside_ends_it() {
    let tree = Tree::new(20);
    let fork = tree.forked(4, 20);
    for cosigned in [0, 7] {
        let home = Home::new();
        let witness = home.up();
        if cosigned > 0 {
            add(&witness, &tree.request(0, cosigned)).await.unwrap();
        }
        let evidence = consistency_evidence(&tree, &fork, 12, 17).to_string();
        assert_eq!(witness.add_evidence(evidence.as_bytes()).await, Ok(slot(&witness).log().id()));
        assert_eq!(view(&witness).evidence.as_deref(), Some(evidence.as_str()));
        let other = ForkEvidence::same_size(tree.checkpoint(9), fork.checkpoint(9)).to_string();
        witness.add_evidence(other.as_bytes()).await.unwrap();
        assert_eq!(view(&witness).evidence.as_deref(), Some(evidence.as_str()), "one proof is enough");
        assert_eq!(add(&witness, &tree.request(cosigned, 20)).await, Err(forked(&witness)));
        drop(witness);
        let witness = home.up();
        assert_eq!(add(&witness, &tree.request(cosigned, 20)).await, Err(forked(&witness)));
    }
}

/// What proves nothing, or something of another log, changes nothing.
#[tokio::test]
async fn what_proves_nothing_changes_nothing() {
    let (home, tree) = (Home::new(), Tree::new(20));
    let fork = tree.forked(4, 20);
    let witness = home.up();
    add(&witness, &tree.request(0, 7)).await.unwrap();
    let before = files(&home.state());
    let foreign = |size: u64| -> SignedCheckpoint { unsigned(&fork, size).checkpoint.try_into().unwrap() };
    let good = consistency_evidence(&tree, &fork, 12, 17);
    for evidence in [
        ForkEvidence::same_size(tree.checkpoint(9), tree.checkpoint(9)),
        ForkEvidence::same_size(tree.checkpoint(4), fork.checkpoint(4)),
        ForkEvidence::same_size(tree.checkpoint(9), foreign(9)),
        consistency_evidence(&tree, &fork, 3, 17),
        consistency_evidence(&tree, &tree, 12, 17),
        ForkEvidence::same_size(tree.checkpoint(12), fork.checkpoint(17)),
    ] {
        let answer = witness.add_evidence(evidence.to_string().as_bytes()).await;
        assert!(matches!(answer, Err(EvidenceRefusal::Unproven(_))), "{answer:?}");
    }
    let text = good.to_string();
    let unknown =
        witness.add_evidence(ForkEvidence::to_string(&good).replace(ORIGIN, "unknown").as_bytes()).await;
    assert!(
        matches!(unknown, Err(EvidenceRefusal::UnknownLog | EvidenceRefusal::Malformed(_))),
        "{unknown:?}"
    );
    for position in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[position] ^= 1;
        witness.add_evidence(&bytes).await.unwrap_err();
        witness.add_evidence(&bytes[..position]).await.unwrap_err();
    }
    assert_eq!((view(&witness).evidence, files(&home.state())), (None, before));
    add(&witness, &tree.request(7, 20)).await.unwrap();
}

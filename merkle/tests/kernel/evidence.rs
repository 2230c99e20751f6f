//! Fork evidence: every fork of a small tree convicts, and nothing consistent does.

mod form;
mod random;
mod vectors;

use counterfoil_merkle::{
    Hash,
    checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint},
    evidence::{EvidenceError, ForkEvidence},
    growth::Growth,
    key::Algorithm,
    note::SignatureLine,
    tlogproof::TlogProof,
};

use crate::{
    naive::{Tree, leaf, size},
    roles::{checkpoint, clock, log, signer},
};

/// The tree at every size up to 40, signed; its leaves from `fork` on are those of another history.
struct History {
    trees: Vec<Tree>,
    signed: Vec<SignedCheckpoint>,
}

impl History {
    fn forked_at(fork: u64) -> Self {
        let leaf = |index| leaf(if index < fork { index } else { index + 1000 });
        let trees: Vec<_> = (0..=40).map(|n| Tree::of((0..n).map(leaf))).collect();
        let log = log();
        let signed = trees.iter().map(|tree| checkpoint(tree.head()).sign(&log)).collect();
        Self { trees, signed }
    }

    fn growth(&self, old: usize, new: usize) -> Growth {
        let (old, tree) = (size(u64::try_from(old).unwrap()), &self.trees[new]);
        let nodes = Growth::nodes(old, tree.head().size).unwrap();
        Growth::from_nodes(old, tree.head().size, &tree.nodes(&nodes)).unwrap()
    }

    /// The proof of a leaf in the tree of size `n`, and the leaf.
    fn leaf_at(&self, index: u64, n: usize) -> (TlogProof, Hash) {
        let tree = &self.trees[n];
        let proof = TlogProof::new(tree.inclusion(index), self.signed[n].clone()).unwrap();
        (proof, tree.leaves[usize::try_from(index).unwrap()])
    }

    fn grown_from(&self, old: &SignedCheckpoint, old_size: usize, new: usize) -> ForkEvidence {
        ForkEvidence::grown(old.clone(), self.signed[new].clone(), self.growth(old_size, new))
    }
}

/// Two histories convict at every pair of sizes past the fork, and at none before it.
#[test]
fn a_fork_convicts_at_every_pair_of_sizes() {
    let log = log();
    let honest = History::forked_at(u64::MAX);
    for fork in [0, 1, 7, 16, 32] {
        let forked = History::forked_at(fork.try_into().unwrap());
        for new in 0..=40 {
            for old in 0..new {
                let evidence = forked.grown_from(&honest.signed[old], old, new);
                let text = evidence.to_string();
                assert_eq!(text.parse(), Ok(evidence.clone()), "{old} to {new}");
                let expected = if old > fork { Ok(()) } else { Err(EvidenceError::Consistent) };
                assert_eq!(evidence.verify(log.public()), expected, "{old} to {new}, forked at {fork}");
            }
            let (one, other) = (&honest.signed[new], &forked.signed[new]);
            let evidence = ForkEvidence::same_size(one.clone(), other.clone());
            assert_eq!(evidence, ForkEvidence::same_size(other.clone(), one.clone()));
            assert_eq!(evidence.to_string().parse(), Ok(evidence.clone()));
            let expected = if new > fork { Ok(()) } else { Err(EvidenceError::Consistent) };
            assert_eq!(evidence.verify(log.public()), expected, "both {new}, forked at {fork}");
        }
    }
}

/// Two proofs of different leaves at one index convict, whatever the two sizes; two of the same leaf never do.
#[test]
fn two_leaves_at_one_index_convict() {
    let log = log();
    let honest = History::forked_at(u64::MAX);
    for fork in [0, 3, 8] {
        let forked = History::forked_at(fork);
        for (n, m) in [(1, 1), (1, 9), (9, 1), (9, 9), (8, 12), (12, 8), (4, 40)] {
            for index in 0..n.min(m) as u64 {
                let ((one, leaf), (other, other_leaf)) = (honest.leaf_at(index, n), forked.leaf_at(index, m));
                let evidence = ForkEvidence::two_leaves((&one, leaf), (&other, other_leaf)).unwrap();
                assert_eq!(
                    ForkEvidence::two_leaves((&other, other_leaf), (&one, leaf)),
                    Ok(evidence.clone()),
                    "one evidence, whoever came first"
                );
                assert_eq!(evidence.to_string().parse(), Ok(evidence.clone()));
                let expected = if index >= fork { Ok(()) } else { Err(EvidenceError::Consistent) };
                assert_eq!(evidence.verify(log.public()), expected, "index {index} of {n} and {m}");
                let lied = ForkEvidence::two_leaves((&one, self::leaf(77)), (&other, other_leaf)).unwrap();
                assert!(matches!(lied.verify(log.public()), Err(EvidenceError::Leaf { .. })));
            }
        }
        let ((one, leaf), (other, other_leaf)) = (honest.leaf_at(1, 9), forked.leaf_at(2, 9));
        let two = ForkEvidence::two_leaves((&one, leaf), (&other, other_leaf));
        assert!(matches!(two, Err(EvidenceError::Indexes { .. })));
    }
}

/// Whoever cosigned both notes is convicted by the same evidence, of one log's two histories and no other's.
#[test]
fn a_witness_that_cosigned_both_is_convicted_too() {
    let (log, witness) = (log(), signer("witness.example", Algorithm::CosignatureV1, 0x21));
    let other = signer("witness.example", Algorithm::CosignatureV1, 0x22);
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(2));
    let cosigned = |history: &History, n: usize| {
        let mut signed = history.signed[n].clone();
        signed.cosign(&witness, 1_700_000_000);
        signed
    };
    for evidence in [
        ForkEvidence::same_size(cosigned(&honest, 6), cosigned(&forked, 6)),
        ForkEvidence::grown(cosigned(&honest, 6), cosigned(&forked, 9), forked.growth(6, 9)),
    ] {
        assert_eq!(evidence.verify_cosigner(witness.public()), Ok(()));
        assert_eq!(evidence.verify(log.public()), Ok(()));
        assert!(evidence.verify_cosigner(other.public()).is_err());
        assert_eq!(
            evidence.verify_cosigner(log.public()),
            Err(EvidenceError::Checkpoint(CheckpointError::NotACosignerKey))
        );
        let as_log = evidence.verify(witness.public());
        assert_eq!(as_log, Err(EvidenceError::Checkpoint(CheckpointError::NotALogKey)));
    }
    let once = ForkEvidence::same_size(cosigned(&honest, 6), forked.signed[6].clone());
    assert_eq!(once.verify(log.public()), Ok(()));
    assert!(once.verify_cosigner(witness.public()).is_err());
    let same = ForkEvidence::grown(cosigned(&honest, 6), cosigned(&honest, 9), honest.growth(6, 9));
    assert_eq!(same.verify_cosigner(witness.public()), Err(EvidenceError::Consistent));

    // A witness cosigns many logs, and those differ.
    let head = forked.trees[6].head();
    let mut foreign = Checkpoint::new(Origin::new("other.example").unwrap(), head).sign(&log);
    foreign.cosign(&witness, 1_700_000_000);
    let evidence = ForkEvidence::same_size(cosigned(&honest, 6), foreign);
    assert_eq!(evidence.verify_cosigner(witness.public()), Err(EvidenceError::Origins));
}

/// An honest log is not convicted: not by its own growth, not by that between other sizes, not by another tree's.
#[test]
fn an_honest_log_cannot_be_convicted() {
    let log = log();
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(5));
    for new in 1..=12 {
        for old in 0..=new {
            let (a, b) = (honest.signed[old].clone(), honest.signed[new].clone());
            for other_old in 0..=new {
                for growth in [honest.growth(other_old, new), forked.growth(other_old, new)] {
                    let evidence = ForkEvidence::grown(a.clone(), b.clone(), growth);
                    assert!(evidence.verify(log.public()).is_err(), "{old} as {other_old} to {new}");
                    if let Ok(read) = evidence.to_string().parse::<ForkEvidence>() {
                        assert!(read.verify(log.public()).is_err());
                    }
                }
            }
            assert!(ForkEvidence::same_size(a, b).verify(log.public()).is_err());
        }
    }
}

/// Evidence whose second note somebody else signed convicts nobody.
#[test]
fn both_notes_must_be_the_logs_own() {
    let log = log();
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(0));
    let stranger = signer(log.public().name().as_str(), log.public().algorithm(), 0x77);
    let forged = forked.signed[9].unverified().sign(&stranger);
    for (one, other) in [(&honest.signed[9], &forged), (&forged, &honest.signed[9])] {
        let evidence = ForkEvidence::same_size(one.clone(), other.clone());
        assert!(matches!(evidence.verify(log.public()), Err(EvidenceError::Checkpoint(_))));
    }
    let evidence = ForkEvidence::grown(forged, honest.signed[12].clone(), honest.growth(9, 12));
    assert!(matches!(evidence.verify(log.public()), Err(EvidenceError::Checkpoint(_))));
}

/// A note that is refused for a second, bad line of the log is still held against the log, for others accept it.
#[test]
fn a_bad_line_beside_a_good_one_is_no_way_out() {
    let log = log();
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(0));
    let mut note = forked.signed[9].note().clone();
    let good = note.signatures()[0].clone();
    note.push(SignatureLine { signature: vec![0; 64], ..good });
    let spoiled: SignedCheckpoint = note.to_string().parse().unwrap();
    assert!(spoiled.verify(log.public()).is_err());
    let evidence = ForkEvidence::same_size(spoiled.clone(), honest.signed[9].clone());
    assert_eq!(evidence.verify(log.public()), Ok(()));
    let evidence = ForkEvidence::grown(spoiled, honest.signed[12].clone(), honest.growth(9, 12));
    assert_eq!(evidence.to_string().parse::<ForkEvidence>().unwrap().verify(log.public()), Ok(()));

    // Without a good line there is nothing to hold against anybody.
    let bad = note.to_string().replace(&format!("{}\n", note.signatures()[0]), "");
    let bad: SignedCheckpoint = bad.parse().unwrap();
    assert_eq!(bad.note().signatures().len(), 1);
    assert!(ForkEvidence::same_size(bad, honest.signed[9].clone()).verify(log.public()).is_err());
}

//! Fork evidence: every fork of a small tree convicts, nothing consistent does, and no bit of the text can be changed.

use counterfoil_merkle::{
    checkpoint::SignedCheckpoint,
    evidence::{EvidenceError, ForkEvidence},
    growth::Growth,
    note::SignatureLine,
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

fn evidence_of_both_kinds(cosigned: bool) -> [ForkEvidence; 2] {
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(2));
    let signed = |history: &History, n: usize| {
        let mut signed = history.signed[n].clone();
        if cosigned {
            signed.cosign(&clock(), 1_700_000_000);
        }
        signed
    };
    [
        ForkEvidence::same_size(signed(&honest, 6), signed(&forked, 6)),
        ForkEvidence::grown(signed(&honest, 6), signed(&forked, 9), forked.growth(6, 9)),
    ]
}

/// Any flipped bit makes evidence unreadable or unproven.
#[test]
fn no_bit_of_the_evidence_can_be_changed() {
    let log = log();
    for evidence in evidence_of_both_kinds(false) {
        let text = evidence.to_string();
        assert_eq!(evidence.verify(log.public()), Ok(()));
        for bit in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = std::str::from_utf8(&bytes) else { continue };
            let Ok(read) = changed.parse::<ForkEvidence>() else { continue };
            assert_eq!(read.to_string(), changed);
            assert!(read.verify(log.public()).is_err(), "bit {bit}: {changed}");
        }
    }
}

/// Lines of other keys are carried along and prove nothing: a change to them changes no verdict, one elsewhere does.
#[test]
fn only_lines_of_other_keys_can_be_changed() {
    let log = log();
    for evidence in evidence_of_both_kinds(true) {
        let text = evidence.to_string();
        let clock_name = clock().public().name().to_string();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let others = line.starts_with("— ") && line.contains(&clock_name);
            for offset in (0..line.len()).step_by(3) {
                let mut bytes = text.clone().into_bytes();
                bytes[at + offset] ^= 1 << (offset % 7);
                let Ok(changed) = std::str::from_utf8(&bytes) else { continue };
                let Ok(read) = changed.parse::<ForkEvidence>() else { continue };
                assert!(others || read.verify(log.public()).is_err(), "byte {}: {changed}", at + offset);
            }
            at += line.len();
        }
    }
}

/// One text for one pair of checkpoints: notes in order, sizes that fit the kind, nothing before or after.
#[test]
fn evidence_has_one_text() {
    let log = log();
    let [same, grown] = evidence_of_both_kinds(false).map(|evidence| evidence.to_string());
    let evidence: ForkEvidence = same.parse().unwrap();
    let (a, b) = (evidence.a().to_string(), evidence.b().to_string());
    assert!(a < b);
    let note = |name, note: &str| format!("note {name} {}\n{note}", note.len());
    let swapped = same.replace(&(note("a", &a) + &note("b", &b)), &(note("a", &b) + &note("b", &a)));
    assert_ne!(swapped, same);
    assert_eq!(swapped.parse::<ForkEvidence>(), Err(EvidenceError::Form));
    let relabelled = grown.replace("kind consistency", "kind same-size");
    assert!(relabelled.parse::<ForkEvidence>().is_err());
    let (bare, _) = relabelled.split_once("frontier ").unwrap();
    let read: ForkEvidence = bare.parse().unwrap();
    assert_eq!(read.verify(log.public()), Err(EvidenceError::Kind));

    for text in [same.as_str(), grown.as_str()] {
        for (from, to) in [
            ("fork-evidence/v1\n", "fork-evidence/v2\n"),
            ("kind ", "kind  "),
            ("kind same-size\n", "kind index\n"),
            ("kind consistency\n", "kind same-size\n"),
            ("origin log.example", "origin lag.example"),
            ("note a ", "note a 0"),
            ("note a ", "note a +"),
            ("note a ", "note b "),
            ("note a 1", "note a 2"),
            ("note a ", "note a 99999999999999999999"),
            ("frontier ", "frontier 0"),
            ("right ", "right 18446744073709551615\nright "),
            ("right ", "right 1\nright "),
        ] {
            let changed = text.replacen(from, to, 1);
            assert!(changed == text || changed.parse::<ForkEvidence>().is_err(), "{changed}");
        }
        for changed in [format!("{text}\n"), format!("\n{text}"), format!("{text}{text}"), String::new()] {
            assert!(changed.parse::<ForkEvidence>().is_err());
        }
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            assert!(text[..end].parse::<ForkEvidence>().is_err(), "cut at {end}");
        }
    }
}

//! Random trees that fork at random places, and random trees that do not.

use proptest::prelude::*;

use super::*;

/// A tree of `n` leaves, other than all others from `fork` on.
fn tree(n: u64, fork: u64, branch: u64) -> Tree {
    Tree::of((0..n).map(|index| leaf(if index < fork { index } else { (branch << 32) + index })))
}

fn growth(tree: &Tree, old: u64) -> Growth {
    let nodes = Growth::nodes(size(old), tree.head().size).unwrap();
    Growth::from_nodes(size(old), tree.head().size, &tree.nodes(&nodes)).unwrap()
}

fn proof(tree: &Tree, index: u64) -> (TlogProof, Hash) {
    let signed = checkpoint(tree.head()).sign(&log());
    let leaf = tree.leaves[usize::try_from(index).unwrap()];
    (TlogProof::new(tree.inclusion(index), signed).unwrap(), leaf)
}

/// Everything that can be made of two trees and one index.
fn all_evidence(one: &Tree, other: &Tree, index: u64) -> Vec<ForkEvidence> {
    let [(m, small), (n, large)] = {
        let mut both = [one, other].map(|tree| (tree.head().size.get(), tree));
        both.sort_by_key(|(n, _)| *n);
        both
    };
    let [a, b] = [small, large].map(|tree| checkpoint(tree.head()).sign(&log()));
    let mut all = vec![if m == n {
        ForkEvidence::same_size(a, b)
    } else {
        ForkEvidence::grown(a, b, growth(large, m))
    }];
    if index < m {
        let ((one, leaf), (other, other_leaf)) = (proof(small, index), proof(large, index));
        all.push(ForkEvidence::two_leaves((&one, leaf), (&other, other_leaf)).unwrap());
    }
    all
}

proptest! {
    /// Two signed heads of two histories always make evidence; the same two of one history never do.
    #[test]
    fn evidence_is_made_of_forks_alone(n in 1..700_u64, m in 1..700_u64, at in 0.0..1.0_f64, index in 0..700_u64) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let fork = (at * n.min(m) as f64) as u64;
        let log = log();
        for evidence in all_evidence(&tree(n, fork, 1), &tree(m, fork, 2), index.max(fork)) {
            prop_assert_eq!(evidence.verify(log.public()), Ok(()));
            prop_assert_eq!(evidence.to_string().parse(), Ok(evidence.clone()));
            prop_assert_eq!(ForkEvidence::from_json(&evidence.to_json()), Ok(evidence));
        }
        for evidence in all_evidence(&tree(n, fork, 1), &tree(m, fork, 1), index) {
            prop_assert_eq!(evidence.verify(log.public()), Err(EvidenceError::Consistent));
        }
    }

    /// Whoever moves parts of evidence about, and mends its digest, proves nothing else with it.
    #[test]
    fn evidence_pieced_together_anew_proves_nothing_else(
        kind in 0..2_usize, from in 0.0..1.0_f64, to in 0.0..1.0_f64, with in 0.0..1.0_f64, length in 0..90_usize,
    ) {
        let text = all_evidence(&tree(9, 2, 1), &tree(13, 2, 2), 3).remove(kind).to_string();
        let body = &text.as_bytes()[..text.rfind("sha256 ").unwrap()];
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let place = |at: f64| (at * body.len() as f64) as usize;
        let (start, end) = (place(from).min(place(to)), place(from).max(place(to)).min(place(from) + length));
        let other = place(with)..(place(with) + length).min(body.len());
        let moved = [&body[..start], &body[other], &body[end.max(start)..]].concat();
        let digest = Hash::of(&[&moved]);
        let Ok(moved) = String::from_utf8(moved) else { return Ok(()) };
        let moved = format!("{moved}sha256 {digest}\n");
        if let Ok(read) = ForkEvidence::from_either(&moved) {
            prop_assert_eq!(read.to_string(), moved.clone());
            prop_assert!(moved == text || read.verify(log().public()).is_err(), "{}", moved);
        }
    }
}

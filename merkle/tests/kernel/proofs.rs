//! Inclusion and consistency, for every tree of up to 130 leaves: what is true is proven, and nothing else is.

use counterfoil_merkle::{
    Hash, LeafIndex, TreeSize,
    proof::{ConsistencyProof, InclusionProof, PROOF_HASHES_MAX, ProofError},
    tree::{Subtree, TreeError},
};

use crate::naive::{Naive, Tree, flipped, leaf, size};

const SIZE_MAX: u64 = 130;

/// Root, every inclusion proof and every consistency proof are what the definition says, and verify.
#[test]
fn every_small_tree_is_as_defined() {
    let mut tree = Tree::of([]);
    let mut naive = Naive::of((0..SIZE_MAX).map(leaf));
    let mut roots = vec![Hash::EMPTY_ROOT];
    for n in 0..=SIZE_MAX {
        let all = 0..tree.leaves.len();
        let root = naive.root(all.clone());
        assert_eq!(tree.head().root, root, "size {n}");
        for (index, at) in (0..n).zip(0..) {
            let proof = tree.inclusion(index);
            assert_eq!(proof.hashes(), naive.inclusion(at, all.clone()));
            assert_eq!(proof.verify(leaf(index), root), Ok(()), "{index} of {n}");
        }
        for ((old, at), &old_root) in (1..=n).zip(1..).zip(&roots[1..]) {
            let proof = tree.consistency(old);
            assert_eq!(proof.hashes(), naive.consistency(at, all.clone(), true));
            assert_eq!(proof.verify(old_root, root), Ok(()), "{old} to {n}");
        }
        assert!(tree.consistency(0).hashes().is_empty());
        tree.push(leaf(n));
        roots.push(tree.head().root);
    }
}

/// Every way of changing one hash of a list: a bit flipped, removed, doubled, a stranger put in, neighbours swapped.
fn corruptions(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let stranger = Hash::leaf(b"stranger");
    let mut found = vec![[hashes, &[stranger]].concat()];
    if let Some((_, rest)) = hashes.split_last() {
        found.push(rest.to_vec());
    }
    for (at, &hash) in hashes.iter().enumerate() {
        let mut change = |change: &dyn Fn(&mut Vec<Hash>)| {
            let mut changed = hashes.to_vec();
            change(&mut changed);
            found.push(changed);
        };
        change(&|hashes| hashes[at] = flipped(hash, 37 * at + hashes.len()));
        change(&|hashes| {
            hashes.remove(at);
        });
        change(&|hashes| hashes.insert(at, hash));
        change(&|hashes| hashes.insert(at, stranger));
        if at > 0 {
            change(&|hashes| hashes.swap(at - 1, at));
        }
    }
    found
}

/// The sizes whose proofs are corrupted: all small ones, those around powers of two, and some between.
fn is_corrupted(n: u64) -> bool {
    n <= 34 || n.is_multiple_of(10) || [n - 2, n - 1, n, n + 1].iter().any(|near| near.is_power_of_two())
}

/// No inclusion proof survives a change: of a hash, the leaf, the root, the index, or to another size of the log.
#[test]
fn no_changed_inclusion_proof_verifies() {
    let roots: Vec<_> = (0..=SIZE_MAX + 1).map(|n| Tree::of((0..n).map(leaf)).head().root).collect();
    let mut tree = Tree::of([]);
    for n in 1..=SIZE_MAX {
        tree.push(leaf(n - 1));
        if !is_corrupted(n) {
            continue;
        }
        let root = tree.head().root;
        for index in 0..n {
            let proof = tree.inclusion(index);
            let accepts = |index: u64, n: u64, hashes: &[Hash], root: Hash| {
                InclusionProof::new(LeafIndex::new(index).unwrap(), size(n), hashes.to_vec())
                    .is_ok_and(|proof| proof.verify(leaf(index), root).is_ok())
            };
            assert!(accepts(index, n, proof.hashes(), root));
            for changed in corruptions(proof.hashes()) {
                assert!(!accepts(index, n, &changed, root), "{index} of {n}");
            }
            let bit = usize::try_from(index).unwrap();
            assert!(proof.verify(flipped(leaf(index), bit), root).is_err());
            assert!(proof.verify(leaf(index), flipped(root, bit)).is_err());
            for other in [index ^ 1, index ^ 2, index + 1, index.wrapping_sub(1), n - 1 - index, n] {
                let moved = LeafIndex::new(other)
                    .and_then(|other| InclusionProof::new(other, size(n), proof.hashes().to_vec()));
                let accepted = moved.is_ok_and(|moved| moved.verify(leaf(index), root).is_ok());
                assert_eq!(accepted, other == index, "{index} as {other} of {n}");
            }
            for other in [n - 1, n + 1] {
                let other_root = roots[usize::try_from(other).unwrap()];
                assert!(!accepts(index, other, proof.hashes(), other_root), "{index} of {n} as of {other}");
            }
        }
    }
}

/// No consistency proof survives a change: of a hash, of either root, or to other sizes of the log.
#[test]
fn no_changed_consistency_proof_verifies() {
    let roots: Vec<_> = (0..=SIZE_MAX + 1).map(|n| Tree::of((0..n).map(leaf)).head().root).collect();
    let root_of = |n: u64| roots[usize::try_from(n).unwrap()];
    let mut tree = Tree::of([]);
    for n in 1..=SIZE_MAX {
        tree.push(leaf(n - 1));
        if !is_corrupted(n) {
            continue;
        }
        for old in 1..=n {
            let proof = tree.consistency(old);
            let accepts = |old: u64, n: u64, hashes: &[Hash]| {
                ConsistencyProof::new(size(old), size(n), hashes.to_vec())
                    .is_ok_and(|proof| proof.verify(root_of(old), root_of(n)).is_ok())
            };
            assert!(accepts(old, n, proof.hashes()));
            for changed in corruptions(proof.hashes()) {
                assert!(!accepts(old, n, &changed), "{old} to {n}");
            }
            let bit = usize::try_from(old).unwrap();
            assert!(proof.verify(flipped(root_of(old), bit), root_of(n)).is_err());
            assert!(proof.verify(root_of(old), flipped(root_of(n), bit)).is_err());
            if old < n {
                assert!(proof.verify(root_of(n), root_of(old)).is_err(), "{old} and {n} changed places");
                for (other_old, other_n) in [(old - 1, n), (old + 1, n), (old, n - 1), (old, n + 1)] {
                    // From the empty tree and between equal sizes, there is nothing to prove and no hash to prove it.
                    assert!(!accepts(other_old, other_n, proof.hashes()), "{old} to {n}");
                }
            }
        }
    }
}

/// Every single bit of every hash counts, in trees small enough to try them all.
#[test]
fn no_bit_of_a_proof_can_be_changed() {
    for n in 2..=17 {
        let tree = Tree::of((0..n).map(leaf));
        let head = tree.head();
        for index in [0, n / 2, n - 1] {
            let proof = tree.inclusion(index);
            for bit in 0..256 * proof.hashes().len() {
                let mut hashes = proof.hashes().to_vec();
                hashes[bit / 256] = flipped(hashes[bit / 256], bit % 256);
                let changed = InclusionProof::new(proof.index(), head.size, hashes).unwrap();
                assert!(changed.verify(leaf(index), head.root).is_err());
            }
        }
    }
}

/// Nothing grows from the empty tree that is not empty or larger, and equal sizes have equal roots.
#[test]
fn the_empty_tree_and_equal_sizes_need_no_hashes() {
    let (some, other) = (leaf(1), leaf(2));
    let proof = |old, new, hashes| ConsistencyProof::new(size(old), size(new), hashes).unwrap();
    assert_eq!(proof(0, 0, vec![]).verify(Hash::EMPTY_ROOT, Hash::EMPTY_ROOT), Ok(()));
    assert!(proof(0, 0, vec![]).verify(Hash::EMPTY_ROOT, some).is_err());
    assert!(proof(0, 0, vec![]).verify(some, some).is_err());
    assert_eq!(proof(0, 9, vec![]).verify(Hash::EMPTY_ROOT, some), Ok(()));
    assert!(proof(0, 9, vec![]).verify(some, some).is_err());
    assert_eq!(proof(0, 9, vec![some]).verify(Hash::EMPTY_ROOT, some), Err(ProofError::TooLong));
    assert_eq!(proof(9, 9, vec![]).verify(some, some), Ok(()));
    assert!(proof(9, 9, vec![]).verify(some, other).is_err());
    assert_eq!(proof(9, 9, vec![some]).verify(some, some), Err(ProofError::TooLong));
    assert!(proof(1, 1, vec![some]).verify(some, some).is_err());
    assert_eq!(proof(8, 9, vec![]).verify(some, other), Err(ProofError::TooShort));
}

/// Places outside the tree have no proofs.
#[test]
fn nothing_is_proven_outside_the_tree() {
    let index = |index| LeafIndex::new(index).unwrap();
    assert!(matches!(InclusionProof::nodes(index(0), size(0)), Err(TreeError::OutOfRange { .. })));
    assert!(matches!(InclusionProof::new(index(7), size(7), vec![]), Err(TreeError::OutOfRange { .. })));
    assert!(matches!(ConsistencyProof::nodes(size(8), size(7)), Err(TreeError::Backwards { .. })));
    assert!(matches!(ConsistencyProof::new(size(1), size(0), vec![]), Err(TreeError::Backwards { .. })));
}

/// The stated limits hold, and are reached, at the largest sizes.
#[test]
fn proofs_are_as_long_as_stated_and_no_longer() {
    let most = TreeSize::MAX.get();
    let sizes = [most, most - 1, most / 2 + 1, most / 2 - 1, most / 3, most - 1 - (1 << 20)];
    let (mut nodes_max, mut inclusion_max, mut consistency_max) = (0, 0, 0);
    for n in sizes {
        for place in [0, 1, 2, 3, 5, n / 3, n / 2, n / 2 + 1, n / 4 + 1, n / 8 + 1, n - 2, n - 1] {
            let index = LeafIndex::new(place).unwrap();
            let nodes = InclusionProof::nodes(index, size(n)).unwrap();
            nodes_max = nodes_max.max(nodes.len());
            let proof = InclusionProof::from_nodes(index, size(n), &vec![leaf(0); nodes.len()]).unwrap();
            inclusion_max = inclusion_max.max(proof.hashes().len());

            let old = size(place);
            let nodes = ConsistencyProof::nodes(old, size(n)).unwrap();
            let proof = ConsistencyProof::from_nodes(old, size(n), &vec![leaf(0); nodes.len()]).unwrap();
            consistency_max = consistency_max.max(proof.hashes().len());
        }
    }
    assert_eq!((nodes_max, inclusion_max, consistency_max), (78, 40, PROOF_HASHES_MAX));
    assert_eq!(Subtree::whole(size(most - 1)).cover().len(), 40);
}

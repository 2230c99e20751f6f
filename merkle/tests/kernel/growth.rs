//! Growth: both roots from the same hashes, for every pair of sizes up to 130.

use counterfoil_merkle::{
    Hash, TreeSize,
    growth::{Growth, GrowthError},
    tree::TreeError,
};

use crate::naive::{Tree, flipped, leaf, size};

const SIZE_MAX: u64 = 130;

fn growth(tree: &Tree, old: u64) -> Growth {
    let (old, new) = (size(old), tree.head().size);
    let nodes = Growth::nodes(old, new).unwrap();
    Growth::from_nodes(old, new, &tree.nodes(&nodes)).unwrap()
}

/// A growth gives the two roots that its trees have; no other number of hashes makes one for those sizes.
#[test]
fn both_roots_come_from_the_hashes() {
    let mut tree = Tree::of([]);
    let mut roots = Vec::new();
    for n in 0..=SIZE_MAX {
        let head = tree.head();
        roots.push(head.root);
        for (old, &old_root) in (0..).zip(&roots) {
            let growth = growth(&tree, old);
            assert_eq!((growth.old_root(), growth.new_root()), (old_root, head.root), "{old} to {n}");
            assert_eq!((growth.old(), growth.new_size()), (size(old), head.size));

            let (frontier, right) = (growth.frontier().to_vec(), growth.right().to_vec());
            let rebuilt = |frontier, right| Growth::new(size(old), head.size, frontier, right);
            assert_eq!(rebuilt(frontier.clone(), right.clone()), Ok(growth));
            let more = |hashes: &[Hash]| [hashes, &[leaf(0)]].concat();
            let fewer = |hashes: &[Hash]| hashes.split_last().map(|(_, rest)| rest.to_vec());
            let refused =
                |frontier, right| matches!(rebuilt(frontier, right), Err(GrowthError::Count { .. }));
            assert!(refused(more(&frontier), right.clone()));
            assert!(refused(frontier.clone(), more(&right)));
            if let Some(fewer) = fewer(&frontier) {
                assert!(refused(fewer.clone(), right.clone()));
                assert!(refused(fewer, more(&right)), "as many hashes, but not where they belong");
            }
            if let Some(fewer) = fewer(&right) {
                assert!(refused(frontier.clone(), fewer.clone()));
                assert!(refused(more(&frontier), fewer), "as many hashes, but not where they belong");
            }
        }
        tree.push(leaf(n));
    }
}

/// Whichever hash is changed, the new root changes: nobody can choose the old root freely.
#[test]
fn every_hash_of_a_growth_is_bound_by_the_new_root() {
    for n in 1..=40 {
        let tree = Tree::of((0..n).map(leaf));
        for old in 0..=n {
            let growth = growth(&tree, old);
            let (frontier, right) = (growth.frontier(), growth.right());
            for at in 0..frontier.len() + right.len() {
                let mut hashes = [frontier, right].concat();
                hashes[at] = flipped(hashes[at], 11 * at);
                let (frontier, right) = hashes.split_at(frontier.len());
                let changed = Growth::new(size(old), size(n), frontier.to_vec(), right.to_vec()).unwrap();
                assert_ne!(changed.new_root(), tree.head().root, "hash {at} of {old} to {n}");
            }
        }
    }
}

/// Two growths that meet are one, hash by hash; two that do not meet are refused.
#[test]
fn growths_can_be_put_together() {
    for n in 0..=40 {
        let tree = Tree::of((0..n).map(leaf));
        for m in 0..=n {
            let (first, later) = (Tree::of((0..m).map(leaf)), growth(&tree, m));
            for old in 0..=m {
                let joined = growth(&first, old).then(&later);
                assert_eq!(joined, Ok(growth(&tree, old)), "{old} to {m} to {n}");
            }
            if m > 0 {
                let other = Tree::of((1..=m).map(leaf));
                let refused = growth(&other, m / 2).then(&later);
                assert!(matches!(refused, Err(GrowthError::Apart { .. })), "{m} to {n}");
            }
        }
    }
}

#[test]
fn a_tree_does_not_shrink() {
    assert!(matches!(Growth::nodes(size(2), size(1)), Err(TreeError::Backwards { .. })));
    assert!(Growth::from_nodes(size(2), size(1), &[leaf(0)]).is_err());
    assert!(matches!(Growth::new(size(2), size(1), vec![], vec![]), Err(GrowthError::Tree(_))));
}

/// The stated limit of nodes holds at the largest sizes, and roots come out of any growth that has its counts right.
#[test]
fn growths_are_as_long_as_stated() {
    let most = TreeSize::MAX.get();
    let mut nodes_max = 0;
    for new in [most, most - 1, most - 2, most / 2 + 1, most / 3, (1 << 39) - 1] {
        for old in [0, 1, 2, 3, new / 2, new / 2 - 1, new / 2 + 1, new / 3, new - 1, new, (1 << 38) - 1] {
            let nodes = Growth::nodes(size(old), size(new)).unwrap();
            nodes_max = nodes_max.max(nodes.len());
            let growth = Growth::from_nodes(size(old), size(new), &vec![leaf(0); nodes.len()]).unwrap();
            assert!(growth.frontier().len() <= 40 && growth.right().len() <= 41);
            let _ = (growth.old_root(), growth.new_root());
        }
    }
    assert_eq!(nodes_max, 79);
}

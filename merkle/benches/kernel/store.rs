//! One tree, held as each implementation wants it.

use counterfoil_merkle::{Hash, NodeId, TreeHead, TreeSize, tree::Subtree};
use ct_merkle::{RootHash, mem_backed_tree::MemoryBackedTree};
use sha2::Sha256;
use tlog_tiles::HashReader;

/// The tree, three times.
pub(crate) struct Store {
    /// Complete nodes by level and index.
    levels: Vec<Vec<Hash>>,
    pub(crate) stored: Stored,
    pub(crate) ct: MemoryBackedTree<Sha256, [u8; 32]>,
}

/// Complete nodes in the order that `tlog_tiles` gives them.
#[derive(Default)]
pub(crate) struct Stored(Vec<tlog_tiles::Hash>);

impl Store {
    pub(crate) fn grow(leaves: u64) -> Self {
        let mut levels: Vec<Vec<Hash>> = vec![Vec::new()];
        let (mut stored, mut ct) = (Stored::default(), MemoryBackedTree::new());
        for index in 0..leaves {
            let data = leaf_data(index);
            let leaf = Hash::leaf(&data);
            levels[0].push(leaf);
            for level in 0.. {
                let below: &[Hash] = &levels[level];
                let &[.., left, right] = below else { break };
                if below.len() % 2 == 1 {
                    break;
                }
                if levels.len() == level + 1 {
                    levels.push(Vec::new());
                }
                levels[level + 1].push(Hash::node(left, right));
            }
            stored.push(index, theirs(leaf));
            ct.push(data);
        }
        let store = Self { levels, stored, ct };
        assert_eq!(store.ct.root().as_bytes()[..], store.root().as_bytes()[..], "one tree");
        assert_eq!(
            tlog_tiles::tree_hash(leaves, &store.stored).unwrap().0,
            *store.root().as_bytes(),
            "one tree"
        );
        store
    }

    pub(crate) fn hashes(&self, nodes: &[NodeId]) -> Vec<Hash> {
        let at = |node: &NodeId| self.levels[usize::from(node.level)][usize::try_from(node.index).unwrap()];
        nodes.iter().map(at).collect()
    }

    pub(crate) fn head(&self) -> TreeHead {
        let size = TreeSize::new(self.levels[0].len() as u64).unwrap();
        TreeHead { size, root: self.root_at(size) }
    }

    pub(crate) fn root(&self) -> Hash {
        self.head().root
    }

    pub(crate) fn root_at(&self, size: TreeSize) -> Hash {
        Subtree::fold(&self.hashes(&Subtree::whole(size).cover()))
    }
}

impl Stored {
    pub(crate) fn push(&mut self, index: u64, leaf: tlog_tiles::Hash) {
        let new = tlog_tiles::stored_hashes_for_record_hash(index, leaf, self).unwrap();
        self.0.extend(new);
    }
}

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

pub(crate) fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

pub(crate) fn ct_root(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

/// The bytes of a leaf.
pub(crate) fn leaf_data(index: u64) -> [u8; 32] {
    *Hash::of(&[&index.to_be_bytes()]).as_bytes()
}

/// Places all over a tree, each time another one.
pub(crate) fn places(leaves: u64) -> impl FnMut() -> u64 {
    let mut at = 0;
    move || {
        at = (at + 7_919) % leaves;
        at
    }
}

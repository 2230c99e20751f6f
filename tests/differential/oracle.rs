//! The other implementations' proofs and verdicts, over any store of nodes.

use counterfoil_merkle::{
    Hash, LeafIndex, NodeId, TreeSize,
    proof::{ConsistencyProof, InclusionProof},
    tree::Subtree,
};
use ct_merkle::RootHash;
use sha2::Sha256;
use tlog_tiles::{Error, HashReader, check_record, check_tree};

/// Where the hashes of complete nodes come from.
pub(crate) trait Nodes {
    fn node(&self, node: NodeId) -> Hash;

    /// The bytes of a leaf.
    fn data(&self, index: u64) -> Vec<u8>;

    fn nodes(&self, nodes: &[NodeId]) -> Vec<Hash> {
        nodes.iter().map(|&node| self.node(node)).collect()
    }

    fn root(&self, size: TreeSize) -> Hash {
        Subtree::fold(&self.nodes(&Subtree::whole(size).cover()))
    }
}

/// A store as `tlog_tiles` reads one.
struct Reader<'a, N>(&'a N);

impl<N: Nodes> HashReader for Reader<'_, N> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, Error> {
        let node = |&index: &u64| {
            let (level, index) = tlog_tiles::split_stored_hash_index(index);
            theirs(self.0.node(NodeId { level, index }))
        };
        Ok(indexes.iter().map(node).collect())
    }
}

pub(crate) fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

pub(crate) fn ours(hash: tlog_tiles::Hash) -> Hash {
    Hash::new(hash.0)
}

fn all_ours(hashes: Vec<tlog_tiles::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(ours).collect()
}

pub(crate) fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

fn ct_root(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

pub(crate) fn concatenated(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The nodes of `ct-merkle`, whose level is the number of trailing ones: a ragged one covers what leaves there are.
fn ct_node<N: Nodes>(store: &N, index: u64, size: u64) -> Hash {
    let level = index.trailing_ones();
    let start = index >> (level + 1) << level;
    let end = size.min(start + (1 << level));
    Subtree::fold(&store.nodes(&Subtree::new(start, end).unwrap().cover()))
}

/// Both compute the same root.
pub(crate) fn agree_on_root<N: Nodes>(store: &N, size: TreeSize) {
    assert_eq!(store.root(size), ours(tlog_tiles::tree_hash(size.get(), &Reader(store)).unwrap()), "{size}");
}

/// All three make the same inclusion proof, and the other two accept it, and not when a bit is changed.
pub(crate) fn agree_on_inclusion<N: Nodes>(store: &N, index: u64, n: u64) {
    let place = LeafIndex::new(index).unwrap();
    let nodes = InclusionProof::nodes(place, size(n)).unwrap();
    let proof = InclusionProof::from_nodes(place, size(n), &store.nodes(&nodes)).unwrap();
    let made = tlog_tiles::prove_record(n, index, &Reader(store)).unwrap();
    assert_eq!(proof.hashes(), all_ours(made), "{index} of {n}");
    let indices = ct_merkle::indices_for_inclusion_proof(n, index);
    let of_ct: Vec<_> = indices.into_iter().map(|node| ct_node(store, node, n)).collect();
    assert_eq!(proof.hashes(), of_ct, "{index} of {n}");

    let (data, root) = (store.data(index), store.root(size(n)));
    let leaf = Hash::leaf(&data);
    let verdicts = |hashes: &[Hash]| {
        let proof = InclusionProof::new(place, size(n), hashes.to_vec()).unwrap();
        let list = hashes.iter().map(|&hash| theirs(hash)).collect();
        let bytes = ct_merkle::InclusionProof::try_from_bytes(concatenated(hashes)).unwrap();
        [
            proof.verify(leaf, root).is_ok(),
            check_record(&list, n, theirs(root), index, theirs(leaf)).is_ok(),
            ct_root(root, n).verify_inclusion(&data, index, &bytes).is_ok(),
        ]
    };
    agree_on_changes(proof.hashes(), index, verdicts);
}

/// All three make the same consistency proof, and the other two accept it, and not when a bit is changed.
pub(crate) fn agree_on_consistency<N: Nodes>(store: &N, old: u64, new: u64) {
    let nodes = ConsistencyProof::nodes(size(old), size(new)).unwrap();
    let proof = ConsistencyProof::from_nodes(size(old), size(new), &store.nodes(&nodes)).unwrap();
    let made = tlog_tiles::prove_tree(new, old, &Reader(store)).unwrap();
    assert_eq!(proof.hashes(), all_ours(made), "{old} to {new}");
    let indices = ct_merkle::indices_for_consistency_proof(old, new - old);
    let of_ct: Vec<_> = indices.into_iter().map(|node| ct_node(store, node, new)).collect();
    assert_eq!(proof.hashes(), of_ct, "{old} to {new}");

    let (old_root, new_root) = (store.root(size(old)), store.root(size(new)));
    let verdicts = |hashes: &[Hash]| {
        let proof = ConsistencyProof::new(size(old), size(new), hashes.to_vec()).unwrap();
        let list = hashes.iter().map(|&hash| theirs(hash)).collect();
        let bytes = ct_merkle::ConsistencyProof::try_from_bytes(concatenated(hashes)).unwrap();
        [
            proof.verify(old_root, new_root).is_ok(),
            check_tree(&list, new, theirs(new_root), old, theirs(old_root)).is_ok(),
            ct_root(new_root, new).verify_consistency(&ct_root(old_root, old), &bytes).is_ok(),
        ]
    };
    agree_on_changes(proof.hashes(), old ^ new, verdicts);
}

/// The proof is good, and no longer with a hash changed, one removed, or one too many; all three say so.
fn agree_on_changes(hashes: &[Hash], which: u64, verdicts: impl Fn(&[Hash]) -> [bool; 3]) {
    assert_eq!(verdicts(hashes), [true; 3]);
    assert_eq!(verdicts(&[hashes, &[Hash::EMPTY_ROOT]].concat()), [false; 3]);
    if let Some(at) = usize::try_from(which).unwrap().checked_rem(hashes.len()) {
        let mut changed = hashes.to_vec();
        changed[at] = Hash::leaf(hashes[at].as_bytes());
        assert_eq!(verdicts(&changed), [false; 3]);
        changed.remove(at);
        assert_eq!(verdicts(&changed), [false; 3]);
    }
}

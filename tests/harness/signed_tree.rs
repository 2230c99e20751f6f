//! The part of a log that witnesses see: a tree that grows, its proofs, and checkpoints with the log's signature.

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner, VerifierKey},
    proof::ConsistencyProof,
    tree::Subtree,
    witness::AddCheckpoint,
};

/// A tree, one leaf's hash after the other, with every complete node above them. Cloned, it can grow apart.
#[derive(Clone, Debug)]
pub struct SignedTree {
    origin: String,
    levels: Vec<Vec<Hash>>,
}

impl SignedTree {
    /// The empty tree of a log of that name, which is also what its key is made from.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), levels: vec![Vec::new()] }
    }

    /// The log's key.
    ///
    /// # Panics
    /// If its name cannot be a key's.
    pub fn key(&self) -> VerifierKey {
        self.signer().public().clone()
    }

    fn signer(&self) -> NoteSigner {
        let name = KeyName::new(&self.origin).expect("a name");
        let seed = Hash::of(&[self.origin.as_bytes()]);
        NoteSigner::from_seed(name, Algorithm::Ed25519, seed.as_bytes()).expect("32 bytes")
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// Appends leaves up to that size, that branch's own.
    pub fn grow(&mut self, branch: u64, size: u64) {
        for index in self.size()..size {
            let mut hash = Hash::leaf(format!("{branch} {index}").as_bytes());
            for level in 0.. {
                if level == self.levels.len() {
                    self.levels.push(Vec::new());
                }
                self.levels[level].push(hash);
                let [.., left, right] = self.levels[level][..] else { break };
                if !self.levels[level].len().is_multiple_of(2) {
                    break;
                }
                hash = Hash::node(left, right);
            }
        }
    }

    /// The same, grown.
    pub fn grown(&self, branch: u64, size: u64) -> Self {
        let mut tree = self.clone();
        tree.grow(branch, size);
        tree
    }

    /// Size and root.
    ///
    /// # Panics
    /// If there are more leaves than a tree can have.
    pub fn head(&self) -> TreeHead {
        let size = TreeSize::new(self.size()).expect("a size");
        let hashes: Vec<_> = Subtree::whole(size).cover().into_iter().map(|node| self.node(node)).collect();
        TreeHead { size, root: Subtree::fold(&hashes) }
    }

    fn node(&self, node: counterfoil_merkle::NodeId) -> Hash {
        let index = usize::try_from(node.index).expect("in memory");
        self.levels[usize::from(node.level)][index]
    }

    /// The tree's checkpoint, signed by the log.
    ///
    /// # Panics
    /// If the name cannot be an origin.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        let origin = Origin::new(&self.origin).expect("an origin");
        Checkpoint::new(origin, self.head()).sign(&self.signer())
    }

    /// What the log submits to a witness that has cosigned its tree of that size.
    ///
    /// # Panics
    /// If it never had that size.
    pub fn request(&self, old: u64) -> AddCheckpoint {
        let [old, new] = [old, self.size()].map(|size| TreeSize::new(size).expect("a size"));
        let nodes = ConsistencyProof::nodes(old, new).expect("the tree has grown");
        let hashes: Vec<_> = nodes.into_iter().map(|node| self.node(node)).collect();
        let proof = ConsistencyProof::from_nodes(old, new, &hashes).expect("the tree has grown");
        AddCheckpoint { old, proof: proof.hashes().to_vec(), checkpoint: self.checkpoint().note().clone() }
    }
}

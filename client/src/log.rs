//! A log that is known by its key, and what can be proven about it from its tiles.

mod policy;

pub use policy::LogPolicy;

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, LeafIndex, NodeId, TreeHead, TreeSize,
    bundle::{BundleError, parse_bundle},
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    cosign::Cosignature,
    key::VerifierKey,
    policy::PolicyError,
    proof::{ConsistencyProof, InclusionProof, ProofError},
    tile::{TILE_WIDTH, TileError, TileId, TileKind, TilePath, TileTree},
    tree::{Subtree, TreeError},
};

use crate::source::{Resource, Source, SourceError};

/// What is known of a log before it is asked anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLog {
    /// The key that signs its checkpoints; the key's name is the log's origin.
    pub key: VerifierKey,
    /// The key with which it attests their time.
    pub clock: Option<VerifierKey>,
    /// Where it is: a URL, or the path of a directory.
    pub url: String,
    /// Which witnesses have to have cosigned a checkpoint; without a policy the log's own signature is enough.
    pub policy: Option<LogPolicy>,
}

/// A known log and the place it is read from.
#[derive(Clone, Debug)]
pub struct Log {
    known: KnownLog,
    source: Source,
}

/// A checkpoint that the log signed, and when it says it did.
#[derive(Clone, Debug)]
pub struct Latest {
    /// The checkpoint.
    pub checkpoint: VerifiedCheckpoint,
    /// The log's own time, if its clock key is known.
    pub clock: Option<Cosignature>,
    /// The witnesses of the log's policy that cosigned it.
    pub witnesses: Vec<Cosignature>,
}

impl KnownLog {
    /// Checks a checkpoint's text: the log's signature, that its clock attests the time if it is known, and the quorum
    /// of its witnesses if there is a policy.
    pub fn check(&self, note: &str) -> Result<Latest, PolicyError> {
        let signed = note.parse::<SignedCheckpoint>()?;
        let checkpoint = signed.verify(&self.key)?;
        let clock = self.clock.as_ref().map(|clock| checkpoint.cosignature(clock)).transpose()?;
        let accepted = self.policy.as_ref().map(|policy| policy.policy().check(&signed)).transpose()?;
        let (witnesses, listed) =
            accepted.map(|accepted| (accepted.witnesses, accepted.clock)).unwrap_or_default();
        Ok(Latest { checkpoint, clock: clock.or(listed), witnesses })
    }
}

impl Log {
    /// A log and where to read it, which need not be where it says it is.
    pub const fn new(known: KnownLog, source: Source) -> Self {
        Self { known, source }
    }

    /// What was known of it.
    pub const fn known(&self) -> &KnownLog {
        &self.known
    }

    /// Where it is read from.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The checkpoint that it shows now, verified.
    pub async fn checkpoint(&self) -> Result<Latest, LogError> {
        let bytes = self.source.fetch(Resource::Checkpoint).await?.ok_or(LogError::NoCheckpoint)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| LogError::NotText)?;
        Ok(self.known.check(text)?)
    }

    /// Hashes of nodes as they are in a tree of that size, in the order asked for. Each tile is read once.
    pub async fn nodes(&self, nodes: &[NodeId], size: TreeSize) -> Result<Vec<Hash>, LogError> {
        let mut tiles: BTreeMap<TileId, TileTree> = BTreeMap::new();
        for &node in nodes {
            let id = TileId::of(node);
            if let Entry::Vacant(place) = tiles.entry(id) {
                place.insert(self.tile(id, size).await?);
            }
        }
        let hash = |node: &NodeId| tiles.get(&TileId::of(*node)).and_then(|tile| tile.tree_node(*node));
        nodes.iter().map(|node| hash(node).ok_or(LogError::NotInTree { node: *node, size })).collect()
    }

    /// A hash tile as it is in a tree of that size. Nothing is checked but its length.
    pub async fn tile(&self, id: TileId, size: TreeSize) -> Result<TileTree, LogError> {
        let width = id.width(size);
        let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
        let bytes = self.bundle(path).await?;
        let tile = TileTree::from_bytes(&bytes).map_err(|reason| LogError::Tile { path, reason })?;
        if tile.width() != width {
            let reason = TileError::Length { got: bytes.len() };
            return Err(LogError::Tile { path, reason });
        }
        Ok(tile)
    }

    /// The root that the tiles of a tree of size `within` give its first `size` leaves. Trust it only with a proof that leads
    /// to a signed one.
    pub async fn root(&self, size: TreeSize, within: TreeSize) -> Result<Hash, LogError> {
        if size > within {
            return Err(TreeError::Backwards { old: size, new: within }.into());
        }
        let hashes = self.nodes(&Subtree::whole(size).cover(), within).await?;
        Ok(Subtree::fold(&hashes))
    }

    /// Proves that a tree has this leaf at that index, from tiles, and checks the proof.
    pub async fn prove(
        &self,
        index: LeafIndex,
        leaf: Hash,
        head: TreeHead,
    ) -> Result<InclusionProof, LogError> {
        let hashes = self.nodes(&InclusionProof::nodes(index, head.size)?, head.size).await?;
        let proof = InclusionProof::from_nodes(index, head.size, &hashes)?;
        proof.verify(leaf, head.root).map_err(|reason| LogError::Inclusion { index, reason })?;
        Ok(proof)
    }

    /// Proves that one tree grew into the other, from tiles, and checks the proof.
    pub async fn consistency(&self, old: TreeHead, new: TreeHead) -> Result<ConsistencyProof, LogError> {
        let hashes = self.nodes(&ConsistencyProof::nodes(old.size, new.size)?, new.size).await?;
        let proof = ConsistencyProof::from_nodes(old.size, new.size, &hashes)?;
        proof.verify(old.root, new.root).map_err(|reason| LogError::Inconsistent {
            old: old.size,
            new: new.size,
            reason,
        })?;
        Ok(proof)
    }

    /// The entry at an index of a tree of that size. Nothing is checked: prove its leaf hash.
    pub async fn entry(&self, index: LeafIndex, size: TreeSize) -> Result<Vec<u8>, LogError> {
        self.item(TileKind::Entries, index, size).await
    }

    /// The statement at an index, empty if it was erased. Nothing is checked: hold it against its entry.
    pub async fn statement(&self, index: LeafIndex, size: TreeSize) -> Result<Vec<u8>, LogError> {
        self.item(TileKind::Statements, index, size).await
    }

    async fn item(&self, kind: TileKind, index: LeafIndex, size: TreeSize) -> Result<Vec<u8>, LogError> {
        if index.get() >= size.get() {
            return Err(TreeError::OutOfRange { index, size }.into());
        }
        let mut path = TilePath::full(kind, index.get() / TILE_WIDTH);
        path.width = path.width_at(size);
        let bytes = self.bundle(path).await?;
        let items = parse_bundle(&bytes).map_err(|reason| LogError::Bundle { path, reason })?;
        let position = usize::try_from(index.get() % TILE_WIDTH).unwrap_or(usize::MAX);
        let item = items.get(position).ok_or(LogError::Gone { path })?;
        Ok(item.to_vec())
    }

    async fn bundle(&self, path: TilePath) -> Result<Bytes, LogError> {
        self.source.fetch_tile(path).await?.ok_or(LogError::Gone { path })
    }
}

/// Why something about a log is not known, or not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// It could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It shows no checkpoint.
    #[error("the log shows no checkpoint")]
    NoCheckpoint,
    /// Its checkpoint is not text.
    #[error("the log's checkpoint is not UTF-8")]
    NotText,
    /// Its checkpoint is bad, or too few witnesses cosigned it.
    #[error(transparent)]
    Checkpoint(#[from] PolicyError),
    /// A tile or bundle that belongs to the tree is not there.
    #[error("the log does not have {path}")]
    Gone {
        /// Its path.
        path: TilePath,
    },
    /// A tile that is none.
    #[error("{path}: {reason}")]
    Tile {
        /// Its path.
        path: TilePath,
        /// What is wrong with it.
        reason: TileError,
    },
    /// A bundle that is none.
    #[error("{path}: {reason}")]
    Bundle {
        /// Its path.
        path: TilePath,
        /// What is wrong with it.
        reason: BundleError,
    },
    /// A node beyond the tree was asked for.
    #[error("a tree of size {size} has no node {} of level {}", node.index, node.level)]
    NotInTree {
        /// The node.
        node: NodeId,
        /// The tree's size.
        size: TreeSize,
    },
    /// An index or size beyond the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The tiles do not lead from the leaf to the signed root.
    #[error("leaf {index} is not proven: {reason}")]
    Inclusion {
        /// The leaf.
        index: LeafIndex,
        /// What does not hold.
        reason: ProofError,
    },
    /// The tiles do not lead from one signed root to the other: the log forked, or its tiles are damaged.
    #[error("the tree of size {new} is not proven to contain that of size {old}: {reason}")]
    Inconsistent {
        /// The smaller size.
        old: TreeSize,
        /// The larger size.
        new: TreeSize,
        /// What does not hold.
        reason: ProofError,
    },
}

impl LogError {
    /// Whether the log was not heard, so that nothing is known; else what it said is wrong.
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Source(_) | Self::NoCheckpoint | Self::Gone { .. } | Self::Tree(_))
    }
}

#[cfg(test)]
mod tests;

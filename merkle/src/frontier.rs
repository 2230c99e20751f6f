//! The right edge of a tree: all that is needed to go on appending, and to prove whatever was appended last.

use crate::{
    hash::Hash,
    tile::{TILE_LEVEL_MAX, TileId, TileTree},
    tree::{NodeId, Subtree, TreeError, TreeHead, TreeSize},
};

/// The ragged right edge of a tree: at each tile level, the tile that is not full yet.
///
/// At most 255 hashes a level, with the nodes between them. Cloning copies some 16 KB a level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: TreeSize,
    ragged: Vec<TileTree>,
}

/// A tile that a pushed leaf filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Which tile.
    pub id: TileId,
    /// Its 256 hashes and the nodes above them.
    pub tree: TileTree,
}

impl Frontier {
    /// The edge of the empty tree.
    pub const fn new() -> Self {
        Self { size: TreeSize::ZERO, ragged: Vec::new() }
    }

    /// The edge of a tree of that size, from its ragged tiles: for each of [`TileId::ragged`], the lowest hashes.
    ///
    /// # Errors
    /// [`FrontierError::Width`] if a tile does not have the width that the size calls for.
    pub fn from_tiles(
        size: TreeSize,
        tiles: impl IntoIterator<Item = TileTree>,
    ) -> Result<Self, FrontierError> {
        let mut ragged = Vec::new();
        let mut tiles = tiles.into_iter();
        for (id, expected) in TileId::ragged(size) {
            let tree = tiles.next().unwrap_or_default();
            if tree.width() != expected {
                return Err(FrontierError::Width { level: id.level, expected, got: tree.width() });
            }
            ragged.resize_with(usize::from(id.level), TileTree::new);
            ragged.push(tree);
        }
        Ok(Self { size, ragged })
    }

    /// Number of leaves.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// The root: at most 39 hashes.
    pub fn root(&self) -> Hash {
        let cover = Subtree::whole(self.size).cover();
        let hashes: Vec<_> =
            cover.into_iter().map(|node| self.node(node).expect("the edge covers the tree")).collect();
        Subtree::fold(&hashes)
    }

    /// The hash of a node, if it lies in one of the ragged tiles.
    pub fn node(&self, node: NodeId) -> Option<Hash> {
        let id = TileId::of(node);
        let tile = self.tile(id.level)?;
        if id.index == self.ragged_index(id.level) { tile.tree_node(node) } else { None }
    }

    /// The ragged tile of a level, if it has any hash.
    pub fn tile(&self, level: u8) -> Option<&TileTree> {
        self.ragged.get(usize::from(level)).filter(|tile| tile.width() > 0)
    }

    /// Appends a leaf and hands on each tile that it fills, lowest first.
    ///
    /// # Errors
    /// [`TreeError::TooLarge`] if the tree is full; then nothing changes.
    pub fn push(&mut self, leaf: Hash, mut filled: impl FnMut(FullTile)) -> Result<(), TreeError> {
        let size = self.size.grow(1)?;
        let mut hash = leaf;
        for level in 0..=TILE_LEVEL_MAX {
            let id = TileId { level, index: self.ragged_index(level) };
            if self.ragged.len() == usize::from(level) {
                self.ragged.push(TileTree::new());
            }
            let tile = &mut self.ragged[usize::from(level)];
            tile.push(hash);
            let Some(root) = tile.root() else { break };
            filled(FullTile { id, tree: std::mem::take(tile) });
            hash = root;
        }
        self.size = size;
        Ok(())
    }

    const fn ragged_index(&self, level: u8) -> u64 {
        self.size.get() >> (8 * (level + 1))
    }
}

/// Why tiles do not make up the edge of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrontierError {
    /// A tile is too narrow or too wide for the size.
    #[error("the ragged tile of level {level} has {got} hashes, where the tree's size calls for {expected}")]
    Width {
        /// The tile's level.
        level: u8,
        /// Hashes that the size calls for.
        expected: u64,
        /// Hashes that it has.
        got: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// The naive tree of RFC 6962, as its definition reads.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY_ROOT,
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                Hash::node(naive_root(&leaves[..split]), naive_root(&leaves[split..]))
            }
        }
    }

    /// At every size the edge gives the root that the definition gives, and can be built anew from its own tiles.
    #[test]
    fn the_edge_is_enough_at_every_size() {
        let mut edge = Frontier::new();
        let mut leaves = Vec::new();
        let mut full = HashMap::new();
        for index in 0..1300_u32 {
            if index % 97 == 0 || index % 256 < 2 || index % 256 > 254 {
                assert_eq!(edge.root(), naive_root(&leaves));
                let tiles = edge.ragged.iter().filter(|tile| tile.width() > 0).cloned();
                let again = Frontier::from_tiles(edge.size(), tiles).unwrap();
                assert_eq!(again.head(), edge.head());
            }
            let leaf = Hash::leaf(&index.to_be_bytes());
            leaves.push(leaf);
            edge.push(leaf, |tile| drop(full.insert(tile.id, tile.tree))).unwrap();
        }
        assert_eq!(full.len(), 5);
        let hashes = |tile: &TileTree| (0..256).map(|i| tile.hash(i).unwrap()).collect::<Vec<_>>();
        assert_eq!(hashes(&full[&TileId { level: 0, index: 3 }]), leaves[768..1024]);
        assert_eq!(edge.tile(1).unwrap().hash(3), full[&TileId { level: 0, index: 3 }].root());
    }

    /// 65,536 leaves fill a tile of level 1 and with it both levels below are empty.
    #[test]
    fn filling_carries_upward() {
        let mut edge = Frontier::new();
        let mut filled = Vec::new();
        for index in 0..65_536_u32 {
            edge.push(Hash::leaf(&index.to_be_bytes()), |tile| filled.push(tile.id)).unwrap();
        }
        assert_eq!(filled.len(), 257);
        assert_eq!(filled[255..], [TileId { level: 0, index: 255 }, TileId { level: 1, index: 0 }]);
        assert!(edge.tile(0).is_none() && edge.tile(1).is_none());
        assert_eq!(edge.tile(2).unwrap().width(), 1);
        let again = Frontier::from_tiles(edge.size(), [edge.tile(2).unwrap().clone()]).unwrap();
        assert_eq!(again, edge);
    }
}

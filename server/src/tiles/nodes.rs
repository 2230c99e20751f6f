//! Hashes of nodes that readers ask for, remembered in a bounded space.
//!
//! A proof needs some twenty nodes. Those of upper levels lie in few tiles, which stay here whole. Of each tile of leaf
//! hashes, of which a large log has thousands, only the upper half stays: the 16 hashes of 16 leaves each and the nodes
//! above them, a sixteenth of its size. The nodes below those are computed from 16 leaf hashes when they are asked for. Some tiles
//! stay as they are stored too: taking them from the kernel again costs more than all else about an answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, NodeId,
    tile::{TILE_LEVELS, TileId, TileTree},
};

/// The level on which a tile of leaf hashes is cut in two.
const BLOCK_LEVEL: u8 = TILE_LEVELS / 2;

/// Leaves of a block.
pub(super) const BLOCK_LEAVES: u64 = 1 << BLOCK_LEVEL;

/// Bytes of a block's leaf hashes.
pub(super) const BLOCK_BYTES: usize = Hash::BYTES << BLOCK_LEVEL;

/// As many upper halves are remembered, 1 KB each: those of 16 million receipts.
const UPPERS_MAX: usize = 65_536;

/// As many tiles above the leaves' are remembered, 16 KB each: those of 66 million receipts.
const TILES_MAX: usize = 1_024;

/// As many tiles are remembered as they are stored, 8 KB each: all those of 8 million receipts.
const WHOLE_MAX: usize = 32_768;

/// A tile makes way once as many others in a row wanted its slot: to let go of one and keep another costs as much as reading it.
const WHOLE_PATIENCE: u8 = 8;

/// Where the hash of a node is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the upper nodes of a tile of leaf hashes.
    Upper(TileId),
    /// Among the nodes of a block of leaves: the tile, and which block of the whole tree.
    Block(TileId, u64),
    /// In a tile above those.
    Tile(TileId),
}

impl Place {
    pub(super) fn of(node: NodeId) -> Self {
        let id = TileId::of(node);
        match node.level {
            0..BLOCK_LEVEL => Self::Block(id, node.index >> (BLOCK_LEVEL - node.level)),
            BLOCK_LEVEL..TILE_LEVELS => Self::Upper(id),
            _ => Self::Tile(id),
        }
    }

    /// The tile that it is in.
    pub(super) const fn tile(self) -> TileId {
        match self {
            Self::Upper(id) | Self::Block(id, _) | Self::Tile(id) => id,
        }
    }
}

/// The upper half of a tile of leaf hashes: its blocks' hashes, and the nodes above them.
fn upper_of(tile: &TileTree) -> TileTree {
    let blocks = (0..).map_while(|block| tile.node(BLOCK_LEVEL, block));
    TileTree::from_hashes(blocks)
}

/// Tiles and upper halves that were read before.
pub(super) struct Nodes {
    uppers: Slots<Arc<TileTree>>,
    tiles: Slots<Arc<TileTree>>,
    whole: Slots<Bytes>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            uppers: Slots::new(UPPERS_MAX, 1),
            tiles: Slots::new(TILES_MAX, 1),
            whole: Slots::new(WHOLE_MAX, WHOLE_PATIENCE),
        }
    }
}

impl Nodes {
    /// What holds the nodes of a place, if it was remembered. A block never is.
    pub(super) fn find(&self, place: Place) -> Option<Held> {
        match place {
            Place::Upper(id) => self.uppers.find(id).map(Held::Upper),
            Place::Tile(id) => self.tiles.find(id).map(Held::Whole),
            Place::Block(..) => None,
        }
    }

    /// Remembers a full tile, as far as it is worth it; returns what was kept of it.
    pub(super) fn remember(&self, id: TileId, tile: TileTree) -> Held {
        match id.level {
            0 => Held::Upper(self.uppers.put(id, Arc::new(upper_of(&tile)))),
            _ => Held::Whole(self.tiles.put(id, Arc::new(tile))),
        }
    }

    /// A full tile as it is stored, if it was kept.
    pub(super) fn whole(&self, id: TileId) -> Option<Bytes> {
        self.whole.find(id)
    }

    /// Whether none is kept where this one would be.
    pub(super) fn has_room_for(&self, id: TileId) -> bool {
        self.whole.is_free(id)
    }

    /// Keeps a full tile as it is stored, if its slot is free or it is its turn.
    pub(super) fn keep(&self, id: TileId, bytes: Bytes) -> Bytes {
        self.whole.put(id, bytes)
    }
}

/// A table in which each tile has one slot, which it shares with others: it is the last one's, or stays with one while that is
/// asked for again and again.
struct Slots<T> {
    slots: Box<[Mutex<Slot<T>>]>,
    /// How many others in a row have to be put there before the last of them takes a slot over.
    patience: u8,
}

struct Slot<T> {
    kept: Option<(TileId, T)>,
    /// How many others wanted it since it was asked for.
    others: u8,
}

impl<T: Clone> Slots<T> {
    fn new(length: usize, patience: u8) -> Self {
        let slot = || Mutex::new(Slot { kept: None, others: 0 });
        Self { slots: (0..length).map(|_| slot()).collect(), patience }
    }

    fn slot(&self, id: TileId) -> MutexGuard<'_, Slot<T>> {
        let length = self.slots.len();
        // The few tiles of higher levels lie far from the first ones of lower levels.
        let level_start = usize::from(id.level) * (length / usize::from(TILE_LEVELS));
        let index = usize::try_from(id.index % length as u64).expect("below a length");
        self.slots[(index + level_start) % length].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: TileId) -> Option<T> {
        let mut slot = self.slot(id);
        let kept = slot.kept.as_ref().filter(|(held, _)| *held == id).map(|(_, kept)| kept.clone())?;
        slot.others = 0;
        Some(kept)
    }

    fn is_free(&self, id: TileId) -> bool {
        self.slot(id).kept.is_none()
    }

    /// What was given, whether it is kept or not.
    fn put(&self, id: TileId, given: T) -> T {
        let mut slot = self.slot(id);
        slot.others = slot.others.saturating_add(1);
        if slot.kept.is_none() || slot.others >= self.patience {
            *slot = Slot { kept: Some((id, given.clone())), others: 0 };
        }
        given
    }
}

/// What holds the nodes of a place.
#[derive(Clone)]
pub(super) enum Held {
    /// The whole tile.
    Whole(Arc<TileTree>),
    /// The upper half of a tile of leaf hashes.
    Upper(Arc<TileTree>),
    /// The leaf hashes of a block, as they are stored.
    Block(Bytes),
}

impl Held {
    /// The hash of a node of that place.
    pub(super) fn find(&self, node: NodeId) -> Option<Hash> {
        let level = node.level % BLOCK_LEVEL;
        let index = u16::try_from(node.index % (BLOCK_LEAVES >> level)).expect("at most 16");
        match self {
            Self::Whole(tile) => tile.tree_node(node),
            Self::Upper(tree) => tree.node(level, index),
            Self::Block(leaves) => {
                let (first, count) = (usize::from(index) << level, 1 << level);
                leaves.as_chunks().0.get(first..first + count).map(root)
            }
        }
    }
}

/// The node above so many leaves, a power of two.
fn root(leaves: &[[u8; Hash::BYTES]]) -> Hash {
    match leaves {
        [leaf] => Hash::new(*leaf),
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            Hash::node(root(left), root(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every node of a tile is found at its place, whichever part of the tile that is.
    #[test]
    fn parts_of_a_tile_have_its_nodes() {
        let tile = TileTree::from_hashes((0..256_u32).map(|leaf| Hash::leaf(&leaf.to_be_bytes())));
        let (id, start) = (TileId { level: 0, index: 77 }, 77 * 256);
        let upper = upper_of(&tile);
        assert_eq!(upper.width(), BLOCK_LEAVES);
        for level in 0..TILE_LEVELS {
            for within in 0..256_u64 >> level {
                let node = NodeId { level, index: (start >> level) + within };
                let place = Place::of(node);
                let held = match place {
                    Place::Upper(of) => {
                        assert_eq!(of, id);
                        Held::Upper(Arc::new(upper.clone()))
                    }
                    Place::Block(of, number) => {
                        assert_eq!(of, id);
                        let leaves = (number * BLOCK_LEAVES - start..).take(16);
                        let hash = |leaf| tile.hash(u16::try_from(leaf).unwrap()).unwrap();
                        let bytes: Vec<u8> = leaves.flat_map(|leaf| *hash(leaf).as_bytes()).collect();
                        assert_eq!(bytes.len(), BLOCK_BYTES);
                        Held::Block(bytes.into())
                    }
                    Place::Tile(_) => panic!("a node below level 8 is in a tile of leaves"),
                };
                let found = held.find(node);
                assert_eq!(found, tile.tree_node(node), "level {level}, {within}");
            }
        }
    }

    /// A slot never gives out another tile than the one asked for.
    #[test]
    fn tiles_that_share_a_slot_are_not_mistaken() {
        let slots = Slots::new(16, 1);
        let tile = |seed: u8| TileTree::from_hashes([Hash::leaf(&[seed])]);
        for level in 0..3 {
            for index in 0..40 {
                slots.put(TileId { level, index }, tile(level * 40 + u8::try_from(index).unwrap()));
            }
        }
        let mut found = 0;
        for level in 0..3 {
            for index in 0..40 {
                if let Some(held) = slots.find(TileId { level, index }) {
                    assert_eq!(held, tile(level * 40 + u8::try_from(index).unwrap()));
                    found += 1;
                }
            }
        }
        assert_eq!(found, 16, "the last of each slot");
    }

    /// What is asked for stays, what is not makes way after a while, and a free slot is taken at once.
    #[test]
    fn a_slot_is_patient() {
        let slots = Slots::new(4, 3);
        let id = |index| TileId { level: 0, index };
        assert!(slots.is_free(id(0)));
        slots.put(id(0), 0);
        assert!(!slots.is_free(id(4)) && slots.is_free(id(1)));
        for other in [4, 8, 4, 8] {
            assert_eq!((slots.put(id(other), 9), slots.put(id(other), 9)), (9, 9));
            assert_eq!((slots.find(id(0)), slots.find(id(other))), (Some(0), None));
        }
        for other in [4, 8, 12] {
            slots.put(id(other), other);
        }
        assert_eq!((slots.find(id(0)), slots.find(id(8)), slots.find(id(12))), (None, None, Some(12)));
    }
}

//! The upper hashes of a tree that the log signed, read from the top down: each was found under the signed root.
//!
//! So whatever is read below them is known to belong to that tree as soon as it is read, leaf by leaf, and a reader that
//! stops halfway has something to show for it.

use std::collections::BTreeMap;

use counterfoil_merkle::{
    Frontier, Hash, NodeId, TreeHead, TreeSize,
    growth::Growth,
    tile::{TILE_LEVELS, TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::audit::{Code, Place, Report};

use super::reader::Readers;

/// The edge of a signed tree, and the tiles that were looked at last: one a level.
#[derive(Clone, Debug)]
pub struct Outline {
    head: TreeHead,
    edge: Frontier,
    path: BTreeMap<u8, (u64, TileTree)>,
}

/// What the signed tree has where a bundle of entries belongs.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The hash of 256 leaves.
    Full(Hash),
    /// The leaves themselves, at the right edge.
    Ragged(TileTree),
}

impl Expected {
    /// Whether these are the leaves.
    pub fn is(&self, leaves: &TileTree) -> bool {
        match self {
            Self::Full(root) => leaves.root() == Some(*root),
            Self::Ragged(tile) => leaves == tile,
        }
    }
}

impl Outline {
    /// Reads the right edge of a signed tree: at most six tiles, which must lead to its root.
    pub async fn open(head: TreeHead, readers: &mut Readers, report: &mut Report) -> Option<Self> {
        for _ in readers.in_turn() {
            let edge = edge(head.size, readers, report).await?;
            let root = edge.root();
            if root == head.root {
                return Some(Self { head, edge, path: BTreeMap::new() });
            }
            let message = format_args!("the tiles give root {root}, signed is {}", head.root);
            report.push(Code::RootMismatch, Place::Checkpoint(head.size), message);
            readers.pass();
        }
        None
    }

    /// The signed tree.
    pub const fn head(&self) -> TreeHead {
        self.head
    }

    /// The signed tree's right edge.
    pub const fn edge(&self) -> &Frontier {
        &self.edge
    }

    /// How the signed tree contains its own first `old` leaves.
    ///
    /// # Panics
    /// If it has fewer.
    pub async fn growth(
        &mut self,
        old: TreeSize,
        readers: &mut Readers,
        report: &mut Report,
    ) -> Option<Growth> {
        let nodes = Growth::nodes(old, self.head.size).expect("a part of a tree is no larger");
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            hashes.push(self.node(node, readers, report).await?);
        }
        Some(Growth::from_nodes(old, self.head.size, &hashes).expect("a part of a tree is no larger"))
    }

    /// As [`Outline::growth`], for a tree that is known to be the first part of the signed one.
    ///
    /// # Panics
    /// If it is not.
    pub async fn growth_of(
        &mut self,
        part: &Frontier,
        readers: &mut Readers,
        report: &mut Report,
    ) -> Option<Growth> {
        let nodes = Growth::nodes(part.size(), self.head.size).expect("a part of a tree is no larger");
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            let own = part.node(node);
            hashes.push(match own {
                Some(hash) => hash,
                None => self.node(node, readers, report).await?,
            });
        }
        let growth = Growth::from_nodes(part.size(), self.head.size, &hashes);
        let growth = growth.expect("a part of a tree is no larger");
        let root = growth.new_root();
        assert_eq!(root, self.head.root, "every leaf was held against the signed root");
        Some(growth)
    }

    /// What the tree has where the entry bundle of that index belongs.
    pub async fn bundle(
        &mut self,
        index: u64,
        readers: &mut Readers,
        report: &mut Report,
    ) -> Option<Expected> {
        let id = TileId { level: 0, index };
        if id.width(self.head.size) < TILE_WIDTH {
            return self.edge.tile(0).cloned().map(Expected::Ragged);
        }
        let above = parent(id);
        self.fetch(above, readers, report).await?;
        self.tile(above)?.hash(position(id)).map(Expected::Full)
    }

    /// The leaf hashes of a bundle.
    pub async fn leaves(
        &mut self,
        index: u64,
        readers: &mut Readers,
        report: &mut Report,
    ) -> Option<TileTree> {
        let id = TileId { level: 0, index };
        self.fetch(id, readers, report).await?;
        self.tile(id).cloned()
    }

    async fn node(&mut self, node: NodeId, readers: &mut Readers, report: &mut Report) -> Option<Hash> {
        let id = TileId::of(node);
        self.fetch(id, readers, report).await?;
        self.tile(id)?.tree_node(node)
    }

    /// A tile that is at hand.
    fn tile(&self, id: TileId) -> Option<&TileTree> {
        if id.width(self.head.size) < TILE_WIDTH {
            return self.edge.tile(id.level);
        }
        self.path.get(&id.level).filter(|(index, _)| *index == id.index).map(|(_, tile)| tile)
    }

    /// Sees to it that a tile is at hand, and with it those above that lead to it.
    async fn fetch(&mut self, id: TileId, readers: &mut Readers, report: &mut Report) -> Option<()> {
        let mut missing = Vec::new();
        let mut at = id;
        while self.tile(at).is_none() {
            missing.push(at);
            at = parent(at);
            // Above the root there is nothing: a tree has an edge, and what is not at the edge lies below it.
            if at.width(self.head.size) == 0 {
                return None;
            }
        }
        while let Some(id) = missing.pop() {
            let expected = self.tile(parent(id))?.hash(position(id))?;
            let path = TilePath::full(TileKind::Hashes(id.level), id.index);
            let accept = |bytes: &[u8], report: &mut Report| {
                let tile = full_tile(path, bytes, report)?;
                if tile.root() == Some(expected) {
                    return Some(tile);
                }
                let message = "not the tile that the signed root has here";
                report.push(Code::TileMismatch, Place::Tile(path), message);
                None
            };
            let tile = readers.tile(path, report, accept).await?;
            self.path.insert(id.level, (id.index, tile));
        }
        Some(())
    }
}

const fn parent(id: TileId) -> TileId {
    TileId { level: id.level + 1, index: id.index >> TILE_LEVELS }
}

fn position(id: TileId) -> u16 {
    u16::try_from(id.index % TILE_WIDTH).expect("below 256")
}

async fn edge(size: TreeSize, readers: &mut Readers, report: &mut Report) -> Option<Frontier> {
    let mut tiles = Vec::new();
    for (id, width) in TileId::ragged(size) {
        let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
        tiles.push(readers.tile(path, report, |bytes, report| full_tile(path, bytes, report)).await?);
    }
    Some(Frontier::from_tiles(size, tiles).expect("each tile has the width that the size calls for"))
}

/// A hash tile of the width that its path says.
fn full_tile(path: TilePath, bytes: &[u8], report: &mut Report) -> Option<TileTree> {
    let tile = TileTree::from_bytes(bytes).ok().filter(|tile| tile.width() == path.width);
    if tile.is_none() {
        let message = format_args!("the tile has {} bytes, not {}", bytes.len(), 32 * path.width);
        report.push(Code::TileMalformed, Place::Tile(path), message);
    }
    tile
}

//! Tiles: the tree cut into pieces of 8 levels and 256 hashes, and the paths they are served under
//! (C2SP tlog-tiles).

use std::{fmt, str::FromStr};

use crate::{
    hash::Hash,
    tree::{NodeId, TreeSize},
};

/// How many levels of the tree one tile spans.
pub const TILE_LEVELS: u8 = 8;

/// How many hashes a full tile has, and entries a full bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_LEVELS;

/// Length of a full hash tile in bytes.
pub const TILE_BYTES: usize = 256 * Hash::BYTES;

/// The highest tile level of the largest tree: the root of 2^40 leaves is the one hash of a tile of level 5.
pub const TILE_LEVEL_MAX: u8 = 5;

/// A hash tile: hashes `index * 256` up to `(index + 1) * 256` of tree level `8 * level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Tile level: tree level divided by 8.
    pub level: u8,
    /// Position among the tiles of that level.
    pub index: u64,
}

impl TileId {
    /// The tile whose hashes yield a node.
    pub const fn of(node: NodeId) -> Self {
        let within = node.level % TILE_LEVELS;
        Self { level: node.level / TILE_LEVELS, index: node.index >> (TILE_LEVELS - within) }
    }

    /// How many hashes this tile has in a tree of that size: 0 to 256.
    pub const fn width(self, size: TreeSize) -> u64 {
        if self.level > TILE_LEVEL_MAX {
            return 0;
        }
        let hashes = size.get() >> (TILE_LEVELS * self.level);
        let before = self.index.saturating_mul(TILE_WIDTH);
        let width = hashes.saturating_sub(before);
        if width > TILE_WIDTH { TILE_WIDTH } else { width }
    }

    /// The tiles at the right edge of a tree that are neither empty nor full, with their widths: at most one a level,
    /// lowest first.
    pub fn ragged(size: TreeSize) -> Vec<(Self, u64)> {
        (0..=TILE_LEVEL_MAX)
            .map(|level| Self { level, index: size.get() >> (TILE_LEVELS * (level + 1)) })
            .map(|tile| (tile, tile.width(size)))
            .filter(|&(_, width)| width > 0)
            .collect()
    }
}

/// The hashes of a tile and all nodes above them inside it.
///
/// The nodes lie in the order in which they come to be as leaves are pushed, so a narrower tile is a prefix of a
/// wider one and every node is found by arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileTree {
    nodes: Vec<Hash>,
    width: u16,
}

impl TileTree {
    /// A tile without hashes.
    pub const fn new() -> Self {
        Self { nodes: Vec::new(), width: 0 }
    }

    /// The tile with these lowest hashes.
    ///
    /// # Panics
    /// If there are more than 256.
    pub fn from_hashes(hashes: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::new();
        for hash in hashes {
            tree.push(hash);
        }
        tree
    }

    /// Reads tile bytes: 1 to 256 hashes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TileError> {
        let (hashes, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
        if hashes.is_empty() || bytes.len() > TILE_BYTES || !rest.is_empty() {
            return Err(TileError::Length { got: bytes.len() });
        }
        Ok(Self::from_hashes(hashes.iter().map(|&hash| Hash::new(hash))))
    }

    /// Number of lowest hashes: 0 to 256.
    pub const fn width(&self) -> u64 {
        self.width as u64
    }

    /// Whether no further hash fits.
    pub const fn is_full(&self) -> bool {
        self.width as u64 == TILE_WIDTH
    }

    /// Appends a lowest hash and computes the nodes that it completes.
    ///
    /// # Panics
    /// If the tile is full.
    pub fn push(&mut self, hash: Hash) {
        assert!(!self.is_full(), "a tile has at most 256 hashes");
        self.nodes.push(hash);
        let leaf = self.width;
        self.width += 1;
        for level in 0..low_u8(leaf.trailing_ones()) {
            let index = leaf >> (level + 1);
            let left = self.node(level, 2 * index).expect("the left child came before");
            let right = self.node(level, 2 * index + 1).expect("the right child came just now");
            self.nodes.push(Hash::node(left, right));
        }
    }

    /// The node `level` (0 to 8) levels above the lowest hashes, if its leaves are all there.
    pub fn node(&self, level: u8, index: u16) -> Option<Hash> {
        if level > TILE_LEVELS {
            return None;
        }
        let last_leaf = ((u32::from(index) + 1) << level) - 1;
        if last_leaf >= u32::from(self.width) {
            return None;
        }
        let stored_before_last_leaf = 2 * last_leaf - last_leaf.count_ones();
        Some(self.nodes[stored_before_last_leaf as usize + usize::from(level)])
    }

    /// The lowest hash at a position.
    pub fn hash(&self, position: u16) -> Option<Hash> {
        self.node(0, position)
    }

    /// The hash that the tile above has for this one, once it is full.
    pub fn root(&self) -> Option<Hash> {
        self.node(TILE_LEVELS, 0)
    }

    /// The hash of a node of the whole tree, if this is its tile and the node is complete.
    pub fn tree_node(&self, node: NodeId) -> Option<Hash> {
        let level = node.level % TILE_LEVELS;
        let index = u16::try_from(node.index % (TILE_WIDTH >> level)).expect("below 256");
        self.node(level, index)
    }

    /// The first `width` hashes as tile bytes: 32 bytes each.
    ///
    /// # Panics
    /// If the tile has fewer.
    pub fn to_bytes(&self, width: u64) -> Vec<u8> {
        assert!(width <= self.width(), "a tile is served up to its width");
        let width = u16::try_from(width).expect("at most 256");
        (0..width).flat_map(|position| *self.hash(position).expect("below the width").as_bytes()).collect()
    }
}

fn low_u8(bits: u32) -> u8 {
    crate::tree::low_u8(bits)
}

/// What a tile path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// `tile/<L>/…`: hashes of tile level L.
    Hashes(u8),
    /// `tile/entries/…`: entry bundles.
    Entries,
    /// `statement/…`: statement bundles, parallel to the entry bundles. Not part of C2SP tlog-tiles.
    Statements,
}

/// The path of a hash tile or bundle: `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`, `statement/<N>[.p/<W>]`.
///
/// Parsing is strict: what parses prints back identically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// What it names.
    pub kind: TileKind,
    /// N: position among the tiles or bundles of that kind.
    pub index: u64,
    /// W: 1 to 256 hashes or entries; 256 is the full one and not printed.
    pub width: u64,
}

impl TilePath {
    /// The path of the full tile or bundle.
    pub const fn full(kind: TileKind, index: u64) -> Self {
        Self { kind, index, width: TILE_WIDTH }
    }

    /// The same tile or bundle at its full width.
    pub const fn to_full(self) -> Self {
        Self::full(self.kind, self.index)
    }

    /// Whether all 256 hashes or entries are meant.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The tree level of what one slot stands for, in tiles: bundles count leaves, as level 0 does.
    const fn level(self) -> u8 {
        match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries | TileKind::Statements => 0,
        }
    }

    /// How many hashes or entries this tile or bundle has in a tree of that size: 0 to 256.
    pub const fn width_at(self, size: TreeSize) -> u64 {
        TileId { level: self.level(), index: self.index }.width(size)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
            TileKind::Statements => write!(f, "statement/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() {
                write!(f, "{group:03}")?;
            } else {
                write!(f, "x{group:03}/")?;
            }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let malformed = || TileError::Path;
        let (kind, rest) = if let Some(rest) = path.strip_prefix("tile/entries/") {
            (TileKind::Entries, rest)
        } else if let Some(rest) = path.strip_prefix("statement/") {
            (TileKind::Statements, rest)
        } else {
            let rest = path.strip_prefix("tile/").ok_or_else(malformed)?;
            let (level, rest) = rest.split_once('/').ok_or_else(malformed)?;
            (TileKind::Hashes(level.parse().map_err(|_| malformed())?), rest)
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| malformed())?),
            None => (rest, TILE_WIDTH),
        };
        let parsed = Self { kind, index: parse_index(index).ok_or_else(malformed)?, width };
        let possible = parsed.level() <= TILE_LEVEL_MAX
            && (1..=parsed.width_at(TreeSize::MAX)).contains(&width)
            && parsed.to_string() == path;
        if possible { Ok(parsed) } else { Err(TileError::Path) }
    }
}

fn parse_index(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    for group in text.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}

/// Why bytes or a path are not a tile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// Not 1 to 256 hashes.
    #[error("a hash tile has 32 to 8192 bytes, a multiple of 32, not {got}")]
    Length {
        /// How many bytes there were.
        got: usize,
    },
    /// Not `tile/<L>/<N>[.p/<W>]` or its like in its one canonical form, or beyond the largest tree.
    #[error("not the path of a tile or bundle")]
    Path,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of C2SP tlog-tiles, and every way of writing them that is not canonical.
    #[test]
    fn paths_have_one_form() {
        for path in [
            "tile/0/000",
            "tile/0/x001/234",
            "tile/1/x001/x234/067",
            "tile/0/x001/x234/067.p/8",
            "tile/4/000.p/255",
            "tile/entries/x123/456.p/1",
            "statement/999",
        ] {
            assert_eq!(path.parse::<TilePath>().unwrap().to_string(), path);
        }
        let parsed: TilePath = "tile/0/x001/x234/067.p/8".parse().unwrap();
        assert_eq!(parsed, TilePath { kind: TileKind::Hashes(0), index: 1_234_067, width: 8 });
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/+0/000",
            "tile/5/000",
            "tile/6/000.p/1",
            "tile/256/000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "tile/data/000",
            "tile/4/001",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/entries/000.p/1/",
            "statement/000 ",
        ] {
            assert_eq!(path.parse::<TilePath>(), Err(TileError::Path), "{path:?}");
        }
    }

    /// The specification's worked widths: size 256, and size 70,000.
    #[test]
    fn ragged_tiles_are_those_of_the_specification() {
        let ragged = |size| {
            TileId::ragged(TreeSize::new(size).unwrap())
                .into_iter()
                .map(|(tile, width)| (tile.level, tile.index, width))
                .collect::<Vec<_>>()
        };
        assert_eq!(ragged(0), []);
        assert_eq!(ragged(255), [(0, 0, 255)]);
        assert_eq!(ragged(256), [(1, 0, 1)]);
        assert_eq!(ragged(70_000), [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(ragged(1 << 40), [(5, 0, 1)]);
    }

    /// Every node inside a tile is what hashing its children gives, at every width.
    #[test]
    fn nodes_are_found_by_arithmetic() {
        let mut tile = TileTree::new();
        for width in 0..=256_u16 {
            for level in 1..=8_u8 {
                for index in 0..=(256 >> level) {
                    let complete = (u32::from(index) + 1) << level <= u32::from(width);
                    let children = tile.node(level - 1, 2 * index).zip(tile.node(level - 1, 2 * index + 1));
                    assert_eq!(tile.node(level, index), children.map(|(l, r)| Hash::node(l, r)));
                    assert_eq!(tile.node(level, index).is_some(), complete);
                }
            }
            assert_eq!(tile.root().is_some(), width == 256);
            if width < 256 {
                tile.push(Hash::leaf(&width.to_be_bytes()));
                let bytes = tile.to_bytes(tile.width());
                assert_eq!(TileTree::from_bytes(&bytes), Ok(tile.clone()));
            }
        }
        for length in [0, 31, 33, 8193, 8224] {
            assert_eq!(TileTree::from_bytes(&vec![0; length]), Err(TileError::Length { got: length }));
        }
    }
}

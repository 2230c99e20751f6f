//! Where readers find hashes, entries and statements: full tiles and bundles in the store or on their way there, and
//! the ragged edge in memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeSize,
    bundle::{BundleError, format_bundle, parse_bundle},
    frontier::FullTile,
    growth::Growth,
    tile::{TILE_LEVELS, TILE_WIDTH, TileError, TileId, TileKind, TilePath, TileTree},
    tree::{Subtree, TreeError},
};

use crate::{
    commit::Item,
    objects::{Objects, StoreError},
};

/// The right edge of the log at one size: the ragged tiles, and the items of the ragged bundle.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// Ragged hash tiles.
    pub frontier: Frontier,
    /// Entries and statements above the last full bundle: at most 255.
    pub items: Vec<Item>,
    /// How many bundles are full.
    bundles: u64,
}

impl Edge {
    /// The edge of a tree, from its ragged tiles and the items of its ragged bundle.
    ///
    /// # Panics
    /// If there is not one item for each hash of the ragged tile of level 0.
    pub fn new(frontier: Frontier, items: Vec<Item>) -> Self {
        let (bundles, ragged) = (frontier.size().get() / TILE_WIDTH, frontier.size().get() % TILE_WIDTH);
        assert_eq!(items.len() as u64, ragged, "one item for each ragged leaf");
        Self { frontier, items, bundles }
    }

    /// Number of leaves.
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The first leaf that is not in a full bundle.
    pub const fn ragged_start(&self) -> u64 {
        self.size().get() / TILE_WIDTH * TILE_WIDTH
    }

    /// Adds the item of the newest leaf, whose hash the frontier has already, and returns the bundles that it fills.
    pub fn push_item(&mut self, item: Item) -> Option<[(TilePath, Bytes); 2]> {
        self.items.push(item);
        if self.items.len() as u64 != TILE_WIDTH {
            return None;
        }
        let items = std::mem::take(&mut self.items);
        let index = self.bundles;
        self.bundles += 1;
        let entries = format_bundle(items.iter().map(|item| &*item.entry));
        let statements = format_bundle(items.iter().map(|item| &*item.statement));
        let full = |kind, bytes: Vec<u8>| (TilePath::full(kind, index), bytes.into());
        Some([full(TileKind::Entries, entries), full(TileKind::Statements, statements)])
    }

    /// The first `width` slots of the ragged tile or bundle of this kind.
    fn ragged(&self, path: TilePath) -> Option<Bytes> {
        let width = usize::try_from(path.width).ok()?;
        let bytes = match path.kind {
            TileKind::Hashes(level) => self.frontier.tile(level)?.to_bytes(path.width),
            TileKind::Entries => format_bundle(self.items.get(..width)?.iter().map(|item| &*item.entry)),
            TileKind::Statements => {
                format_bundle(self.items.get(..width)?.iter().map(|item| &*item.statement))
            }
        };
        Some(bytes.into())
    }
}

/// As many hash tiles that filled last are kept parsed: 16 MB, the tiles of some 250,000 receipts.
const YOUNG_MAX: usize = 1024;

/// Full tiles and bundles: durable ones in the store, younger ones in memory until they are.
pub struct Tiles {
    objects: Arc<Objects>,
    unsettled: RwLock<BTreeMap<TilePath, Bytes>>,
    young: RwLock<Young>,
}

/// Parsed hash tiles, for those who wait for the publication of what filled them: all at once ask for proofs.
#[derive(Default)]
struct Young {
    tiles: HashMap<TileId, Arc<TileTree>>,
    order: VecDeque<TileId>,
}

impl Tiles {
    /// Those of a data directory.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self { objects, unsettled: RwLock::default(), young: RwLock::default() }
    }

    /// The store below.
    pub const fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Holds full objects in memory until [`Tiles::settled`].
    pub fn hold(&self, objects: impl IntoIterator<Item = (TilePath, Bytes)>) {
        self.unsettled.write().unwrap_or_else(PoisonError::into_inner).extend(objects);
    }

    /// Lets an object go that is durable now.
    pub fn settled(&self, path: &TilePath) {
        self.unsettled.write().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Keeps full hash tiles parsed, for a while. They must be held or in the store too.
    pub fn keep_parsed(&self, filled: Vec<FullTile>) {
        let mut young = self.young.write().unwrap_or_else(PoisonError::into_inner);
        for tile in filled {
            young.order.push_back(tile.id);
            young.tiles.insert(tile.id, Arc::new(tile.tree));
        }
        while young.order.len() > YOUNG_MAX {
            if let Some(oldest) = young.order.pop_front() {
                young.tiles.remove(&oldest);
            }
        }
    }

    /// A full hash tile, parsed.
    async fn parsed(&self, id: TileId) -> Result<Arc<TileTree>, ReadError> {
        let young = self.young.read().unwrap_or_else(PoisonError::into_inner).tiles.get(&id).cloned();
        if let Some(tile) = young {
            return Ok(tile);
        }
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let bytes = self.full(path.kind, path.index).await?;
        Ok(Arc::new(TileTree::from_bytes(&bytes).map_err(|error| ReadError::Tile { path, error })?))
    }

    /// A full tile or bundle.
    pub async fn full(&self, kind: TileKind, index: u64) -> Result<Bytes, ReadError> {
        let path = TilePath::full(kind, index);
        let held = self.unsettled.read().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        match held {
            Some(bytes) => Ok(bytes),
            None => self.objects.fetch(&path.to_string()).await?.ok_or(ReadError::Missing { path }),
        }
    }

    /// What a path names in a log whose edge is `edge`; `None` if a log of that size does not have it.
    pub async fn file(&self, edge: &Edge, path: TilePath) -> Result<Option<Bytes>, ReadError> {
        let width = path.width_at(edge.size());
        if path.width > width {
            return Ok(None);
        }
        if width < TILE_WIDTH {
            return Ok(edge.ragged(path));
        }
        let full = self.full(path.kind, path.index).await?;
        if path.is_full() { Ok(Some(full)) } else { prefix(&full, path).map(Some) }
    }

    /// The hashes of nodes of the tree whose edge is `frontier`, in their order.
    pub async fn hashes(&self, frontier: &Frontier, nodes: &[NodeId]) -> Result<Vec<Hash>, ReadError> {
        let mut tiles: HashMap<TileId, Arc<TileTree>> = HashMap::new();
        let mut hashes = Vec::with_capacity(nodes.len());
        for &node in nodes {
            if let Some(hash) = frontier.node(node) {
                hashes.push(hash);
                continue;
            }
            let id = TileId::of(node);
            let tile = match tiles.entry(id) {
                std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::hash_map::Entry::Vacant(empty) => empty.insert(self.parsed(id).await?),
            };
            let path = TilePath::full(TileKind::Hashes(id.level), id.index);
            hashes.push(tile.tree_node(node).ok_or(ReadError::Missing { path })?);
        }
        Ok(hashes)
    }

    /// The root that the log had at a size.
    pub async fn root_at(&self, frontier: &Frontier, size: TreeSize) -> Result<Hash, ReadError> {
        let nodes = Subtree::whole(size).cover();
        Ok(Subtree::fold(&self.hashes(frontier, &nodes).await?))
    }

    /// How the log grew from an older size to that of `frontier`.
    pub async fn growth(&self, frontier: &Frontier, old: TreeSize) -> Result<Growth, ReadError> {
        let nodes = Growth::nodes(old, frontier.size())?;
        Ok(Growth::from_nodes(old, frontier.size(), &self.hashes(frontier, &nodes).await?)?)
    }

    /// An entry and its statement, of a log whose edge is `edge`; `None` if it is beyond that.
    pub async fn item(&self, edge: &Edge, index: LeafIndex) -> Result<Option<Item>, ReadError> {
        let Some(ragged) = index.get().checked_sub(edge.ragged_start()) else {
            let (bundle, slot) = (index.get() / TILE_WIDTH, index.get() % TILE_WIDTH);
            let entry = self.slot(TileKind::Entries, bundle, slot).await?;
            let statement = self.slot(TileKind::Statements, bundle, slot).await?;
            return Ok(Some(Item { entry, statement }));
        };
        Ok(usize::try_from(ragged).ok().and_then(|slot| edge.items.get(slot)).cloned())
    }

    /// All entries of a bundle of a log whose edge is `edge`: 256, or as many as the ragged one has.
    pub async fn entries(&self, edge: &Edge, index: u64) -> Result<Vec<Bytes>, ReadError> {
        if index * TILE_WIDTH == edge.ragged_start() {
            return Ok(edge.items.iter().map(|item| item.entry.clone()).collect());
        }
        let path = TilePath::full(TileKind::Entries, index);
        let bundle = self.full(path.kind, index).await?;
        let items = parse_bundle(&bundle).map_err(|error| ReadError::Bundle { path, error })?;
        Ok(items.into_iter().map(|item| bundle.slice_ref(item)).collect())
    }

    async fn slot(&self, kind: TileKind, index: u64, slot: u64) -> Result<Bytes, ReadError> {
        let path = TilePath::full(kind, index);
        let bundle = self.full(kind, index).await?;
        let items = parse_bundle(&bundle).map_err(|error| ReadError::Bundle { path, error })?;
        let item = usize::try_from(slot).ok().and_then(|slot| items.get(slot));
        item.map(|item| bundle.slice_ref(item)).ok_or(ReadError::Missing { path })
    }

    /// The edge that the log had at a smaller size; `None` if it was never as large as that.
    pub async fn edge_at(&self, edge: &Edge, size: TreeSize) -> Result<Option<Edge>, ReadError> {
        if size > edge.size() {
            return Ok(None);
        }
        let mut ragged = Vec::new();
        for (tile, width) in TileId::ragged(size) {
            let level = tile.level * TILE_LEVELS;
            let start = tile.index * TILE_WIDTH;
            let nodes: Vec<_> = (start..start + width).map(|index| NodeId { level, index }).collect();
            ragged.push(TileTree::from_hashes(self.hashes(&edge.frontier, &nodes).await?));
        }
        let mut items = Vec::new();
        for index in size.get() / TILE_WIDTH * TILE_WIDTH..size.get() {
            items.extend(self.item(edge, LeafIndex::new(index)?).await?);
        }
        let frontier = Frontier::from_tiles(size, ragged).map_err(|_| ReadError::Edge { size })?;
        Ok(Some(Edge::new(frontier, items)))
    }
}

/// The first slots of a full tile or bundle.
fn prefix(full: &Bytes, path: TilePath) -> Result<Bytes, ReadError> {
    let width = usize::try_from(path.width).expect("at most 256");
    let end = match path.kind {
        TileKind::Hashes(_) => width * Hash::BYTES,
        TileKind::Entries | TileKind::Statements => {
            let items = parse_bundle(full).map_err(|error| ReadError::Bundle { path, error })?;
            items.iter().take(width).map(|item| 2 + item.len()).sum()
        }
    };
    if end > full.len() { Err(ReadError::Missing { path }) } else { Ok(full.slice(..end)) }
}

/// Why something that the log has cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tile or bundle that the log must have is not there.
    #[error("{path} is missing")]
    Missing {
        /// Which.
        path: TilePath,
    },
    /// A hash tile is damaged.
    #[error("{path}: {error}")]
    Tile {
        /// Which.
        path: TilePath,
        /// How.
        error: TileError,
    },
    /// A bundle is damaged.
    #[error("{path}: {error}")]
    Bundle {
        /// Which.
        path: TilePath,
        /// How.
        error: BundleError,
    },
    /// An entry that the log must have is missing or malformed.
    #[error("entry {index} is missing or malformed")]
    Entry {
        /// Which.
        index: LeafIndex,
    },
    /// The tiles do not make up an edge of that size.
    #[error("the tiles do not make up the edge of a tree of size {size}")]
    Edge {
        /// Which size.
        size: TreeSize,
    },
    /// A size or index is not of this tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

//! Where readers find hashes, entries and statements: full tiles and bundles in the store or on their way there, and
//! the ragged edge in memory.

mod nodes;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeSize,
    bundle::{BundleError, empty_items, format_bundle, parse_bundle},
    frontier::FullTile,
    growth::Growth,
    tile::{TILE_BYTES, TILE_LEVELS, TILE_WIDTH, TileError, TileId, TileKind, TilePath, TileTree},
    tree::{Subtree, TreeError},
};

use nodes::{BLOCK_BYTES, BLOCK_LEAVES, Held, Nodes, Place};

use crate::{
    commit::Item,
    objects::{Objects, StoreError},
    order::Order,
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

    /// Empties the slot of a statement, if it is in the ragged bundle. Whether anything was in it.
    pub fn erase(&mut self, index: LeafIndex) -> bool {
        let slot = index.get().checked_sub(self.ragged_start()).and_then(|slot| usize::try_from(slot).ok());
        let Some(item) = slot.and_then(|slot| self.items.get_mut(slot)) else { return false };
        !std::mem::take(&mut item.statement).is_empty()
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

/// Full tiles and bundles: durable ones in the store, younger ones in memory until they are.
pub struct Tiles {
    objects: Arc<Objects>,
    nodes: Nodes,
    unsettled: RwLock<BTreeMap<TilePath, Bytes>>,
    /// Orders that may not be carried out yet below: who sees a log that has them sees empty slots all the same.
    orders: RwLock<BTreeMap<LeafIndex, Order>>,
}

impl Tiles {
    /// Those of a data directory.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self { objects, nodes: Nodes::default(), unsettled: RwLock::default(), orders: RwLock::default() }
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

    /// Lets all objects go: whatever is committed is durable now.
    pub fn all_settled(&self) {
        self.unsettled.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Shows the slots of these statements empty, to whoever sees a log that has the order, whatever lies below. Where a
    /// statement was ordered to go before, the older order stands.
    pub fn erase(&self, orders: &[Order]) {
        let mut erasing = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        for order in orders {
            let known = erasing.entry(order.target).or_insert(*order);
            *known = (*known).min(*order);
        }
    }

    /// Lets an order go that was carried out below: the slot is empty there.
    pub fn erased(&self, order: &Order) {
        self.orders.write().unwrap_or_else(PoisonError::into_inner).remove(&order.target);
    }

    /// Whether a statement is still to be erased below.
    pub fn is_erasing(&self, target: LeafIndex) -> bool {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).contains_key(&target)
    }

    /// The slots of a bundle of statements that a log of this size shows empty, whatever lies below.
    ///
    /// To be asked before the bundle is read: an order that is gone by then was carried out.
    fn erasing(&self, index: u64, size: TreeSize) -> Vec<usize> {
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(first) = LeafIndex::new(index * TILE_WIDTH) else { return Vec::new() };
        let bundle = orders.range(first..).map(|(_, order)| order);
        let bundle = bundle.take_while(|order| order.place().0 == index);
        bundle.filter(|order| order.is_in(size)).map(|order| order.place().1).collect()
    }

    /// Remembers the nodes of full hash tiles, which must be held or in the store too: whoever waits for the publication of
    /// what filled them asks for proofs, all at once.
    pub fn remember(&self, filled: Vec<FullTile>) {
        for FullTile { id, tree } in filled {
            self.nodes.remember(id, tree);
        }
    }

    /// What holds the nodes of a place: parsed, and remembered where that is worth it.
    async fn held(&self, place: Place) -> Result<Held, ReadError> {
        let id = place.tile();
        if let Place::Block(_, block) = place {
            return self.block(id, block).await;
        }
        match self.nodes.find(place) {
            Some(held) => Ok(held),
            None => Ok(self.nodes.remember(id, self.parsed(id).await?)),
        }
    }

    /// A block of leaves.
    async fn block(&self, id: TileId, block: u64) -> Result<Held, ReadError> {
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let first = usize::try_from(block * BLOCK_LEAVES % TILE_WIDTH).expect("below 256");
        let start = first * Hash::BYTES;
        let part = start..start + BLOCK_BYTES;
        let peeked = match self.nodes.whole(id) {
            Some(whole) => Some(whole.slice(part.clone())),
            // The whole tile is read where it can be kept; no other is driven out for one block of it.
            None if self.nodes.has_room_for(id) => None,
            None => self.peek(path, part.clone()),
        };
        if let Some(leaves) = peeked {
            return Ok(Held::Block(leaves));
        }
        let whole = self.hash_tile(id).await?;
        if whole.len() < part.end {
            return Err(ReadError::Tile { path, error: TileError::Length { got: whole.len() } });
        }
        Ok(Held::Block(whole.slice(part)))
    }

    /// A full hash tile as it is stored, from memory if it was read lately.
    async fn hash_tile(&self, id: TileId) -> Result<Bytes, ReadError> {
        if let Some(bytes) = self.nodes.whole(id) {
            return Ok(bytes);
        }
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let bytes = match self.peek(path, 0..TILE_BYTES) {
            Some(bytes) => bytes,
            None => self.full(path.kind, path.index).await?,
        };
        // What is damaged is not worth keeping.
        Ok(if bytes.len() == TILE_BYTES { self.nodes.keep(id, bytes) } else { bytes })
    }

    /// A full hash tile, parsed.
    async fn parsed(&self, id: TileId) -> Result<TileTree, ReadError> {
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let bytes = self.full(path.kind, path.index).await?;
        let tile = TileTree::from_bytes(&bytes).map_err(|error| ReadError::Tile { path, error })?;
        if tile.is_full() {
            Ok(tile)
        } else {
            Err(ReadError::Tile { path, error: TileError::Length { got: bytes.len() } })
        }
    }

    /// A part of a full tile or bundle, if it can be had without waiting.
    fn peek(&self, path: TilePath, part: Range<usize>) -> Option<Bytes> {
        match self.unsettled(path) {
            Some(bytes) => bytes.get(part.clone()).is_some().then(|| bytes.slice(part)),
            None => self.objects.peek(&path.to_string(), part),
        }
    }

    /// A full tile or bundle that is not durable yet.
    fn unsettled(&self, path: TilePath) -> Option<Bytes> {
        self.unsettled.read().unwrap_or_else(PoisonError::into_inner).get(&path).cloned()
    }

    /// A full tile or bundle.
    pub async fn full(&self, kind: TileKind, index: u64) -> Result<Bytes, ReadError> {
        let path = TilePath::full(kind, index);
        match self.unsettled(path) {
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
        let full = match path.kind {
            TileKind::Statements => self.statements(edge, path.index).await?,
            TileKind::Hashes(level) => self.hash_tile(TileId { level, index: path.index }).await?,
            TileKind::Entries => self.full(path.kind, path.index).await?,
        };
        if path.is_full() { Ok(Some(full)) } else { prefix(&full, path).map(Some) }
    }

    /// A full bundle of statements, as a log whose edge is `edge` shows it.
    async fn statements(&self, edge: &Edge, index: u64) -> Result<Bytes, ReadError> {
        let path = TilePath::full(TileKind::Statements, index);
        let erasing = self.erasing(index, edge.size());
        let full = self.full(path.kind, index).await?;
        if erasing.is_empty() {
            return Ok(full);
        }
        let left = empty_items(&full, |slot| erasing.contains(&slot));
        left.map(Bytes::from).map_err(|error| ReadError::Bundle { path, error })
    }

    /// The hashes of nodes of the tree whose edge is `frontier`, in their order.
    pub async fn hashes(&self, frontier: &Frontier, nodes: &[NodeId]) -> Result<Vec<Hash>, ReadError> {
        let mut hashes = Vec::with_capacity(nodes.len());
        // Neighbours on the way to the root lie in one place.
        let mut last: Option<(Place, Held)> = None;
        for &node in nodes {
            if let Some(hash) = frontier.node(node) {
                hashes.push(hash);
                continue;
            }
            let place = Place::of(node);
            let held = match last.take() {
                Some((there, held)) if there == place => held,
                _ => self.held(place).await?,
            };
            let missing = || TilePath::full(TileKind::Hashes(place.tile().level), place.tile().index);
            hashes.push(held.find(node).ok_or_else(|| ReadError::Missing { path: missing() })?);
            last = Some((place, held));
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
            let (entries, statements) =
                (self.full(TileKind::Entries, bundle).await?, self.statements(edge, bundle).await?);
            let entry = item_at(&entries, TilePath::full(TileKind::Entries, bundle), slot)?;
            let statement = item_at(&statements, TilePath::full(TileKind::Statements, bundle), slot)?;
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

    /// All entries of a bundle with their statements, as [`Tiles::entries`].
    pub async fn items(&self, edge: &Edge, index: u64) -> Result<Vec<Item>, ReadError> {
        if index * TILE_WIDTH == edge.ragged_start() {
            return Ok(edge.items.clone());
        }
        let entries = self.entries(edge, index).await?;
        let path = TilePath::full(TileKind::Statements, index);
        let bundle = self.statements(edge, index).await?;
        let statements = parse_bundle(&bundle).map_err(|error| ReadError::Bundle { path, error })?;
        if statements.len() != entries.len() {
            return Err(ReadError::Missing { path });
        }
        let items = entries.into_iter().zip(statements);
        Ok(items.map(|(entry, statement)| Item { entry, statement: bundle.slice_ref(statement) }).collect())
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

/// One item of a bundle.
fn item_at(bundle: &Bytes, path: TilePath, slot: u64) -> Result<Bytes, ReadError> {
    let items = parse_bundle(bundle).map_err(|error| ReadError::Bundle { path, error })?;
    let item = usize::try_from(slot).ok().and_then(|slot| items.get(slot));
    item.map(|item| bundle.slice_ref(item)).ok_or(ReadError::Missing { path })
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

//! The log as its threads share it: what is published, what is where, and whether it can be written to.

use std::sync::{Arc, PoisonError, RwLock};

use counterfoil_merkle::{
    Hash, LeafIndex, TreeSize,
    proof::{ConsistencyProof, InclusionProof},
    tile::TILE_WIDTH,
};
use counterfoil_receipt::{Entry, Id};

use crate::{
    commit::Item,
    index::Index,
    objects::{CHECKPOINT, Objects},
    publish::{Publisher, View},
    queue::Queue,
    recover::{self, RecoverError},
    tiles::{Edge, ReadError, Tiles},
};

/// Whether the log can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Recovery is under way.
    Starting,
    /// Appends are taken.
    Writing,
    /// Appends are refused; what is published can be read.
    Stopped {
        /// Why, for the operator.
        reason: String,
    },
}

/// What the sequencer, the settler and the HTTP handlers share.
pub struct Log {
    /// Full tiles and bundles.
    pub tiles: Tiles,
    /// Ids of all that is committed.
    pub index: RwLock<Index>,
    /// What waits for the sequencer.
    pub queue: Queue,
    view: RwLock<Option<Arc<View>>>,
    status: RwLock<Status>,
}

impl Log {
    /// A log that nothing is known of yet.
    pub fn new(objects: Arc<Objects>, queue_max: usize) -> Self {
        Self {
            tiles: Tiles::new(objects),
            index: RwLock::new(Index::new()),
            queue: Queue::new(queue_max),
            view: RwLock::new(None),
            status: RwLock::new(Status::Starting),
        }
    }

    /// What is published; none before the first recovery, if no checkpoint is in the store.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes: from here on readers see this.
    pub fn publish(&self, view: Arc<View>) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Whether it can be written to.
    pub fn status(&self) -> Status {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether it can be written to.
    pub fn set_status(&self, status: Status) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Shows readers what the store says was published last, before, or instead of, being written to.
    pub fn show_stored(&self, publisher: &Publisher) -> Result<(), RecoverError> {
        let objects = self.tiles.objects();
        let Some(text) = objects.get(CHECKPOINT)? else { return Ok(()) };
        let Some((checkpoint, time)) = publisher.published_before(&text) else { return Ok(()) };
        let loaded = recover::load(objects)?;
        self.tiles.hold(loaded.filled);
        let head = checkpoint.unverified().head;
        let edge = futures::executor::block_on(self.tiles.edge_at(&loaded.edge, head.size))?;
        if let Some(edge) = edge.filter(|edge| edge.frontier.head() == head) {
            self.publish(Arc::new(View { edge: Arc::new(edge), checkpoint, text, time }));
        }
        Ok(())
    }

    /// Where the record with this id, or whose id begins with at least 16 such bytes, is in a log with this edge.
    pub async fn find_id(&self, edge: &Edge, id: &[u8]) -> Result<Option<LeafIndex>, ReadError> {
        let candidates = self.index.read().unwrap_or_else(PoisonError::into_inner).ids(id);
        for index in candidates {
            let Some(item) = self.tiles.item(edge, index).await? else { continue };
            let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
            if entry.id.as_bytes().starts_with(id) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Where the leaf with this hash is in a log with this edge.
    pub async fn find_leaf(&self, edge: &Edge, leaf: Hash) -> Result<Option<LeafIndex>, ReadError> {
        let candidates = self.index.read().unwrap_or_else(PoisonError::into_inner).leaves(leaf);
        for index in candidates {
            let Some(item) = self.tiles.item(edge, index).await? else { continue };
            if Hash::leaf(&item.entry) == leaf {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Adds to the index the entries that it does not know yet, up to the edge.
    pub async fn fill_index(&self, edge: &Edge) -> Result<(), ReadError> {
        let known = self.index.read().unwrap_or_else(PoisonError::into_inner).size();
        let mut bundle = Vec::new();
        for index in known..edge.size().get() {
            let index = LeafIndex::new(index)?;
            if bundle.is_empty() || index.get() % TILE_WIDTH == 0 {
                bundle = self.tiles.entries(edge, index.get() / TILE_WIDTH).await?;
            }
            let slot = usize::try_from(index.get() % TILE_WIDTH).expect("below 256");
            let bytes = bundle.get(slot).ok_or(ReadError::Entry { index })?;
            let entry = Entry::parse(bytes).map_err(|_| ReadError::Entry { index })?;
            self.index_entry(&entry.id, Hash::leaf(bytes));
        }
        Ok(())
    }

    /// Adds the next committed entry to the index.
    pub fn index_entry(&self, id: &Id, leaf: Hash) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).push(id, leaf);
    }

    /// An entry and its statement at the published size.
    pub async fn item(&self, view: &View, index: LeafIndex) -> Result<Option<Item>, ReadError> {
        self.tiles.item(&view.edge, index).await
    }

    /// Proof that the tree of `size` has the leaf at `index`.
    pub async fn inclusion(
        &self,
        view: &View,
        index: LeafIndex,
        size: TreeSize,
    ) -> Result<InclusionProof, ReadError> {
        let hashes = self.tiles.hashes(&view.edge.frontier, &InclusionProof::nodes(index, size)?).await?;
        Ok(InclusionProof::from_nodes(index, size, &hashes)?)
    }

    /// Proof that the tree of size `to` starts with that of size `from`.
    pub async fn consistency(
        &self,
        view: &View,
        from: TreeSize,
        to: TreeSize,
    ) -> Result<ConsistencyProof, ReadError> {
        let hashes = self.tiles.hashes(&view.edge.frontier, &ConsistencyProof::nodes(from, to)?).await?;
        Ok(ConsistencyProof::from_nodes(from, to, &hashes)?)
    }
}

//! The log as its threads share it: what is published, what is where, and whether it can be written to.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Instant,
};

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeSize,
    proof::{ConsistencyProof, InclusionProof},
    tile::TILE_WIDTH,
};
use counterfoil_receipt::{Entry, Id, Kind};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    admission::Admission,
    commit::Item,
    index::{
        Index,
        runs::{RUN_ENTRIES, RUN_LEVEL, Runs, RunsError},
    },
    objects::{CHECKPOINT, Objects},
    order::Order,
    publish::{Identity, View},
    queue::Queue,
    recover::{self, RecoverError},
    scrub::Damaged,
    tiles::{Edge, ReadError, Tiles},
};

/// So many runs of the index, some 35 MB, are read or written before it lets go of them.
const RUNS_OPEN_MAX: u64 = 32;

/// What is said of an index that cannot be written.
const NOT_WRITTEN: &str = "the index is no longer written; the next start makes the rest of it again";

/// Whether the log can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Recovery is under way.
    Starting,
    /// Appends are taken.
    Writing,
    /// The disk has no room: what is new is refused until it has; what is published can be read.
    NoRoom,
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
    /// The index on disk, while it can be written.
    runs: Mutex<Option<Runs>>,
    /// What waits for the sequencer.
    pub queue: Queue,
    /// Who may append.
    pub admission: Admission,
    view: watch::Sender<Option<Arc<View>>>,
    status: watch::Sender<Status>,
    /// What of the stored log is damaged.
    damage: OnceLock<Damaged>,
}

impl Log {
    /// A log that nothing is known of yet.
    pub fn new(objects: Arc<Objects>, runs: Option<Runs>, queue_max: usize) -> Self {
        Self {
            tiles: Tiles::new(objects),
            index: RwLock::new(Index::new()),
            runs: Mutex::new(runs),
            queue: Queue::new(queue_max),
            admission: Admission::default(),
            view: watch::Sender::new(None),
            status: watch::Sender::new(Status::Starting),
            damage: OnceLock::new(),
        }
    }

    /// What is published; none before the first recovery, if no checkpoint is in the store.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.borrow().clone()
    }

    /// Publishes: from here on readers see this.
    pub fn publish(&self, view: Arc<View>) {
        self.view.send_replace(Some(view));
    }

    /// Waits until an entry is published, but no longer than that; `None` if it is not.
    pub async fn published(&self, index: LeafIndex, until: Instant) -> Option<Arc<View>> {
        let mut views = self.view.subscribe();
        let has = |view: &Option<Arc<View>>| view.as_ref().is_some_and(|view| view.has(index));
        let view = tokio::time::timeout_at(until.into(), views.wait_for(has)).await.ok()?.ok()?;
        view.clone()
    }

    /// Whether it can be written to.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Says whether it can be written to.
    pub fn set_status(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// The stored log is damaged: nothing is appended to it any more. What is being sequenced just now is still answered; from
    /// then on the log is stopped until the next start. Reads go on.
    pub fn halt(&self, damage: Damaged) {
        let _first = self.damage.set(damage);
        self.queue.interrupt();
    }

    /// Whether the stored log was found damaged.
    ///
    /// # Errors
    /// What was found first.
    pub fn check_damage(&self) -> Result<(), Damaged> {
        self.damage.get().map_or(Ok(()), |damage| Err(damage.clone()))
    }

    /// Waits until it is known whether it can be written to.
    pub async fn started(&self) -> Status {
        let mut statuses = self.status.subscribe();
        let known = statuses.wait_for(|status| *status != Status::Starting).await;
        known.map_or(Status::Starting, |status| status.clone())
    }

    /// Shows readers what the store says was published last, before, or instead of, being written to.
    pub fn show_stored(&self, identity: &Identity) -> Result<(), RecoverError> {
        let objects = self.tiles.objects();
        let Some(text) = objects.get(CHECKPOINT)? else { return Ok(()) };
        let Some((checkpoint, time)) = identity.published_before(&text) else { return Ok(()) };
        let loaded = recover::load(objects)?;
        self.tiles.hold(loaded.filled);
        let head = checkpoint.unverified().head;
        let edge = futures::executor::block_on(self.tiles.edge_at(&loaded.edge, head.size))?;
        if let Some(mut edge) = edge.filter(|edge| edge.frontier.head() == head) {
            // What was ordered to go, and is not gone yet, is not shown again.
            let orders = futures::executor::block_on(async {
                self.fill_index(&loaded.edge).await?;
                self.find_orders(&loaded.edge).await
            });
            match orders {
                Ok(orders) => {
                    self.tiles.erase(&orders);
                    for order in orders.iter().filter(|order| order.is_in(head.size)) {
                        edge.erase(order.target);
                    }
                }
                Err(error) => warn!(%error, "what was to be erased cannot be found out; all else is shown"),
            }
            self.publish(Arc::new(View {
                edge: Arc::new(edge),
                text: checkpoint.to_string().into(),
                checkpoint,
                time,
            }));
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

    /// Whether a record is in the published log.
    pub async fn has(&self, id: Id) -> Result<bool, ReadError> {
        let Some(view) = self.view() else { return Ok(false) };
        Ok(self.find_id(&view.edge, id.as_bytes()).await?.is_some())
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

    /// All erasures that a log with this edge orders, in the order of their records. The index must cover it.
    ///
    /// Costs a look at each such record and at what it is about.
    pub async fn find_orders(&self, edge: &Edge) -> Result<Vec<Order>, ReadError> {
        let records = self.index.read().unwrap_or_else(PoisonError::into_inner).erasures().to_vec();
        let mut orders = Vec::with_capacity(records.len());
        for record in records.into_iter().take_while(|record| *record < edge.size().get()) {
            let index = LeafIndex::new(record)?;
            let item = self.tiles.item(edge, index).await?.ok_or(ReadError::Entry { index })?;
            orders.extend(self.order_of(edge, index, &item.entry).await?);
        }
        Ok(orders)
    }

    /// What the erasure record with this entry orders, of a log with this edge.
    pub async fn order_of(
        &self,
        edge: &Edge,
        record: LeafIndex,
        entry: &[u8],
    ) -> Result<Option<Order>, ReadError> {
        let entry = Entry::parse(entry).map_err(|_| ReadError::Entry { index: record })?;
        let Some(about) = entry.about.filter(|_| entry.kind == Kind::Erasure) else { return Ok(None) };
        let target = self.find_leaf(edge, about).await?;
        Ok(target.filter(|target| *target < record).map(|target| Order { target, record }))
    }

    /// An order was carried out: the statement is in no file any more. Whatever else was derived from it goes here too.
    pub fn erased(&self, order: &Order) {
        self.tiles.erased(order);
        info!(leaf_index = order.target.get(), record = order.record.get(), "the statement is erased");
    }

    /// Fills the index up to the edge: from stored runs as far as they go, then from the entries.
    pub async fn fill_index(&self, edge: &Edge) -> Result<(), ReadError> {
        let mut known = self.index.read().unwrap_or_else(PoisonError::into_inner).size();
        if known == 0 {
            known = self.load_runs(edge).await?;
        }
        let mut bundle = Vec::new();
        for index in known..edge.size().get() {
            let index = LeafIndex::new(index)?;
            if bundle.is_empty() || index.get() % TILE_WIDTH == 0 {
                bundle = self.tiles.entries(edge, index.get() / TILE_WIDTH).await?;
            }
            let slot = usize::try_from(index.get() % TILE_WIDTH).expect("below 256");
            let bytes = bundle.get(slot).ok_or(ReadError::Entry { index })?;
            let entry = Entry::parse(bytes).map_err(|_| ReadError::Entry { index })?;
            self.index_entry(&entry.id, Hash::leaf(bytes), entry.kind);
            self.store_runs(&edge.frontier).await?;
        }
        Ok(())
    }

    /// Loads the runs that were made for this very log, and returns how many entries they cover.
    async fn load_runs(&self, edge: &Edge) -> Result<u64, ReadError> {
        self.index.write().unwrap_or_else(PoisonError::into_inner).reserve(edge.size().get());
        let mut number = 0;
        loop {
            let end = (number + 1) * RUN_ENTRIES as u64;
            let loaded = match &*self.runs.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(runs) if end <= edge.size().get() => runs.load(number),
                _ => Ok(None),
            };
            let doubt = match loaded {
                Ok(Some((run, node))) if self.run_node(&edge.frontier, number).await? == node => {
                    self.index.write().unwrap_or_else(PoisonError::into_inner).push_run(&run);
                    number += 1;
                    if number.is_multiple_of(RUNS_OPEN_MAX) {
                        self.reopen_runs();
                    }
                    continue;
                }
                Ok(None) => break,
                Ok(Some(_)) => RunsError::OtherHistory { number },
                Err(doubt) => doubt,
            };
            warn!(%doubt, "the index is made again from here on");
            break;
        }
        self.reopen_runs();
        Ok(number * RUN_ENTRIES as u64)
    }

    /// Stores the runs that are complete. An index that cannot be written is left alone until the next start.
    pub async fn store_runs(&self, frontier: &Frontier) -> Result<(), ReadError> {
        loop {
            let taken = self.index.write().unwrap_or_else(PoisonError::into_inner).take_run(frontier.size());
            let Some((number, run)) = taken else { return Ok(()) };
            let node = self.run_node(frontier, number).await?;
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(error)) = runs.as_ref().map(|runs| runs.store(number, &run, node)) {
                warn!(%error, NOT_WRITTEN);
                *runs = None;
            }
            drop(runs);
            if (number + 1).is_multiple_of(RUNS_OPEN_MAX) {
                self.reopen_runs();
            }
        }
    }

    /// Has the index let go of what it holds in memory.
    fn reopen_runs(&self) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match runs.take().map(Runs::reopen).transpose() {
            Ok(reopened) => *runs = reopened,
            Err(error) => warn!(%error, NOT_WRITTEN),
        }
    }

    /// Ends the index in order, so that it can be believed after any boot.
    pub fn close_index(&self) {
        if let Some(runs) = self.runs.lock().unwrap_or_else(PoisonError::into_inner).take()
            && let Err(error) = runs.close()
        {
            warn!(%error, "the index was not closed in order; the next start may make it again");
        }
    }

    /// The tree node over the 65,536 entries of a run.
    pub async fn run_node(&self, frontier: &Frontier, number: u64) -> Result<Hash, ReadError> {
        let node = NodeId { level: RUN_LEVEL, index: number };
        Ok(self.tiles.hashes(frontier, &[node]).await?[0])
    }

    /// Adds the next committed entry to the index.
    pub fn index_entry(&self, id: &Id, leaf: Hash, kind: Kind) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).push(id, leaf, kind);
    }

    /// Indexes of the committed records that others are judged by, rising.
    pub fn deciding_records(&self) -> Vec<u64> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).deciding().to_vec()
    }

    /// Indexes of the clock records that are committed, rising.
    pub fn clock_records(&self) -> Vec<u64> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clocks().to_vec()
    }

    /// An entry and its statement at the published size.
    pub async fn item(&self, view: &View, index: LeafIndex) -> Result<Option<Item>, ReadError> {
        self.tiles.item(&view.edge, index).await
    }

    /// The leaf hash at `index`, and the proof that the tree of `size` has it there.
    pub async fn inclusion(
        &self,
        view: &View,
        index: LeafIndex,
        size: TreeSize,
    ) -> Result<(Hash, InclusionProof), ReadError> {
        let mut nodes = InclusionProof::nodes(index, size)?;
        // Beside its sibling, so that both are read at once.
        nodes.insert(0, NodeId { level: 0, index: index.get() });
        let hashes = self.tiles.hashes(&view.edge.frontier, &nodes).await?;
        Ok((hashes[0], InclusionProof::from_nodes(index, size, &hashes[1..])?))
    }

    /// The root that the log had at a size up to the published one.
    pub async fn root_at(&self, view: &View, size: TreeSize) -> Result<Hash, ReadError> {
        let head = view.head();
        if size == head.size {
            return Ok(head.root);
        }
        self.tiles.root_at(&view.edge.frontier, size).await
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

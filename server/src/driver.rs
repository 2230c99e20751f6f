//! The sequencer's loop, on its own thread: seal, commit, read back, sign, reply. The order is the design.
//!
//! Any error from the commit on means *state unknown*: nobody is answered, the term ends, and the log is found again
//! by [`recover`]. What a person must look at ends writing until the next start; reads go on.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use counterfoil_merkle::{
    LeafIndex, NodeId,
    frontier::FullTile,
    proof::InclusionProof,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath},
    tree::TreeError,
};
use counterfoil_receipt::Timestamp;
use futures::executor::block_on;
use tracing::{error, info, warn};

use crate::{
    clock::{Clock, ClockError},
    guard::{Guard, GuardError, Mark},
    log::{Log, Status},
    metrics::Metrics,
    objects::{Created, StoreError, commit_name, never_told_name},
    publish::{PublishError, Publisher, View},
    queue::{Outcome, Submission, Taken},
    recover::{RecoverError, Retained, recover},
    sequencer::{ReadBackError, Sealed, SealedLeaf, Sequencer},
    settle::{Settler, Step},
    tiles::{Edge, ReadError},
};

/// An idle log attests the present time this often.
const RENEW_PERIOD: Duration = Duration::from_secs(30);

/// How long to wait between recoveries from what may pass by itself.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// How often a record is read again before a difference counts as lasting.
const READ_BACK_ATTEMPTS: usize = 3;

/// A published batch, with all that its proofs need.
pub struct Batch {
    /// Its entries.
    pub leaves: Vec<SealedLeaf>,
    /// The published state that contains it.
    pub view: Arc<View>,
    filled: Vec<FullTile>,
}

impl Batch {
    /// Proof of one of its leaves under its checkpoint, from memory.
    pub fn proof(&self, position: usize) -> InclusionProof {
        let (index, size) = (self.leaves[position].index, self.view.head().size);
        let nodes = InclusionProof::nodes(index, size).expect("a batch's leaves are in its tree");
        let hashes: Vec<_> = nodes.into_iter().map(|node| self.node(node)).collect();
        InclusionProof::from_nodes(index, size, &hashes).expect("a batch's leaves are in its tree")
    }

    fn node(&self, node: NodeId) -> counterfoil_merkle::Hash {
        let id = TileId::of(node);
        let filled = || self.filled.iter().find(|tile| tile.id == id)?.tree.tree_node(node);
        let hash = self.view.edge.frontier.node(node).or_else(filled);
        hash.expect("a new leaf's siblings lie in tiles that its batch touched")
    }
}

/// What the loop works with.
pub struct Driver {
    /// Shared with readers.
    pub log: Arc<Log>,
    /// The guard, shared with the settler.
    pub guard: Arc<Mutex<Guard>>,
    /// Signs heads.
    pub publisher: Publisher,
    /// Tells the time.
    pub clock: Clock,
    /// How far the wall clock may be ahead of the guard at start.
    pub clock_gap_max: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One life of the sequencer between two recoveries.
struct Term {
    sequencer: Sequencer,
    edge: Arc<Edge>,
    settler: Option<Settler>,
}

impl Driver {
    /// Runs until the queue is shut down. Returns whether the log ended in order.
    pub fn run(mut self) -> bool {
        if let Err(error) = self.log.show_stored(&self.publisher) {
            warn!(%error, "what was published before cannot be shown");
        }
        loop {
            let ended = self.term();
            self.log.queue.close();
            let Err(stop) = ended else {
                info!("the log has stopped in order");
                return true;
            };
            self.log.set_status(Status::Stopped { reason: stop.to_string() });
            if self.log.queue.is_shut_down() {
                error!(%stop, "the log stopped with its state unknown; the next start recovers it");
                return false;
            }
            if !stop.may_pass() {
                error!(%stop, "writing has stopped until a person looks at it; reads go on");
                self.log.queue.wait_for_shut_down();
                return false;
            }
            warn!(%stop, "state unknown; recovering");
            std::thread::sleep(RETRY_PERIOD);
        }
    }

    fn term(&mut self) -> Result<(), Stop> {
        let (mut term, retained) = self.begin()?;
        self.renew(&mut term)?;
        term.settler = Some(Settler::start(Arc::clone(&self.log), Arc::clone(&self.guard), retained)?);
        self.log.queue.open();
        self.log.set_status(Status::Writing);
        let turned = self.turn(&mut term);
        let settled = term.settler.take().map_or(Ok(()), Settler::finish);
        turned.and(settled)
    }

    /// Finds the log, and holds the wall clock against the guard.
    fn begin(&mut self) -> Result<(Term, Vec<Retained>), Stop> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = self.clock.now()?.millis().saturating_sub(guard.mark().time.millis());
        if Duration::from_millis(ahead) > self.clock_gap_max {
            return Err(ClockError::Gap { ahead_s: ahead / 1000 }.into());
        }
        // A gap is confirmed once, at start; while this process lives the monotonic clock takes over.
        self.clock_gap_max = Duration::MAX;
        let objects = self.log.tiles.objects();
        let recovered = recover(objects, &mut guard, self.publisher.origin().as_str(), nonce)?;
        drop(guard);
        let edge = Arc::new(recovered.edge);
        let started = Instant::now();
        block_on(self.log.fill_index(&edge))?;
        let (tree_size, elapsed_ms) = (edge.size().get(), started.elapsed().as_millis());
        info!(tree_size, commit = recovered.sequencer.number(), elapsed_ms, "recovered");
        Ok((Term { sequencer: recovered.sequencer, edge, settler: None }, recovered.retained))
    }

    fn turn(&mut self, term: &mut Term) -> Result<(), Stop> {
        let mut renew_at = Instant::now() + RENEW_PERIOD;
        let mut before = 0;
        loop {
            match self.log.queue.take(renew_at, before) {
                Taken::Batch(submissions) => {
                    before = submissions.len();
                    self.append(term, submissions)?;
                }
                Taken::Idle => {
                    before = 0;
                    self.renew(term)?;
                }
                Taken::Shutdown => return Ok(()),
            }
            renew_at = Instant::now() + RENEW_PERIOD;
        }
    }

    /// Signs the same tree again with the present time, which the guard holds first.
    fn renew(&mut self, term: &mut Term) -> Result<(), Stop> {
        let time = self.clock.now()?.max(term.sequencer.at());
        let mark = self.mark(term, time);
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).advance(mark)?;
        term.sequencer.attested(time);
        let view = self.publisher.publish(Arc::clone(&term.edge), time)?;
        self.log.publish(Arc::new(view));
        Ok(())
    }

    fn mark(&self, term: &Term, time: Timestamp) -> Mark {
        let origin = self.publisher.origin().as_str().to_owned();
        Mark { origin, commit: term.sequencer.number(), head: term.sequencer.head(), time }
    }

    /// One batch, from the queue to the replies.
    fn append(&mut self, term: &mut Term, submissions: Vec<Submission>) -> Result<(), Stop> {
        let started = Instant::now();
        let (fresh, known) = self.split(term, submissions)?;
        if !fresh.is_empty() {
            let (admitted, replies): (Vec<_>, Vec<_>) =
                fresh.into_iter().map(|submission| (submission.admitted, submission.reply)).unzip();
            let sealed = term.sequencer.seal(self.clock.now()?, nonce(), admitted)?;
            self.commit(&sealed)?;
            self.read_back(term, &sealed)?;
            let committed = started.elapsed();
            let batch = Arc::new(self.publish(term, sealed)?);
            self.metrics.published(batch.leaves.len(), committed, started.elapsed());
            info!(
                tree_size = batch.view.head().size.get(),
                batch_leaves = batch.leaves.len(),
                elapsed_ms = started.elapsed().as_millis(),
                "published"
            );
            for (position, reply) in replies.into_iter().enumerate() {
                // Whoever no longer listens can ask again: the receipt is in the log.
                let _ = reply.send(Outcome::Appended { batch: Arc::clone(&batch), position });
            }
        }
        for (submission, index) in known {
            let _ = submission.reply.send(Outcome::Known { index });
        }
        Ok(())
    }

    /// Parts what is new from what the log has, or what comes twice at once.
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    fn split(
        &self,
        term: &Term,
        submissions: Vec<Submission>,
    ) -> Result<(Vec<Submission>, Vec<(Submission, LeafIndex)>), Stop> {
        let mut next = term.edge.size().next_index();
        let mut in_flight = HashMap::new();
        let (mut fresh, mut known) = (Vec::with_capacity(submissions.len()), Vec::new());
        for submission in submissions {
            let id = submission.admitted.id;
            let before = match in_flight.get(&id) {
                Some(&index) => Some(index),
                None => block_on(self.log.find_id(&term.edge, id.as_bytes()))?,
            };
            if let Some(index) = before {
                known.push((submission, index));
                continue;
            }
            in_flight.insert(id, next);
            next = next.size_through().next_index();
            fresh.push(submission);
        }
        Ok((fresh, known))
    }

    /// Creates the record: the point from which on nothing of it is lost.
    fn commit(&self, sealed: &Sealed) -> Result<(), Stop> {
        let number = sealed.header.number;
        match self.log.tiles.objects().create_commit(number, sealed.record.clone())? {
            Created::Made => Ok(()),
            Created::Found => Err(Stop::Fenced { number }),
        }
        // Fence: on a local directory the lock keeps other writers away; on a store that others can write, the record
        // before this one is fetched here and compared with the one that this was built on.
    }

    /// Reads the record again and recomputes everything from what admission checked: memory is not trusted.
    fn read_back(&self, term: &Term, sealed: &Sealed) -> Result<(), Stop> {
        let (objects, number) = (self.log.tiles.objects(), sealed.header.number);
        let mut reason = ReadBackError::Bytes;
        for _ in 0..READ_BACK_ATTEMPTS {
            let found = objects.get(&commit_name(number))?.unwrap_or_default();
            match sealed.check_read_back(term.sequencer.frontier(), &found) {
                Ok(()) => return Ok(()),
                Err(error) => reason = error,
            }
        }
        // With this marker, and only with it, an explicit command may set the record aside: nobody was told of it.
        objects.create(&never_told_name(number), Bytes::from(reason.to_string()))?;
        Err(Stop::ReadBack { number, reason })
    }

    /// Takes the batch for committed, signs its head and lets readers see it.
    fn publish(&mut self, term: &mut Term, sealed: Sealed) -> Result<Batch, Stop> {
        term.sequencer.committed(&sealed);
        let mut edge = Edge::clone(&term.edge);
        edge.frontier = sealed.frontier;
        let mut filled: Vec<_> = sealed.filled.iter().map(full_tile).collect();
        for leaf in &sealed.leaves {
            filled.extend(edge.push_item(leaf.item.clone()).into_iter().flatten());
            self.log.index_entry(&leaf.id, leaf.hash);
        }
        term.edge = Arc::new(edge);
        self.log.tiles.hold(filled.iter().cloned());
        let view = Arc::new(self.publisher.publish(Arc::clone(&term.edge), sealed.at)?);
        self.log.publish(Arc::clone(&view));
        let commit = Retained { number: sealed.header.number, size: sealed.header.new.size };
        let step = Step { filled, commit, mark: self.mark(term, sealed.at), edge: Arc::clone(&term.edge) };
        if let Some(settler) = term.settler.take() {
            term.settler = Some(settler.send(step)?);
        }
        Ok(Batch { leaves: sealed.leaves, view, filled: sealed.filled })
    }
}

fn full_tile(tile: &FullTile) -> (TilePath, Bytes) {
    let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
    (path, tile.tree.to_bytes(TILE_WIDTH).into())
}

/// 16 bytes that no other attempt has.
fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    nonce
}

/// Why the sequencer stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// The log cannot be found again.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The store failed; what was being written may be there or not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that the log has cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The guard cannot be written.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The time cannot be believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// A head was not signed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The log is full.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Another writer has committed under this number.
    #[error("another writer has made commit {number}")]
    Fenced {
        /// Which.
        number: u64,
    },
    /// A commit reads back other than it was admitted, again and again.
    #[error("commit {number}: {reason}; nobody was told of it")]
    ReadBack {
        /// Which.
        number: u64,
        /// How it differs.
        reason: ReadBackError,
    },
    /// A thread could not be started.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
    /// The settling thread died.
    #[error("the settling thread has died")]
    Settler,
}

impl Stop {
    /// Whether recovering again may help without a person's doing.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Recover(error) => error.may_pass(),
            Self::Store(
                StoreError::Differs { .. } | StoreError::Missing { .. } | StoreError::Stranger { .. },
            ) => false,
            Self::Store(_) | Self::Guard(GuardError::Io { .. }) | Self::Read(ReadError::Store(_)) => true,
            _ => false,
        }
    }
}

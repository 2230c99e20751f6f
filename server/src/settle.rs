//! What runs beside the sequencer and never in its way: full tiles and bundles become durable, commits that they
//! cover are deleted, guard and checkpoint file follow, and erasures are carried out.

mod erase;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use counterfoil_merkle::{
    TreeSize,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath},
};

use crate::{
    guard::{Guard, Mark},
    log::Log,
    objects::CHECKPOINT,
    order::Order,
    pace::Pace,
    recover::{Retained, put_full},
    stop::Stop,
    tiles::Edge,
};

/// How many batches may wait here before the sequencer waits for them.
const BACKLOG_MAX: usize = 256;

/// A committed batch, as far as it matters here.
pub struct Step {
    /// Full tiles and bundles that it filled, held in [`crate::tiles::Tiles`].
    pub filled: Vec<(TilePath, Bytes)>,
    /// The commit.
    pub commit: Retained,
    /// What the guard is to remember.
    pub mark: Mark,
    /// The edge after it.
    pub edge: Arc<Edge>,
    /// Erasures that its records order. The edge has them already.
    pub orders: Vec<Order>,
}

/// What recovery found for settling to go on with.
pub struct Found {
    /// The commits that are in the store, the oldest first.
    pub retained: Vec<Retained>,
    /// All erasures that the log orders, in the order of their records: which of them were carried out is looked up.
    pub orders: Vec<Order>,
}

/// The settling thread of one term of the sequencer.
pub struct Settler {
    steps: SyncSender<Step>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Stop>>,
}

impl Settler {
    /// Starts from the edge and what recovery found. `checkpoint` says whether to keep the checkpoint's file up to date.
    pub fn start(
        log: Arc<Log>,
        guard: Arc<Mutex<Guard>>,
        edge: Arc<Edge>,
        found: Found,
        checkpoint: bool,
        pace: Pace,
    ) -> Result<Self, Stop> {
        let (steps, received) = sync_channel(BACKLOG_MAX);
        let failed = Arc::<AtomicBool>::default();
        let failing = Arc::clone(&failed);
        let mut settling = Settling {
            guard,
            mark: None,
            guard_due: Instant::now(),
            checkpoint: checkpoint.then(|| Arc::from("")),
            checkpoint_due: Instant::now(),
            retained: found.retained.into(),
            orders: found.orders.into(),
            // Recovery made durable all that its commits fill.
            edges: [Arc::clone(&edge), edge],
            log,
            pace,
        };
        let thread = std::thread::Builder::new()
            .name("settle".into())
            .spawn(move || {
                let ended = settling.run(&received);
                if ended.is_err() {
                    failing.store(true, Ordering::Release);
                    settling.log.queue.interrupt();
                }
                ended
            })
            .map_err(Stop::Thread)?;
        Ok(Self { steps, failed, thread })
    }

    /// Hands on a committed batch; waits if too many wait already.
    ///
    /// # Errors
    /// The reason for which settling stopped.
    pub fn send(self, step: Step) -> Result<Self, Stop> {
        match self.steps.send(step) {
            Ok(()) => Ok(self),
            Err(_) => Err(self.finish().err().unwrap_or(Stop::Settler)),
        }
    }

    /// Whether settling has stopped by itself; then the queue was interrupted.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Settles what was handed on, and ends.
    pub fn finish(self) -> Result<(), Stop> {
        drop(self.steps);
        self.thread.join().unwrap_or(Err(Stop::Settler))
    }
}

struct Settling {
    log: Arc<Log>,
    pace: Pace,
    guard: Arc<Mutex<Guard>>,
    /// What the guard does not know yet.
    mark: Option<Mark>,
    guard_due: Instant,
    /// What the file has; none if somebody else keeps it.
    checkpoint: Option<Arc<str>>,
    checkpoint_due: Instant,
    retained: VecDeque<Retained>,
    /// Erasures that are still to be carried out, as far as is known, in the order of their records.
    orders: VecDeque<Order>,
    /// The edges before and after the newest settled commit: below them all full tiles and bundles are durable.
    edges: [Arc<Edge>; 2],
}

impl Settling {
    fn run(&mut self, received: &Receiver<Step>) -> Result<(), Stop> {
        loop {
            match received.recv_timeout(self.pause()) {
                Ok(step) => self.settle(step)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.advance_guard(Instant::now())?;
            self.refresh_checkpoint(Instant::now())?;
            self.drop_commits()?;
            self.erase()?;
        }
        self.guard_due = Instant::now();
        self.advance_guard(self.guard_due)?;
        self.checkpoint_due = Instant::now();
        self.refresh_checkpoint(self.checkpoint_due)?;
        self.drop_commits()?;
        while self.erase()? {}
        Ok(())
    }

    /// How long nothing can be due, if nothing comes.
    fn pause(&self) -> Duration {
        if self.may_erase() {
            return Duration::ZERO;
        }
        let published = self.unwritten().is_some();
        let mut due = Instant::now() + Duration::from_millis(200);
        if self.mark.is_some() {
            due = due.min(self.guard_due);
        }
        if published {
            due = due.min(self.checkpoint_due);
        }
        due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    fn settle(&mut self, step: Step) -> Result<(), Stop> {
        let tiles = &self.log.tiles;
        for (path, bytes) in step.filled {
            put_full(tiles.objects(), path, bytes)?;
            tiles.settled(&path);
        }
        futures::executor::block_on(self.log.store_runs(&step.edge.frontier))?;
        self.retained.push_back(step.commit);
        self.mark = Some(step.mark);
        self.orders.extend(step.orders);
        self.edges.rotate_left(1);
        self.edges[1] = step.edge;
        Ok(())
    }

    fn advance_guard(&mut self, now: Instant) -> Result<(), Stop> {
        if now < self.guard_due {
            return Ok(());
        }
        if let Some(mut mark) = self.mark.take() {
            let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
            // The sequencer itself advances the guard where it attests a time without a commit.
            if mark.commit > guard.mark().commit {
                mark.time = mark.time.max(guard.mark().time);
                guard.advance(mark)?;
            }
            self.guard_due = now + self.pace.guard_lag;
        }
        Ok(())
    }

    fn refresh_checkpoint(&mut self, now: Instant) -> Result<(), Stop> {
        if now < self.checkpoint_due {
            return Ok(());
        }
        let Some(text) = self.unwritten() else { return Ok(()) };
        self.log.tiles.objects().put_plain(CHECKPOINT, Bytes::copy_from_slice(text.as_bytes()))?;
        self.checkpoint = Some(text);
        self.checkpoint_due = now + self.pace.checkpoint;
        Ok(())
    }

    /// What is published, if it is for us to write it and the file has something else.
    fn unwritten(&self) -> Option<Arc<str>> {
        let (written, view) = (self.checkpoint.as_ref()?, self.log.view()?);
        (view.text != *written).then(|| Arc::clone(&view.text))
    }

    /// Deletes commits whose entries all lie in durable full bundles. Where too many stay, for few entries come, the
    /// ragged edge below the newest commit is put durably instead.
    fn drop_commits(&mut self) -> Result<(), Stop> {
        self.log.tiles.objects().drop_tombstones(self.pace.tombstone)?;
        let [below, newest] = self.edges.clone();
        self.drop_through(TreeSize::new(newest.ragged_start()).expect("below the tree's size"))?;
        let guarded = self.guarded();
        let stay = self.retained.front().map_or(0, |oldest| guarded.saturating_sub(oldest.number));
        if stay > self.pace.retained_max {
            self.guard_due = Instant::now();
            self.advance_guard(self.guard_due)?;
            put_ragged(&self.log, &below)?;
            self.drop_through(below.size())?;
        }
        Ok(())
    }

    /// Deletes commits up to a size, one at a time and oldest first, if the guard has passed them. Never the newest.
    fn drop_through(&mut self, size: TreeSize) -> Result<(), Stop> {
        let guarded = self.guarded();
        while self.retained.len() > 1 {
            let Some(oldest) = self.retained.front() else { break };
            if oldest.size > size || oldest.number >= guarded {
                break;
            }
            self.log.tiles.objects().delete_commit(oldest.number)?;
            self.retained.pop_front();
        }
        Ok(())
    }

    fn guarded(&self) -> u64 {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).mark().commit
    }
}

/// Puts the ragged bundles and tiles of this very size durably, so that the commits they cover can go.
fn put_ragged(log: &Log, edge: &Edge) -> Result<(), Stop> {
    let width = edge.size().get() % TILE_WIDTH;
    let index = edge.size().get() / TILE_WIDTH;
    let mut paths: Vec<_> = TileId::ragged(edge.size())
        .into_iter()
        .map(|(tile, width)| TilePath { kind: TileKind::Hashes(tile.level), index: tile.index, width })
        .collect();
    if width > 0 {
        for kind in [TileKind::Entries, TileKind::Statements] {
            paths.push(TilePath { kind, index, width });
        }
    }
    for path in paths {
        let file = futures::executor::block_on(log.tiles.file(edge, path))?;
        let bytes = file.ok_or(crate::tiles::ReadError::Missing { path })?;
        put_full(log.tiles.objects(), path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{
        Frontier,
        key::{Algorithm, KeyName, NoteSigner},
    };

    use super::*;
    use crate::{
        commit::NO_DIGEST,
        objects::{Created, Objects, commit_name},
        publish::Publisher,
        recover::{grow, load},
        sequencer::{Sealed, Sequencer},
        testing::{admitted, at},
    };

    fn signer(name: &str, algorithm: Algorithm) -> NoteSigner {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[algorithm as u8 + 1; 32]).unwrap()
    }

    fn commit(objects: &Objects, sequencer: &mut Sequencer, records: u64) -> Sealed {
        let first = sequencer.head().size.get();
        let batch = (first..first + records).map(admitted).collect();
        let sealed = sequencer.seal(at(5), [1; 16], batch).unwrap();
        let name = commit_name(sealed.header.number);
        assert_eq!(objects.create(&name, sealed.record.clone()).unwrap(), Created::Made);
        sequencer.committed(&sealed);
        sealed
    }

    /// A log that hardly grows does not keep commits for ever: once there are more than a thousand, the ragged edge
    /// stands in for them, and the log that is found again is the same.
    #[test]
    fn an_idle_logs_tail_is_put_into_partial_bundles() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Arc::new(Objects::init(&directory.path().join("data")).unwrap());
        let log = Arc::new(Log::new(Arc::clone(&objects), None, 1));
        let mut sequencer = Sequencer::new(Frontier::new(), 0, NO_DIGEST, at(5));
        let mut edge = Edge::default();
        for leaf in commit(&objects, &mut sequencer, 300).leaves {
            for (path, bytes) in grow(&mut edge, leaf.item, leaf.hash).unwrap() {
                objects.create_or_compare(&path.to_string(), bytes).unwrap();
            }
        }
        let edge = Arc::new(edge);
        let (own, clock) = (
            signer("log.example", Algorithm::Ed25519),
            signer("log.example/clock", Algorithm::CosignatureV1),
        );
        let (own_key, clock_key) = (own.public().clone(), clock.public().clone());
        let mut publisher = Publisher::new(Box::new(own), Box::new(clock), own_key, clock_key).unwrap();
        log.publish(Arc::new(publisher.publish(Arc::clone(&edge), at(5)).unwrap()));
        let mark = |sequencer: &Sequencer| Mark {
            origin: "log.example".into(),
            commit: sequencer.number(),
            head: sequencer.head(),
            time: at(5),
        };
        let guard = Guard::create(&directory.path().join("guard"), mark(&sequencer)).unwrap();
        let first = Retained { number: 1, old: TreeSize::ZERO, size: edge.size() };
        let mut settler = Settler::start(
            Arc::clone(&log),
            Arc::new(Mutex::new(guard)),
            Arc::clone(&edge),
            Found { retained: vec![first], orders: Vec::new() },
            true,
            Pace::default(),
        )
        .unwrap();
        let mut most = 0;
        let retained_max = Pace::default().retained_max;
        for _ in 0..=retained_max + 100 {
            let sealed = commit(&objects, &mut sequencer, 0);
            let commit = Retained { number: sealed.header.number, old: edge.size(), size: edge.size() };
            let (mark, edge) = (mark(&sequencer), Arc::clone(&edge));
            let step = Step { filled: Vec::new(), commit, mark, edge, orders: Vec::new() };
            settler = settler.send(step).unwrap();
            most = most.max(objects.commit_numbers().unwrap().len() as u64);
        }
        settler.finish().unwrap();
        assert!(most > retained_max / 2, "commits were retained for a while");
        assert!(objects.commit_numbers().unwrap().len() as u64 <= retained_max, "and then let go");
        assert!(objects.get("tile/entries/001.p/44").unwrap().is_some());
        let found = load(&objects).unwrap();
        assert_eq!(found.edge.frontier, edge.frontier);
        assert_eq!(found.edge.items, edge.items);
        assert_eq!(found.newest().number, sequencer.number());
    }
}

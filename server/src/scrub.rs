//! The scrubber: reads the whole stored log again in the background, at a bounded rate, and stops writing on damage.
//!
//! Every full bundle's entries are hashed up to the root that is published, every hash tile on the way is compared, every
//! statement is hashed to its entry's id, and an empty slot must have a record that orders it. Commit records are
//! not read: each was read back when it was made, and goes once its entries lie in tiles. Nor are signatures checked
//! again; that is for [`crate::fsck`].
//!
//! It reads as everybody does, through the kernel's page cache. What lies there is not read from the disk, so damage on a disk
//! is found once the kernel has let the page go: on a log larger than memory soon, on a small one late.

use std::{
    collections::BTreeSet,
    error::Error,
    io, iter,
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use counterfoil_merkle::{
    Hash, LeafIndex, TreeSize,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use futures::executor::block_on;
use tracing::{debug, error, info, warn};

use crate::{
    clock::wall_now,
    config::ScrubConfig,
    log::Log,
    metrics::Metrics,
    publish::View,
    rehash::{Checked, Damage, Fault, How, Rehash},
    search::follow::{lower_priority, wait_for_log},
    tiles::ReadError,
};

/// How often what seems damaged is read again before it counts as damaged: memory errs too.
const ATTEMPTS: usize = 3;

/// How long it waits after an error that says nothing of the log, such as too many open files.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What of the stored log is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damaged {
    /// An object is not what it must be.
    #[error("the stored log is damaged: {0}")]
    Object(#[from] Damage),
    /// An object is missing.
    #[error("the stored log is damaged: {path} is missing")]
    Missing {
        /// Which.
        path: TilePath,
    },
    /// The disk does not give an object.
    #[error("the stored log is damaged: {reason}")]
    Unreadable {
        /// Which, and what the system says.
        reason: String,
    },
    /// All objects agree with each other, and not with what was published.
    #[error(
        "the stored log is damaged: its first {size} entries give root {stored}, published is {published}"
    )]
    Root {
        /// How many.
        size: TreeSize,
        /// What they give.
        stored: Hash,
        /// What was signed.
        published: Hash,
    },
}

impl Damaged {
    /// What a fault says of the log; nothing, if it may pass.
    fn of(fault: Fault) -> Result<Self, ReadError> {
        match fault {
            Fault::Damaged(damage) => Ok(damage.into()),
            Fault::Read(ReadError::Missing { path }) => Ok(Self::Missing { path }),
            Fault::Read(error @ ReadError::Store(_)) if !is_disk_error(&error) => Err(error),
            Fault::Read(error) => Ok(Self::Unreadable { reason: error.to_string() }),
        }
    }
}

/// Whether the disk itself failed (EIO), rather than the way to it.
pub(crate) fn is_disk_error(error: &(dyn Error + 'static)) -> bool {
    let disk = Some(rustix::io::Errno::IO.raw_os_error());
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|error| error.downcast_ref::<io::Error>().is_some_and(|error| error.raw_os_error() == disk))
}

/// The thread, until it is told to end.
pub struct Scrubber {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Scrubber {
    /// Starts scrubbing a log; `None` if the configuration turns it off.
    pub fn start(log: Arc<Log>, config: &ScrubConfig, metrics: Arc<Metrics>) -> io::Result<Option<Self>> {
        if config.bytes_per_second == 0 {
            return Ok(None);
        }
        let (stop, stopped) = channel();
        let (rate, rest) = (config.bytes_per_second, Duration::from_secs(config.rest_s));
        let scrub = Scrub { log, metrics, stopped, rate };
        let scrubbing = move || {
            lower_priority("the scrubber");
            if wait_for_log(&scrub.log, &scrub.stopped) {
                match scrub.run(rest) {
                    End::Told => {}
                    End::Damaged(damage) => {
                        error!(%damage, "writing stops; reads go on; see `counterfoil-server fsck`");
                        scrub.metrics.damaged();
                        scrub.log.halt(damage);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("scrub".into()).spawn(scrubbing)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends it; the next start begins another pass.
    pub fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            warn!("the scrubber ended with a bug of its own; the next start begins again");
        }
    }
}

/// Why it ends.
enum End {
    Told,
    Damaged(Damaged),
}

impl From<Damaged> for End {
    fn from(damage: Damaged) -> Self {
        Self::Damaged(damage)
    }
}

struct Scrub {
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    stopped: Receiver<()>,
    /// Bytes a second.
    rate: u64,
}

impl Scrub {
    fn run(&self, rest: Duration) -> End {
        loop {
            let passed = match self.log.view() {
                Some(view) => self.pass(&view),
                None => Ok(()),
            };
            if let Err(end) = passed.and_then(|()| self.wait(rest)) {
                return end;
            }
        }
    }

    /// Reads all that this view has in full bundles.
    fn pass(&self, view: &View) -> Result<(), End> {
        let (mut rehash, mut ordered) = (Rehash::new(), BTreeSet::new());
        while rehash.bundles() < view.edge.ragged_start() / TILE_WIDTH {
            let checked = self.again(|| self.bundle(&rehash, &mut ordered))?;
            let bytes = checked.1.bytes();
            rehash = checked.0;
            self.metrics.scrubbed(rehash.bundles() * TILE_WIDTH);
            self.wait(Duration::from_secs_f64(bytes as f64 / self.rate as f64))?;
        }
        let published = view.head();
        self.again(|| {
            let stored = rehash.head_with(view.edge.items.iter().map(|item| &*item.entry))?;
            let size = published.size;
            let damage = Damaged::Root { size, stored: stored.root, published: published.root };
            Ok(if stored == published { Ok(()) } else { Err(damage) })
        })?;
        match wall_now() {
            Ok(now) => self.metrics.passed(now),
            Err(error) => warn!(%error, "when the log was scrubbed cannot be told"),
        }
        let tree_size = published.size.get();
        if tree_size >= TILE_WIDTH {
            info!(tree_size, "the stored log was read again, and is in order");
        } else {
            debug!(tree_size, "no bundle is full yet");
        }
        Ok(())
    }

    /// The next bundle, and what its empty slots are.
    fn bundle(
        &self,
        rehash: &Rehash,
        ordered: &mut BTreeSet<LeafIndex>,
    ) -> Result<Result<(Rehash, Checked), Damaged>, ReadError> {
        let mut next = rehash.clone();
        let read = |path: TilePath| block_on(self.log.tiles.full(path.kind, path.index));
        let checked = match next.next(read) {
            Ok(checked) => checked,
            Err(fault) => return Damaged::of(fault).map(Err),
        };
        let path = TilePath::full(TileKind::Statements, rehash.bundles());
        match self.unexplained(&checked.empty, ordered) {
            Ok(None) => Ok(Ok((next, checked))),
            Ok(Some(leaf)) => Ok(Err(Damage { path, how: How::Unexplained { leaf } }.into())),
            Err(error) => Damaged::of(error.into()).map(Err),
        }
    }

    /// The first empty slot that no record orders. A record is published before its slot is emptied.
    fn unexplained(
        &self,
        empty: &[LeafIndex],
        ordered: &mut BTreeSet<LeafIndex>,
    ) -> Result<Option<LeafIndex>, ReadError> {
        if empty.iter().all(|leaf| ordered.contains(leaf)) {
            return Ok(None);
        }
        let Some(view) = self.log.view() else { return Ok(None) };
        let indexed = self.log.index.read().unwrap_or_else(PoisonError::into_inner).size();
        if indexed < view.head().size.get() {
            debug!("the index is not complete: empty slots are looked at in the next pass");
            return Ok(None);
        }
        let orders = block_on(self.log.find_orders(&view.edge))?;
        *ordered = orders.into_iter().map(|order| order.target).collect();
        Ok(empty.iter().copied().find(|leaf| !ordered.contains(leaf)))
    }

    /// Does something until it can be told what came of it; damage is believed when it is seen again and again.
    fn again<T>(&self, mut attempt: impl FnMut() -> Result<Result<T, Damaged>, ReadError>) -> Result<T, End> {
        let mut seen = 0;
        loop {
            match attempt() {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(damage)) => {
                    seen += 1;
                    if seen == ATTEMPTS {
                        return Err(damage.into());
                    }
                    warn!(%damage, "it is read again");
                }
                Err(error) => {
                    warn!(%error, "the scrubber stands still; it tries again");
                    self.wait(RETRY_PERIOD)?;
                }
            }
        }
    }

    fn wait(&self, pause: Duration) -> Result<(), End> {
        match self.stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(End::Told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::StoreError;

    fn failed(errno: rustix::io::Errno) -> Fault {
        let source = io::Error::from_raw_os_error(errno.raw_os_error());
        let source = object_store::Error::Generic { store: "test", source: Box::new(source) };
        Fault::Read(StoreError::Object { name: "tile/0/000".into(), source }.into())
    }

    /// A sector that cannot be read is damage; a process without descriptors or memory left says nothing of the log.
    #[test]
    fn what_the_disk_cannot_read_is_damage_and_nothing_else() {
        let damage = Damaged::of(failed(rustix::io::Errno::IO)).unwrap();
        assert!(damage.to_string().contains("tile/0/000"), "{damage}");
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NOMEM, rustix::io::Errno::ACCESS] {
            assert!(matches!(Damaged::of(failed(errno)), Err(ReadError::Store(_))));
        }
        let path = TilePath::full(TileKind::Entries, 3);
        let missing = Damaged::of(Fault::Read(ReadError::Missing { path })).unwrap();
        assert_eq!(missing, Damaged::Missing { path });
    }
}

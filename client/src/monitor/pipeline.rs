//! Bundles read ahead of their turn: as many as fit, in order, each checked on another thread.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use counterfoil_merkle::{
    TreeSize,
    tile::{TILE_WIDTH, TileId},
};
use counterfoil_receipt::audit::Report;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    bundle::{Bundle, Wanted},
    reader::Reader,
};

/// Most bundles that are on their way at once.
const WINDOW_MAX: usize = 16;

/// Most bytes of bundles that are on their way at once, going by the largest of the last ones.
const BYTES_MAX: usize = 64 << 20;

/// Reads the bundles of a growth in order, several at a time.
///
/// The window grows by one with each bundle and is halved whenever a read had to be tried again.
#[derive(Debug)]
pub(super) struct Pipeline {
    reader: Arc<Reader>,
    /// What is to be read: the first leaf that is not verified, and the size to reach.
    old: TreeSize,
    new: TreeSize,
    next: u64,
    on_their_way: VecDeque<Ahead>,
    window: usize,
    bundle_bytes: usize,
    troubles: u64,
    processors: Arc<Semaphore>,
    statements: Arc<AtomicBool>,
}

/// A bundle on its way. Dropped, it is not waited for.
#[derive(Debug)]
struct Ahead(JoinHandle<Arrived>);

type Arrived = (Report, Option<Bundle>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pipeline {
    pub(super) fn new(reader: Arc<Reader>, old: TreeSize, new: TreeSize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            troubles: reader.troubles(),
            reader,
            old,
            new,
            next: old.get() / TILE_WIDTH,
            on_their_way: VecDeque::new(),
            window: 2 * processors,
            bundle_bytes: 0,
            processors: Arc::new(Semaphore::new(processors)),
            statements: Arc::new(AtomicBool::new(true)),
        }
    }

    /// What is wanted of the bundle with that index.
    pub(super) fn wanted(&self, index: u64) -> Wanted {
        let known = self.old.get().saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        Wanted {
            index,
            width: TileId { level: 0, index }.width(self.new),
            known: usize::try_from(known).expect("at most 256"),
            statements: self.statements.load(Ordering::Relaxed),
        }
    }

    /// No statement is asked for any more.
    pub(super) fn without_statements(&self) {
        self.statements.store(false, Ordering::Relaxed);
    }

    /// The next bundle, with what was found on the way; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        self.fill();
        let mut ahead = self.on_their_way.pop_front()?;
        let (report, bundle) = match (&mut ahead.0).await {
            Ok(arrived) => arrived,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => unreachable!("a bundle is given up only when nobody waits for it"),
            },
        };
        self.adapt(bundle.as_ref());
        self.fill();
        Some((report, bundle))
    }

    fn fill(&mut self) {
        let fits = BYTES_MAX.checked_div(self.bundle_bytes).unwrap_or(WINDOW_MAX).max(1);
        while self.on_their_way.len() < self.window.min(fits) && self.next * TILE_WIDTH < self.new.get() {
            let (wanted, reader) = (self.wanted(self.next), Arc::clone(&self.reader));
            let processors = Arc::clone(&self.processors);
            self.on_their_way.push_back(Ahead(tokio::spawn(arrive(wanted, reader, processors))));
            self.next += 1;
        }
    }

    fn adapt(&mut self, bundle: Option<&Bundle>) {
        let troubles = self.reader.troubles();
        self.window = match std::mem::replace(&mut self.troubles, troubles) == troubles {
            true => (self.window + 1).min(WINDOW_MAX),
            false => (self.window / 2).max(1),
        };
        if let Some(bundle) = bundle {
            let bytes = bundle.entries.len() + bundle.statements.as_ref().map_or(0, bytes::Bytes::len);
            // Forgets a large one by and by.
            self.bundle_bytes = bytes.max(self.bundle_bytes / 2);
        }
    }
}

/// Fetches a bundle and reads it once a processor is free.
async fn arrive(wanted: Wanted, reader: Arc<Reader>, processors: Arc<Semaphore>) -> Arrived {
    let mut report = Report::new();
    let Some(fetched) = wanted.fetch(&reader, &mut report).await else { return (report, None) };
    let permit = processors.acquire_owned().await.expect("nobody closes it");
    let read = spawn_blocking(move || {
        let bundle = fetched.read(&mut report);
        drop(permit);
        (report, bundle)
    });
    match read.await {
        Ok(arrived) => arrived,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => unreachable!("a blocking task is not given up"),
        },
    }
}

/// Fetches and reads one bundle from one place, here and now.
pub(super) async fn fetch_one(wanted: Wanted, reader: Arc<Reader>) -> Arrived {
    arrive(wanted, reader, Arc::new(Semaphore::new(1))).await
}

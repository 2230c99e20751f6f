//! The thread that makes the index from what is published: beside the log, at a lower priority, and never in its way.

use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use counterfoil_merkle::{Hash, LeafIndex, tile::TILE_WIDTH};
use counterfoil_receipt::Kind;
use futures::executor::block_on;
use tracing::{info, warn};

use super::{
    Search,
    cases::{Cases, Followed},
    digest::Remembered,
    erased::Ordered,
    files::FilesError,
    page::PageError,
    tail::Tail,
    terms::{self, Unreadable},
    without_forgotten,
};
use crate::{
    commit::Item,
    config::SearchConfig,
    index::runs::RUN_ENTRIES,
    log::{Log, Status},
    metrics::Metrics,
    publish::View,
    tiles::ReadError,
};

/// How long the index rests when it knows all that is published: it is behind by little more than this, and takes many batches at
/// once.
const REST: Duration = Duration::from_millis(50);

/// How long it waits after an error.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// How often erasures that were ordered are looked after.
const ERASED_PERIOD: Duration = Duration::from_secs(1);

/// How much lower its priority is (see `nice`): where processors are busy receipts go first.
const NICE: i32 = 10;

const BUNDLES: u64 = RUN_ENTRIES as u64 / TILE_WIDTH;

/// The index of a running log: there as soon as the log was found.
#[derive(Debug, Default)]
pub struct Indexed {
    /// The index.
    pub search: OnceLock<Arc<Search>>,
    /// What is owed in disputes, and what the log says of keys.
    pub cases: Cases,
    /// Why there is no index, and will not be.
    pub failed: OnceLock<String>,
}

/// The thread, until it is told to end.
pub struct Follower {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts following a log.
    pub fn start(
        log: Arc<Log>,
        indexed: Arc<Indexed>,
        config: &SearchConfig,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let config = config.clone();
        let following = move || {
            lower_priority("the search index");
            if wait_for_log(&log, &stopped) {
                match block_on(open(&log, &config)) {
                    Ok(search) => {
                        let search = Arc::clone(indexed.search.get_or_init(|| Arc::new(search)));
                        Following { log, search, indexed, metrics, marked: None }.run(&stopped);
                    }
                    Err(error) => {
                        warn!(%error, "the search index cannot be used; the log runs without one");
                        let _first = indexed.failed.set(error.to_string());
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("search".into()).spawn(following)?;
        Ok(Self { stop, thread })
    }

    /// Ends it. What it has not done is done after the next start.
    pub fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            warn!("the search index ended with a bug of its own; the next start goes on with it");
        }
    }
}

/// Opens the index of a log, whose published entries its runs must be of.
pub async fn open(log: &Log, config: &SearchConfig) -> Result<Search, FollowError> {
    let view = log.view();
    let runs = view.as_ref().map_or(0, |view| view.head().size.get() / RUN_ENTRIES as u64);
    let mut nodes = Vec::new();
    for number in 0..runs {
        let view = view.as_ref().expect("runs are those of a view");
        nodes.push(log.run_node(&view.edge.frontier, number).await?);
    }
    let node = |number| usize::try_from(number).ok().and_then(|number| nodes.get(number)).copied();
    Ok(Search::open(&config.directory, node)?)
}

/// Indexes all that is published, and ends: for a log that does not run. Returns how many entries that is.
pub fn index_all(log: &Log, view: &View, search: &Search) -> Result<u64, FollowError> {
    while repair(log, view, search)? {}
    let mut noted = Vec::new();
    while take_bundle(log, view, search, &mut noted)? {
        noted.clear();
    }
    Ok(search.size())
}

struct Following {
    log: Arc<Log>,
    search: Arc<Search>,
    indexed: Arc<Indexed>,
    metrics: Arc<Metrics>,
    /// What is followed besides; nothing before the index first knew all that was published.
    marked: Option<Marked>,
}

struct Marked {
    followed: Followed,
    erased: Ordered,
    erased_due: Instant,
    noted: Vec<Noted>,
}

/// A record that more than its terms is needed of.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Where it is.
    pub index: LeafIndex,
    /// What it is.
    pub kind: Kind,
}

impl Following {
    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            let pause = match self.step() {
                Ok(true) => Duration::ZERO,
                Ok(false) => REST,
                Err(error) => {
                    warn!(%error, "the search index stands still; it tries again");
                    RETRY_PERIOD
                }
            };
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Does the next thing; tells whether there may be more.
    fn step(&mut self) -> Result<bool, FollowError> {
        let Some(view) = self.log.view() else { return Ok(false) };
        let (log, search) = (&self.log, &self.search);
        self.metrics.searchable(search.complete());
        if search.missing().is_some() {
            return repair(log, &view, search);
        }
        // Before the index first knew all, nothing is noted: the index itself says then what there is.
        let mut unneeded = Vec::new();
        let noted = self.marked.as_mut().map_or(&mut unneeded, |marked| &mut marked.noted);
        if take_bundle(log, &view, search, noted)? {
            return Ok(true);
        }
        let marked = match &mut self.marked {
            Some(marked) => marked,
            none => {
                let size = search.size();
                let erased = block_on(Ordered::all(search, log, &view))?;
                let followed = block_on(Followed::begin(search, log, &view, &self.indexed.cases))?;
                info!(tree_size = size, "the search index is complete");
                none.insert(Marked { followed, erased, erased_due: Instant::now(), noted: Vec::new() })
            }
        };
        for noted in marked.noted.iter().filter(|noted| noted.kind == Kind::Erasure) {
            block_on(marked.erased.add(log, &view, noted.index))?;
        }
        if Instant::now() >= marked.erased_due {
            // What a statement no longer says may move a deadline that followed from it.
            let gone = block_on(marked.erased.follow(search, log, &view))?;
            marked.noted.extend(gone.into_iter().map(|index| Noted { index, kind: Kind::Receipt }));
            marked.erased_due = Instant::now() + ERASED_PERIOD;
        }
        block_on(marked.followed.go_on(search, log, &view, &self.indexed.cases, &marked.noted))?;
        marked.noted.clear();
        Ok(false)
    }
}

/// Waits until the log was found, or cannot be; whether it is worth going on.
pub(crate) fn wait_for_log(log: &Log, stopped: &Receiver<()>) -> bool {
    while log.status() == Status::Starting || log.view().is_none() {
        if stopped.recv_timeout(REST) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
    }
    true
}

/// Takes what is published of the next bundle; tells whether that was anything.
fn take_bundle(log: &Log, view: &View, search: &Search, noted: &mut Vec<Noted>) -> Result<bool, FollowError> {
    let forgotten = search.changing();
    let size = search.size();
    if size >= view.head().size.get() {
        return Ok(false);
    }
    let bundle = size / TILE_WIDTH;
    let items = block_on(log.tiles.items(&view.edge, bundle))?;
    let fresh = usize::try_from(size % TILE_WIDTH).expect("below 256");
    let mut records = Vec::with_capacity(items.len() - fresh);
    for (slot, item) in items.iter().enumerate().skip(fresh) {
        let facts = facts(bundle, slot, item)?;
        let index = LeafIndex::new(bundle * TILE_WIDTH + slot as u64).map_err(ReadError::from)?;
        if !is_plain(facts.kind) {
            noted.push(Noted { index, kind: facts.kind });
        }
        records.push(facts);
    }
    if search.take(&records, &forgotten) {
        let node = block_on(log.run_node(&view.edge.frontier, size / RUN_ENTRIES as u64))?;
        search.seal(node)?;
    }
    Ok(true)
}

/// Makes the first missing run again; tells whether there was one.
fn repair(log: &Log, view: &View, search: &Search) -> Result<bool, FollowError> {
    let Some(number) = search.missing() else { return Ok(false) };
    let forgotten = search.changing();
    let (mut tail, mut remembered) = (Tail::default(), Remembered::default());
    for bundle in number * BUNDLES..(number + 1) * BUNDLES {
        let items = block_on(log.tiles.items(&view.edge, bundle))?;
        for (slot, item) in items.iter().enumerate() {
            let facts = facts(bundle, slot, item)?;
            let index = number * RUN_ENTRIES as u64 + tail.len() as u64;
            let facts = without_forgotten(&facts, index, &forgotten);
            tail.push(search.files.key(), &mut remembered, &facts);
        }
    }
    let node: Hash = block_on(log.run_node(&view.edge.frontier, number))?;
    search.replace(number, node, &tail)?;
    info!(run = number, "a run of the search index was made again");
    Ok(true)
}

/// Whether nothing follows from such a record but its terms.
const fn is_plain(kind: Kind) -> bool {
    matches!(kind, Kind::Receipt | Kind::Void | Kind::Epoch | Kind::Clock | Kind::Verdict | Kind::Correction)
}

fn facts(bundle: u64, slot: usize, item: &Item) -> Result<terms::Facts<'_>, FollowError> {
    let index = LeafIndex::new(bundle * TILE_WIDTH + slot as u64).map_err(ReadError::from)?;
    Ok(terms::read(index, &item.entry, &item.statement)?)
}

/// Lets everybody else go first. Where that is not allowed it makes no difference but to speed.
pub(crate) fn lower_priority(who: &str) {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        warn!(%error, "{who} runs at full priority");
    }
}

/// Why the index stands still.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// Its files cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is not what it must be.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// What is to be found by the index is not.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A record that others are judged by is not what it must be.
    #[error("entry {index}: {reason}")]
    Record {
        /// Where.
        index: LeafIndex,
        /// What is wrong with it.
        reason: counterfoil_receipt::entry::EntryError,
    },
}

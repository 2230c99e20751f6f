//! Load: receipts that were signed beforehand, sent over many connections, readers beside them, and how long each
//! request took.
//!
//! In a closed loop each connection sends its next request once the last one was answered. In an open loop requests are
//! due at even intervals, whatever the log does, and a request's latency counts from when it was due: a log that
//! stalls is charged for all that it kept waiting.

mod check;
mod connection;
mod issuing;
mod measured;
mod reader;
mod schedule;
mod stock;
mod writer;

use std::{
    io,
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::{TreeHead, TreeSize};
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime, task::JoinSet};

use self::{
    check::Check,
    connection::Connection,
    measured::Tally,
    reader::Readers,
    schedule::Schedule,
    stock::{Request, Stock},
    writer::Writing,
};
use crate::log::KnownLog;

pub use self::{
    issuing::Issuing,
    measured::{Latencies, Measured},
    reader::{Mix, Reading},
};

const PROGRESS_PERIOD: Duration = Duration::from_millis(50);

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// The log.
    pub log: KnownLog,
    /// Its host and port.
    pub host: String,
    /// A tree head that it signed: readers read from that tree, and verified proofs lead to its root.
    pub head: TreeHead,
    /// How many receipts to append.
    pub receipts: usize,
    /// Which receipts: the same seed makes the same ones.
    pub seed: u64,
    /// How many connections append, each with one request at a time.
    pub connections: usize,
    /// Receipts of a request.
    pub batch: usize,
    /// Receipts a second, in an open loop; none for a closed one.
    pub rate: Option<f64>,
    /// How many connections read.
    pub readers: usize,
    /// What they read.
    pub mix: Mix,
    /// Reads a second, in an open loop; none for a closed one.
    pub read_rate: Option<f64>,
    /// What begins in this time is sent and not counted.
    pub warm_up: Duration,
    /// When to end after the warm-up, if the receipts last that long.
    pub duration: Option<Duration>,
    /// How many threads send.
    pub threads: usize,
    /// Verify every answer.
    pub verify: bool,
}

/// Signs receipts and sends them, in rounds of at most 262,144, between which the clock stands.
///
/// Starts threads of its own, and blocks until they end. `progress` hears now and then how many receipts were taken up.
pub fn run(load: &Load, mut progress: impl FnMut(u64)) -> Result<Measured, LoadError> {
    if load.readers > 0 && load.head.size == TreeSize::ZERO {
        return Err(LoadError::Empty);
    }
    let mut stock = Stock::new(load);
    let (mut sum, mut warm_up, mut left, mut sent) = (Measured::default(), load.warm_up, load.duration, 0);
    loop {
        let requests = stock.sign();
        let last = requests.is_empty();
        if last && (sent > 0 || load.receipts > 0) {
            return Ok(sum);
        }
        let receipts: usize = requests.iter().map(Request::receipts).sum();
        let round = Round { load, requests, warm_up, duration: left };
        let (measured, over) = round.run(|taken| progress(sent + taken * load.batch.max(1) as u64))?;
        sent += receipts as u64;
        warm_up = Duration::ZERO;
        left = left.map(|left| left.saturating_sub(measured.elapsed));
        sum.add(&measured);
        if last || over {
            return Ok(sum);
        }
    }
}

/// What is sent without a pause.
struct Round<'a> {
    load: &'a Load,
    requests: Vec<Request>,
    warm_up: Duration,
    duration: Option<Duration>,
}

impl Round<'_> {
    /// Sends it, and says whether the time was over before all was sent.
    fn run(self, mut progress: impl FnMut(u64)) -> Result<(Measured, bool), LoadError> {
        let Self { load, requests, warm_up, duration } = self;
        let check = if load.verify { Some(Arc::new(Check::new(&load.log, load.head)?)) } else { None };
        let writers = if requests.is_empty() { 0 } else { load.connections };
        let streams = Streams::open(&load.host, load.threads.max(1), writers, load.readers)?;
        let (start, processor, all) = (Instant::now(), processor_time(), requests.len() as u64);
        let from = start + warm_up;
        let end = duration.map(|duration| from + duration);
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 receipts")]
        let rate = load.rate.map(|rate| rate / load.batch.max(1) as f64);
        let schedule = Schedule::new(start, all, rate, end);
        let writing = Arc::new(Writing { requests, schedule, check: check.clone() });
        let reading = Arc::new(Readers {
            host: load.host.clone(),
            mix: load.mix.clone(),
            seed: load.seed,
            head: load.head,
            schedule: Schedule::new(start, u64::MAX, load.read_rate, end),
            check,
        });
        let crew = Crew { host: load.host.clone(), from, writing, reading };
        let tallies = crew.work(streams, &mut progress)?;
        let mut measured = Tally::sum(tallies.into_iter());
        measured.processor = processor_time().saturating_sub(processor);
        Ok((measured, crew.writing.schedule.taken() < all))
    }
}

/// Open connections, dealt out to threads.
struct Streams {
    threads: Vec<[Vec<TcpStream>; 2]>,
}

impl Streams {
    fn open(host: &str, threads: usize, writers: usize, readers: usize) -> Result<Self, LoadError> {
        let mut dealt: Vec<_> = (0..threads).map(|_| [Vec::new(), Vec::new()]).collect();
        for (kind, connections) in [writers, readers].into_iter().enumerate() {
            for number in 0..connections {
                let stream = TcpStream::connect(host).map_err(|error| connection::failed(host, &error))?;
                dealt[number % threads][kind].push(stream);
            }
        }
        Ok(Self { threads: dealt })
    }
}

/// All that threads share.
struct Crew {
    host: String,
    from: Instant,
    writing: Arc<Writing>,
    reading: Arc<Readers>,
}

impl Crew {
    /// Gives each thread its connections, and waits until all threads have ended.
    fn work(&self, streams: Streams, progress: &mut impl FnMut(u64)) -> Result<Vec<Tally>, LoadError> {
        thread::scope(|scope| {
            scope.spawn(|| self.writing.schedule.release());
            scope.spawn(|| self.reading.schedule.release());
            let work = |[writers, readers]: [Vec<TcpStream>; 2]| {
                scope.spawn(|| self.thread(writers, readers).inspect_err(|_| self.stop()))
            };
            let working: Vec<_> = streams.threads.into_iter().map(work).collect();
            while working.iter().any(|thread| !thread.is_finished()) {
                thread::sleep(PROGRESS_PERIOD);
                progress(self.writing.schedule.taken());
            }
            self.stop();
            working.into_iter().map(|thread| thread.join().map_err(|_| LoadError::Thread)?).collect()
        })
    }

    /// One thread's connections, on a runtime that is its own: nothing is handed from thread to thread.
    fn thread(&self, writers: Vec<TcpStream>, readers: Vec<TcpStream>) -> Result<Tally, LoadError> {
        let tally = Arc::new(Mutex::new(Tally::new(self.from)));
        single_thread()?.block_on(async {
            let (mut writing, mut reading) = (JoinSet::new(), JoinSet::new());
            let wrote = !writers.is_empty();
            for stream in writers {
                let connection = Connection::opened(&self.host, stream)?;
                writing.spawn(Arc::clone(&self.writing).run(connection, Arc::clone(&tally)));
            }
            for stream in readers {
                let connection = Connection::opened(&self.host, stream)?;
                reading.spawn(Arc::clone(&self.reading).run(connection, Arc::clone(&tally)));
            }
            while let Some(ended) = writing.join_next().await {
                ended.map_err(|_| LoadError::Thread)??;
            }
            if wrote {
                self.reading.schedule.stop();
            }
            while let Some(ended) = reading.join_next().await {
                ended.map_err(|_| LoadError::Thread)??;
            }
            Ok::<_, LoadError>(())
        })?;
        let tally = Arc::into_inner(tally).ok_or(LoadError::Thread)?;
        Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&self) {
        self.writing.schedule.stop();
        self.reading.schedule.stop();
    }
}

fn single_thread() -> Result<runtime::Runtime, LoadError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(LoadError::Start)
}

/// Processor time that this process has used.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Why a load could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The log cannot be reached, or broke off.
    #[error("connection to {host}: {reason}")]
    Connection {
        /// Where to.
        host: String,
        /// Why.
        reason: String,
    },
    /// The log refused a request.
    #[error("the log answered {status}: {answer}")]
    Status {
        /// The status.
        status: u16,
        /// The body.
        answer: String,
    },
    /// The log has the receipt already.
    #[error("the log has receipts of this seed already: choose another seed")]
    Known,
    /// The log has nothing that could be read.
    #[error("the log has no entries yet")]
    Empty,
    /// An answer is not what it must be, or a proof does not hold.
    #[error("an answer does not hold: {0}")]
    Answer(String),
    /// The system gave no thread.
    #[error("starting: {0}")]
    Start(io::Error),
    /// A sender died.
    #[error("a sender has died")]
    Thread,
}

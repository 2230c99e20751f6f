//! Load: many receipts, signed beforehand, sent over many connections, and how long each took.

mod connection;
mod issuing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use counterfoil_receipt::{Envelope, Id, trust::Trust};

use crate::answer::Answer;
use connection::Connection;
pub use issuing::Issuing;

const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// Host and port of the log.
    pub host: String,
    /// The log's origin.
    pub origin: String,
    /// How many receipts.
    pub receipts: usize,
    /// Which receipts: the same seed makes the same ones.
    pub seed: u64,
    /// How many connections, each with one request at a time.
    pub connections: usize,
    /// Receipts of a request.
    pub batch: usize,
    /// Check every proof that comes back with this trust.
    pub trust: Option<Arc<Trust>>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Receipts that were acknowledged as new.
    pub acknowledged: usize,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long each request took, sorted.
    pub latencies: Vec<Duration>,
}

impl Measured {
    /// Acknowledged receipts a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of receipts is far below 2^52")]
        let acknowledged = self.acknowledged as f64;
        acknowledged / self.elapsed.as_secs_f64()
    }

    /// The latency that `per_mille` of 1000 requests stayed below.
    pub fn percentile(&self, per_mille: usize) -> Duration {
        let position = self.latencies.len() * per_mille / 1000;
        self.latencies.get(position.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// One request, ready to be sent.
struct Request {
    ids: Vec<Id>,
    body: Bytes,
}

/// Signs all receipts, then sends them; each connection sends its next request when the last one was answered.
///
/// `progress` hears now and then how many receipts were taken up.
pub async fn run(load: &Load, mut progress: impl FnMut(usize)) -> Result<Measured, LoadError> {
    let requests = Arc::new(sign(load));
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(&load.host).await?);
    }
    let started = Instant::now();
    let senders: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let (requests, next, trust) = (Arc::clone(&requests), Arc::clone(&next), load.trust.clone());
            tokio::spawn(send_all(connection, requests, next, trust))
        })
        .collect();
    let mut latencies = Vec::with_capacity(requests.len());
    for mut sender in senders {
        let sent = loop {
            match tokio::time::timeout(PROGRESS_PERIOD, &mut sender).await {
                Ok(sent) => break sent,
                Err(_) => progress((next.load(Ordering::Relaxed) * load.batch).min(load.receipts)),
            }
        };
        latencies.extend(sent.map_err(|_| LoadError::Sender)??);
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(Measured { acknowledged: load.receipts, elapsed, latencies })
}

/// Several streams, signed on all processors.
fn sign(load: &Load) -> Vec<Request> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = load.receipts.div_ceil(threads);
    std::thread::scope(|scope| {
        let signers: Vec<_> = (0..threads)
            .map(|thread| {
                let count = share.min(load.receipts.saturating_sub(thread * share));
                scope.spawn(move || {
                    let seed = load.seed.wrapping_mul(1000).wrapping_add(thread as u64);
                    let mut issuing = Issuing::new(&load.origin, seed);
                    let receipts: Vec<_> = (0..count).map(|_| issuing.issue()).collect();
                    receipts.chunks(load.batch).map(Request::new).collect::<Vec<_>>()
                })
            })
            .collect();
        signers.into_iter().flat_map(|signer| signer.join().expect("signing does not panic")).collect()
    })
}

impl Request {
    fn new(receipts: &[(Id, String)]) -> Self {
        let ids = receipts.iter().map(|(id, _)| *id).collect();
        let body = receipts.iter().map(|(_, envelope)| envelope.as_str()).collect::<Vec<_>>().join("\n");
        Self { ids, body: body.into() }
    }
}

async fn send_all(
    mut connection: Connection,
    requests: Arc<Vec<Request>>,
    next: Arc<AtomicUsize>,
    trust: Option<Arc<Trust>>,
) -> Result<Vec<Duration>, LoadError> {
    let mut latencies = Vec::new();
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let batch = request.ids.len() > 1;
        let path = if batch { "/v1/receipts/batch" } else { "/v1/receipts" };
        let sent = Instant::now();
        let (status, answer) = connection.post(path, request.body.clone()).await?;
        latencies.push(sent.elapsed());
        if status != if batch { 200 } else { 201 } {
            return Err(LoadError::Status { status, answer: String::from_utf8_lossy(&answer).into_owned() });
        }
        if let Some(trust) = &trust {
            check(request, &answer, trust)?;
        }
    }
    Ok(latencies)
}

/// Checks that every receipt of a request is answered with a proof that holds.
fn check(request: &Request, answer: &[u8], trust: &Trust) -> Result<(), LoadError> {
    let mut answers = answer.split(|&byte| byte == b'\n');
    for (id, sent) in request.ids.iter().zip(request.body.split(|&byte| byte == b'\n')) {
        let failed = |reason: String| LoadError::Proof { id: *id, reason };
        let answer = answers.next().unwrap_or_default();
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| failed(error.to_string()))?;
        let envelope = Envelope::parse(sent).map_err(|error| failed(error.to_string()))?;
        answer.verify(&envelope, trust).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
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
    /// The log refused a receipt.
    #[error("the log answered {status}: {answer}")]
    Status {
        /// The status.
        status: u16,
        /// The body.
        answer: String,
    },
    /// A proof does not hold.
    #[error("the answer for {id}: {reason}")]
    Proof {
        /// Which receipt.
        id: Id,
        /// What is wrong.
        reason: String,
    },
    /// A sender died.
    #[error("a sender has died")]
    Sender,
}

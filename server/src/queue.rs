//! Between the many that admit and the one that sequences.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::Id;
use tokio::sync::oneshot;

use crate::{admission::RefusedAt, batch::Batch, sequencer::Admitted, tiles::Edge};

/// The most entries of a batch.
pub const BATCH_ENTRIES_MAX: usize = 2048;

/// The most bytes of statements in a batch; one statement more may go above it.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a batch may wait for submissions that are on their way.
pub const GATHER_MAX: Duration = Duration::from_millis(3);

/// Once none has come for so long, and none is being admitted, none is on its way.
const GATHER_PAUSE: Duration = Duration::from_micros(500);

/// Only from this many submissions a batch on is the log busy enough to wait at all.
const GATHER_FROM: usize = 8;

/// How many submissions are waited for while the sequencer has other things to do.
const NOBODY_WAITS: usize = usize::MAX;

/// An admitted record that waits for its place.
pub struct Submission {
    /// What was admitted.
    pub admitted: Admitted,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Outcome>,
}

/// What became of a submission. A submission whose sender is dropped has no known outcome: it may be in the log.
pub enum Outcome {
    /// It is in the log: durable, and published unless witnesses have to see it first.
    Appended {
        /// The batch that it is in.
        batch: Arc<Batch>,
        /// Which of the batch's leaves it is.
        position: usize,
    },
    /// It may not enter at the place that it came to.
    Refused {
        /// Which.
        id: Id,
        /// Why, and against what it was judged.
        refused: Box<RefusedAt>,
    },
    /// There is no room for it: nothing was stored.
    NoRoom,
    /// The same record was in the log before, or came twice at once.
    Known {
        /// Where it is.
        index: LeafIndex,
        /// The edge of a committed tree that has it.
        edge: Arc<Edge>,
    },
}

/// The queue: bounded, and closed while the log cannot be written to.
pub struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    capacity: usize,
    /// Submissions that are being admitted.
    coming: AtomicUsize,
}

/// A submission that is being admitted, until this is dropped: a busy sequencer waits for it.
pub struct Coming<'a>(&'a AtomicUsize);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct State {
    pending: Vec<Submission>,
    /// As many are waited for; waking the sequencer for each single one costs more than the wait, and so does calling when it is awake.
    wanted: usize,
    open: bool,
    shutdown: bool,
    interrupted: bool,
}

/// What there is to do.
pub enum Taken {
    /// Submissions in the order they came.
    Batch(Vec<Submission>),
    /// None came in time.
    Idle,
    /// Somebody has to tell the sequencer something: see [`Queue::interrupt`].
    Interrupted,
    /// Nothing is left and nothing will come.
    Shutdown,
}

impl Queue {
    /// A closed queue for that many submissions.
    pub const fn new(capacity: usize) -> Self {
        let state = State {
            pending: Vec::new(),
            wanted: NOBODY_WAITS,
            open: false,
            shutdown: false,
            interrupted: false,
        };
        Self { state: Mutex::new(state), ready: Condvar::new(), capacity, coming: AtomicUsize::new(0) }
    }

    /// Says that submissions will come soon, if they are admitted.
    pub fn coming(&self) -> Coming<'_> {
        self.coming.fetch_add(1, Ordering::Relaxed);
        Coming(&self.coming)
    }

    /// Puts submissions in, all or none.
    pub fn submit(&self, submissions: Vec<Submission>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        if !state.open || state.shutdown {
            return Err(SubmitError::Closed);
        }
        if state.pending.len() + submissions.len() > self.capacity {
            return Err(SubmitError::Full);
        }
        state.pending.extend(submissions);
        let enough = state.pending.len() >= state.wanted;
        drop(state);
        if enough {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.lock().pending.len()
    }

    /// Takes the next batch; waits for the first submission until `deadline`.
    ///
    /// If the batch before had more than what waits now, others are on their way and only lack a processor: as long as they
    /// come they are given up to [`GATHER_MAX`] to come along, for the cost of a batch hardly depends on its size.
    pub fn take(&self, deadline: Instant, before: usize) -> Taken {
        let mut state = self.wait(self.lock(), 1, deadline);
        if std::mem::take(&mut state.interrupted) {
            return Taken::Interrupted;
        }
        if state.pending.is_empty() {
            return if state.shutdown { Taken::Shutdown } else { Taken::Idle };
        }
        if before >= GATHER_FROM {
            state = self.gather(state, before);
        }
        let mut bytes = 0;
        let mut count = 0;
        for submission in state.pending.iter().take(BATCH_ENTRIES_MAX) {
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            bytes += submission.admitted.statement.len();
            count += 1;
        }
        Taken::Batch(state.pending.drain(..count).collect())
    }

    /// Waits for as many as the batch before had, as long as they keep coming. Waiting for more would have those who append one at
    /// a time wait for one another: nobody would have anything to do during a commit.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>, before: usize) -> MutexGuard<'a, State> {
        let (expected, deadline) = (before.min(BATCH_ENTRIES_MAX), Instant::now() + GATHER_MAX);
        loop {
            let had = state.pending.len();
            state = self.wait(state, expected, deadline.min(Instant::now() + GATHER_PAUSE));
            let has = state.pending.len();
            let stalled = has == had && self.coming.load(Ordering::Relaxed) == 0;
            if has >= expected || stalled || Instant::now() >= deadline {
                return state;
            }
        }
    }

    /// Waits until so many submissions are there, the deadline has come, or nothing more will.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        wanted: usize,
        deadline: Instant,
    ) -> MutexGuard<'a, State> {
        state.wanted = wanted;
        while state.pending.len() < wanted && !state.shutdown && !state.interrupted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            state = self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted = NOBODY_WAITS;
        state
    }

    /// Lets submissions in.
    pub fn open(&self) {
        self.lock().open = true;
    }

    /// Keeps submissions out and drops those that wait: nothing was promised to them.
    pub fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.pending.clear();
    }

    /// Lets nothing more in; what waits is still sequenced.
    pub fn shut_down(&self) {
        self.lock().shutdown = true;
        self.ready.notify_all();
    }

    /// Makes the sequencer look up, before it takes another batch.
    pub fn interrupt(&self) {
        self.lock().interrupted = true;
        self.ready.notify_all();
    }

    /// Waits for [`Queue::shut_down`].
    pub fn wait_for_shut_down(&self) {
        let mut state = self.lock();
        while !state.shutdown {
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether [`Queue::shut_down`] was called.
    pub fn is_shut_down(&self) -> bool {
        self.lock().shutdown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a submission was not taken. Nothing was stored or promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many wait as may.
    #[error("the queue is full")]
    Full,
    /// The log cannot be written to now.
    #[error("the log is not being written to")]
    Closed,
}

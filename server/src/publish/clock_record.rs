//! Clock records: now and then the newest checkpoint that witnesses cosigned goes into the log, verbatim, so that their
//! times bound those of the entries before and after it for ever.

use std::{sync::Arc, time::Duration};

use counterfoil_merkle::{LeafIndex, checkpoint::SignedCheckpoint};
use counterfoil_receipt::{
    Entry, Statement, Timestamp,
    admission::{Admitted, Chain},
    key::Signer,
    statement::{Clock, Frame, Issuer, Nonce, Origin, Predicate, SignError, Subject},
};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::{
    log::Log,
    queue::{Outcome, Submission},
    tiles::{Edge, ReadError},
};

/// How long to wait when the queue is full or closed.
const RETRY_PERIOD: Duration = Duration::from_secs(10);

/// Makes clock records, each through the queue like any other record, signed by the operator.
pub struct ClockRecords {
    log: Origin,
    key: Arc<dyn Signer>,
    period: Duration,
    state: State,
}

enum State {
    /// Nothing is known of earlier ones.
    Unknown,
    /// The next one is not due before that, in ms.
    From(u64),
    /// One is on its way.
    Waits(oneshot::Receiver<Outcome>),
    /// None can be made.
    Off,
}

impl ClockRecords {
    /// One each period.
    pub const fn new(log: Origin, key: Arc<dyn Signer>, period: Duration) -> Self {
        Self { log, key, period, state: State::Unknown }
    }

    /// Whether one would be made of a checkpoint published now, in a log with this edge.
    pub async fn is_due(&mut self, log: &Log, edge: &Edge, now: Timestamp) -> bool {
        if let State::Waits(outcome) = &mut self.state {
            match outcome.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return false,
                Ok(Outcome::Refused { refused, .. }) => {
                    error!(reason = %refused.refused, "the log does not admit its own clock record; the next one waits");
                    self.state = later(now, self.period);
                }
                Ok(Outcome::NoRoom) => self.state = later(now, RETRY_PERIOD),
                // Committed; or the log had to recover, and knows better now.
                _ => self.state = State::Unknown,
            }
        }
        if matches!(self.state, State::Unknown) {
            match self.next(log, edge, now).await {
                Ok(state) => self.state = state,
                Err(error) => warn!(%error, "the last clock record cannot be read; the next one waits"),
            }
        }
        matches!(self.state, State::From(due) if now.millis() >= due)
    }

    /// When the next one is due, going by the log itself: the first one at once. While the last one is not published yet,
    /// that is not known.
    async fn next(&self, log: &Log, edge: &Edge, now: Timestamp) -> Result<State, ReadError> {
        if !log.admission.is_operator(self.key.public()) {
            error!("operator_key_file is not the operator's key in the log's rules: no clock record is made");
            return Ok(later(now, self.period));
        }
        let Some(&last) = log.clock_records().last() else { return Ok(State::From(0)) };
        let index = LeafIndex::new(last)?;
        let Some(item) = log.tiles.item(edge, index).await? else { return Ok(State::Unknown) };
        let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
        Ok(later(entry.at, self.period))
    }

    /// Puts a published checkpoint into the log. What does not work out is tried again with a later one.
    pub fn record(&mut self, log: &Log, checkpoint: &SignedCheckpoint, now: Timestamp) {
        let size = checkpoint.unverified().head.size;
        let admitted = match self.sign(checkpoint) {
            Ok(admitted) => admitted,
            Err(error) if error.may_pass() => {
                warn!(%error, "a clock record has to wait");
                self.state = later(now, RETRY_PERIOD);
                return;
            }
            Err(error) => {
                error!(%error, "a clock record cannot be made: no more are");
                self.state = State::Off;
                return;
            }
        };
        let (reply, outcome) = oneshot::channel();
        match log.queue.submit(vec![Submission { admitted: admitted.into(), reply }]) {
            Ok(()) => {
                info!(tree_size = size.get(), "a clock record is on its way");
                self.state = State::Waits(outcome);
            }
            Err(error) => {
                warn!(%error, "a clock record has to wait");
                self.state = later(now, RETRY_PERIOD);
            }
        }
    }

    fn sign(&self, checkpoint: &SignedCheckpoint) -> Result<Admitted, SignError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).expect("the system gives random bytes");
        let statement = Statement {
            subject: Subject::Log,
            frame: Frame {
                nonce: Nonce::new(nonce),
                log: self.log.clone(),
                issuer: Issuer { key: self.key.public().clone(), software: None },
                numbering: None,
            },
            predicate: Predicate::Clock(Box::new(Clock { checkpoint: checkpoint.clone() })),
        };
        Ok(Admitted::new(statement.sign(&*self.key)?, statement, Chain::default()))
    }
}

fn later(than: Timestamp, by: Duration) -> State {
    State::From(than.millis().saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

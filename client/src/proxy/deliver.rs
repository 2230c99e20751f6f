//! Work on what is in the spool: receipts go to the log, openings to the operator. Both go through it from the oldest on,
//! again and again, until there is nothing left to do.

use std::time::Duration;

use counterfoil_receipt::Envelope;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, warn};

use super::{
    app::now,
    metrics::Metrics,
    push::Push,
    spool::{
        Spool,
        record::{Delivered, Record, Spooled},
        state::Kept,
    },
};
use crate::{
    source::back_off,
    submit::{BATCH_MAX, Outcome, Submitter},
};

/// The most receipts of one request to the log.
const BATCH: usize = 250;
const _: () = assert!(BATCH <= BATCH_MAX, "what the log takes");

/// How long work gathers before it begins, unless there is enough for a whole request. Each request costs the log a durable
/// record, and nobody waits for a receipt so closely.
const GATHER: Duration = Duration::from_millis(20);

/// How long refused work rests at most before it is tried again.
const REST_MAX: Duration = Duration::from_secs(300);

/// What is done with exchanges in the spool.
#[derive(Debug)]
pub enum Work {
    /// Their receipts go to the log.
    Deliver(Submitter),
    /// Openings and claim keys go to the operator.
    Push(Push),
}

impl Work {
    /// What its thread is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Deliver(_) => "deliver",
            Self::Push(_) => "push",
        }
    }
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// The spool.
    pub spool: Spool,
    /// What is done.
    pub work: Work,
    /// What is counted.
    pub metrics: std::sync::Arc<Metrics>,
}

impl Worker {
    /// Works until `stop` is true, and then until nothing is left or something fails.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let (mut from, mut failures, mut rests) = (0, 0, 0);
        let mut again: Option<Instant> = None;
        loop {
            let more = self.spool.more();
            let mut batch = self.next(from);
            if !batch.is_empty() && batch.len() < BATCH && !*stop.borrow() {
                sleep(GATHER).await;
                batch = self.next(from);
            }
            if let Some(last) = batch.last() {
                match self.work_on(&batch).await {
                    Ok(left) => {
                        (from, failures) = (last.sequence + 1, 0);
                        if left > 0 && again.is_none() {
                            again = Some(Instant::now() + back_off(rests, None).min(REST_MAX));
                            rests += 1;
                        } else if left == 0 && again.is_none() {
                            rests = 0;
                        }
                    }
                    Err(WorkError) if *stop.borrow() => return,
                    Err(WorkError) => {
                        let pause = sleep(back_off(failures, None));
                        tokio::select! { () = pause => {}, _ = stop.changed() => {} }
                        failures += 1;
                    }
                }
                continue;
            }
            if *stop.borrow() {
                return;
            }
            let rested = async {
                match again {
                    Some(again) => sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = more => {}
                () = rested => (from, again) = (0, None),
                _ = stop.changed() => {}
            }
        }
    }

    fn next(&self, from: u64) -> Vec<Kept> {
        match &self.work {
            Work::Deliver(_) => self.spool.undelivered(from, BATCH),
            Work::Push(_) => self.spool.unpushed(from, BATCH),
        }
    }

    /// Does what is to be done with a batch; how much of it could not be done and is to be tried again.
    async fn work_on(&self, batch: &[Kept]) -> Result<usize, WorkError> {
        let mut spooled = Vec::with_capacity(batch.len());
        for kept in batch {
            match self.spool.read(kept.place).await {
                Ok(Some(Record::Exchange(exchange))) => spooled.push(exchange),
                Ok(_) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let marks = match &self.work {
            Work::Deliver(submitter) => self.deliver(submitter, &spooled).await?,
            Work::Push(push) => self.push(push, &spooled).await,
        };
        let left = spooled.len() - marks.len();
        self.spool.mark(marks).await.map_err(|error| self.failed(&error))?;
        Ok(left)
    }

    /// Sends receipts to the log, and gives a mark for each that is in it.
    async fn deliver(&self, submitter: &Submitter, spooled: &[Spooled]) -> Result<Vec<Record>, WorkError> {
        let mut envelopes = Vec::with_capacity(spooled.len());
        for exchange in spooled {
            let envelope = Envelope::parse(exchange.envelope.as_bytes());
            envelopes.push(envelope.map_err(|error| self.failed(&error))?);
        }
        let outcomes = submitter.append_batch(&envelopes).await.map_err(|error| {
            self.metrics.delivery_failed();
            warn!(
                error = &error as &dyn std::error::Error,
                receipts = spooled.len(),
                "the log takes nothing"
            );
            WorkError
        })?;
        let mut marks = Vec::with_capacity(spooled.len());
        for (exchange, outcome) in spooled.iter().zip(outcomes) {
            match outcome {
                Outcome::Logged(logged) => {
                    let entry = String::from_utf8_lossy(&logged.bundle.entry.to_bytes()).into_owned();
                    let proof = logged.bundle.proof.to_string();
                    let sequence = exchange.sequence;
                    marks.push(Record::Delivered(Delivered { sequence, entry, proof }));
                    let delay = now().millis().saturating_sub(exchange.completed.millis());
                    self.metrics.delivered(Duration::from_millis(delay));
                }
                Outcome::Refused(problem) => {
                    self.metrics.delivery_refused();
                    let (id, status, detail) = (exchange.id, problem.status, problem.detail);
                    error!(%id, status, detail, "the log refuses a receipt; it stays in the spool");
                }
            }
        }
        Ok(marks)
    }

    /// Hands openings and claim keys to the operator, and gives a mark for each that was taken.
    async fn push(&self, push: &Push, spooled: &[Spooled]) -> Vec<Record> {
        let mut marks = Vec::with_capacity(spooled.len());
        for exchange in spooled {
            let pushed = push.push(exchange).await;
            self.metrics.pushed(pushed.is_ok());
            match pushed {
                Ok(()) => marks.push(Record::Pushed { sequence: exchange.sequence }),
                Err(error) => {
                    let (id, error) = (exchange.id, &error as &dyn std::error::Error);
                    warn!(%id, error, "openings cannot be handed over");
                }
            }
        }
        marks
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> WorkError {
        error!(error, "the spool cannot be worked on");
        WorkError
    }
}

/// Nothing could be done; it was said why.
#[derive(Clone, Copy, Debug)]
struct WorkError;

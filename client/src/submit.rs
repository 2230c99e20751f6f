//! Appending: envelopes go out, and what comes back is verified before anybody is told.

use bytes::Bytes;
use counterfoil_merkle::policy::PolicyError;
use counterfoil_receipt::{Envelope, trust::Trust};

use crate::{
    answer::{Answer, AnswerError, Logged, Problem},
    log::KnownLog,
    source::{Api, Reply, SourceError, back_off},
};

/// The longest answer for one record: entry and proof, with room to spare.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// The most records of one batch.
pub const BATCH_MAX: usize = 1000;

/// What a log calls it when the token is good for something else.
const OTHER_SCOPE: &str = "https://counterfoil.dev/problems/scope";

/// Sends records to one log.
#[derive(Clone, Debug)]
pub struct Submitter {
    api: Api,
    trust: Trust,
    retries: u32,
}

/// What became of one record.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is in the log.
    Logged(Box<Logged>),
    /// The log does not take it.
    Refused(Problem),
}

impl KnownLog {
    /// Trust as the log's policy says; without one, in the log's own word: its key and, if known, its clock.
    pub fn trust(&self) -> Result<Trust, PolicyError> {
        if let Some(policy) = &self.policy {
            return Ok(Trust::in_policy(policy.policy().clone()));
        }
        let clock = self.clock.as_ref().map(|clock| format!("witness clock {clock}\n")).unwrap_or_default();
        Ok(Trust::in_policy(format!("log {}\n{clock}quorum none\n", self.key).parse()?))
    }
}

impl Submitter {
    /// Sends to `api` and believes what `trust` bears out, trying `retries` times more where that may help.
    pub const fn new(api: Api, trust: Trust, retries: u32) -> Self {
        Self { api, trust, retries }
    }

    /// Appends one record. Sending it again is harmless: a log has no record twice.
    pub async fn append(&self, envelope: &Envelope) -> Result<Outcome, SubmitError> {
        let mut attempt = 0;
        loop {
            let body = Bytes::from(envelope.to_json());
            let sent = self.api.post("v1/receipts", "application/json", body, ANSWER_BYTES_MAX).await;
            let (failed, wait) = match sent {
                Ok(reply) if matches!(reply.status, 200..=202) => match self.believe(&reply.body, envelope) {
                    // Its witnesses are slow: asked again, the log waits for them again.
                    Err(failed) if failed.is_temporary() => (failed, reply.retry_after),
                    believed => return believed,
                },
                Ok(reply) => match refusal(&reply) {
                    Some(problem) => return Ok(Outcome::Refused(problem)),
                    None => (SubmitError::status(&reply), reply.retry_after),
                },
                Err(error) => (SubmitError::Source(error), None),
            };
            if !failed.is_temporary() || attempt == self.retries {
                return Err(failed);
            }
            tokio::time::sleep(back_off(attempt, wait)).await;
            attempt += 1;
        }
    }

    /// Appends up to [`BATCH_MAX`] records in one request; an outcome for each, in order.
    pub async fn append_batch(&self, envelopes: &[Envelope]) -> Result<Vec<Outcome>, SubmitError> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; envelopes.len()];
        let mut attempt = 0;
        loop {
            let open: Vec<usize> = (0..envelopes.len()).filter(|&n| outcomes[n].is_none()).collect();
            let (failed, wait) = match self.send_batch(envelopes, &open).await {
                Ok(reply) if matches!(reply.status, 200 | 202) => {
                    let lines = self.read_batch(&reply.body, envelopes, &open)?;
                    let mut failed = None;
                    for (n, line) in open.into_iter().zip(lines) {
                        match line {
                            Ok(Outcome::Refused(problem)) if problem.is_temporary() => {
                                failed = Some(SubmitError::Busy(problem));
                            }
                            Err(error) if error.is_temporary() => failed = Some(error),
                            line => outcomes[n] = Some(line?),
                        }
                    }
                    let Some(failed) = failed else { return Ok(outcomes.into_iter().flatten().collect()) };
                    (failed, reply.retry_after)
                }
                Ok(reply) => (SubmitError::status(&reply), reply.retry_after),
                Err(error) => (SubmitError::Source(error), None),
            };
            if !failed.is_temporary() || attempt == self.retries {
                return Err(failed);
            }
            tokio::time::sleep(back_off(attempt, wait)).await;
            attempt += 1;
        }
    }

    async fn send_batch(&self, envelopes: &[Envelope], open: &[usize]) -> Result<Reply, SourceError> {
        let mut body = String::new();
        for &n in open {
            body.push_str(&envelopes[n].to_json());
            body.push('\n');
        }
        let bytes_max = ANSWER_BYTES_MAX.saturating_mul(open.len());
        self.api.post("v1/receipts/batch", "application/x-ndjson", body.into(), bytes_max).await
    }

    /// Reads the answer to a batch: a line for each record that was sent.
    fn read_batch(
        &self,
        body: &[u8],
        envelopes: &[Envelope],
        open: &[usize],
    ) -> Result<Vec<Result<Outcome, SubmitError>>, SubmitError> {
        let lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        if lines.len() != open.len() {
            return Err(SubmitError::Lines { sent: open.len(), got: lines.len() });
        }
        let refused = |line| serde_json::from_slice(line).map(|Refusal { error }| Outcome::Refused(error));
        let read = |(&n, line)| refused(line).or_else(|_| self.believe(line, &envelopes[n]));
        Ok(open.iter().zip(lines).map(read).collect())
    }

    fn believe(&self, answer: &[u8], envelope: &Envelope) -> Result<Outcome, SubmitError> {
        let answer: Answer = serde_json::from_slice(answer).map_err(SubmitError::Json)?;
        let logged = answer.verify(envelope, &self.trust)?;
        Ok(Outcome::Logged(Box::new(logged)))
    }
}

#[derive(serde::Deserialize)]
struct Refusal {
    error: Problem,
}

/// The problem in an answer that will be the same next time. What is wrong with a token says nothing of the record.
fn refusal(reply: &Reply) -> Option<Problem> {
    if !matches!(reply.status, 400 | 402..=428 | 430..=499) {
        return None;
    }
    let stated = serde_json::from_slice::<Problem>(&reply.body).unwrap_or_default();
    if reply.status == 403 && stated.kind == OTHER_SCOPE {
        return None;
    }
    Some(Problem { status: reply.status, ..stated })
}

/// Why nothing is known of a record, or the log's answer is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The log was not heard.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It answers with something else than a receipt's place.
    #[error("the log answers {status}: {detail}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says about it.
        detail: String,
    },
    /// It does not take the record now.
    #[error("the log answers {}: {}", .0.status, .0.detail)]
    Busy(Problem),
    /// Its answer is not JSON of the form that is due.
    #[error("the log's answer cannot be read")]
    Json(#[source] serde_json::Error),
    /// Its answer to a batch has not a line for each record.
    #[error("{sent} receipts were sent, {got} answered")]
    Lines {
        /// How many were sent.
        sent: usize,
        /// How many answers came.
        got: usize,
    },
    /// Its answer does not hold.
    #[error("the log's answer does not hold: {0}")]
    Answer(#[from] AnswerError),
}

impl SubmitError {
    fn status(reply: &Reply) -> Self {
        let problem = serde_json::from_slice::<Problem>(&reply.body).unwrap_or_default();
        Self::Status { status: reply.status, detail: problem.detail }
    }

    const fn is_temporary(&self) -> bool {
        match self {
            Self::Source(error) => error.is_temporary(),
            Self::Status { status, .. } => matches!(status, 429 | 500..),
            Self::Busy(_) | Self::Answer(AnswerError::NotPublished) => true,
            Self::Json(_) | Self::Lines { .. } | Self::Answer(_) => false,
        }
    }

    /// Whether nothing is known; else the log said something that is wrong.
    pub const fn is_silence(&self) -> bool {
        !matches!(self, Self::Answer(error) if !matches!(error, AnswerError::NotPublished))
    }
}

#[cfg(test)]
mod tests;

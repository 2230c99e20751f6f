//! Appending: bytes -> admitted -> its place in the log -> the bundle less the statement.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use counterfoil_merkle::{Hash, LeafIndex, tlogproof::TlogProof};
use counterfoil_receipt::{Entry, Envelope, admission::Refusal, envelope::ENVELOPE_BYTES_MAX};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{App, error::ApiError};
use crate::{
    queue::{Outcome, Submission},
    sequencer::Admitted,
    tiles::ReadError,
};

/// A refused body of this many bytes is read to its end, so that the connection survives; a longer one ends it.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;

/// The media type of a batch, one JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";

/// Where a record is, and the proof of it: the bundle less the statement.
#[derive(Serialize)]
struct Appended {
    index: u64,
    id: String,
    leaf: String,
    entry: String,
    proof: String,
}

/// `POST /v1/receipts`: one DSSE envelope. 201 for a new receipt, 200 for one that the log has.
pub async fn one(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = body(request, ENVELOPE_BYTES_MAX).await?;
    let (submission, outcome) = admit(&app, &body)?;
    app.log.queue.submit(vec![submission])?;
    let (status, appended) = answer(&app, outcome).await?;
    Ok((status, axum::Json(appended)).into_response())
}

/// `POST /v1/receipts/batch`: one envelope a line; one answer a line, in the same order.
pub async fn batch(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = body(request, app.limits.batch_bytes_max).await?;
    let lines: Vec<_> = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() > app.limits.batch_lines_max {
        return Err(ApiError::TooManyLines { limit: app.limits.batch_lines_max });
    }
    let mut outcomes = Vec::with_capacity(lines.len());
    let mut submissions = Vec::with_capacity(lines.len());
    for line in lines {
        outcomes.push(admit(&app, line).map(|(submission, outcome)| {
            submissions.push(submission);
            outcome
        }));
    }
    app.log.queue.submit(submissions)?;
    let mut answers = Vec::new();
    for outcome in outcomes {
        let line = match outcome {
            Ok(outcome) => answer(&app, outcome).await.map(|(_, appended)| appended),
            Err(error) => Err(error),
        };
        match line {
            Ok(appended) => serde_json::to_writer(&mut answers, &appended),
            Err(error) => {
                app.metrics.rejected(error.code());
                serde_json::to_writer(&mut answers, &serde_json::json!({ "error": error.problem() }))
            }
        }
        .expect("plain JSON into memory");
        answers.push(b'\n');
    }
    Ok(([(header::CONTENT_TYPE, NDJSON)], answers).into_response())
}

/// The whole body, if it is not too large and comes in time.
async fn body(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let stated =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    if let Some(length) = stated.filter(|length: &usize| *length > limit) {
        if length <= DRAINED_BYTES_MAX {
            drain(body).await;
        }
        return Err(ApiError::TooLarge { limit });
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body).await;
            Err(ApiError::TooLarge { limit })
        }
        Err(error) => Err(ApiError::Body { reason: error.to_string() }),
    }
}

/// Reads on without keeping anything: a connection with an unread body cannot be used again.
async fn drain(body: Body) {
    let mut body = Limited::new(body, DRAINED_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}

/// Checks an envelope as far as it can be checked without the log's state.
fn admit(app: &App, envelope: &[u8]) -> Result<(Submission, oneshot::Receiver<Outcome>), ApiError> {
    let envelope = Envelope::parse_with(envelope, |key| app.keys.find(key)).map_err(Refusal::from)?;
    let key = envelope.key().clone();
    let admitted = app.admission().admit(envelope, app.now()?)?;
    app.keys.remember(key);
    let statement = Bytes::from(admitted.statement);
    let admitted =
        Admitted { id: admitted.id, draft: admitted.draft, draft_digest: admitted.draft_digest, statement };
    let (reply, outcome) = oneshot::channel();
    Ok((Submission { admitted, reply }, outcome))
}

/// Waits for the sequencer, then puts the answer together here, off its thread.
async fn answer(app: &App, outcome: oneshot::Receiver<Outcome>) -> Result<(StatusCode, Appended), ApiError> {
    match outcome.await.map_err(|_| ApiError::Unknown)? {
        Outcome::Appended { batch, position } => {
            app.metrics.appended();
            let leaf = &batch.leaves[position];
            let appended = Appended {
                index: leaf.index.get(),
                id: leaf.id.to_string(),
                leaf: leaf.hash.to_string(),
                entry: text(&leaf.item.entry),
                proof: TlogProof::print(&batch.proof(position), &batch.view.text),
            };
            Ok((StatusCode::CREATED, appended))
        }
        Outcome::Known { index } => Ok((StatusCode::OK, known(app, index).await?)),
    }
}

/// The answer for a record that the log has.
async fn known(app: &App, index: LeafIndex) -> Result<Appended, ApiError> {
    let view = app.view()?;
    let item = app.log.item(&view, index).await?.ok_or(ReadError::Entry { index })?;
    let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
    let proof = app.log.inclusion(&view, index, view.head().size).await?;
    Ok(Appended {
        index: index.get(),
        id: entry.id.to_string(),
        leaf: Hash::leaf(&item.entry).to_string(),
        entry: text(&item.entry),
        proof: TlogProof::print(&proof, &view.text),
    })
}

/// An entry as text: canonical JSON is ASCII.
fn text(entry: &[u8]) -> String {
    str::from_utf8(entry).expect("the log's own entries are canonical JSON").to_owned()
}

//! Checkpoints and evidence that others send.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use counterfoil_merkle::{checkpoint::SignedCheckpoint, evidence::ForkEvidence, note::NOTE_BYTES_MAX};
use serde_json::{Value, json};
use tracing::error;

use super::{App, Refusal};
use crate::{
    hearsay::{Answer, HearsayError, Relation},
    serve::Whole,
};

/// `POST /v1/gossip`: a signed note; what is it to the tree that the monitor verified?
pub(super) async fn hear(State(app): State<Arc<App>>, Whole(body): Whole) -> Result<Json<Answer>, Refusal> {
    let malformed = |reason: &dyn std::fmt::Display| Refusal::Malformed(reason.to_string());
    if body.len() > NOTE_BYTES_MAX {
        return Err(malformed(&"longer than any signed note"));
    }
    let text = str::from_utf8(&body).map_err(|_| malformed(&"not UTF-8"))?;
    let note: SignedCheckpoint = text.parse().map_err(|reason| malformed(&reason))?;
    let log = Arc::clone(app.log_of(note.unverified().origin.as_str())?);
    let (snapshot, hearsay) = log.hearsay().ok_or(Refusal::Lost)?;
    let heard = blocking(move || hearsay.hear(&note, &snapshot)).await;
    let answer = heard.inspect_err(|_| app.view.metrics.gossip(log.origin(), "refused"))?;
    app.view.metrics.gossip(log.origin(), answer.relation.as_str());
    if answer.relation == Relation::Inconsistent {
        log.wake();
    }
    Ok(Json(answer))
}

/// `GET /v1/gossip/<origin's hash>`: the newest checkpoint that the monitor follows the log to.
pub(super) async fn newest(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let snapshot = app.log(&name)?.snapshot().ok_or(Refusal::Lost)?;
    let note = snapshot.newest().ok_or(Refusal::NotYet)?.to_string();
    let kind = "text/plain; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], note).into_response())
}

/// `POST /v1/evidence`: fork evidence, as text or JSON. What proves a fork is kept, and told of.
pub(super) async fn hear_evidence(
    State(app): State<Arc<App>>,
    Whole(body): Whole,
) -> Result<Json<Value>, Refusal> {
    let malformed = |reason: &dyn std::fmt::Display| Refusal::Malformed(reason.to_string());
    let text = str::from_utf8(&body).map_err(|_| malformed(&"not UTF-8"))?;
    let evidence = ForkEvidence::from_either(text).map_err(|reason| malformed(&reason))?;
    let log = Arc::clone(app.log_of(evidence.a().unverified().origin.as_str())?);
    let (_, hearsay) = log.hearsay().ok_or(Refusal::Lost)?;
    let id = evidence.id().to_string();
    let new = blocking(move || hearsay.hear_evidence(&evidence)).await?;
    if new {
        log.wake();
    }
    Ok(Json(json!({ "proven": true, "new": new, "id": id })))
}

/// Runs what reads and writes files where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HearsayError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(HearsayError::NotSigned(reason))) => Err(Refusal::NotSigned(reason.to_string())),
        Ok(Err(HearsayError::NotProven(reason))) => Err(Refusal::NotProven(reason.to_string())),
        Ok(Err(reason)) => {
            error!(%reason, "what others say of a log cannot be judged");
            Err(Refusal::Internal)
        }
        Err(reason) => {
            error!(%reason, "what others say of a log cannot be judged");
            Err(Refusal::Internal)
        }
    }
}

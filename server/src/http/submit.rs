//! Appending: bytes -> admitted -> its place in the log -> the bundle less the statement, once it is published.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use counterfoil_merkle::{Hash, LeafIndex, tlogproof::TlogProof};
use counterfoil_receipt::{
    Entry, Envelope, Id, Kind, Statement, Timestamp, VerifiedEnvelope, admission::Admitted,
    envelope::ENVELOPE_BYTES_MAX, json::write,
};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::oneshot;
use tracing::debug;

use super::{
    App,
    error::{ApiError, RETRY_AFTER_S},
    prefer::{PREFERENCE_APPLIED, RESPOND_ASYNC, respond_async},
    read::JSON,
    room::Held,
};
use crate::{
    network::Source,
    queue::{Outcome, Submission},
    tiles::{Edge, ReadError},
};

/// A refused body of this many bytes is read to its end, so that the connection survives; a longer one ends it.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;

/// The media type of a batch, one JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";

/// The answer for one record: the bundle less the statement. Without a proof the record is durable, and not published yet.
struct Answer {
    status: StatusCode,
    id: Id,
    is_published: bool,
    json: String,
}

/// How long a request waits for the publication of what it appended.
#[derive(Clone, Copy)]
struct Patience {
    asynchronous: bool,
    wait: Duration,
}

impl Patience {
    fn of(app: &App, headers: &HeaderMap) -> Self {
        let preferred = respond_async(headers);
        let wait = preferred.map_or(app.append_wait, |wait| wait.min(app.append_wait));
        Self { asynchronous: preferred.is_some(), wait }
    }

    fn until(self) -> Instant {
        Instant::now() + self.wait
    }

    /// The headers of an answer for what is not published yet.
    fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S))];
        if self.asynchronous {
            headers.push((PREFERENCE_APPLIED, RESPOND_ASYNC));
        }
        headers
    }
}

/// `POST /v1/receipts`: one DSSE envelope. 201 for a new receipt, 200 for one that the log has; 202 for either if it is
/// durable and not published yet.
pub async fn one(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let patience = Patience::of(&app, request.headers());
    let source = app.source(&request);
    let (body, _held) = body(&app, request, source, ENVELOPE_BYTES_MAX).await?;
    let coming = app.log.queue.coming();
    let (submission, outcome) = admit(&app, &body).await?;
    app.submit(vec![submission])?;
    drop(coming);
    let Answer { status, id, is_published, json } = answer(&app, outcome, patience.until()).await?;
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if is_published {
        return Ok(response);
    }
    let place = HeaderValue::from_str(&format!("/v1/receipts/{id}")).expect("hex digits are plain text");
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::LOCATION, place);
    response.headers_mut().extend(patience.headers());
    Ok(response)
}

/// `POST /v1/receipts/batch`: one envelope a line; one answer a line, in the same order. 202 if any of them is durable and
/// not published yet, else 200.
pub async fn batch(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let patience = Patience::of(&app, request.headers());
    let source = app.source(&request);
    let (body, _held) = body(&app, request, source, app.limits.batch_bytes_max).await?;
    let lines: Vec<_> = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() > app.limits.batch_lines_max {
        return Err(ApiError::TooManyLines { limit: app.limits.batch_lines_max });
    }
    app.count_more(source, lines.len().saturating_sub(1));
    let coming = app.log.queue.coming();
    let mut outcomes = Vec::with_capacity(lines.len());
    let mut submissions = Vec::with_capacity(lines.len());
    for line in lines {
        outcomes.push(admit(&app, line).await.map(|(submission, outcome)| {
            submissions.push(submission);
            outcome
        }));
    }
    app.submit(submissions)?;
    drop(coming);
    let (mut answers, mut published, until) = (String::new(), true, patience.until());
    for outcome in outcomes {
        let line = match outcome {
            Ok(outcome) => answer(&app, outcome, until).await,
            Err(error) => Err(error),
        };
        match line {
            Ok(answer) => {
                published &= answer.is_published;
                answers.push_str(&answer.json);
            }
            Err(error) => {
                app.metrics.rejected(error.code());
                answers.push_str(&serde_json::json!({ "error": error.problem() }).to_string());
            }
        }
        answers.push('\n');
    }
    let mut response = ([(header::CONTENT_TYPE, NDJSON)], answers).into_response();
    if !published {
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().extend(patience.headers());
    }
    Ok(response)
}

/// The whole body, if its sender may append and is not too fast, it is not too large and comes in time; and what it stands
/// for in memory.
async fn body(
    app: &App,
    request: Request,
    source: Option<Source>,
    limit: usize,
) -> Result<(Bytes, Held), ApiError> {
    let allowed = app.access.append(request.headers(), app.now()?);
    let stated =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    let refused = match allowed.map_err(ApiError::from).and_then(|()| app.count(source)) {
        Ok(()) => stated.filter(|length: &usize| *length > limit).map(|_| ApiError::TooLarge { limit }),
        Err(error) => Some(error),
    };
    if let Some(error) = refused {
        if stated.is_none_or(|length| length <= DRAINED_BYTES_MAX) {
            drain(body).await;
        }
        return Err(error);
    }
    match collect(app, &mut body, limit).await {
        Err(error @ (ApiError::TooLarge { .. } | ApiError::Busy)) => {
            drain(body).await;
            Err(error)
        }
        collected => collected,
    }
}

/// What comes, whole.
async fn collect(app: &App, body: &mut Body, limit: usize) -> Result<(Bytes, Held), ApiError> {
    let (mut collected, mut held) = (BytesMut::new(), Held::default());
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            debug!(%error, "a body did not come");
            ApiError::Body
        })?;
        let Ok(part) = frame.into_data() else { continue };
        let length = first.len() + collected.len() + part.len();
        if length > limit {
            return Err(ApiError::TooLarge { limit });
        }
        // It is copied together once it has several parts: then there is twice as much of it for a moment.
        app.room.hold(&mut held, length)?;
        if first.is_empty() && collected.is_empty() {
            first = part;
            continue;
        }
        collected.extend_from_slice(&std::mem::take(&mut first));
        collected.extend_from_slice(&part);
    }
    Ok((if collected.is_empty() { first } else { collected.freeze() }, held))
}

/// Reads on without keeping anything: a connection with an unread body cannot be used again.
async fn drain(body: Body) {
    let mut body = Limited::new(body, DRAINED_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}

/// Judges an envelope against all that is committed.
async fn admit(app: &App, envelope: &[u8]) -> Result<(Submission, oneshot::Receiver<Outcome>), ApiError> {
    let mut known = None;
    let envelope = Envelope::parse_with(envelope, |key| {
        known = app.keys.find(key);
        known.clone()
    })?;
    let envelope = envelope.verify()?;
    let (id, now) = (envelope.id(), app.now()?);
    let statement = match Statement::parse(&envelope) {
        Ok(statement) => statement,
        Err(error) => {
            let refused = app.log.admission.refused_now(error.into(), now).ok_or(ApiError::Starting)?;
            return Err(app.refuse(id, refused));
        }
    };
    let judged = app.log.admission.judge_new(&app.log, &statement, now).await?;
    let chain = judged.ok_or(ApiError::Starting)?.map_err(|refused| app.refuse(id, refused))?;
    if known.is_none() {
        app.keys.remember(envelope.key().clone());
    }
    spend(app, &envelope, statement.kind(), now).await?;
    let admitted = Admitted::new(envelope, statement, chain);
    let (reply, outcome) = oneshot::channel();
    Ok((Submission { admitted: admitted.into(), reply }, outcome))
}

/// Counts a record against what its key may append, unless the log has it already.
async fn spend(app: &App, envelope: &VerifiedEnvelope, kind: Kind, now: Timestamp) -> Result<(), ApiError> {
    let is_free = kind == Kind::Receipt && !app.issuer_rates.is_limited();
    if is_free || app.log.has(envelope.id()).await? {
        return Ok(());
    }
    app.count_issuer(envelope.key())?;
    if kind == Kind::Receipt {
        return Ok(());
    }
    app.quotas.recall(&app.log, now).await?;
    let registered = app.log.admission.is_registered(envelope.key());
    Ok(app.quotas.spend(envelope.key(), kind, registered, now)?)
}

/// Waits for the sequencer, and for the publication if that is apart, then puts the answer together here, off its thread.
async fn answer(app: &App, outcome: oneshot::Receiver<Outcome>, until: Instant) -> Result<Answer, ApiError> {
    match outcome.await.map_err(|_| ApiError::Unknown)? {
        Outcome::Appended { batch, position } => {
            app.metrics.appended();
            let leaf = &batch.leaves[position];
            let proof = match batch.proof(position) {
                Some((proof, view)) => Some(TlogProof::print(&proof, &view.text)),
                None => proof(app, leaf.index, until).await?,
            };
            let place = Place { index: leaf.index, id: leaf.id, leaf: leaf.hash };
            Ok(place.answer(StatusCode::CREATED, &leaf.item.entry, proof.as_deref()))
        }
        Outcome::Refused { id, refused } => Err(app.refuse(id, *refused)),
        Outcome::NoRoom => Err(ApiError::NoRoom),
        Outcome::Known { index, edge } => known(app, index, &edge, until).await,
    }
}

/// The answer for a record that the log has.
async fn known(app: &App, index: LeafIndex, edge: &Edge, until: Instant) -> Result<Answer, ApiError> {
    let item = app.log.tiles.item(edge, index).await?.ok_or(ReadError::Entry { index })?;
    let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
    let proof = proof(app, index, until).await?;
    let place = Place { index, id: entry.id, leaf: Hash::leaf(&item.entry) };
    Ok(place.answer(StatusCode::OK, &item.entry, proof.as_deref()))
}

/// A record, and where it is.
struct Place {
    index: LeafIndex,
    id: Id,
    leaf: Hash,
}

impl Place {
    fn answer(self, status: StatusCode, entry: &[u8], proof: Option<&str>) -> Answer {
        let Self { index, id, leaf } = self;
        let entry = str::from_utf8(entry).expect("the log's own entries are canonical JSON");
        let mut json = String::with_capacity(512 + entry.len() + proof.map_or(0, str::len));
        write::write_object(&mut json, |answer| {
            answer.integer("index", index.get());
            answer.display("id", id);
            answer.display("leaf", leaf);
            answer.string("entry", entry);
            answer.some("proof", proof, write::ObjectWriter::string);
        });
        Answer { status, id, is_published: proof.is_some(), json }
    }
}

/// Proof that the published tree has a committed entry, once it is published; `None` if that takes too long.
async fn proof(app: &App, index: LeafIndex, until: Instant) -> Result<Option<String>, ApiError> {
    let Some(view) = app.log.published(index, until).await else { return Ok(None) };
    let (_, proof) = app.log.inclusion(&view, index, view.head().size).await?;
    Ok(Some(TlogProof::print(&proof, &view.text)))
}

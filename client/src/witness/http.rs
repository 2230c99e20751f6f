//! A witness's HTTP surface: all routes in one table, all statuses in one match.

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_merkle::{
    Hash,
    evidence::EVIDENCE_BYTES_MAX,
    witness::{Answer, REQUEST_BYTES_MAX, SIZE_MEDIA_TYPE},
};

use super::{
    judge::Refusal,
    metrics::Metrics,
    service::{EvidenceRefusal, Witness},
    slot::View,
};
use crate::serve::{BodyError, Whole};

/// The longest body of any request.
pub const BODY_BYTES_MAX: usize =
    if EVIDENCE_BYTES_MAX > REQUEST_BYTES_MAX { EVIDENCE_BYTES_MAX } else { REQUEST_BYTES_MAX };

/// What handlers share.
pub struct App {
    /// The witness.
    pub witness: Arc<Witness>,
    /// What is counted.
    pub metrics: Metrics,
}

/// The routes, and what holds for all of them.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/evidence", post(add_evidence))
        .route("/{log}/checkpoint", get(checkpoint))
        .route("/{log}/evidence", get(evidence))
        .route("/healthz", get(healthy))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "no such resource\n"))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count_and_harden))
        .with_state(app)
}

/// Counts answers, and forbids browsers to guess at content types.
async fn count_and_harden(
    State(app): State<Arc<App>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    app.metrics.answered(path.as_ref().map_or("none", MatchedPath::as_str), response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// `POST /add-checkpoint`, as C2SP tlog-witness has it.
async fn add_checkpoint(State(app): State<Arc<App>>, Whole(body): Whole) -> Response {
    if body.len() > REQUEST_BYTES_MAX {
        return BodyError::TooLong.into_response();
    }
    match app.witness.add_checkpoint(&body).await {
        Ok(lines) => Answer::format_lines(&lines).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

/// The protocol's table of statuses.
fn refuse(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::NotText | Refusal::Request(_) | Refusal::Malformed(_) | Refusal::OldAboveSize { .. } => {
            StatusCode::BAD_REQUEST
        }
        Refusal::UnknownLog => StatusCode::NOT_FOUND,
        Refusal::Signature(_) | Refusal::Forked { .. } => StatusCode::FORBIDDEN,
        Refusal::Conflict { .. } => StatusCode::CONFLICT,
        Refusal::EmptyRoot | Refusal::OtherRoot | Refusal::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Clock => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Storage => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = (status, format!("{refusal}\n")).into_response();
    match refusal {
        Refusal::Conflict { .. } => {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SIZE_MEDIA_TYPE));
        }
        Refusal::TooMany { retry_after_s } => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        _ => {}
    }
    response
}

/// `POST /evidence`: takes proof, in the format fork-evidence/v1, that a log signed two histories.
async fn add_evidence(State(app): State<Arc<App>>, Whole(body): Whole) -> Response {
    let refusal = match app.witness.add_evidence(&body).await {
        Ok(log) => return format!("proven; kept at /{log}/evidence\n").into_response(),
        Err(refusal) => refusal,
    };
    let status = match &refusal {
        EvidenceRefusal::NotText | EvidenceRefusal::Malformed(_) => StatusCode::BAD_REQUEST,
        EvidenceRefusal::UnknownLog => StatusCode::NOT_FOUND,
        EvidenceRefusal::Unproven(_) => StatusCode::UNPROCESSABLE_ENTITY,
        EvidenceRefusal::Storage => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{refusal}\n")).into_response()
}

/// `GET /<SHA-256 of the origin>/checkpoint`: the newest checkpoint that was cosigned.
async fn checkpoint(State(app): State<Arc<App>>, Path(log): Path<String>) -> Response {
    let newest = find(&app, &log).and_then(|view| view.newest);
    newest.map_or_else(nothing, |newest| newest.checkpoint.to_string().into_response())
}

/// `GET /<SHA-256 of the origin>/evidence`: proof that the log signed two histories, if there is any.
async fn evidence(State(app): State<Arc<App>>, Path(log): Path<String>) -> Response {
    let evidence = find(&app, &log).and_then(|view| view.evidence);
    evidence.map_or_else(nothing, |evidence| evidence.to_string().into_response())
}

fn find(app: &App, log: &str) -> Option<View> {
    let id: Hash = log.parse().ok()?;
    Some(app.witness.slot(id)?.view())
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "nothing of that log\n").into_response()
}

/// `GET /healthz`: whether every log can be served. If not, a restart is needed.
async fn healthy(State(app): State<Arc<App>>) -> Response {
    let lost = app.witness.slots().iter().filter(|slot| slot.view().lost).count();
    if lost == 0 {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("the state of {lost} logs could not be stored; restart\n"))
        .into_response()
}

/// `GET /metrics`: for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.print(&app.witness);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

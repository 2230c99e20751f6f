//! What a monitor shows: how it stands, what is counted, what it knows of each log, and the logs' files as it kept them.
//!
//! Nobody is asked who they are, so nothing here changes what the monitor believes, and everything is bounded: requests by
//! the listener, what they leave behind by [`crate::hearsay`].

mod gossip;
mod mirror;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, Request, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_merkle::{Hash, evidence::EVIDENCE_JSON_BYTES_MAX};
use counterfoil_receipt::Timestamp;

use super::Watched;
use crate::{
    alert::{Alerts, Metrics},
    hearsay::path_name,
    serve::Limits,
};

/// What the pages are made from.
#[derive(Clone)]
pub struct View {
    /// The logs.
    pub logs: Vec<Arc<Watched>>,
    /// The alerts, if they are kept.
    pub alerts: Option<Arc<Alerts>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The sinks: their names, and how they are told.
    pub sinks: Vec<(String, &'static str)>,
}

/// What handlers share.
struct App {
    view: View,
    started: Timestamp,
    now: fn() -> Timestamp,
}

impl App {
    /// The log that a path names by the SHA-256 of its origin.
    fn log(&self, name: &str) -> Result<&Arc<Watched>, Refusal> {
        let name: Hash = name.parse().map_err(|_| Refusal::UnknownLog)?;
        let log = self.view.logs.iter().find(|log| path_name(&log.known.key) == name);
        log.ok_or(Refusal::UnknownLog)
    }

    /// The log with that origin.
    fn log_of(&self, origin: &str) -> Result<&Arc<Watched>, Refusal> {
        self.view.logs.iter().find(|log| log.origin() == origin).ok_or(Refusal::UnknownLog)
    }
}

/// What a peer may take: the longest request is evidence.
pub fn limits() -> Limits {
    Limits { connections_max: 256, body_bytes_max: EVIDENCE_JSON_BYTES_MAX, ..Limits::default() }
}

/// All routes.
pub fn router(view: View, now: fn() -> Timestamp) -> Router {
    let app = Arc::new(App { view, started: now(), now });
    Router::new()
        .route("/", get(status::page))
        .route("/status.json", get(status::document))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/v1/gossip", post(gossip::hear))
        .route("/v1/gossip/{log}", get(gossip::newest))
        .route("/v1/evidence", post(gossip::hear_evidence))
        .route("/mirror/{log}/{*path}", get(mirror::file))
        .fallback(async || Refusal::NoRoute)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(middleware::from_fn(harden))
        .with_state(app)
}

/// Forbids browsers to guess at content types, and to run or fetch anything for a page.
async fn harden(request: Request<axum::body::Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// `GET /metrics`: for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let logs: Vec<_> = app.view.logs.iter().map(|log| (log.origin().to_owned(), log.progress())).collect();
    let alerts = app.view.alerts.as_ref();
    let open = alerts.map(|alerts| alerts.open_counts()).unwrap_or_default();
    let standings = alerts.map(|alerts| alerts.standings()).unwrap_or_default();
    let (bytes, _) = alerts.map(|alerts| alerts.space()).unwrap_or_default();
    let logs = logs.iter().map(|(origin, progress)| (origin.as_str(), *progress));
    let text = app.view.metrics.print(logs, &open, &standings, bytes);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("nothing is here")]
    NoRoute,
    #[error("not with this method")]
    Method,
    #[error("this monitor does not watch that log")]
    UnknownLog,
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    NotSigned(String),
    #[error("{0}")]
    NotProven(String),
    #[error("there is none yet")]
    NotYet,
    #[error("the monitor does not keep this")]
    NotKept,
    #[error("the log is not being watched now")]
    Lost,
    #[error("the monitor cannot tell")]
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoRoute | Self::UnknownLog | Self::NotYet | Self::NotKept => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotSigned(_) => StatusCode::FORBIDDEN,
            Self::NotProven(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Lost => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests;

//! The HTTP surface: all routes in one table, and what handlers share.

pub mod error;
pub mod read;
pub mod serve;
pub mod submit;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_receipt::{Timestamp, admission::Admission};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer, timeout::RequestBodyTimeoutLayer};

use self::error::ApiError;
use crate::{
    clock::wall_now,
    config::Limits,
    log::{Log, Status},
    metrics::Metrics,
    publish::View,
};

/// What handlers share.
pub struct App {
    /// The log.
    pub log: Arc<Log>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is refused.
    pub limits: Limits,
    admission: RwLock<Arc<Admission>>,
}

impl App {
    /// The shared state of a log's handlers.
    pub const fn new(log: Arc<Log>, metrics: Arc<Metrics>, limits: Limits, admission: Arc<Admission>) -> Self {
        Self { log, metrics, limits, admission: RwLock::new(admission) }
    }

    /// Who may append.
    pub fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes who may append.
    pub fn set_admission(&self, admission: Admission) {
        *self.admission.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(admission);
    }

    fn view(&self) -> Result<Arc<View>, ApiError> {
        self.log.view().ok_or(ApiError::Starting)
    }

    /// The present time, for judging an issuer's validity. The sequencer's own clock dates entries.
    fn now(&self) -> Result<Timestamp, ApiError> {
        wall_now().map_err(|_| ApiError::Stopped)
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    // Bundles are worth compressing; hash tiles are random bytes.
    let compressed = Router::new()
        .route("/tile/entries/{*path}", get(read::entries))
        .route("/statement/{*path}", get(read::statements))
        .layer(CompressionLayer::new().gzip(true));
    Router::new()
        .route("/v1/receipts", post(submit::one))
        .route("/v1/receipts/batch", post(submit::batch))
        .route("/v1/receipts/{id}", get(read::by_id))
        .route("/v1/entries/{index}", get(read::by_index))
        .route("/v1/leaves/{leaf}", get(read::by_leaf))
        .route("/v1/proofs/inclusion", get(read::inclusion))
        .route("/v1/proofs/consistency", get(read::consistency))
        .route("/checkpoint", get(read::checkpoint))
        .route("/tile/{level}/{*path}", get(read::tile))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(compressed)
        .fallback(|| async { ApiError::NoRoute })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count_and_harden))
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(app.limits.body_timeout_s)))
        .layer(CatchPanicLayer::custom(|_| ApiError::Panicked.into_response()))
        .with_state(app)
}

/// Counts what is refused, and forbids browsers to guess at content types.
async fn count_and_harden(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(error::Code(code)) = response.extensions().get::<error::Code>().copied() {
        app.metrics.rejected(code);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `GET /healthz`: the process answers.
async fn healthy() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the log takes receipts.
async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    match app.log.status() {
        Status::Writing => Ok("ready\n"),
        Status::Starting => Err(ApiError::Starting),
        Status::Stopped { .. } => Err(ApiError::Stopped),
    }
}

/// `GET /metrics`: for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.metrics.print(&app.log, app.now()?);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

//! The HTTP surface: all routes in one table, and what handlers share.

mod clocks;
pub mod error;
pub mod openapi;
mod parameter;
mod prefer;
pub mod read;
pub mod serve;
pub mod submit;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, on},
};
use counterfoil_receipt::{Id, Timestamp};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, timeout::RequestBodyTimeoutLayer,
};

use self::error::ApiError;
use crate::{
    admission::{Refusals, RefusedAt},
    clock::wall_now,
    config::{Config, Limits},
    keys::Keys,
    log::{Log, Status},
    metrics::Metrics,
    publish::View,
    quota::{Quota, Quotas},
};

/// What handlers share.
pub struct App {
    /// The log.
    pub log: Arc<Log>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is refused.
    pub limits: Limits,
    /// How long an append waits for its publication.
    pub append_wait: Duration,
    /// Issuers' keys that were read before.
    pub keys: Keys,
    /// How much keys have appended of late.
    pub quotas: Quotas,
    refusals: Option<Refusals>,
}

impl App {
    /// The shared state of a log's handlers.
    pub fn new(log: Arc<Log>, metrics: Arc<Metrics>, config: &Config, refusals: Option<Refusals>) -> Self {
        let wait_s = config.witnesses.as_ref().map_or(0, |witnesses| witnesses.append_wait_s);
        Self {
            log,
            metrics,
            limits: config.limits.clone(),
            append_wait: Duration::from_secs(wait_s),
            keys: Keys::default(),
            quotas: Quotas::new(Quota {
                disputes: config.limits.disputes_per_key_max,
                records: config.limits.records_per_key_max,
            }),
            refusals,
        }
    }

    /// What the author of a refused record is told.
    pub fn refuse(&self, id: Id, refused: RefusedAt) -> ApiError {
        let speaks = |refusals: &&Refusals| self.log.admission.is_operator(refusals.key.public());
        let signed = self.refusals.as_ref().filter(speaks).and_then(|refusals| refusals.sign(id, &refused));
        ApiError::Refused { reason: Box::new(refused.refused), signed }
    }

    fn view(&self) -> Result<Arc<View>, ApiError> {
        self.log.view().ok_or(ApiError::Starting)
    }

    /// The present time, for judging what comes. The sequencer's own clock dates entries.
    fn now(&self) -> Result<Timestamp, ApiError> {
        wall_now().map_err(|_| ApiError::Stopped)
    }
}

/// One line of the table: a method on a path, and who answers.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "what openapi.json is held against"))]
    method: Method,
    path: &'static str,
    handler: MethodRouter<Arc<App>>,
}

/// All routes. `openapi.json` describes each of them.
fn routes() -> Vec<Route> {
    vec![
        post("/v1/receipts", submit::one),
        post("/v1/receipts/batch", submit::batch),
        get("/v1/receipts/{id}", read::by_id),
        get("/v1/entries/{index}", read::by_index),
        get("/v1/leaves/{leaf}", read::by_leaf),
        get("/v1/proofs/inclusion", read::inclusion),
        get("/v1/proofs/consistency", read::consistency),
        get("/v1/clocks", clocks::around),
        get("/checkpoint", read::checkpoint),
        get("/tile/{level}/{*path}", read::tile),
        // Bundles are worth compressing; hash tiles are random bytes.
        get("/tile/entries/{*path}", read::entries).compressed(),
        get("/statement/{*path}", read::statements).compressed(),
        get("/openapi.json", openapi::document),
        get("/healthz", healthy),
        get("/readyz", ready),
        get("/metrics", metrics),
    ]
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route::new(Method::GET, path, handler)
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route::new(Method::POST, path, handler)
}

impl Route {
    fn new<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        let filter = method.clone().try_into().expect("GET and POST have a filter");
        Self { method, path, handler: on(filter, handler) }
    }

    fn compressed(self) -> Self {
        Self { handler: self.handler.layer(CompressionLayer::new().gzip(true)), ..self }
    }
}

/// The routes, and what holds for all of them.
pub fn router(app: Arc<App>) -> Router {
    let table = routes().into_iter();
    table
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(|| async { ApiError::NoRoute })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(CatchPanicLayer::custom(|_| ApiError::Panicked.into_response()))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count_and_harden))
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(app.limits.body_timeout_s)))
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

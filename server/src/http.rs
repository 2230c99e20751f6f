//! The HTTP surface: all routes in one table, and what handlers share.

pub mod access;
mod body;
mod clocks;
mod connections;
pub mod error;
pub mod front;
mod history;
mod issuers;
pub mod openapi;
mod overdue;
mod parameter;
mod prefer;
pub mod read;
pub(crate) mod request_id;
mod room;
mod search;
pub mod serve;
mod stall;
pub mod submit;
pub mod surface;
pub mod tls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderName, Method, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, on},
};
use counterfoil_receipt::{Id, PublicKey, Timestamp};
use tower_http::compression::CompressionLayer;

use self::{access::Access, error::ApiError, request_id::RequestIds, room::Room, serve::Peer};
use crate::{
    admission::{Refusals, RefusedAt},
    clock::wall_now,
    config::{Config, Limits},
    keys::Keys,
    log::{Log, Status},
    metrics::Metrics,
    network::{self, Network, Source},
    publish::View,
    queue::{Submission, SubmitError},
    quota::{Quota, Quotas},
    rates::{Buckets, TooFast},
    search::follow::Indexed,
};

/// Where receipts are appended, one at a time.
const RECEIPTS: &str = "/v1/receipts";

/// Where inclusion proofs are asked for.
const INCLUSION: &str = "/v1/proofs/inclusion";

/// Where proxies say who asked them.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What handlers share.
pub struct App {
    /// The log.
    pub log: Arc<Log>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may do what by showing a token.
    pub access: Arc<Access>,
    /// What is refused.
    pub limits: Limits,
    /// How long an append waits for its publication.
    pub append_wait: Duration,
    /// Issuers' keys that were read before.
    pub keys: Keys,
    /// How much keys have appended of late.
    pub quotas: Quotas,
    /// Memory for what is large and on its way.
    room: Room,
    /// How fast addresses send of late, and issuers append.
    address_rates: Buckets<Source>,
    issuer_rates: Buckets<PublicKey>,
    proxies: Vec<Network>,
    /// What searches are answered from; none if the configuration wants none.
    pub indexed: Option<Arc<Indexed>>,
    refusals: Option<Refusals>,
    request_ids: RequestIds,
}

impl App {
    /// The shared state of a log's handlers.
    pub fn new(
        log: Arc<Log>,
        metrics: Arc<Metrics>,
        config: &Config,
        access: Arc<Access>,
        refusals: Option<Refusals>,
        indexed: Option<Arc<Indexed>>,
    ) -> Self {
        let wait_s = config.witnesses.as_ref().map_or(0, |witnesses| witnesses.append_wait_s);
        Self {
            log,
            metrics,
            access,
            limits: config.limits.clone(),
            append_wait: Duration::from_secs(wait_s),
            keys: Keys::default(),
            quotas: Quotas::new(Quota {
                disputes: config.limits.disputes_per_key_max,
                records: config.limits.records_per_key_max,
            }),
            room: Room::new(config.limits.large_bytes_max),
            address_rates: Buckets::new(config.rates.per_address, config.rates.address_burst),
            issuer_rates: Buckets::new(config.rates.per_issuer, config.rates.issuer_burst),
            proxies: config.proxies.clone(),
            indexed,
            refusals,
            request_ids: RequestIds::new(),
        }
    }

    /// What the author of a refused record is told.
    pub fn refuse(&self, id: Id, refused: RefusedAt) -> ApiError {
        let speaks = |refusals: &&Refusals| self.log.admission.is_operator(refusals.key.public());
        let signed = self.refusals.as_ref().filter(speaks).and_then(|refusals| refusals.sign(id, &refused));
        ApiError::Refused { reason: Box::new(refused.refused), signed }
    }

    /// Hands admitted records over to the sequencer, all or none.
    fn submit(&self, submissions: Vec<Submission>) -> Result<(), ApiError> {
        self.log.queue.submit(submissions).map_err(|error| match (error, self.log.status()) {
            (SubmitError::Full, _) => ApiError::Full,
            (SubmitError::Closed, Status::NoRoom) => ApiError::NoRoom,
            (SubmitError::Closed, _) => ApiError::Stopped,
        })
    }

    /// Counts one for the address that a request comes from.
    fn count(&self, source: Option<Source>) -> Result<(), ApiError> {
        let Some(source) = source else { return Ok(()) };
        let spent = self.address_rates.spend(source, Instant::now());
        spent.map_err(|TooFast { wait_s }| ApiError::TooFast { who: "this address", wait_s })
    }

    /// Counts so many more, which were let in with that one.
    fn count_more(&self, source: Option<Source>, count: usize) {
        if let Some(source) = source {
            self.address_rates.owe(source, u32::try_from(count).unwrap_or(u32::MAX), Instant::now());
        }
    }

    /// Counts one record of an issuer.
    fn count_issuer(&self, key: &PublicKey) -> Result<(), ApiError> {
        let spent = self.issuer_rates.spend(key.clone(), Instant::now());
        spent.map_err(|TooFast { wait_s }| ApiError::TooFast { who: "this issuer", wait_s })
    }

    /// Where a request comes from, if that is counted.
    fn source(&self, request: &Request) -> Option<Source> {
        if !self.address_rates.is_limited() {
            return None;
        }
        let Peer(peer) = *request.extensions().get()?;
        // A value that is no text is no address either.
        let forwarded =
            request.headers().get_all(X_FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or("?"));
        Some(Source::of(network::client(peer, forwarded, &self.proxies)))
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
    is_compressed: bool,
    /// Whether no answer can be so large that its memory counts.
    is_small: bool,
    audience: Audience,
}

/// Whom a route is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Those who write to the log, or read it.
    Public,
    /// Those who operate it.
    Operators,
    /// Both.
    All,
}

/// Which of the routes are served at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    Whole,
    /// Those that are not for operators alone.
    Public,
    /// Those that are for operators.
    Admin,
}

impl Part {
    const fn has(self, audience: Audience) -> bool {
        match self {
            Self::Whole => true,
            Self::Public => !matches!(audience, Audience::Operators),
            Self::Admin => !matches!(audience, Audience::Public),
        }
    }
}

/// All routes. `openapi.json` describes each of them.
fn routes() -> Vec<Route> {
    vec![
        post(RECEIPTS, submit::one).small(),
        post("/v1/receipts/batch", submit::batch),
        get("/v1/receipts", search::search),
        get("/v1/receipts/{id}", read::by_id),
        get("/v1/receipts/{id}/history", history::history),
        get("/v1/issuers/{key}", issuers::issuer),
        get("/v1/overdue", overdue::overdue),
        get("/v1/entries/{index}", read::by_index),
        get("/v1/leaves/{leaf}", read::by_leaf),
        get(INCLUSION, read::inclusion).small(),
        get("/v1/proofs/consistency", read::consistency).small(),
        get("/v1/clocks", clocks::around),
        get("/checkpoint", read::checkpoint).small(),
        get("/tile/{level}/{*path}", read::tile).small(),
        // Bundles are worth compressing; hash tiles are random bytes.
        get("/tile/entries/{*path}", read::entries).compressed(),
        get("/statement/{*path}", read::statements).compressed(),
        get("/openapi.json", openapi::document),
        get("/healthz", healthy).of(Audience::All),
        get("/readyz", ready).of(Audience::All),
        get("/metrics", metrics).of(Audience::Operators),
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
        Self {
            method,
            path,
            handler: on(filter, handler),
            is_compressed: false,
            is_small: false,
            audience: Audience::Public,
        }
    }

    fn of(self, audience: Audience) -> Self {
        Self { audience, ..self }
    }

    fn compressed(self) -> Self {
        Self { is_compressed: true, ..self }
    }

    fn small(self) -> Self {
        Self { is_small: true, ..self }
    }

    /// What answers: an answer stands for its memory until it is sent, compressed or not.
    fn within(self, app: &Arc<App>) -> MethodRouter<Arc<App>> {
        if self.is_small {
            return self.handler;
        }
        let handler = self.handler.layer(middleware::from_fn_with_state(Arc::clone(app), hold_room));
        if self.is_compressed { handler.layer(CompressionLayer::new().gzip(true)) } else { handler }
    }
}

/// The routes of one address. What else holds for all of them is up to [`front::Front`].
fn router(app: &Arc<App>, part: Part) -> Router {
    let table = routes().into_iter().filter(|route| part.has(route.audience));
    table
        .fold(Router::new(), |router, route| router.route(route.path, route.within(app)))
        .fallback(|| async { ApiError::NoRoute })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .with_state(Arc::clone(app))
}

/// Large answers take their share of what memory there is for them.
async fn hold_room(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (parts, body) = next.run(request).await.into_parts();
    Ok(Response::from_parts(parts, app.room.sending(body)?))
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
        Status::NoRoom => Err(ApiError::NoRoom),
        Status::Stopped { .. } => Err(ApiError::Stopped),
    }
}

/// `GET /metrics`: for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.metrics.print(&app.log, app.now()?);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

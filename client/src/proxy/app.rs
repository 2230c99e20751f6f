//! One proxy: what all its exchanges share, and where each request goes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use counterfoil_receipt::{Timestamp, statement::receipt::Claimed};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::HeaderName};
use tokio::sync::watch;

use super::{
    answer,
    bodies::Bodies,
    budget::Budget,
    config::Mode,
    exchange,
    live::Live,
    lookup,
    metrics::{Metrics, Standing},
    pass,
    promise::Promises,
    recorder::Policy,
    relay::ResponseBody,
    routes::{self, Route, Routes},
    spool::Spool,
    upstream::Upstream,
};

/// Everything that exchanges share.
#[derive(Debug)]
pub struct Proxy {
    /// Which requests go where.
    pub routes: Routes,
    /// The services behind the proxy, in the order of the routes.
    pub services: Vec<Service>,
    /// Under what terms receipts are made.
    pub policy: Policy,
    /// Whether an answer goes out without its receipt.
    pub mode: Mode,
    /// What is promised of receipts, if anything is.
    pub promises: Option<Promises>,
    /// Whether streams end with a comment that names the receipt.
    pub stream_comment: bool,
    /// The headers that carry credentials.
    pub credential_headers: Vec<HeaderName>,
    /// How long an exchange can be fetched, in milliseconds.
    pub keep_ms: u64,
    /// After which statuses another attempt is made, and how often at one upstream.
    pub retry: Retry,
    /// How long things may take, and how long they may be.
    pub bounds: Bounds,
    /// The spool.
    pub spool: Spool,
    /// Where bodies are kept, if they are.
    pub bodies: Option<Bodies>,
    /// What is held of all exchanges.
    pub memory: Budget,
    /// The exchanges under way.
    pub live: Live,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Becomes true when exchanges under way are to be broken off.
    pub stop: watch::Receiver<bool>,
}

/// A service behind the proxy.
#[derive(Clone, Debug)]
pub struct Service {
    /// Connections to it.
    pub upstream: Upstream,
    /// The paths that go to it.
    pub route: Route,
    /// The model as the operator says it is.
    pub claimed: Option<Claimed>,
    /// Which services are tried when it does not answer.
    pub fallback: Vec<usize>,
}

/// When another attempt is made.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How often at the same upstream.
    pub attempts: usize,
    /// After which statuses.
    pub statuses: Vec<u16>,
}

/// How long things may take, and how long they may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a request.
    pub request_bytes: usize,
    /// Between two parts of a body.
    pub idle: Duration,
    /// Until an answer begins.
    pub answer: Duration,
    /// A whole exchange.
    pub exchange: Duration,
}

impl Proxy {
    /// Answers one request.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        let path = request.uri().path();
        if let Some(own) = path.strip_prefix("/counterfoil/") {
            return self.own(&request, own).await;
        }
        let call = routes::call(request.method().as_str(), path);
        let Some(call) = call.filter(|_| self.routes.any(path)) else {
            return pass::pass(&self, request).await;
        };
        exchange::begin(self, call, request).await
    }

    /// What is asked of the proxy itself. Nothing below `/counterfoil/` goes to an upstream.
    async fn own(&self, request: &Request<Incoming>, path: &str) -> Response<ResponseBody> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return answer::problem(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
        }
        match path.strip_prefix("v1/exchanges/") {
            Some(exchange) => lookup::exchange(self, exchange, request.headers()).await,
            None if path == "healthz" => answer::health(self.is_well()),
            None => answer::problem(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    /// Whether receipts can be made to last.
    pub fn is_well(&self) -> bool {
        self.spool.reserve(exchange::ROOM_BYTES).is_some()
    }

    /// How things stand, as metrics.
    pub fn print_metrics(&self) -> String {
        self.metrics.print(Standing {
            under_way: self.live.count(),
            held_bytes: self.memory.held(),
            spool: self.spool.status(),
        })
    }
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(millis).unwrap_or_else(|| Timestamp::from_millis(0).expect("0 is a time"))
}

/// Draws random bytes; a failure is remembered, and what was drawn must then not be used.
#[derive(Debug, Default)]
pub struct Entropy {
    failed: Option<getrandom::Error>,
}

impl Entropy {
    /// Fills a slice.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.failed = self.failed.take().or(getrandom::fill(bytes).err());
    }

    /// Whether all that was drawn is random.
    pub fn check(self) -> Result<(), getrandom::Error> {
        self.failed.map_or(Ok(()), Err)
    }
}

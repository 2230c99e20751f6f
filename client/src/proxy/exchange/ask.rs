//! The upstreams are asked, one after another, until one answers.

use bytes::Bytes;
use counterfoil_receipt::{exchange::End, json::Value, statement::groups::Attempt};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, http::request::Parts};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{Exchange, NoAnswer};
use crate::proxy::{
    app::{Service, now},
    decode, headers, relay,
};

/// How deeply a request may nest whose model is looked for.
const DEPTH_MAX: usize = 64;

const GONE: NoAnswer =
    NoAnswer { status: None, end: End::ClientGone, reason: "gone", detail: "the caller has left" };

const STOPPED: NoAnswer = NoAnswer {
    status: Some(StatusCode::SERVICE_UNAVAILABLE),
    end: End::ProxyFailed,
    reason: "stopping",
    detail: "the proxy is stopping",
};

const NO_ROUTE: NoAnswer = NoAnswer {
    status: Some(StatusCode::NOT_FOUND),
    end: End::ProxyFailed,
    reason: "no-route",
    detail: "no upstream takes this model at this path",
};

const NO_CONNECTION: NoAnswer = NoAnswer {
    status: Some(StatusCode::BAD_GATEWAY),
    end: End::UpstreamGone,
    reason: "upstream-gone",
    detail: "the upstream gave no answer",
};

const TOO_LATE: NoAnswer = NoAnswer {
    status: Some(StatusCode::GATEWAY_TIMEOUT),
    end: End::Timeout,
    reason: "upstream-slow",
    detail: "the upstream gave no answer in time",
};

impl Exchange {
    /// Asks upstreams until one answers with something that is not to be tried again.
    pub(super) async fn ask(&mut self, parts: &Parts, asked: &Bytes) -> Result<Response<Incoming>, NoAnswer> {
        let since = Instant::now();
        let path = parts.uri.path();
        let Some(first) = self.find(parts, asked) else { return Err(NO_ROUTE) };
        let plan = self.plan(first);
        let proxy = std::sync::Arc::clone(&self.proxy);
        let rest = proxy.services.get(first).and_then(|service| service.route.rest(path)).unwrap_or(path);
        let mut failed = NO_ROUTE;
        self.added += since.elapsed();
        for (tried, service) in plan.iter().enumerate() {
            let Some(service) = proxy.services.get(*service) else { continue };
            let since = Instant::now();
            let Some(uri) = service.upstream.uri(rest, parts.uri.query()) else { return Err(NO_ROUTE) };
            let request = request(parts, asked, uri, service);
            self.added += since.elapsed();
            let started = now();
            let answer = self.one(service, request).await;
            let status = answer.as_ref().ok().map(|response| response.status().as_u16());
            let again = tried + 1 < plan.len() && status.is_none_or(|it| proxy.retry.statuses.contains(&it));
            self.recorder.tried(Attempt {
                upstream: service.upstream.base.authority.to_string(),
                model: None,
                status: status.filter(|status| (100..600).contains(status)),
                started: Some(started),
                ended: Some(now()),
            });
            let result = match &answer {
                Ok(_) if again => "tried-again",
                Ok(_) => "answer",
                Err(none) => none.reason,
            };
            proxy.metrics.tried(&service.upstream.name, result);
            self.claimed.clone_from(&service.claimed);
            match answer {
                Ok(response) if !again => return Ok(response),
                Ok(_) => {}
                Err(none) if matches!(none.end, End::ClientGone | End::ProxyFailed) => return Err(none),
                Err(none) => failed = none,
            }
        }
        Err(failed)
    }

    /// Sends one request and waits for the head of its answer.
    async fn one(
        &mut self,
        service: &Service,
        request: Request<relay::RequestBody>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let mut stop = self.proxy.stop.clone();
        let Some(head) = self.head.as_mut() else { return Err(GONE) };
        let sent = timeout(self.proxy.bounds.answer, service.upstream.send(request));
        tokio::select! {
            sent = sent => match sent {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) => {
                    debug!(error = &error as &dyn std::error::Error, upstream = service.upstream.name, "no answer");
                    Err(NO_CONNECTION)
                }
                Err(_) => Err(TOO_LATE),
            },
            () = head.closed() => Err(GONE),
            _ = stop.wait_for(|stop| *stop) => Err(STOPPED),
        }
    }

    /// The service that takes the request, by its path and, if that matters, its model.
    fn find(&self, parts: &Parts, asked: &Bytes) -> Option<usize> {
        let (routes, path) = (&self.proxy.routes, parts.uri.path());
        if !routes.ask_for_model(path) {
            return routes.find(path, None);
        }
        let asked = decode::whole(&parts.headers, asked, self.proxy.bounds.request_bytes)?;
        let value = Value::parse_within(&asked, DEPTH_MAX).ok();
        routes.find(path, value.as_ref().and_then(|value| value.member("model")?.text()))
    }

    /// Which services are asked, in order: the first and its fallbacks, each as often as is configured.
    fn plan(&self, first: usize) -> Vec<usize> {
        let fallback = self.proxy.services.get(first).map_or(&[][..], |service| &service.fallback);
        let order = std::iter::once(&first).chain(fallback);
        order.flat_map(|&service| std::iter::repeat_n(service, 1 + self.proxy.retry.attempts)).collect()
    }
}

/// The request as an upstream gets it.
fn request(parts: &Parts, asked: &Bytes, uri: Uri, service: &Service) -> Request<relay::RequestBody> {
    let mut request = Request::new(relay::whole(asked.clone()));
    request.method_mut().clone_from(&parts.method);
    *request.uri_mut() = uri;
    *request.headers_mut() = headers::to_upstream(&parts.headers, service.upstream.host());
    // How the headers were written: upper and lower case.
    request.extensions_mut().clone_from(&parts.extensions);
    request
}

//! Requests that call no model: they pass untouched and unlogged, upgrades included.

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::debug;

use super::{
    answer::problem,
    app::Proxy,
    headers,
    relay::{self, ResponseBody},
};

/// Passes a request on, and its answer back.
pub(super) async fn pass(proxy: &Proxy, mut request: Request<Incoming>) -> Response<ResponseBody> {
    let path = request.uri().path();
    let found = proxy.routes.find(path, None).and_then(|index| proxy.services.get(index));
    let address = found.and_then(|service| {
        let rest = service.route.rest(path)?;
        Some((service, service.upstream.uri(rest, request.uri().query())?))
    });
    let Some((service, uri)) = address else {
        proxy.metrics.refused("no-route");
        return problem(StatusCode::NOT_FOUND, "no upstream takes this path");
    };
    proxy.metrics.passed();
    let upgrade = headers::upgrade(request.headers()).cloned();
    let callers_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    parts.headers = headers::to_upstream(&parts.headers, service.upstream.host());
    add_upgrade(&mut parts.headers, upgrade);
    parts.uri = uri;
    let sent = service.upstream.send(Request::from_parts(parts, relay::passing(body)));
    let mut response = match timeout(proxy.bounds.answer, sent).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            debug!(%error, upstream = service.upstream.name, "no answer");
            proxy.metrics.refused("upstream-gone");
            return problem(StatusCode::BAD_GATEWAY, "the upstream gave no answer");
        }
        Err(_) => {
            proxy.metrics.refused("upstream-slow");
            return problem(StatusCode::GATEWAY_TIMEOUT, "the upstream gave no answer in time");
        }
    };
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = headers::upgrade(response.headers()).filter(|_| is_switching).cloned();
    if let Some(callers_side) = callers_side.filter(|_| is_switching) {
        tokio::spawn(tunnel(callers_side, hyper::upgrade::on(&mut response)));
    }
    let (mut parts, body) = response.into_parts();
    parts.headers = headers::to_caller(&parts.headers);
    add_upgrade(&mut parts.headers, upgrade);
    Response::from_parts(parts, ResponseBody::Passing(body))
}

fn add_upgrade(headers: &mut header::HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
}

/// Carries bytes both ways until both sides have ended.
async fn tunnel(caller: OnUpgrade, upstream: OnUpgrade) {
    let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else { return };
    let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
    // How a connection ends that the proxy knows nothing of is nothing to report.
    let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
}

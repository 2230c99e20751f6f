//! The request, read whole: it may have to be sent more than once, and its model decides where.

use bytes::{Bytes, BytesMut};
use counterfoil_receipt::exchange::End;
use http_body_util::BodyExt as _;
use hyper::{
    StatusCode,
    body::{Body as _, Incoming},
};
use tokio::time::{Instant, timeout_at};

use super::{Exchange, NoAnswer};

const TOO_LONG: NoAnswer = NoAnswer {
    status: Some(StatusCode::PAYLOAD_TOO_LARGE),
    end: End::ProxyFailed,
    reason: "too-long",
    detail: "the request is longer than the proxy takes",
};

const TOO_SLOW: NoAnswer = NoAnswer {
    status: Some(StatusCode::REQUEST_TIMEOUT),
    end: End::ClientGone,
    reason: "too-slow",
    detail: "the request did not come in time",
};

const BROKEN: NoAnswer =
    NoAnswer { status: None, end: End::ClientGone, reason: "gone", detail: "the request broke off" };

const NO_MEMORY: NoAnswer = NoAnswer {
    status: Some(StatusCode::SERVICE_UNAVAILABLE),
    end: End::ProxyFailed,
    reason: "no-memory",
    detail: "too much is held for other exchanges",
};

impl Exchange {
    /// Reads the request's body, and records it as it comes.
    pub(super) async fn read(&mut self, mut body: Incoming) -> Result<Bytes, NoAnswer> {
        let bounds = self.proxy.bounds;
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > bounds.request_bytes {
            return Err(TOO_LONG);
        }
        if !self.share.resize(declared) {
            return Err(NO_MEMORY);
        }
        let mut asked = BytesMut::new();
        loop {
            let latest = self.deadline.min(Instant::now() + bounds.idle);
            let frame = match timeout_at(latest, body.frame()).await {
                Ok(None) => return Ok(asked.freeze()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(BROKEN),
                Err(_) => return Err(TOO_SLOW),
            };
            // Trailers of a request say nothing that a model's service reads.
            let Ok(data) = frame.into_data() else { continue };
            self.recorder.asked(&data);
            if asked.len() + data.len() > bounds.request_bytes {
                return Err(TOO_LONG);
            }
            if asked.len() + data.len() > declared && !self.share.resize(asked.len() + data.len()) {
                return Err(NO_MEMORY);
            }
            if let Some(kept) = self.bodies() {
                kept.asked(data.clone()).await;
            }
            if asked.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            asked.extend_from_slice(&data);
        }
    }
}

//! Answers that the proxy gives itself.

use bytes::Bytes;
use hyper::{Response, StatusCode, header, header::HeaderValue};
use serde_json::json;

use super::relay::ResponseBody;

/// How long to wait before asking again, in seconds, when there is no room now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A problem (RFC 9457).
pub fn problem(status: StatusCode, detail: &str) -> Response<ResponseBody> {
    problem_bytes(status, detail).map(ResponseBody::own)
}

/// As [`problem`], for whoever wants to see the body.
pub fn problem_bytes(status: StatusCode, detail: &str) -> Response<Bytes> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail }).to_string();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// JSON that nobody is to keep.
pub fn json(status: StatusCode, body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether receipts can be made to last.
pub fn health(is_well: bool) -> Response<ResponseBody> {
    let (status, text) =
        if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "no receipts\n") };
    let mut response = Response::new(ResponseBody::own(text));
    *response.status_mut() = status;
    response
}

//! Requests to a log, in this process and without a socket: what hyper would hand over, whoever sent it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderValue, Request, StatusCode, header},
};
use counterfoil_client::proxy::decode::whole;
use counterfoil_merkle::{bundle::BUNDLE_BYTES_MAX, key::VerifierKey};
use counterfoil_receipt::VerifiedEnvelope;
use counterfoil_server::{
    http::{Part, front::Front, surface::Surface},
    log::{Log, Status},
    run::start,
};
use serde_json::Value;

use super::vectors;
use crate::{audit::check_answer, inside::new_log, until};

/// A log takes no more of the fuzzer's records than this.
const APPENDED_MAX: u64 = 5_000;

/// A log that runs in this process as long as that does. What it wrote is left in the directory for temporary files.
struct Served {
    log: Arc<Log>,
    key: VerifierKey,
    front: Front,
    runtime: tokio::runtime::Runtime,
    /// Requests go one at a time, so that what each of them changed can be told.
    turn: Mutex<()>,
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let home = tempfile::Builder::new().prefix("counterfoil-laws").tempdir().expect("a directory").keep();
        let config = new_log(vectors::LOG, &home.join("log"), &home.join("guard/guard"));
        let surface = Surface::read(&config).expect("no tokens, no certificate");
        let mut started = start(&config, false).expect("it starts");
        let (log, app) = (Arc::clone(&started.log), started.app(&config, &surface));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let front = Front::new(app, Part::Whole);
        let searched = || {
            let ask = Request::get("/v1/receipts?kind=rules").body(Body::empty()).expect("a request");
            runtime.block_on(front.clone().answer(ask)).status().is_success()
        };
        until(|| log.status() == Status::Writing && searched(), "the log takes records and is indexed");
        // Its threads run on; nobody ends them.
        std::mem::forget(started);
        Served { log, key: config.log_vkey().expect("the log's key"), front, runtime, turn: Mutex::new(()) }
    })
}

/// Reads a request: `METHOD target`, header lines, an empty line, a body. With the header `sign`, the body is a statement, or
/// one a line, and the vectors' issuer signs it.
fn read(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 2..]);
    let mut lines = head.split('\n');
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    let mut is_signed = false;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        is_signed |= name == "sign";
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    let body = if is_signed { sign(body)? } else { body.to_vec() };
    request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body)).ok()
}

fn sign(statements: &[u8]) -> Option<Vec<u8>> {
    let sign = |statement: &[u8]| {
        let signed = VerifiedEnvelope::sign(statement.to_vec(), vectors::issuer()).ok()?;
        Some(signed.envelope().to_json().into_bytes())
    };
    let signed: Option<Vec<_>> = statements.split(|&byte| byte == b'\n').map(sign).collect();
    Some(signed?.join(&b'\n'))
}

/// Whatever is asked: no error of the server's own, no panic, an answer of bounded length in the form that its type says. A
/// request that is refused, or only reads, changes nothing; one that appends is answered with the proof.
pub fn request(bytes: &[u8]) -> bool {
    let served = served();
    let Some(request) = read(bytes) else { return false };
    let _turn = served.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let size = || served.log.view().map_or(0, |view| view.head().size.get());
    let before = size();
    let reads = request.method() != "POST";
    if !reads && before > APPENDED_MAX {
        return false;
    }
    let is_head = request.method() == "HEAD";
    let is_batch = request.uri().path().ends_with("/batch");
    let response = served.runtime.block_on(served.front.clone().answer(request));
    let (parts, body) = response.into_parts();
    // A page of a hundred records, the longest of bundles, and what else there is, are well below this.
    let body =
        served.runtime.block_on(to_bytes(body, 2 * BUNDLE_BYTES_MAX)).expect("an answer of bounded length");
    let body = whole(&parts.headers, &body, 2 * BUNDLE_BYTES_MAX).expect("in the encoding that it says");
    assert!(!parts.status.is_server_error(), "{}: {}", parts.status, lossy(&body));
    assert_eq!(parts.headers.get(header::X_CONTENT_TYPE_OPTIONS), Some(&HeaderValue::from_static("nosniff")));
    assert!(parts.headers.contains_key("x-request-id"));
    let grown = size() - before;
    assert!(
        grown == 0 || (!reads && parts.status.is_success()),
        "{} entries more after {}",
        grown,
        parts.status
    );
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if is_head {
        assert!(body.is_empty(), "{}", lossy(&body));
    } else if parts.status.is_client_error() {
        assert_eq!(kind, "application/problem+json", "{}: {}", parts.status, lossy(&body));
        check_problem(&serde_json::from_slice(&body).expect("JSON"), parts.status.as_u16());
    } else if kind == "application/json" {
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        if parts.status == StatusCode::CREATED {
            assert_eq!(grown, 1, "one record, and so many entries");
            let id = answer["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            check_answer(&answer, id, &served.key);
        }
    } else if is_batch && parts.status.is_success() {
        let mut indexes = 0;
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let answer: Value = serde_json::from_slice(line).expect("JSON in every line");
            match answer["index"].as_u64() {
                Some(_) => indexes += 1,
                None => check_problem(&answer["error"], 0),
            }
        }
        assert!(grown <= indexes, "more entries than answers");
    }
    parts.status.is_success()
}

/// A problem detail says what is wrong in one line, and nothing of the server's inside.
fn check_problem(problem: &Value, status: u16) {
    let text = |name: &str| problem[name].as_str().unwrap_or_else(|| panic!("{name} in {problem}"));
    assert!(text("type").starts_with("https://counterfoil.dev/problems/"), "{problem}");
    assert!(!text("title").is_empty() && text("detail").len() < 4096, "{problem}");
    assert!(!text("detail").contains(char::is_control), "{problem}");
    assert!(status == 0 || problem["status"].as_u64() == Some(status.into()), "{problem}");
}

fn lossy(body: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(body)
}

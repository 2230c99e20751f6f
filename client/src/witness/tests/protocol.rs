//! The protocol over HTTP: every status of C2SP tlog-witness, with its media type.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use counterfoil_merkle::{
    Hash,
    evidence::{EVIDENCE_BYTES_MAX, ForkEvidence},
    note::Note,
    witness::{REQUEST_BYTES_MAX, checkpoint_path},
};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{tree::Tree, *};
use crate::{
    testlog::ORIGIN,
    witness::{
        http::{self, App, BODY_BYTES_MAX},
        metrics::Metrics,
    },
};

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    media_type: String,
    body: String,
}

async fn send(router: &Router, method: Method, path: &str, body: impl Into<Body>) -> Reply {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (status, media_type) = (response.status().as_u16(), header(header::CONTENT_TYPE));
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        assert!(header(header::RETRY_AFTER).parse::<u64>().is_ok(), "a time to come again");
    }
    assert_eq!(header(header::CACHE_CONTROL), "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Reply { status, media_type, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn add(router: &Router, request: &str) -> Reply {
    send(router, Method::POST, "/add-checkpoint", request.to_owned()).await
}

async fn get(router: &Router, path: &str) -> Reply {
    send(router, Method::GET, path, Body::empty()).await
}

fn router(home: &Home) -> Router {
    http::router(Arc::new(App { witness: home.up(), metrics: Metrics::new() }))
}

/// Each row of the protocol's table, and after each that is no 200, the state is what it was.
#[tokio::test]
async fn every_row_of_the_table() {
    let (home, tree) = (Home::new(), Tree::new(20));
    let router = router(&home);
    let path = format!("/{}", checkpoint_path(ORIGIN));
    assert_eq!(get(&router, &path).await.status, 404, "never cosigned");
    let first = add(&router, &tree.request(0, 5).to_string()).await;
    assert_eq!((first.status, first.media_type.as_str()), (200, "text/plain; charset=utf-8"));
    assert!(first.body.starts_with("— witness.example/w1 ") && first.body.ends_with('\n'), "{first:?}");
    let shown = format!("{}{}", tree.checkpoint(5), first.body);
    assert_eq!(get(&router, &path).await.body, shown);

    let request = |old: u64, proof: Vec<Hash>, new: u64| tree.request_with(old, proof, new).to_string();
    let good = tree.request(5, 9).to_string();
    let mut impossible = Note::new(format!("{ORIGIN}\n0\n{}\n", Hash::leaf(b"").to_base64())).unwrap();
    impossible.sign(&signer(ORIGIN, Algorithm::Ed25519));
    let rubbish = vec![Hash::EMPTY_ROOT; 63];
    for (body, status) in [
        (String::new(), 400),
        ("old 5\n".to_owned(), 400),
        (good.replace("old 5", "old -5"), 400),
        (good.replace("old 5", "old 9223372036854775808"), 400),
        (good.replace("\n9\n", "\n9223372036854775808\n"), 400),
        (request(5, vec![Hash::EMPTY_ROOT; 64], 9), 400),
        (good.trim_end().to_owned(), 400),
        (good.replace(&format!("\n{ORIGIN}\n"), "\nunknown.example\n"), 404),
        (good.replace(&format!("— {ORIGIN} "), "— someone.else "), 403),
        (good.replace("\n9\n", "\n8\n"), 403),
        (request(6, vec![], 5), 400),
        (request(4, vec![], 5), 409),
        (format!("old 0\n\n{impossible}"), 409),
        (request(5, vec![], 9), 422),
        (request(5, rubbish.clone(), 9), 422),
        (request(5, rubbish.clone(), 5), 422),
        (tree.forked(3, 11).request(5, 11).to_string(), 422),
    ] {
        let reply = add(&router, &body).await;
        assert_eq!(reply.status, status, "{body:?}: {reply:?}");
        assert_eq!(get(&router, &path).await.body, shown);
        if status == 409 {
            let expected =
                Reply { status, media_type: "text/x.tlog.size".to_owned(), body: "5\n".to_owned() };
            assert_eq!(reply, expected);
        }
    }
    let invalid = send(&router, Method::POST, "/add-checkpoint", vec![0xff; 10]).await;
    assert_eq!(invalid.status, 400);
    assert_eq!(add(&router, &good).await.status, 200);
    assert_eq!(get(&router, &path).await.body.lines().nth(1), Some("9"));

    let (_home, fresh) = another();
    assert_eq!(
        add(&fresh, &request(0, rubbish, 9)).await.status,
        422,
        "nothing is to be proven from nothing"
    );
    assert_eq!(add(&fresh, &format!("old 0\n\n{impossible}")).await.status, 422);
    let known = add(&fresh, &good).await;
    assert_eq!((known.status, known.body.as_str()), (409, "0\n"));
}

fn another() -> (Home, Router) {
    let home = Home::new();
    let router = router(&home);
    (home, router)
}

/// Bodies that are too long are not read to their end; other methods and addresses are refused.
#[tokio::test]
async fn requests_have_bounds() {
    let (_home, router) = another();
    let long = add(&router, &"a".repeat(REQUEST_BYTES_MAX + 1)).await;
    assert_eq!(long.status, 413);
    assert_eq!(add(&router, &"a".repeat(REQUEST_BYTES_MAX)).await.status, 400);
    const { assert!(BODY_BYTES_MAX >= EVIDENCE_BYTES_MAX && BODY_BYTES_MAX >= REQUEST_BYTES_MAX) };
    assert_eq!(get(&router, "/add-checkpoint").await.status, 405);
    for path in
        ["/", "/x", "/x/checkpoint", &format!("/{}", checkpoint_path("x")).to_uppercase(), "/../checkpoint"]
    {
        assert_eq!(get(&router, path).await.status, 404, "{path}");
    }
}

/// Above its quota a log hears when to come again.
#[tokio::test]
async fn too_many_requests_hear_when_to_come() {
    let key = signer(ORIGIN, Algorithm::Ed25519).public().clone();
    let home = Home::of(vec![WatchedLog::new(ORIGIN, vec![key], 1).unwrap()]);
    let (router, tree) = (router(&home), Tree::new(9));
    assert_eq!(add(&router, &tree.request(0, 5).to_string()).await.status, 200);
    assert_eq!(add(&router, &tree.request(5, 9).to_string()).await.status, 429);
}

/// Evidence is taken and shown, and ends cosigning with an answer that says where it is.
#[tokio::test]
async fn evidence_is_taken_and_shown() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let router = router(&home);
    assert_eq!(add(&router, &tree.request(0, 5).to_string()).await.status, 200);
    let place = format!("/{}", checkpoint_path(ORIGIN).replace("checkpoint", "evidence"));
    assert_eq!(get(&router, &place).await.status, 404);
    let evidence = ForkEvidence::same_size(tree.checkpoint(8), tree.forked(3, 8).checkpoint(8)).to_string();
    let none = ForkEvidence::same_size(tree.checkpoint(8), tree.checkpoint(8)).to_string();
    let unknown = ForkEvidence::same_size(foreign(&tree), foreign(&tree.forked(3, 8))).to_string();
    for (body, status) in [
        (String::new(), 400),
        (evidence.replace("origin", "0rigin"), 400),
        (unknown, 404),
        (none, 422),
        ("x".repeat(EVIDENCE_BYTES_MAX + 1), 400),
        (evidence.clone(), 200),
        (evidence.clone(), 200),
    ] {
        let reply = send(&router, Method::POST, "/evidence", body.clone()).await;
        assert_eq!(reply.status, status, "{}: {reply:?}", &body[..body.len().min(2000)]);
    }
    assert_eq!(get(&router, &place).await.body, evidence);
    let refused = add(&router, &tree.request(5, 9).to_string()).await;
    assert!(refused.status == 403 && refused.body.contains(&place), "{refused:?}");
    assert_eq!(get(&router, &format!("/{}", checkpoint_path(ORIGIN))).await.status, 200);
    let metrics = get(&router, "/metrics").await.body;
    for line in [
        format!("counterfoil_witness_size{{origin=\"{ORIGIN}\"}} 5"),
        format!("counterfoil_witness_forked{{origin=\"{ORIGIN}\"}} 1"),
        format!("counterfoil_witness_cosignature_age_seconds{{origin=\"{ORIGIN}\"}} 0"),
        "counterfoil_witness_requests_total{path=\"/add-checkpoint\",status=\"403\"} 1".to_owned(),
        "counterfoil_witness_pending_handovers 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in\n{metrics}");
    }
    assert_eq!(get(&router, "/healthz").await.body, "ok\n");
}

fn foreign(tree: &Tree) -> counterfoil_merkle::checkpoint::SignedCheckpoint {
    let mut note = Note::new(tree.checkpoint(8).note().text().replace(ORIGIN, "foreign.example")).unwrap();
    note.sign(&signer("foreign.example", Algorithm::Ed25519));
    note.try_into().unwrap()
}

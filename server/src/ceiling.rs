//! The ceiling: what a machine can do if a log did nothing but parse envelopes, check signatures and answer.
//!
//! Bare handlers, as axum serves them, which answer fixed bytes of the size and form that a log of some size answers, heads included.
//! A load on them says how much of the machine a log can use at most. Nothing is kept, nothing is proven, and nothing that the log
//! does better than the libraries do is used: envelopes are parsed by `serde_json` and checked by `ed25519-dalek`, strictly.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::{
    Hash, LeafIndex, TreeHead, TreeSize,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
    proof::InclusionProof,
    tile::TILE_WIDTH,
    tlogproof::TlogProof,
};
use counterfoil_receipt::{Timestamp, envelope::pae};
use ed25519_dalek::{Signature, VerifyingKey, pkcs8::DecodePublicKey as _};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, signal::ctrl_c};

use crate::{
    config::Limits,
    http::{
        front::HARDENING,
        read::{BYTES, IMMUTABLE, JSON, NO_STORE, TEXT},
        request_id::X_REQUEST_ID,
        submit::NDJSON,
    },
};

/// What receipts for the ceiling are meant for.
const ORIGIN: &str = "ceiling.invalid/1";

/// Receipts are acknowledged with the proof of one of the last leaves: on average so far from the end.
const BATCH_MIDDLE: u64 = 32;

/// An entry as logs have them.
const ENTRY: &str = concat!(
    r#"{"about":null,"at":1763712345678,"claim":null,"#,
    r#""id":"ed85edfe9122cb34b705085791da5ab614253e024d354c54397fe38e8a0cf240","#,
    r#""issuer":"MCowBQYDK2VwAyEANB+QrOVswSq2hFCP3MeUuMN44+AoCaP43MJ9uVFQUP8=","kind":"receipt","number":17,"#,
    r#""sig":"r1bqKuBGxKDMTlUo0qTq0Z0wYfYMwlRG6YZRRRTCTfTBdDeMH6fS3Xh/kdnuEAbHa9wVinNOHTwTfzg0JCiBjA==","#,
    r#""stream":"0c4ff61cea50c28e8294f7c21221b63e"}"#,
);

/// An envelope, as far as it is looked at.
#[derive(Deserialize)]
struct Signed<'a> {
    #[serde(rename = "payloadType")]
    kind: &'a str,
    payload: &'a str,
    signatures: [SignedBy<'a>; 1],
}

/// By whom.
#[derive(Deserialize)]
struct SignedBy<'a> {
    keyid: &'a str,
    sig: &'a str,
}

/// What is answered, and the keys that were seen.
struct Fixed {
    keys: RwLock<HashMap<String, VerifyingKey>>,
    /// To one receipt, with a line feed for batches.
    appended: Bytes,
    /// To a batch: as many times that as a batch may have lines.
    batch: Bytes,
    proof: Bytes,
    tile: Bytes,
    checkpoint: Bytes,
}

/// Serves until interrupted, answering as a log of `size` entries would. `ready` is told the address, and the key that
/// a load on it is to name as the log's.
///
/// # Errors
/// If there is no such address or runtime to be had.
pub fn run(listen: SocketAddr, size: TreeSize, ready: impl FnOnce(SocketAddr, &str)) -> io::Result<()> {
    let limits = Limits::default();
    let log = signer(ORIGIN, Algorithm::Ed25519);
    let fixed = Arc::new(Fixed::new(&log, size, limits.batch_lines_max));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        ready(listener.local_addr()?, &log.public().to_string());
        let stop = async {
            // Without a handler for it, an interrupt ends the process, which is as well.
            let _ = ctrl_c().await;
        };
        let listener = listener.tap_io(|stream| {
            // It is only slower without.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router(fixed)).with_graceful_shutdown(stop).await
    })
}

fn router(fixed: Arc<Fixed>) -> Router {
    Router::new()
        .route("/v1/receipts", post(one))
        .route("/v1/receipts/batch", post(batch))
        .route("/v1/proofs/inclusion", get(async |fixed: State<Arc<Fixed>>| json_answer(fixed.proof.clone())))
        .route(
            "/tile/{*path}",
            get(async |fixed: State<Arc<Fixed>>| answer(BYTES, IMMUTABLE, fixed.tile.clone())),
        )
        .route(
            "/checkpoint",
            get(async |fixed: State<Arc<Fixed>>| answer(TEXT, NO_STORE, fixed.checkpoint.clone())),
        )
        .with_state(fixed)
}

/// An answer with every header that the log's have.
fn answer(kind: HeaderValue, cache: HeaderValue, body: Bytes) -> Response {
    let [nosniff, policy, referrer] = HARDENING.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let id = (X_REQUEST_ID, HeaderValue::from_static("0123456789abcdef"));
    let heads = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache), id, nosniff, policy, referrer];
    (heads, body).into_response()
}

fn json_answer(body: Bytes) -> Response {
    answer(JSON, NO_STORE, body)
}

async fn one(State(fixed): State<Arc<Fixed>>, body: Bytes) -> Response {
    if fixed.check(&body).is_none() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let line = fixed.appended.slice(..fixed.appended.len() - 1);
    (StatusCode::CREATED, json_answer(line)).into_response()
}

async fn batch(State(fixed): State<Arc<Fixed>>, body: Bytes) -> Response {
    let mut answered = 0;
    for line in body.split(|&byte| byte == b'\n') {
        if fixed.check(line).is_none() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        answered += fixed.appended.len();
    }
    if answered > fixed.batch.len() {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    answer(HeaderValue::from_static(NDJSON), NO_STORE, fixed.batch.slice(..answered))
}

impl Fixed {
    fn new(log: &NoteSigner, size: TreeSize, batch_lines_max: usize) -> Self {
        let leaf = Hash::leaf(ENTRY.as_bytes());
        // Of a leaf that was just appended, and of any leaf.
        let [new, proof] = [size.get().saturating_sub(BATCH_MIDDLE), size.get() / 2].map(|index| {
            let index = LeafIndex::new(index).expect("a tree's leaf");
            let nodes = InclusionProof::nodes(index, size).expect("in the tree");
            InclusionProof::from_nodes(index, size, &vec![leaf; nodes.len()]).expect("in the tree")
        });
        let head = TreeHead { size, root: leaf };
        let mut checkpoint = Checkpoint::new(Origin::new(ORIGIN).expect("an origin"), head).sign(log);
        let time = Timestamp::from_millis(1_763_712_345_678).expect("a time").seconds();
        checkpoint.cosign(&signer(&format!("{ORIGIN}/clock"), Algorithm::CosignatureV1), time);
        let checkpoint = checkpoint.to_string();
        let [entry, printed] = [ENTRY, &TlogProof::print(&new, &checkpoint)].map(serde_json::Value::from);
        let line = format!(
            "{{\"index\":{},\"id\":\"{leaf}\",\"leaf\":\"{leaf}\",\"entry\":{entry},\"proof\":{printed}}}\n",
            new.index()
        );
        let hashes: Vec<_> = proof.hashes().iter().map(|hash| hash.to_base64()).collect();
        let proof = json!({
            "index": proof.index().get(), "leaf": leaf.to_string(), "size": size.get(), "root": leaf.to_string(), "hashes": hashes,
        });
        let tile = leaf.as_bytes().repeat(usize::try_from(TILE_WIDTH).expect("256"));
        Self {
            keys: RwLock::default(),
            batch: line.repeat(batch_lines_max).into(),
            appended: line.into(),
            proof: proof.to_string().into(),
            tile: tile.into(),
            checkpoint: checkpoint.into(),
        }
    }

    /// All that is done with an envelope here; nothing if it is not what it must be.
    fn check(&self, envelope: &[u8]) -> Option<()> {
        let Signed { kind, payload, signatures: [SignedBy { keyid, sig }] } =
            serde_json::from_slice(envelope).ok()?;
        let message = pae(kind, &BASE64.decode(payload).ok()?);
        let signature = Signature::from_slice(&BASE64.decode(sig).ok()?).ok()?;
        self.key(keyid)?.verify_strict(&message, &signature).ok()
    }

    /// The key of the text, which is unpacked once.
    fn key(&self, text: &str) -> Option<VerifyingKey> {
        if let Some(key) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Some(*key);
        }
        let key = VerifyingKey::from_public_key_der(&BASE64.decode(text).ok()?).ok()?;
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned(), key);
        Some(key)
    }
}

/// A key that everybody has.
fn signer(name: &str, algorithm: Algorithm) -> NoteSigner {
    let name = KeyName::new(name).expect("a key's name");
    NoteSigner::from_seed(name, algorithm, &[7; 32]).expect("any seed makes a key")
}

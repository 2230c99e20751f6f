//! Reading: the C2SP read side, bundles, and proofs that the server computes as a convenience. All of it at a
//! published size; what is beyond that is not there.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::{
    Hash, LeafIndex, TreeSize,
    tile::{TileKind, TilePath},
    tlogproof::TlogProof,
};
use counterfoil_receipt::{
    Entry,
    bundle::{BUNDLE_MEDIA_TYPE, Bundle},
    json::write,
};
use serde::Deserialize;

use super::{
    App,
    access::Statements,
    error::ApiError,
    parameter::{Path, Query},
};
use crate::{publish::View, tiles::ReadError};

pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(crate) const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(crate) const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=604800, immutable");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How many hex digits of an id find it.
const ID_DIGITS_MIN: usize = 32;

/// `GET /checkpoint`: the newest published tree head.
pub async fn checkpoint(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let view = app.view()?;
    Ok(([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, NO_STORE)], view.text.to_string())
        .into_response())
}

/// `GET /tile/<L>/<N>[.p/<W>]`: hash tiles.
pub async fn tile(
    State(app): State<Arc<App>>,
    Path((level, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let path = format!("tile/{level}/{path}");
    let parsed = path.parse().map_err(|_| ApiError::NotFound { what: path })?;
    tile_at(&app, parsed).await
}

/// The hash tile that an address path names, if it is one in plain form.
pub(super) fn hash_tile(path: &str) -> Option<TilePath> {
    let path: TilePath = path.strip_prefix("/tile/").and_then(|_| path[1..].parse().ok())?;
    matches!(path.kind, TileKind::Hashes(_)).then_some(path)
}

/// A hash tile.
pub(super) async fn tile_at(app: &App, path: TilePath) -> Result<Response, ApiError> {
    let bytes = file_at(app, path).await?;
    Ok(([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, IMMUTABLE)], bytes).into_response())
}

/// `GET /tile/entries/<N>[.p/<W>]`: entry bundles.
pub async fn entries(State(app): State<Arc<App>>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let bytes = file(&app, &format!("tile/entries/{path}")).await?;
    Ok(([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, IMMUTABLE)], bytes).into_response())
}

/// `GET /statement/<N>[.p/<W>]`: statement bundles. Not to be stored on the way: a statement can be erased.
pub async fn statements(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(path): Path<String>,
) -> Result<Response, ApiError> {
    statements.required()?;
    let bytes = file(&app, &format!("statement/{path}")).await?;
    Ok(([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, NO_STORE)], bytes).into_response())
}

async fn file(app: &App, path: &str) -> Result<Bytes, ApiError> {
    let parsed = path.parse().map_err(|_| ApiError::NotFound { what: path.to_owned() })?;
    file_at(app, parsed).await
}

async fn file_at(app: &App, path: TilePath) -> Result<Bytes, ApiError> {
    let file = app.log.tiles.file(&app.view()?.edge, path).await?;
    file.ok_or_else(|| ApiError::NotFound { what: path.to_string() })
}

/// `GET /v1/receipts/{id}`: the bundle of a record, by its id or the first 32 hex digits of it.
pub async fn by_id(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let index = find_id(&app, &view, &id).await?;
    bundle_at(&app, &view, index, statements).await
}

/// `GET /v1/entries/{index}`: the bundle of the record at an index.
pub async fn by_index(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(index): Path<String>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let index = parse_index("index", &index)?;
    bundle_at(&app, &view, index, statements).await
}

/// `GET /v1/leaves/{leaf}`: the bundle of the record with a leaf hash.
pub async fn by_leaf(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(leaf): Path<String>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let index = find_leaf(&app, &view, &leaf).await?;
    bundle_at(&app, &view, index, statements).await
}

async fn bundle_at(
    app: &App,
    view: &View,
    index: LeafIndex,
    statements: Statements,
) -> Result<Response, ApiError> {
    let body = statements.within(bundle_of(app, view, index).await?).to_json();
    let content_type = HeaderValue::from_static(BUNDLE_MEDIA_TYPE);
    Ok(([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, NO_STORE)], body).into_response())
}

/// The bundle of a record, under the published checkpoint; with its statement, whoever may see it.
pub(super) async fn bundle_of(app: &App, view: &View, index: LeafIndex) -> Result<Bundle, ApiError> {
    let not_found = || ApiError::NotFound { what: format!("entry {index}") };
    let item = app.log.item(view, index).await?.ok_or_else(not_found)?;
    let (_, proof) = app.log.inclusion(view, index, view.head().size).await?;
    let proof = TlogProof::new(proof, view.checkpoint.clone()).expect("a proof for the view's size");
    let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
    let statement = (!item.statement.is_empty()).then(|| item.statement.to_vec());
    Ok(Bundle { statement, entry, proof })
}

/// Which leaf, and in which tree.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionQuery {
    index: Option<String>,
    id: Option<String>,
    leaf: Option<String>,
    size: Option<String>,
}

/// `GET /v1/proofs/inclusion?index=|id=|leaf=[&size=]`.
pub async fn inclusion(
    State(app): State<Arc<App>>,
    Query(query): Query<InclusionQuery>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let index = match (&query.index, &query.id, &query.leaf) {
        (Some(index), None, None) => parse_index("index", index)?,
        (None, Some(id), None) => find_id(&app, &view, id).await?,
        (None, None, Some(leaf)) => find_leaf(&app, &view, leaf).await?,
        _ => {
            let reason = "exactly one of index, id and leaf is due".to_owned();
            return Err(ApiError::Parameter { name: "query", reason });
        }
    };
    let size = match &query.size {
        Some(size) => published_size(&view, "size", size)?,
        None => view.head().size,
    };
    if index.get() >= size.get() {
        return Err(ApiError::NotFound { what: format!("entry {index} in a tree of size {size}") });
    }
    let (leaf, proof) = app.log.inclusion(&view, index, size).await?;
    let root = app.log.root_at(&view, size).await?;
    Ok(proof_answer(proof.hashes(), |answer| {
        answer.integer("index", index.get());
        answer.display("leaf", leaf);
        answer.integer("size", size.get());
        answer.display("root", root);
    }))
}

/// Between which two trees.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyQuery {
    from: String,
    to: String,
}

/// `GET /v1/proofs/consistency?from=&to=`.
pub async fn consistency(
    State(app): State<Arc<App>>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let (from, to) = (published_size(&view, "from", &query.from)?, published_size(&view, "to", &query.to)?);
    if from > to {
        return Err(ApiError::Parameter { name: "from", reason: "must not be above to".to_owned() });
    }
    let proof = app.log.consistency(&view, from, to).await?;
    Ok(proof_answer(proof.hashes(), |answer| {
        answer.integer("from", from.get());
        answer.integer("to", to.get());
    }))
}

/// The answer with a proof's hashes, after what they are a proof of.
fn proof_answer(hashes: &[Hash], of: impl FnOnce(&mut write::ObjectWriter<'_>)) -> Response {
    let mut json = String::with_capacity(256 + hashes.len() * 47);
    write::write_object(&mut json, |answer| {
        of(answer);
        write::array(answer.member("hashes"), hashes, |out, hash| {
            out.push('"');
            BASE64.encode_string(hash.as_bytes(), out);
            out.push('"');
        });
    });
    ([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE)], json).into_response()
}

pub(super) fn number(name: &'static str, text: &str) -> Result<u64, ApiError> {
    let parsed = text.parse().ok().filter(|number: &u64| number.to_string() == text);
    parsed.ok_or_else(|| ApiError::Parameter { name, reason: "a decimal number is due".to_owned() })
}

pub(super) fn parse_index(name: &'static str, text: &str) -> Result<LeafIndex, ApiError> {
    let not_found = |_| ApiError::NotFound { what: format!("entry {text}") };
    LeafIndex::new(number(name, text)?).map_err(not_found)
}

fn published_size(view: &View, name: &'static str, text: &str) -> Result<TreeSize, ApiError> {
    let size = TreeSize::new(number(name, text)?).ok().filter(|size| *size <= view.head().size);
    size.ok_or_else(|| ApiError::NotFound { what: format!("a tree of size {text}") })
}

pub(super) async fn find_id(app: &App, view: &View, id: &str) -> Result<LeafIndex, ApiError> {
    let malformed = || ApiError::Parameter {
        name: "id",
        reason: format!("{ID_DIGITS_MIN} to 64 lower-case hex digits are due, an even number"),
    };
    let padded = format!("{id:0<64}");
    if id.len() < ID_DIGITS_MIN || !id.len().is_multiple_of(2) {
        return Err(malformed());
    }
    let hash: Hash = padded.parse().map_err(|_| malformed())?;
    let found = app.log.find_id(&view.edge, &hash.as_bytes()[..id.len() / 2]).await?;
    found.ok_or_else(|| ApiError::NotFound { what: format!("record {id}") })
}

async fn find_leaf(app: &App, view: &View, leaf: &str) -> Result<LeafIndex, ApiError> {
    let malformed =
        |_| ApiError::Parameter { name: "leaf", reason: "64 lower-case hex digits are due".to_owned() };
    let hash: Hash = leaf.parse().map_err(malformed)?;
    let found = app.log.find_leaf(&view.edge, hash).await?;
    found.ok_or_else(|| ApiError::NotFound { what: format!("leaf {leaf}") })
}

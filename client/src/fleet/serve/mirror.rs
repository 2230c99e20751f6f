//! A log's files, as the monitor kept them.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use counterfoil_merkle::{
    checkpoint::SignedCheckpoint,
    tile::{TileKind, TilePath},
};
use tracing::error;

use super::{App, Refusal};
use crate::source::{Connection, Resource, Source};

/// `GET /mirror/<origin's hash>/…`: `checkpoint`, `tile/…` and `statement/…` of a log that is kept.
///
/// Never more than the kept checkpoint's tree has, all of which was verified before it was shown.
pub(super) async fn file(
    State(app): State<Arc<App>>,
    Path((name, path)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let snapshot = app.log(&name)?.snapshot().ok_or(Refusal::Lost)?;
    let root = snapshot.mirror().ok_or(Refusal::NotKept)?;
    let source = Source::open(&root.display().to_string(), &Connection::default()).map_err(internal)?;
    let checkpoint = read(&source, Resource::Checkpoint).await?.ok_or(Refusal::NotYet)?;
    if path == "checkpoint" {
        let kind = "text/plain; charset=utf-8";
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        return Ok((headers, checkpoint).into_response());
    }
    let shown: SignedCheckpoint = str::from_utf8(&checkpoint)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| internal("no checkpoint"))?;
    let path: TilePath = path.parse().map_err(|_| Refusal::NoRoute)?;
    if path.width > path.width_at(shown.unverified().head.size) {
        return Err(Refusal::NotYet);
    }
    let bytes = source.fetch_tile(path).await.map_err(internal)?.ok_or(Refusal::NotYet)?;
    // A statement may be erased; all else is for ever.
    let lasting = match path.kind {
        TileKind::Statements => "no-store",
        _ => "public, max-age=31536000, immutable",
    };
    let kind = "application/octet-stream";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, lasting)], bytes).into_response())
}

async fn read(source: &Source, resource: Resource) -> Result<Option<bytes::Bytes>, Refusal> {
    source.fetch(resource).await.map_err(internal)
}

fn internal(reason: impl std::fmt::Display) -> Refusal {
    error!(%reason, "a mirrored file cannot be read");
    Refusal::Internal
}

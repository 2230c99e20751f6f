//! `GET /v1/clocks`: the clock records around an entry, which bound its time.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{Entry, bundle::Bundle, statement::Predicate};
use serde::Deserialize;

use super::{
    App,
    access::Statements,
    error::ApiError,
    parameter::Query,
    read::{JSON, NO_STORE, bundle_of, parse_index},
};
use crate::{publish::View, tiles::ReadError};

/// As many later records are looked at: the first one's checkpoint has the entry, save where publication stood still.
const LATER_MAX: usize = 8;

/// Around which entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClocksQuery {
    index: String,
}

/// `GET /v1/clocks?index=`: bundles of the last clock record before an entry, and of the first one after it whose checkpoint
/// has the entry; each `null` if there is none.
pub(super) async fn around(
    State(app): State<Arc<App>>,
    statements: Statements,
    Query(query): Query<ClocksQuery>,
) -> Result<Response, ApiError> {
    let view = app.view()?;
    let index = parse_index("index", &query.index)?;
    if !view.has(index) {
        return Err(ApiError::NotFound { what: format!("entry {index}") });
    }
    let records = app.log.clock_records();
    let (before, rest) = records.split_at(records.partition_point(|&record| record < index.get()));
    let before = match before.last() {
        Some(&record) => {
            Some(bundle_of(&app, &view, LeafIndex::new(record).map_err(ReadError::from)?).await?)
        }
        None => None,
    };
    let after = first_with(&app, &view, rest, index).await?;
    let json = |bundle: Option<Bundle>| match bundle {
        Some(bundle) => statements.within(bundle).to_json(),
        None => "null".to_owned(),
    };
    let body = format!("{{\"before\":{},\"after\":{}}}", json(before), json(after));
    Ok(([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE)], body).into_response())
}

async fn first_with(
    app: &App,
    view: &View,
    records: &[u64],
    index: LeafIndex,
) -> Result<Option<Bundle>, ApiError> {
    let later = records.iter().filter(|&&record| record > index.get()).take(LATER_MAX);
    for &record in later {
        let record = LeafIndex::new(record).map_err(ReadError::from)?;
        if !view.has(record) {
            break;
        }
        let bundle = bundle_of(app, view, record).await?;
        let statement = bundle.statement.as_deref().unwrap_or_default();
        let read = Entry::check_statement(&bundle.entry, statement);
        let read = read.map_err(|_| ReadError::Entry { index: record })?;
        if let Predicate::Clock(clock) = read.predicate
            && index.get() < clock.checkpoint.unverified().head.size.get()
        {
            return Ok(Some(bundle));
        }
    }
    Ok(None)
}

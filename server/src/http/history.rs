//! `GET /v1/receipts/{id}/history`: everything that the log has about a matter, with proofs, and what stands.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use counterfoil_receipt::standing::{Matter, MomentError, print_matter, print_standing};
use serde::Deserialize;
use serde_json::Value;

use super::{
    App,
    access::Statements,
    error::ApiError,
    parameter::{Path, Query},
    read::find_id,
    search::{answer, hit, moment, under},
};
use crate::search::{matter::Asked, page::proven};

/// Most records of an answer.
const RECORDS_MAX: usize = 1000;

/// As of when.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    at: Option<String>,
}

/// `GET /v1/receipts/{id}/history?at=`: the receipt that a record is about in the end, and all records about it, in index order,
/// each proven; and what stands at a moment, by default the time of the newest checkpoint.
pub(super) async fn history(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(id): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, ApiError> {
    let at = moment("at", query.at.as_deref())?;
    let search = app.search()?;
    let known = app.known()?;
    // Taken after, it has all that is known.
    let view = app.view()?;
    let index = find_id(&app, &view, &id).await?;
    let asked = Asked { search, log: &app.log, view: &view, size: known.size };
    if index.get() >= known.size {
        let what = format!("record {id}, at index {index}, among the {} that are indexed yet,", known.size);
        return Err(ApiError::NotFound { what });
    }
    let matter = asked.matter_of(index).await?;
    // That a record is about anything but one of this log, its statement alone says.
    if !matches!(matter, Matter::Record(_)) {
        statements.required()?;
    }
    let gathered = asked.gather(&matter, RECORDS_MAX).await?;
    if gathered.more {
        return Err(ApiError::TooManyRecords { limit: RECORDS_MAX });
    }
    let docket = asked.docket(matter.clone(), &gathered, known.keys, known.rules).await?;
    let at = at.unwrap_or_else(|| docket.last().map_or(view.time, |last| last.max(view.time)));
    let standing = docket
        .standing(at)
        .map_err(|error: MomentError| ApiError::Parameter { name: "at", reason: error.to_string() })?;
    asked.check()?;
    let records = gathered.records.into_iter().map(|(record, item)| (record.index, item)).collect();
    let hits = proven(&app.log, &view, records).await?;
    let mut body = under(&view, known.size);
    body.insert("checkpoint".into(), (*view.text).into());
    body.insert("matter".into(), printed(&print_matter(&matter)));
    body.insert("records".into(), hits.iter().map(|found| hit(found, statements)).collect());
    let standing = statements.are_shown().then(|| printed(&print_standing(&standing, &docket)));
    body.insert("standing".into(), standing.into());
    Ok(answer(&Value::Object(body)))
}

/// What was printed as JSON, as part of an answer.
pub(super) fn printed(json: &str) -> Value {
    serde_json::from_str(json).expect("what was printed as JSON is JSON")
}

//! `GET /v1/overdue`: who has not answered or done what was due.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Timestamp,
    standing::{Owed, Owing, print_matter, print_party},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Statements,
    error::ApiError,
    history::printed,
    parameter::Query,
    search::{answer, limit, moment, under},
};
use crate::{
    publish::View,
    search::{
        cases::Due,
        cursor::{self, CursorError},
        query::{HITS_DEFAULT, HITS_MAX},
    },
};

/// As of when, and which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverdueQuery {
    at: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/overdue?at=`: disputes that nobody answered in time, and remedies that were not done when they were due, the longest
/// overdue first; at a moment, by default the time of the newest checkpoint.
pub(super) async fn overdue(
    State(app): State<Arc<App>>,
    statements: Statements,
    Query(query): Query<OverdueQuery>,
) -> Result<Response, ApiError> {
    statements.required()?;
    let at = moment("at", query.at.as_deref())?;
    let limit = limit(query.limit.as_deref(), HITS_DEFAULT, HITS_MAX)?;
    let key = app.search()?.key();
    let after = query.cursor.as_deref().map(|text| cursor::parse(key, question(), text)).transpose()?;
    let after = after.map(place).transpose()?;
    app.known()?;
    let indexed = app.indexed.as_ref().ok_or(ApiError::SearchOff)?;
    let at = match at {
        Some(at) => at,
        None => app.view()?.time,
    };
    let found = indexed.cases.overdue(at, after, limit + 1);
    // Taken after, it has all that was judged.
    let view = app.view()?;
    let mut listed = Vec::with_capacity(limit);
    for due in found.due.iter().take(limit) {
        listed.push(print(&app, &view, due, at).await?);
    }
    let more = found.due.len() > limit;
    let last = found.due.get(limit - 1).filter(|_| more);
    let next = last.map(|last| cursor::format(key, question(), position(&last.owed)));
    let mut body = under(&view, found.size);
    body.insert("at".into(), at.millis().into());
    body.insert("total".into(), found.total.into());
    body.insert("unjudged".into(), found.unjudged.into());
    body.insert("overdue".into(), listed.into());
    body.insert("next".into(), json!(next));
    Ok(answer(&Value::Object(body)))
}

async fn print(app: &App, view: &View, due: &Due, at: Timestamp) -> Result<Value, ApiError> {
    let Due { owed, matter } = due;
    let index = app.log.find_leaf(&view.edge, owed.dispute).await?;
    let (task, remedy) = match owed.owing {
        Owing::Answer => ("answer", None),
        Owing::Remedy(remedy) => ("remedy", Some(remedy.as_str())),
    };
    Ok(json!({
        "task": task,
        "remedy": remedy,
        "due": owed.due.millis(),
        "late_ms": at.millis().saturating_sub(owed.due.millis()),
        "who": printed(&print_party(&owed.by)),
        "dispute": owed.dispute.to_string(),
        "dispute_index": index.map(LeafIndex::get),
        "record": owed.record.to_string(),
        "matter": printed(&print_matter(matter)),
    }))
}

/// What the cursors of this list belong to.
fn question() -> Hash {
    Hash::of(&[b"overdue"])
}

fn position(owed: &Owed) -> [u8; 40] {
    let mut position = [0; 40];
    position[..8].copy_from_slice(&owed.due.millis().to_be_bytes());
    position[8..].copy_from_slice(owed.record.as_bytes());
    position
}

fn place(position: [u8; 40]) -> Result<(Timestamp, Hash), ApiError> {
    let (due, record) = position.split_first_chunk().ok_or(CursorError::Form)?;
    let due = Timestamp::from_millis(u64::from_be_bytes(*due)).ok_or(CursorError::Form)?;
    let record = record.try_into().map_err(|_| CursorError::Form)?;
    Ok((due, Hash::new(record)))
}

//! `GET /v1/receipts`: records that have what is asked for, page by page, each with its proof.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Id, Kind, PublicKey, Timestamp,
    statement::{StreamId, TEXT_BYTES_MAX, receipt::Outcome},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Statements,
    error::ApiError,
    parameter::Query,
    read::{NO_STORE, number},
};
use crate::{
    publish::View,
    search::{
        Order, Search, cursor,
        page::{Hit, page},
        query::{HITS_DEFAULT, HITS_MAX, Query as Question},
        terms::{Field, Term},
    },
};

/// What is looked for. All of it must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    issuer: Option<String>,
    stream: Option<String>,
    number: Option<String>,
    kind: Option<String>,
    about: Option<String>,
    claim: Option<String>,
    promise: Option<String>,
    elsewhere: Option<String>,
    requested: Option<String>,
    reported: Option<String>,
    claimed: Option<String>,
    outcome: Option<String>,
    from: Option<String>,
    before: Option<String>,
    order: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/receipts?…`: a page of the published records that have all that is asked for.
pub(super) async fn search(
    State(app): State<Arc<App>>,
    statements: Statements,
    Query(query): Query<SearchQuery>,
) -> Result<Response, ApiError> {
    let question = query.question()?;
    // Whoever finds a record by its statement knows what it says.
    if question.terms.iter().any(|term| term.field.is_of_statement()) {
        statements.required()?;
    }
    let limit = limit(query.limit.as_deref(), HITS_DEFAULT, HITS_MAX)?;
    let search = app.search()?;
    let cursor = match &query.cursor {
        Some(text) => Some(u64::from_be_bytes(cursor::parse(search.key(), question.fingerprint(), text)?)),
        None => None,
    };
    let view = app.view()?;
    let page = page(search, &app.log, &view, &question, cursor, limit).await?;
    let next = page.next.map(|next| cursor::format(search.key(), question.fingerprint(), next.to_be_bytes()));
    Ok(answer(&json!({
        "size": view.head().size.get(),
        "complete": page.complete,
        "checkpoint": &*view.text,
        "records": page.hits.iter().map(|found| hit(found, statements)).collect::<Vec<_>>(),
        "next": next,
    })))
}

impl App {
    /// The search index, once it is there.
    pub(super) fn search(&self) -> Result<&Arc<Search>, ApiError> {
        let indexed = self.indexed.as_ref().ok_or(ApiError::SearchOff)?;
        let failed = || indexed.failed.get().map(|reason| ApiError::Unindexed { reason: reason.clone() });
        indexed.search.get().ok_or_else(|| failed().unwrap_or(ApiError::Starting))
    }
}

impl SearchQuery {
    /// The question, if every part of it is in good form.
    fn question(&self) -> Result<Question, ApiError> {
        let mut terms = Vec::new();
        let mut add = |field, value: Option<String>| terms.extend(value.map(|value| Term::new(field, value)));
        add(Field::Issuer, self.issuer.as_deref().map(|key| public_key("issuer", key)).transpose()?);
        add(Field::Claim, self.claim.as_deref().map(|key| public_key("claim", key)).transpose()?);
        add(Field::About, parsed::<Hash>("about", self.about.as_deref(), "64 lower-case hex digits")?);
        add(Field::Promise, parsed::<Id>("promise", self.promise.as_deref(), "64 lower-case hex digits")?);
        add(
            Field::Elsewhere,
            parsed::<Hash>("elsewhere", self.elsewhere.as_deref(), "64 lower-case hex digits")?,
        );
        let stream = parsed::<StreamId>("stream", self.stream.as_deref(), "32 lower-case hex digits")?;
        let number = self.number.as_deref().map(|text| number("number", text)).transpose()?;
        if number.is_some() && stream.is_none() {
            return Err(parameter("number", "a number is one of a stream: say stream too"));
        }
        let place = stream.as_deref().zip(number);
        match place {
            // Who has that has the stream too.
            Some((stream, number)) => terms.push(Term::number(stream, number)),
            None => terms.extend(stream.map(|stream| Term::new(Field::Stream, stream))),
        }
        let mut add = |field, value: Option<String>| terms.extend(value.map(|value| Term::new(field, value)));
        add(
            Field::Kind,
            code("kind", self.kind.as_deref(), |text| Kind::from_code(text).is_some_and(Kind::is_logged))?,
        );
        add(
            Field::Outcome,
            code("outcome", self.outcome.as_deref(), |text| Outcome::from_code(text).is_some())?,
        );
        add(Field::Requested, text("requested", self.requested.as_deref())?);
        add(Field::Reported, text("reported", self.reported.as_deref())?);
        add(Field::Claimed, text("claimed", self.claimed.as_deref())?);
        let order = match self.order.as_deref() {
            None | Some("newest") => Order::Newest,
            Some("oldest") => Order::Oldest,
            Some(_) => return Err(parameter("order", "newest or oldest is due")),
        };
        let (from, before) =
            (moment("from", self.from.as_deref())?, moment("before", self.before.as_deref())?);
        Ok(Question { terms, from, before, order })
    }
}

/// A record as answers give it.
pub(super) fn hit(hit: &Hit, statements: Statements) -> Value {
    let Hit { index, item, proof } = hit;
    let has_statement = statements.are_shown() && !item.statement.is_empty();
    let statement = has_statement.then(|| BASE64.encode(&item.statement));
    json!({
        "index": index.get(),
        "leaf": Hash::leaf(&item.entry).to_string(),
        "entry": String::from_utf8_lossy(&item.entry),
        "statement": statement,
        "hashes": proof.hashes().iter().map(|hash| hash.to_base64()).collect::<Vec<_>>(),
    })
}

/// An answer that holds for now.
pub(super) fn answer(body: &Value) -> Response {
    (StatusCode::OK, [(header::CACHE_CONTROL, NO_STORE)], axum::Json(body)).into_response()
}

/// How many are wanted, if that is allowed.
pub(super) fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let limit = usize::try_from(number("limit", text)?).ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| ApiError::Parameter { name: "limit", reason: format!("1 to {max} is due") })
}

/// A moment in ms since 1970.
pub(super) fn moment(name: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let moment = Timestamp::from_millis(number(name, text)?);
    moment.map(Some).ok_or_else(|| parameter(name, "a time in ms since 1970 is due"))
}

/// A public key: the base64 of its SPKI, in either alphabet. The one for URLs needs no escapes.
pub(super) fn public_key(name: &'static str, text: &str) -> Result<String, ApiError> {
    let mut standard = text.replace('-', "+").replace('_', "/");
    let padding = (4 - standard.len() % 4) % 4;
    standard.extend(std::iter::repeat_n('=', padding));
    let key: PublicKey = standard.parse().map_err(|error| ApiError::Parameter {
        name,
        reason: format!("{error}; it is due in the alphabet for URLs, or with + and / as %2B and %2F"),
    })?;
    Ok(key.as_str().to_owned())
}

fn parsed<T: std::str::FromStr + ToString>(
    name: &'static str,
    text: Option<&str>,
    due: &'static str,
) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let parsed: T =
        text.parse().map_err(|_| ApiError::Parameter { name, reason: format!("{due} are due") })?;
    Ok(Some(parsed.to_string()))
}

fn code(
    name: &'static str,
    text: Option<&str>,
    is_known: impl Fn(&str) -> bool,
) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if !is_known(text) => Err(parameter(name, "this is none of its codes")),
        text => Ok(text.map(str::to_owned)),
    }
}

fn text(name: &'static str, text: Option<&str>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(ApiError::Parameter { name, reason: format!("at most {TEXT_BYTES_MAX} bytes") })
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn parameter(name: &'static str, reason: &str) -> ApiError {
    ApiError::Parameter { name, reason: reason.to_owned() }
}

/// Proofs and records under one view.
pub(super) fn under(view: &View, complete: u64) -> serde_json::Map<String, Value> {
    let mut answer = serde_json::Map::new();
    answer.insert("size".into(), view.head().size.get().into());
    answer.insert("complete".into(), complete.into());
    answer
}

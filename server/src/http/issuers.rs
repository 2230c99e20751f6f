//! `GET /v1/issuers/{key}`: what the log has of a key: its registrations and revocations, what it signed, how far its streams went.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    Entry, Kind, PublicKey,
    standing::{KeyFact, print_party, print_said_of_key},
    statement::StreamId,
};
use serde_json::{Value, json};

use super::{
    App,
    access::Statements,
    error::ApiError,
    history::printed,
    parameter::Path,
    search::{answer, public_key, under},
};
use crate::{
    publish::View,
    search::{cases::Known, page::blocking, summary::Summary},
    tiles::ReadError,
};

/// Most streams of an answer: those that went on last.
const STREAMS_MAX: usize = 100;

/// `GET /v1/issuers/{key}`; the key is the base64 of its SPKI, in the alphabet for URLs or escaped.
pub(super) async fn issuer(
    State(app): State<Arc<App>>,
    statements: Statements,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    statements.required()?;
    let key = public_key("key", &key)?;
    let search = Arc::clone(app.search()?);
    let known = app.known()?;
    let (complete, summaries) = {
        let key = key.clone();
        blocking(move || search.summaries(&key)).await?.map_err(crate::search::page::PageError::from)?
    };
    // Taken after, it has all that is indexed.
    let view = app.view()?;
    let public: PublicKey = key.parse().map_err(|_| ApiError::Panicked)?;
    let facts = known.keys.facts(&public);
    if summaries.is_empty() && facts.is_empty() {
        return Err(ApiError::NotFound { what: format!("a record of or about key {key}") });
    }
    let (counts, streams, more) = sum(&summaries);
    let shown = streams.len().min(STREAMS_MAX);
    let more = more || streams.len() > shown;
    let mut body = under(&view, complete);
    body.insert("party".into(), printed(&print_party(&known.keys.party(&public))));
    body.insert(
        "revoked".into(),
        facts.iter().any(|(_, _, fact)| matches!(fact, KeyFact::Revoked { .. })).into(),
    );
    let facts = facts.iter().map(|(at, record, fact)| printed(&print_said_of_key(*at, *record, fact)));
    body.insert("facts".into(), facts.collect());
    body.insert("respond_within".into(), respond_within(&known, &public));
    body.insert(
        "records".into(),
        counts.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect(),
    );
    let mut listed = Vec::with_capacity(shown);
    for (stream, number, index) in &streams[..shown] {
        listed.push(of_stream(&app, &view, &public, *stream, *number, *index).await?);
    }
    body.insert("streams".into(), listed.into());
    body.insert("more_streams".into(), more.into());
    Ok(answer(&Value::Object(body)))
}

impl App {
    /// What the log says of keys, as far as it was followed.
    pub(super) fn known(&self) -> Result<Known, ApiError> {
        let indexed = self.indexed.as_ref().ok_or(ApiError::SearchOff)?;
        let known = indexed.cases.known();
        if known.size == 0 { Err(ApiError::Starting) } else { Ok(known) }
    }
}

/// Seconds in which the key promises to answer disputes of what comes now.
fn respond_within(known: &Known, key: &PublicKey) -> Value {
    json!(known.keys.policy(key, known.size).map(|policy| policy.respond_within_s))
}

type Stream = ([u8; 16], u64, u64);

/// Records by kind, streams with highest number and its index, those that went on last first, and whether there are more.
fn sum(summaries: &[(u64, Summary)]) -> (BTreeMap<&'static str, u64>, Vec<Stream>, bool) {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut streams: BTreeMap<[u8; 16], (u64, u64)> = BTreeMap::new();
    let mut more = false;
    for (start, summary) in summaries {
        for (kind, count) in summary.counts() {
            *counts.entry(Kind::as_str(kind)).or_default() += count;
        }
        for (stream, number, position) in summary.streams() {
            let highest = streams.entry(stream).or_default();
            *highest = (*highest).max((number, start + u64::from(position)));
        }
        more |= summary.has_more();
    }
    let mut streams: Vec<_> =
        streams.into_iter().map(|(stream, (number, index))| (stream, number, index)).collect();
    streams.sort_by_key(|(stream, _, index)| (std::cmp::Reverse(*index), *stream));
    (counts, streams, more)
}

/// A stream with its highest number, as the entry itself says.
async fn of_stream(
    app: &App,
    view: &View,
    key: &PublicKey,
    stream: [u8; 16],
    number: u64,
    index: u64,
) -> Result<Value, ApiError> {
    let index = LeafIndex::new(index).map_err(ReadError::from)?;
    let item = app.log.item(view, index).await?.ok_or(ReadError::Entry { index })?;
    let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
    let said = entry.position.map(|position| (*position.stream.as_bytes(), position.number.get()));
    if entry.issuer != *key || said != Some((stream, number)) {
        // The index says something else than the log: it is of no use.
        return Err(ApiError::Unindexed { reason: format!("it does not go with entry {index}") });
    }
    let stream = StreamId::new(stream).to_string();
    Ok(json!({ "stream": stream, "highest": number, "index": index.get(), "id": entry.id.to_string() }))
}

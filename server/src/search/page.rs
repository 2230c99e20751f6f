//! A page of hits: candidates of the index, read from the log, confirmed, and proven under the published checkpoint.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use counterfoil_merkle::{LeafIndex, proof::InclusionProof, tile::TILE_WIDTH};
use counterfoil_receipt::Timestamp;
use futures::future::try_join_all;

use super::{
    Order, Query, Search,
    files::FilesError,
    index::{Begin, Candidates},
    terms::{self, Unreadable},
};
use crate::{commit::Item, log::Log, publish::View, tiles::ReadError};

/// How often a page is filled up whose candidates were not confirmed.
const FILLS_MAX: usize = 4;

/// As many bundles are read at once.
const READS_MAX: usize = 16;

/// A record that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Where it is.
    pub index: LeafIndex,
    /// Its entry and statement.
    pub item: Item,
    /// That it is in the published tree.
    pub proof: InclusionProof,
}

/// Some of what was found.
#[derive(Clone, Debug)]
pub struct Page {
    /// Everything below this size was looked through, or will be on later pages.
    pub complete: u64,
    /// In the order asked for.
    pub hits: Vec<Hit>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<u64>,
}

/// Answers a question from what is published, beginning at an index that a page before gave.
pub async fn page(
    search: &Arc<Search>,
    log: &Log,
    view: &View,
    query: &Query,
    cursor: Option<u64>,
    limit: usize,
) -> Result<Page, PageError> {
    let complete = search.complete().min(view.head().size.get());
    let mut range = span(search, log, view, query, complete).await?;
    match (query.order, cursor) {
        (Order::Newest, Some(cursor)) => range.end = range.end.min(cursor),
        (Order::Oldest, Some(cursor)) => range.start = range.start.max(cursor),
        (_, None) => {}
    }
    let mut found = Vec::new();
    for _ in 0..FILLS_MAX {
        if range.is_empty() || found.len() >= limit {
            break;
        }
        let wanted = limit - found.len();
        let candidates = candidates(search, query, range, wanted).await?;
        range = candidates.rest;
        found.extend(confirmed(log, view, query, &candidates.indexes).await?);
        if candidates.indexes.len() < wanted {
            // All was gone through, or as much as is for one page.
            break;
        }
    }
    if !range.is_empty() && found.len() >= limit {
        // Whether there is another page at all.
        let more = candidates(search, query, range.clone(), 1).await?;
        range = if more.indexes.is_empty() { more.rest } else { range };
    }
    let next = match query.order {
        _ if range.is_empty() => None,
        Order::Newest => Some(range.end),
        Order::Oldest => Some(range.start),
    };
    // Damage that was met on the way has left something out.
    let complete = complete.min(search.complete());
    Ok(Page { complete, hits: proven(log, view, found).await?, next })
}

/// All records with these terms in a range of indexes, oldest first, at most `max`.
pub async fn all(
    search: &Arc<Search>,
    log: &Log,
    view: &View,
    query: &Query,
    mut range: Range<u64>,
    max: usize,
) -> Result<Vec<(LeafIndex, Item)>, PageError> {
    let query = Query { order: Order::Oldest, ..query.clone() };
    let mut found = Vec::new();
    while !range.is_empty() && found.len() < max {
        let candidates = candidates(search, &query, range, max - found.len()).await?;
        range = candidates.rest;
        found.extend(confirmed(log, view, &query, &candidates.indexes).await?);
    }
    Ok(found)
}

/// Proofs that records are in the published tree, each tile of it read once.
pub async fn proven(log: &Log, view: &View, found: Vec<(LeafIndex, Item)>) -> Result<Vec<Hit>, PageError> {
    let size = view.head().size;
    let nodes =
        found.iter().map(|(index, _)| InclusionProof::nodes(*index, size)).collect::<Result<Vec<_>, _>>();
    let nodes = nodes.map_err(ReadError::from)?;
    let mut hashes = log.tiles.hashes(&view.edge.frontier, &nodes.concat()).await?;
    let mut hits = Vec::with_capacity(found.len());
    for ((index, item), nodes) in found.into_iter().zip(nodes) {
        let rest = hashes.split_off(nodes.len());
        let proof = InclusionProof::from_nodes(index, size, &hashes).map_err(ReadError::from)?;
        hashes = rest;
        hits.push(Hit { index, item, proof });
    }
    Ok(hits)
}

async fn candidates(
    search: &Arc<Search>,
    query: &Query,
    range: Range<u64>,
    max: usize,
) -> Result<Candidates, PageError> {
    let (search, terms, order) = (Arc::clone(search), query.terms.clone(), query.order);
    Ok(blocking(move || search.candidates(&terms, range, order, max)).await??)
}

/// Reads files on a thread where that is no harm: another one, if this is one of an asynchronous runtime.
pub async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, PageError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(read).await.map_err(|_| PageError::Panicked),
        Err(_) => Ok(read()),
    }
}

/// The records that are what was asked for, in the order of their indexes as given.
async fn confirmed(
    log: &Log,
    view: &View,
    query: &Query,
    indexes: &[u64],
) -> Result<Vec<(LeafIndex, Item)>, PageError> {
    let mut bundles: Vec<_> = indexes.iter().map(|index| index / TILE_WIDTH).collect();
    bundles.sort_unstable();
    bundles.dedup();
    let mut items = BTreeMap::new();
    for bundles in bundles.chunks(READS_MAX) {
        let read = bundles.iter().map(|bundle| log.tiles.items(&view.edge, *bundle));
        items.extend(bundles.iter().copied().zip(try_join_all(read).await?));
    }
    let mut confirmed = Vec::with_capacity(indexes.len());
    for &index in indexes {
        let slot = usize::try_from(index % TILE_WIDTH).expect("below 256");
        let index = LeafIndex::new(index).map_err(ReadError::from)?;
        let item = items.get(&(index.get() / TILE_WIDTH)).and_then(|items| items.get(slot));
        let item = item.ok_or(ReadError::Entry { index })?;
        let facts = terms::read(index, &item.entry, &item.statement)?;
        let in_time = query.from.is_none_or(|from| from <= facts.at)
            && query.before.is_none_or(|before| facts.at < before);
        if in_time && facts.have(&query.terms) {
            confirmed.push((index, item.clone()));
        }
    }
    Ok(confirmed)
}

/// The indexes of the entries in the question's span of time.
async fn span(
    search: &Arc<Search>,
    log: &Log,
    view: &View,
    query: &Query,
    complete: u64,
) -> Result<Range<u64>, PageError> {
    let start = match query.from {
        Some(from) => begin(search, log, view, from, complete).await?,
        None => 0,
    };
    let end = match query.before {
        Some(before) => begin(search, log, view, before, complete).await?,
        None => complete,
    };
    Ok(start..end.max(start))
}

/// The index of the first entry of that time or later; `complete` if there is none below that.
pub async fn begin(
    search: &Arc<Search>,
    log: &Log,
    view: &View,
    at: Timestamp,
    complete: u64,
) -> Result<u64, PageError> {
    let asked = {
        let search = Arc::clone(search);
        blocking(move || search.begin(at)).await??
    };
    let bundle = match asked {
        Begin::At(index) => return Ok(index.min(complete)),
        Begin::Within(bundle) => bundle,
    };
    let start = bundle * TILE_WIDTH;
    if start >= complete {
        return Ok(complete);
    }
    let mut earlier = 0;
    for entry in log.tiles.entries(&view.edge, bundle).await? {
        let index = LeafIndex::new(start + earlier).map_err(ReadError::from)?;
        if terms::read(index, &entry, &[])?.at >= at {
            break;
        }
        earlier += 1;
    }
    Ok((start + earlier).min(complete))
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The index cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is not what it must be.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A bug of ours.
    #[error("the search met a bug of its own")]
    Panicked,
}

//! What a monitor reads from a log, with a limit to how long it waits, and what a failure amounts to.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, NodeId, TreeSize,
    key::VerifierKey,
    note::NOTE_BYTES_MAX,
    tile::{TileId, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::audit::{Code, Place, Report};

use super::vantage::{Shows, Vantage, witness_path};
use crate::source::{Resource, Source, SourceError};

/// The longest wait for one file, however slowly it drips, unless somebody says otherwise.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(60);

const TOO_SLOW: &str = "the log does not answer in time";

/// What came of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Bytes, of any content.
    Bytes(Bytes),
    /// The log shows this to others only (401 or 403).
    Withheld,
    /// Nothing; why is in the report.
    Failed,
}

/// A place that holds a log's files, read with limits.
#[derive(Clone, Debug)]
pub struct Reader {
    source: Source,
    fetch_time_max: Duration,
}

impl Reader {
    /// Reads from there, and waits no longer than that for any one file.
    pub const fn new(source: Source, fetch_time_max: Duration) -> Self {
        Self { source, fetch_time_max }
    }

    /// Reads the checkpoint that a vantage point shows of a log; none if the report says why.
    pub async fn checkpoint(
        &self,
        vantage: &Vantage,
        log: &VerifierKey,
        report: &mut Report,
    ) -> Option<Bytes> {
        let name = &vantage.name;
        let fetch = async {
            match (vantage.shows, self.source.api()) {
                (Shows::Checkpoint, Some(api)) => api.find(&witness_path(log), NOTE_BYTES_MAX).await,
                _ => self.source.fetch(Resource::Checkpoint).await,
            }
        };
        match tokio::time::timeout(self.fetch_time_max, fetch).await {
            Ok(Ok(Some(bytes))) => return Some(bytes),
            Ok(Ok(None)) => {
                let message = format_args!("{name} shows no checkpoint");
                report.push(Code::CheckpointUnavailable, Place::Log, message);
            }
            Ok(Err(error @ SourceError::TooLarge { .. })) => {
                report.push(Code::CheckpointMalformed, Place::Log, format_args!("{name}: {error}"));
            }
            Ok(Err(error)) => {
                let message = format_args!("{name}: {}", chain(&error));
                report.push(Code::CheckpointUnavailable, Place::Log, message);
            }
            Err(_) => {
                report.push(Code::CheckpointUnavailable, Place::Log, format_args!("{name}: {TOO_SLOW}"));
            }
        }
        None
    }

    /// Reads a tile or bundle.
    pub async fn tile(&self, path: TilePath, report: &mut Report) -> Answer {
        let place = Place::Tile(path);
        match tokio::time::timeout(self.fetch_time_max, self.source.fetch_tile(path)).await {
            Ok(Ok(Some(bytes))) => return Answer::Bytes(bytes),
            Ok(Ok(None)) => report.push(Code::TileUnavailable, place, "the log does not have it"),
            Ok(Err(SourceError::Status { status: 401 | 403, .. })) => return Answer::Withheld,
            Ok(Err(
                error @ (SourceError::TooLarge { .. }
                | SourceError::Short { .. }
                | SourceError::Bundle { .. }),
            )) => report.push(Code::TileMalformed, place, error),
            Ok(Err(error)) => report.push(Code::TileUnavailable, place, chain(&error)),
            Err(_) => report.push(Code::TileUnavailable, place, TOO_SLOW),
        }
        Answer::Failed
    }

    /// Reads an entry bundle, its statements unless they are known to be withheld, and its hash tile, side by side.
    pub async fn bundle(&self, paths: [TilePath; 3], statements: bool, report: &mut Report) -> [Answer; 3] {
        let [mut first, mut second, mut third] = [(); 3].map(|()| Report::new());
        let asked =
            async { if statements { self.tile(paths[1], &mut second).await } else { Answer::Withheld } };
        let (entries, asked, hashes) =
            tokio::join!(self.tile(paths[0], &mut first), asked, self.tile(paths[2], &mut third));
        for finding in [&first, &second, &third].into_iter().flat_map(Report::findings) {
            report.push(finding.code, finding.place, &finding.message);
        }
        [entries, asked, hashes]
    }

    /// Hashes of nodes of a tree of that size, from the log's tiles, each read once; none if the report says why.
    pub async fn nodes(&self, nodes: &[NodeId], size: TreeSize, report: &mut Report) -> Option<Vec<Hash>> {
        let mut tiles = BTreeMap::new();
        for id in nodes.iter().map(|&node| TileId::of(node)) {
            if let Entry::Vacant(vacant) = tiles.entry(id) {
                vacant.insert(self.hashes(id, id.width(size), report).await?);
            }
        }
        let hash = |node: &NodeId| tiles[&TileId::of(*node)].tree_node(*node);
        Some(nodes.iter().map(|node| hash(node).expect("its tile is as wide as the size makes it")).collect())
    }

    async fn hashes(&self, id: TileId, width: u64, report: &mut Report) -> Option<TileTree> {
        let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
        let answer = self.tile(path, report).await;
        let Answer::Bytes(bytes) = refuse_withheld(path, answer, report) else { return None };
        let tree = TileTree::from_bytes(&bytes).ok().filter(|tree| tree.width() == width);
        if tree.is_none() {
            let message = format_args!("the tile has {} bytes, not {}", bytes.len(), 32 * width);
            report.push(Code::TileMalformed, Place::Tile(path), message);
        }
        tree
    }
}

/// What must be public and is withheld could not be had.
pub fn refuse_withheld(path: TilePath, answer: Answer, report: &mut Report) -> Answer {
    if answer == Answer::Withheld {
        report.push(Code::TileUnavailable, Place::Tile(path), "the log asks for a token");
        return Answer::Failed;
    }
    answer
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

//! What a monitor reads from one vantage point, with a limit to how long it waits, and what a failure amounts to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use counterfoil_merkle::{Hash, key::VerifierKey, tile::TilePath};
use counterfoil_receipt::audit::{Code, Place, Report};

use super::vantage::{Shows, Vantage, place};
use crate::source::{Resource, Source, SourceError, back_off};

/// The longest wait for one file with all attempts, however slowly it drips, unless somebody says otherwise.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(60);

/// How often a file is asked for that is missing or not answered for, unless somebody says otherwise.
pub const ATTEMPTS: u32 = 3;

/// How patient a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for one file, all attempts together.
    pub time_max: Duration,
    /// How often a file is asked for.
    pub attempts: u32,
}

/// What came of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Bytes, of any content.
    Bytes(Bytes),
    /// It is shown to others only (401 or 403).
    Withheld,
    /// Nothing; why is in the report.
    Failed,
}

/// A vantage point, read with limits.
#[derive(Debug)]
pub struct Reader {
    vantage: Vantage,
    place: Place,
    patience: Patience,
    troubles: AtomicU64,
}

/// Why there are no bytes.
enum Trouble {
    Missing,
    Withheld,
    Malformed(SourceError),
    Silent(String),
}

impl Reader {
    /// The reader of the vantage point with that position among all of the log's.
    pub fn new(vantage: Vantage, position: usize, patience: Patience) -> Self {
        Self { vantage, place: place(position), patience, troubles: AtomicU64::new(0) }
    }

    /// What its owner calls the vantage point.
    pub fn name(&self) -> &str {
        &self.vantage.name
    }

    /// Where it is.
    pub const fn source(&self) -> &Source {
        &self.vantage.source
    }

    /// What the vantage point shows.
    pub const fn shows(&self) -> Shows {
        self.vantage.shows
    }

    /// Where findings about the vantage point are.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The same vantage point, asked once for each file.
    pub fn once(&self) -> Self {
        let patience = Patience { attempts: 1, ..self.patience };
        let (vantage, place) = (self.vantage.clone(), self.place);
        Self { vantage, place, patience, troubles: AtomicU64::new(0) }
    }

    /// How many reads so far had to be tried again: whoever reads much at once should read less.
    pub fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }

    /// Reads the checkpoint that is shown of a log; none if the report says why.
    pub async fn checkpoint(&self, log: &VerifierKey, report: &mut Report) -> Option<Bytes> {
        let resource = match self.vantage.shows {
            Shows::Log => Resource::Checkpoint,
            Shows::Checkpoint => Resource::Cosigned(Hash::of(&[log.name().as_str().as_bytes()])),
        };
        let (code, message) = match self.read(resource).await {
            Ok(bytes) => return Some(bytes),
            Err(Trouble::Missing) => (Code::CheckpointUnavailable, "shows no checkpoint".to_owned()),
            Err(Trouble::Withheld) => (Code::CheckpointUnavailable, "asks for a token".to_owned()),
            Err(Trouble::Malformed(error)) => (Code::CheckpointMalformed, error.to_string()),
            Err(Trouble::Silent(reason)) => (Code::CheckpointUnavailable, reason),
        };
        report.push(code, self.place, format_args!("{}: {message}", self.name()));
        None
    }

    /// Reads a tile or bundle.
    pub async fn tile(&self, path: TilePath, report: &mut Report) -> Answer {
        let (code, message) = match self.read(path.into()).await {
            Ok(bytes) => return Answer::Bytes(bytes),
            Err(Trouble::Withheld) => return Answer::Withheld,
            Err(Trouble::Missing) => (Code::TileUnavailable, "does not have it".to_owned()),
            Err(Trouble::Malformed(error)) => (Code::TileMalformed, error.to_string()),
            Err(Trouble::Silent(reason)) => (Code::TileUnavailable, reason),
        };
        report.push(code, Place::Tile(path), format_args!("{}: {message}", self.name()));
        Answer::Failed
    }

    /// As [`Reader::tile`], for what must be public.
    pub async fn public_tile(&self, path: TilePath, report: &mut Report) -> Option<Bytes> {
        match self.tile(path, report).await {
            Answer::Bytes(bytes) => Some(bytes),
            Answer::Failed => None,
            Answer::Withheld => {
                let message = format_args!("{}: asks for a token", self.name());
                report.push(Code::TileUnavailable, Place::Tile(path), message);
                None
            }
        }
    }

    /// Reads exactly that tile or bundle, once, if it is still there: whoever has the full one may drop a partial one.
    pub async fn still(&self, path: TilePath) -> Option<Bytes> {
        let fetched = tokio::time::timeout(self.patience.time_max, self.vantage.source.fetch(path.into()));
        fetched.await.ok()?.ok()?
    }

    /// Reads a file, and tries again what may come yet: a cache may lag behind, a server may be busy.
    async fn read(&self, resource: Resource) -> Result<Bytes, Trouble> {
        let attempts = async {
            let mut attempt = 0;
            loop {
                let trouble = match self.fetch(resource).await {
                    Err(trouble @ (Trouble::Missing | Trouble::Silent(_))) => trouble,
                    settled => return settled,
                };
                attempt += 1;
                if attempt >= self.patience.attempts {
                    return Err(trouble);
                }
                self.troubles.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(back_off(attempt - 1, None)).await;
            }
        };
        tokio::time::timeout(self.patience.time_max, attempts)
            .await
            .unwrap_or_else(|_| Err(Trouble::Silent("does not answer in time".to_owned())))
    }

    async fn fetch(&self, resource: Resource) -> Result<Bytes, Trouble> {
        let fetched = match resource {
            Resource::Tile(path) => self.vantage.source.fetch_tile(path).await,
            file => self.vantage.source.fetch(file).await,
        };
        match fetched {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Trouble::Missing),
            Err(SourceError::Status { status: 401 | 403, .. }) => Err(Trouble::Withheld),
            Err(
                error @ (SourceError::TooLarge { .. }
                | SourceError::Short { .. }
                | SourceError::Bundle { .. }),
            ) => Err(Trouble::Malformed(error)),
            Err(error) => Err(Trouble::Silent(chain(&error))),
        }
    }
}

/// The vantage points that serve tiles, with the one that is asked first.
#[derive(Clone, Debug)]
pub struct Readers {
    all: Vec<Arc<Reader>>,
    first: usize,
}

impl Readers {
    /// Those of the readers that serve tiles. The one at `place` is asked first, if it is among them.
    pub fn new(all: &[Arc<Reader>], place: Place) -> Self {
        let all: Vec<_> = all.iter().filter(|reader| reader.shows() == Shows::Log).cloned().collect();
        let first = all.iter().position(|reader| reader.place() == place).unwrap_or(0);
        Self { all, first }
    }

    /// The same, each asked once for each file.
    #[must_use]
    pub fn once(&self) -> Self {
        Self { all: self.all.iter().map(|reader| Arc::new(reader.once())).collect(), first: self.first }
    }

    /// The one that is asked first; none if nobody serves tiles.
    pub fn first(&self) -> Option<&Arc<Reader>> {
        self.all.get(self.first)
    }

    /// All, the first first.
    pub fn in_turn(&self) -> Vec<Arc<Reader>> {
        let (before, after) = self.all.split_at(self.first.min(self.all.len()));
        after.iter().chain(before).cloned().collect()
    }

    /// From now on the next one is asked first.
    pub fn pass(&mut self) {
        self.first = (self.first + 1) % self.all.len().max(1);
    }

    /// Reads a public tile from whoever has one that `accept` takes; none if the report says why.
    ///
    /// Whoever had it is asked first from then on.
    pub async fn tile<T>(
        &mut self,
        path: TilePath,
        report: &mut Report,
        accept: impl Fn(&[u8], &mut Report) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..self.all.len() {
            let reader = Arc::clone(&self.all[self.first]);
            if let Some(bytes) = reader.public_tile(path, report).await
                && let Some(accepted) = accept(&bytes, report)
            {
                return Some(accepted);
            }
            self.pass();
        }
        None
    }
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

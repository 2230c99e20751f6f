//! Checking a whole log that is not running: every entry and statement, every tile and bundle, the commits, the guard
//! and the published checkpoint. Reads only.

mod admission;
mod erasures;
mod unfound;

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use counterfoil_merkle::{
    TreeSize,
    bundle::same_but_erased,
    frontier::FullTile,
    tile::{TILE_WIDTH, TileKind, TilePath},
    tree::TreeError,
};
use counterfoil_receipt::{
    Kind, Timestamp,
    audit::{
        Audit, Class, Ids, Leaf, Report, Seen, Slot,
        served::{bundle_items, check_tile},
    },
};

use crate::{
    config::{Config, ConfigError},
    guard::{Guard, GuardError},
    objects::{CHECKPOINT, Objects, StoreError},
    recover::{Loaded, RecoverError, check_guard, load},
    tiles::{Edge, ReadError, Tiles},
};
use admission::AdmissionCheck;

/// What was found.
#[derive(Debug, Default)]
pub struct FsckReport {
    /// Findings about the log as readers see it.
    pub audit: Report,
    /// What is wrong with how it is stored.
    pub damage: Vec<String>,
    size: u64,
    root: String,
    commits: usize,
    tiles: u64,
    /// How many records were judged again, and how many of them in part.
    judged: Option<(u64, u64)>,
    /// How many erasures the log orders, and how many of them are still to be carried out.
    erasures: (u64, u64),
}

impl FsckReport {
    /// Whether the log keeps its promises and is stored as it should be. What issuers did wrong is not its fault, and its
    /// operator may have to erase.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.audit.gravest().is_none_or(|class| class >= Class::ErasedByLog)
    }
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.audit.findings() {
            writeln!(f, "{finding}")?;
        }
        for damage in &self.damage {
            writeln!(f, "DAMAGE {damage}")?;
        }
        let Self { size, root, commits, tiles, .. } = self;
        let verdict = if self.is_clean() { "clean" } else { "NOT IN ORDER" };
        writeln!(
            f,
            "{verdict}: {size} entries, {tiles} full tiles and bundles, {commits} commits, root {root}"
        )?;
        if let (ordered @ 1.., left) = self.erasures {
            writeln!(f, "erasures: {ordered} ordered, {left} still to be carried out by the next start")?;
        }
        match self.judged {
            None => Ok(()),
            Some((judged, 0)) => writeln!(f, "admission: {judged} records judged again"),
            Some((judged, part)) => writeln!(
                f,
                "admission: {judged} records judged again, {part} of them on what is left of erased statements"
            ),
        }
    }
}

/// Checks the log of a configuration; with `admission`, also whether each record was let in rightly.
///
/// # Errors
/// What kept it from telling: the directory cannot be read, or a server is running on it.
pub fn fsck(config: &Config, now: Timestamp, admission: bool) -> Result<FsckReport, FsckError> {
    check_store(config, Arc::new(Objects::of(config)?), Guarded::Yes, now, admission)
}

/// Whether a store is the one that the guard stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It is: the guard must not be ahead of it.
    Yes,
    /// It is a copy, which may be older.
    Copy,
}

/// As [`fsck`], of any store that nobody writes to meanwhile, with the keys of that configuration.
pub fn check_store(
    config: &Config,
    objects: Arc<Objects>,
    guarded: Guarded,
    now: Timestamp,
    admission: bool,
) -> Result<FsckReport, FsckError> {
    let mut report = FsckReport::default();
    let loaded = match load(&objects) {
        Ok(loaded) => loaded,
        Err(RecoverError::Store(error @ (StoreError::Object { .. } | StoreError::Directory { .. }))) => {
            return Err(error.into());
        }
        Err(error) => {
            report.damage.push(error.to_string());
            report.damage.extend(unfound::name_damage(&objects, &error));
            return Ok(report);
        }
    };
    report.commits = loaded.chain.len();
    if guarded == Guarded::Yes {
        check_the_guard(config, &loaded, &objects, &mut report);
    }
    let audit = Audit::new(config.log_vkey()?, Some(config.clock_vkey()?)).with_ids(Ids::all());
    let edge = Arc::new(loaded.edge);
    let admission = admission.then(|| {
        let tiles = Tiles::new(Arc::clone(&objects));
        tiles.hold(loaded.filled.iter().cloned());
        let log = config.log_vkey()?.name().as_str().parse().map_err(|_| FsckError::Origin)?;
        Ok::<_, FsckError>(AdmissionCheck::new(log, tiles, Arc::clone(&edge)))
    });
    let mut check = Check {
        admission: admission.transpose()?,
        objects: Arc::clone(&objects),
        unsettled: loaded.filled.iter().cloned().collect(),
        published: None,
        audit,
        now,
        report,
    };
    check.checkpoint()?;
    check.leaves(&edge)?;
    check.erasures(&edge)?;
    let head = edge.frontier.head();
    check.audit.check_head(head, &mut check.report.audit);
    check.audit.check_gaps(now, &mut check.report.audit);
    (check.report.size, check.report.root) = (head.size.get(), head.root.to_string());
    check.report.judged = check.admission.map(|admission| (admission.size().get(), admission.in_part()));
    Ok(check.report)
}

fn check_the_guard(config: &Config, loaded: &Loaded, objects: &Arc<Objects>, report: &mut FsckReport) {
    let origin = config.log_vkey().map(|key| key.name().to_string()).unwrap_or_default();
    let checked = Guard::open(&config.guard)
        .map_err(RecoverError::from)
        .and_then(|guard| check_guard(loaded, guard.mark(), &origin, objects));
    if let Err(error) = checked {
        report.damage.push(error.to_string());
    }
}

struct Check {
    admission: Option<AdmissionCheck>,
    objects: Arc<Objects>,
    /// What the retained commits fill; it need not be in the store yet.
    unsettled: BTreeMap<TilePath, Bytes>,
    published: Option<Seen>,
    audit: Audit,
    now: Timestamp,
    report: FsckReport,
}

impl Check {
    /// The published checkpoint, if there is a copy; its root is held against the leaves when they are as many.
    fn checkpoint(&mut self) -> Result<(), FsckError> {
        if let Some(note) = self.objects.get(CHECKPOINT)? {
            self.published = self.audit.checkpoint(&note, self.now, &mut self.report.audit);
            self.published_here();
        }
        Ok(())
    }

    fn leaves(&mut self, edge: &Edge) -> Result<(), FsckError> {
        let full = edge.ragged_start() / TILE_WIDTH;
        for index in 0..full {
            let (entries, statements) =
                (self.bundle(TileKind::Entries, index)?, self.bundle(TileKind::Statements, index)?);
            let (Some(entries), Some(statements)) = (entries, statements) else { return Ok(()) };
            let mut items =
                |kind, bytes| bundle_items(TilePath::full(kind, index), bytes, &mut self.report.audit);
            let entries = items(TileKind::Entries, &entries);
            let statements = items(TileKind::Statements, &statements);
            let (Some(entries), Some(statements)) = (entries, statements) else { return Ok(()) };
            for (entry, statement) in entries.into_iter().zip(statements) {
                self.leaf(entry, statement)?;
            }
        }
        for item in &edge.items {
            self.leaf(&item.entry, &item.statement)?;
        }
        if let Some(seen) = &self.published
            && seen.head().size > edge.size()
        {
            let (size, published) = (edge.size(), seen.head().size);
            self.report
                .damage
                .push(format!("a checkpoint of size {published} is published, and {size} are committed"));
        }
        Ok(())
    }

    /// A full bundle, the stored one compared with what the commits give.
    fn bundle(&mut self, kind: TileKind, index: u64) -> Result<Option<Bytes>, FsckError> {
        let path = TilePath::full(kind, index);
        let stored = self.objects.get(&path.to_string())?;
        match (stored, self.unsettled.get(&path)) {
            (Some(stored), Some(committed)) if !is_same(kind, &stored, committed) => {
                self.report.damage.push(format!("{path} is not what the commits give"));
                Ok(None)
            }
            (Some(stored), _) => {
                self.report.tiles += 1;
                Ok(Some(stored))
            }
            (None, Some(committed)) => Ok(Some(committed.clone())),
            (None, None) => {
                self.report.damage.push(format!("{path} is missing"));
                Ok(None)
            }
        }
    }

    fn leaf(&mut self, entry: &[u8], statement: &[u8]) -> Result<(), FsckError> {
        let mut filled = Vec::new();
        let leaf = Leaf::read(entry, Slot::Served(statement));
        self.report.erasures.0 += u64::from(leaf.entry().is_some_and(|entry| entry.kind == Kind::Erasure));
        if let Some(admission) = &mut self.admission {
            admission.leaf(&leaf, &mut self.report.audit)?;
        }
        self.audit.take(&leaf, self.now, &mut self.report.audit, |tile| filled.push(tile))?;
        for tile in filled {
            self.hash_tile(&tile)?;
        }
        self.published_here();
        Ok(())
    }

    /// A full hash tile: the stored one must be the recomputed one.
    fn hash_tile(&mut self, tile: &FullTile) -> Result<(), FsckError> {
        let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
        match self.objects.get(&path.to_string())? {
            Some(stored) => {
                self.report.tiles += 1;
                check_tile(path, &stored, &tile.tree, &mut self.report.audit);
            }
            None if self.unsettled.contains_key(&path) => {}
            None => self.report.damage.push(format!("{path} is missing")),
        }
        Ok(())
    }

    fn published_here(&mut self) {
        let size: TreeSize = self.audit.size();
        if let Some(seen) = self.published.as_ref().filter(|seen| seen.head().size == size) {
            self.audit.check_head(seen.head(), &mut self.report.audit);
        }
    }
}

/// Whether what is stored is what the commits give: an erased statement equals anything.
fn is_same(kind: TileKind, stored: &[u8], committed: &[u8]) -> bool {
    stored == committed || (kind == TileKind::Statements && same_but_erased(stored, committed))
}

/// What kept the check from telling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsckError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be read, or a server is running on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tile or bundle cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The guard cannot be read.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The name of the log's key is not an origin.
    #[error("log_key: its name is not an origin")]
    Origin,
    /// More entries than a tree can have.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

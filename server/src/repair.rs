//! Repair of a log that is not running: what is damaged or missing is made again from what is sound here, or fetched from a
//! mirror. What the log committed to decides, never the mirror.
//!
//! The newest unbroken chain of commits says which tree there must be below it. From its root down each tile vouches for
//! those below, these for the entries, and each entry for its statement: an object is written only if it has just the bytes
//! that were committed to, and one that has them already is never touched. A statement that was ordered to go is not
//! brought back, whatever a mirror still has. In the end the whole log is audited, as `fsck` does.
//!
//! Damaged tiles and entry bundles are kept under `set-aside/`. What has statements in it is not: these have to go when they
//! are erased.

mod commits;
mod mirror;
mod statements;
#[cfg(test)]
mod tests;
mod tree;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, LeafIndex,
    checkpoint::{CheckpointError, Origin},
    tile::{TileKind, TilePath},
    tree::TreeError,
};
use counterfoil_receipt::Timestamp;
use futures::executor::block_on;

use crate::{
    config::{Config, ConfigError},
    fsck::{FsckError, FsckReport, Guarded, check_store},
    guard::{Guard, GuardError, Mark},
    objects::{CHECKPOINT, Objects, StoreError},
    publish::Identity,
    recover::{RecoverError, replay_all},
    scrub::is_disk_error,
    tiles::{Edge, ReadError, Tiles},
};
pub use mirror::{Mirror, MirrorError};
use tree::Base;

/// What became of one object that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// Which.
    pub name: String,
    /// What was done.
    pub fate: Fate,
}

/// What was done about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The mirror had it.
    Fetched {
        /// Where the damaged bytes are kept, if they are.
        aside: Option<String>,
    },
    /// It was made again from what is sound here.
    Remade {
        /// Where the damaged bytes are kept, if they are.
        aside: Option<String>,
    },
    /// It was deleted: all that it held is in tiles and bundles.
    Dropped,
    /// It stays as it is.
    Left {
        /// Why.
        why: Why,
    },
}

/// Why something was not mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The mirror lies, or is damaged itself.
    #[error("refused: what the mirror has is not what the log committed to")]
    Refused,
    /// The mirror has another statement.
    #[error("refused: the mirror's statement of entry {leaf} is not the one that the entry names")]
    RefusedStatement {
        /// Whose.
        leaf: u64,
    },
    /// The mirror has an empty slot.
    #[error("the mirror does not have the statement of entry {leaf} either, and no record orders that")]
    NoStatement {
        /// Whose.
        leaf: u64,
    },
    /// The mirror does not give it.
    #[error("the mirror does not have it: status {status}")]
    Absent {
        /// HTTP status.
        status: u16,
    },
    /// The mirror does not answer.
    #[error("the mirror does not answer: {reason}")]
    Unanswered {
        /// How that shows.
        reason: String,
    },
    /// A commit that says what must be there is gone.
    #[error("nothing here says what it was; restore a backup")]
    Unknown,
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, fate } = self;
        match fate {
            Fate::Fetched { .. } => write!(f, "mended {name}: fetched from the mirror")?,
            Fate::Remade { .. } => write!(f, "mended {name}: made again from what is sound here")?,
            Fate::Dropped => write!(f, "dropped {name}: all that it held is in tiles and bundles")?,
            Fate::Left { why } => write!(f, "NOT MENDED {name}: {why}")?,
        }
        match fate {
            Fate::Fetched { aside: Some(aside) } | Fate::Remade { aside: Some(aside) } => {
                write!(f, "; the damaged bytes are in {aside}")
            }
            _ => Ok(()),
        }
    }
}

/// What a repair came to.
#[derive(Debug)]
pub struct Repaired {
    /// How many objects were mended or dropped.
    pub mended: u64,
    /// What was not mended.
    pub left: Vec<Mend>,
    /// The audit of the log as it is now.
    pub report: FsckReport,
}

impl Repaired {
    /// Whether the log is in order.
    pub fn is_whole(&self) -> bool {
        self.left.is_empty() && self.report.is_clean()
    }

    /// Whether all that is left is left because the mirror did not answer.
    pub fn is_unanswered(&self) -> bool {
        let unanswered = |mend: &Mend| matches!(mend.fate, Fate::Left { why: Why::Unanswered { .. } });
        !self.left.is_empty() && self.left.iter().all(unanswered)
    }
}

/// Repairs the log of a configuration, with what a mirror has; `tell` hears of each object that was damaged or missing, in
/// the moment that its fate is known.
///
/// Reads and hashes the whole log, twice, and checks every signature.
///
/// # Errors
/// What kept it from telling: the directory cannot be read or written, or a server is running on it.
pub fn repair(
    config: &Config,
    mirror: Mirror,
    now: Timestamp,
    tell: &mut dyn FnMut(&Mend),
) -> Result<Repaired, RepairError> {
    let objects = Arc::new(Objects::open(config.local_data()?)?);
    let mark = match Guard::open(&config.guard) {
        Ok(guard) => Some(guard.mark().clone()),
        Err(GuardError::Missing { .. } | GuardError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let (log, clock) = (config.log_vkey()?, config.clock_vkey()?);
    let identity = Identity { origin: Origin::new(log.name().as_str())?, log, clock };
    let mut repair = Repair {
        objects: Arc::clone(&objects),
        mirror,
        mark,
        identity,
        tell,
        erasures: Vec::new(),
        ragged: Vec::new(),
        mended: 0,
        left: Vec::new(),
    };
    repair.run()?;
    let (mended, left) = (repair.mended, repair.left);
    let report = check_store(config, objects, Guarded::Yes, now, false)?;
    Ok(Repaired { mended, left, report })
}

struct Repair<'a> {
    objects: Arc<Objects>,
    mirror: Mirror,
    /// What the guard saw last, if there is one.
    mark: Option<Mark>,
    identity: Identity,
    tell: &'a mut dyn FnMut(&Mend),
    /// Records that order an erasure, and what they are about.
    erasures: Vec<(LeafIndex, Hash)>,
    /// Bundles above the last full one below the commits that are to be put.
    ragged: Vec<(TilePath, From)>,
    mended: u64,
    left: Vec<Mend>,
}

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Mirror,
    Here,
}

impl Repair<'_> {
    /// From the root down, then from the commits up. Where something below is not mended, what is above stays as it is.
    fn run(&mut self) -> Result<(), RepairError> {
        let Some(chain) = self.chain()? else { return Ok(()) };
        let Some(base) = self.tree(chain.base())? else { return Ok(()) };
        let orders = self.orders(&base, &chain)?;
        let Some(items) = self.all_statements(&base, &orders)? else { return Ok(()) };
        let mut edge = Edge::new(base.frontier, items);
        let (filled, _) = replay_all(&chain.records, &mut edge)?;
        let tiles = Tiles::new(Arc::clone(&self.objects));
        tiles.hold(filled.iter().cloned());
        tiles.erase(&orders);
        for (path, from) in std::mem::take(&mut self.ragged) {
            // The commits may have filled it.
            let is_filled = filled.iter().any(|(filled, _)| *filled == path.to_full());
            let path = if is_filled { path.to_full() } else { path };
            let bytes = block_on(tiles.file(&edge, path))?.ok_or(ReadError::Missing { path })?;
            let stored = self.stored(&path.to_string())?;
            self.put(path, bytes, stored.as_ref(), from)?;
        }
        let mut rest: Vec<_> = filled.iter().map(|(path, _)| *path).collect();
        rest.extend(self.objects.tile_paths()?.into_iter().filter(|path| !path.is_full()));
        for path in rest {
            self.compare(path, &tiles, &edge)?;
        }
        if !self.left.is_empty() {
            return Ok(());
        }
        self.commits(&chain, &edge)?;
        self.checkpoint(&tiles, &edge)
    }

    /// Compares an object with what the log says it must be, and makes it again if it is not that.
    fn compare(&mut self, path: TilePath, tiles: &Tiles, edge: &Edge) -> Result<(), RepairError> {
        let stored = self.stored(&path.to_string())?;
        // What a tree of this size does not have is not read by anybody.
        let Some(expected) = block_on(tiles.file(edge, path))? else { return Ok(()) };
        let is_same = |stored: &Bytes| match path.kind {
            TileKind::Statements => statements::is_same(stored, &expected),
            TileKind::Hashes(_) | TileKind::Entries => *stored == expected,
        };
        match &stored {
            Some(stored) if is_same(stored) => Ok(()),
            damaged => self.put(path, expected.clone(), damaged.as_ref(), From::Here),
        }
    }

    /// The copy of the published checkpoint. One that is missing is made by the next start; a damaged one may have had
    /// witnesses' signatures, which a mirror still has.
    fn checkpoint(&mut self, tiles: &Tiles, edge: &Edge) -> Result<(), RepairError> {
        let Some(stored) = self.stored(CHECKPOINT)? else { return Ok(()) };
        if self.identity.published_before(&stored).is_some() {
            return Ok(());
        }
        let fetched = self.mirror.checkpoint().and_then(|fetched| {
            let (shown, _) = self.identity.published_before(&fetched).ok_or(Why::Refused)?;
            let head = shown.unverified().head;
            let root = (head.size <= edge.size()).then(|| block_on(tiles.root_at(&edge.frontier, head.size)));
            Ok((fetched, head, root))
        });
        match fetched {
            Ok((fetched, head, Some(root))) if root.as_ref().is_ok_and(|root| *root == head.root) => {
                let aside = Some(self.keep_aside(CHECKPOINT, &stored)?);
                self.objects.replace_durably(CHECKPOINT, fetched)?;
                self.done(CHECKPOINT.to_owned(), Fate::Fetched { aside });
            }
            Ok(_) => self.leave(CHECKPOINT, Why::Refused),
            Err(why) => self.leave(CHECKPOINT, why),
        }
        Ok(())
    }

    /// An object's bytes; what the disk does not give counts as missing.
    fn stored(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match self.objects.get(name) {
            Err(error) if is_disk_error(&error) => Ok(None),
            stored => stored,
        }
    }

    /// Puts the right bytes in an object's place, durably, and keeps the damaged ones.
    fn put(
        &mut self,
        path: TilePath,
        bytes: Bytes,
        stored: Option<&Bytes>,
        from: From,
    ) -> Result<(), RepairError> {
        let name = path.to_string();
        let aside = match stored.filter(|_| path.kind != TileKind::Statements) {
            Some(damaged) => Some(self.keep_aside(&name, damaged)?),
            None => None,
        };
        self.objects.replace_durably(&name, bytes.clone())?;
        // Its directories may be new, or of a life that did not sync them.
        self.objects.sync_found(&name)?;
        if self.objects.get(&name)? != Some(bytes) {
            return Err(StoreError::Differs { name }.into());
        }
        let fate = match from {
            From::Mirror => Fate::Fetched { aside },
            From::Here => Fate::Remade { aside },
        };
        self.done(name, fate);
        Ok(())
    }

    /// Keeps damaged bytes under a name that tells them from others of the same object.
    fn keep_aside(&self, name: &str, damaged: &Bytes) -> Result<String, StoreError> {
        let digest = Hash::of(&[damaged]).to_string();
        let aside = format!("set-aside/{}-{}", name.replace('/', "-"), &digest[..16]);
        self.objects.create_or_compare(&aside, damaged.clone())?;
        Ok(aside)
    }

    fn done(&mut self, name: String, fate: Fate) {
        self.mended += 1;
        (self.tell)(&Mend { name, fate });
    }

    fn leave(&mut self, name: impl fmt::Display, why: Why) {
        let mend = Mend { name: name.to_string(), fate: Fate::Left { why } };
        (self.tell)(&mend);
        self.left.push(mend);
    }
}

/// Why nothing can be told of a log, or nothing more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The name of the log's key is not an origin.
    #[error("log_key: {0}")]
    Origin(#[from] CheckpointError),
    /// The data directory cannot be read or written, or a server is running on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that was mended cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The guard is held by another process.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The commits contradict themselves, or there are none.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The log could not be audited afterwards.
    #[error(transparent)]
    Fsck(#[from] FsckError),
    /// More entries than a tree can have.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

//! Backup of a log, running or stopped, into another directory, and the way back.
//!
//! A backup is a log as it was at one moment: its full tiles and bundles, the commits above them, the last published
//! checkpoint. Everything is hashed again on the way, and the copy is audited as `fsck` audits a log before it counts as one.
//! Objects never change, so the next backup into the same directory adds what is new; statements that were erased
//! are emptied there too. It never takes a backup back: a log that is behind the backup, or has another history, is refused.
//!
//! Keys, configuration and guard are no part of it. The guard above all: it is what tells an old copy from the log.

mod gather;
mod transfer;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    tile::{TILE_WIDTH, TilePath},
};
use counterfoil_receipt::Timestamp;

use crate::{
    config::{Config, ConfigError},
    fsck::{FsckError, FsckReport, Guarded, check_store},
    guard::{Guard, GuardError, Mark},
    objects::{Created, Objects, StoreError},
    recover::{RecoverError, check_guard},
    rehash::{Damage, Fault},
    tiles::ReadError,
};
use gather::{Gathered, gather};
pub use transfer::Copied;
use transfer::Transfer;

/// The object that makes a directory a backup: the log's origin.
const MARKER: &str = "backup";

/// How often tiles are copied that came while tiles were copied.
const ROUNDS: usize = 100;

/// A backup that was made, or a log that was restored.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Number of its newest commit.
    pub commit: u64,
    /// Size and root of it.
    pub head: TreeHead,
    /// What was copied.
    pub copied: Copied,
    /// Whether there is a guard that the restored log may be written to with.
    pub guarded: bool,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commit, head: TreeHead { size, root }, copied, .. } = self;
        writeln!(f, "{size} entries up to commit {commit}, root {root}, audited")?;
        let Copied { new, same, emptied } = copied;
        write!(
            f,
            "tiles and bundles: {new} copied, {same} there before, {emptied} with erased statements emptied"
        )
    }
}

/// Backs a log up into a directory: a new or empty one, or one that has a backup of this log.
///
/// Reads and hashes all of both, and checks every signature of the copy.
///
/// # Errors
/// See [`BackupError::is_refusal`]. If the log went back, or the backup is damaged, nothing was changed.
pub fn backup(config: &Config, to: &Path, now: Timestamp) -> Result<Done, BackupError> {
    let origin = config.log_vkey()?.name().to_string();
    let from = Arc::new(Objects::open_read_only(config.local_data()?)?);
    let first = gather(&from)?;
    let to = Arc::new(open_backup(to, &config.data, &origin)?);
    let before = if to.commit_numbers()?.is_empty() { None } else { Some(gather(&to).map_err(in_backup)?) };
    if let Some(before) = &before {
        check_not_back(&from, &first, before, &origin, now)?;
    }
    check_not_beyond(&to.tile_paths()?, first.loaded.edge.size())?;
    let durable = before.map_or(0, |before| before.below() / TILE_WIDTH);
    let mut done = copy(&from, &to, durable)?;
    let mut report = check_store(config, Arc::clone(&to), Guarded::Copy, now, false)?;
    if !report.is_clean() {
        // A statement may have been erased between its record and its bundle: then the record is there now.
        done = copy(&from, &to, 0)?;
        report = check_store(config, Arc::clone(&to), Guarded::Copy, now, false)?;
    }
    if report.is_clean() { Ok(done) } else { Err(BackupError::NotClean { report: Box::new(report) }) }
}

/// Makes the data directory of a configuration out of a backup. It must be empty, or not be there.
///
/// # Errors
/// If the log was published past the backup, as the guard tells, or the backup is not in order, nothing was changed.
pub fn restore(config: &Config, from: &Path, now: Timestamp) -> Result<Done, BackupError> {
    let origin = config.log_vkey()?.name().to_string();
    let from = Arc::new(Objects::open_read_only(from)?);
    check_marker(&from, &origin)?;
    check_empty(config.local_data()?)?;
    let gathered = gather(&from).map_err(in_backup)?;
    // Held until the end, so that no server starts meanwhile.
    let guard = match Guard::open(&config.guard) {
        Ok(guard) => Some(guard),
        Err(GuardError::Missing { .. } | GuardError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(guard) = &guard {
        check_published(config, guard.mark(), &gathered, &origin, &from)?;
    }
    let report = check_store(config, Arc::clone(&from), Guarded::Copy, now, false)?;
    if !report.is_clean() {
        return Err(BackupError::NotClean { report: Box::new(report) });
    }
    let to = Arc::new(Objects::init(&config.data)?);
    let done = copy(&from, &to, 0)?;
    let report = check_store(config, to, Guarded::Copy, now, false)?;
    if !report.is_clean() {
        return Err(BackupError::NotClean { report: Box::new(report) });
    }
    Ok(Done { guarded: guard.is_some(), ..done })
}

/// What keeps a backup from being read.
fn in_backup(error: BackupError) -> BackupError {
    match error {
        BackupError::Recover(RecoverError::Empty) => BackupError::Unfinished,
        error => BackupError::Damaged { error: Box::new(error) },
    }
}

/// Tiles before the commits that need them, until none came meanwhile.
fn copy(from: &Arc<Objects>, to: &Arc<Objects>, durable: u64) -> Result<Done, BackupError> {
    let mut transfer = Transfer::new(Arc::clone(from), Arc::clone(to), durable);
    for _ in 0..ROUNDS {
        let gathered = gather(from)?;
        if transfer.bundles(&gathered)? {
            continue;
        }
        transfer.finish(&gathered)?;
        transfer.forget_partials(&gathered)?;
        let (newest, head) = (gathered.loaded.newest(), gathered.loaded.edge.frontier.head());
        return Ok(Done { commit: newest.number, head, copied: transfer.copied, guarded: false });
    }
    Err(BackupError::Moving)
}

/// Opens a directory for a backup, and makes it one if it is new or empty.
fn open_backup(to: &Path, data: &Path, origin: &str) -> Result<Objects, BackupError> {
    let failed = |source| BackupError::Directory { path: to.to_owned(), source };
    let data =
        data.canonicalize().map_err(|source| BackupError::Directory { path: data.to_owned(), source })?;
    let whole = std::path::absolute(to).map_err(failed)?;
    let inside = whole.ancestors().find_map(|path| path.canonicalize().ok());
    if inside.is_some_and(|path| path.starts_with(&data)) {
        return Err(BackupError::Inside { path: to.to_owned() });
    }
    let mut names = match fs::read_dir(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        names => Some(names.map_err(failed)?),
    };
    if names.as_mut().is_none_or(|names| names.next().is_none()) {
        let objects = Objects::init(to)?;
        return match objects.create(MARKER, marker(origin))? {
            Created::Made => Ok(objects),
            Created::Found => Err(BackupError::NotABackup { path: to.to_owned() }),
        };
    }
    check_marker(&Objects::open_read_only(to)?, origin).map_err(|error| match error {
        BackupError::NoMarker => BackupError::NotABackup { path: to.to_owned() },
        error => error,
    })?;
    Ok(Objects::open(to)?)
}

fn marker(origin: &str) -> Bytes {
    format!("counterfoil-backup/v1\n{origin}\n").into()
}

fn check_marker(objects: &Objects, origin: &str) -> Result<(), BackupError> {
    match objects.get(MARKER)? {
        Some(text) if text == marker(origin) => Ok(()),
        Some(_) => Err(BackupError::OtherLog { origin: origin.to_owned() }),
        None => Err(BackupError::NoMarker),
    }
}

fn check_empty(data: &Path) -> Result<(), BackupError> {
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BackupError::Directory { path: data.to_owned(), source }),
        Ok(mut names) => match names.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty { path: data.to_owned() }),
        },
    }
}

/// The log must be the one in the backup, or have grown from it.
fn check_not_back(
    from: &Arc<Objects>,
    log: &Gathered,
    backup: &Gathered,
    origin: &str,
    now: Timestamp,
) -> Result<(), BackupError> {
    let (newest, head) = (backup.loaded.newest(), backup.loaded.edge.frontier.head());
    let mark = Mark { origin: origin.to_owned(), commit: newest.number, head, time: now };
    match check_guard(&log.loaded, &mark, origin, from) {
        Ok(()) => {}
        Err(RecoverError::Behind { .. }) => {
            let own = log.loaded.newest();
            return Err(BackupError::Back {
                log: (own.number, own.size),
                backup: (newest.number, newest.size),
            });
        }
        Err(RecoverError::Forked { size, guard, store }) => {
            return Err(BackupError::OtherHistory { size, backup: guard, log: store });
        }
        Err(error) => return Err(error.into()),
    }
    for (number, bytes) in &backup.commits {
        if log.commits.iter().any(|(own, other)| own == number && other != bytes) {
            return Err(BackupError::OtherCommit { number: *number });
        }
    }
    Ok(())
}

/// A backup that was cut short may have tiles above its commits.
fn check_not_beyond(stored: &[TilePath], size: TreeSize) -> Result<(), BackupError> {
    match stored.iter().find(|path| path.width_at(size) < path.width) {
        Some(&path) => Err(BackupError::Beyond { path, size }),
        None => Ok(()),
    }
}

/// The guard must not be ahead of the backup.
fn check_published(
    config: &Config,
    mark: &Mark,
    backup: &Gathered,
    origin: &str,
    from: &Arc<Objects>,
) -> Result<(), BackupError> {
    match check_guard(&backup.loaded, mark, origin, from) {
        Ok(()) => Ok(()),
        Err(RecoverError::Behind { .. }) => {
            let newest = backup.loaded.newest();
            Err(BackupError::Published {
                guard: config.guard.clone(),
                seen: (mark.commit, mark.head.size),
                backup: (newest.number, newest.size),
            })
        }
        Err(RecoverError::Forked { size, guard, store }) => {
            Err(BackupError::OtherHistory { size, backup: store, log: guard })
        }
        Err(error) => Err(error.into()),
    }
}

/// Why there is no new backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A directory cannot be read.
    #[error("directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The backup would be part of the log.
    #[error("{} lies in the data directory: a backup goes elsewhere, best to another disk", path.display())]
    Inside {
        /// Where.
        path: PathBuf,
    },
    /// A directory with other things in it.
    #[error("{} has something in it, and that is no backup", path.display())]
    NotABackup {
        /// Which.
        path: PathBuf,
    },
    /// What is to be restored is no backup.
    #[error("there is no backup in that directory")]
    NoMarker,
    /// A backup of another log.
    #[error("the backup is not one of {origin}")]
    OtherLog {
        /// The log.
        origin: String,
    },
    /// A log is restored into an empty directory only.
    #[error("{} is not empty: a log is restored into an empty data directory", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// The log is behind its backup.
    #[error(
        "the log went back: it is at commit {} with {} entries, and the backup at commit {} with {}; the backup stays \
         as it is",
        log.0, log.1, backup.0, backup.1
    )]
    Back {
        /// Commit and size of the log.
        log: (u64, TreeSize),
        /// Commit and size of the backup.
        backup: (u64, TreeSize),
    },
    /// The log has less than an unfinished backup.
    #[error("the log went back: it has {size} entries, and {path} is in the backup, which stays as it is")]
    Beyond {
        /// What the backup has.
        path: TilePath,
        /// Size of the log.
        size: TreeSize,
    },
    /// The log is not what the backup is of.
    #[error(
        "another history: at size {size} the backup has root {backup}, and the log {log}; nothing was changed"
    )]
    OtherHistory {
        /// Where.
        size: TreeSize,
        /// Root in the backup.
        backup: Hash,
        /// Root of the log, as it is or as the guard saw it.
        log: Hash,
    },
    /// As many commits, and others.
    #[error("another history: commit {number} of the log is not the one in the backup; nothing was changed")]
    OtherCommit {
        /// Which.
        number: u64,
    },
    /// An object never changes, and this one did, on one of the two sides.
    #[error(
        "{path} is not the one in the backup, where it stays: one of the two was changed; `fsck` tells which"
    )]
    Differs {
        /// Which.
        path: TilePath,
    },
    /// The backup cannot be read as a log.
    #[error("the backup is damaged, and stays as it is: {error}")]
    Damaged {
        /// Why.
        error: Box<Self>,
    },
    /// The first backup into the directory was cut short.
    #[error("the backup was cut short before it had a commit: there is nothing to restore")]
    Unfinished,
    /// The guard is ahead of the backup.
    #[error(
        "the log was published past this backup: the guard {} is at commit {} with {} entries, the backup at commit {} \
         with {}. Written to, it would fork the log. Restore a newer backup. If there is none, this log has ended: \
         restore it under a configuration that names a guard that does not exist, serve reads, and begin another log",
        guard.display(), seen.0, seen.1, backup.0, backup.1
    )]
    Published {
        /// The guard.
        guard: PathBuf,
        /// Commit and size that it saw.
        seen: (u64, TreeSize),
        /// Commit and size of the backup.
        backup: (u64, TreeSize),
    },
    /// The audit of the copy found something.
    #[error("the copy is not in order\n{report}")]
    NotClean {
        /// What.
        report: Box<FsckReport>,
    },
    /// An object of the log is damaged.
    #[error("{0}")]
    Damage(Damage),
    /// The log has grown all the while.
    #[error("the log grows faster than it can be copied; nothing above the last backup counts yet")]
    Moving,
    /// The log cannot be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A tile or bundle is missing or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A directory was not read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard cannot be used.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The copy could not be audited.
    #[error(transparent)]
    Fsck(#[from] FsckError),
}

impl BackupError {
    /// Whether it is the log or the backup that is not in order, rather than that it could not be told.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Recover(error) => !error.may_pass(),
            Self::Damaged { error } => error.is_refusal(),
            Self::Config(_)
            | Self::Directory { .. }
            | Self::Inside { .. }
            | Self::NotABackup { .. }
            | Self::NoMarker
            | Self::NotEmpty { .. }
            | Self::Moving
            | Self::Read(ReadError::Store(_))
            | Self::Store(
                StoreError::Directory { .. }
                | StoreError::Object { .. }
                | StoreError::Sync { .. }
                | StoreError::InUse { .. },
            )
            | Self::Guard(_)
            | Self::Fsck(_) => false,
            _ => true,
        }
    }
}

impl From<Fault> for BackupError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Read(error) => Self::Read(error),
            Fault::Damaged(damage) => Self::Damage(damage),
        }
    }
}

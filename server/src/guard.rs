//! The guard: a small file outside the data directory that remembers how far the log went.
//!
//! Whoever restores an old copy of the data directory cannot sign over what was published since, for the guard is
//! ahead of it. Two slots of 512 bytes are written in turn and synced, so a torn write leaves the other one.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{Hash, TreeHead, TreeSize};
use counterfoil_receipt::Timestamp;
use serde::{Deserialize, Serialize};

use crate::steps::{Step, Steps};

const SLOT_BYTES: usize = 512;
const DIGEST_DIGITS: usize = 64;

/// What the guard remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The log's origin.
    pub origin: String,
    /// Number of the commit.
    pub commit: u64,
    /// Size and root after it.
    pub head: TreeHead,
    /// The latest time that the log attested, or is about to.
    pub time: Timestamp,
}

/// An open guard file, held by this process alone.
pub struct Guard {
    file: File,
    path: PathBuf,
    counter: u64,
    mark: Mark,
    steps: Steps,
}

impl Guard {
    /// Makes a guard file, which must not exist.
    pub fn create(path: &Path, mark: Mark) -> Result<Self, GuardError> {
        let failed = |source| GuardError::Io { path: path.to_owned(), source };
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all_at(&[b' '; 2 * SLOT_BYTES], 0).map_err(failed)?;
        let mut guard =
            Self { file, path: path.to_owned(), counter: 0, mark: mark.clone(), steps: Steps::default() };
        guard.advance(mark)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
        guard.lock()
    }

    /// Opens the guard file of a log.
    ///
    /// # Errors
    /// [`GuardError::Missing`] if there is none, [`GuardError::Damaged`] if neither slot can be read.
    pub fn open(path: &Path) -> Result<Self, GuardError> {
        Self::open_watched(path, Steps::default())
    }

    /// As [`Guard::open`], telling each step.
    pub fn open_watched(path: &Path, steps: Steps) -> Result<Self, GuardError> {
        let failed = |source| GuardError::Io { path: path.to_owned(), source };
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(GuardError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(failed(source)),
        };
        let bytes = fs::read(path).map_err(failed)?;
        let newest = bytes.chunks(SLOT_BYTES).filter_map(parse_slot).max_by_key(|(counter, _)| *counter);
        let (counter, mark) = newest.ok_or_else(|| GuardError::Damaged { path: path.to_owned() })?;
        Self { file, path: path.to_owned(), counter, mark, steps }.lock()
    }

    /// What it remembers.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers a later state, durably: on return it survives a power cut.
    ///
    /// # Panics
    /// If the state is an earlier one.
    pub fn advance(&mut self, mark: Mark) -> Result<(), GuardError> {
        let forward = mark.commit >= self.mark.commit
            && mark.head.size >= self.mark.head.size
            && mark.time >= self.mark.time;
        assert!(forward, "the guard never goes back");
        self.write(mark)
    }

    /// Remembers any state at all: for an operator who takes a store over by hand.
    pub fn adopt(&mut self, mark: Mark) -> Result<(), GuardError> {
        self.write(mark)
    }

    fn write(&mut self, mark: Mark) -> Result<(), GuardError> {
        let failed = |source| GuardError::Io { path: self.path.clone(), source };
        let counter = self.counter + 1;
        let offset = (counter % 2) * SLOT_BYTES as u64;
        let (path, bytes) = (&*self.path, format_slot(counter, &mark));
        let step = Step::Write { path, offset, bytes: &bytes };
        self.steps.take(step, || self.file.write_all_at(&bytes, offset)).map_err(failed)?;
        self.steps.take(Step::Sync { path }, || self.file.sync_all()).map_err(failed)?;
        (self.counter, self.mark) = (counter, mark);
        Ok(())
    }

    fn lock(self) -> Result<Self, GuardError> {
        match self.file.try_lock() {
            Ok(()) => Ok(self),
            Err(TryLockError::WouldBlock) => Err(GuardError::InUse { path: self.path }),
            Err(TryLockError::Error(source)) => Err(GuardError::Io { path: self.path, source }),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    counter: u64,
    origin: String,
    commit: u64,
    size: u64,
    root: String,
    time: u64,
}

/// The slot's JSON padded with spaces, then the hex SHA-256 of all that.
fn format_slot(counter: u64, mark: &Mark) -> Vec<u8> {
    let slot = Slot {
        counter,
        origin: mark.origin.clone(),
        commit: mark.commit,
        size: mark.head.size.get(),
        root: mark.head.root.to_string(),
        time: mark.time.millis(),
    };
    let mut bytes = serde_json::to_vec(&slot).expect("a slot is plain JSON");
    assert!(bytes.len() <= SLOT_BYTES - DIGEST_DIGITS, "an origin has at most 255 bytes");
    bytes.resize(SLOT_BYTES - DIGEST_DIGITS, b' ');
    let digest = Hash::of(&[&bytes]).to_string();
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

fn parse_slot(bytes: &[u8]) -> Option<(u64, Mark)> {
    let (json, digest) = bytes.split_at_checked(SLOT_BYTES - DIGEST_DIGITS)?;
    if digest != Hash::of(&[json]).to_string().as_bytes() {
        return None;
    }
    let slot: Slot = serde_json::from_slice(json).ok()?;
    let head = TreeHead { size: TreeSize::new(slot.size).ok()?, root: slot.root.parse().ok()? };
    let time = Timestamp::from_millis(slot.time)?;
    Some((slot.counter, Mark { origin: slot.origin, commit: slot.commit, head, time }))
}

/// Why the guard cannot be used. Without it nothing is written to the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Reading or writing failed.
    #[error("guard {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error(
        "the guard {} is missing; if this data directory is the newest there ever was, take it over with \
         `counterfoil-server adopt`",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Neither slot can be read.
    #[error("both slots of the guard {} are damaged; see `counterfoil-server adopt`", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("another server holds the guard {}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(commit: u64) -> Mark {
        let head =
            TreeHead { size: TreeSize::new(10 * commit).unwrap(), root: Hash::leaf(&commit.to_be_bytes()) };
        Mark {
            origin: "log.example".into(),
            commit,
            head,
            time: Timestamp::from_millis(1000 + commit).unwrap(),
        }
    }

    /// Whatever byte of whichever slot is damaged, the guard still holds the last or the last but one state.
    #[test]
    fn a_torn_write_loses_one_step_at_most() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard");
        let mut guard = Guard::create(&path, mark(1)).unwrap();
        for commit in 2..=5 {
            guard.advance(mark(commit)).unwrap();
        }
        drop(guard);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 2 * SLOT_BYTES);
        for offset in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 0x04;
            fs::write(&path, damaged).unwrap();
            let commit = Guard::open(&path).unwrap().mark().commit;
            assert!(commit == 4 || commit == 5, "byte {offset}: {commit}");
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Guard::open(&path).unwrap().mark(), &mark(5));
        fs::write(&path, [0; 100]).unwrap();
        assert!(matches!(Guard::open(&path), Err(GuardError::Damaged { .. })));
    }

    #[test]
    fn a_guard_has_one_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard");
        assert!(matches!(Guard::open(&path), Err(GuardError::Missing { .. })));
        let guard = Guard::create(&path, mark(1)).unwrap();
        assert!(matches!(Guard::open(&path), Err(GuardError::InUse { .. })));
        drop(guard);
        assert!(Guard::open(&path).is_ok());
        assert!(Guard::create(&path, mark(1)).is_err());
    }
}

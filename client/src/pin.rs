//! The newest checkpoint seen of a log: what every other one of its checkpoints has to be consistent with.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    TreeSize,
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    note::NOTE_BYTES_MAX,
};

use crate::{
    file::{self, Access, FileError},
    log::{KnownLog, Log, LogError},
};

/// The newest checkpoint seen, in a folder or for one run only.
#[derive(Clone, Debug)]
pub struct Pin {
    known: KnownLog,
    folder: Option<PathBuf>,
    newest: Option<VerifiedCheckpoint>,
}

/// How a checkpoint stands to the pinned one. It is consistent with it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing was pinned.
    First,
    /// It is the same tree.
    Same,
    /// It is of a smaller tree.
    Older,
    /// It is of a larger tree, and pinned now.
    Newer {
        /// Size of the tree that was pinned.
        from: TreeSize,
    },
}

impl Pin {
    /// Nothing is pinned yet, and nothing is kept.
    pub const fn for_one_run(known: KnownLog) -> Self {
        Self { known, folder: None, newest: None }
    }

    /// The checkpoint pinned in a folder.
    pub fn open(folder: &Path, known: KnownLog) -> Result<Self, PinError> {
        let newest = stored(folder, &known)?;
        Ok(Self { known, folder: Some(folder.to_owned()), newest })
    }

    /// The newest checkpoint seen.
    pub const fn newest(&self) -> Option<&VerifiedCheckpoint> {
        self.newest.as_ref()
    }

    /// Demands that a checkpoint is consistent with the pinned one, and pins it if it is newer.
    ///
    /// One that is not is kept beside the pinned one: two such checkpoints may be evidence of a fork.
    pub async fn hold(&mut self, log: &Log, checkpoint: &VerifiedCheckpoint) -> Result<Held, PinError> {
        loop {
            let held = self.compare(log, checkpoint).await?;
            if !matches!(held, Held::First | Held::Newer { .. }) || self.advance(checkpoint)? {
                return Ok(held);
            }
            // Another program has pinned another one since; that one counts now.
        }
    }

    async fn compare(&self, log: &Log, checkpoint: &VerifiedCheckpoint) -> Result<Held, PinError> {
        let Some(newest) = &self.newest else { return Ok(Held::First) };
        let (pinned, head) = (newest.head(), checkpoint.head());
        let (old, new) = if head.size < pinned.size { (head, pinned) } else { (pinned, head) };
        match log.consistency(old, new).await {
            Ok(_) if head.size > pinned.size => Ok(Held::Newer { from: pinned.size }),
            Ok(_) if head.size < pinned.size => Ok(Held::Older),
            Ok(_) => Ok(Held::Same),
            Err(reason) if reason.is_silence() => Err(PinError::Log(reason)),
            Err(reason) => Err(PinError::Inconsistent { reason, kept: self.keep(checkpoint)? }),
        }
    }

    /// Pins a newer checkpoint, unless the stored one has changed since it was read: then that is read, and `false`.
    fn advance(&mut self, checkpoint: &VerifiedCheckpoint) -> Result<bool, PinError> {
        if let Some(folder) = &self.folder {
            let _lock = lock(folder)?;
            let now = stored(folder, &self.known)?;
            if now.as_ref().map(VerifiedCheckpoint::head)
                != self.newest.as_ref().map(VerifiedCheckpoint::head)
            {
                self.newest = now;
                return Ok(false);
            }
            let note = checkpoint.signed().to_string();
            file::replace_durably(&folder.join("checkpoint"), note.as_bytes(), Access::Public)?;
        }
        self.newest = Some(checkpoint.clone());
        Ok(true)
    }

    fn keep(&self, checkpoint: &VerifiedCheckpoint) -> Result<Option<PathBuf>, PinError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let folder = folder.join("inconsistent");
        file::create_folder(&folder)?;
        let head = checkpoint.head();
        let path = folder.join(format!("{}-{:.16}.checkpoint", head.size, head.root.to_string()));
        file::replace_durably(&path, checkpoint.signed().to_string().as_bytes(), Access::Public)?;
        Ok(Some(path))
    }
}

fn stored(folder: &Path, known: &KnownLog) -> Result<Option<VerifiedCheckpoint>, PinError> {
    let path = folder.join("checkpoint");
    let Some(bytes) = file::read_if_there(&path, NOTE_BYTES_MAX)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let checked = known.check(&text).map_err(|reason| PinError::Stored { path, reason })?;
    Ok(Some(checked.checkpoint))
}

/// Holds the lock of a folder until dropped.
fn lock(folder: &Path) -> Result<File, FileError> {
    let path = folder.join("checkpoint.lock");
    let open = || -> io::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(FileError::new("lock", &path))
}

/// Why a checkpoint is not held to be of the log that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The log's tiles do not lead from one checkpoint to the other.
    #[error("the checkpoint is not consistent with the newest one seen{}: {reason}", kept_at(.kept.as_deref()))]
    Inconsistent {
        /// What does not hold.
        reason: LogError,
        /// Where the checkpoint was kept.
        kept: Option<PathBuf>,
    },
    /// Whether they are consistent could not be found out.
    #[error(transparent)]
    Log(LogError),
    /// The pinned checkpoint is not one of this log.
    #[error("{}: {reason}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: CheckpointError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn kept_at(path: Option<&Path>) -> String {
    path.map(|path| format!(" (it is kept in {})", path.display())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{Hash, TreeHead};

    use super::*;
    use crate::testlog;

    /// A checkpoint is pinned if it grew from the pinned one; one that did not is kept as possible evidence.
    #[tokio::test]
    async fn only_what_grew_is_pinned() {
        let store = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let leaves = testlog::leaves(300);
        testlog::store(store.path(), &leaves);
        let log = testlog::log(store.path());
        let known = log.known().clone();
        let checkpoint =
            |size: usize| testlog::checkpoint(testlog::head(&leaves[..size]), 7).verify(&known.key).unwrap();
        let mut pin = Pin::open(folder.path(), known.clone()).unwrap();
        assert_eq!(pin.hold(&log, &checkpoint(256)).await.unwrap(), Held::First);
        assert_eq!(pin.hold(&log, &checkpoint(256)).await.unwrap(), Held::Same);
        let held = Held::Newer { from: TreeSize::new(256).unwrap() };
        assert_eq!(pin.hold(&log, &checkpoint(300)).await.unwrap(), held);
        assert_eq!(pin.hold(&log, &checkpoint(1)).await.unwrap(), Held::Older);

        let again = Pin::open(folder.path(), known.clone()).unwrap();
        assert_eq!(again.newest().unwrap().head().size.get(), 300);
        let forked = TreeHead { root: Hash::leaf(b"other"), ..checkpoint(300).head() };
        let forked = testlog::checkpoint(forked, 8).verify(&known.key).unwrap();
        let refused = pin.hold(&log, &forked).await;
        let Err(PinError::Inconsistent { kept: Some(kept), .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(std::fs::read_to_string(kept).unwrap(), forked.signed().to_string());
        assert_eq!(Pin::open(folder.path(), known).unwrap().newest(), again.newest());
    }

    /// Of two programs at once, each holds its checkpoint against what the other has pinned.
    #[tokio::test]
    async fn two_at_once_do_not_overwrite_each_other() {
        let store = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let leaves = testlog::leaves(300);
        testlog::store(store.path(), &leaves);
        let log = testlog::log(store.path());
        let known = log.known().clone();
        let checkpoint =
            |size: usize| testlog::checkpoint(testlog::head(&leaves[..size]), 7).verify(&known.key).unwrap();
        let mut one = Pin::open(folder.path(), known.clone()).unwrap();
        let mut other = one.clone();
        one.hold(&log, &checkpoint(300)).await.unwrap();
        assert_eq!(other.hold(&log, &checkpoint(256)).await.unwrap(), Held::Older);
        assert_eq!(other.newest().unwrap().head().size.get(), 300);
    }
}

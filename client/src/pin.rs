//! The newest checkpoint seen of a log: what every other one of its checkpoints has to be consistent with.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    TreeSize,
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    evidence::ForkEvidence,
    note::NOTE_BYTES_MAX,
};

use crate::{
    conviction::{self, ConvictionError},
    file::{self, Access, FileError},
    fork::{self, Sighting},
    log::{KnownLog, Log, LogError},
    seen,
};

/// Most checkpoints that are kept because they do not go with the pinned one. One is enough to ask questions.
const INCONSISTENT_MAX: usize = 64;

/// The newest checkpoint seen, in a folder or for one run only.
#[derive(Clone, Debug)]
pub struct Pin {
    known: KnownLog,
    folder: Option<PathBuf>,
    newest: Option<VerifiedCheckpoint>,
    /// Whether the folder is for more than evidence.
    remembers: bool,
    /// Whether what was pinned before this run is among the older ones already.
    kept: bool,
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
        Self { known, folder: None, newest: None, remembers: false, kept: false }
    }

    /// As [`Pin::for_one_run`], but evidence is kept in the folder.
    pub fn forgetful(folder: &Path, known: KnownLog) -> Self {
        Self { folder: Some(folder.to_owned()), ..Self::for_one_run(known) }
    }

    /// The checkpoint pinned in a folder.
    pub fn open(folder: &Path, known: KnownLog) -> Result<Self, PinError> {
        let newest = stored(folder, &known)?;
        Ok(Self { newest, remembers: true, ..Self::forgetful(folder, known) })
    }

    /// The newest checkpoint seen.
    pub const fn newest(&self) -> Option<&VerifiedCheckpoint> {
        self.newest.as_ref()
    }

    /// The newest checkpoint seen of a tree of at most that size, if one was kept.
    pub fn newest_up_to(&self, size: TreeSize) -> Option<VerifiedCheckpoint> {
        let folder = self.folder.as_ref().filter(|_| self.remembers)?;
        seen::up_to(&folder.join("seen"), size, &self.known.key).ok().flatten()
    }

    /// Demands that a checkpoint is consistent with the pinned one, and pins it if it is newer.
    ///
    /// If it is not, whatever tiles can be had are turned into evidence, which convicts the log for good. Without evidence
    /// the checkpoint is kept beside the pinned one, for others may have the tiles.
    pub async fn hold(&mut self, log: &Log, checkpoint: &VerifiedCheckpoint) -> Result<Held, PinError> {
        self.hold_sighting(log, checkpoint, &Sighting::of(checkpoint.signed().clone())).await
    }

    /// As [`Pin::hold`], of a checkpoint that came with a record, which may convict where the checkpoint alone does not.
    pub async fn hold_sighting(
        &mut self,
        log: &Log,
        checkpoint: &VerifiedCheckpoint,
        sighting: &Sighting,
    ) -> Result<Held, PinError> {
        loop {
            let held = self.compare(log, checkpoint, sighting).await?;
            if !matches!(held, Held::First | Held::Newer { .. }) || self.advance(checkpoint)? {
                return Ok(held);
            }
            // Another program has pinned another one since; that one counts now.
        }
    }

    async fn compare(
        &self,
        log: &Log,
        checkpoint: &VerifiedCheckpoint,
        sighting: &Sighting,
    ) -> Result<Held, PinError> {
        let Some(newest) = &self.newest else { return Ok(Held::First) };
        let (pinned, head) = (newest.head(), checkpoint.head());
        let (old, new) = if head.size < pinned.size { (head, pinned) } else { (pinned, head) };
        match log.consistency(old, new).await {
            Ok(_) if head.size > pinned.size => Ok(Held::Newer { from: pinned.size }),
            Ok(_) if head.size < pinned.size => Ok(Held::Older),
            Ok(_) => Ok(Held::Same),
            // Gone: there is an answer, but not the tree that was signed.
            Err(reason) if reason.is_silence() && !matches!(reason, LogError::Gone { .. }) => {
                Err(PinError::Log(reason))
            }
            Err(reason) => {
                let pinned = Sighting::of(newest.signed().clone());
                Err(match fork::prove(log, &pinned, sighting).await {
                    Some(evidence) => self.convict(evidence)?,
                    None if reason.is_silence() => {
                        PinError::Unsettled { reason, kept: self.keep(checkpoint)? }
                    }
                    None => PinError::Inconsistent { reason, kept: self.keep(checkpoint)? },
                })
            }
        }
    }

    /// Keeps evidence, so that the log is refused from now on; gives the error to end with.
    ///
    /// # Errors
    /// If the evidence does not convict this log, or cannot be written.
    pub fn convict(&self, evidence: ForkEvidence) -> Result<PinError, ConvictionError> {
        let folder = self.folder.as_ref();
        let path = folder.map(|folder| conviction::keep(folder, &self.known.key, &evidence)).transpose()?;
        Ok(PinError::Forked { origin: self.known.key.name().to_string(), path, evidence: Box::new(evidence) })
    }

    /// Pins a newer checkpoint, unless the stored one has changed since it was read: then that is read, and `false`.
    fn advance(&mut self, checkpoint: &VerifiedCheckpoint) -> Result<bool, PinError> {
        if let Some(folder) = self.folder.as_ref().filter(|_| self.remembers) {
            let _lock = lock(folder)?;
            let now = stored(folder, &self.known)?;
            if now.as_ref().map(VerifiedCheckpoint::head)
                != self.newest.as_ref().map(VerifiedCheckpoint::head)
            {
                self.newest = now;
                return Ok(false);
            }
            if let Some(older) = &self.newest
                && !std::mem::replace(&mut self.kept, true)
            {
                seen::keep(&folder.join("seen"), older)?;
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
        if fs::read_dir(&folder).map_err(FileError::new("list", &folder))?.count() >= INCONSISTENT_MAX {
            return Ok(None);
        }
        let head = checkpoint.head();
        let path = folder.join(format!("{}-{:.16}.checkpoint", head.size, head.root.to_string()));
        file::replace_durably(&path, checkpoint.signed().to_string().as_bytes(), Access::Public)?;
        Ok(Some(path))
    }
}

fn stored(folder: &Path, known: &KnownLog) -> Result<Option<VerifiedCheckpoint>, PinError> {
    let path = folder.join("checkpoint");
    let Some(bytes) = file::read_if_there(&path, NOTE_BYTES_MAX)? else { return Ok(None) };
    // What clock and witnesses it needed was checked when it was pinned; policies change.
    let signed: Result<SignedCheckpoint, _> = String::from_utf8_lossy(&bytes).parse();
    let checked = signed.and_then(|signed| signed.verify(&known.key));
    checked.map(Some).map_err(|reason| PinError::Stored { path, reason })
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
    /// The log signed two histories.
    #[error("{origin} signed two histories and is refused from now on{}", proven_by(.path.as_deref()))]
    Forked {
        /// The log's origin.
        origin: String,
        /// The file that proves it, if there is a folder for it.
        path: Option<PathBuf>,
        /// What it says.
        evidence: Box<ForkEvidence>,
    },
    /// The log's tiles do not lead from one checkpoint to the other, and prove nothing either.
    #[error("the checkpoint is not consistent with the newest one seen{}: {reason}", kept_at(.kept.as_deref()))]
    Inconsistent {
        /// What does not hold.
        reason: LogError,
        /// Where the checkpoint was kept.
        kept: Option<PathBuf>,
    },
    /// Whether they are consistent could not be found out.
    #[error("whether the checkpoint is consistent with the newest one seen could not be found out: {0}")]
    Log(LogError),
    /// The log signed a tree that it does not show.
    #[error("the log does not show the tree of a checkpoint that it signed{}: {reason}", kept_at(.kept.as_deref()))]
    Unsettled {
        /// What is missing.
        reason: LogError,
        /// Where the checkpoint was kept.
        kept: Option<PathBuf>,
    },
    /// Evidence could not be read or written.
    #[error(transparent)]
    Conviction(#[from] ConvictionError),
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

fn proven_by(path: Option<&Path>) -> String {
    path.map(|path| format!(": {} proves it", path.display())).unwrap_or_default()
}

fn kept_at(path: Option<&Path>) -> String {
    path.map(|path| format!(" (it is kept in {})", path.display())).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! What a witness must not forget, in a directory of its own.
//!
//! ```text
//! lock                      held while a witness runs
//! witness                   the key that it cosigns with
//! cosigned/<log>            the origin of every log that it ever cosigned; <log> is the SHA-256 of it
//! log/<log>/checkpoint      the newest checkpoint that it cosigned, as it shows it
//! log/<log>/evidence        proof that the log signed two histories
//! log/<log>/refused/…       what the log signed and the witness refused
//! ```
//!
//! Every file carries a digest. One that is damaged, or missing though it was written, stops the witness: to begin anew
//! would be to cosign whatever comes.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::{Origin, SignedCheckpoint},
    evidence::{EVIDENCE_BYTES_MAX, ForkEvidence},
    key::VerifierKey,
    note::NOTE_BYTES_MAX,
};

use super::{framed, refused::Refused, roster::WatchedLog};
use crate::file::{self, Access, FileError, Staged};

/// A state directory, locked for as long as this is kept.
#[derive(Debug)]
pub struct StateDir {
    directory: PathBuf,
    witness: VerifierKey,
    _lock: File,
}

impl StateDir {
    /// Makes the directory of a new witness.
    ///
    /// # Errors
    /// If there is one.
    pub fn create(directory: &Path, witness: &VerifierKey) -> Result<(), StateError> {
        file::create_folder(directory.parent().unwrap_or(directory))?;
        file::create_folder_durably(directory)?;
        let path = directory.join("witness");
        if path.exists() || directory.join("log").exists() {
            return Err(StateError::Exists { path: directory.to_owned() });
        }
        for folder in ["log", "cosigned"] {
            file::create_folder_durably(&directory.join(folder))?;
        }
        Ok(framed::write(&path, &format!("{witness}\n"))?)
    }

    /// Opens the directory of this witness, and locks it.
    pub fn open(directory: &Path, witness: &VerifierKey) -> Result<Self, StateError> {
        let path = directory.join("witness");
        let Some(text) = framed::read(&path, 1024)? else {
            return Err(StateError::None { path });
        };
        let kept = text.trim_end_matches('\n');
        if kept != witness.to_string() {
            return Err(StateError::OtherWitness { path, kept: kept.to_owned(), given: witness.to_string() });
        }
        let lock = lock(&directory.join("lock"))?;
        for folder in [directory, &directory.join("cosigned")] {
            file::sweep(folder)?;
        }
        Ok(Self { directory: directory.to_owned(), witness: witness.clone(), _lock: lock })
    }

    /// The origins of all logs that were ever cosigned.
    pub fn cosigned(&self) -> Result<Vec<Origin>, StateError> {
        let folder = self.directory.join("cosigned");
        let mut origins = Vec::new();
        for item in fs::read_dir(&folder).map_err(FileError::new("read", &folder))? {
            let path = item.map_err(FileError::new("read", &folder))?.path();
            let text = file::read_text(&path, Origin::BYTES_MAX)?;
            let named = path.file_name().is_some_and(|name| *name == *digest(&text));
            let origin = Origin::new(&text).ok().filter(|_| named);
            origins.push(
                origin
                    .ok_or_else(|| StateError::damaged(&path, "it is not the origin that its name says"))?,
            );
        }
        Ok(origins)
    }

    /// The directory of a log. There is none on disk before the log is first cosigned or suspected.
    pub fn log(&self, log: &WatchedLog) -> LogDir {
        let id = log.id().to_string();
        LogDir {
            directory: self.directory.join("log").join(&id),
            mark: self.directory.join("cosigned").join(&id),
            log: log.clone(),
            witness: self.witness.clone(),
        }
    }
}

fn lock(path: &Path) -> Result<File, StateError> {
    let lock = File::options().create(true).append(true).open(path).map_err(FileError::new("open", path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(FileError::new("lock", path)(source).into()),
    }
}

fn digest(text: &str) -> String {
    Hash::of(&[text.as_bytes()]).to_string()
}

/// What is kept of one log.
#[derive(Clone, Debug)]
pub struct LogDir {
    directory: PathBuf,
    mark: PathBuf,
    log: WatchedLog,
    witness: VerifierKey,
}

/// What was found of one log.
#[derive(Debug)]
pub struct Kept {
    /// The newest checkpoint that was cosigned.
    pub newest: Option<Cosigned>,
    /// Proof that the log signed two histories.
    pub evidence: Option<ForkEvidence>,
    /// What was refused.
    pub refused: Refused,
}

/// A checkpoint that was cosigned: the lines of the log and of the witness, no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The time in the cosignature.
    pub time_s: u64,
}

impl Cosigned {
    /// The size and root that were cosigned.
    pub const fn head(&self) -> TreeHead {
        self.checkpoint.unverified().head
    }
}

impl LogDir {
    /// Reads all that is kept of the log, and checks all of it.
    pub fn load(&self) -> Result<Kept, StateError> {
        let refused = self.directory.join("refused");
        for folder in [&self.directory, &refused] {
            if folder.exists() {
                file::sweep(folder)?;
            }
        }
        let newest = self.load_newest()?;
        if newest.is_some() && !self.is_marked() {
            // The crash came between the two; nothing was answered.
            self.mark()?;
        }
        Ok(Kept { newest, evidence: self.load_evidence()?, refused: Refused::open(&refused)? })
    }

    fn load_newest(&self) -> Result<Option<Cosigned>, StateError> {
        let path = self.directory.join("checkpoint");
        let Some(text) = framed::read(&path, NOTE_BYTES_MAX)? else {
            return if self.is_marked() { Err(StateError::Lost { path }) } else { Ok(None) };
        };
        let damaged = || StateError::damaged(&path, "it is not a checkpoint that this witness cosigned");
        let checkpoint: SignedCheckpoint = text.parse().map_err(|_| damaged())?;
        let time_s = checkpoint.cosignature(&self.witness).map_err(|_| damaged())?.time_s;
        if checkpoint.unverified().origin != *self.log.origin() {
            return Err(damaged());
        }
        if self.log.signed(checkpoint.note()).is_err() {
            return Err(StateError::OtherKey { path, origin: self.log.origin().to_string() });
        }
        Ok(Some(Cosigned { checkpoint, time_s }))
    }

    fn load_evidence(&self) -> Result<Option<ForkEvidence>, StateError> {
        let path = self.directory.join("evidence");
        let Some(text) = framed::read(&path, EVIDENCE_BYTES_MAX)? else { return Ok(None) };
        let evidence =
            text.parse().map_err(|_| StateError::damaged(&path, "it is not evidence of a fork"))?;
        match self.log.check(&evidence) {
            Ok(()) => Ok(Some(evidence)),
            Err(_) => Err(StateError::OtherKey { path, origin: self.log.origin().to_string() }),
        }
    }

    fn is_marked(&self) -> bool {
        // What cannot be looked for may be there.
        self.mark.try_exists().unwrap_or(true)
    }

    /// Writes a cosigned checkpoint beside its place. An error here has changed nothing.
    pub fn stage(&self, checkpoint: &SignedCheckpoint) -> Result<Staged, FileError> {
        framed::stage(&self.directory.join("checkpoint"), &checkpoint.to_string())
    }

    /// Remembers that the log was cosigned. Its checkpoint must be in place.
    pub fn mark(&self) -> Result<(), FileError> {
        file::replace_durably(&self.mark, self.log.origin().as_str().as_bytes(), Access::Public)
    }

    /// Keeps evidence.
    pub fn convict(&self, evidence: &ForkEvidence) -> Result<(), FileError> {
        self.create()?;
        framed::write(&self.directory.join("evidence"), &evidence.to_string())
    }

    /// Makes the directory, with that of what is refused. Needed until there is a checkpoint.
    pub fn create(&self) -> Result<(), FileError> {
        file::create_folder_durably(&self.directory)?;
        file::create_folder_durably(&self.directory.join("refused"))
    }
}

/// Why a witness's state cannot be used. Nothing is repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another witness holds the directory.
    #[error("{} is locked: another witness is running on this directory", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// There is a witness already.
    #[error("{} is the state of a witness already", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// There is no witness.
    #[error("there is no {}: `counterfoil witness init` makes a witness; one that was lost must not begin anew", path.display())]
    None {
        /// The file that says which witness it is.
        path: PathBuf,
    },
    /// The directory is another witness's.
    #[error("{} says that this is the state of {kept}, not of {given}", path.display())]
    OtherWitness {
        /// The file that says so.
        path: PathBuf,
        /// The witness's key.
        kept: String,
        /// The key that was given.
        given: String,
    },
    /// A file is not what the witness wrote.
    #[error("{} is damaged: {reason}; restore it as it was last, for an older one would sign a fork", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
    /// A file is gone.
    #[error("{} is missing, though the log was cosigned; restore it as it was last", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// A file was signed by keys that are not given any more.
    #[error("{} is signed by no key that is given for {origin:?}; give the former key beside the new one", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The log.
        origin: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl StateError {
    pub(super) fn damaged(path: &Path, reason: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), reason }
    }
}

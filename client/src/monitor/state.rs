//! What a monitor knows of one log, kept so that neither a crash nor a power cut takes it back or makes it up.
//!
//! One directory a log:
//!
//! ```text
//! lock                held while a monitor runs
//! monitor.json        the verified tree, its newest checkpoint, times and streams; then the digest of that line
//! tile/<L>/<N>        full hash tiles of that tree, durable before monitor.json speaks of them
//! evidence/<id>.txt   proven forks
//! ```

mod document;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    key::VerifierKey,
    note::Note,
    tree::TreeError,
};
use counterfoil_receipt::{Timestamp, audit::Audit};

use super::{
    PENDING_MAX,
    tiles::{OwnTiles, sync_directory, write_file},
};

/// Most bytes of `monitor.json`: what all the streams that an audit follows can take.
const STATE_BYTES_MAX: u64 = 1 << 30;

/// What a monitor knows.
#[derive(Clone, Debug)]
pub struct State {
    /// The audit of the tree that was verified leaf by leaf.
    pub audit: Audit,
    /// The newest checkpoint of that tree; none before the first.
    pub newest: Option<SignedCheckpoint>,
    /// Signed checkpoints whose trees the log has not shown yet.
    pub pending: Vec<SignedCheckpoint>,
    /// When, by the monitor's clock, more was verified than before.
    pub advanced: Option<Timestamp>,
}

impl State {
    /// Nothing known but the keys.
    pub fn new(log: VerifierKey, clock: Option<VerifierKey>) -> Self {
        Self { audit: Audit::new(log, clock), newest: None, pending: Vec::new(), advanced: None }
    }

    /// The verified tree.
    pub fn head(&self) -> TreeHead {
        self.audit.head()
    }

    /// Remembers a signed checkpoint until the log shows its tree. At most [`PENDING_MAX`]; says whether it is new.
    pub fn postpone(&mut self, seen: SignedCheckpoint) -> bool {
        let head = seen.unverified().head;
        let known = self.pending.iter().any(|pending| pending.unverified().head == head);
        if known || self.pending.len() >= PENDING_MAX {
            return false;
        }
        self.pending.push(seen);
        true
    }
}

/// A checkpoint with the lines of log and clock alone: others' are nobody's word here, and could be without number.
pub fn stripped(seen: &VerifiedCheckpoint, clock: Option<&VerifierKey>) -> SignedCheckpoint {
    let note: Note = seen.note_with(clock.as_slice());
    note.to_string().parse().unwrap_or_else(|_| seen.signed().clone())
}

/// A state directory, locked for as long as this is kept.
#[derive(Debug)]
pub struct StateDir {
    directory: PathBuf,
    tiles: OwnTiles,
    _lock: File,
}

impl StateDir {
    /// Opens a directory, or makes it, and locks it.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(StateError::Io { path, source }),
        }
        sync_directory(directory)?;
        let tiles = OwnTiles::new(directory);
        Ok(Self { directory: directory.to_owned(), tiles, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The hash tiles in it.
    pub const fn tiles(&self) -> &OwnTiles {
        &self.tiles
    }

    /// Reads the state and checks all of it: that the tiles lead to the root, and that the log signed the root.
    ///
    /// A directory without state starts one. The clock's key may be added later, and is kept from then on.
    pub fn load(&self, log: &VerifierKey, clock: Option<&VerifierKey>) -> Result<State, StateError> {
        let path = self.document();
        let text = match fs::metadata(&path).and_then(|file| match file.len() {
            0..=STATE_BYTES_MAX => fs::read_to_string(&path),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Tiles without a state are a state that was lost: to begin anew would be to trust blindly again.
                let tiles = self.directory.join("tile");
                let lost = tiles.try_exists().unwrap_or(true) || self.directory.join("evidence").exists();
                if lost {
                    return Err(StateError::Lost { path });
                }
                let state = State::new(log.clone(), clock.cloned());
                self.save(&state, log, clock)?;
                return Ok(state);
            }
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let damaged = || StateError::Damaged { path: path.clone() };
        let (line, rest) = text.split_once('\n').ok_or_else(damaged)?;
        if rest != digest_line(line) {
            return Err(damaged());
        }
        let document: document::Document = serde_json::from_str(line).map_err(|_| damaged())?;
        let state = document.restore(log, clock, &path)?;
        let head = state.head();
        match &state.newest {
            Some(newest) => {
                let signed = newest.verify(log).map_err(|_| damaged())?;
                if signed.head() != head {
                    return Err(damaged());
                }
            }
            None if head != TreeHead::EMPTY => return Err(damaged()),
            None => {}
        }
        if state.pending.iter().any(|pending| pending.verify(log).is_err()) {
            return Err(damaged());
        }
        self.tiles.check(state.audit.frontier())?;
        Ok(state)
    }

    /// Writes the state in place of the one before, durably. Its tiles must be durable already.
    pub fn save(
        &self,
        state: &State,
        log: &VerifierKey,
        clock: Option<&VerifierKey>,
    ) -> Result<(), StateError> {
        let document = document::Document::of(state, log, clock);
        let line = serde_json::to_string(&document)
            .map_err(|error| StateError::Io { path: self.document(), source: error.into() })?;
        write_file(&self.document(), format!("{line}\n{}", digest_line(&line)).as_bytes())
    }

    fn document(&self) -> PathBuf {
        self.directory.join("monitor.json")
    }
}

fn digest_line(line: &str) -> String {
    format!("\"{}\"\n", Hash::of(&[line.as_bytes()]))
}

/// Why a monitor's own state cannot be used. Nothing is repaired: what it was sure of may be all there is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another monitor holds the directory.
    #[error("{} is locked: another monitor is running on this directory", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what the monitor wrote.
    #[error("{} is damaged: the monitor's state cannot be trusted; restore the directory, or start a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The state is gone, and what belongs to it is not.
    #[error("{} is missing beside the tiles or evidence that belong to it; restore it, or start a new directory", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error("{} has version {version}, which this program does not know", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The directory is another log's.
    #[error("{} is the state for log key {kept}, not for {given}", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// The key in it.
        kept: String,
        /// The key that was given.
        given: String,
    },
    /// What was found could not be recorded, so nothing that was found it is taken for done.
    #[error("what was found could not be recorded")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A size that no tree has.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

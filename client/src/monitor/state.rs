//! What a monitor knows of one log, kept so that neither a crash nor a power cut takes it back or makes it up.
//!
//! One directory a log:
//!
//! ```text
//! lock                held while a monitor runs
//! monitor.json        how far the tree was read, the newest checkpoint, times, streams and open duties; then the digest of that line
//! mark                which state is the newest: nobody can put an older one in its place
//! log/                the log's files: full hash tiles, durable before monitor.json speaks of them; more with `--keep`
//! evidence/<id>.txt   proven forks
//! erased              what was erased below `log/`, with `--keep`
//! ```

mod agenda;
mod document;
mod mark;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    growth::Growth,
    key::VerifierKey,
    note::Note,
    tree::TreeError,
};
use counterfoil_receipt::{Timestamp, audit::Audit, standing::Agenda};

use super::{
    PENDING_MAX,
    cosigners::WitnessSeen,
    tiles::{OwnTiles, sync_directory, write_file},
    views::View,
};
use mark::{Mark, Marks};

/// Most bytes of `monitor.json`: what all the streams that an audit follows can take.
const STATE_BYTES_MAX: u64 = 1 << 30;

/// What a monitor knows.
#[derive(Clone, Debug)]
pub struct State {
    /// The audit of the tree, as far as it was read: each leaf was found under a root that the log signed.
    pub audit: Audit,
    /// Whose answers and remedies are due, by the records that were read.
    pub agenda: Agenda,
    /// The newest checkpoint, whose tree starts with the one that was read; none before the first.
    pub newest: Option<Newest>,
    /// Signed checkpoints that the log shows no tree for.
    pub pending: Vec<Pending>,
    /// When, by the monitor's clock, more was verified than before.
    pub advanced: Option<Timestamp>,
    /// What each vantage point has shown, by its name.
    pub views: BTreeMap<String, View>,
    /// What was seen of each witness, by its key.
    pub witnesses: BTreeMap<String, WitnessSeen>,
    /// Whether entries and statements are kept: all of them or none.
    pub keeps: bool,
}

/// The newest checkpoint that the log is followed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// How its tree contains the one that was read.
    pub ahead: Growth,
    /// When a checkpoint of this size was first seen, by the monitor's clock: none of its entries is dated later.
    pub seen: Timestamp,
}

/// A signed checkpoint without its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// When it was first seen.
    pub seen: Timestamp,
}

impl Newest {
    /// Its size and root.
    pub fn head(&self) -> TreeHead {
        self.checkpoint.unverified().head
    }
}

impl State {
    /// Nothing known but the keys.
    pub fn new(log: VerifierKey, clock: Option<VerifierKey>, keeps: bool) -> Self {
        Self {
            audit: Audit::new(log, clock),
            agenda: Agenda::default(),
            newest: None,
            pending: Vec::new(),
            advanced: None,
            views: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            keeps,
        }
    }

    /// The tree as far as it was read.
    pub fn head(&self) -> TreeHead {
        self.audit.head()
    }

    /// The tree of the newest checkpoint, which may be still to be read.
    pub fn known(&self) -> TreeHead {
        self.newest.as_ref().map_or(TreeHead::EMPTY, Newest::head)
    }

    /// How many entries are still to be read.
    pub fn backlog(&self) -> u64 {
        self.known().size.get() - self.audit.size().get()
    }

    /// Remembers a signed checkpoint until the log shows its tree. At most [`PENDING_MAX`]; says whether it is new.
    pub fn postpone(&mut self, checkpoint: SignedCheckpoint, seen: Timestamp) -> bool {
        let head = checkpoint.unverified().head;
        let known = self.pending.iter().any(|pending| pending.checkpoint.unverified().head == head);
        if known || self.pending.len() >= PENDING_MAX {
            return false;
        }
        self.pending.push(Pending { checkpoint, seen });
        true
    }
}

/// A checkpoint with the lines of the log and of known cosigners alone: others' are nobody's word here, and could be
/// without number.
pub fn stripped(seen: &VerifiedCheckpoint, cosigners: &[VerifierKey]) -> SignedCheckpoint {
    let cosigners: Vec<_> = cosigners.iter().collect();
    let note: Note = seen.note_with(&cosigners);
    note.to_string().parse().unwrap_or_else(|_| seen.signed().clone())
}

/// A state directory, locked for as long as this is kept.
#[derive(Debug)]
pub struct StateDir {
    directory: PathBuf,
    tiles: OwnTiles,
    marks: Marks,
    _lock: File,
}

impl StateDir {
    /// Opens a directory, or makes it, and locks it. `mark` is a place elsewhere for a second mark.
    pub fn open(directory: &Path, mark: Option<&Path>) -> Result<Self, StateError> {
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
        let tiles = OwnTiles::new(&directory.join("log"));
        let marks = Marks::new(directory.join("mark"), mark);
        Ok(Self { directory: directory.to_owned(), tiles, marks, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The hash tiles in it.
    pub const fn tiles(&self) -> &OwnTiles {
        &self.tiles
    }

    /// Reads the state and checks all of it: that it is the newest, that the tiles lead to the root, and that the log signed
    /// a tree that starts so.
    ///
    /// A directory without state starts one. The clock's key may be added later, and is kept from then on. Whether entries
    /// are kept is settled when the state is started.
    pub fn load(
        &mut self,
        log: &VerifierKey,
        clock: Option<&VerifierKey>,
        keeps: bool,
    ) -> Result<State, StateError> {
        let path = self.document();
        let text = match fs::metadata(&path).and_then(|file| match file.len() {
            0..=STATE_BYTES_MAX => fs::read_to_string(&path),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What belongs to a state without the state is a loss: to begin anew would be to trust blindly again.
                let left = ["log", "evidence", "mark"].map(|name| self.directory.join(name));
                if left.iter().any(|path| path.try_exists().unwrap_or(true)) || self.marks.is_elsewhere() {
                    return Err(StateError::Lost { path });
                }
                let state = State::new(log.clone(), clock.cloned(), keeps);
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
        let number = document.number();
        let previous = document.previous().ok_or_else(damaged)?;
        let state = document.restore(log, clock, &path)?;
        if state.keeps != keeps {
            return Err(StateError::Keeps { path, keeps: state.keeps });
        }
        check_signatures(&state, log).ok_or_else(damaged)?;
        self.tiles.check(state.audit.frontier())?;
        let mark = Mark { number, digest: Hash::of(&[line.as_bytes()]), head: state.head() };
        self.marks.check(mark, previous, &path)?;
        Ok(state)
    }

    /// Writes the state in place of the one before, durably, and marks it as the newest. Its tiles must be durable already.
    pub fn save(
        &mut self,
        state: &State,
        log: &VerifierKey,
        clock: Option<&VerifierKey>,
    ) -> Result<(), StateError> {
        let (number, previous) = self.marks.next();
        let document = document::Document::of(state, log, clock, number, previous);
        let line = serde_json::to_string(&document)
            .map_err(|error| StateError::Io { path: self.document(), source: error.into() })?;
        write_file(&self.document(), format!("{line}\n{}", digest_line(&line)).as_bytes())?;
        self.marks.put(Mark { number, digest: Hash::of(&[line.as_bytes()]), head: state.head() })
    }

    fn document(&self) -> PathBuf {
        self.directory.join("monitor.json")
    }
}

/// Whether the log signed what the state says it did.
fn check_signatures(state: &State, log: &VerifierKey) -> Option<()> {
    for pending in &state.pending {
        pending.checkpoint.verify(log).ok()?;
    }
    match &state.newest {
        Some(newest) => {
            let signed = newest.checkpoint.verify(log).ok()?.head();
            let grown = TreeHead { size: newest.ahead.new_size(), root: newest.ahead.new_root() };
            let read = TreeHead { size: newest.ahead.old(), root: newest.ahead.old_root() };
            (signed == grown && read == state.head()).then_some(())
        }
        None => (state.head() == TreeHead::EMPTY).then_some(()),
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
    /// An older state was put in place of the newest one.
    #[error("{} is state {number} of size {size}, and {} says that state {marked} of size {marked_size} was written: it was rolled back; restore the newest, or start a new directory", path.display(), mark.display())]
    RolledBack {
        /// The state.
        path: PathBuf,
        /// Which one it is.
        number: u64,
        /// How far it had read.
        size: TreeSize,
        /// The mark.
        mark: PathBuf,
        /// Which state it marks.
        marked: u64,
        /// How far that had read.
        marked_size: TreeSize,
    },
    /// Whether entries are kept cannot be changed halfway.
    #[error("{} {} entries and statements, and that cannot be changed halfway; start a new directory", path.display(), if *.keeps { "keeps" } else { "does not keep" })]
    Keeps {
        /// The state.
        path: PathBuf,
        /// What it does.
        keeps: bool,
    },
    /// Two vantage points of one name.
    #[error("two places to watch the log from are called {name}")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// No vantage point serves tiles.
    #[error("none of the places to watch the log from serves its tiles")]
    NothingToRead,
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

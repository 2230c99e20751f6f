//! The index on disk: sorted runs in sled, so that a start need not read every entry. The only file that names sled.
//!
//! One run for every 65,536 entries and digest kind: pairs of an 8-byte prefix and a 2-byte position, sorted, cut into
//! values of at most 24,000 bytes, with a head that holds count, SHA-256 and the hash of the tree node over those very
//! entries, so that an index of another history is noticed. The positions of clock and erasure records, and of those that decide
//! who may append, are a value more each. sled's `flush` is not an fsync and its damage mostly panics: nothing here is believed
//! without its digest, and whatever is doubtful is made again from the entries.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use counterfoil_merkle::Hash;

use super::PREFIX_BYTES;

/// Entries of a run.
pub const RUN_ENTRIES: usize = 1 << 16;

/// The level of the tree node that covers a run.
pub const RUN_LEVEL: u8 = 16;

const PAIR_BYTES: usize = PREFIX_BYTES + 2;
const VALUE_BYTES_MAX: usize = 24_000;
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

const STATE: &[u8] = b"state";
const CLEAN: &[u8] = b"clean";
/// The file that sled locks.
const SLED_FILE: &str = "db";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Prefixes of digests, by position.
type Prefixes = Vec<[u8; PREFIX_BYTES]>;

/// Prefixes of the digests of 65,536 consecutive entries, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Of their ids.
    pub ids: Prefixes,
    /// Of their leaf hashes.
    pub leaves: Prefixes,
    /// Positions of the clock records among them.
    pub clocks: Vec<u16>,
    /// Positions of the records among them that others are judged by.
    pub deciding: Vec<u16>,
    /// Positions of the erasure records among them.
    pub erasures: Vec<u16>,
}

/// The runs of a log.
pub struct Runs {
    db: sled::Db,
    path: PathBuf,
}

impl Runs {
    /// Opens the index, or starts an empty one where there is none, or none that can be believed: a reason is given
    /// for that.
    pub fn open(path: &Path) -> Result<(Self, Option<RunsError>), RunsError> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let doubt = match Self::open_as_left(path, boot.trim()) {
            Ok(runs) => return Ok((runs, None)),
            Err(doubt) => doubt,
        };
        Self::remove(path)?;
        let runs = Self::open_as_left(path, boot.trim())?;
        Ok((runs, Some(doubt)))
    }

    /// Deletes the index.
    pub fn remove(path: &Path) -> Result<(), RunsError> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RunsError::Remove { path: path.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Opens what is there. While it is open it is marked with the system's boot: pages that were not on disk when
    /// that ended are lost without a trace.
    fn open_as_left(path: &Path, boot: &str) -> Result<Self, RunsError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = guarded(|| config.open())?;
        let runs = Self { db, path: path.to_owned() };
        let left = guarded(|| runs.db.get(STATE))?;
        let same_boot = left.as_deref().is_none_or(|state| state == CLEAN || state == boot.as_bytes());
        if !same_boot || (left.is_none() && !guarded(|| Ok(runs.db.is_empty()))?) {
            return Err(RunsError::Unclean);
        }
        runs.put_state(boot.as_bytes())?;
        Ok(runs)
    }

    /// Closes it and opens the same again: sled keeps what was read or written in memory, far beyond the bound that it is given, for
    /// as long as it is open.
    pub fn reopen(self) -> Result<Self, RunsError> {
        let path = self.path.clone();
        guarded(|| {
            drop(self);
            Ok(())
        })?;
        // A thread of sled's may hold the file for a moment longer.
        let released = File::open(path.join(SLED_FILE)).and_then(|file| file.lock());
        released.map_err(|source| RunsError::Release { path: path.clone(), source })?;
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        Self::open_as_left(&path, boot.trim())
    }

    /// Reads a run and the tree node that it was made for, if it is there.
    pub fn load(&self, number: u64) -> Result<Option<(Run, Hash)>, RunsError> {
        let Some((ids, node)) = self.load_kind(number, b'i')? else { return Ok(None) };
        let (leaves, other) = self.load_kind(number, b'l')?.ok_or(RunsError::Damaged { number })?;
        if node != other {
            return Err(RunsError::Damaged { number });
        }
        let clocks = self.load_positions(number, b'c', node)?;
        let deciding = self.load_positions(number, b'd', node)?;
        let erasures = self.load_positions(number, b'e', node)?;
        Ok(Some((Run { ids, leaves, clocks, deciding, erasures }, node)))
    }

    fn load_positions(&self, number: u64, kind: u8, node: Hash) -> Result<Vec<u16>, RunsError> {
        let damaged = || RunsError::Damaged { number };
        let value = guarded(|| self.db.get(key(kind, number, 0)))?.ok_or_else(damaged)?;
        let (digest, positions) = value.split_at_checked(Hash::BYTES).ok_or_else(damaged)?;
        if Hash::of(&[node.as_bytes(), &[kind], positions]).as_bytes() != digest {
            return Err(damaged());
        }
        Ok(positions.as_chunks().0.iter().map(|position| u16::from_be_bytes(*position)).collect())
    }

    /// Writes a run, made for that tree node.
    ///
    /// # Panics
    /// If the run is not full.
    pub fn store(&self, number: u64, run: &Run, node: Hash) -> Result<(), RunsError> {
        for (kind, positions) in [(b'c', &run.clocks), (b'd', &run.deciding), (b'e', &run.erasures)] {
            let positions: Vec<_> = positions.iter().flat_map(|position| position.to_be_bytes()).collect();
            let digest = Hash::of(&[node.as_bytes(), &[kind], &positions]);
            let value = [digest.as_bytes().as_slice(), &positions].concat();
            guarded(|| self.db.insert(key(kind, number, 0), value))?;
        }
        for (kind, prefixes) in [(b'l', &run.leaves), (b'i', &run.ids)] {
            assert_eq!(prefixes.len(), RUN_ENTRIES, "a run has 65,536 entries");
            let bytes = sort(prefixes);
            let mut batch = sled::Batch::default();
            for (part, value) in bytes.chunks(VALUE_BYTES_MAX).enumerate() {
                let part = u8::try_from(part).expect("a run has some thirty parts");
                batch.insert(&key(kind, number, part + 1)[..], value);
            }
            let head = [Hash::of(&[&bytes]).as_bytes().as_slice(), node.as_bytes()].concat();
            batch.insert(&key(kind, number, 0)[..], head);
            guarded(|| self.db.apply_batch(batch))?;
        }
        guarded(|| self.db.flush().map(drop))
    }

    /// Ends in order: what is there can be believed after any boot.
    pub fn close(self) -> Result<(), RunsError> {
        self.put_state(CLEAN)
    }

    /// How many bytes it takes on disk.
    pub fn bytes_on_disk(&self) -> Result<u64, RunsError> {
        guarded(|| self.db.size_on_disk())
    }

    fn put_state(&self, state: &[u8]) -> Result<(), RunsError> {
        guarded(|| self.db.insert(STATE, state).and_then(|_| self.db.flush()).map(drop))
    }

    fn load_kind(&self, number: u64, kind: u8) -> Result<Option<(Prefixes, Hash)>, RunsError> {
        let damaged = || RunsError::Damaged { number };
        let Some(head) = guarded(|| self.db.get(key(kind, number, 0)))? else { return Ok(None) };
        let (digest, node) = head.split_at_checked(Hash::BYTES).ok_or_else(damaged)?;
        let node = Hash::try_from(node).map_err(|_| damaged())?;
        let mut bytes = Vec::with_capacity(RUN_ENTRIES * PAIR_BYTES);
        while bytes.len() < RUN_ENTRIES * PAIR_BYTES {
            let part = u8::try_from(bytes.len() / VALUE_BYTES_MAX).map_err(|_| damaged())?;
            let value = guarded(|| self.db.get(key(kind, number, part + 1)))?.ok_or_else(damaged)?;
            if value.is_empty() {
                return Err(damaged());
            }
            bytes.extend_from_slice(&value);
        }
        if Hash::of(&[&bytes]).as_bytes() != digest {
            return Err(damaged());
        }
        Ok(Some((unsort(&bytes).ok_or_else(damaged)?, node)))
    }
}

/// Pairs of prefix and position, sorted.
fn sort(prefixes: &[[u8; PREFIX_BYTES]]) -> Vec<u8> {
    let mut pairs: Vec<_> = prefixes.iter().zip(0..=u16::MAX).collect();
    pairs.sort_unstable();
    pairs
        .into_iter()
        .flat_map(|(prefix, position)| prefix.iter().copied().chain(position.to_be_bytes()))
        .collect()
}

/// The prefixes by position again; `None` unless there is one for each.
fn unsort(bytes: &[u8]) -> Option<Prefixes> {
    let mut prefixes = vec![None; RUN_ENTRIES];
    for pair in bytes.as_chunks::<PAIR_BYTES>().0 {
        let (prefix, position) = pair.split_first_chunk::<PREFIX_BYTES>()?;
        let position = u16::from_be_bytes(*position.first_chunk()?);
        prefixes[usize::from(position)] = Some(*prefix);
    }
    prefixes.into_iter().collect()
}

fn key(kind: u8, number: u64, part: u8) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [kind, a, b, c, d, e, f, g, h, part]
}

/// Calls sled, for which damage is often a reason to panic.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, RunsError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| RunsError::Panicked)?.map_err(RunsError::Sled)
}

/// Why the index on disk is not believed, or cannot be written. Never a reason not to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunsError {
    /// sled failed.
    #[error("index: {0}")]
    Sled(sled::Error),
    /// sled panicked, as it does on damage.
    #[error("index: its files are damaged")]
    Panicked,
    /// The system went down while the index was open.
    #[error("index: the system went down while it was open")]
    Unclean,
    /// A run is incomplete, or its digest does not match.
    #[error("index: run {number} is damaged")]
    Damaged {
        /// Which.
        number: u64,
    },
    /// A run was made for other entries.
    #[error("index: run {number} is of another history")]
    OtherHistory {
        /// Which.
        number: u64,
    },
    /// It was closed to be opened again, and its file cannot be had.
    #[error("index: {}: {source}", path.display())]
    Release {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What cannot be believed cannot be deleted either.
    #[error("index: deleting {}: {source}", path.display())]
    Remove {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(salt: u8) -> Run {
        let prefixes = |kind: u8| {
            let prefix =
                |n: u32| *Hash::of(&[&[kind, salt], &n.to_be_bytes()]).as_bytes().first_chunk().unwrap();
            (0..65_536).map(prefix).collect()
        };
        Run {
            ids: prefixes(0),
            leaves: prefixes(1),
            clocks: vec![u16::from(salt), 17, 65_535],
            deciding: vec![0, u16::from(salt)],
            erasures: vec![u16::from(salt) + 1],
        }
    }

    /// What is stored is loaded, after a clean stop and after none on the same boot; damage is told, never passed on.
    #[test]
    fn runs_come_back_or_are_told_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        let node = Hash::leaf(b"node");
        let (runs, doubt) = Runs::open(&path).unwrap();
        assert!(doubt.is_none());
        runs.store(0, &run(1), node).unwrap();
        let runs = runs.reopen().unwrap();
        runs.store(1, &run(2), node).unwrap();
        runs.reopen().unwrap().close().unwrap();

        let (runs, doubt) = Runs::open(&path).unwrap();
        assert!(doubt.is_none(), "{doubt:?}");
        assert_eq!(runs.load(0).unwrap(), Some((run(1), node)));
        assert_eq!(runs.load(1).unwrap(), Some((run(2), node)));
        assert_eq!(runs.load(2).unwrap(), None);
        for (part, with) in [(0, &b"short"[..]), (3, &[0; 24_000][..]), (28, &b""[..])] {
            let former = runs.db.insert(key(b'l', 1, part), with).unwrap().unwrap();
            assert!(matches!(runs.load(1), Err(RunsError::Damaged { number: 1 })), "part {part}");
            runs.db.insert(key(b'l', 1, part), former).unwrap();
        }
        for kind in [b'c', b'd'] {
            let former = runs.db.insert(key(kind, 1, 0), &b"x"[..]).unwrap().unwrap();
            assert!(matches!(runs.load(1), Err(RunsError::Damaged { number: 1 })));
            runs.db.insert(key(kind, 1, 0), former).unwrap();
        }
        assert!(runs.load(1).unwrap().is_some());
    }

    /// An index that was open when another boot ended, or whose files are damaged, is started anew, with the reason.
    #[test]
    fn what_is_doubtful_is_started_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        let (runs, _) = Runs::open(&path).unwrap();
        runs.store(0, &run(1), Hash::EMPTY_ROOT).unwrap();
        runs.put_state(b"another boot").unwrap();
        drop(runs);
        // sled's own thread may hold the file for a moment longer.
        File::open(path.join(SLED_FILE)).unwrap().lock().unwrap();
        let (runs, doubt) = Runs::open(&path).unwrap();
        assert!(matches!(doubt, Some(RunsError::Unclean)), "{doubt:?}");
        assert_eq!(runs.load(0).unwrap(), None);
        runs.store(0, &run(1), Hash::EMPTY_ROOT).unwrap();
        runs.close().unwrap();

        let file = path.join("db");
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().step_by(997).for_each(|byte| *byte ^= 0xff);
        fs::write(&file, bytes).unwrap();
        let (runs, _) = Runs::open(&path).unwrap();
        assert!(!matches!(runs.load(0), Ok(Some((loaded, _))) if loaded != run(1)));
    }
}

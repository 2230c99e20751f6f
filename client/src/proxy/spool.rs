//! The spool: what is over is written down here before anything else happens with it, and stays until it is in the log and
//! its time is over.
//!
//! `segments/<n>` hold the records ([`record`]), appended and never changed; `key` the secret under which credentials are
//! kept; `acknowledged` how far the records are known to last; `lock` keeps a second program out.

pub mod record;
pub mod segments;
pub mod state;
pub mod writer;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Id, SigningKey,
    statement::{Number, Numbering, Origin, SignError, StreamId},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::{Notify, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::file::{self, Access, FileError};
use record::{ExchangeId, Head, Record};
use segments::Segments;
use state::{Kept, Place, State};
use writer::{Job, Keeping, Over, Sweep, Writer};

/// How many jobs may wait for the writer; more wait to be let in.
const JOBS_MAX: usize = 4096;

/// Bytes of the mark of how far records last: two numbers of 20 digits, and the digest of that line in hex.
const ACKNOWLEDGED_BYTES: usize = 20 + 1 + 20 + 1 + 2 * Hash::BYTES + 1;

/// Bytes of the secret's file: the secret and its digest.
const SECRET_BYTES: usize = 32 + Hash::BYTES;

/// A spool that is open. Clones are the same spool.
#[derive(Clone, Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

/// What the writer and everybody else know.
#[derive(Debug)]
pub(crate) struct Shared {
    folder: PathBuf,
    segments: Segments,
    state: Mutex<State>,
    key: Zeroizing<[u8; 32]>,
    bytes_max: u64,
    reserved: AtomicU64,
    failed: AtomicBool,
    acknowledged: Mutex<(u64, u64)>,
    /// What of that is written down.
    noted: Mutex<(u64, u64)>,
    written: Notify,
    _lock: File,
}

/// How a spool is opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Its folder, which is made if it is not there.
    pub folder: &'a Path,
    /// The log that receipts are meant for.
    pub log: &'a Origin,
    /// The issuer's key.
    pub key: SigningKey,
    /// A stream's name that nobody ever used, for a spool without one.
    pub fresh: StreamId,
    /// 32 random bytes, for a spool without a key.
    pub secret: [u8; 32],
    /// How many bytes it may have.
    pub bytes_max: u64,
    /// How it is kept.
    pub keeping: Keeping,
}

impl Spool {
    /// Opens a spool, reads all that is in it, and starts its writer; join the thread after the last clone is dropped.
    pub fn open(opening: Opening<'_>) -> Result<(Self, JoinHandle<()>), SpoolError> {
        let (shared, writer) = Self::prepare(opening)?;
        let (jobs, mut taken) = mpsc::channel(JOBS_MAX);
        let thread = std::thread::Builder::new().name("spool".to_owned());
        let thread = thread.spawn(move || writer.run(&mut taken));
        let thread = thread.map_err(|source| SpoolError::Write { source })?;
        Ok((Self { shared, jobs }, thread))
    }

    fn prepare(opening: Opening<'_>) -> Result<(Arc<Shared>, Writer), SpoolError> {
        let Opening { folder, log, key, fresh, secret, bytes_max, keeping } = opening;
        let segments = Segments::in_folder(folder)?;
        let lock = lock(&folder.join("lock"))?;
        let secret = secret_of(&folder.join("key"), secret)?;
        let acknowledged = acknowledged(&folder.join("acknowledged"))?;
        let next = Numbering { stream: fresh, number: Number::FIRST, previous: None };
        let head = Head { log: log.to_string(), issuer: key.public().to_string(), next, sequence: 0 };
        let mut state = State::new(head.clone());
        segments.load(&mut state, acknowledged)?;
        let known = state.head();
        let is_foreign = (&known.log, &known.issuer) != (&head.log, &head.issuer);
        if is_foreign && state.undelivered_count() > 0 {
            let Head { log, issuer, .. } = known.clone();
            return Err(SpoolError::Foreign { count: state.undelivered_count(), log, issuer });
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            segments,
            state: Mutex::new(state),
            key: secret,
            bytes_max,
            reserved: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            acknowledged: Mutex::new(acknowledged.unwrap_or_default()),
            noted: Mutex::default(),
            written: Notify::new(),
            _lock: lock,
        });
        let mut writer = Writer::new(Arc::clone(&shared), key, keeping)?;
        if is_foreign {
            writer.begin_stream(head)?;
        }
        Ok((shared, writer))
    }

    /// Keeps room for an exchange of about that many bytes; `None` if there is none, or the spool has failed.
    pub fn reserve(&self, bytes: u64) -> Option<Room> {
        if self.shared.has_failed() {
            return None;
        }
        let used = self.shared.state().bytes();
        let reserved = self.shared.reserved.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { shared: Arc::clone(&self.shared), bytes };
        (used.saturating_add(reserved).saturating_add(bytes) <= self.shared.bytes_max).then_some(room)
    }

    /// Writes an exchange down; when this is done, it lasts.
    pub async fn write(&self, over: Over) -> Result<Id, SpoolError> {
        let (done, wait) = oneshot::channel();
        let sent = self.jobs.send(Job::Exchange(Box::new(over), done)).await;
        sent.map_err(|_| SpoolError::Failed)?;
        wait.await.unwrap_or(Err(SpoolError::Failed))
    }

    /// Writes marks down; they count when this is done, and last in a while.
    pub async fn mark(&self, records: Vec<Record>) -> Result<(), SpoolError> {
        let (done, wait) = oneshot::channel();
        let sent = self.jobs.send(Job::Marks(records, done)).await;
        sent.map_err(|_| SpoolError::Failed)?;
        wait.await.unwrap_or(Err(SpoolError::Failed))
    }

    /// Removes what is done with, makes marks last, and writes down how far records do.
    pub async fn sweep(&self, sweep: Sweep) -> Result<(), SpoolError> {
        let (done, wait) = oneshot::channel();
        let sent = self.jobs.send(Job::Sweep(sweep, done)).await;
        sent.map_err(|_| SpoolError::Failed)?;
        wait.await.map_err(|_| SpoolError::Failed)?;
        let shared = Arc::clone(&self.shared);
        let note = tokio::task::spawn_blocking(move || shared.note_acknowledged()).await;
        Ok(note.map_err(|_| SpoolError::Failed)??)
    }

    /// An exchange by its name.
    pub fn find(&self, exchange: &ExchangeId) -> Option<Kept> {
        self.shared.state().find(exchange).copied()
    }

    /// The oldest exchanges whose receipts are not in the log, at most `count` of them, from one place in the spool on.
    pub fn undelivered(&self, from: u64, count: usize) -> Vec<Kept> {
        self.shared.state().undelivered(from).take(count).collect()
    }

    /// The oldest exchanges that were not handed to the operator, at most `count` of them, from one place in the spool on.
    pub fn unpushed(&self, from: u64, count: usize) -> Vec<Kept> {
        self.shared.state().unpushed(from).take(count).collect()
    }

    /// Done when more exchanges have been written down since this was called.
    pub fn more(&self) -> impl Future<Output = ()> + '_ {
        self.shared.written.notified()
    }

    /// Reads a record from the disk; `None` if it has gone.
    pub async fn read(&self, place: Place) -> Result<Option<Record>, SpoolError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.segments.read(place)).await;
        read.unwrap_or(Err(SpoolError::Failed))
    }

    /// What is kept of a credential: HMAC-SHA256 under the spool's key.
    pub fn credential(&self, credential: &[u8]) -> [u8; 32] {
        self.shared.mac(credential).finalize().into_bytes().into()
    }

    /// Whether what was kept is of this credential. Takes the same time whether it is or not.
    pub fn is_credential(&self, credential: &[u8], kept: &[u8; 32]) -> bool {
        self.shared.mac(credential).verify_slice(kept).is_ok()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let state = self.shared.state();
        Status {
            undelivered: state.undelivered_count(),
            bytes: state.bytes(),
            bytes_max: self.shared.bytes_max,
            has_failed: self.shared.has_failed(),
        }
    }
}

/// How a spool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Receipts that are not in the log.
    pub undelivered: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes that it may have.
    pub bytes_max: u64,
    /// Whether its disk failed, so that nothing is written any more.
    pub has_failed: bool,
}

/// Room that is kept for one exchange. Given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn acknowledge(&self, segment: u64, offset: u64) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = (segment, offset);
    }

    /// Writes down how far records last. Behind by a sweep at most.
    fn note_acknowledged(&self) -> Result<(), FileError> {
        let reached = *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted == reached {
            return Ok(());
        }
        let (segment, offset) = reached;
        let text = acknowledged_text(segment, offset);
        file::replace_durably(&self.folder.join("acknowledged"), text.as_bytes(), Access::Secret)?;
        *noted = reached;
        Ok(())
    }

    fn mac(&self, credential: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&*self.key).expect("HMAC takes keys of any length");
        mac.update(b"counterfoil-credential/v1\0");
        mac.update(credential);
        mac
    }
}

fn lock(path: &Path) -> Result<File, SpoolError> {
    let open = File::options().create(true).truncate(false).write(true).open(path);
    let lock = open.map_err(FileError::new("open", path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(SpoolError::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(FileError::new("lock", path)(error).into()),
    }
}

/// The spool's secret; `fresh` is written down if there is none.
fn secret_of(path: &Path, fresh: [u8; 32]) -> Result<Zeroizing<[u8; 32]>, SpoolError> {
    let fresh = Zeroizing::new(fresh);
    let Some(stored) = file::read_if_there(path, SECRET_BYTES)?.map(Zeroizing::new) else {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        bytes[..32].copy_from_slice(&*fresh);
        bytes[32..].copy_from_slice(Hash::of(&[&*fresh]).as_bytes());
        file::create(path, &*bytes, Access::Secret)?;
        return Ok(fresh);
    };
    let secret =
        stored.split_first_chunk().filter(|(secret, digest)| Hash::of(&[*secret]).as_bytes() == *digest);
    let secret = secret.map(|(secret, _): (&[u8; 32], _)| Zeroizing::new(*secret));
    secret.ok_or_else(|| SpoolError::Damaged { path: path.to_owned(), offset: 0 })
}

/// How far records last, as a line, and its digest, as another.
fn acknowledged_text(segment: u64, offset: u64) -> String {
    let line = format!("{segment:020} {offset:020}\n");
    format!("{line}{}\n", Hash::of(&[line.as_bytes()]))
}

fn acknowledged(path: &Path) -> Result<Option<(u64, u64)>, SpoolError> {
    let Some(bytes) = file::read_if_there(path, ACKNOWLEDGED_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let pair = text.lines().next().and_then(|line| line.split_once(' '));
    let pair = pair.and_then(|(segment, offset)| Some((segment.parse().ok()?, offset.parse().ok()?)));
    let pair = pair.filter(|(segment, offset)| acknowledged_text(*segment, *offset) == text);
    pair.map(Some).ok_or_else(|| SpoolError::Damaged { path: path.to_owned(), offset: 0 })
}

/// What is wrong with a spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program has it.
    #[error("{} is locked: another proxy uses this spool", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// What was said to last is not there as it was written.
    #[error(
        "{} is damaged at byte {offset}: restore it; or set the spool aside, begin another, and void what was lost",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A segment is gone, or the end of it, that was said to last.
    #[error(
        "{} is missing or shorter than it was: restore it; or set the spool aside, begin another, and void what was lost",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It holds receipts for another log, or of another issuer.
    #[error(
        "{count} receipts in the spool are for {log} by {issuer}, and not in that log: deliver them first, with that configuration"
    )]
    Foreign {
        /// How many.
        count: usize,
        /// The log.
        log: String,
        /// The issuer's key.
        issuer: String,
    },
    /// There is no room on the disk.
    #[error("the spool's disk takes no more")]
    Full,
    /// Its disk failed; nobody knows what is on it.
    #[error("the spool's disk has failed")]
    Failed,
    /// Something could not be written.
    #[error("the spool cannot be written")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A receipt could not be signed.
    #[error(transparent)]
    Sign(SignError),
    /// The stream has no more numbers.
    #[error("the stream has no more numbers")]
    Numbers,
}

#[cfg(test)]
mod tests;

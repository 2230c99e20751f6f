//! Bodies, kept if the operator says so and for as long: `<folder>/<id>.request` and `<id>.response`, as they passed.
//!
//! They are written as they pass by a thread of their own, under the exchange's name until the receipt's id is known.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use counterfoil_receipt::Id;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{lookup, metrics::Metrics, spool::record::ExchangeId};
use crate::file::FileError;

/// How many pieces may wait to be written; who brings more waits.
const WAITING_MAX: usize = 1024;

/// Where bodies are kept.
#[derive(Clone, Debug)]
pub struct Bodies(mpsc::Sender<Job>);

/// The bodies of one exchange.
#[derive(Debug)]
pub struct Kept {
    exchange: ExchangeId,
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Piece(ExchangeId, Side, Bytes),
    End(ExchangeId, Option<Id>),
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Request,
    Response,
}

impl Side {
    const ALL: [Self; 2] = [Self::Request, Self::Response];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// How long bodies are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// For how long.
    pub time: Duration,
    /// How many bytes they may have together.
    pub bytes_max: u64,
}

impl Bodies {
    /// Opens the folder, which is made if it is not there, and starts the thread that writes into it.
    pub fn open(
        folder: &Path,
        term: Term,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinHandle<()>), FileError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(FileError::new("create", folder))?;
        let mut keeper = Keeper { folder: folder.to_owned(), term, metrics, open: HashMap::new(), bytes: 0 };
        keeper.remove_unfinished().map_err(FileError::new("list", folder))?;
        keeper.sweep().map_err(FileError::new("list", folder))?;
        let (jobs, mut taken) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("bodies".to_owned());
        let thread = thread.spawn(move || {
            while let Some(job) = taken.blocking_recv() {
                keeper.take(job);
            }
        });
        Ok((Self(jobs), thread.map_err(FileError::new("write", folder))?))
    }

    /// An exchange begins.
    pub fn begin(&self, exchange: ExchangeId) -> Kept {
        Kept { exchange, jobs: self.0.clone() }
    }

    /// Removes what was kept long enough.
    pub async fn sweep(&self) {
        // The thread ends with the proxy only.
        let _ = self.0.send(Job::Sweep).await;
    }
}

impl Kept {
    /// More of the request.
    pub async fn asked(&self, bytes: Bytes) {
        self.send(Job::Piece(self.exchange, Side::Request, bytes)).await;
    }

    /// More of the response.
    pub async fn answered(&self, bytes: Bytes) {
        self.send(Job::Piece(self.exchange, Side::Response, bytes)).await;
    }

    /// The exchange is over; without a receipt its bodies are not kept.
    pub async fn end(self, id: Option<Id>) {
        self.send(Job::End(self.exchange, id)).await;
    }

    async fn send(&self, job: Job) {
        // The thread ends with the proxy only.
        let _ = self.jobs.send(job).await;
    }
}

/// The thread's own.
#[derive(Debug)]
struct Keeper {
    folder: PathBuf,
    term: Term,
    metrics: Arc<Metrics>,
    /// The bodies that are being written; `None` for those that are not kept.
    open: HashMap<(ExchangeId, Side), Option<File>>,
    bytes: u64,
}

impl Keeper {
    fn take(&mut self, job: Job) {
        match job {
            Job::Piece(exchange, side, bytes) => self.piece(exchange, side, &bytes),
            Job::End(exchange, id) => Side::ALL.into_iter().for_each(|side| self.end(exchange, side, id)),
            Job::Sweep => {
                if let Err(error) = self.sweep() {
                    error!(%error, "expired bodies cannot be removed");
                }
            }
        }
    }

    fn piece(&mut self, exchange: ExchangeId, side: Side, bytes: &[u8]) {
        let path = self.unfinished(exchange, side);
        let file = self.open.entry((exchange, side)).or_insert_with(|| {
            let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            created.inspect_err(|error| error!(%error, "a body cannot be kept")).ok()
        });
        let Some(open) = file else { return };
        let has_room = self.bytes + bytes.len() as u64 <= self.term.bytes_max;
        let written = if has_room { open.write_all(bytes) } else { Err(io::ErrorKind::QuotaExceeded.into()) };
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(error) => {
                warn!(%error, "a body is not kept");
                let length = open.metadata().map_or(0, |metadata| metadata.len());
                *file = None;
                self.bytes = self.bytes.saturating_sub(length);
                self.remove(&path);
            }
        }
    }

    fn end(&mut self, exchange: ExchangeId, side: Side, id: Option<Id>) {
        let Some(file) = self.open.remove(&(exchange, side)) else { return };
        let path = self.unfinished(exchange, side);
        let (Some(file), Some(id)) = (&file, id) else {
            self.metrics.body_dropped();
            if let Some(file) = file {
                self.bytes = self.bytes.saturating_sub(file.metadata().map_or(0, |metadata| metadata.len()));
                self.remove(&path);
            }
            return;
        };
        let kept = self.folder.join(format!("{id}.{}", side.as_str()));
        if let Err(error) = file.sync_data().and_then(|()| fs::rename(&path, kept)) {
            self.metrics.body_dropped();
            error!(%error, "a body cannot be kept");
        }
    }

    /// Removes what is older than it may be, and counts the rest.
    fn sweep(&mut self) -> io::Result<()> {
        let oldest = SystemTime::now().checked_sub(self.term.time);
        self.bytes = 0;
        for item in fs::read_dir(&self.folder)? {
            let item = item?;
            let metadata = item.metadata()?;
            if !is_body(&item.path()) || !metadata.is_file() {
                continue;
            }
            if oldest.is_some_and(|oldest| metadata.modified().is_ok_and(|at| at < oldest)) {
                self.remove(&item.path());
            } else {
                self.bytes += metadata.len();
            }
        }
        Ok(())
    }

    /// Removes what was being written when the program ended.
    fn remove_unfinished(&self) -> io::Result<()> {
        for item in fs::read_dir(&self.folder)? {
            let path = item?.path();
            if is_body(&path) && path.file_stem().is_some_and(|stem| stem.len() == 32) {
                self.remove(&path);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path) {
            error!(%error, path = %path.display(), "a body cannot be removed");
        }
    }

    fn unfinished(&self, exchange: ExchangeId, side: Side) -> PathBuf {
        self.folder.join(format!("{}.{}", lookup::name(&exchange), side.as_str()))
    }
}

/// Whether a file is one of ours.
fn is_body(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(stem.len(), 32 | 64)
        && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
        && Side::ALL.iter().any(|side| side.as_str() == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let items = fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name());
        let mut names: Vec<_> = items.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn bodies_are_kept_under_the_receipts_id_within_their_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let term = Term { time: Duration::from_secs(3600), bytes_max: 10 };
        fs::write(folder.path().join(format!("{:032}.request", 9)), "of a former life").unwrap();
        fs::write(folder.path().join("else.request"), "not ours").unwrap();
        let (bodies, thread) = Bodies::open(folder.path(), term, Arc::clone(&metrics)).unwrap();
        let ids = [Id::of_statement(b"1"), Id::of_statement(b"2")];
        let one = bodies.begin([1; 16]);
        one.asked(Bytes::from("abc")).await;
        one.answered(Bytes::from("d")).await;
        one.answered(Bytes::from("ef")).await;
        one.end(Some(ids[0])).await;
        let two = bodies.begin([2; 16]);
        two.asked(Bytes::from("abcd")).await;
        two.answered(Bytes::from("too long")).await;
        two.end(Some(ids[1])).await;
        let three = bodies.begin([3; 16]);
        three.asked(Bytes::from("a")).await;
        three.end(None).await;
        drop(bodies);
        thread.join().unwrap();
        let mut expected = vec![
            format!("{}.request", ids[0]),
            format!("{}.response", ids[0]),
            format!("{}.request", ids[1]),
            "else.request".to_owned(),
        ];
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        assert_eq!(fs::read(folder.path().join(format!("{}.response", ids[0]))).unwrap(), b"def");

        let none = Term { time: Duration::ZERO, ..term };
        drop(Bodies::open(folder.path(), none, metrics).unwrap());
        assert_eq!(names(folder.path()), ["else.request"]);
    }
}

//! What everybody may know of a log while it is being watched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use counterfoil_merkle::TreeSize;
use counterfoil_receipt::{
    Timestamp,
    audit::{Finding, Report},
};
use tokio::sync::{Notify, watch};

use crate::{
    alert::metrics::Progress,
    hearsay::Hearsay,
    log::KnownLog,
    monitor::{Monitor, Snapshot},
};

/// Most findings of the last look that are shown.
pub const SHOWN_MAX: usize = 20;

/// A log that is being watched.
#[derive(Debug)]
pub struct Watched {
    /// What it is called here.
    pub name: String,
    /// Its keys and address.
    pub known: KnownLog,
    standing: Mutex<Standing>,
    opened: Mutex<Option<Opened>>,
    wake: Notify,
}

/// How the watching goes.
#[derive(Clone, Debug)]
pub struct Standing {
    /// When there was last a sign of life from whoever looks at it.
    pub alive: Timestamp,
    /// When the last look ended.
    pub looked: Option<Timestamp>,
    /// The gravest findings of the last look.
    pub findings: Vec<Finding>,
    /// How many findings the last look had.
    pub found: u64,
    /// Forks that were proven.
    pub forks: u64,
    /// What has been read in this look, and what there is to read.
    pub reading: Option<(TreeSize, TreeSize)>,
    /// Why it cannot be watched, if it cannot.
    pub trouble: Option<String>,
}

/// What a log's own directory gives while it is open.
#[derive(Clone, Debug)]
struct Opened {
    snapshots: watch::Receiver<Snapshot>,
    hearsay: Arc<Hearsay>,
}

impl Watched {
    /// A log that is not watched yet.
    pub fn new(name: &str, known: KnownLog, now: Timestamp) -> Self {
        let standing = Standing {
            alive: now,
            looked: None,
            findings: Vec::new(),
            found: 0,
            forks: 0,
            reading: None,
            trouble: None,
        };
        let (standing, opened) = (Mutex::new(standing), Mutex::new(None));
        Self { name: name.to_owned(), known, standing, opened, wake: Notify::new() }
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.known.key.name().as_str()
    }

    /// How the watching goes.
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// What is known of the log, durably; none while it cannot be watched.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| opened.snapshots.borrow().clone())
    }

    /// What others say of the log, beside what is known; none while it cannot be watched.
    pub fn hearsay(&self) -> Option<(Snapshot, Arc<Hearsay>)> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| (opened.snapshots.borrow().clone(), Arc::clone(&opened.hearsay)))
    }

    /// What is to be counted.
    pub fn progress(&self) -> Progress {
        let (standing, snapshot) = (self.standing(), self.snapshot());
        let snapshot = snapshot.as_ref();
        Progress {
            verified: snapshot.map_or(0, |snapshot| snapshot.head().size.get()),
            known: snapshot.map_or(0, |snapshot| snapshot.known_size().get()),
            attested_s: snapshot.and_then(Snapshot::attested_s),
            advanced_s: snapshot.and_then(Snapshot::advanced).map(Timestamp::seconds),
            round_s: standing.looked.map(Timestamp::seconds),
            forks: standing.forks,
        }
    }

    /// Has the log looked at again at once, for somebody said something of it.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn open(&self, monitor: &Monitor, hearsay: Arc<Hearsay>) {
        let opened = Opened { snapshots: monitor.snapshots(), hearsay };
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        self.lock().trouble = None;
    }

    pub(super) fn lose(&self, reason: &str) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut standing = self.lock();
        standing.trouble = Some(reason.to_owned());
        standing.reading = None;
    }

    pub(super) fn reads(&self, read: TreeSize, whole: TreeSize, now: Timestamp) {
        let mut standing = self.lock();
        standing.alive = now;
        standing.reading = Some((read, whole));
    }

    pub(super) fn looked(&self, monitor: &Monitor, report: &Report, now: Timestamp) {
        let mut findings = report.findings().to_vec();
        findings.sort();
        findings.truncate(SHOWN_MAX);
        let mut standing = self.lock();
        standing.alive = now;
        standing.looked = Some(now);
        standing.findings = findings;
        standing.found = report.counts().values().sum();
        standing.forks = monitor.forks().proven().len() as u64;
        standing.reading = None;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

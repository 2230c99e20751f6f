//! What a witness promises, tried by whoever would have it break its word.

mod cosigning;
mod damage;
mod forking;
mod handing_over;
mod history;
mod protocol;
pub(super) mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use counterfoil_merkle::{
    key::{Algorithm, VerifierKey},
    note::SignatureLine,
    witness::AddCheckpoint,
};
use tempfile::TempDir;

use self::tree::watched;
use super::{
    judge::Refusal,
    roster::{Roster, WatchedLog},
    service::{Witness, WitnessError},
    slot::{Slot, Tools, View},
    state::StateDir,
};
use crate::testlog::signer;

const NAME: &str = "witness.example/w1";

/// A witness's directory and its clock, which outlive the witness.
struct Home {
    folder: TempDir,
    now_s: Arc<AtomicU64>,
    logs: Vec<WatchedLog>,
}

impl Home {
    /// The directory of a new witness that knows one log. It is 1,700,000,000 s.
    fn new() -> Self {
        Self::of(vec![watched()])
    }

    fn of(logs: Vec<WatchedLog>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        StateDir::create(&folder.path().join("state"), &vkey()).unwrap();
        Self { folder, now_s: Arc::new(AtomicU64::new(1_700_000_000)), logs }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The directory of the first log.
    fn log(&self) -> PathBuf {
        self.state().join("log").join(self.logs[0].id().to_string())
    }

    fn set_clock(&self, now_s: u64) {
        self.now_s.store(now_s, Ordering::Relaxed);
    }

    fn open(&self) -> Result<Arc<Witness>, WitnessError> {
        let (wall, steady) = (Arc::clone(&self.now_s), Arc::clone(&self.now_s));
        let wall = Box::new(move || wall.load(Ordering::Relaxed));
        let steady = Box::new(move || Duration::from_secs(steady.load(Ordering::Relaxed)));
        let tools = Tools::new(signer(NAME, Algorithm::CosignatureV1), wall, steady).unwrap();
        let mut roster = Roster::default();
        self.logs.iter().for_each(|log| roster.add(log.clone()).unwrap());
        Witness::open(&self.state(), tools, &roster).map(Arc::new)
    }

    fn up(&self) -> Arc<Witness> {
        self.open().unwrap()
    }
}

fn vkey() -> VerifierKey {
    signer(NAME, Algorithm::CosignatureV1).public().clone()
}

async fn add(witness: &Witness, request: &AddCheckpoint) -> Result<Vec<SignatureLine>, Refusal> {
    witness.add_checkpoint(request.to_string().as_bytes()).await
}

fn slot(witness: &Witness) -> Arc<Slot> {
    witness.slot(watched().id()).unwrap()
}

fn view(witness: &Witness) -> View {
    slot(witness).view()
}

/// Size of the newest tree that was cosigned.
fn size(witness: &Witness) -> u64 {
    view(witness).newest.map_or(0, |newest| newest.head().size.get())
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(directory).unwrap().map(|item| item.unwrap().path());
    let mut files: Vec<_> =
        items.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

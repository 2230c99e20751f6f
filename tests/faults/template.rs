//! A log of a certain size, made once: every round begins with a copy of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use counterfoil_server::{config::Config, pace::Pace, steps::Steps};
use counterfoil_tests::inside;

use crate::life::{Ledger, Life};

/// The log's origin.
pub(crate) const ORIGIN: &str = "faults.invalid/log";

/// The rules, and receipts: the first bundle fills soon after. The receipt with that number is the first one that is not
/// in it.
pub(crate) const FIRST: usize = 251;

/// As many entries it has.
pub(crate) const SIZE: u64 = FIRST as u64;

/// What waits for nothing, and uses the files of commit records again soon.
pub(crate) const PACE: Pace = Pace {
    renew: Duration::from_secs(30),
    retry: Duration::ZERO,
    guard_lag: Duration::ZERO,
    checkpoint: Duration::ZERO,
    retained_max: 5,
    tombstone: Duration::from_secs(3600),
};

/// Files by their paths, which are relative.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The log as it was made.
pub(crate) struct Template {
    /// Its configuration; only the keys of it are used.
    config: Config,
    /// Data directory and guard.
    pub(crate) files: Files,
    /// What was acknowledged, and which heads were signed.
    pub(crate) ledger: Ledger,
    /// Holds keys.
    _directory: tempfile::TempDir,
}

/// The template.
pub(crate) fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let directory = directory();
        let log = directory.path().join("log");
        let config = inside::new_log(ORIGIN, &log, &log.join("guard"));
        let mut ledger = Ledger::default();
        // Nothing but commits: every directory of tiles and bundles is still to be made.
        let pace = Pace { retained_max: 1000, ..PACE };
        let life = Life::start(&config, &Steps::default(), pace).unwrap();
        let numbers: Vec<_> = (1..FIRST).collect();
        for batch in numbers.chunks(50) {
            life.append(batch.iter().copied(), &mut ledger);
        }
        assert!(life.stop(&mut ledger), "the template was made");
        let files = read(&log);
        let files =
            files.into_iter().filter(|(path, _)| path.starts_with("data") || path.starts_with("guard"));
        Template { config, files: files.collect(), ledger, _directory: directory }
    })
}

impl Template {
    /// The configuration of a copy.
    pub(crate) fn config(&self, home: &Path) -> Config {
        Config {
            data: home.join("data"),
            guard: home.join("guard"),
            index: home.join("index"),
            ..self.config.clone()
        }
    }
}

/// An empty directory, in memory where there is such a place: what a disk forgets is simulated.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// All files below a directory.
pub(crate) fn read(directory: &Path) -> Files {
    let mut files = Files::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        for item in fs::read_dir(&at).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Writes files below a directory.
pub(crate) fn write(directory: &Path, files: &Files) {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

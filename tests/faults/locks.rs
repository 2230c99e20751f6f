//! Opening what has just been let go of. A process that another test is starting has every descriptor of this one, and so its locks,
//! until it executes its program: for that moment a log that was stopped seems to be in use.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use counterfoil_server::{
    clock::wall_now,
    config::Config,
    fsck::{self, FsckError, FsckReport},
    guard::{Guard, GuardError},
    objects::{Objects, StoreError},
    steps::Steps,
};

/// Such a moment is over by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// The data directory of a log that nobody runs.
pub(crate) fn objects(data: &Path, steps: &Steps) -> Result<Objects, StoreError> {
    once_free(
        |error| matches!(error, StoreError::InUse { .. }),
        || Objects::open_watched(data, steps.clone()),
    )
}

/// Its guard.
pub(crate) fn guard(path: &Path, steps: &Steps) -> Result<Guard, GuardError> {
    once_free(|error| matches!(error, GuardError::InUse { .. }), || Guard::open_watched(path, steps.clone()))
}

/// What `fsck` says of it.
pub(crate) fn fsck(config: &Config, admission: bool) -> Result<FsckReport, FsckError> {
    let in_use = |error: &FsckError| matches!(error, FsckError::Store(StoreError::InUse { .. }));
    once_free(in_use, || fsck::fsck(config, wall_now().unwrap(), admission))
}

fn once_free<T, E>(in_use: impl Fn(&E) -> bool, open: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Err(error) if in_use(&error) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

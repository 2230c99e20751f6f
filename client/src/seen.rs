//! Checkpoints that were pinned before the newest one: a bounded number, thinner the older they are.
//!
//! A monitor of another history convicts by a checkpoint that is not larger than what it follows. Whoever kept smaller ones
//! has something to show it, even when the history that they are of is gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{TreeSize, checkpoint::VerifiedCheckpoint, key::VerifierKey, note::NOTE_BYTES_MAX};

use crate::file::{self, Access, FileError};

/// Most checkpoints that are kept; when there are as many, every second one goes.
const SEEN_MAX: usize = 128;

/// Keeps a checkpoint. Not synced: nothing depends on it.
pub(crate) fn keep(folder: &Path, checkpoint: &VerifiedCheckpoint) -> Result<(), FileError> {
    let sizes = sizes(folder)?;
    file::create_folder(folder)?;
    if sizes.len() >= SEEN_MAX {
        for size in sizes.into_iter().skip(1).step_by(2) {
            let path = path(folder, size);
            fs::remove_file(&path).map_err(FileError::new("remove", &path))?;
        }
    }
    let path = path(folder, checkpoint.head().size.get());
    file::replace(&path, checkpoint.signed().to_string().as_bytes(), Access::Public)
}

/// The newest one that was kept of a tree of at most that size. What is damaged is passed over.
pub(crate) fn up_to(
    folder: &Path,
    size: TreeSize,
    log: &VerifierKey,
) -> Result<Option<VerifiedCheckpoint>, FileError> {
    let read = |size| {
        let bytes = file::read(&path(folder, size), NOTE_BYTES_MAX).ok()?;
        let checkpoint =
            str::from_utf8(&bytes).ok()?.parse::<counterfoil_merkle::checkpoint::SignedCheckpoint>();
        checkpoint.ok()?.verify(log).ok()
    };
    let sizes = sizes(folder)?;
    Ok(sizes.into_iter().rev().filter(|kept| *kept <= size.get()).find_map(read))
}

fn path(folder: &Path, size: u64) -> PathBuf {
    folder.join(size.to_string())
}

/// The sizes of all that are kept, ascending.
fn sizes(folder: &Path) -> Result<Vec<u64>, FileError> {
    let failed = |error| FileError::new("list", folder)(error);
    let items = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(failed)?,
    };
    let mut sizes = Vec::new();
    for item in items {
        sizes.extend(item.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    sizes.sort_unstable();
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{Hash, TreeHead, key::Algorithm};

    use super::*;
    use crate::testlog;

    /// The oldest and the newest stay, their number is bounded, and the best one for a size is found.
    #[test]
    fn what_is_kept_thins_out() {
        let home = tempfile::tempdir().unwrap();
        let log = testlog::signer(testlog::ORIGIN, Algorithm::Ed25519);
        let checkpoint = |size: u64| {
            let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash::leaf(b"a") };
            testlog::checkpoint(head, 7).verify(log.public()).unwrap()
        };
        let find = |size| {
            let found = up_to(home.path(), TreeSize::new(size).unwrap(), log.public()).unwrap();
            found.map(|found| found.head().size.get())
        };
        assert_eq!(find(5), None);
        for size in 1..=1000 {
            keep(home.path(), &checkpoint(size)).unwrap();
            assert!(sizes(home.path()).unwrap().len() <= SEEN_MAX);
        }
        assert_eq!((find(0), find(1), find(1000), find(2000)), (None, Some(1), Some(1000), Some(1000)));
        assert!(find(900).unwrap() > 800);
        fs::write(path(home.path(), 1000), "damaged").unwrap();
        assert_eq!(find(1000), Some(999));
    }
}

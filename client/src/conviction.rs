//! Evidence against a log, kept in its folder: whoever holds any refuses that log for good.
//!
//! The only way back is that a person deletes the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    evidence::{EVIDENCE_BYTES_MAX, EvidenceError, ForkEvidence},
    key::VerifierKey,
};

use crate::file::{self, Access, FileError};

/// Where in a log's folder evidence is.
const FOLDER: &str = "evidence";

/// Most files that are looked at. One that proves anything is enough, and no more than that is ever written.
const FILES_MAX: usize = 64;

/// A log that is proven to have signed two histories.
#[derive(Clone, Debug)]
pub struct Conviction {
    /// The file that proves it.
    pub path: PathBuf,
    /// What it says.
    pub evidence: ForkEvidence,
}

/// The evidence against a log in a folder, checked anew, if there is any.
///
/// # Errors
/// [`ConvictionError::Damaged`] if a file there is not evidence at all: what it once proved nobody can tell, so that whoever
/// reads it must not go on either.
pub fn find(folder: &Path, log: &VerifierKey) -> Result<Option<Conviction>, ConvictionError> {
    let mut damaged = None;
    for path in files(&folder.join(FOLDER))? {
        let text = file::read(&path, EVIDENCE_BYTES_MAX)?;
        match String::from_utf8_lossy(&text).parse::<ForkEvidence>() {
            // Evidence against another log, or another key of that name, is nothing to this one.
            Ok(evidence) if evidence.verify(log).is_ok() => return Ok(Some(Conviction { path, evidence })),
            Ok(_) => {}
            Err(reason) => damaged = Some(ConvictionError::Damaged { path, reason }),
        }
    }
    damaged.map_or(Ok(None), Err)
}

/// Keeps evidence against a log in its folder, durably, and gives the file.
///
/// # Errors
/// [`ConvictionError::NotProven`] if it does not convict this log; then nothing is written.
pub fn keep(folder: &Path, log: &VerifierKey, evidence: &ForkEvidence) -> Result<PathBuf, ConvictionError> {
    evidence.verify(log).map_err(ConvictionError::NotProven)?;
    if let Ok(Some(known)) = find(folder, log) {
        return Ok(known.path);
    }
    let folder = folder.join(FOLDER);
    file::create_folder(&folder)?;
    let path = folder.join(format!("{}.txt", evidence.id()));
    file::replace_durably(&path, evidence.to_string().as_bytes(), Access::Public)?;
    Ok(path)
}

/// The files of evidence, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |error| FileError::new("list", folder)(error);
    let items = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(failed)?,
    };
    let paths: Result<Vec<_>, _> = items.take(FILES_MAX).map(|item| item.map(|item| item.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    Ok(paths)
}

/// Why evidence cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvictionError {
    /// It does not prove anything against this log.
    #[error("not proven: {0}")]
    NotProven(EvidenceError),
    /// A file of evidence is damaged.
    #[error(
        "{} is kept as evidence and cannot be read as such ({reason}); without it nobody knows whether to trust the log",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: EvidenceError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{Hash, TreeHead, TreeSize, key::Algorithm};

    use super::*;
    use crate::testlog;

    fn evidence() -> ForkEvidence {
        let head = |leaf: &[u8]| TreeHead { size: TreeSize::new(1).unwrap(), root: Hash::leaf(leaf) };
        ForkEvidence::same_size(testlog::checkpoint(head(b"a"), 7), testlog::checkpoint(head(b"b"), 7))
    }

    /// Evidence convicts the log that it is against, once, until it is deleted; damaged evidence convicts nobody and lets
    /// nobody go on.
    #[test]
    fn evidence_is_kept_until_somebody_deletes_it() {
        let home = tempfile::tempdir().unwrap();
        let log = testlog::signer(testlog::ORIGIN, Algorithm::Ed25519);
        let other = testlog::signer("other.example", Algorithm::Ed25519);
        assert!(find(home.path(), log.public()).unwrap().is_none());
        let refused = keep(home.path(), other.public(), &evidence());
        assert!(matches!(refused, Err(ConvictionError::NotProven(_))));
        assert!(!home.path().join(FOLDER).exists());

        let path = keep(home.path(), log.public(), &evidence()).unwrap();
        assert_eq!(keep(home.path(), log.public(), &evidence()).unwrap(), path);
        let conviction = find(home.path(), log.public()).unwrap().unwrap();
        assert_eq!((conviction.path, conviction.evidence), (path.clone(), evidence()));
        assert!(find(home.path(), other.public()).unwrap().is_none());

        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("\n1\n", "\n2\n", 1)).unwrap();
        assert!(matches!(find(home.path(), log.public()), Err(ConvictionError::Damaged { .. })));
        fs::remove_file(&path).unwrap();
        assert!(find(home.path(), log.public()).unwrap().is_none());
    }
}

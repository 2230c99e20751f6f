//! The forks that a monitor has proven: files of evidence, which are also how it remembers them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    TreeHead,
    evidence::{EVIDENCE_BYTES_MAX, ForkEvidence},
    key::VerifierKey,
};

use super::{
    state::StateError,
    tiles::{sync_directory, write_file},
};

/// Most files of evidence that are written. One is enough to convict a log.
pub const EVIDENCE_MAX: usize = 64;

/// Evidence in a directory.
#[derive(Clone, Debug)]
pub struct Forks {
    directory: PathBuf,
    proven: Vec<Proven>,
}

/// A proven fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The file.
    pub path: PathBuf,
    /// The two heads that cannot both be true, the smaller one first.
    pub heads: [TreeHead; 2],
}

impl Forks {
    /// Reads all evidence against that log, and checks it again.
    pub fn open(state: &Path, log: &VerifierKey) -> Result<Self, StateError> {
        let directory = state.join("evidence");
        let mut proven = Vec::new();
        for path in files(&directory)? {
            let damaged = || StateError::Damaged { path: path.clone() };
            let length =
                fs::metadata(&path).map_err(|source| StateError::Io { path: path.clone(), source })?.len();
            if length > EVIDENCE_BYTES_MAX as u64 {
                return Err(damaged());
            }
            let text = fs::read_to_string(&path).map_err(|_| damaged())?;
            let evidence: ForkEvidence = text.parse().map_err(|_| damaged())?;
            evidence.verify(log).map_err(|_| damaged())?;
            proven.push(Proven { path: path.clone(), heads: heads(&evidence) });
        }
        Ok(Self { directory, proven })
    }

    /// What was proven so far.
    pub fn proven(&self) -> &[Proven] {
        &self.proven
    }

    /// Evidence that a checkpoint with this head is part of, if there is any.
    pub fn of(&self, head: TreeHead) -> Option<&Proven> {
        self.proven.iter().find(|proven| proven.heads.contains(&head))
    }

    /// Files new evidence durably, unless there is enough; gives the file.
    pub fn add(&mut self, evidence: &ForkEvidence) -> Result<Option<PathBuf>, StateError> {
        if self.proven.len() >= EVIDENCE_MAX {
            return Ok(None);
        }
        let path = self.directory.join(format!("{}.txt", evidence.id()));
        fs::create_dir_all(&self.directory)
            .map_err(|source| StateError::Io { path: self.directory.clone(), source })?;
        self.directory.parent().map_or(Ok(()), sync_directory)?;
        write_file(&path, evidence.to_string().as_bytes())?;
        self.proven.push(Proven { path: path.clone(), heads: heads(evidence) });
        Ok(Some(path))
    }
}

fn heads(evidence: &ForkEvidence) -> [TreeHead; 2] {
    [evidence.a(), evidence.b()].map(|note| note.unverified().head)
}

/// The files of evidence, sorted by name; an unfinished one is none.
fn files(directory: &Path) -> Result<Vec<PathBuf>, StateError> {
    let failed = |source| StateError::Io { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    Ok(paths)
}

//! What was heard of one log, a file each.
//!
//! ```text
//! note/<20-digit size>-<root>.txt   a checkpoint that is still to be judged
//! evidence/<id>.txt                 a proven fork
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::SignedCheckpoint,
    evidence::{EVIDENCE_BYTES_MAX, ForkEvidence},
    key::VerifierKey,
    note::NOTE_BYTES_MAX,
};

use crate::file::{self, Access, FileError};

/// Most checkpoints that wait to be judged. Of more, those of the largest trees go: the others are judged sooner.
pub const NOTES_MAX: usize = 64;

/// Most files of evidence. One is enough to convict a log.
pub const EVIDENCE_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Store {
    notes_in: PathBuf,
    evidence_in: PathBuf,
    notes: BTreeMap<(TreeSize, Hash), SignedCheckpoint>,
    evidence: Vec<ForkEvidence>,
}

impl Store {
    /// Reads all that is kept, and checks that the log signed it and that it proves what it should.
    pub(super) fn open(directory: &Path, log: &VerifierKey) -> Result<Self, StoreError> {
        let (notes_in, evidence_in) = (directory.join("note"), directory.join("evidence"));
        let mut store = Self { notes_in, evidence_in, notes: BTreeMap::new(), evidence: Vec::new() };
        for path in files(&store.notes_in)? {
            let note = read(&path, NOTE_BYTES_MAX)?.parse::<SignedCheckpoint>().ok();
            let note = note.filter(|note| note.verify(log).is_ok());
            let note = note.ok_or(StoreError::Damaged { path })?;
            store.notes.insert(key(note.unverified().head), note);
        }
        for path in files(&store.evidence_in)? {
            let evidence = read(&path, EVIDENCE_BYTES_MAX)?.parse::<ForkEvidence>().ok();
            let evidence = evidence.filter(|evidence| evidence.verify(log).is_ok());
            store.evidence.push(evidence.ok_or(StoreError::Damaged { path })?);
        }
        Ok(store)
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        self.notes.values()
    }

    pub(super) fn evidence(&self) -> &[ForkEvidence] {
        &self.evidence
    }

    /// A checkpoint of the same size with another root, if one is kept.
    pub(super) fn other_root(&self, head: TreeHead) -> Option<SignedCheckpoint> {
        let same_size = (head.size, Hash::new([0; 32]))..=(head.size, Hash::new([0xff; 32]));
        let mut others = self.notes.range(same_size);
        others.find(|((_, root), _)| *root != head.root).map(|(_, note)| note.clone())
    }

    /// Keeps a checkpoint durably, once for each size and root.
    pub(super) fn keep_note(&mut self, note: &SignedCheckpoint) -> Result<(), StoreError> {
        let head = note.unverified().head;
        if self.notes.contains_key(&key(head)) {
            return Ok(());
        }
        if self.notes.len() >= NOTES_MAX {
            let largest = self.notes.last_key_value().map(|(_, note)| note.unverified().head);
            match largest {
                Some(largest) if largest.size > head.size => self.drop_note(largest)?,
                _ => return Ok(()),
            }
        }
        file::create_folder(&self.notes_in)?;
        file::replace_durably(&self.note_path(head), note.to_string().as_bytes(), Access::Public)?;
        self.notes.insert(key(head), note.clone());
        Ok(())
    }

    /// Lets go of a checkpoint.
    pub(super) fn drop_note(&mut self, head: TreeHead) -> Result<(), StoreError> {
        if self.notes.remove(&key(head)).is_some() {
            let path = self.note_path(head);
            fs::remove_file(&path).map_err(|source| StoreError::Io { path, source })?;
        }
        Ok(())
    }

    /// Keeps evidence durably, once for each pair of heads, unless there is enough. Whether it was kept.
    pub(super) fn keep_evidence(&mut self, evidence: &ForkEvidence) -> Result<bool, StoreError> {
        let known = self.evidence.iter().any(|known| heads(known) == heads(evidence));
        if known || self.evidence.len() >= EVIDENCE_MAX {
            return Ok(false);
        }
        file::create_folder(&self.evidence_in)?;
        let path = self.evidence_in.join(format!("{}.txt", evidence.id()));
        file::replace_durably(&path, evidence.to_string().as_bytes(), Access::Public)?;
        self.evidence.push(evidence.clone());
        Ok(true)
    }

    fn note_path(&self, head: TreeHead) -> PathBuf {
        self.notes_in.join(format!("{:020}-{}.txt", head.size.get(), head.root))
    }
}

fn key(head: TreeHead) -> (TreeSize, Hash) {
    (head.size, head.root)
}

fn heads(evidence: &ForkEvidence) -> [TreeHead; 2] {
    [evidence.a(), evidence.b()].map(|note| note.unverified().head)
}

fn read(path: &Path, bytes_max: usize) -> Result<String, StoreError> {
    Ok(file::read_text(path, bytes_max)?)
}

/// The files in a folder, if there is one, sorted by name; an unfinished one is none.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::Io { path: folder.to_owned(), source };
    let items = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(failed)?,
    };
    let paths: io::Result<Vec<_>> = items.map(|item| item.map(|item| item.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    Ok(paths)
}

/// Why what was heard cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file is not what was written.
    #[error("{} is damaged: what others said of the log cannot be trusted; remove the file to go on without it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file or folder could not be listed or removed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

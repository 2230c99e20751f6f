//! What a log signed and a witness refused: kept, within bounds, for whoever can tell what it is.
//!
//! Anybody can send a log's honest checkpoint with a proof that is none. So a note here convicts nobody, and whoever
//! floods this gains a full shelf and no more.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::SignedCheckpoint,
    note::{NOTE_BYTES_MAX, Note},
};

use super::{framed, state::StateError};
use crate::file::FileError;

/// Most notes that are kept of one log.
pub const NOTES_MAX: usize = 64;

/// Most bytes of these notes.
pub const NOTES_BYTES_MAX: usize = 1024 * 1024;

/// The refused notes of one log: `<id>.note` until somebody else has them, then `<id>.told`.
#[derive(Debug)]
pub struct Refused {
    directory: PathBuf,
    notes: BTreeMap<Hash, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    head: TreeHead,
    bytes: usize,
    status: Status,
}

/// What has become of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Nobody else has it.
    Waiting,
    /// Somebody else has it too.
    Told,
    /// It goes with what was cosigned; there is no file. Remembered for as long as there is room, so that the same
    /// note is not kept again.
    Cleared,
}

impl Refused {
    /// Reads and checks what is kept in a directory, which may be missing.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let mut refused = Self { directory: directory.to_owned(), notes: BTreeMap::new() };
        let items = match fs::read_dir(directory) {
            Ok(items) => items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(refused),
            Err(error) => return Err(FileError::new("read", directory)(error).into()),
        };
        for item in items {
            let path = item.map_err(FileError::new("read", directory))?.path();
            let damaged = || StateError::damaged(&path, "it is not a note that was refused");
            let status = match path.extension().and_then(|extension| extension.to_str()) {
                Some("note") => Status::Waiting,
                Some("told") => Status::Told,
                _ => return Err(damaged()),
            };
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).ok_or_else(damaged)?;
            let text = framed::read(&path, NOTE_BYTES_MAX)?.ok_or_else(damaged)?;
            let checkpoint: SignedCheckpoint = text.parse().map_err(|_| damaged())?;
            if id_of(&checkpoint) != id {
                return Err(damaged());
            }
            let head = checkpoint.unverified().head;
            refused.notes.insert(id, Entry { head, bytes: text.len(), status });
        }
        Ok(refused)
    }

    /// Keeps a note, unless one of the same key, size and root is kept, or there is no room.
    pub fn add(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), FileError> {
        let (id, text) = (id_of(checkpoint), checkpoint.to_string());
        if self.notes.contains_key(&id) || !self.make_room(text.len())? {
            return Ok(());
        }
        framed::write(&self.path(id, Status::Waiting), &text)?;
        let head = checkpoint.unverified().head;
        self.notes.insert(id, Entry { head, bytes: text.len(), status: Status::Waiting });
        Ok(())
    }

    /// A note of this size with another root, if one is kept.
    pub fn contradicting(&self, head: TreeHead) -> Result<Option<SignedCheckpoint>, StateError> {
        let other = |(_, entry): &(&Hash, &Entry)| {
            entry.head.size == head.size && entry.head.root != head.root && entry.status != Status::Cleared
        };
        self.notes.iter().find(other).map(|(id, _)| self.read(*id)).transpose()
    }

    /// The note with this id.
    pub fn read(&self, id: Hash) -> Result<SignedCheckpoint, StateError> {
        let status = self.notes.get(&id).map_or(Status::Waiting, |entry| entry.status);
        let path = self.path(id, status);
        let text =
            framed::read(&path, NOTE_BYTES_MAX)?.ok_or_else(|| StateError::Lost { path: path.clone() })?;
        text.parse().map_err(|_| StateError::damaged(&path, "it is not a note that was refused"))
    }

    /// The notes that nobody else has.
    pub fn waiting(&self) -> Vec<Hash> {
        let waiting = |(_, entry): &(&Hash, &Entry)| entry.status == Status::Waiting;
        self.notes.iter().filter(waiting).map(|(id, _)| *id).collect()
    }

    /// How many notes are kept.
    pub fn len(&self) -> usize {
        self.notes.values().filter(|entry| entry.status != Status::Cleared).count()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Somebody else has the note now, and cannot clear it. After a crash it may be told again.
    pub fn tell(&mut self, id: Hash) -> Result<(), FileError> {
        let (from, to) = (self.path(id, Status::Waiting), self.path(id, Status::Told));
        let Some(entry) = self.notes.get_mut(&id).filter(|entry| entry.status == Status::Waiting) else {
            return Ok(());
        };
        fs::rename(&from, to).map_err(FileError::new("rename", &from))?;
        entry.status = Status::Told;
        Ok(())
    }

    /// The note goes with what was cosigned.
    pub fn clear(&mut self, id: Hash) -> Result<(), FileError> {
        let Some(entry) = self.notes.get(&id).filter(|entry| entry.status != Status::Cleared) else {
            return Ok(());
        };
        let path = self.path(id, entry.status);
        fs::remove_file(&path).map_err(FileError::new("remove", &path))?;
        if let Some(entry) = self.notes.get_mut(&id) {
            *entry = Entry { bytes: 0, status: Status::Cleared, ..*entry };
        }
        Ok(())
    }

    /// A tree of this head was cosigned: notes of it are no suspects.
    pub fn settle(&mut self, head: TreeHead) -> Result<(), FileError> {
        let settled: Vec<_> =
            self.notes.iter().filter(|(_, entry)| entry.head == head).map(|(id, _)| *id).collect();
        settled.into_iter().try_for_each(|id| self.clear(id))
    }

    /// Makes room for a note: what was cleared is forgotten first, then what somebody else has is dropped.
    fn make_room(&mut self, bytes: usize) -> Result<bool, FileError> {
        for gone in [Status::Cleared, Status::Told] {
            while !self.has_room(bytes) {
                let Some((&id, _)) = self.notes.iter().find(|(_, entry)| entry.status == gone) else { break };
                self.clear(id)?;
                self.notes.remove(&id);
            }
        }
        Ok(self.has_room(bytes))
    }

    fn has_room(&self, bytes: usize) -> bool {
        let taken: usize = self.notes.values().map(|entry| entry.bytes).sum();
        self.notes.len() < NOTES_MAX && taken + bytes <= NOTES_BYTES_MAX
    }

    fn path(&self, id: Hash, status: Status) -> PathBuf {
        let extension = if status == Status::Told { "told" } else { "note" };
        self.directory.join(format!("{id}.{extension}"))
    }
}

/// What names a note: the key that signed it, its size and its root, not the lines that came along.
fn id_of(checkpoint: &SignedCheckpoint) -> Hash {
    let note: &Note = checkpoint.note();
    let head = checkpoint.unverified().head;
    let key = note.signatures().first().map(|line| format!("{}+{}", line.name, line.id)).unwrap_or_default();
    Hash::of(&[key.as_bytes(), b"\n", &head.size.get().to_be_bytes(), head.root.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::tests::tree::Tree;

    fn shelf() -> (tempfile::TempDir, Refused) {
        let folder = tempfile::tempdir().unwrap();
        let refused = Refused::open(folder.path()).unwrap();
        (folder, refused)
    }

    /// What nobody else has is never dropped for something newer; what somebody has, or what was cleared, is.
    #[test]
    fn room_is_made_where_nothing_is_lost() {
        let (folder, mut refused) = shelf();
        let tree = Tree::new(NOTES_MAX as u64 + 10);
        let mut next = (1..).map(|size| tree.checkpoint(size));
        let mut add = |refused: &mut Refused| {
            let checkpoint = next.next().unwrap();
            refused.add(&checkpoint).unwrap();
            id_of(&checkpoint)
        };
        let ids: Vec<_> = (0..NOTES_MAX).map(|_| add(&mut refused)).collect();
        let late = add(&mut refused);
        assert_eq!((refused.len(), refused.waiting().contains(&late)), (NOTES_MAX, false));
        refused.tell(ids[0]).unwrap();
        refused.clear(ids[1]).unwrap();
        let first = add(&mut refused);
        assert!(refused.waiting().contains(&first) && refused.read(ids[0]).is_ok());
        let second = add(&mut refused);
        assert!(refused.waiting().contains(&second) && refused.read(ids[0]).is_err());
        let late = add(&mut refused);
        assert!(!refused.waiting().contains(&late));
        let waiting = refused.waiting();
        assert!(ids[2..].iter().chain([&first, &second]).all(|id| waiting.contains(id)));
        assert_eq!(Refused::open(folder.path()).unwrap().waiting(), waiting, "and so on disk");
    }

    /// One key, size and root is one note, whatever lines it carries and however often it comes, cleared or not.
    #[test]
    fn a_note_is_kept_once() {
        let (folder, mut refused) = shelf();
        let tree = Tree::new(9);
        for _ in 0..3 {
            refused.add(&tree.checkpoint(5)).unwrap();
        }
        assert_eq!((refused.len(), refused.waiting().len()), (1, 1));
        let id = refused.waiting()[0];
        assert_eq!(refused.read(id).unwrap(), tree.checkpoint(5));
        assert_eq!(refused.contradicting(tree.head(5)).unwrap(), None);
        let other = tree.forked(2, 5);
        assert_eq!(refused.contradicting(other.head(5)).unwrap(), Some(tree.checkpoint(5)));
        refused.tell(id).unwrap();
        refused.tell(id).unwrap();
        assert_eq!((refused.len(), refused.waiting().len()), (1, 0));
        refused.settle(tree.head(5)).unwrap();
        refused.clear(id).unwrap();
        refused.add(&tree.checkpoint(5)).unwrap();
        assert_eq!(refused.len(), 0);
        assert_eq!(refused.contradicting(other.head(5)).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

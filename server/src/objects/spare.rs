//! Files of commit records that are no longer needed, written over for new ones.
//!
//! A busy log makes and drops some hundred records a second, and what that costs is inodes: an ext4 without journal
//! passes over every inode that was freed in the last minutes before it gives out a new one, on the way to each
//! acknowledgement. So a record's file is renamed to a spare name and filled again, as databases do with their logs.
//!
//! What keeps this as safe as making a new file:
//! - A spare name has the form of a staging file, so whoever reads the store does not see it, and the sweep at start
//!   removes it.
//! - A file is written over only after its directory was synced since it lost its record's name: that name cannot
//!   come back with another record's bytes.
//! - A file with another hard link, such as a copy that somebody made so, is left alone.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::steps::{Step, Steps};

/// Most files that are kept; more are deleted. Records are dropped in bursts, whenever the guard has passed them: a burst has
/// to last until the next.
const SPARES_MAX: usize = 1024;

/// Most bytes that are kept.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The spare files of one directory.
#[derive(Debug, Default)]
pub(super) struct Spares {
    steps: Steps,
    /// How many there ever were: no two have the same name.
    count: u64,
    /// Renamed since the directory was synced.
    renamed: Vec<Spare>,
    /// To be written over.
    ready: Vec<Spare>,
    /// How long they are together.
    bytes: u64,
}

#[derive(Debug)]
struct Spare {
    path: PathBuf,
    length: u64,
}

impl Spares {
    /// None yet.
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, ..Self::default() }
    }

    /// Takes the file of a record that is no longer needed; if it is not wanted, `false`, and it is still there.
    pub(super) fn keep(&mut self, path: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(path)?;
        let length = metadata.len();
        if self.renamed.len() + self.ready.len() >= SPARES_MAX
            || self.bytes + length > BYTES_MAX
            || metadata.nlink() != 1
        {
            return Ok(false);
        }
        self.count += 1;
        let spare = path.with_file_name(format!("spare#{}", self.count));
        self.steps.take(Step::Rename { from: path, to: &spare }, || fs::rename(path, &spare))?;
        self.renamed.push(Spare { path: spare, length });
        self.bytes += length;
        Ok(true)
    }

    /// Makes a file durable under a new name, out of a spare one; none if there is no spare one, or if the name is
    /// taken.
    pub(super) fn create(&mut self, path: &Path, bytes: &[u8]) -> io::Result<Option<()>> {
        let Some(spare) = self.ready.pop() else { return Ok(None) };
        let created = self.fill(&spare.path, path, bytes);
        match created {
            Ok(_) => self.bytes -= spare.length,
            // On a full disk it is tried again and again, and each time a file would be left over.
            Err(_) => self.ready.push(spare),
        }
        created
    }

    fn fill(&self, spare: &Path, path: &Path, bytes: &[u8]) -> io::Result<Option<()>> {
        let file = match File::options().write(true).open(spare) {
            // It was removed by an attempt that was reported failed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if file.metadata()?.nlink() != 1 {
            return Ok(None);
        }
        let (steps, length) = (&self.steps, bytes.len() as u64);
        steps.take(Step::SetLength { path: spare, length }, || file.set_len(length))?;
        steps.take(Step::Write { path: spare, offset: 0, bytes }, || file.write_all_at(bytes, 0))?;
        steps.take(Step::Sync { path: spare }, || file.sync_all())?;
        match steps.take(Step::Link { from: spare, to: path }, || fs::hard_link(spare, path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            linked => linked?,
        }
        steps.take(Step::Remove { path: spare }, || fs::remove_file(spare))?;
        Ok(Some(()))
    }

    /// Forgets the spare files, which the caller removes.
    pub(super) fn clear(&mut self) {
        self.renamed.clear();
        self.ready.clear();
        self.bytes = 0;
    }

    /// What was renamed before the directory was synced can be written over.
    pub(super) fn synced(&mut self) {
        self.ready.append(&mut self.renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(directory: &Path, number: u64, length: usize) -> PathBuf {
        let path = directory.join(format!("{number:020}"));
        fs::write(&path, vec![b'a'; length]).unwrap();
        path
    }

    /// Whatever the lengths of the old record and the new, the new one is there whole and the spare name is gone.
    #[test]
    fn a_record_out_of_a_spare_file_is_the_new_record() {
        let directory = tempfile::tempdir().unwrap();
        for (number, (old, new)) in [(0, 9), (9, 0), (100, 7), (7, 70_000), (5, 5)].into_iter().enumerate() {
            let mut spares = Spares::default();
            assert!(spares.keep(&record(directory.path(), number as u64, old)).unwrap());
            spares.synced();
            let path = directory.path().join(format!("{:020}", 100 + number));
            spares.create(&path, &vec![b'b'; new]).unwrap().unwrap();
            assert_eq!(fs::read(&path).unwrap(), vec![b'b'; new]);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), number + 1);
        }
    }

    /// Until the directory was synced, the old name may come back: its record is still there then.
    #[test]
    fn nothing_is_written_over_before_its_old_name_is_gone_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let mut spares = Spares::default();
        assert!(spares.keep(&record(directory.path(), 1, 3)).unwrap());
        let path = directory.path().join("new");
        assert_eq!(spares.create(&path, b"b").unwrap(), None);
        assert_eq!(fs::read(directory.path().join("spare#1")).unwrap(), b"aaa");
        spares.synced();
        assert_eq!(spares.create(&path, b"b").unwrap(), Some(()));
    }

    /// A copy by hard link keeps its bytes, whether it was made before or after the record was dropped.
    #[test]
    fn a_file_that_somebody_linked_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let copies = tempfile::tempdir_in(directory.path()).unwrap();
        let mut spares = Spares::default();
        let linked = record(directory.path(), 1, 3);
        fs::hard_link(&linked, copies.path().join("before")).unwrap();
        assert!(!spares.keep(&linked).unwrap());
        assert!(spares.keep(&record(directory.path(), 2, 3)).unwrap());
        fs::hard_link(directory.path().join("spare#1"), copies.path().join("after")).unwrap();
        spares.synced();
        assert_eq!(spares.create(&directory.path().join("new"), b"b").unwrap(), None);
        for copy in ["before", "after"] {
            assert_eq!(fs::read(copies.path().join(copy)).unwrap(), b"aaa");
        }
    }

    /// A spare file that is gone is none, now and later.
    #[test]
    fn a_file_that_is_gone_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut spares = Spares::default();
        for number in 1..=2 {
            assert!(spares.keep(&record(directory.path(), number, 3)).unwrap());
        }
        spares.synced();
        fs::remove_file(directory.path().join("spare#2")).unwrap();
        let path = directory.path().join("new");
        assert_eq!(spares.create(&path, b"b").unwrap(), None);
        assert_eq!(spares.create(&path, b"b").unwrap(), Some(()));
    }

    #[test]
    fn a_record_that_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let mut spares = Spares::default();
        assert!(spares.keep(&record(directory.path(), 1, 3)).unwrap());
        spares.synced();
        let there = record(directory.path(), 2, 3);
        assert_eq!(spares.create(&there, b"b").unwrap(), None);
        assert_eq!(fs::read(there).unwrap(), b"aaa");
    }

    #[test]
    fn no_more_are_kept_than_a_burst_needs() {
        let directory = tempfile::tempdir().unwrap();
        let mut spares = Spares::default();
        let long = directory.path().join("long");
        File::create(&long).unwrap().set_len(BYTES_MAX).unwrap();
        assert!(spares.keep(&record(directory.path(), 0, 1)).unwrap());
        assert!(!spares.keep(&long).unwrap(), "one byte too many");
        let mut spares = Spares::default();
        for number in 1..=SPARES_MAX as u64 {
            assert!(spares.keep(&record(directory.path(), number, 1)).unwrap());
        }
        assert!(!spares.keep(&record(directory.path(), 9_999, 1)).unwrap());
        spares.synced();
        spares.create(&directory.path().join("new"), b"b").unwrap().unwrap();
        assert!(spares.keep(&record(directory.path(), 9_999, 1)).unwrap());
    }
}

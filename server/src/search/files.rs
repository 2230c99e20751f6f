//! The files of the index: one a run, and the key that their digests are made with.
//!
//! Plain files, written whole, synced and renamed into place: a run that has to forget is written anew, and the old bytes are in no
//! file any more. (sled, which holds the other indexes, keeps old pages about.) What is lost, torn or damaged is noticed by its
//! digest and made again from the log.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    digest::{KEY_BYTES, Key},
    run::{HEAD_BYTES, Head, Part, Run},
};

const KEY_FILE: &str = "key";
const SUFFIX: &str = ".run";
const STAGING: &str = "staging";

/// A directory with runs, held by this process alone.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    key: Key,
    /// Held while this lives; the lock goes with the file.
    _lock: File,
}

impl Files {
    /// Opens the directory, or makes one with a fresh key.
    pub fn open(directory: &Path) -> Result<Self, FilesError> {
        let path = directory.join(KEY_FILE);
        let failed = |source| FilesError::File { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FilesError::InUse { path: directory.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let key = match <[u8; KEY_BYTES]>::try_from(bytes) {
            Ok(key) => Key::new(key),
            // None yet, or half of one: no run can have been made with it.
            Err(_) => {
                let mut key = [0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(|error| failed(io::Error::other(error)))?;
                file.set_len(0).and_then(|()| file.write_all_at(&key, 0)).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Key::new(key)
            }
        };
        let files = Self { directory: directory.to_owned(), key, _lock: file };
        match fs::remove_file(files.directory.join(STAGING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(files),
        }
    }

    /// The key of the index.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The numbers of the runs that are there, rising.
    pub fn numbers(&self) -> Result<Vec<u64>, FilesError> {
        let failed = |source| FilesError::File { path: self.directory.clone(), source };
        let mut numbers = Vec::new();
        for item in fs::read_dir(&self.directory).map_err(failed)? {
            let name = item.map_err(failed)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Puts a run into its place, durably.
    pub fn store(&self, run: &Run) -> Result<Head, FilesError> {
        let (staging, path) = (self.directory.join(STAGING), self.path(run.number));
        let bytes = run.to_bytes();
        let put = || {
            let mut file = File::create(&staging)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&staging, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        put().map_err(|source| FilesError::File { path: path.clone(), source })?;
        let (head, _) = Head::read(&bytes).ok_or(FilesError::Damaged { number: run.number })?;
        Ok(head)
    }

    /// Reads the head of a run; none if it is not there.
    pub fn head(&self, number: u64) -> Result<Option<Head>, FilesError> {
        let path = self.path(number);
        let failed = |source| FilesError::File { path: path.clone(), source };
        let damaged = || FilesError::Damaged { number };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut start = [0; HEAD_BYTES];
        file.read_exact_at(&mut start, 0).map_err(failed)?;
        let mut bytes = vec![0; Head::length(&start).ok_or_else(damaged)?];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let (head, _) = Head::read(&bytes).ok_or_else(damaged)?;
        if head.number == number { Ok(Some(head)) } else { Err(damaged()) }
    }

    /// Opens a run to read parts of it.
    pub fn reader<'h>(&self, head: &'h Head) -> Result<Reader<'h>, FilesError> {
        let path = self.path(head.number);
        match File::open(&path) {
            Ok(file) => Ok(Reader { head, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FilesError::Damaged { number: head.number })
            }
            Err(source) => Err(FilesError::File { path, source }),
        }
    }

    /// Reads a whole run.
    pub fn load(&self, number: u64) -> Result<Run, FilesError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(|source| FilesError::File { path, source })?;
        Run::from_bytes(&bytes).ok_or(FilesError::Damaged { number })
    }

    /// Deletes a run, if it is there.
    pub fn remove(&self, number: u64) -> Result<(), FilesError> {
        let path = self.path(number);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FilesError::File { path, source }),
            _ => Ok(()),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:010}{SUFFIX}"))
    }
}

/// An open run.
pub struct Reader<'h> {
    head: &'h Head,
    file: File,
}

impl Reader<'_> {
    /// The bytes of a part, checked.
    pub fn part(&self, part: &Part) -> Result<Vec<u8>, FilesError> {
        let damaged = || FilesError::Damaged { number: self.head.number };
        let (start, length) = self.head.place(part);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(|_| damaged())?;
        part.check(&bytes).ok_or_else(damaged)?;
        Ok(bytes)
    }
}

/// Why a file of the index is not there, or not believed. Never a reason not to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A file cannot be read or written.
    #[error("search index: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("search index: {} is in use by another process", path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// A run is gone, or not what was written.
    #[error("search index: run {number} is gone or damaged")]
    Damaged {
        /// Which.
        number: u64,
    },
}

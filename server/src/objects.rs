//! The one door to the object store: what is durable when, and what is found rather than made.
//!
//! Contract. [`Objects::create`] is atomic and durable: once it says *made*, the object and its name survive a power
//! cut. An object never changes: same name, same bytes, for ever. Any error means that the outcome is unknown.
//! *Found is not durable*: `object_store` syncs nothing when an object exists already, so what is found counts only
//! after it was synced here, with every directory above it.
//!
//! Commit records have a way of their own, [`Objects::create_commit`]: in a directory their files are used again. What is
//! erased has one too, `forget.rs`. All else goes through `object_store`.
//!
//! A store that others can write ([`Objects::shared`]) has no lock: there commits are settled by leaving a tombstone, and
//! the sequencer makes sure after each commit that nobody has gone past it.
//!
//! Calls block; they must not run on a thread of an asynchronous runtime. [`Objects::fetch`] and [`Objects::replace`] are
//! the exceptions.

mod forget;
mod resident;
#[cfg(feature = "s3")]
pub mod s3;
mod spare;
mod tombstone;

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    ops::Range,
    path::{Path as FsPath, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::executor::block_on;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, local::LocalFileSystem, path::Path,
};

use crate::{
    config::{Config, StoreConfig},
    steps::{Manner, Step, Steps},
};
use resident::Resident;
use spare::Spares;
use tombstone::{TOMBSTONE, Tombstones};

const LOCK_FILE: &str = "lock";
const COMMITS: &str = "commit";
const SET_ASIDE: &str = "set-aside";

/// The name of the published checkpoint's object.
pub const CHECKPOINT: &str = "checkpoint";

/// A data directory, held by this process alone, or a store that others can write too.
pub struct Objects {
    /// The directory; none of a shared store.
    root: Option<PathBuf>,
    /// Syncs what it writes, and the directories that it makes.
    durable: Arc<dyn ObjectStore>,
    /// Syncs nothing: for what can be made again.
    plain: Arc<dyn ObjectStore>,
    /// What of the directory is in memory; none of a shared store.
    resident: Option<Resident>,
    spares: Mutex<Spares>,
    tombstones: Mutex<Tombstones>,
    /// Directories whose own names are durable.
    named: Mutex<BTreeSet<PathBuf>>,
    steps: Steps,
    /// Held while this lives; the lock goes with the file.
    _lock: Option<File>,
}

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is new and durable.
    Made,
    /// An object of that name was there.
    Found,
}

impl Objects {
    /// Makes a data directory; it must not exist, or be empty.
    pub fn init(root: &FsPath) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(failed)?;
        if fs::read_dir(root).map_err(failed)?.next().is_some() {
            return Err(StoreError::NotEmpty { path: root.to_owned() });
        }
        let parent = root.canonicalize().map_err(failed)?;
        for directory in parent.ancestors() {
            // Those above may belong to others and be unreadable; what matters is the new names.
            if let Ok(directory) = File::open(directory) {
                directory.sync_all().map_err(failed)?;
            }
        }
        Self::open(root)
    }

    /// Opens a data directory for writing, which one process at a time can do, and sweeps what a killed writer left
    /// half-written.
    pub fn open(root: &FsPath) -> Result<Self, StoreError> {
        Self::open_watched(root, Steps::default())
    }

    /// As [`Objects::open`], telling each step.
    pub fn open_watched(root: &FsPath, steps: Steps) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory { path: root.to_owned(), source };
        let lock = File::options().create(true).append(true).open(root.join(LOCK_FILE)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let spares = Mutex::new(Spares::new(steps.clone()));
        let objects = Self { _lock: Some(lock), spares, steps, ..Self::open_read_only(root)? };
        objects.sweep().map_err(failed)?;
        Ok(objects)
    }

    /// Opens a data directory for reading, while another process may write to it.
    pub fn open_read_only(root: &FsPath) -> Result<Self, StoreError> {
        let local = || {
            LocalFileSystem::new_with_prefix(root)
                .map_err(|source| StoreError::Object { name: root.display().to_string(), source })
        };
        Ok(Self::new(Some(root), Arc::new(local()?.with_fsync(true)), Arc::new(local()?)))
    }

    /// Opens where the log of a configuration is, for writing: its store, or else its data directory.
    pub fn of(config: &Config) -> Result<Self, StoreError> {
        match &config.store {
            Some(store) => Self::remote(store),
            None => Self::open(&config.data),
        }
    }

    /// Opens a store that others can write.
    #[cfg(feature = "s3")]
    pub fn remote(config: &StoreConfig) -> Result<Self, StoreError> {
        s3::open(config)
    }

    /// Opens a store that others can write.
    #[cfg(not(feature = "s3"))]
    pub fn remote(config: &StoreConfig) -> Result<Self, StoreError> {
        Err(StoreError::NotBuilt { url: config.url.clone() })
    }

    /// A store that others can write. It must create objects only where there are none, and must show at once what was
    /// written; its own retries of creates must be off.
    pub fn shared(store: Arc<dyn ObjectStore>) -> Self {
        Self::new(None, Arc::clone(&store), store)
    }

    fn new(root: Option<&FsPath>, durable: Arc<dyn ObjectStore>, plain: Arc<dyn ObjectStore>) -> Self {
        Self {
            root: root.map(FsPath::to_owned),
            durable,
            plain,
            resident: root.map(Resident::new),
            spares: Mutex::default(),
            tombstones: Mutex::default(),
            named: Mutex::default(),
            steps: Steps::default(),
            _lock: None,
        }
    }

    /// Whether others can write to it, whatever this process does.
    pub const fn is_shared(&self) -> bool {
        self.root.is_none()
    }

    /// Bytes that are free where the directory is, to whoever this process is; none of a shared store.
    pub fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let Some(root) = &self.root else { return Ok(None) };
        let found = rustix::fs::statvfs(root);
        let found =
            found.map_err(|errno| StoreError::Directory { path: root.clone(), source: errno.into() })?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    /// Creates an object durably, if there is none of that name.
    pub fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let step = Step::Put { name, bytes: &bytes, manner: Manner::Create };
        self.begin(step, name)?;
        let payload = PutPayload::from_bytes(bytes.clone());
        let created = match block_on(self.durable.put_opts(&Path::from(name), payload, options)) {
            Ok(_) => Created::Made,
            Err(object_store::Error::AlreadyExists { .. }) => Created::Found,
            Err(source) => return Err(StoreError::Object { name: name.to_owned(), source }),
        };
        self.end(step, name)?;
        if created == Created::Made {
            self.sync_directories_above(name)?;
        }
        Ok(created)
    }

    /// Syncs the names of the directories that an object is in, where this process did not do so before: one that a
    /// killed process made is there, and nobody synced the one above it.
    fn sync_directories_above(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let path = root.join(name);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in path.ancestors().skip(1).take_while(|directory| directory != root) {
            if !named.contains(directory) {
                self.sync(directory.parent().unwrap_or(root), name)?;
                named.insert(directory.to_owned());
            }
        }
        Ok(())
    }

    /// As [`Objects::create`], for a commit record: out of a file that [`Objects::delete_commit`] set free, if it can.
    ///
    /// No two records have the same bytes: on a shared store these very bytes under the name are our own, of a create
    /// that came twice.
    pub fn create_commit(&self, number: u64, bytes: Bytes) -> Result<Created, StoreError> {
        let name = commit_name(number);
        let Some(root) = &self.root else {
            let made = self.create(&name, bytes.clone())? == Created::Made || self.get(&name)? == Some(bytes);
            return Ok(if made { Created::Made } else { Created::Found });
        };
        let path = root.join(&name);
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| StoreError::Commit { number, source };
        if spares.create(&path, &bytes).map_err(failed)?.is_some() {
            self.sync_directory_of(&name)?;
            spares.synced();
            return Ok(Created::Made);
        }
        let created = self.create(&name, bytes)?;
        if created == Created::Made {
            spares.synced();
        }
        Ok(created)
    }

    /// Deletes a commit record that is no longer needed; the deletion may be undone by a power cut.
    pub fn delete_commit(&self, number: u64) -> Result<(), StoreError> {
        let name = commit_name(number);
        let Some(root) = &self.root else {
            self.put_plain(&name, Bytes::from_static(TOMBSTONE))?;
            self.tombstones.lock().unwrap_or_else(PoisonError::into_inner).add(number);
            return Ok(());
        };
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        match spares.keep(&root.join(&name)) {
            Ok(true) => Ok(()),
            Ok(false) => self.delete(&name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Commit { number, source }),
        }
    }

    /// Creates an object durably, or makes the one that is there durable, if it has these very bytes.
    pub fn create_or_compare(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.create(name, bytes.clone())? == Created::Made {
            return Ok(());
        }
        let found = self.get(name)?.ok_or_else(|| StoreError::Missing { name: name.to_owned() })?;
        if found != bytes {
            return Err(StoreError::Differs { name: name.to_owned() });
        }
        self.sync_found(name)
    }

    /// Replaces an object that can be made again. Nothing is synced.
    pub fn put_plain(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let step = Step::Put { name, bytes: &bytes, manner: Manner::Plain };
        self.begin(step, name)?;
        block_on(self.plain.put(&Path::from(name), PutPayload::from_bytes(bytes.clone())))
            .map_err(|source| StoreError::Object { name: name.to_owned(), source })?;
        self.end(step, name)
    }

    /// Replaces an object durably: after a power cut it is this one or a later one. For asynchronous callers.
    pub async fn replace(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let step = Step::Put { name, bytes: &bytes, manner: Manner::Replace };
        self.begin(step, name)?;
        let put = self.durable.put(&Path::from(name), PutPayload::from_bytes(bytes.clone())).await;
        put.map_err(|source| StoreError::Object { name: name.to_owned(), source })?;
        self.end(step, name)
    }

    /// An object's bytes, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        block_on(self.fetch(name))
    }

    /// As [`Objects::get`], for asynchronous callers.
    pub async fn fetch(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.begin(Step::Get { name }, name)?;
        let found = match self.resident.as_ref().and_then(|resident| resident.read(name)) {
            Some(bytes) => Some(bytes),
            None => self.wait_for(name).await?,
        };
        self.end(Step::Get { name }, name)?;
        Ok(found)
    }

    /// A part of an object, if it can be had without waiting. `None` says nothing of the object.
    pub fn peek(&self, name: &str, part: Range<usize>) -> Option<Bytes> {
        self.resident.as_ref()?.read_part(name, part)
    }

    async fn wait_for(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let failed = |source| StoreError::Object { name: name.to_owned(), source };
        match self.durable.get(&Path::from(name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Deletes an object, if it is there; the deletion may be undone by a power cut.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.begin(Step::Delete { name }, name)?;
        match block_on(self.durable.delete(&Path::from(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => self.end(Step::Delete { name }, name),
            Err(source) => Err(StoreError::Object { name: name.to_owned(), source }),
        }
    }

    /// Deletes an object, if it is there; it does not come back.
    pub fn delete_durably(&self, name: &str) -> Result<(), StoreError> {
        if self.get(name)?.is_some() {
            self.delete(name)?;
            self.sync_directory_of(name)?;
        }
        Ok(())
    }

    /// Syncs an object that was found rather than made, and every directory from it up to the root.
    pub fn sync_found(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let path = root.join(name);
        for path in path.ancestors() {
            self.sync(path, name)?;
            if path == root {
                break;
            }
        }
        Ok(())
    }

    /// Numbers of the commit records that are there, in rising order.
    pub fn commit_numbers(&self) -> Result<Vec<u64>, StoreError> {
        let Some(root) = &self.root else { return self.shared_commit_numbers() };
        let directory = root.join(COMMITS);
        let failed = |source| StoreError::Directory { path: directory.clone(), source };
        let names = match fs::read_dir(&directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut numbers = Vec::new();
        for name in names {
            let name = name.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            match number {
                Some(number) if *name == *commit_name(number).trim_start_matches("commit/") => {
                    numbers.push(number);
                }
                // A staging file of a writer at work, or of one that was killed.
                _ if name.to_string_lossy().contains('#') => {}
                _ => return Err(StoreError::Stranger { path: directory.join(name) }),
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn shared_commit_numbers(&self) -> Result<Vec<u64>, StoreError> {
        let list = block_on(self.durable.list_with_delimiter(Some(&Path::from(COMMITS))));
        let list = list.map_err(|source| StoreError::Object { name: COMMITS.to_owned(), source })?;
        let mut tombstones = self.tombstones.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = Vec::new();
        for object in list.objects {
            let name = object.location.to_string();
            let number = object.location.filename().and_then(|name| name.parse().ok());
            match number.filter(|number| commit_name(*number) == name) {
                Some(number) if object.size == TOMBSTONE.len() as u64 => tombstones.add(number),
                Some(number) => numbers.push(number),
                None => return Err(StoreError::Stranger { path: PathBuf::from(name) }),
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Frees the names of commits that were settled so long ago, lowest first. A directory has none.
    pub fn drop_tombstones(&self, stand: Duration) -> Result<(), StoreError> {
        let mut tombstones = self.tombstones.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(number) = tombstones.due(stand) {
            self.delete(&commit_name(number))?;
            tombstones.gone();
        }
        Ok(())
    }

    /// Renames an object out of the way, durably; only for a commit record that nobody was told of.
    pub fn set_aside(&self, name: &str) -> Result<String, StoreError> {
        let aside = format!("{SET_ASIDE}/{}", name.replace('/', "-"));
        let bytes = self.get(name)?.ok_or_else(|| StoreError::Missing { name: name.to_owned() })?;
        self.create_or_compare(&aside, bytes)?;
        self.delete_durably(name)?;
        Ok(aside)
    }

    fn sync_directory_of(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let path = root.join(name);
        self.sync(path.parent().unwrap_or(root), name)
    }

    /// Syncs a file or directory, for the sake of an object.
    fn sync(&self, path: &FsPath, name: &str) -> Result<(), StoreError> {
        self.steps
            .take(Step::Sync { path }, || File::open(path)?.sync_all())
            .map_err(|source| StoreError::Sync { name: name.to_owned(), source })
    }

    fn begin(&self, step: Step<'_>, name: &str) -> Result<(), StoreError> {
        self.steps.begin(step).map_err(|error| StoreError::told(name, error))
    }

    fn end(&self, step: Step<'_>, name: &str) -> Result<(), StoreError> {
        self.steps.end(step).map_err(|error| StoreError::told(name, error))
    }

    /// Removes staging files (`name#digits`), which `object_store` can neither list nor name.
    fn sweep(&self) -> io::Result<()> {
        let mut directories: Vec<_> = self.root.iter().cloned().collect();
        while let Some(directory) = directories.pop() {
            for item in fs::read_dir(directory)? {
                let item = item?;
                if item.file_type()?.is_dir() {
                    directories.push(item.path());
                } else if is_staging(&item.file_name().to_string_lossy()) {
                    let path = item.path();
                    self.steps.take(Step::Remove { path: &path }, || fs::remove_file(&path))?;
                }
            }
        }
        Ok(())
    }
}

fn is_staging(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The name of a commit record: `commit/<20 digits>`.
pub fn commit_name(number: u64) -> String {
    format!("{COMMITS}/{number:020}")
}

/// The name of the marker that a commit record was never told of: `never-told/<20 digits>`.
pub fn never_told_name(number: u64) -> String {
    format!("never-told/{number:020}")
}

/// What the store did not do. Unless said otherwise the outcome is unknown: recover before anything else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data directory cannot be used.
    #[error("directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds the data directory.
    #[error("another server is running on {}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A new log's directory has something in it.
    #[error("{} is not empty: a log is made in a directory of its own", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// A log is made in an empty store.
    #[error("{url} has a log already")]
    HasLog {
        /// Which.
        url: String,
    },
    /// This program knows directories only.
    #[error("{url}: this server was built without S3; build it with `--features s3`")]
    NotBuilt {
        /// What was asked for.
        url: String,
    },
    /// Not the address of a store.
    #[error("store.url: {url} is not s3://bucket or s3://bucket/prefix")]
    StoreUrl {
        /// What was given.
        url: String,
    },
    /// The environment has no credentials for the store.
    #[error("the environment variable {name} is not set: credentials for the store come from there")]
    Credential {
        /// Which variable.
        name: &'static str,
    },
    /// The store writes over what is there although it is asked not to.
    #[error("{url} does not honour If-None-Match: two servers would write over each other's commits there")]
    NotExclusive {
        /// Which.
        url: String,
    },
    /// The system gave no thread.
    #[error("starting: {source}")]
    Background {
        /// Why.
        source: io::Error,
    },
    /// A file that nobody of ours put there.
    #[error("{} does not belong there", path.display())]
    Stranger {
        /// Which.
        path: PathBuf,
    },
    /// Reading or writing an object failed.
    #[error("object {name}: {source}")]
    Object {
        /// Which.
        name: String,
        /// Why.
        source: object_store::Error,
    },
    /// Writing or dropping a commit record failed.
    #[error("commit record {number}: {source}")]
    Commit {
        /// Which.
        number: u64,
        /// Why.
        source: io::Error,
    },
    /// Syncing an object failed.
    #[error("syncing {name}: {source}")]
    Sync {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An object that must be there is not.
    #[error("object {name} is missing")]
    Missing {
        /// Which.
        name: String,
    },
    /// An object that never changes has other bytes than it must have.
    #[error("object {name} is there with other bytes")]
    Differs {
        /// Which.
        name: String,
    },
}

impl StoreError {
    /// What a listener made of a step.
    fn told(name: &str, error: io::Error) -> Self {
        let source = object_store::Error::Generic { store: "steps", source: error.into() };
        Self::Object { name: name.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_never_changes() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::init(&directory.path().join("data")).unwrap();
        let bytes = Bytes::from_static(b"tile");
        assert_eq!(objects.create("tile/0/000", bytes.clone()).unwrap(), Created::Made);
        assert_eq!(objects.create("tile/0/000", Bytes::from_static(b"other")).unwrap(), Created::Found);
        assert_eq!(objects.get("tile/0/000").unwrap(), Some(bytes.clone()));
        objects.create_or_compare("tile/0/000", bytes).unwrap();
        let differs = objects.create_or_compare("tile/0/000", Bytes::from_static(b"other"));
        assert!(matches!(differs, Err(StoreError::Differs { .. })));
        assert_eq!(objects.get("tile/0/001").unwrap(), None);
    }

    /// One writer at a time; leftovers of a killed one are swept under the lock, and are never taken for commits.
    #[test]
    fn the_directory_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::init(directory.path()).unwrap();
        assert!(matches!(Objects::open(directory.path()), Err(StoreError::InUse { .. })));
        assert!(matches!(Objects::init(directory.path()), Err(StoreError::NotEmpty { .. })));
        objects.create(&commit_name(7), Bytes::new()).unwrap();
        let staging = directory.path().join("commit/00000000000000000008#1");
        fs::write(&staging, b"torn").unwrap();
        objects.create_commit(6, Bytes::new()).unwrap();
        objects.delete_commit(6).unwrap();
        assert_eq!(objects.commit_numbers().unwrap(), [7]);
        drop(objects);
        let objects = Objects::open(directory.path()).unwrap();
        assert!(!staging.exists());
        assert_eq!(fs::read_dir(directory.path().join("commit")).unwrap().count(), 1);
        fs::write(directory.path().join("commit/notes.txt"), b"").unwrap();
        assert!(matches!(objects.commit_numbers(), Err(StoreError::Stranger { .. })));
    }
}

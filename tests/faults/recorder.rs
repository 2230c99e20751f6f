//! What a log does to its directory, written down as operations of a file system.
//!
//! The real log writes to a real directory and tells each step. What `object_store` 0.14 does for a put is written down
//! here from its source, call by call; `strace.rs` holds it against the calls of the real server.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use counterfoil_server::steps::{Manner, Step, Watch};

use crate::{
    disk::{Disk, Op},
    template::Files,
};

/// Writes down what a log does to a directory.
pub(crate) struct Recorder {
    home: PathBuf,
    recorded: Mutex<Recorded>,
}

struct Recorded {
    /// As the directory is now, to know what a put will find.
    disk: Disk,
    ops: Vec<Op>,
}

impl Recorder {
    /// Records what happens to a directory that has the content of that disk.
    pub(crate) fn new(home: &Path, disk: Disk) -> Arc<Self> {
        let recorded = Mutex::new(Recorded { disk, ops: Vec::new() });
        Arc::new(Self { home: home.to_owned(), recorded })
    }

    /// How many operations there were so far.
    pub(crate) fn count(&self) -> usize {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).ops.len()
    }

    /// All operations.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).ops.clone()
    }

    /// What is there now.
    pub(crate) fn files(&self) -> Files {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).disk.files()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.home).expect("all of it is in one place").to_owned()
    }
}

impl Watch for Recorder {
    fn begin(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }

    fn end(&self, step: Step<'_>) -> io::Result<()> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let object = |name: &str| Path::new("data").join(name);
        match step {
            Step::Get { .. } => {}
            Step::Put { name, bytes, manner } => recorded.put(&object(name), bytes, manner),
            Step::Delete { name } => {
                let path = object(name);
                if recorded.disk.has(&path) {
                    recorded.op(Op::Remove(path));
                }
            }
            Step::SetLength { path, length } => {
                recorded.op(Op::SetLength(self.relative(path), usize::try_from(length).unwrap()));
            }
            Step::Write { path, offset, bytes } => {
                recorded.op(Op::Write(self.relative(path), usize::try_from(offset).unwrap(), bytes.into()));
            }
            Step::Sync { path } => recorded.op(Op::Sync(self.relative(path))),
            Step::Link { from, to } => recorded.op(Op::Link(self.relative(from), self.relative(to))),
            Step::Rename { from, to } => recorded.op(Op::Rename(self.relative(from), self.relative(to))),
            Step::Remove { path } => recorded.op(Op::Remove(self.relative(path))),
        }
        Ok(())
    }
}

impl Recorded {
    fn op(&mut self, op: Op) {
        self.disk.apply(&op);
        self.ops.push(op);
    }

    /// `put_opts` of `object_store::local`, as it is in 0.14.2.
    fn put(&mut self, path: &Path, bytes: &[u8], manner: Manner) {
        let synced = manner != Manner::Plain;
        let parent = path.parent().expect("an object is in the data directory").to_owned();
        self.make_parents(&parent, synced);
        let staged = (1..).map(|n: u32| PathBuf::from(format!("{}#{n}", path.display())));
        let staged = staged.into_iter().find(|staged| !self.disk.has(staged)).expect("a free name");
        self.op(Op::Make(staged.clone()));
        self.op(Op::Write(staged.clone(), 0, bytes.into()));
        if synced {
            self.op(Op::Sync(staged.clone()));
        }
        if manner == Manner::Create {
            if !self.disk.has(path) {
                self.op(Op::Link(staged.clone(), path.to_owned()));
                self.op(Op::Sync(parent));
            }
            self.op(Op::Remove(staged));
            return;
        }
        self.op(Op::Rename(staged, path.to_owned()));
        if synced {
            self.op(Op::Sync(parent));
        }
    }

    /// Directories that are not there are made, and if asked for synced, up to the first that was there.
    fn make_parents(&mut self, parent: &Path, synced: bool) {
        let missing: Vec<_> =
            parent.ancestors().take_while(|path| !self.disk.has(path)).map(Path::to_owned).collect();
        let Some(top) = missing.last().and_then(|path| path.parent()).map(Path::to_owned) else { return };
        for directory in missing.iter().rev() {
            self.op(Op::MakeDirectory(directory.clone()));
        }
        if synced {
            for directory in &missing {
                self.op(Op::Sync(directory.clone()));
            }
            self.op(Op::Sync(top));
        }
    }
}

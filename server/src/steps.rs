//! The steps by which a log changes what is stored, one by one, so that a test can count them, hold them up, and let
//! each of them fail.
//!
//! Whoever writes a data directory or a guard tells of each step before and after it. In a server nobody listens, and
//! a step costs a branch.

use std::{fmt, io, path::Path, sync::Arc};

/// One step. Paths are those of the file system; names are those of objects.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// `object_store` stages an object and puts it into its place.
    Put {
        /// The object.
        name: &'a str,
        /// What is put.
        bytes: &'a [u8],
        /// In which way.
        manner: Manner,
    },
    /// An object is read.
    Get {
        /// The object.
        name: &'a str,
    },
    /// An object is deleted; nothing is synced.
    Delete {
        /// The object.
        name: &'a str,
    },
    /// A file's length is set.
    SetLength {
        /// The file.
        path: &'a Path,
        /// Its new length.
        length: u64,
    },
    /// Bytes of a file are written over.
    Write {
        /// The file.
        path: &'a Path,
        /// Where the first of them goes.
        offset: u64,
        /// What is written.
        bytes: &'a [u8],
    },
    /// A file or a directory is synced.
    Sync {
        /// Which.
        path: &'a Path,
    },
    /// A file gets one name more, which must be free.
    Link {
        /// A name that it has.
        from: &'a Path,
        /// The new one.
        to: &'a Path,
    },
    /// A file gets another name.
    Rename {
        /// The name that it has.
        from: &'a Path,
        /// The new one.
        to: &'a Path,
    },
    /// A file loses a name.
    Remove {
        /// Which.
        path: &'a Path,
    },
}

/// How an object is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Only if there is none; durably.
    Create,
    /// In the place of another; durably.
    Replace,
    /// In the place of another; nothing is synced.
    Plain,
}

/// Whoever listens. Both calls may block, and may be made by several threads at once.
pub trait Watch: Send + Sync {
    /// Before a step. An error stands for it: the step is not taken.
    fn begin(&self, step: Step<'_>) -> io::Result<()>;

    /// After a step that succeeded. An error stands for it: the step was taken all the same.
    fn end(&self, step: Step<'_>) -> io::Result<()>;
}

/// Where steps are told.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Watch>>);

impl Steps {
    /// Tells them to a listener.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self(Some(watch))
    }

    /// Takes a step.
    pub(crate) fn take<T>(&self, step: Step<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.begin(step)?;
        let done = act()?;
        self.end(step)?;
        Ok(done)
    }

    /// Tells that a step is about to be taken.
    pub(crate) fn begin(&self, step: Step<'_>) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |watch| watch.begin(step))
    }

    /// Tells that a step was taken.
    pub(crate) fn end(&self, step: Step<'_>) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |watch| watch.end(step))
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "watched" } else { "unwatched" })
    }
}

//! Reading what the kernel holds in memory already: without waiting, and so without another thread.
//!
//! Files that readers ask for again and again lie in the kernel's page cache. Handing each read to a thread that may
//! block costs several times the read itself. Here both steps are asked for on the condition that they need no disk:
//! `openat2` with `RESOLVE_CACHED`, `preadv2` with `RWF_NOWAIT`. Whatever is not there at once is left to the caller's
//! other way, which can wait.

use std::{
    io::IoSliceMut,
    ops::Range,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::{ReadWriteFlags, preadv2},
};

/// A directory, for reading files below it that are in memory.
pub(super) struct Resident {
    /// None if the directory could not be opened: then nothing is known to be in memory.
    root: Option<OwnedFd>,
}

impl Resident {
    /// Of the files below a directory.
    pub(super) fn new(root: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self { root: open(root, flags, Mode::empty()).ok() }
    }

    /// A file's bytes, if all of them can be had at once.
    ///
    /// `None` says nothing of the file: it may be missing, on disk only, or on a file system that cannot tell.
    pub(super) fn read(&self, name: &str) -> Option<Bytes> {
        let file = self.open(name)?;
        read(&file, 0..usize::try_from(fstat(&file).ok()?.st_size).ok()?)
    }

    /// As [`Resident::read`], of a part of a file.
    pub(super) fn read_part(&self, name: &str, part: Range<usize>) -> Option<Bytes> {
        read(&self.open(name)?, part)
    }

    fn open(&self, name: &str) -> Option<OwnedFd> {
        let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat2(self.root.as_ref()?, name, flags, Mode::empty(), resolve).ok()
    }
}

fn read(file: &OwnedFd, part: Range<usize>) -> Option<Bytes> {
    let mut bytes = vec![0; part.len()];
    let mut read = 0;
    while read < bytes.len() {
        let mut rest = [IoSliceMut::new(&mut bytes[read..])];
        let place = (part.start + read) as u64;
        match preadv2(file.as_fd(), &mut rest, place, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => return None,
            Ok(more) => read += more,
        }
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was just written is in memory on any file system that can tell; and nothing is ever made up: a missing file, a name
    /// that leads out of the directory.
    #[test]
    fn what_is_read_is_what_was_written_or_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("store")).unwrap();
        std::fs::write(directory.path().join("outside"), b"secret").unwrap();
        let written: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        std::fs::write(directory.path().join("store/object"), &written).unwrap();
        let resident = Resident::new(&directory.path().join("store"));
        assert!(resident.read("object").is_none_or(|bytes| bytes == written));
        assert!(resident.read_part("object", 40..9_000).is_none_or(|bytes| bytes == written[40..9_000]));
        assert_eq!(resident.read_part("object", 9_000..10_001), None);
        assert_eq!(resident.read("absent"), None);
        assert_eq!(resident.read("../outside"), None);
        assert_eq!(Resident::new(Path::new("/nowhere/at/all")).read("object"), None);
    }
}

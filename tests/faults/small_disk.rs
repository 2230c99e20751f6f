//! A disk that is soon full.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use counterfoil_server::objects::Objects;

/// Bytes of the disk.
const DISK_BYTES: u64 = 48 << 20;

/// A disk of its own, in memory.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it. Where the project's check runs, that must be allowed.
    pub(crate) fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap().keep();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "counterfoil-test"]).arg(&place);
        match command.output() {
            Ok(mounted) if mounted.status.success() => Some(Self(place)),
            refused => {
                fs::remove_dir(place).unwrap();
                let said = refused.map(|refused| String::from_utf8_lossy(&refused.stderr).into_owned());
                assert!(std::env::var_os("CI").is_none(), "a small disk cannot be mounted: {said:?}");
                eprintln!("NOT TRIED: a small disk cannot be mounted (it takes root): {said:?}");
                None
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes room until only so much is free, or as little as there is.
    pub(crate) fn fill(&self, leave: u64, data: &Path) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        let free = free(data);
        let mut more = vec![0; usize::try_from(free.saturating_sub(leave)).unwrap()];
        // What the server writes meanwhile may leave less.
        while !more.is_empty() && ballast.write_all(&more).is_err() {
            more.truncate(more.len() / 2);
        }
    }

    /// Gives the room back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still uses it keeps it until it ends.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _left_behind = fs::remove_dir(&self.0);
        }
    }
}

/// Bytes that are free where a log's data is.
pub(crate) fn free(data: &Path) -> u64 {
    Objects::open_read_only(data).unwrap().free_bytes().unwrap().unwrap()
}

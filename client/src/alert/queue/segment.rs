//! One file of the queue.
//!
//! Every line is a digest, a space and JSON. The digest is SHA-256 over the digest of the line before and the JSON; the
//! head, which is the first line, names the digest at the end of the file before.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::Hash;
use serde::{Deserialize, Serialize};

use super::QueueError;
use crate::{
    alert::message::Alert,
    file::{self, Access},
};

const VERSION: u32 = 1;

/// Digest and space.
const DIGEST_BYTES: usize = 2 * Hash::BYTES + 1;

/// A file of alerts with consecutive numbers.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    first: u64,
    /// Where each alert's line begins.
    offsets: Vec<u64>,
    bytes: u64,
    digest: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    /// The number of the first alert.
    first: u64,
    /// The digest at the end of the file before.
    previous: String,
    /// What lasted when the file was begun.
    open: Vec<Alert>,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) error: QueueError,
    /// Whether it is unknown what is on the disk now.
    pub(super) unknown: bool,
}

impl Segment {
    /// Begins a file, durably.
    pub(super) fn create(
        directory: &Path,
        first: u64,
        previous: Hash,
        open: &[Alert],
    ) -> Result<Self, QueueError> {
        let path = directory.join(format!("{first:020}.log"));
        let head = Head { version: VERSION, first, previous: previous.to_string(), open: open.to_vec() };
        let head = serde_json::to_string(&head).expect("a head is plain JSON");
        let (line, digest) = line(previous, &head);
        file::replace_durably(&path, &line, Access::Public)?;
        let file = open_for_appending(&path)?;
        Ok(Self { path, file, first, offsets: Vec::new(), bytes: line.len() as u64, digest })
    }

    /// Reads and checks a file, and shows each alert: first those of the head, without number.
    ///
    /// `before` is the end of the file before it, if there is one: the next number, and the digest. The beginning of a
    /// line at the end of the `newest` file is cut off.
    pub(super) fn read(
        path: &Path,
        before: Option<(u64, Hash)>,
        newest: bool,
        mut each: impl FnMut(Option<u64>, &Alert),
    ) -> Result<Self, QueueError> {
        let failed = |source| QueueError::Io { path: path.to_owned(), source };
        let damaged = |offset: usize, reason| QueueError::Damaged {
            path: path.to_owned(),
            offset: offset as u64,
            reason,
        };
        let bytes = fs::read(path).map_err(failed)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if end < bytes.len() && !newest {
            return Err(damaged(end, "the file ends within a line, and is not the newest"));
        }
        // A head is put in place whole.
        let head_end = bytes[..end]
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| damaged(0, "there is no head"))?;
        let head_json =
            json(&bytes[..head_end]).ok_or_else(|| damaged(0, "the head is not a digest and JSON"))?;
        let head: Head =
            serde_json::from_str(head_json).map_err(|_| damaged(0, "the head cannot be read"))?;
        let previous: Hash = head.previous.parse().map_err(|_| damaged(0, "the head names no digest"))?;
        let (head_line, mut digest) = line(previous, head_json);
        if head_line != bytes[..=head_end] {
            return Err(damaged(0, "the head's digest is not that of the head"));
        }
        if head.version != VERSION {
            return Err(damaged(0, "it was written by a version that this program does not know"));
        }
        if before.is_some_and(|before| before != (head.first, previous)) {
            return Err(damaged(0, "it does not go on where the file before it ends"));
        }
        if path.file_stem().and_then(|name| name.to_str()) != Some(format!("{:020}", head.first).as_str()) {
            return Err(damaged(0, "the file has another's name"));
        }
        head.open.iter().for_each(|alert| each(None, alert));
        let mut offsets = Vec::new();
        let mut offset = head_end + 1;
        for text in bytes[offset..end].split_inclusive(|byte| *byte == b'\n') {
            let alert =
                json(&text[..text.len() - 1]).ok_or_else(|| damaged(offset, "not a digest and JSON"))?;
            let (expected, next) = line(digest, alert);
            if expected != text {
                return Err(damaged(offset, "the digest is not that of the line and those before it"));
            }
            let alert: Alert = serde_json::from_str(alert).map_err(|_| damaged(offset, "not an alert"))?;
            each(Some(head.first + offsets.len() as u64), &alert);
            offsets.push(offset as u64);
            offset += text.len();
            digest = next;
        }
        let file = open_for_appending(path)?;
        if end < bytes.len() {
            file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(failed)?;
        } else if newest {
            // Found is not durable: whoever wrote the end may have died before it was.
            file.sync_all().map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, first: head.first, offsets, bytes: end as u64, digest })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of its first alert.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The number after that of its last alert.
    pub(super) fn end(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// Its length.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest at its end.
    pub(super) const fn digest(&self) -> Hash {
        self.digest
    }

    /// Appends alerts and syncs them, all or none.
    pub(super) fn append(&mut self, alerts: &[Alert]) -> Result<(), Failure> {
        let (mut text, mut offsets, mut digest) = (Vec::new(), Vec::new(), self.digest);
        for alert in alerts {
            offsets.push(self.bytes + text.len() as u64);
            let json = serde_json::to_string(alert).expect("an alert is plain JSON");
            let (line, next) = line(digest, &json);
            text.extend_from_slice(&line);
            digest = next;
        }
        let error = |source| QueueError::Io { path: self.path.clone(), source };
        if let Err(source) = self.file.write_all(&text) {
            // What was written of it goes again: the next line must not stand behind half a one.
            let undone = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all());
            return Err(Failure { error: error(source), unknown: undone.is_err() });
        }
        // After a failed sync nobody knows what is on the disk, and asking again does not tell.
        self.file.sync_all().map_err(|source| Failure { error: error(source), unknown: true })?;
        self.bytes += text.len() as u64;
        self.offsets.extend(offsets);
        self.digest = digest;
        Ok(())
    }

    /// Reads one alert.
    ///
    /// # Panics
    /// If it is not in this file.
    pub(super) fn alert(&self, number: u64) -> Result<Alert, QueueError> {
        let place = usize::try_from(number - self.first).expect("a place in memory");
        let start = self.offsets[place];
        let end = self.offsets.get(place + 1).copied().unwrap_or(self.bytes);
        let read = || {
            let mut line = Vec::new();
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            file.take(end - start).read_to_end(&mut line)?;
            Ok(line)
        };
        let line = read().map_err(|source| QueueError::Io { path: self.path.clone(), source })?;
        let alert = line.strip_suffix(b"\n").and_then(json).and_then(|json| serde_json::from_str(json).ok());
        alert.ok_or_else(|| QueueError::Damaged {
            path: self.path.clone(),
            offset: start,
            reason: "not the alert that was written there",
        })
    }

    /// Removes the file. It is gone for good once its folder is synced, which the next file's making does.
    pub(super) fn remove(self) -> Result<(), QueueError> {
        fs::remove_file(&self.path).map_err(|source| QueueError::Io { path: self.path, source })
    }
}

fn open_for_appending(path: &Path) -> Result<File, QueueError> {
    let opened = File::options().append(true).open(path);
    opened.map_err(|source| QueueError::Io { path: path.to_owned(), source })
}

/// A line behind one with the digest `before`, and its own digest.
fn line(before: Hash, json: &str) -> (Vec<u8>, Hash) {
    let digest = Hash::of(&[before.as_bytes(), json.as_bytes()]);
    (format!("{digest} {json}\n").into_bytes(), digest)
}

/// The JSON of a line.
fn json(line: &[u8]) -> Option<&str> {
    let (digest, json) = line.split_at_checked(DIGEST_BYTES)?;
    (digest.last() == Some(&b' ')).then(|| str::from_utf8(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When not even the beginning of a failed write can be taken back, that is said: nothing may follow it.
    #[test]
    fn a_write_that_cannot_be_undone_leaves_the_state_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(directory.path(), 0, Hash::of(&[]), &[]).unwrap();
        let (bytes, digest) = (segment.bytes(), segment.digest());
        let alert: Alert = serde_json::from_str(&format!(
            r#"{{"event":"finding","id":"{digest}","log":"","class":"FORK","code":"c","place":"p","message":"m","at":1}}"#
        ))
        .unwrap();
        segment.file = File::open(segment.path()).unwrap();
        let failure = segment.append(std::slice::from_ref(&alert)).unwrap_err();
        assert!(failure.unknown && failure.error.to_string().contains(".log"), "{failure:?}");
        assert_eq!((segment.bytes(), segment.end(), segment.digest()), (bytes, 0, digest));
    }
}

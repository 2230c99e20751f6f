//! The queue of alerts: files that are only ever appended to, each line with a digest that covers all lines before it.
//!
//! ```text
//! queue/<20-digit number>.log   alerts from that number on: a head, then one line an alert
//! ```
//!
//! What [`Queue::append`] has returned for is durable. A crash leaves at most the beginning of a line at the end of the
//! newest file, which was never acknowledged and is cut off; whatever else does not fit is damage, and named.
//! Delivered alerts stay until their space is needed, whole files at a time: until then they are what tells a new
//! finding from a known one.

mod segment;

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use counterfoil_merkle::Hash;

use self::segment::Segment;
use super::message::{Alert, Event};
use crate::file::{self, FileError};

/// In how many files the space is shared out.
const SEGMENTS: u64 = 8;

/// The least space that a queue takes.
pub const QUEUE_BYTES_MIN: u64 = 1 << 20;

/// Alerts in the order in which they were found, numbered from 0.
#[derive(Debug)]
pub struct Queue {
    directory: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Numbers of the findings that are kept, by 128 bits of their ids.
    known: HashMap<[u8; 16], u64>,
    broken: bool,
}

impl Queue {
    /// Opens the queue in a directory, or starts one, and shows every alert that is kept, in order: first those that
    /// were open when the oldest file was begun, which have no number.
    pub fn open(
        directory: &Path,
        bytes_max: u64,
        mut each: impl FnMut(Option<u64>, &Alert),
    ) -> Result<Self, QueueError> {
        file::create_folder(directory)?;
        let mut queue = Self {
            directory: directory.to_owned(),
            bytes_max: bytes_max.max(QUEUE_BYTES_MIN),
            segments: VecDeque::new(),
            known: HashMap::new(),
            broken: false,
        };
        let paths = files(directory)?;
        for (place, path) in paths.iter().enumerate() {
            let before = queue.segments.back().map(|before| (before.end(), before.digest()));
            let newest = place + 1 == paths.len();
            let mut known = Vec::new();
            let segment = Segment::read(path, before, newest, |number, alert| {
                if number.is_some() || place == 0 {
                    each(number, alert);
                }
                known.extend(number.map(|number| (number, alert.clone())));
            })?;
            known.iter().for_each(|(number, alert)| queue.know(*number, alert));
            queue.segments.push_back(segment);
        }
        if queue.segments.is_empty() {
            queue.segments.push_back(Segment::create(directory, 0, Hash::of(&[]), &[])?);
        }
        Ok(queue)
    }

    /// The numbers of the alerts that are kept.
    pub fn numbers(&self) -> Range<u64> {
        let first = self.segments.front().map_or(0, Segment::first);
        first..self.newest().end()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Bytes that the files may take.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Whether nothing is taken any more: see [`Queue::append`].
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether a finding of that id is kept.
    pub fn has(&self, id: Hash) -> bool {
        self.known.contains_key(&prefix(id))
    }

    /// The alert with that number.
    ///
    /// # Panics
    /// If it is not kept.
    pub fn alert(&self, number: u64) -> Result<Alert, QueueError> {
        let after = self.segments.partition_point(|segment| segment.first() <= number);
        let place = after.checked_sub(1).expect("only what is kept is asked for");
        self.segments[place].alert(number)
    }

    /// The numbers of the oldest alerts, if they have to go before anything more is taken.
    pub fn must_drop(&self) -> Option<Range<u64>> {
        let oldest = self.segments.front()?;
        let full = self.segments.len() > 1 && self.bytes() > self.bytes_max - self.bytes_max / SEGMENTS;
        full.then(|| oldest.first()..oldest.end())
    }

    /// Drops what [`Queue::must_drop`] named.
    pub fn drop_oldest(&mut self) -> Result<(), QueueError> {
        if self.segments.len() > 1
            && let Some(oldest) = self.segments.pop_front()
        {
            oldest.remove()?;
            let first = self.numbers().start;
            self.known.retain(|_, number| *number >= first);
        }
        Ok(())
    }

    /// Appends alerts, durably when it returns, all or none. `open` is what lasts now, before these.
    ///
    /// # Errors
    /// If they could not be written. If it is not even known what was, no more is taken until the queue is opened again.
    pub fn append(&mut self, alerts: &[Alert], open: impl FnOnce() -> Vec<Alert>) -> Result<(), QueueError> {
        if self.broken {
            return Err(QueueError::Broken { path: self.newest().path().to_owned() });
        }
        if self.newest().bytes() > self.bytes_max / SEGMENTS {
            let (first, digest) = (self.newest().end(), self.newest().digest());
            let begun = Segment::create(&self.directory, first, digest, &open())?;
            self.segments.push_back(begun);
        }
        let newest = self.segments.back_mut().expect("a queue has a file");
        let first = newest.end();
        if let Err(failure) = newest.append(alerts) {
            self.broken = failure.unknown;
            return Err(failure.error);
        }
        (first..).zip(alerts).for_each(|(number, alert)| self.know(number, alert));
        Ok(())
    }

    fn know(&mut self, number: u64, alert: &Alert) {
        if alert.event == Event::Finding {
            self.known.insert(prefix(alert.id), number);
        }
    }

    fn newest(&self) -> &Segment {
        self.segments.back().expect("a queue has a file")
    }
}

fn prefix(id: Hash) -> [u8; 16] {
    *id.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The files of a queue, oldest first.
fn files(directory: &Path) -> Result<Vec<PathBuf>, QueueError> {
    let failed = |source| QueueError::Io { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for item in fs::read_dir(directory).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what was written.
    #[error(
        "{}, byte {offset}: {reason}; alerts that were not delivered may be lost: look at the file, then move the folder \
         away to start a new queue",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// An earlier write failed in a way that leaves open what is on the disk.
    #[error("{}: what an earlier write left there is not known; restart to read it again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests;

//! The spool's files: `<folder>/segments/<20 digits>`, appended to and never changed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    SpoolError,
    record::{Head, Record},
    state::{Place, State},
};
use crate::file::FileError;

/// The folder of the segments.
#[derive(Clone, Debug)]
pub struct Segments(PathBuf);

impl Segments {
    /// The segments in the spool's folder, which is made if it is not there. Nobody but the owner can read them.
    pub fn in_folder(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("segments");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&path).map_err(FileError::new("create", &path))?;
        Ok(Self(path))
    }

    /// Reads all segments, oldest first, and tells `state` of every record.
    ///
    /// The last one may end in a record that was being written when the program ended: nobody was told of it, and it is
    /// taken off. `acknowledged` is how far records were said to be lasting: what is missing below it is damage.
    pub fn load(&self, state: &mut State, acknowledged: Option<(u64, u64)>) -> Result<(), SpoolError> {
        let numbers = self.numbers()?;
        if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(SpoolError::Missing { path: self.path(pair[0] + 1) });
        }
        let last = numbers.last().copied();
        for number in numbers {
            let path = self.path(number);
            let bytes = fs::read(&path).map_err(FileError::new("read", &path))?;
            let end = take_all(state, number, &bytes).map_err(|offset| damaged(&path, offset))?;
            if end > 0 && end == bytes.len() as u64 {
                continue;
            }
            let is_promised = acknowledged.is_some_and(|acknowledged| acknowledged > (number, end));
            if Some(number) != last || is_promised {
                return Err(damaged(&path, end));
            }
            self.cut(number, end)?;
        }
        match acknowledged {
            Some((segment, offset))
                if last.is_none_or(|last| last < segment)
                    || (last == Some(segment) && state.segment_bytes(segment) < offset) =>
            {
                Err(SpoolError::Missing { path: self.path(segment) })
            }
            _ => Ok(()),
        }
    }

    /// Creates a segment that begins with `head`, lasting when it returns, and gives its file and length.
    pub fn create(&self, number: u64, head: &Head) -> Result<(File, Place), FileError> {
        let path = self.path(number);
        let create = || {
            let mut bytes = Vec::new();
            let length = Record::Head(head.clone()).frame(number, 0, &mut bytes);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
            File::open(&self.0)?.sync_all()?;
            Ok((file, Place { segment: number, offset: 0, length }))
        };
        create().map_err(FileError::new("create", &path))
    }

    /// Opens a segment to append to it.
    pub fn append(&self, number: u64) -> Result<File, FileError> {
        let path = self.path(number);
        OpenOptions::new().write(true).open(&path).map_err(FileError::new("open", &path))
    }

    /// Reads a record; `None` if its segment is gone.
    pub fn read(&self, place: Place) -> Result<Option<Record>, SpoolError> {
        let path = self.path(place.segment);
        let mut bytes = vec![0; usize::try_from(place.length).unwrap_or(usize::MAX)];
        match File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, place.offset)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(FileError::new("read", &path))?,
        }
        match Record::read(place.segment, place.offset, &bytes) {
            Some((record, _)) => Ok(Some(record)),
            None => Err(damaged(&path, place.offset)),
        }
    }

    /// Removes a segment.
    pub fn remove(&self, number: u64) -> Result<(), FileError> {
        let path = self.path(number);
        fs::remove_file(&path).map_err(FileError::new("remove", &path))
    }

    /// Takes off what follows `end`, lasting; the whole file if nothing is left.
    fn cut(&self, number: u64, end: u64) -> Result<(), FileError> {
        let path = self.path(number);
        let cut = || {
            if end == 0 {
                fs::remove_file(&path)?;
                return File::open(&self.0)?.sync_all();
            }
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(end)?;
            file.sync_all()
        };
        cut().map_err(FileError::new("cut", &path))
    }

    fn numbers(&self) -> Result<Vec<u64>, FileError> {
        let list = || {
            let mut numbers = Vec::new();
            for item in fs::read_dir(&self.0)? {
                let name = item?.file_name();
                let name = name.to_string_lossy();
                if name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()) {
                    numbers.extend(name.parse::<u64>());
                }
            }
            numbers.sort_unstable();
            Ok(numbers)
        };
        list().map_err(FileError::new("list", &self.0))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:020}"))
    }
}

/// Tells `state` of the records of a segment; where they end. An offset as error: the record there is not the next one.
fn take_all(state: &mut State, segment: u64, bytes: &[u8]) -> Result<u64, u64> {
    let mut offset = 0;
    while let Some((record, length)) =
        usize::try_from(offset).ok().and_then(|at| Record::read(segment, offset, bytes.get(at..)?))
    {
        let is_next = match &record {
            // The first that is left may begin anywhere; what follows goes on where it ended, or with another stream.
            Record::Head(head) => {
                let before = state.head();
                let goes_on = head.sequence == before.sequence
                    && (head.next == before.next || head.next.stream != before.next.stream);
                offset == 0 && (state.newest_segment().is_none() || goes_on)
            }
            Record::Exchange(spooled) => {
                let head = state.head();
                offset > 0 && spooled.sequence == head.sequence && spooled.number == head.next.number
            }
            Record::Delivered(_) | Record::Pushed { .. } => offset > 0,
        };
        if !is_next {
            return Err(offset);
        }
        state.take(&record, Place { segment, offset, length });
        offset += u64::from(length);
    }
    Ok(offset)
}

fn damaged(path: &Path, offset: u64) -> SpoolError {
    SpoolError::Damaged { path: path.to_owned(), offset }
}

//! The numbers of an issuer's stream: given out once, whatever happens after.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use counterfoil_receipt::{
    Id,
    statement::{Number, Numbering, StreamId},
};
use serde::{Deserialize, Serialize};

use crate::file::{self, Access, FileError};

const STATE_BYTES_MAX: usize = 4096;

/// The stream that goes with a private key: `<key>.stream.json`, held by this program alone.
#[derive(Debug)]
pub struct Stream {
    path: PathBuf,
    state: State,
    /// The key's own file, which is never replaced, carries the lock.
    _lock: File,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct State {
    stream: String,
    next: u64,
    previous: Option<String>,
}

impl Stream {
    /// Takes hold of a key's stream, waiting for whoever holds it. Without one, or if a new one is asked for, `fresh` is
    /// its name.
    pub fn open(key: &Path, new: bool, fresh: StreamId) -> Result<Self, StreamError> {
        let lock = || File::open(key).and_then(|file| file.lock().map(|()| file));
        let lock = lock().map_err(FileError::new("lock", key))?;
        let mut path = key.as_os_str().to_owned();
        path.push(".stream.json");
        let path = PathBuf::from(path);
        let stored = if new { None } else { file::read_if_there(&path, STATE_BYTES_MAX)? };
        let state = match stored {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|reason| StreamError::Malformed {
                path: path.clone(),
                reason: reason.to_string(),
            })?,
            None => State { stream: fresh.to_string(), next: 0, previous: None },
        };
        let stream = Self { path, state, _lock: lock };
        stream.next()?;
        Ok(stream)
    }

    /// The place of the next record.
    pub fn next(&self) -> Result<Numbering, StreamError> {
        let malformed = |reason: String| StreamError::Malformed { path: self.path.clone(), reason };
        let State { stream, next, previous } = &self.state;
        let stream = stream.parse().map_err(|_| malformed("stream is not 32 hex digits".to_owned()))?;
        let number = Number::new(*next).ok_or_else(|| malformed("next is beyond 2^53 - 1".to_owned()))?;
        let previous = previous.as_deref().map(str::parse).transpose();
        let previous = previous.map_err(|_| malformed("previous is not an id".to_owned()))?;
        if (previous.is_none()) != (number == Number::FIRST) {
            return Err(malformed("only the first record has none before it".to_owned()));
        }
        Ok(Numbering { stream, number, previous })
    }

    /// Spends the next place on a record. Lasting when it returns: only then may the record be written anywhere.
    pub fn spend(&mut self, id: Id) -> Result<(), StreamError> {
        let State { stream, next, .. } = &self.state;
        let after = State { stream: stream.clone(), next: next + 1, previous: Some(id.to_string()) };
        let malformed = |reason: serde_json::Error| StreamError::Malformed {
            path: self.path.clone(),
            reason: reason.to_string(),
        };
        let json = serde_json::to_vec(&after).map_err(malformed)?;
        file::replace_durably(&self.path, &json, Access::Public)?;
        self.state = after;
        Ok(())
    }
}

/// Why a number cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream's file is not one. It is not guessed at: a number given twice shows in the log for ever.
    #[error("{}: {reason}; --new-stream starts another", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers go on where they stopped, each with the record before it.
    #[test]
    fn numbers_are_given_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("issuer.pem");
        std::fs::write(&key, "").unwrap();
        let (one, other) = (StreamId::new([1; 16]), StreamId::new([2; 16]));
        let mut previous = None;
        for number in 0..4 {
            let mut stream = Stream::open(&key, false, if number == 0 { one } else { other }).unwrap();
            let numbering = stream.next().unwrap();
            assert_eq!(
                (numbering.stream, numbering.number.get(), numbering.previous),
                (one, number, previous)
            );
            let id = Id::of_statement(&[u8::try_from(number).unwrap()]);
            stream.spend(id).unwrap();
            previous = Some(id);
        }
        let fresh = Stream::open(&key, true, other).unwrap();
        assert_eq!(fresh.next().unwrap().stream, other);
        drop(fresh);
        assert_eq!(
            Stream::open(&key, false, other).unwrap().next().unwrap().number.get(),
            4,
            "nothing was spent"
        );

        let path = folder.path().join("issuer.pem.stream.json");
        for broken in [
            "",
            "{}",
            r#"{"stream":"x","next":0,"previous":null}"#,
            r#"{"stream":"01010101010101010101010101010101","next":1,"previous":null}"#,
        ] {
            std::fs::write(&path, broken).unwrap();
            assert!(matches!(Stream::open(&key, false, one), Err(StreamError::Malformed { .. })), "{broken}");
        }
    }
}

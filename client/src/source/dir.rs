//! A log's files in a directory.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use bytes::Bytes;

use super::{Resource, SourceError};

/// A directory with the paths that a log serves.
#[derive(Clone, Debug)]
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    /// The source at that directory; it need not exist yet.
    pub const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn fetch(&self, resource: Resource) -> Result<Option<Bytes>, SourceError> {
        let path = self.root.join(resource.to_string());
        let bytes_max = resource.bytes_max();
        match read(&path, bytes_max) {
            Ok(bytes) if bytes.len() > bytes_max => {
                Err(SourceError::TooLarge { address: path.display().to_string(), bytes_max })
            }
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(SourceError::Read { path, source }),
        }
    }
}

/// Reads at most one byte more than `bytes_max`.
fn read(path: &PathBuf, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for DirSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.display().fmt(f)
    }
}

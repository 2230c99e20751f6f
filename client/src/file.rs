//! Files that are whole or not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody whom the umask lets.
    Public,
    /// The owner alone (0600): it holds a key.
    Secret,
}

/// Reads a file of at most `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("above {bytes_max} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(FileError::new("read", path))
}

/// As [`read`], for text.
pub fn read_text(path: &Path, bytes_max: usize) -> Result<String, FileError> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8");
    String::from_utf8(read(path, bytes_max)?).map_err(invalid).map_err(FileError::new("read", path))
}

/// As [`read`]; `None` if there is no such file.
pub fn read_if_there(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, FileError> {
    match read(path, bytes_max) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Puts a file in place, whole, over one that is there. Not synced: it can be made again.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    put(path, bytes, access, false).map_err(FileError::new("write", path))
}

/// As [`replace`], and lasting when it returns: for what cannot be made again.
pub fn replace_durably(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    put(path, bytes, access, true).map_err(FileError::new("write", path))
}

/// Creates a file that must not be there yet, lasting when it returns.
pub fn create(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let create = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        restrict(&mut options, access);
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(path)
    };
    create().map_err(FileError::new("create", path))
}

/// Makes a folder and those above it.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::new("create", path))
}

fn put(path: &Path, bytes: &[u8], access: Access, durable: bool) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".counterfoil-");
    #[cfg(unix)]
    if access == Access::Public {
        use std::os::unix::fs::PermissionsExt as _;
        temporary.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut temporary = temporary.tempfile_in(folder_of(path))?;
    temporary.write_all(bytes)?;
    if durable {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    if durable { sync_folder(path) } else { Ok(()) }
}

fn restrict(options: &mut OpenOptions, access: Access) {
    #[cfg(unix)]
    if access == Access::Secret {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = (options, access);
}

fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all()?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_created_once_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        create(&path, b"one", Access::Secret).unwrap();
        assert_eq!(
            create(&path, b"two", Access::Secret).unwrap_err().source.kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(read(&path, 3).unwrap(), b"one");
        replace_durably(&path, b"three", Access::Secret).unwrap();
        replace(&folder.path().join("open"), b"", Access::Public).unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"three");
        assert_eq!(read(&path, 4).unwrap_err().source.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_if_there(&folder.path().join("none"), 1).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

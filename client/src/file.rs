//! Files that are whole or not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// What the names of unfinished files begin with.
const TEMPORARY: &str = ".counterfoil-";

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

/// As [`read_text`], for TOML.
pub fn read_toml<T: DeserializeOwned>(path: &Path, bytes_max: usize) -> Result<T, FileError> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    toml::from_str(&read_text(path, bytes_max)?).map_err(invalid).map_err(FileError::new("read", path))
}

/// Reads a secret of at most `bytes_max` bytes, if nobody but its owner can.
pub fn read_secret(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, FileError> {
    let read = || {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let reason = format!("mode {mode:04o}: others can read it; mend with `chmod 600`");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            }
        }
        // As long as it can become, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(bytes_max + 1));
        File::open(path)?.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
        if text.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("above {bytes_max} bytes")));
        }
        Ok(text)
    };
    read().map_err(FileError::new("read", path))
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
    let put = || write_beside(path, bytes, access)?.persist(path).map_err(|error| error.error);
    put().map(drop).map_err(FileError::new("write", path))
}

/// As [`replace`], and lasting when it returns: for what cannot be made again.
pub fn replace_durably(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    stage(path, bytes, access)?.keep()
}

/// Writes a file's new content durably beside it. An error here has changed nothing.
pub fn stage(path: &Path, bytes: &[u8], access: Access) -> Result<Staged, FileError> {
    let staged = write_beside(path, bytes, access)
        .and_then(|temporary| temporary.as_file().sync_all().map(|()| temporary));
    let temporary = staged.map_err(FileError::new("write", path))?;
    Ok(Staged { temporary, path: path.to_owned() })
}

/// A file's new content, not in its place yet.
#[derive(Debug)]
pub struct Staged {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Puts the content in place, lasting when it returns. After an error nobody knows which content is there.
    pub fn keep(self) -> Result<(), FileError> {
        let kept = self.temporary.persist(&self.path).map_err(|error| error.error);
        kept.and_then(|_| sync_folder(&self.path)).map_err(FileError::new("write", &self.path))
    }
}

/// Removes what a killed process was still writing into a folder.
pub fn sweep(folder: &Path) -> Result<(), FileError> {
    let sweep = || {
        for item in fs::read_dir(folder)? {
            let item = item?;
            if item.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                fs::remove_file(item.path())?;
            }
        }
        Ok(())
    };
    sweep().map_err(FileError::new("sweep", folder))
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

/// Makes a folder in one that is there, lasting when it returns.
pub fn create_folder_durably(path: &Path) -> Result<(), FileError> {
    let create = || match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // One that was found may not last yet either.
        _ => sync_folder(path),
    };
    create().map_err(FileError::new("create", path))
}

/// Makes a folder and those above it.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::new("create", path))
}

fn write_beside(path: &Path, bytes: &[u8], access: Access) -> io::Result<NamedTempFile> {
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(TEMPORARY);
    #[cfg(unix)]
    if access == Access::Public {
        use std::os::unix::fs::PermissionsExt as _;
        temporary.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut temporary = temporary.tempfile_in(folder_of(path))?;
    temporary.write_all(bytes)?;
    Ok(temporary)
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
            assert_eq!(*read_secret(&path, 5).unwrap(), "three");
            assert_eq!(read_secret(&path, 4).unwrap_err().source.kind(), io::ErrorKind::FileTooLarge);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let open = read_secret(&path, 5).unwrap_err();
            assert!(open.source.to_string().contains("chmod 600"), "{open:?}");
        }
    }

    /// What is staged is not in place, what was being staged by a killed process is swept, and nothing else.
    #[test]
    fn staged_files_are_kept_or_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace_durably(&path, b"old", Access::Public).unwrap();
        let staged = stage(&path, b"new", Access::Public).unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"old");
        staged.keep().unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"new");
        fs::write(folder.path().join(".counterfoil-x"), b"half").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        create_folder_durably(&folder.path().join("a")).unwrap();
        create_folder_durably(&folder.path().join("a")).unwrap();
        assert!(create_folder_durably(&folder.path().join("b/c")).is_err());
    }
}

//! Private keys in files: made once, readable by their owner alone, or refused.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::key::NoteSigner;
use counterfoil_receipt::{SigningKey, key::KeyError};
use zeroize::Zeroizing;

/// Writes a secret into a new file of mode 0600, synced.
pub fn create(path: &Path, secret: &str) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(secret.as_bytes()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Reads the private key of a log or its clock.
pub fn read_signer(path: &Path) -> Result<NoteSigner, KeyFileError> {
    let text = read(path)?;
    text.trim_end_matches('\n').parse().map_err(|_| KeyFileError::Form { path: path.to_owned() })
}

/// Reads the private key of the operator.
pub fn read_operator(path: &Path) -> Result<SigningKey, KeyFileError> {
    let pem = read(path)?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|reason| KeyFileError::Pem { path: path.to_owned(), reason })
}

/// Reads a secret, if nobody but its owner can.
pub fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Why a key file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Reading or writing failed.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A link, a directory or something else.
    #[error("key file {}: not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Others can read it.
    #[error("key file {} has mode {mode:04o}: others can read it; mend with `chmod 600 {}`", path.display(), path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not an operator's key.
    #[error("key file {}: {reason}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: KeyError,
    },
    /// Not a key.
    #[error("key file {}: not a private key of a note signer", path.display())]
    Form {
        /// Which.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_what_its_owner_alone_can_read_is_a_key_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, "secret").unwrap();
        assert_eq!(*read(&path).unwrap(), "secret\n");
        assert!(create(&path, "other").is_err());
        assert!(matches!(read_signer(&path), Err(KeyFileError::Form { .. })));
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read(&link), Err(KeyFileError::NotAFile { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }
}

//! Private keys in files: made once, readable by their owner alone, or refused. Or handed over as credentials by whatever starts
//! the server (systemd's `LoadCredential=` and `LoadCredentialEncrypted=`): files in a directory that is made for this process alone.

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::key::NoteSigner;
use counterfoil_receipt::{SigningKey, key::KeyError};
use zeroize::Zeroizing;

/// What the place of a key begins with that is a credential and no file of its own: its name follows.
pub const CREDENTIAL: &str = "credential:";

/// Where the service manager says that the credentials are.
fn credentials() -> Option<PathBuf> {
    env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// The file that a configuration in `base` names: a path, or [`CREDENTIAL`] and the name of one.
///
/// # Errors
/// In words, if it is a credential and there are none, or its name is none.
pub fn place(base: &Path, named: &Path) -> Result<PathBuf, String> {
    place_in(base, named, credentials().as_deref())
}

fn place_in(base: &Path, named: &Path, credentials: Option<&Path>) -> Result<PathBuf, String> {
    let Some(name) = named.to_str().and_then(|named| named.strip_prefix(CREDENTIAL)) else {
        return Ok(base.join(named));
    };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("{name:?} is no name of a credential"));
    }
    let directory = credentials
        .ok_or("it is a credential, and whatever started the server handed none over: CREDENTIALS_DIRECTORY is not set")?;
    Ok(directory.join(name))
}

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
    read_with(path, credentials().as_deref())
}

fn read_with(path: &Path, credentials: Option<&Path>) -> Result<Zeroizing<String>, KeyFileError> {
    // systemd lets the service's user read a credential by an access list, which shows as the group's permission.
    let others =
        if credentials.is_some_and(|directory| path.parent() == Some(directory)) { 0o037 } else { 0o077 };
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    if metadata.mode() & others != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Reads a secret that nobody but its owner can read, through a link if it is one: as those who renew certificates leave them.
pub fn read_linked(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    read(&fs::canonicalize(path).map_err(failed)?)
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

    /// A credential is named in place of a path; what is read from where they lie may have an access list, and no more.
    #[test]
    fn credentials_are_keys_too() {
        let directory = tempfile::tempdir().unwrap();
        let (base, there) = (Path::new("/etc/log"), Some(directory.path()));
        assert_eq!(place_in(base, Path::new("log.key"), there), Ok(base.join("log.key")));
        let path = place_in(base, Path::new("credential:log.key"), there).unwrap();
        assert_eq!(path, directory.path().join("log.key"));
        for name in ["", "../log.key", "a/b", ".hidden"] {
            assert!(place_in(base, Path::new(&format!("{CREDENTIAL}{name}")), there).is_err(), "{name}");
        }
        let error = place_in(base, Path::new("credential:log.key"), None).unwrap_err();
        assert!(error.contains("CREDENTIALS_DIRECTORY"), "{error}");
        create(&path, "secret").unwrap();
        for (mode, good) in [(0o400, true), (0o440, true), (0o460, false), (0o444, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_with(&path, there).is_ok(), good, "{mode:o}");
            assert_eq!(read_with(&path, None).is_ok(), mode == 0o400, "{mode:o}");
        }
    }

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
        assert_eq!(*read_linked(&link).unwrap(), "secret\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_linked(&link), Err(KeyFileError::Mode { .. })));
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }
}

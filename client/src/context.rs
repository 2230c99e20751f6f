//! The logs that a person knows: a small folder a log.
//!
//! ```text
//! log.toml              address, keys, policy, whom to gossip with
//! checkpoint            the newest checkpoint seen
//! seen/<size>           older ones, a bounded number
//! inconsistent/         checkpoints that did not go with the newest one, and are not proven to be a fork
//! evidence/<id>.txt     proof that the log signed two histories: it is refused for as long as this is here
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    key::{KeyError, VerifierKey},
    policy::{POLICY_BYTES_MAX, PolicyError},
};
use serde::{Deserialize, Serialize};

use crate::{
    conviction::{self, Conviction, ConvictionError},
    file::{self, Access, FileError},
    log::{KnownLog, LogPolicy},
};

const LOG_BYTES_MAX: usize = POLICY_BYTES_MAX + 64 * 1024;
const NAME_BYTES_MAX: usize = 64;

/// The folder of all logs.
#[derive(Clone, Debug)]
pub struct Contexts {
    root: PathBuf,
}

/// One log's folder.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the person calls the log.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Address and keys.
    pub log: KnownLog,
    /// PEM file of the certificates to trust for its address.
    pub authorities: Option<PathBuf>,
    /// File of the token that it is shown.
    pub token_file: Option<PathBuf>,
    /// Addresses of monitors that hear of its checkpoints.
    pub gossip: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    url: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorities: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gossip: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl Contexts {
    /// The logs under `<configuration folder>/counterfoil/logs`.
    pub fn under(configuration: &Path) -> Self {
        Self { root: configuration.join("counterfoil").join("logs") }
    }

    /// Where a log of that name is kept, whether there is one or not.
    pub fn folder(&self, name: &str) -> Result<PathBuf, ContextError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.starts_with('.')
            || !name.chars().all(allowed)
        {
            return Err(ContextError::Name);
        }
        Ok(self.root.join(name))
    }

    /// Reads what is known of a log that may be trusted.
    ///
    /// # Errors
    /// [`ContextError::Refused`] if there is evidence against it.
    pub fn open(&self, name: &str) -> Result<Context, ContextError> {
        let context = self.open_anyway(name)?;
        match self.conviction(&context.log.key, Some(&context.folder))? {
            Some(conviction) => Err(ContextError::refused(&context.log.key, conviction)),
            None => Ok(context),
        }
    }

    /// Reads what is known of a log, whatever it is accused of.
    pub fn open_anyway(&self, name: &str) -> Result<Context, ContextError> {
        let folder = self.folder(name)?;
        let path = folder.join("log.toml");
        let Some(bytes) = file::read_if_there(&path, LOG_BYTES_MAX)? else {
            return Err(ContextError::Unknown { name: name.to_owned() });
        };
        let malformed = |reason: String| ContextError::Malformed { path: path.clone(), reason };
        let table = std::str::from_utf8(&bytes).map_err(|_| malformed("not UTF-8".to_owned()))?;
        let table: LogTable = toml::from_str(table).map_err(|error| malformed(error.to_string()))?;
        let key = |text: &str| text.parse().map_err(|error: KeyError| malformed(error.to_string()));
        let clock = table.clock.as_deref().map(key).transpose()?;
        let policy = |text: &str| text.parse().map_err(|error: PolicyError| malformed(error.to_string()));
        let policy: Option<LogPolicy> = table.policy.as_deref().map(policy).transpose()?;
        let log = KnownLog { key: key(&table.key)?, clock, url: table.url, policy };
        if log.policy.as_ref().is_some_and(|policy| !policy.lists(&log.key)) {
            return Err(malformed(format!("the policy does not list the log {}", log.key)));
        }
        let (authorities, token_file, gossip) = (table.authorities, table.token_file, table.gossip);
        Ok(Context { name: name.to_owned(), folder, log, authorities, token_file, gossip })
    }

    /// Evidence against the log with this key in any log's folder, whatever it is called there.
    ///
    /// # Errors
    /// If evidence in its `own` folder cannot be read. In the folders of others it is their own affair.
    pub fn conviction(
        &self,
        log: &VerifierKey,
        own: Option<&Path>,
    ) -> Result<Option<Conviction>, ContextError> {
        if let Some(own) = own
            && let Some(conviction) = conviction::find(own, log)?
        {
            return Ok(Some(conviction));
        }
        let folders = self.names()?.into_iter().map(|name| self.root.join(name));
        Ok(folders.filter_map(|folder| conviction::find(&folder, log).ok().flatten()).next())
    }

    /// Refuses a log that there is evidence against; for one that is named by its key alone.
    pub fn admit(&self, log: &VerifierKey) -> Result<(), ContextError> {
        match self.conviction(log, None)? {
            Some(conviction) => Err(ContextError::refused(log, conviction)),
            None => Ok(()),
        }
    }

    /// The names of all logs, sorted.
    pub fn names(&self) -> Result<Vec<String>, ContextError> {
        let failed = |error| FileError::new("list", &self.root)(error);
        let folders = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folders => folders.map_err(failed)?,
        };
        let mut names = Vec::new();
        for folder in folders {
            let folder = folder.map_err(failed)?;
            let name = folder.file_name().to_string_lossy().into_owned();
            if folder.path().join("log.toml").is_file() && self.folder(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Context {
    /// Writes address and keys, over those of the same log. Another log is not written over.
    pub fn save(&self) -> Result<(), ContextError> {
        let table = LogTable {
            url: self.log.url.clone(),
            key: self.log.key.to_string(),
            clock: self.log.clock.as_ref().map(ToString::to_string),
            authorities: self.authorities.clone(),
            token_file: self.token_file.clone(),
            gossip: self.gossip.clone(),
            policy: self.log.policy.as_ref().map(|policy| policy.text().to_owned()),
        };
        let path = self.folder.join("log.toml");
        let malformed = |error: toml::ser::Error| ContextError::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        };
        let text = toml::to_string(&table).map_err(malformed)?;
        file::create_folder(&self.folder)?;
        Ok(file::replace_durably(&path, text.as_bytes(), Access::Public)?)
    }
}

/// Why a known log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A name that is no folder's.
    #[error(
        "a log's name has 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores, no dot first"
    )]
    Name,
    /// There is none of that name.
    #[error("no log is known as {name}; `counterfoil log add` adds one")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Its file cannot be understood.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It signed two histories.
    #[error(
        "{origin} signed two histories and is refused for good: {} proves it (`counterfoil verify-evidence` checks it)",
        evidence.display()
    )]
    Refused {
        /// The log's origin.
        origin: String,
        /// The file that proves it.
        evidence: PathBuf,
    },
    /// What is kept as evidence cannot be read.
    #[error(transparent)]
    Evidence(#[from] ConvictionError),
    /// Its files cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ContextError {
    fn refused(log: &VerifierKey, conviction: Conviction) -> Self {
        Self::Refused { origin: log.name().to_string(), evidence: conviction.path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "log.example/2026+0c885af3+AQr048tlAjWpcoFFyMAyO9/OFnmwRcahJeKL1dk+WmAl";
    const CLOCK: &str = "log.example/2026/clock+a61ce977+BNWo1EEsH3U0wejGNhunkh6G+ppHPevf+aEIVzg+B4T8";

    #[test]
    fn what_is_saved_is_opened() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts::under(home.path());
        assert!(contexts.names().unwrap().is_empty());
        assert!(matches!(contexts.open("main"), Err(ContextError::Unknown { .. })));
        let key: VerifierKey = KEY.parse().unwrap();
        let policy = format!("log {KEY}\nwitness clock {CLOCK}\nquorum none\n");
        for (name, clock, policy) in [("main", Some(CLOCK), Some(policy.as_str())), ("b-2.x", None, None)] {
            let log = KnownLog {
                key: key.clone(),
                clock: clock.map(|clock| clock.parse().unwrap()),
                url: "http://127.0.0.1:1/a".to_owned(),
                policy: policy.map(|policy| policy.parse().unwrap()),
            };
            let folder = contexts.folder(name).unwrap();
            let gossip = vec!["http://127.0.0.1:2".to_owned()];
            let token_file = clock.map(|_| PathBuf::from("/run/token"));
            let saved = Context { name: name.to_owned(), folder, log, authorities: None, token_file, gossip };
            saved.save().unwrap();
            let opened = contexts.open(name).unwrap();
            assert_eq!((opened.log, opened.gossip), (saved.log, saved.gossip));
            assert_eq!(opened.token_file, saved.token_file);
        }
        assert_eq!(contexts.names().unwrap(), ["b-2.x", "main"]);
        for name in ["", ".", "..", "a/b", "a b", ".hidden"] {
            assert!(matches!(contexts.open(name), Err(ContextError::Name)), "{name}");
        }
    }

    /// A policy for other logs is no policy for this one, whoever wrote it into the file.
    #[test]
    fn a_policy_is_for_its_own_log() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts::under(home.path());
        let folder = contexts.folder("main").unwrap();
        file::create_folder(&folder).unwrap();
        let other = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        for (policy, good) in [
            (format!("log {KEY}\\nquorum none\\n"), true),
            (format!("log {other}\\nquorum none\\n"), false),
            ("rubbish".to_owned(), false),
        ] {
            let table = format!("url = \"http://127.0.0.1:1\"\nkey = \"{KEY}\"\npolicy = \"{policy}\"\n");
            fs::write(folder.join("log.toml"), table).unwrap();
            let opened = contexts.open("main");
            assert_eq!(opened.is_ok(), good, "{opened:?}");
            assert!(good || matches!(opened, Err(ContextError::Malformed { .. })));
        }
    }
}

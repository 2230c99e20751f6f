//! A witness's configuration: one TOML file. Every key is documented on its field; unknown keys are refused.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use counterfoil_merkle::key::{KeyError, VerifierKey};
use serde::{Deserialize, Serialize};

use super::{
    http::BODY_BYTES_MAX,
    list::{self, LIST_BYTES_MAX, ListError},
    roster::{Roster, RosterError, WatchedLog},
};
use crate::{
    file::{self, FileError},
    serve,
};

/// The longest configuration that is read.
const CONFIG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Port that nobody else is known to use.
pub const DEFAULT_PORT: u16 = 8431;

/// Cosignatures that a log may ask for in a day, unless somebody says otherwise: two a second.
pub const DEFAULT_PER_DAY: u32 = 2 * 24 * 60 * 60;

/// All that a witness is told. Paths are relative to the file's own directory.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The private key: a file that only its owner can read.
    pub key_file: PathBuf,
    /// The state directory, which `counterfoil witness init` made. Never restore an older copy of it.
    pub state: PathBuf,
    /// Address and port to listen on. Default: 127.0.0.1:8431.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Files with logs, in the format of the public witness network. Read again on SIGHUP, as this file's own logs are:
    /// what is new is watched from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<PathBuf>,
    /// URL of a monitor, to which refused notes are handed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// PEM file of the certificates to trust for the monitor, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_ca: Option<PathBuf>,
    /// What a peer may take.
    #[serde(default)]
    pub limits: Limits,
    /// The logs.
    #[serde(default, rename = "log", skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogConfig>,
}

/// A log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// The log's public keys, any of which may sign. More than one while a log changes its key.
    pub vkeys: Vec<String>,
    /// What the log is called, if not as its first key is. A fork of a log whose key has another name can be refused, but
    /// not proven: evidence knows a log by its key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Cosignatures that the log may ask for in a day. Default: 172800.
    #[serde(default = "default_per_day")]
    pub qpd: u32,
}

/// What a peer may take.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections; more wait until one closes. Default: 512.
    pub connections_max: usize,
    /// Seconds in which a request's head must have come, the first byte and idle keep-alive included. Default: 15.
    pub head_timeout_s: u64,
    /// Seconds in which a request's body must have come. Default: 15.
    pub body_timeout_s: u64,
    /// Seconds that a stopping witness waits for requests in flight. Default: 10.
    pub drain_timeout_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 512, head_timeout_s: 15, body_timeout_s: 15, drain_timeout_s: 10 }
    }
}

impl From<Limits> for serve::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            head_timeout: Duration::from_secs(limits.head_timeout_s),
            body_timeout: Duration::from_secs(limits.body_timeout_s),
            body_bytes_max: BODY_BYTES_MAX,
            drain_timeout: Duration::from_secs(limits.drain_timeout_s),
            ..Self::default()
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT)
}

const fn default_per_day() -> u32 {
    DEFAULT_PER_DAY
}

impl Config {
    /// A configuration with defaults for all that is optional.
    pub fn new(key_file: PathBuf, state: PathBuf) -> Self {
        Self {
            key_file,
            state,
            listen: default_listen(),
            lists: Vec::new(),
            monitor: None,
            monitor_ca: None,
            limits: Limits::default(),
            logs: Vec::new(),
        }
    }

    /// Reads a configuration file; paths in it are taken relative to its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = file::read_toml(path, CONFIG_BYTES_MAX)?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        let paths = [&mut config.key_file, &mut config.state].into_iter();
        for path in paths.chain(&mut config.lists).chain(&mut config.monitor_ca) {
            *path = base.join(&*path);
        }
        if config.limits.connections_max == 0 {
            return Err(ConfigError::Connections);
        }
        Ok(config)
    }

    /// The logs that it names, and those of its lists.
    ///
    /// A log may be in several lists, and is then described by the first; all else that shares an origin or a key is
    /// refused.
    pub fn roster(&self) -> Result<Roster, ConfigError> {
        let mut roster = Roster::default();
        for log in &self.logs {
            roster.add(log.parse()?)?;
        }
        for path in &self.lists {
            let text = file::read_text(path, LIST_BYTES_MAX)?;
            let logs =
                list::parse(&text).map_err(|source| ConfigError::List { path: path.clone(), source })?;
            for log in logs {
                roster.merge(log).map_err(|source| ConfigError::InList { path: path.clone(), source })?;
            }
        }
        Ok(roster)
    }

    /// The effective values as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain TOML")
    }
}

impl LogConfig {
    /// The log with this one key.
    pub fn new(key: &VerifierKey) -> Self {
        Self { vkeys: vec![key.to_string()], origin: None, qpd: DEFAULT_PER_DAY }
    }

    fn parse(&self) -> Result<WatchedLog, ConfigError> {
        let parse =
            |text: &String| text.parse().map_err(|source| ConfigError::Key { text: text.clone(), source });
        let keys: Vec<VerifierKey> = self.vkeys.iter().map(parse).collect::<Result<_, _>>()?;
        let named = keys.first().map_or("", |key| key.name().as_str()).to_owned();
        Ok(WatchedLog::new(self.origin.as_ref().unwrap_or(&named), keys, self.qpd)?)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, or the configuration is not TOML of its form.
    #[error(transparent)]
    File(#[from] FileError),
    /// No connection at all.
    #[error("limits.connections_max: must not be 0")]
    Connections,
    /// A key of a log is none.
    #[error("log: vkeys: {text:?}: {source}")]
    Key {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The logs cannot be watched together.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// A list is malformed.
    #[error("{}: {source}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// How.
        source: ListError,
    },
    /// A log of a list cannot be watched beside the others.
    #[error("{}: {source}", path.display())]
    InList {
        /// Which list.
        path: PathBuf,
        /// Why.
        source: RosterError,
    },
}

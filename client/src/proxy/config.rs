//! The configuration: one TOML file. Every key is documented on its field; unknown keys are refused.

mod tables;

pub use tables::{
    AccountableTable, Keep, Limits, LogTable, Mode, Push, ReceiptTable, Retry, UpstreamClaim, UpstreamTable,
};

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use hyper::http::uri::{Authority, Scheme, Uri};
use serde::Deserialize;

use super::routes::Route;
use crate::file::{self, FileError};

const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// Port that nobody else is known to use.
pub const DEFAULT_PORT: u16 = 8431;

/// Most attempts that one exchange may take: a receipt can list 32.
const ATTEMPTS_MAX: usize = 16;

/// The largest limit of content: its opening has to fit a record of the spool.
const CONTENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// All that a proxy is told. Paths are relative to the file's own directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on. Default: 127.0.0.1:8431.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Address and port of `/metrics` and `/healthz`. Default: none.
    pub admin: Option<SocketAddr>,
    /// The issuer's private key: a PKCS#8 PEM file that only its owner can read.
    pub key: PathBuf,
    /// The spool's directory, made if it is not there.
    pub spool: PathBuf,
    /// `fail-open` (default): answers go out whatever becomes of their receipts. `strict`: no answer without a receipt that
    /// lasts.
    #[serde(default)]
    pub mode: Mode,
    /// The log that receipts go to; by default the only one that `counterfoil log add` remembers.
    #[serde(default)]
    pub log: LogTable,
    /// The services behind the proxy.
    pub upstream: Vec<UpstreamTable>,
    /// What receipts say, and what goes out with an answer.
    #[serde(default)]
    pub receipt: ReceiptTable,
    /// What is kept, and for how long.
    #[serde(default)]
    pub keep: Keep,
    /// Where openings and claim keys are handed to.
    pub push: Option<Push>,
    /// When another attempt is made.
    #[serde(default)]
    pub retry: Retry,
    /// What is refused for being too large, too slow or too many.
    #[serde(default)]
    pub limits: Limits,
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT)
}

/// The address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// What stands before every path; no slash at its end.
    pub path: String,
}

impl Base {
    /// Reads the URL of an upstream.
    pub fn parse(url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
        let path = parts.path_and_query?;
        if path.query().is_some() {
            return None;
        }
        Some(Self { scheme, authority, path: path.path().trim_end_matches('/').to_owned() })
    }
}

impl Config {
    /// Reads a configuration file; paths in it are taken relative to its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = file::read_toml(path, CONFIG_BYTES_MAX)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let upstreams = config.upstream.iter_mut().filter_map(|upstream| upstream.ca.as_mut());
        let others = [&mut config.log.ca, &mut config.keep.bodies].into_iter().flatten();
        let push = config.push.as_mut().and_then(|push| push.folder.as_mut());
        for path in
            [&mut config.key, &mut config.spool].into_iter().chain(upstreams).chain(others).chain(push)
        {
            *path = base.join(&*path);
        }
        config.check()?;
        Ok(config)
    }

    /// The configuration for one upstream, all else as it is by default.
    pub fn of_one(url: &str, key: PathBuf, spool: PathBuf) -> Result<Self, ConfigError> {
        let config = Self {
            listen: default_listen(),
            admin: None,
            key,
            spool,
            mode: Mode::default(),
            log: LogTable::default(),
            upstream: vec![UpstreamTable::of_one(url)],
            receipt: ReceiptTable::default(),
            keep: Keep::default(),
            push: None,
            retry: Retry::default(),
            limits: Limits::default(),
        };
        config.check()?;
        Ok(config)
    }

    /// Says what cannot work, before anything is done.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError::Value { what });
        if self.upstream.is_empty() {
            return wrong("there is no [[upstream]]".to_owned());
        }
        for (n, upstream) in self.upstream.iter().enumerate() {
            let UpstreamTable { name, url, prefix, fallback, .. } = upstream;
            if self.upstream.iter().take(n).any(|other| other.name == *name) {
                return wrong(format!("two upstreams are named {name:?}"));
            }
            if Base::parse(url).is_none() {
                return wrong(format!("upstream {name:?}: {url:?} is no http or https URL without query"));
            }
            if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/')) {
                return wrong(format!("upstream {name:?}: prefix {prefix:?} must be like \"/openai\""));
            }
            let unknown = |other: &&String| self.upstream.iter().all(|upstream| upstream.name != **other);
            if let Some(unknown) = fallback.iter().find(unknown) {
                return wrong(format!("upstream {name:?} falls back to {unknown:?}, which is none"));
            }
            let attempts = (1 + fallback.len()).saturating_mul(1 + self.retry.attempts);
            if attempts > ATTEMPTS_MAX {
                return wrong(format!(
                    "upstream {name:?}: {attempts} attempts, at most {ATTEMPTS_MAX} are made"
                ));
            }
        }
        if self.receipt.content_bytes_max > CONTENT_BYTES_MAX {
            return wrong(format!("receipt.content_bytes_max is above {CONTENT_BYTES_MAX}"));
        }
        match &self.push {
            Some(push) if push.folder.is_none() && push.command.is_empty() => {
                wrong("[push] names neither folder nor command".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The routes of the upstreams.
    pub fn routes(&self) -> Vec<Route> {
        let route = |upstream: &UpstreamTable| Route {
            prefix: upstream.prefix.clone(),
            models: upstream.models.clone(),
        };
        self.upstream.iter().map(route).collect()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, or the configuration is not TOML of its form.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something in it cannot work.
    #[error("configuration: {what}")]
    Value {
        /// What.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str =
        "key = \"k.pem\"\nspool = \"spool\"\n[[upstream]]\nname = \"a\"\nurl = \"http://a\"\n";

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.toml");
        std::fs::write(&path, text).unwrap();
        let mut config = Config::read(&path)?;
        let strip = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_owned();
        (config.key, config.spool) = (strip(&config.key), strip(&config.spool));
        Ok(config)
    }

    #[test]
    fn little_is_enough() {
        let config = read(LEAST).unwrap();
        assert_eq!((config.key, config.spool), ("k.pem".into(), "spool".into()));
        assert_eq!((config.mode, config.listen.port()), (Mode::FailOpen, DEFAULT_PORT));
        assert_eq!(config.retry.attempts, 0);
    }

    #[test]
    fn what_cannot_work_is_named() {
        let second = "[[upstream]]\nname = \"b\"\nurl = \"http://b\"\n";
        for (text, message) in [
            ("key = \"k\"\nspool = \"s\"\nupstream = []\n".to_owned(), "there is no [[upstream]]"),
            (format!("{LEAST}{}", second.replace("\"b\"", "\"a\"")), "two upstreams are named \"a\""),
            (LEAST.replace("http://a", "ftp://a"), "\"ftp://a\" is no http or https URL"),
            (LEAST.replace("http://a", "http://user@a"), "is no http or https URL"),
            (format!("{LEAST}prefix = \"openai\"\n"), "must be like \"/openai\""),
            (format!("{LEAST}fallback = [\"c\"]\n{second}"), "falls back to \"c\", which is none"),
            (format!("{LEAST}[retry]\nattempts = 99\n"), "100 attempts"),
            (format!("{LEAST}[push]\n"), "neither folder nor command"),
            (format!("{LEAST}[limits]\nx = 1\n"), "unknown field `x`"),
        ] {
            let error = format!("{:#}", anyhow::Error::from(read(&text).expect_err(message)));
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn upstreams_have_bases() {
        let base = Base::parse("https://up.example:8443/api/").unwrap();
        assert_eq!((base.authority.as_str(), base.path.as_str()), ("up.example:8443", "/api"));
        assert_eq!(Base::parse("http://[::1]:1").unwrap().path, "");
        assert_eq!(Base::parse("https://up.example/?key=1"), None);
    }
}

//! Which log a command is about.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use counterfoil_merkle::key::VerifierKey;
use reqwest::header::HeaderValue;

use super::memory::MemoryArgs;
use crate::{
    context::{Context, Contexts},
    file,
    gossip::Gossip,
    log::{KnownLog, Log},
    pin::Pin,
    source::{Connection, Source, bearer},
};

const CERTIFICATES_BYTES_MAX: usize = 4 * 1024 * 1024;
const TOKEN_BYTES_MAX: usize = 4096;

/// The log: one that you know by name, or its address and key.
#[derive(Args, Clone, Debug, Default)]
pub struct LogArgs {
    /// A log that `log add` remembered; the only one by default.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "log_key", "clock"])]
    pub log: Option<String>,

    /// Address of the log, or the path of a directory that holds its files.
    #[arg(long, value_name = "URL", requires = "log_key")]
    pub url: Option<String>,

    /// Key of the log.
    #[arg(long, value_name = "VKEY", requires = "url")]
    pub log_key: Option<VerifierKey>,

    /// Key of the log's clock.
    #[arg(long, value_name = "VKEY", requires = "log_key")]
    pub clock: Option<VerifierKey>,

    /// PEM file of the certificates to trust, in place of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// File of the token to show the log, which only its owner can read.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A log, ready to be asked.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// The newest checkpoint seen of it.
    pub pin: Pin,
    /// Monitors that hear of its checkpoints.
    pub gossip: Vec<Gossip>,
}

impl LogArgs {
    /// Opens the log, unless there is evidence against it. Reads are tried again up to `retries` times.
    pub fn open(&self, memory: &MemoryArgs, retries: u32) -> anyhow::Result<Opened> {
        match &self.log_key {
            Some(key) => {
                // Without a home there is no evidence either.
                if let Ok(contexts) = contexts() {
                    contexts.admit(key)?;
                }
                self.open_by_key(key, memory, retries)
            }
            None => self.open_known(contexts()?.open(&self.name()?)?, memory, retries),
        }
    }

    /// Opens the log whatever it is accused of: to watch it.
    pub fn open_anyway(&self, retries: u32) -> anyhow::Result<Opened> {
        let memory = MemoryArgs::default();
        match &self.log_key {
            Some(key) => self.open_by_key(key, &memory, retries),
            None => self.open_known(self.context_anyway()?, &memory, retries),
        }
    }

    fn open_by_key(&self, key: &VerifierKey, memory: &MemoryArgs, retries: u32) -> anyhow::Result<Opened> {
        let url = self.url.clone().context("say --url with --log-key")?;
        let known = KnownLog { key: key.clone(), clock: self.clock.clone(), url, policy: None };
        let log = connect(&known, self.ca.as_deref(), self.token_file.as_deref(), retries)?;
        Ok(Opened { log, pin: Pin::for_one_run(known), gossip: memory.monitors(&[])? })
    }

    fn open_known(&self, context: Context, memory: &MemoryArgs, retries: u32) -> anyhow::Result<Opened> {
        let Context { log: known, folder, authorities, token_file, gossip, .. } = context;
        let authorities = self.ca.as_deref().or(authorities.as_deref());
        let log =
            connect(&known, authorities, self.token_file.as_deref().or(token_file.as_deref()), retries)?;
        let pin =
            if memory.no_remember { Pin::forgetful(&folder, known) } else { Pin::open(&folder, known)? };
        Ok(Opened { log, pin, gossip: memory.monitors(&gossip)? })
    }

    /// The log that is known by name, whatever it is accused of.
    pub fn context_anyway(&self) -> anyhow::Result<Context> {
        Ok(contexts()?.open_anyway(&self.name()?)?)
    }

    /// The name that was given, or that of the only log that is known.
    fn name(&self) -> anyhow::Result<String> {
        if let Some(name) = &self.log {
            return Ok(name.clone());
        }
        match contexts()?.names()?.as_slice() {
            [name] => Ok(name.clone()),
            [] => bail!("no log is known: use `counterfoil log add`, or say --url and --log-key"),
            names => bail!("which log? Say --log with one of: {}", names.join(", ")),
        }
    }
}

/// The logs that the person at this account knows.
pub(crate) fn contexts() -> anyhow::Result<Contexts> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = || set("HOME").map(|home| home.join(".config"));
    let configuration = configuration.or_else(home).context("neither XDG_CONFIG_HOME nor HOME is set")?;
    Ok(Contexts::under(&configuration))
}

/// Opens a log at its address, which is shown the token of a file, if one is named.
pub(crate) fn connect(
    known: &KnownLog,
    authorities: Option<&Path>,
    token_file: Option<&Path>,
    retries: u32,
) -> anyhow::Result<Log> {
    let authorities = authorities.map(|path| file::read(path, CERTIFICATES_BYTES_MAX)).transpose()?;
    let token = token_file.map(read_token).transpose()?;
    let connection = Connection { authorities, token, retries, ..Connection::default() };
    Ok(Log::new(known.clone(), Source::open(&known.url, &connection)?))
}

fn read_token(path: &Path) -> anyhow::Result<HeaderValue> {
    let text = file::read_secret(path, TOKEN_BYTES_MAX)?;
    bearer(text.trim()).with_context(|| format!("{} has no token in it", path.display()))
}

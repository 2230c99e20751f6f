//! `counterfoil witness`.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use counterfoil_merkle::key::{NoteSigner, VerifierKey};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{Exit, Terminal, killed::killed};
use crate::{
    file::{self, Access},
    gossip::Gossip,
    serve::serve,
    witness::{
        config::{Config, LogConfig},
        handover, http,
        metrics::Metrics,
        service::{self, Witness, WitnessError},
        slot::Tools,
        state::{StateDir, StateError},
    },
};

/// The longest key file.
const KEY_BYTES_MAX: usize = 4096;

/// The longest file of certificates.
const CA_BYTES_MAX: usize = 1024 * 1024;

/// Witness logs: cosign their checkpoints, so that nobody can be shown another history.
#[derive(Debug, Subcommand)]
pub(super) enum WitnessCommand {
    /// Make a witness: its key, its state and its configuration.
    Init(Init),
    /// Cosign what logs submit, as C2SP tlog-witness says.
    Serve(Serve),
}

impl WitnessCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Init(command) => command.run(terminal),
            Self::Serve(command) => command.run(terminal).await,
        }
    }
}

/// Make a witness: its key, its state and its configuration.
#[derive(Args, Debug)]
pub(super) struct Init {
    /// What the witness is called, for ever; best a domain of its operator's and a path.
    #[arg(long)]
    name: String,

    /// Directory for it, made if it is not there: `witness.key`, `witness.toml`, `state`.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// A log to watch. Can be given again; more can be written into `witness.toml`.
    #[arg(long, value_name = "VKEY")]
    log: Vec<VerifierKey>,

    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// URL of a monitor, to which refused notes are handed.
    #[arg(long, value_name = "URL")]
    monitor: Option<String>,
}

impl Init {
    fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        let signer = service::new_signer(&self.name, &seed)?;
        let mut config = Config::new("witness.key".into(), "state".into());
        config.listen = self.listen.unwrap_or(config.listen);
        config.monitor = self.monitor;
        config.logs = self.log.iter().map(LogConfig::new).collect();
        config.roster()?;
        let (key, state) = (self.out.join(&config.key_file), self.out.join(&config.state));
        let path = self.out.join("witness.toml");
        for there in [&key, &state, &path] {
            ensure!(!there.try_exists()?, "{} is there already; nothing was changed", there.display());
        }
        file::create_folder(self.out.parent().unwrap_or(&self.out))?;
        file::create_folder_durably(&self.out)?;
        StateDir::create(&state, signer.public())?;
        let text = Zeroizing::new(format!("{}\n", *signer.to_text()));
        file::create(&key, text.as_bytes(), Access::Secret)?;
        file::create(&path, config.to_toml().as_bytes(), Access::Public)?;
        terminal.note(format_args!("private key: {} (readable by you alone)", key.display()));
        terminal.note(format_args!("configuration: {}", path.display()));
        terminal.line(signer.public());
        terminal.value(&json!({ "vkey": signer.public().to_string(), "key": key, "config": path }));
        Ok(Exit::YES)
    }
}

/// Cosign what logs submit, as C2SP tlog-witness says.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// The configuration: logs, lists, limits.
    #[arg(long, value_name = "FILE", required_unless_present = "state")]
    config: Option<PathBuf>,

    /// In place of a configuration: the state directory that `init` made.
    #[arg(long, value_name = "DIR", conflicts_with = "config", requires = "key")]
    state: Option<PathBuf>,

    /// In place of a configuration: the private key.
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "state")]
    key: Option<PathBuf>,

    /// In place of a configuration: a log to watch. Can be given again.
    #[arg(long, value_name = "VKEY", conflicts_with = "config")]
    log: Vec<VerifierKey>,

    /// In place of a configuration: a list of logs, as the public witness network publishes them. Can be given again.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    list: Vec<PathBuf>,

    /// In place of a configuration: URL of a monitor, to which refused notes are handed.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    monitor: Option<String>,

    /// Address and port to listen on, whatever the configuration says.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Check configuration and key, and the state unless a witness is running on it; print what is in effect, and end.
    #[arg(long)]
    check: bool,
}

impl Serve {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let colour = io::stderr().is_terminal();
        tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colour).with_target(false).init();
        let config = self.effective()?;
        let monitor = config.monitor.as_deref().map(|url| monitor(url, config.monitor_ca.as_deref()));
        let monitor = monitor.transpose()?;
        let witness = Witness::open(&config.state, tools(&config.key_file)?, &config.roster()?);
        if self.check {
            match witness {
                Err(WitnessError::State(error @ StateError::Locked { .. })) => {
                    terminal.note(format_args!("{error}; the state was not checked"));
                }
                witness => drop(witness?),
            }
            terminal.raw(format_args!("{}", config.to_toml()));
            return Ok(Exit::YES);
        }
        let witness = witness?;
        let bound = TcpListener::bind(config.listen).await;
        let listener = bound.with_context(|| format!("cannot listen on {}", config.listen))?;
        let (stop, reload) = (killed()?, signal(SignalKind::hangup())?);
        let (address, vkey) = (listener.local_addr()?, witness.tools().vkey().to_string());
        terminal.line(format_args!("witness {vkey}\nlistening on http://{address}"));
        terminal.value(&json!({ "vkey": vkey, "listening": format!("http://{address}") }));
        info!(logs = witness.slots().len(), %address, "listening");

        let witness = Arc::new(witness);
        let mut background = JoinSet::new();
        background.spawn(watch_more(Arc::clone(&witness), self, reload));
        if let Some(monitor) = monitor {
            background.spawn(handover::run(Arc::clone(&witness), monitor));
        }
        let app = http::App { witness, metrics: Metrics::new() };
        serve(listener, http::router(Arc::new(app)), config.limits.into(), stop).await;
        background.shutdown().await;
        Ok(Exit::YES)
    }

    /// The configuration of the file, or of the arguments in its place.
    fn effective(&self) -> anyhow::Result<Config> {
        let mut config = match (&self.config, &self.state, &self.key) {
            (Some(path), ..) => Config::read(path)?,
            (None, Some(state), Some(key)) => {
                let mut config = Config::new(key.clone(), state.clone());
                config.lists.clone_from(&self.list);
                config.monitor.clone_from(&self.monitor);
                config.logs = self.log.iter().map(LogConfig::new).collect();
                config
            }
            _ => anyhow::bail!("give --config, or --state and --key"),
        };
        config.listen = self.listen.unwrap_or(config.listen);
        Ok(config)
    }
}

fn tools(key: &Path) -> anyhow::Result<Tools> {
    let text = file::read_secret(key, KEY_BYTES_MAX)?;
    let parsed = text.trim_end_matches('\n').parse();
    let signer: NoteSigner = parsed.with_context(|| format!("{} is not a key", key.display()))?;
    let started = Instant::now();
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let tools = Tools::new(signer, Box::new(wall), Box::new(move || started.elapsed()));
    tools.with_context(|| key.display().to_string())
}

fn monitor(url: &str, authorities: Option<&Path>) -> anyhow::Result<Gossip> {
    let authorities = authorities.map(|path| file::read(path, CA_BYTES_MAX)).transpose()?;
    Ok(Gossip::new(url, authorities)?)
}

/// Reads configuration and lists again on SIGHUP, and watches what is new in them. Never ends.
async fn watch_more(witness: Arc<Witness>, serve: Serve, mut reload: Signal) {
    let serve = Arc::new(serve);
    while reload.recv().await.is_some() {
        let (witness, serve) = (Arc::clone(&witness), Arc::clone(&serve));
        // Many logs are many files.
        let watch = move || anyhow::Ok(witness.watch(&serve.effective()?.roster()?)?);
        let watched = tokio::task::spawn_blocking(watch).await.map_err(anyhow::Error::from);
        match watched.flatten() {
            Ok(added) => info!(added, "the configuration was read again"),
            Err(error) => warn!("the configuration was not taken, all stays as it was: {error:#}"),
        }
    }
}

//! `counterfoil proxy`.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::bail;
use clap::Args;
use counterfoil_receipt::statement::Origin;
use serde_json::json;
use tracing::{info, warn};

use super::{Exit, LogArgs, MemoryArgs, Terminal, killed::killed};
use crate::{
    descriptors,
    proxy::{
        config::{Config, LogTable, Mode},
        run,
    },
    submit::Submitter,
};

/// Files that are open besides connections: spool, bodies, what is read.
const FILES: u64 = 256;

/// Pass everything through to the service that answers a model's callers, and log a receipt for every exchange.
#[derive(Args, Debug)]
pub(super) struct Proxy {
    /// Configuration file.
    #[arg(long, value_name = "FILE", required_unless_present = "upstream")]
    config: Option<PathBuf>,

    /// In place of a configuration: URL of the service.
    #[arg(long, value_name = "URL", conflicts_with = "config", requires_all = ["key", "spool"])]
    upstream: Option<String>,

    /// In place of a configuration: your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    key: Option<PathBuf>,

    /// In place of a configuration: directory for what is not in the log yet, made if it is not there.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    spool: Option<PathBuf>,

    /// In place of a configuration: no answer without a receipt that lasts.
    #[arg(long, conflicts_with = "config")]
    strict: bool,

    /// Address and port to listen on, whatever the configuration says.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Address and port of `/metrics` and `/healthz`, whatever the configuration says.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,

    /// The log, whatever the configuration says.
    #[command(flatten)]
    log: LogArgs,

    /// Check the configuration and end.
    #[arg(long)]
    check: bool,
}

impl Proxy {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let colour = io::stderr().is_terminal();
        tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colour).with_target(false).init();
        let config = self.effective()?;
        let opened = self.log(&config.log).open(&MemoryArgs::default(), 0)?;
        let Some(api) = opened.log.source().api().cloned() else {
            bail!("{} is a directory; receipts go to a server", opened.log.source());
        };
        let trust = opened.log.known().trust()?;
        let origin: Origin = opened.log.known().key.name().as_str().parse()?;
        if self.check {
            terminal.line("the configuration can be used");
            return Ok(Exit::YES);
        }
        let stop = killed()?;
        make_room(config.limits.connections_max);
        let running = run::start(&config, origin, Submitter::new(api, trust, 0)).await?;
        let (listening, admin) = (format!("http://{}", running.address), running.admin);
        terminal.line(format_args!("listening on {listening}"));
        if let Some(admin) = admin {
            terminal.line(format_args!("metrics on http://{admin}/metrics"));
        }
        let admin = admin.map(|admin| format!("http://{admin}"));
        terminal.value(&json!({ "listening": listening, "admin": admin }));
        info!(%listening, upstreams = config.upstream.len(), mode = ?config.mode, "listening");
        stop.await;
        running.stop().await;
        Ok(Exit::YES)
    }

    /// The configuration of the file, or of the arguments in its place.
    fn effective(&self) -> anyhow::Result<Config> {
        let mut config = match (&self.config, &self.upstream, &self.key, &self.spool) {
            (Some(path), ..) => Config::read(path)?,
            (None, Some(url), Some(key), Some(spool)) => Config::of_one(url, key.clone(), spool.clone())?,
            _ => bail!("give --config, or --upstream, --key and --spool"),
        };
        if self.strict {
            config.mode = Mode::Strict;
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.admin = self.admin.or(config.admin);
        Ok(config)
    }

    /// The log of the arguments, or else of the configuration.
    fn log(&self, table: &LogTable) -> LogArgs {
        if self.log.log.is_some() || self.log.log_key.is_some() {
            return self.log.clone();
        }
        let LogTable { name, url, key, clock, ca } = table.clone();
        let token_file = self.log.token_file.clone();
        LogArgs { log: name, url, log_key: key, clock, ca: self.log.ca.clone().or(ca), token_file }
    }
}

/// Sees to it that so many connections from callers can be open, each with one to an upstream.
fn make_room(connections: usize) {
    let wanted = (connections as u64).saturating_mul(2).saturating_add(FILES);
    match descriptors::raise(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => {
            warn!(allowed, wanted, "the system lets too few connections be open: raise its limit (ulimit -n)")
        }
        Err(error) => warn!(%error, wanted, "the limit of open connections cannot be raised"),
    }
}

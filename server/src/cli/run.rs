//! `counterfoil-server run`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::keep_to;
use crate::{
    clock::wall_now,
    config::{AdmissionMode, Config},
    http::surface::Surface,
    init::{CONFIG_FILE, MadeLog, NewLog, init},
    run::{Bound, run},
};

/// The directory of `run --dev`, if none is named.
const DEV_DIRECTORY: &str = "counterfoil-dev";

#[derive(Args)]
pub(super) struct Run {
    /// The configuration file.
    #[arg(long, required_unless_present = "dev", conflicts_with = "dev")]
    config: Option<PathBuf>,
    /// Run a log for trying things out, made in this directory if it is not there: admits any valid signature, keeps
    /// its guard beside its data, listens on 127.0.0.1.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = DEV_DIRECTORY)]
    dev: Option<PathBuf>,
    /// Listen here instead of where the configuration says.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Print the effective configuration and stop.
    #[arg(long)]
    check: bool,
    /// The system's clock is right although it is far ahead of the log's last time.
    #[arg(long)]
    confirm_clock: bool,
    /// Keep to these processors, numbered from 0.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
}

pub(super) fn run_log(arguments: &Run) -> anyhow::Result<()> {
    let (path, made) = match (&arguments.config, &arguments.dev) {
        (Some(path), _) => (path.clone(), None),
        (None, dev) => dev_log(dev.as_deref().unwrap_or_else(|| Path::new(DEV_DIRECTORY)))?,
    };
    let mut config = Config::read(&path)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if arguments.check {
        Surface::read(&config)?;
        println!("{}", config.to_toml());
        return Ok(());
    }
    keep_to(&arguments.cpus)?;
    let dev = arguments.dev.is_some();
    run(&config, arguments.confirm_clock, |Bound { public: address, admin }| {
        if let Some(made) = made {
            println!("made a log in {}", made.config.parent().unwrap_or_else(|| Path::new(".")).display());
        }
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        if let Some(admin) = admin {
            println!("for operators on http://{admin}");
        }
        println!("listening on {scheme}://{address}");
        if dev {
            print_next(&config, address);
        }
    })?;
    Ok(())
}

/// The log of `--dev`, made on first use.
fn dev_log(directory: &Path) -> anyhow::Result<(PathBuf, Option<MadeLog>)> {
    let config = directory.join(CONFIG_FILE);
    if config.exists() {
        return Ok((config, None));
    }
    let mut tag = [0; 4];
    getrandom::fill(&mut tag).map_err(std::io::Error::other)?;
    let new = NewLog {
        origin: format!("dev.invalid/{:08x}", u32::from_be_bytes(tag)),
        directory: directory.to_owned(),
        guard: directory.join("guard"),
        mode: AdmissionMode::Open,
        registrars: Vec::new(),
        pkcs11: None,
        listen: None,
        store: None,
    };
    let made = init(&new, wall_now()?).context("making the log of --dev")?;
    Ok((config, Some(made)))
}

fn print_next(config: &Config, address: SocketAddr) {
    println!("\nTry next, in another terminal:");
    println!("  counterfoil log add dev http://{address} {} --clock {}", config.log_key, config.clock_key);
    println!("  counterfoil keygen -o issuer.pem");
    println!(
        "  counterfoil receipt new --key issuer.pem --log dev --exchange tests/data/exchanges.jsonl --out receipts"
    );
    println!("  counterfoil append receipts/*.envelope.json --log dev");
}

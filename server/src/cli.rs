//! The command line of the server.

#![expect(clippy::print_stdout, reason = "what a person asked for goes to standard output")]

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use counterfoil_merkle::TreeSize;
use counterfoil_receipt::PublicKey;
use tracing_subscriber::EnvFilter;

use crate::{
    adopt, ceiling,
    clock::wall_now,
    config::{AdmissionMode, Config},
    cpus,
    fsck::fsck,
    index::runs::Runs,
    init::{CONFIG_FILE, MadeLog, NewLog, init},
    log::Log,
    objects::Objects,
    recover::load,
    run::run,
};

/// The directory of `run --dev`, if none is named.
const DEV_DIRECTORY: &str = "counterfoil-dev";

/// A transparency log for AI inference receipts.
#[derive(Parser)]
#[command(name = "counterfoil-server", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to write to standard error: error, warn, info, debug.
    #[arg(long, global = true, default_value = "info")]
    log_level: String,
    /// Write log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a log: keys, configuration, policy, data directory, guard, and the rules as entry 0.
    Init(Init),
    /// Run a log.
    Run(Run),
    /// Check a whole log that is not running: every entry, statement, tile and commit, the guard, the checkpoint.
    Fsck(Fsck),
    /// Make the index of a log that is not running again from its entries.
    Reindex(WithConfig),
    /// Take over a data directory whose guard is lost, after showing what would be trusted.
    Adopt(Adopt),
    /// Serve bare handlers that parse envelopes, check signatures and answer fixed bytes: the most that a log could do
    /// here. Put `counterfoil load` on it, and compare.
    BenchCeiling(BenchCeiling),
}

#[derive(Args)]
struct Init {
    /// The log's name for ever, such as log.example/2026.
    #[arg(long)]
    origin: String,
    /// A new directory for configuration, keys and data.
    #[arg(long)]
    dir: PathBuf,
    /// A new file, best on another disk, that remembers how far the log went.
    #[arg(long)]
    guard: PathBuf,
    /// Admit any valid signature instead of registered keys.
    #[arg(long)]
    open: bool,
    /// Public key of a registrar, whose key records let others in; may be given more than once. Without any, a registrar's key
    /// is made.
    #[arg(long, value_name = "KEY")]
    registrar: Vec<PublicKey>,
    /// Address and port to listen on.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct WithConfig {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Args)]
struct Fsck {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Judge every record again, from entry 0 on: whether it was let in rightly.
    #[arg(long)]
    admission: bool,
}

#[derive(Args)]
struct Run {
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

#[derive(Args)]
struct BenchCeiling {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Answer as a log with so many entries would.
    #[arg(long, value_name = "ENTRIES", default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// Keep to these processors, numbered from 0.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
}

#[derive(Args)]
struct Adopt {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Really do it.
    #[arg(long)]
    yes: bool,
    /// Set this commit aside, of which the log told nobody.
    #[arg(long, value_name = "NUMBER")]
    set_aside: Option<u64>,
}

/// The server's whole program. Exit code 0: done; 1: the log is not in order; 2: could not tell.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    let done = match cli.command {
        Command::Init(arguments) => make(&arguments),
        Command::Run(arguments) => run_log(&arguments),
        Command::Fsck(arguments) => return check(&arguments),
        Command::Reindex(arguments) => reindex(&arguments),
        Command::Adopt(arguments) => adopt_log(&arguments),
        Command::BenchCeiling(arguments) => bench_ceiling(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start_logging(cli: &Cli) {
    let filter = EnvFilter::try_new(&cli.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr);
    if cli.log_json { subscriber.json().init() } else { subscriber.with_target(false).init() }
}

fn make(arguments: &Init) -> anyhow::Result<()> {
    let mode = if arguments.open { AdmissionMode::Open } else { AdmissionMode::Registered };
    let new = NewLog {
        origin: arguments.origin.clone(),
        directory: arguments.dir.clone(),
        guard: arguments.guard.clone(),
        mode,
        registrars: arguments.registrar.clone(),
        listen: arguments.listen,
    };
    let made = init(&new, wall_now()?)?;
    println!("log key     {}", made.log_key);
    println!("clock key   {}", made.clock_key);
    println!("config      {}", made.config.display());
    if let Some(registrar) = &made.registrar {
        println!("registrar   {} (keep it elsewhere: the log does not need it)", registrar.display());
    }
    println!("policy      {}\n\n{}", made.policy.0.display(), made.policy.1);
    println!("Start it:   counterfoil-server run --config {}", made.config.display());
    Ok(())
}

fn run_log(arguments: &Run) -> anyhow::Result<()> {
    let (path, made) = match (&arguments.config, &arguments.dev) {
        (Some(path), _) => (path.clone(), None),
        (None, dev) => dev_log(dev.as_deref().unwrap_or_else(|| Path::new(DEV_DIRECTORY)))?,
    };
    let mut config = Config::read(&path)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if arguments.check {
        println!("{}", config.to_toml());
        return Ok(());
    }
    keep_to(&arguments.cpus)?;
    let dev = arguments.dev.is_some();
    run(&config, arguments.confirm_clock, |address| {
        if let Some(made) = made {
            println!("made a log in {}", made.config.parent().unwrap_or_else(|| Path::new(".")).display());
        }
        println!("listening on http://{address}");
        if dev {
            print_next(&config, address);
        }
    })?;
    Ok(())
}

/// Before any other thread is started, so that all of them inherit it.
fn keep_to(processors: &[usize]) -> anyhow::Result<()> {
    if processors.is_empty() { Ok(()) } else { cpus::keep_to(processors).context("--cpus") }
}

fn bench_ceiling(arguments: &BenchCeiling) -> anyhow::Result<()> {
    keep_to(&arguments.cpus)?;
    let size = TreeSize::new(arguments.size).context("--size")?;
    ceiling::run(arguments.listen, size, |address, key| {
        println!("log key     {key}");
        println!("listening on http://{address}");
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
        listen: None,
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

fn check(arguments: &Fsck) -> ExitCode {
    let checked = Config::read(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| Ok::<_, anyhow::Error>(fsck(&config, wall_now()?, arguments.admission)?));
    match checked {
        Ok(report) => {
            print!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn reindex(arguments: &WithConfig) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    let objects = Arc::new(Objects::open(&config.data)?);
    let loaded = load(&objects)?;
    Runs::remove(&config.index)?;
    let (runs, _) = Runs::open(&config.index)?;
    let log = Log::new(objects, Some(runs), config.limits.queue_max);
    log.tiles.hold(loaded.filled);
    futures::executor::block_on(log.fill_index(&loaded.edge))?;
    log.close_index();
    println!("{} entries indexed", loaded.edge.size());
    Ok(())
}

fn adopt_log(arguments: &Adopt) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    if let Some(number) = arguments.set_aside {
        let aside = adopt::set_aside(&config, number)?;
        println!("commit {number} is set aside as {aside}");
        return Ok(());
    }
    let plan = adopt::examine(&config, wall_now()?)?;
    println!("{plan}");
    if !arguments.yes {
        println!(
            "\nIf this is the newest the log ever was, repeat with --yes. If a newer copy exists, or anyone has"
        );
        println!("seen a larger checkpoint, do not: signing over what was published forks the log.");
        return Ok(());
    }
    adopt::adopt(&config, &plan)?;
    println!("\nthe guard {} is set", config.guard.display());
    Ok(())
}

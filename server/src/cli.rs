//! The command line of the server.

#![expect(clippy::print_stdout, reason = "what a person asked for goes to standard output")]

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use counterfoil_merkle::{Hash, LeafIndex, TreeSize, checkpoint::Origin};
use counterfoil_receipt::{PublicKey, statement::erasure::Basis};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use crate::{
    adopt,
    backup::{BackupError, Done, backup, restore},
    ceiling,
    clock::wall_now,
    config::{AdmissionMode, Config, Pkcs11Config, StoreConfig},
    cpus,
    erase::{EraseError, Ordered, Target, erase},
    fsck::fsck,
    http::surface::Surface,
    index::runs::Runs,
    init::{CONFIG_FILE, MadeLog, NewLog, init},
    log::Log,
    objects::Objects,
    publish::Identity,
    recover::load,
    repair::{Mirror, repair},
    run::{Bound, run},
    search::{Search, follow},
    secrets::keep_from_dumps,
    tokens::{self, Scope},
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
    /// Back a log up, running or not, into a directory; what was backed up there before is kept and added to. Refuses to
    /// take a backup back.
    Backup(Backup),
    /// Make an empty data directory out of a backup. Refuses if the log was published past it.
    Restore(Restore),
    /// Mend a log that is not running: what is damaged or missing is made again from what is sound, or fetched from a mirror.
    /// Only bytes that the log committed to are taken.
    Repair(Repair),
    /// Erase a statement of a log that is not running: append the order, and empty the slot wherever it lies. It cannot be
    /// undone.
    Erase(Erase),
    /// Make the indexes of a log that is not running again from its entries and statements.
    Reindex(WithConfig),
    /// Take over a data directory whose guard is lost, after showing what would be trusted.
    Adopt(Adopt),
    /// Make tokens, for those who append or read what is withheld.
    #[command(subcommand)]
    Token(TokenCommand),
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
    /// Make the keys in a PKCS#11 token instead of in files: the shared library that speaks to it.
    #[arg(long, value_name = "FILE", requires = "pkcs11_token", requires = "pkcs11_pin_file")]
    pkcs11_module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pkcs11_token: Option<String>,
    /// The file with its user's PIN, which only its owner can read.
    #[arg(long, value_name = "FILE", requires = "pkcs11_module")]
    pkcs11_pin_file: Option<PathBuf>,
    /// Keep the log in an S3-compatible store instead of a data directory: s3://bucket/prefix. Credentials come from the
    /// environment.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Address of the store's service, if it is not AWS's own.
    #[arg(long, value_name = "URL", requires = "store")]
    endpoint: Option<String>,
    /// The store's region.
    #[arg(long, default_value = "us-east-1", requires = "store")]
    region: String,
}

impl Init {
    /// The token that keys are to be made in.
    fn token(&self) -> Option<Pkcs11Config> {
        Some(Pkcs11Config {
            module: self.pkcs11_module.clone()?,
            token: self.pkcs11_token.clone()?,
            pin_file: self.pkcs11_pin_file.clone()?,
        })
    }
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
struct Backup {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The backup: a new or empty directory, or an earlier backup of this log.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Args)]
struct Restore {
    /// The configuration file, whose data directory is empty or missing.
    #[arg(long)]
    config: PathBuf,
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

#[derive(Args)]
struct Repair {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Any place that has the log's tiles: another operator's copy, the log itself elsewhere, or `/mirror/...` of a
    /// monitor that keeps it.
    #[arg(long, value_name = "URL")]
    from: String,
    /// A file with a token for it, if it gives statements to token holders only.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Args)]
struct Erase {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The order: the envelope of an erasure record, as `counterfoil erase --sign-only` makes it.
    #[arg(long, value_name = "ENVELOPE", required_unless_present = "record", conflicts_with = "record")]
    order: Option<PathBuf>,
    /// The record whose statement goes by the operator's own order: its id, the first 32 digits of it, or its index.
    #[arg(value_name = "ID|INDEX", value_parser = target, requires = "basis")]
    record: Option<Target>,
    /// Why, if nobody else ordered it.
    #[arg(long, value_name = "CODE", value_parser = basis, conflicts_with = "order")]
    basis: Option<Basis>,
    /// Really do it, though nobody but the operator orders it.
    #[arg(long)]
    yes: bool,
}

fn target(text: &str) -> Result<Target, String> {
    let wrong = || "an index, or 32 to 64 lower-case hex digits, an even number".to_owned();
    if text.len() >= 32 && text.len().is_multiple_of(2) {
        let id: Hash = format!("{text:0<64}").parse().map_err(|_| wrong())?;
        return Ok(Target::Id(id.as_bytes()[..text.len() / 2].to_vec()));
    }
    let index = text.parse().ok().and_then(|index| LeafIndex::new(index).ok());
    index.map(Target::Index).ok_or_else(wrong)
}

fn basis(text: &str) -> Result<Basis, String> {
    let codes = || Basis::ALL.iter().map(|basis| basis.as_str()).collect::<Vec<_>>().join(", ");
    Basis::from_code(text).ok_or_else(|| format!("one of {}", codes()))
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

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token. It is shown this once; the line under it goes into the file of tokens, which SIGHUP has read again.
    New(NewToken),
}

#[derive(Args)]
struct NewToken {
    /// What it is good for: append, statements, or both with a comma between.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// How long.
    #[arg(long, value_name = "DAYS", default_value = "90", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Whose it is; a part of its digest by default.
    #[arg(long)]
    name: Option<String>,
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
    if let Err(error) = keep_from_dumps() {
        eprintln!("error: this process' memory cannot be kept from being dumped: {error}");
        return ExitCode::from(2);
    }
    let cli = Cli::parse();
    start_logging(&cli);
    let done = match cli.command {
        Command::Init(arguments) => make(&arguments),
        Command::Run(arguments) => run_log(&arguments),
        Command::Fsck(arguments) => return check(&arguments),
        Command::Backup(arguments) => return back_up(&arguments),
        Command::Restore(arguments) => return restore_log(&arguments),
        Command::Repair(arguments) => return repair_log(&arguments),
        Command::Erase(arguments) => return erase_statement(&arguments),
        Command::Reindex(arguments) => reindex(&arguments),
        Command::Adopt(arguments) => adopt_log(&arguments),
        Command::Token(TokenCommand::New(arguments)) => new_token(&arguments),
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
    // What cannot be written there, say for a full disk, would else be told there, by a macro that panics.
    let subscriber = subscriber.log_internal_errors(false);
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
        pkcs11: arguments.token(),
        store: arguments.store.as_ref().map(|url| StoreConfig {
            url: url.clone(),
            endpoint: arguments.endpoint.clone(),
            region: arguments.region.clone(),
        }),
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

fn new_token(arguments: &NewToken) -> anyhow::Result<()> {
    let lasts = Duration::from_secs(u64::from(arguments.days) * 24 * 3600);
    let scopes = arguments.scope.iter().copied().collect();
    let made = tokens::make(&scopes, arguments.name.as_deref(), lasts, wall_now()?)?;
    println!("token       {}", *made.token);
    println!("\nIt is not shown again. For the file of tokens:\n{}", made.line);
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

fn back_up(arguments: &Backup) -> ExitCode {
    let done = Config::read(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| Ok(backup(&config, &arguments.to, wall_now()?)?));
    told(done, |done| println!("backed up: {done}"))
}

fn restore_log(arguments: &Restore) -> ExitCode {
    let config = match Config::read(&arguments.config) {
        Ok(config) => config,
        Err(error) => return told(Err::<Done, _>(error.into()), |_| {}),
    };
    let done =
        wall_now().map_err(anyhow::Error::from).and_then(|now| Ok(restore(&config, &arguments.from, now)?));
    told(done, |done| {
        println!("restored: {done}");
        if !done.guarded {
            println!("There is no guard at {}: the log can be read, not written.", config.guard.display());
            println!("If nothing newer was ever published, `counterfoil-server adopt` makes the guard anew.");
        }
    })
}

/// What became of a backup, and the exit code for it.
fn told<T>(done: anyhow::Result<T>, say: impl FnOnce(&T)) -> ExitCode {
    match done {
        Ok(done) => {
            say(&done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let refused = error.downcast_ref().is_some_and(BackupError::is_refusal);
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}

fn repair_log(arguments: &Repair) -> ExitCode {
    let read = || -> anyhow::Result<_> {
        let token = arguments.token_file.as_ref().map(|path| {
            std::fs::read_to_string(path).map(Zeroizing::new).with_context(|| path.display().to_string())
        });
        let token = token.transpose()?;
        let mirror =
            Mirror::new(&arguments.from, token.as_ref().map(|token| token.trim())).context("--from")?;
        Ok(repair(&Config::read(&arguments.config)?, mirror, wall_now()?, &mut |mend| println!("{mend}"))?)
    };
    match read() {
        Ok(repaired) => {
            let (mended, left) = (repaired.mended, repaired.left.len());
            print!("{mended} objects mended, {left} not\n{}", repaired.report);
            match (repaired.is_whole(), repaired.is_unanswered()) {
                (true, _) => ExitCode::SUCCESS,
                (false, unanswered) => ExitCode::from(if unanswered { 2 } else { 1 }),
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn erase_statement(arguments: &Erase) -> ExitCode {
    let ordered = match (&arguments.order, &arguments.record, arguments.basis) {
        (Some(path), ..) => match std::fs::read(path) {
            Ok(envelope) => Ordered::By(envelope),
            Err(error) => {
                eprintln!("error: {}: {error}", path.display());
                return ExitCode::from(2);
            }
        },
        (None, Some(target), Some(basis)) => Ordered::ByOperator { target: target.clone(), basis },
        (None, ..) => unreachable!("the arguments ask for an order, or a record and a basis"),
    };
    if arguments.order.is_none() && !arguments.yes {
        println!(
            "Nothing was done. The statement would be gone for ever, by the operator's order alone, and monitors"
        );
        println!("report that as ERASED-BY-LOG. If that is meant, repeat with --yes.");
        return ExitCode::SUCCESS;
    }
    let erased = Config::read(&arguments.config).map_err(anyhow::Error::from);
    match erased.and_then(|config| Ok(erase(&config, &ordered)?)) {
        Ok(erased) => {
            println!("erased: the statement of entry {}, by order of entry {}", erased.target, erased.record);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let refused = error.downcast_ref().is_some_and(EraseError::is_refusal);
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}

fn reindex(arguments: &WithConfig) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    let objects = Arc::new(Objects::of(&config)?);
    let loaded = load(&objects)?;
    Runs::remove(&config.index)?;
    let (runs, _) = Runs::open(&config.index)?;
    let log = Log::new(objects, Some(runs), config.limits.queue_max);
    log.tiles.hold(loaded.filled);
    futures::executor::block_on(log.fill_index(&loaded.edge))?;
    log.close_index();
    println!("{} entries indexed", loaded.edge.size());
    if config.search.enabled {
        Search::clear(&config.search.directory)?;
        log.show_stored(&identity(&config)?)?;
        let search = futures::executor::block_on(follow::open(&log, &config.search))?;
        let indexed = match log.view() {
            Some(view) => follow::index_all(&log, &view, &search)?,
            None => 0,
        };
        println!("{indexed} published entries can be searched");
    }
    Ok(())
}

/// Whose checkpoints are those of this log.
fn identity(config: &Config) -> anyhow::Result<Identity> {
    let (log, clock) = (config.log_vkey()?, config.clock_vkey()?);
    Ok(Identity { origin: Origin::new(log.name().as_str())?, log, clock })
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

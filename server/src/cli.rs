//! The command line of the server.

#![expect(clippy::print_stdout, reason = "what a person asked for goes to standard output")]

mod backup;
mod ceiling;
mod erase;
mod init;
mod recover;
mod repair;
mod run;
mod token;

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::{
    backup::{Backup, Restore, back_up, restore_log},
    ceiling::{BenchCeiling, bench_ceiling},
    erase::{Erase, erase_statement},
    init::{Init, make},
    recover::{Adopt, Reindex, adopt_log, reindex},
    repair::{Fsck, Repair, check, repair_log},
    run::{Run, run_log},
    token::{TokenCommand, new_token},
};
use crate::{cpus, secrets::keep_from_dumps};

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
    Reindex(Reindex),
    /// Take over a data directory whose guard is lost, after showing what would be trusted.
    Adopt(Adopt),
    /// Make tokens, for those who append or read what is withheld.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Serve bare handlers that parse envelopes, check signatures and answer fixed bytes: the most that a log could do
    /// here. Put `counterfoil load` on it, and compare.
    BenchCeiling(BenchCeiling),
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

/// Before any other thread is started, so that all of them inherit it.
fn keep_to(processors: &[usize]) -> anyhow::Result<()> {
    if processors.is_empty() { Ok(()) } else { cpus::keep_to(processors).context("--cpus") }
}

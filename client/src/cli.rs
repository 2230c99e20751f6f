//! The command line: `counterfoil`.
//!
//! Every command exits with 0 for yes or done, 1 for no, 2 for could not tell; `monitor` has codes of its own.

mod append;
mod ask;
mod audit;
mod checkpoint;
mod claim;
mod completions;
mod consistency;
mod correct;
mod demo;
mod dispute;
mod erase;
mod evidence;
mod exit;
mod get;
mod history;
mod key;
mod keygen;
mod killed;
mod load;
mod logs;
mod memory;
mod moment;
mod monitor;
mod place;
mod policy;
mod progress;
mod promise;
mod prove;
mod proxy;
mod receipt;
mod record;
mod records;
mod refusal;
mod report;
mod resolve;
mod respond;
mod revoke;
mod search;
mod standing;
mod target;
pub mod terminal;
mod verdict;
mod verify;
mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::secrets::keep_from_dumps;

pub use exit::{Exit, No};
pub use memory::MemoryArgs;
pub use target::{LogArgs, Opened};
pub use terminal::Terminal;

/// Append receipts for AI inference to a transparency log, and check what the log says.
#[derive(Debug, Parser)]
#[command(name = "counterfoil", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work in a minute: appended, verified, forked, caught.
    Demo(demo::Demo),
    /// Make a key to sign receipts with.
    Keygen(keygen::Keygen),
    /// Make receipts of exchanges.
    #[command(subcommand)]
    Receipt(receipt::Receipt),
    /// The logs that you know.
    #[command(subcommand)]
    Log(logs::Logs),
    /// Append receipts, and verify the proof that comes back.
    Append(append::Append),
    /// Prove from the log's tiles that a receipt is in it.
    Prove(prove::Prove),
    /// Fetch and verify the log's checkpoint.
    Checkpoint(checkpoint::Checkpoint),
    /// Prove that the log of one size grew into that of another.
    Consistency(consistency::Consistency),
    /// Fetch a receipt's bundle and verify it.
    Get(get::Get),
    /// Measure a log: many receipts over many connections.
    Load(load::LoadCommand),
    /// Verify a bundle: offline, or with --log against what was seen of that log too.
    Verify(verify::Verify),
    /// Keys in a log: cards, by which parties name themselves, and registrations, by which registrars let them in.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Withdraw a key.
    Revoke(revoke::Revoke),
    /// Promise in public how you deal with disputes.
    Policy(policy::PolicyCommand),
    /// Claim keys: whoever holds the one that came with an answer may dispute its receipt.
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Record what you found when you checked a claim of a receipt.
    Verdict(verdict::VerdictCommand),
    /// Dispute a receipt, a verdict, a decision, or a promise of a receipt that never came.
    Dispute(dispute::DisputeCommand),
    /// Answer a dispute.
    Respond(respond::Respond),
    /// Decide a dispute, or say that it is settled.
    Resolve(resolve::Resolve),
    /// Say that what was undertaken or ordered is done.
    Remedy(respond::RemedyCommand),
    /// Take back claims of a receipt of yours that were wrong.
    Correct(correct::Correct),
    Erase(erase::Erase),
    /// Say what stands about a receipt: what was checked, what is disputed, whose turn it is.
    Standing(standing::StandingCommand),
    /// List every record about a receipt.
    History(records::History),
    /// Search the records of a log, and verify what is found.
    Search(search::Search),
    /// Refusals that a log signed.
    #[command(subcommand)]
    Refusal(refusal::RefusalCommand),
    /// Audits: whether an issuer logged all that it issued.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Promises of receipts, which came with answers.
    #[command(subcommand)]
    Promise(promise::PromiseCommand),
    /// Read a log whole, recompute it, and say what does not hold.
    Monitor(monitor::Monitor),
    /// Witness logs: cosign their checkpoints, so that nobody can be shown another history.
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// Pass everything through to the service that answers a model's callers, and log a receipt for every exchange.
    Proxy(proxy::Proxy),
    /// Check, offline, whether a file proves that a log signed two histories.
    VerifyEvidence(evidence::VerifyEvidence),
    /// Print completions for a shell.
    Completions(completions::Completions),
}

impl Command {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Demo(command) => command.run(terminal),
            Self::Keygen(command) => command.run(terminal),
            Self::Receipt(command) => command.run(terminal),
            Self::Log(command) => command.run(terminal).await,
            Self::Append(command) => command.run(terminal).await,
            Self::Prove(command) => command.run(terminal).await,
            Self::Checkpoint(command) => command.run(terminal).await,
            Self::Consistency(command) => command.run(terminal).await,
            Self::Get(command) => command.run(terminal).await,
            Self::Load(command) => command.run(terminal).await,
            Self::Verify(command) => command.run(terminal).await,
            Self::Key(command) => command.run(terminal).await,
            Self::Revoke(command) => command.run(terminal).await,
            Self::Policy(command) => command.run(terminal).await,
            Self::Claim(command) => command.run(terminal).await,
            Self::Verdict(command) => command.run(terminal).await,
            Self::Dispute(command) => command.run(terminal).await,
            Self::Respond(command) => command.run(terminal).await,
            Self::Resolve(command) => command.run(terminal).await,
            Self::Remedy(command) => command.run(terminal).await,
            Self::Correct(command) => command.run(terminal).await,
            Self::Erase(command) => command.run(terminal).await,
            Self::Standing(command) => command.run(terminal).await,
            Self::History(command) => command.run(terminal).await,
            Self::Search(command) => command.run(terminal).await,
            Self::Refusal(command) => command.run(terminal).await,
            Self::Audit(command) => command.run(terminal).await,
            Self::Promise(command) => command.run(terminal).await,
            Self::Monitor(command) => command.run(terminal).await,
            Self::Witness(command) => command.run(terminal).await,
            Self::Proxy(command) => command.run(terminal).await,
            Self::VerifyEvidence(command) => command.run(terminal),
            Self::Completions(command) => command.run::<Cli>(),
        }
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.json);
    if let Err(error) = keep_from_dumps() {
        let error =
            anyhow::Error::from(error).context("this process' memory cannot be kept from being dumped");
        terminal.error(&error);
        return Exit::of(&error).into();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(cli.command.run(&terminal)),
        Err(error) => Err(error.into()),
    };
    let exit = result.unwrap_or_else(|error| {
        terminal.error(&error);
        Exit::of(&error)
    });
    exit.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

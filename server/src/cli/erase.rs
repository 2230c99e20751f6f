//! `counterfoil-server erase`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::statement::erasure::Basis;

use crate::{
    config::Config,
    erase::{EraseError, Ordered, Target, erase},
};

#[derive(Args)]
pub(super) struct Erase {
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

pub(super) fn erase_statement(arguments: &Erase) -> ExitCode {
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

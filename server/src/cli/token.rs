//! `counterfoil-server token`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::{
    clock::wall_now,
    tokens::{self, Scope},
};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token. It is shown this once; the line under it goes into the file of tokens, which SIGHUP has read again.
    New(NewToken),
}

#[derive(Args)]
pub(super) struct NewToken {
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

pub(super) fn new_token(arguments: &NewToken) -> anyhow::Result<()> {
    let lasts = Duration::from_secs(u64::from(arguments.days) * 24 * 3600);
    let scopes = arguments.scope.iter().copied().collect();
    let made = tokens::make(&scopes, arguments.name.as_deref(), lasts, wall_now()?)?;
    println!("token       {}", *made.token);
    println!("\nIt is not shown again. For the file of tokens:\n{}", made.line);
    Ok(())
}

//! `counterfoil completions`.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Exit;

/// Print completions for a shell.
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run<C: CommandFactory>(&self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        generate(self.shell, &mut C::command(), "counterfoil", &mut script);
        io::Write::write_all(&mut io::stdout(), &script)?;
        Ok(Exit::YES)
    }
}

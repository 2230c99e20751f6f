//! `counterfoil get`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::verify::verify;

use super::{Exit, LogArgs, MemoryArgs, Terminal, place::Place, report};
use crate::file::{self, Access};

/// Fetch a receipt's bundle and verify it.
#[derive(Args, Debug)]
pub(super) struct Get {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The record: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Place,

    /// Where to put the bundle, `-` for standard output; `<id>.counterfoil.json` by default.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Get {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let bundle = self.place.fetch(&opened.log).await?;
        let report = verify(&bundle, &opened.log.known().trust()?, None);
        let history = opened.history(&bundle, &report, terminal).await;
        let exit = history.exit(&report);
        if self.output.as_deref().is_some_and(|output| output.as_os_str() == "-") {
            terminal.raw(format_args!("{}\n", bundle.to_json()));
            return history.into_result(exit);
        }
        // What does not hold is kept too: whoever asked may want to show it.
        let path =
            self.output.unwrap_or_else(|| PathBuf::from(format!("{}.counterfoil.json", bundle.entry.id)));
        file::replace(&path, bundle.to_json().as_bytes(), Access::Public)?;
        report::print(&report, &history, terminal);
        terminal.line(format_args!("bundle: {}", path.display()));
        Ok(exit)
    }
}

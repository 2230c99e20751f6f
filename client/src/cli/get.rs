//! `counterfoil get`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    verify::verify,
};
use serde::Deserialize;

use super::{Exit, LogArgs, MemoryArgs, No, Terminal, place::Place, report};
use crate::{
    file::{self, Access},
    log::Log,
};

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

    /// Fetch the clock records around it too, whose witnesses' times bound its own, and put their bundles beside it.
    #[arg(long)]
    clock_records: bool,
}

impl Get {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let bundle = self.place.fetch(&opened.log).await?;
        let trust = opened.log.known().trust()?;
        let mut report = verify(&bundle, &trust, None);
        let records =
            if self.clock_records { clocks_around(&opened.log, report.index).await? } else { Vec::new() };
        report.bound_by(&records, &trust);
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
        for record in records {
            let path = path.with_file_name(format!("clock-{}.counterfoil.json", record.proof.index()));
            file::replace(&path, record.to_json().as_bytes(), Access::Public)?;
            terminal.line(format_args!("clock record: {}", path.display()));
        }
        Ok(exit)
    }
}

/// The clock records before and after an entry, as the log gives them. Nothing is checked but their form.
async fn clocks_around(log: &Log, index: LeafIndex) -> anyhow::Result<Vec<Bundle>> {
    let api = log.source().api().context("a directory does not find clock records; that takes a server")?;
    let found = api.find(&format!("v1/clocks?index={index}"), 2 * BUNDLE_BYTES_MAX + 64).await?;
    let found = found.ok_or_else(|| No("the log does not give clock records".to_owned()))?;
    let found: Clocks = serde_json::from_slice(&found).context("the log's answer for clock records")?;
    let records = [found.before, found.after].into_iter().flatten();
    records.map(|record| Ok(Bundle::parse(record.to_string().as_bytes())?)).collect()
}

#[derive(Deserialize)]
struct Clocks {
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
}

//! `counterfoil append`.

mod input;
mod run;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::{Exit, LogArgs, MemoryArgs, Terminal};
use crate::{
    file,
    submit::{BATCH_MAX, Submitter},
};
use input::{Input, in_order};
use run::Run;

/// Append receipts, and verify the proof that comes back.
#[derive(Args, Debug)]
pub(super) struct Append {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Envelopes: one a file, or one a line; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Where to put the bundles; beside the input by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// How many receipts to send in one request.
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch_size)]
    batch: usize,

    /// How often to try again when the log is busy or does not answer.
    #[arg(long, value_name = "N", default_value = "5")]
    retries: u32,
}

fn batch_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1..=BATCH_MAX).contains(size));
    size.ok_or_else(|| format!("a batch has 1 to {BATCH_MAX} receipts"))
}

impl Append {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let opened = self.log.open(&self.memory, self.retries)?;
        let Some(api) = opened.log.source().api().cloned() else {
            bail!("{} is a directory; appending takes a server", opened.log.source());
        };
        let trust = opened.log.known().trust()?;
        let submitter = Submitter::new(api, trust.clone(), self.retries);
        let mut run = Run::new(opened, submitter, trust, terminal);
        for path in in_order(self.files) {
            let folder = self.out.clone().unwrap_or_else(|| folder_of(&path));
            file::create_folder(&folder)?;
            let mut input = Input::open(&path)?;
            while let Some(item) = input.next()? {
                run.take(item, &folder);
                if run.waiting() >= self.batch {
                    run.send().await?;
                }
            }
        }
        run.send().await?;
        run.finish().await
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

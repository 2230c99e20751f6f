//! `counterfoil refusal`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_receipt::{
    Envelope, Statement,
    admission::Chain,
    envelope::ENVELOPE_BYTES_MAX,
    refusal::{Borne, SignedRefusal},
};
use serde_json::json;

use super::{
    Exit, LogArgs, MemoryArgs, No, Terminal,
    progress::Progress,
    terminal::{Tone, moment},
};
use crate::{
    file,
    walk::{Walk, replay},
};

/// Refusals that a log signed.
#[derive(Debug, Subcommand)]
pub(super) enum RefusalCommand {
    /// Judge a refused record again: whether it broke the rule that the log's refusal names.
    ///
    /// The log is read and judged again up to the refusal's size, at some 40 bytes of memory a record.
    Check(Check),
}

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The refusal, `<id>.refusal.json`.
    #[arg(value_name = "REFUSAL")]
    refusal: PathBuf,

    /// The record that was refused, `<id>.envelope.json`.
    #[arg(value_name = "ENVELOPE")]
    record: PathBuf,
}

impl RefusalCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Self::Check(check) = self;
        check.run(terminal).await
    }
}

impl Check {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let read = |path: &PathBuf| anyhow::Ok(Envelope::parse(&file::read(path, ENVELOPE_BYTES_MAX)?)?);
        let refusal = SignedRefusal::open(read(&self.refusal)?)?;
        let record = read(&self.record)?;
        let mut opened = self.log.open(&self.memory, 2)?;
        let checkpoint = opened.log.checkpoint().await?.checkpoint;
        opened.hold(&checkpoint, terminal).await?;
        let (head, size) = (checkpoint.head(), refusal.refusal.size);
        if size > head.size {
            return Err(
                No(format!("the refusal is of size {size}, the log has {} entries", head.size)).into()
            );
        }
        let about = Statement::parse(&record.clone().verify()?).ok();
        let chain = about.as_ref().map_or_else(Chain::default, Chain::of_statement);
        let mut progress = Progress::new(terminal);
        let walk = Walk::new(&opened.log, head, size)?;
        let mut show = |size| progress.show(format_args!("{size} entries judged again"));
        let (replay, chain) = replay(walk, chain, &mut show).await?;
        progress.clear();
        let borne = refusal.check(&record, replay.ledger(), &chain)?;
        let (rule, at) = (refusal.refusal.rule, moment(refusal.refusal.at));
        let (tone, text, exit) = match borne {
            Borne::Out => (
                Tone::Good,
                format!("rightly refused: at size {size}, on {at}, it broke the rule {rule}"),
                Exit::YES,
            ),
            Borne::Not { found: None } => {
                (Tone::Bad, "WRONGLY REFUSED: it broke no rule".to_owned(), Exit::NO)
            }
            Borne::Not { found: Some(found) } => (
                Tone::Bad,
                format!("WRONGLY REFUSED: not {rule}, but {found} is the rule it broke"),
                Exit::NO,
            ),
            Borne::CannotTell => {
                let text = "cannot tell: a statement that it turns on was erased since".to_owned();
                (Tone::Warn, text, Exit::UNKNOWN)
            }
        };
        terminal.line(terminal.paint(tone, text));
        let found = match borne {
            Borne::Out => Some(rule.as_str()),
            Borne::Not { found } => found.map(|found| found.as_str()),
            Borne::CannotTell => None,
        };
        terminal.value(&json!({
            "holds": exit == Exit::YES, "rule": rule.as_str(), "found": found, "size": size.get(),
            "cannot_tell": borne == Borne::CannotTell,
        }));
        Ok(exit)
    }
}

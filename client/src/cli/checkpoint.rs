//! `counterfoil checkpoint`.

use clap::Args;
use serde_json::json;

use super::{
    Exit, LogArgs, MemoryArgs, Terminal,
    terminal::{Tone, moment_s, shown},
};
use crate::pin::Held;

/// Fetch and verify the log's checkpoint.
#[derive(Args, Debug)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Print the signed note itself.
    #[arg(long, conflicts_with = "json")]
    note: bool,
}

impl Checkpoint {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let latest = opened.log.checkpoint().await?;
        let held = opened.hold(&latest.checkpoint, terminal).await?;
        let (head, origin) = (latest.checkpoint.head(), latest.checkpoint.origin());
        let time = latest.clock.as_ref().map(|clock| clock.time_s);
        let note = latest.checkpoint.signed().to_string();
        if self.note {
            terminal.raw(format_args!("{note}"));
            return Ok(Exit::YES);
        }
        terminal.line(format_args!("log: {}", shown(origin.as_str())));
        terminal.line(format_args!("size: {}", head.size));
        terminal.line(format_args!("root: {}", head.root));
        terminal.line(match time {
            Some(time) => format!("time: {}, by the log's clock", moment_s(time)),
            None => "time: not checked, the log's clock is not known".to_owned(),
        });
        for witness in &latest.witnesses {
            let (name, time) = (shown(witness.name.as_str()), moment_s(witness.time_s));
            terminal.line(format_args!("witness: {name}, {time}"));
        }
        terminal.line(format_args!("{}", terminal.paint(Tone::Good, describe(held))));
        let witnesses: Vec<_> = latest
            .witnesses
            .iter()
            .map(|witness| json!({ "name": witness.name.as_str(), "time": witness.time_s }))
            .collect();
        terminal.value(&json!({
            "origin": origin.as_str(), "size": head.size.get(), "root": head.root.to_string(), "time": time,
            "witnesses": witnesses, "consistent_with": from(held), "note": note,
        }));
        Ok(Exit::YES)
    }
}

/// How a checkpoint stands to what was pinned, in words.
pub(super) fn describe(held: Held) -> String {
    match held {
        Held::First => "signed by the log; nothing was pinned to hold it against".to_owned(),
        Held::Same => "signed by the log, the same tree as the newest one seen".to_owned(),
        Held::Older => "signed by the log, an older tree that the newest one seen contains".to_owned(),
        Held::Newer { from } => format!("signed by the log, grown from the size {from} seen last"),
    }
}

fn from(held: Held) -> Option<u64> {
    if let Held::Newer { from } = held { Some(from.get()) } else { None }
}

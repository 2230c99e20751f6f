//! `counterfoil erase`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use counterfoil_receipt::statement::{Erasure, Predicate, erasure::Basis};

use super::{
    Exit, No, Terminal,
    ask::{choose, code, confirm},
    claim::Held,
    place::Place,
    record::{Making, RecordArgs, read_key},
};

/// Have the statement of a record erased: its entry and every proof stay, what it said goes.
///
/// Who issued the record may order it, and whoever holds the claim key that came with it. The log carries it out as soon as
/// it has the order.
#[derive(Args, Debug)]
pub(super) struct Erase {
    #[command(flatten)]
    record: RecordArgs,

    /// The record: its id or the first 32 digits of it, its index, or its leaf hash. By default the receipt of the claim key.
    #[arg(value_name = "ID|INDEX|LEAF", required_unless_present = "claim")]
    place: Option<Place>,

    /// Your private key (PKCS#8 PEM), as its issuer.
    #[arg(long, value_name = "FILE", required_unless_present = "claim")]
    key: Option<PathBuf>,

    /// The claim key that came with it: its file, or a text with the printed form in it; `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    claim: Option<PathBuf>,

    /// Why; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Basis>)]
    basis: Option<Basis>,

    /// Do not ask whether that is meant.
    #[arg(long)]
    yes: bool,
}

impl Erase {
    pub(super) async fn run(mut self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let held = self.claim.as_deref().map(Held::read).transpose()?;
        if let Some(held) = &held {
            held.name_log(&mut self.record.log)?;
        }
        let (key, place) = match (&held, &self.key, &self.place) {
            (Some(held), _, Some(place)) => (held.key().signing_key(), place.clone()),
            (Some(held), _, None) => (held.key().signing_key(), held.place()?),
            (None, Some(path), Some(place)) => (read_key(path)?, place.clone()),
            _ => bail!("say which record, and --key or --claim"),
        };
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(&place).await?;
        let entry = &about.bundle.entry;
        if !entry.kind.is_erasable() {
            return Err(No(format!("a {} is never erased", entry.kind)).into());
        }
        if held.is_some() && entry.claim.as_ref() != Some(key.public()) {
            return Err(No(format!("the claim key is not that of {place}: nothing was signed")).into());
        }
        let basis = choose(self.basis, "--basis", "Why is it erased?", terminal)?;
        if !self.yes {
            confirm("What the record says will be gone for ever; that it was there will stay.", terminal)?;
        }
        making.make(&key, about.subject(), |_| Ok(Predicate::Erasure(Erasure { basis }))).await
    }
}

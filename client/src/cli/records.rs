//! `counterfoil history`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex, checkpoint::VerifiedCheckpoint, tlogproof::TlogProof};
use counterfoil_receipt::{Entry, bundle::Bundle, standing::Record};
use serde_json::json;

use super::{
    Exit, Terminal,
    standing::{AboutArgs, Read},
    terminal::moment,
};
use crate::{
    file::{self, Access},
    log::Log,
};

/// List every record about a receipt, each proven to be in the log, and none left out.
///
/// The whole log is read. Kept in memory is what concerns the receipt, what the log says of keys, some 100 bytes for each record that
/// is about another, and 16 bytes for each date of each issuer: 30 MB for a million receipts of one key.
#[derive(Args, Debug)]
pub(super) struct History {
    #[command(flatten)]
    about: AboutArgs,

    /// Put a bundle of each record here: files that verify offline, for ever.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl History {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let read = self.about.read(terminal).await?;
        if let Some(out) = &self.out {
            file::create_folder(out)?;
        }
        for record in read.gathered.docket.records() {
            let path = self.bundle(&read, record).await?;
            let Record { index, leaf, entry, statement } = record;
            let gone = if statement.is_none() { ", its statement is not here" } else { "" };
            let kept = path.as_ref().map(|path| format!(": {}", path.display())).unwrap_or_default();
            terminal.line(format_args!(
                "{index:>8}  {}  {:<10} {}{gone}{kept}",
                moment(entry.at),
                entry.kind,
                entry.id
            ));
            terminal.value(&json!({
                "index": index.get(), "at": entry.at.millis(), "kind": entry.kind.as_str(),
                "id": entry.id.to_string(), "leaf": leaf.to_string(), "issuer": entry.issuer.as_str(),
                "about": entry.about.map(|about| about.to_string()), "statement": statement.is_some(),
                "bundle": path,
            }));
        }
        let (size, head) = (read.gathered.docket.size(), read.checkpoint.head());
        terminal.line(format_args!(
            "These are all, among {size} entries, which are those of the tree of {} that the log signed.",
            head.size
        ));
        Ok(Exit::YES)
    }

    /// Writes the bundle of a record, if that is wanted.
    async fn bundle(&self, read: &Read, record: &Record) -> anyhow::Result<Option<PathBuf>> {
        let Some(out) = &self.out else { return Ok(None) };
        let bundle = assemble(
            &read.opened.log,
            &read.checkpoint,
            record.index,
            record.leaf,
            &record.entry,
            record.statement.is_some(),
        );
        let bundle = bundle.await?;
        let path = out.join(format!("{}.counterfoil.json", record.entry.id));
        file::replace(&path, bundle.to_json().as_bytes(), Access::Public)?;
        Ok(Some(path))
    }
}

/// Puts the bundle of a record together from the log's files, with its proof under that checkpoint.
pub(super) async fn assemble(
    log: &Log,
    checkpoint: &VerifiedCheckpoint,
    index: LeafIndex,
    leaf: Hash,
    entry: &Entry,
    has_statement: bool,
) -> anyhow::Result<Bundle> {
    let head = checkpoint.head();
    let proof = log.prove(index, leaf, head).await?;
    let proof = TlogProof::new(proof, checkpoint.signed().clone())?;
    let entry = String::from_utf8_lossy(&entry.to_bytes()).into_owned();
    let statement = if has_statement { Some(log.statement(index, head.size).await?) } else { None };
    Ok(Bundle::from_parts(statement, &entry, &proof.to_string())?)
}

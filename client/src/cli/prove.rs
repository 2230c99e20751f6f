//! `counterfoil prove`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex, TreeHead, TreeSize, tlogproof::TlogProof};
use serde_json::json;

use super::{Exit, LogArgs, MemoryArgs, No, Opened, Terminal, place::Place, terminal::Tone};
use crate::{
    file::{self, Access},
    log::Log,
};

/// Prove from the log's tiles that a receipt is in it.
#[derive(Args, Debug)]
pub(super) struct Prove {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The record: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|LEAF|INDEX")]
    place: Place,

    /// Prove it in the tree of this size, in place of the log's present one.
    #[arg(long, value_name = "N")]
    size: Option<u64>,

    /// Where to put the proof with its checkpoint (C2SP tlog-proof).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Prove {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let latest = opened.log.checkpoint().await?.checkpoint;
        opened.hold(&latest, terminal).await?;
        let Opened { log, pin, .. } = opened;
        let newest = latest.head();
        let head = self.head(&log, newest).await?;
        let (index, leaf) = self.leaf(&log, head).await?;
        let proof = log.prove(index, leaf, head).await?;
        let hashes: Vec<_> = proof.hashes().iter().map(|hash| hash.to_base64()).collect();
        terminal.line(format_args!(
            "{}: leaf {leaf} is at index {index} of {} in {}",
            terminal.paint(Tone::Good, "proven"),
            head.size,
            log.known().key.name(),
        ));
        terminal.line(format_args!("root: {}", head.root));
        if let Some(path) = &self.output {
            let signed =
                if head == newest { Some(&latest) } else { pin.newest().filter(|it| it.head() == head) };
            let Some(signed) = signed else {
                bail!(
                    "no signed checkpoint of size {} is at hand to go with the proof; leave out --size",
                    head.size
                );
            };
            let proof = TlogProof::new(proof, signed.signed().clone())?;
            file::replace(path, proof.to_string().as_bytes(), Access::Public)?;
            terminal.line(format_args!("proof: {}", path.display()));
        }
        terminal.value(&json!({
            "index": index.get(), "leaf": leaf.to_string(), "size": head.size.get(),
            "root": head.root.to_string(), "hashes": hashes,
        }));
        Ok(Exit::YES)
    }

    /// The tree that was asked for, proven to lead into the signed one.
    async fn head(&self, log: &Log, newest: TreeHead) -> anyhow::Result<TreeHead> {
        let Some(size) = self.size else { return Ok(newest) };
        let size = TreeSize::new(size)?;
        let head = TreeHead { size, root: log.root(size, newest.size).await? };
        log.consistency(head, newest).await?;
        Ok(head)
    }

    async fn leaf(&self, log: &Log, head: TreeHead) -> anyhow::Result<(LeafIndex, Hash)> {
        let (index, leaf) = if let Place::Index(index) = self.place {
            if index.get() >= head.size.get() {
                return Err(No(format!("a tree of size {} has no leaf {index}", head.size)).into());
            }
            (index, Hash::leaf(&log.entry(index, head.size).await?))
        } else {
            let bundle = self.place.fetch(log).await?;
            (bundle.proof.index(), bundle.leaf())
        };
        if index.get() >= head.size.get() {
            return Err(No(format!("it is at index {index}, not in a tree of size {}", head.size)).into());
        }
        Ok((index, leaf))
    }
}

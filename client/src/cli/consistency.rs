//! `counterfoil consistency`.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use counterfoil_merkle::{TreeHead, TreeSize, note::NOTE_BYTES_MAX};
use serde_json::json;

use super::{Exit, LogArgs, No, Opened, Terminal, terminal::Tone};
use crate::{
    file,
    log::{Log, LogError},
};

/// Prove that the log of one size grew into that of another.
#[derive(Args, Debug)]
pub(super) struct Consistency {
    #[command(flatten)]
    log: LogArgs,

    /// The older tree: its size, or the file of a checkpoint of it.
    from: Tree,

    /// The newer tree: its size, or the file of a checkpoint of it; the log's present one by default.
    to: Option<Tree>,
}

/// A tree of the log: by its size alone, or with the root that was signed.
#[derive(Clone, Debug)]
enum Tree {
    Size(TreeSize),
    Checkpoint(PathBuf),
}

impl FromStr for Tree {
    type Err = counterfoil_merkle::tree::TreeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(size) => TreeSize::new(size).map(Self::Size),
            Err(_) => Ok(Self::Checkpoint(text.into())),
        }
    }
}

impl Tree {
    /// Size and root, the latter from the log's tiles if it was not given.
    async fn head(&self, log: &Log, newest: TreeHead) -> anyhow::Result<TreeHead> {
        match self {
            Self::Size(size) if *size == newest.size => Ok(newest),
            Self::Size(size) => Ok(TreeHead { size: *size, root: log.root(*size, newest.size).await? }),
            Self::Checkpoint(path) => {
                let note = file::read_text(path, NOTE_BYTES_MAX)?;
                Ok(log.known().check(&note)?.checkpoint.head())
            }
        }
    }
}

impl Consistency {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Opened { log, mut pin } = self.log.open(2)?;
        let latest = log.checkpoint().await?.checkpoint;
        pin.hold(&log, &latest).await?;
        let newest = latest.head();
        let old = self.from.head(&log, newest).await?;
        let new = match &self.to {
            Some(to) => to.head(&log, newest).await?,
            None => newest,
        };
        if old.size > new.size {
            return Err(No(format!("size {} is above size {}", old.size, new.size)).into());
        }
        // Both lead into the signed tree, and the one into the other.
        let proof = log.consistency(old, new).await?;
        let lead = if new.size <= newest.size {
            log.consistency(new, newest).await
        } else {
            Err(beyond(new, newest))
        };
        lead?;
        terminal.line(format_args!("from: size {}, root {}", old.size, old.root));
        terminal.line(format_args!("to: size {}, root {}", new.size, new.root));
        terminal.line(format_args!("signed: size {}, root {}", newest.size, newest.root));
        terminal.line(terminal.paint(Tone::Good, "consistent: each tree starts with the one before it"));
        let hashes: Vec<_> = proof.hashes().iter().map(|hash| hash.to_base64()).collect();
        terminal.value(&json!({
            "from": old.size.get(), "from_root": old.root.to_string(),
            "to": new.size.get(), "to_root": new.root.to_string(), "hashes": hashes,
        }));
        Ok(Exit::YES)
    }
}

fn beyond(new: TreeHead, newest: TreeHead) -> LogError {
    counterfoil_merkle::tree::TreeError::Backwards { old: new.size, new: newest.size }.into()
}

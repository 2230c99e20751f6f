//! `counterfoil consistency`.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use counterfoil_merkle::{
    TreeHead, TreeSize, checkpoint::SignedCheckpoint, checkpoint::VerifiedCheckpoint,
    proof::ConsistencyProof, tlogproof::TlogProof, tree::TreeError,
};
use counterfoil_receipt::bundle::{BUNDLE_BYTES_MAX, Bundle};
use serde_json::json;

use super::{Exit, LogArgs, MemoryArgs, No, Opened, Terminal, terminal::Tone};
use crate::{
    file,
    fork::{self, Sighting},
    log::{Log, LogError},
};

/// Prove that the log of one size grew into that of another; or that it did not, if these are two checkpoints.
///
/// Two checkpoints that cannot both be true are turned into evidence wherever tiles, or the records that they came with, allow
/// it; the log is refused from then on.
#[derive(Args, Debug)]
pub(super) struct Consistency {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The older tree: its size, or the file of a checkpoint, a tlog-proof or a bundle of it.
    from: Tree,

    /// The newer tree, as the older one; the log's present one by default.
    to: Option<Tree>,
}

/// A tree of the log: by its size alone, or with the root that was signed.
#[derive(Clone, Debug)]
enum Tree {
    Size(TreeSize),
    File(PathBuf),
}

impl FromStr for Tree {
    type Err = TreeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(size) => TreeSize::new(size).map(Self::Size),
            Err(_) => Ok(Self::File(text.into())),
        }
    }
}

/// What is known of a tree before the log is asked.
enum Given {
    Size(TreeSize),
    Signed(Box<Sighting>),
}

impl Tree {
    fn read(&self, log: &Log) -> anyhow::Result<Given> {
        let path = match self {
            Self::Size(size) => return Ok(Given::Size(*size)),
            Self::File(path) => path,
        };
        let text = file::read_text(path, BUNDLE_BYTES_MAX)?;
        let sighting = if text.starts_with('{') {
            let bundle = Bundle::parse(text.as_bytes())?;
            let leaf = bundle.leaf();
            Sighting::with_record(bundle.proof, leaf)
        } else if let Ok(proof) = text.parse::<TlogProof>() {
            Sighting::of(proof.checkpoint().clone())
        } else {
            Sighting::of(text.parse::<SignedCheckpoint>()?)
        };
        sighting.checkpoint().verify(&log.known().key)?;
        Ok(Given::Signed(Box::new(sighting)))
    }
}

impl Given {
    const fn sighting(&self) -> Option<&Sighting> {
        match self {
            Self::Size(_) => None,
            Self::Signed(sighting) => Some(sighting),
        }
    }

    /// Size and root, the latter from the log's tiles if it was not given.
    async fn head(&self, log: &Log, newest: TreeHead) -> Result<TreeHead, LogError> {
        match self {
            Self::Size(size) if *size == newest.size => Ok(newest),
            Self::Size(size) => Ok(TreeHead { size: *size, root: log.root(*size, newest.size).await? }),
            Self::Signed(sighting) => Ok(sighting.head()),
        }
    }
}

impl Consistency {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let from = self.from.read(&opened.log)?;
        let to = self.to.as_ref().map(|to| to.read(&opened.log)).transpose()?;
        let mut seen: Vec<_> =
            [Some(&from), to.as_ref()].into_iter().flatten().filter_map(Given::sighting).cloned().collect();
        if let [one, other] = seen.as_slice()
            && let Some(evidence) = fork::prove_offline(&opened.log, one, other)
        {
            return Err(opened.forked(evidence).await?.into());
        }
        let latest = opened.log.checkpoint().await?.checkpoint;
        opened.hold(&latest, terminal).await?;
        match proven(&opened.log, &from, to.as_ref(), &latest).await {
            Ok(proven) => {
                proven.print(latest.head(), terminal);
                Ok(Exit::YES)
            }
            Err(reason) => {
                seen.push(Sighting::of(latest.signed().clone()));
                refuse(&opened, &seen, reason).await
            }
        }
    }
}

/// Ends with evidence if there is any, else with why there is no proof.
async fn refuse(opened: &Opened, seen: &[Sighting], reason: anyhow::Error) -> anyhow::Result<Exit> {
    for (n, one) in seen.iter().enumerate() {
        for other in &seen[n + 1..] {
            if let Some(evidence) = fork::prove(&opened.log, one, other).await {
                return Err(opened.forked(evidence).await?.into());
            }
        }
    }
    Err(reason)
}

struct Proven {
    old: TreeHead,
    new: TreeHead,
    proof: ConsistencyProof,
}

/// Proves that the trees lead into the signed one, and the one into the other.
async fn proven(
    log: &Log,
    from: &Given,
    to: Option<&Given>,
    latest: &VerifiedCheckpoint,
) -> anyhow::Result<Proven> {
    let newest = latest.head();
    let old = from.head(log, newest).await?;
    let new = match to {
        Some(to) => to.head(log, newest).await?,
        None => newest,
    };
    if old.size > new.size {
        return Err(No(format!("size {} is above size {}", old.size, new.size)).into());
    }
    let proof = log.consistency(old, new).await?;
    if new.size > newest.size {
        return Err(LogError::from(TreeError::Backwards { old: new.size, new: newest.size }).into());
    }
    log.consistency(new, newest).await?;
    Ok(Proven { old, new, proof })
}

impl Proven {
    fn print(&self, newest: TreeHead, terminal: &Terminal) {
        let Self { old, new, proof } = self;
        terminal.line(format_args!("from: size {}, root {}", old.size, old.root));
        terminal.line(format_args!("to: size {}, root {}", new.size, new.root));
        terminal.line(format_args!("signed: size {}, root {}", newest.size, newest.root));
        terminal.line(terminal.paint(Tone::Good, "consistent: each tree starts with the one before it"));
        let hashes: Vec<_> = proof.hashes().iter().map(|hash| hash.to_base64()).collect();
        terminal.value(&json!({
            "from": old.size.get(), "from_root": old.root.to_string(),
            "to": new.size.get(), "to_root": new.root.to_string(), "hashes": hashes,
        }));
    }
}

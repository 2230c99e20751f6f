//! `counterfoil log`.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use counterfoil_merkle::{
    evidence::{EVIDENCE_JSON_BYTES_MAX, ForkEvidence},
    key::{Algorithm, VerifierKey},
    policy::POLICY_BYTES_MAX,
};
use serde_json::json;

use super::{
    Exit, LogArgs, MemoryArgs, No, Terminal,
    target::{connect, contexts},
    terminal::{Tone, moment_s, shown},
};
use crate::{
    context::{Context, ContextError},
    conviction::{self, ConvictionError},
    file,
    gossip::{Gossip, Heard},
    log::{KnownLog, LogPolicy},
    pin::Pin,
};

/// The logs that you know.
#[derive(Debug, Subcommand)]
pub(super) enum Logs {
    /// Remember a log, and pin its present checkpoint.
    Add(Box<Add>),
    /// List the logs that you know.
    List,
    /// Tell monitors the newest checkpoint seen of a log, and hear whether they saw another history. The log is not asked.
    Gossip(GossipCommand),
    /// Keep evidence that a log signed two histories: it is refused for as long as you do not delete the file.
    Convict(Convict),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// What to call it.
    name: String,

    /// Its address, or the path of a directory that holds its files.
    url: String,

    /// Its key.
    #[arg(value_name = "VKEY")]
    key: VerifierKey,

    /// The key of its clock; with it, every checkpoint has to say when it was made.
    #[arg(long, value_name = "VKEY")]
    clock: Option<VerifierKey>,

    /// A C2SP policy: which witnesses have to have cosigned every checkpoint. Its text is kept.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Address of a monitor that is to hear of every checkpoint seen; may be repeated.
    #[arg(long, value_name = "URL")]
    gossip: Vec<String>,

    /// PEM file of the certificates to trust for its address, in place of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// File of the token to show it, which only its owner can read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct GossipCommand {
    /// The log; the only one by default.
    #[arg(long, value_name = "NAME")]
    log: Option<String>,

    /// Addresses of monitors, beside those that `log add` remembered.
    #[arg(value_name = "URL")]
    gossip: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Convict {
    /// The evidence, as text or as JSON.
    file: PathBuf,

    /// The log; every one that the evidence convicts by default.
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
}

impl Logs {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(terminal).await,
            Self::List => list(terminal),
            Self::Gossip(gossip) => gossip.run(terminal).await,
            Self::Convict(convict) => convict.run(terminal),
        }
    }
}

impl Add {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let context = self.context()?;
        let Context { name, folder, log: known, authorities, token_file, gossip } = &context;
        let log = connect(known, authorities.as_deref(), token_file.as_deref(), 2)?;
        for url in gossip {
            Gossip::new(url, None)?;
        }
        let latest = log.checkpoint().await?;

        // Held first: an address that shows another history is not remembered.
        file::create_folder(folder)?;
        Pin::open(folder, known.clone())?.hold(&log, &latest.checkpoint).await?;
        context.save()?;
        let head = latest.checkpoint.head();
        let origin = latest.checkpoint.origin();
        let time = latest.clock.as_ref().map(|clock| clock.time_s);
        terminal.line(format_args!(
            "{}: {} at size {}{}",
            terminal.paint(Tone::Good, "added"),
            shown(origin.as_str()),
            head.size,
            time.map(|time| format!(", {}", moment_s(time))).unwrap_or_default(),
        ));
        terminal.line(format_args!("root: {}", head.root));
        if let Some(policy) = &known.policy {
            terminal.line(format_args!("policy: {}", in_words(policy)));
        }
        terminal.value(&json!({
            "name": name, "origin": origin.as_str(), "url": known.url, "gossip": gossip,
            "policy": known.policy.as_ref().map(LogPolicy::text),
            "size": head.size.get(), "root": head.root.to_string(), "time": time,
        }));
        Ok(Exit::YES)
    }

    /// What is to be remembered; of a log that is known already, policy, token and monitors stay unless others are given.
    fn context(self) -> anyhow::Result<Context> {
        let Self { name, url, key, clock, policy, gossip, ca, token_file } = self;
        ensure!(key.algorithm() == Algorithm::Ed25519, "{key} is a cosigner's key, not a log's");
        if let Some(clock) = &clock {
            ensure!(
                clock.algorithm() == Algorithm::CosignatureV1
                    && clock.name().as_str() == format!("{}/clock", key.name()),
                "{clock} is not the key of {}'s clock, which is a cosigner's key named {0}/clock",
                key.name()
            );
        }
        let contexts = contexts()?;
        contexts.admit(&key)?;
        let folder = contexts.folder(&name)?;
        let known = match contexts.open(&name) {
            Ok(known) if known.log.key != key => {
                bail!(
                    "{name} is known already, as {}; remove {} to forget it",
                    known.log.key,
                    folder.display()
                )
            }
            Ok(known) => Some(known),
            Err(ContextError::Unknown { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (old_policy, old_gossip, old_token) =
            known.map(|known| (known.log.policy, known.gossip, known.token_file)).unwrap_or_default();
        let policy = match policy {
            Some(path) => Some(file::read_text(&path, POLICY_BYTES_MAX)?.parse::<LogPolicy>()?),
            None => old_policy,
        };
        if let Some(policy) = &policy {
            ensure!(policy.lists(&key), "the policy does not list the log {key}");
        }
        let absolute = |path: PathBuf| std::path::absolute(path);
        let url = if url.contains("://") { url } else { absolute(url.into())?.display().to_string() };
        let log = KnownLog { key, clock, url, policy };
        log.trust()?;
        let authorities = ca.map(absolute).transpose()?;
        let token_file = token_file.map(absolute).transpose()?.or(old_token);
        let gossip = if gossip.is_empty() { old_gossip } else { gossip };
        Ok(Context { name, folder, log, authorities, token_file, gossip })
    }
}

impl GossipCommand {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let log = LogArgs { log: self.log, ..LogArgs::default() };
        let opened = log.open(&MemoryArgs { no_remember: false, gossip: self.gossip }, 0)?;
        let newest = opened.pin.newest().context("nothing was seen of the log yet")?;
        ensure!(!opened.gossip.is_empty(), "with whom? Say the address of a monitor");
        let told = opened.ask(newest.signed()).await?;
        let mut values = Vec::new();
        for told in &told {
            terminal.line(shown(&told.to_string()));
            let (relation, size) = match &told.heard {
                Ok(Heard::Consistent) => ("consistent", None),
                Ok(Heard::Unknown { size }) => ("unknown", Some(size.get())),
                Ok(Heard::Forked(_) | Heard::Unproven { .. }) => ("unproven", None),
                Err(_) => ("silent", None),
            };
            values.push(json!({ "monitor": told.monitor, "relation": relation, "size": size }));
        }
        terminal.value(&json!({ "size": newest.head().size.get(), "told": values }));
        // Somebody who saw the same is an answer; nobody who can tell is none.
        let seen = told.iter().any(|told| matches!(told.heard, Ok(Heard::Consistent)));
        Ok(if seen { Exit::YES } else { Exit::UNKNOWN })
    }
}

impl Convict {
    fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let evidence = match file::read_text(&self.file, EVIDENCE_JSON_BYTES_MAX) {
            Ok(text) => {
                ForkEvidence::from_either(&text).map_err(|error| No(format!("not proven: {error}")))?
            }
            Err(error) => return Err(error.into()),
        };
        let contexts = contexts()?;
        let names = self.log.map_or_else(|| contexts.names(), |name| Ok(vec![name]))?;
        let mut refused = None;
        let mut kept = Vec::new();
        for name in names {
            let Context { folder, log, .. } = contexts.open_anyway(&name)?;
            match conviction::keep(&folder, &log.key, &evidence) {
                Ok(path) => kept.push((name, path)),
                Err(ConvictionError::NotProven(reason)) => refused = Some((name, reason)),
                Err(error) => return Err(error.into()),
            }
        }
        if kept.is_empty() {
            let reason = match refused {
                Some((name, reason)) => format!("not proven against {name}: {reason}"),
                None => "no log is known".to_owned(),
            };
            return Err(No(reason).into());
        }
        for (name, path) in &kept {
            terminal.line(format_args!(
                "{}: {name} signed two histories and is refused from now on; {} proves it",
                terminal.paint(Tone::Bad, "refused"),
                path.display()
            ));
        }
        let kept: Vec<_> =
            kept.iter().map(|(name, path)| json!({ "name": name, "evidence": path })).collect();
        terminal.value(&json!({ "refused": kept }));
        Ok(Exit::YES)
    }
}

fn list(terminal: &Terminal) -> anyhow::Result<Exit> {
    let contexts = contexts()?;
    let mut logs = Vec::new();
    for name in contexts.names()? {
        let context = contexts.open_anyway(&name)?;
        let Context { folder, log, gossip, .. } = &context;
        let pin = Pin::open(folder, log.clone())?;
        let size = pin.newest().map(|checkpoint| checkpoint.head().size.get());
        let pinned = size.map(|size| format!("size {size}")).unwrap_or_else(|| "nothing pinned".to_owned());
        terminal.line(format_args!("{name}: {} {} ({pinned})", log.url, log.key));
        if let Some(policy) = &log.policy {
            terminal.line(format_args!("  policy: {}", in_words(policy)));
        }
        for url in gossip {
            terminal.line(format_args!("  gossips with {url}"));
        }
        let evidence = contexts.conviction(&log.key, Some(folder))?.map(|conviction| conviction.path);
        if let Some(path) = &evidence {
            terminal.line(format_args!(
                "  {}: it signed two histories; {} proves it",
                terminal.paint(Tone::Bad, "REFUSED"),
                path.display()
            ));
        }
        logs.push(json!({
            "name": name, "url": log.url, "key": log.key.to_string(),
            "clock": log.clock.as_ref().map(ToString::to_string), "size": size, "gossip": gossip,
            "policy": log.policy.as_ref().map(LogPolicy::text), "evidence": evidence,
        }));
    }
    terminal.value(&json!({ "logs": logs }));
    Ok(Exit::YES)
}

/// A policy in a line: its witnesses, and whether any is needed.
fn in_words(policy: &LogPolicy) -> String {
    let text = policy.text();
    let quorum = text.lines().find_map(|line| line.trim_start().strip_prefix("quorum")).unwrap_or_default();
    let policy = policy.policy();
    let own = |key: &VerifierKey| policy.logs().iter().any(|log| policy.clock_of(&log.key) == Some(key));
    let names: Vec<_> =
        policy.witnesses().filter(|(_, listed)| !own(&listed.key)).map(|(name, _)| shown(name)).collect();
    match names.as_slice() {
        [] => format!("quorum {}, no witnesses", shown(quorum.trim())),
        names => format!("quorum {}; witnesses {}", shown(quorum.trim()), names.join(", ")),
    }
}

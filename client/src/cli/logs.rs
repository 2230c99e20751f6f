//! `counterfoil log`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use counterfoil_merkle::key::{Algorithm, VerifierKey};
use serde_json::json;

use super::{
    Exit, Terminal,
    target::{connect, contexts},
    terminal::{Tone, moment_s, shown},
};
use crate::{
    context::{Context, ContextError},
    file,
    log::KnownLog,
    pin::Pin,
};

/// The logs that you know.
#[derive(Debug, Subcommand)]
pub(super) enum Logs {
    /// Remember a log, and pin its present checkpoint.
    Add(Box<Add>),
    /// List the logs that you know.
    List,
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

    /// PEM file of the certificates to trust for its address, in place of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Logs {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(terminal).await,
            Self::List => list(terminal),
        }
    }
}

impl Add {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Self { name, url, key, clock, ca } = self;
        if key.algorithm() != Algorithm::Ed25519 {
            bail!("{key} is a cosigner's key, not a log's");
        }
        if let Some(clock) = &clock
            && (clock.algorithm() != Algorithm::CosignatureV1
                || clock.name().as_str() != format!("{}/clock", key.name()))
        {
            bail!(
                "{clock} is not the key of {}'s clock, which is a cosigner's key named {0}/clock",
                key.name()
            );
        }
        let contexts = contexts()?;
        let folder = contexts.folder(&name)?;
        match contexts.open(&name) {
            Ok(known) if known.log.key != key => {
                bail!(
                    "{name} is known already, as {}; remove {} to forget it",
                    known.log.key,
                    folder.display()
                )
            }
            Ok(_) | Err(ContextError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let absolute = |path: PathBuf| std::path::absolute(path);
        let url = if url.contains("://") { url } else { absolute(url.into())?.display().to_string() };
        let known = KnownLog { key, clock, url };
        known.trust()?;
        let authorities = ca.map(absolute).transpose()?;
        let log = connect(&known, authorities.as_ref(), 2)?;
        let latest = log.checkpoint().await?;

        let context = Context { name, folder, log: known.clone(), authorities };
        // Held first: an address that shows another history is not remembered.
        file::create_folder(&context.folder)?;
        Pin::open(&context.folder, known)?.hold(&log, &latest.checkpoint).await?;
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
        terminal.value(&json!({
            "name": context.name, "origin": origin.as_str(), "url": context.log.url,
            "size": head.size.get(), "root": head.root.to_string(), "time": time,
        }));
        Ok(Exit::YES)
    }
}

fn list(terminal: &Terminal) -> anyhow::Result<Exit> {
    let contexts = contexts()?;
    let mut logs = Vec::new();
    for name in contexts.names()? {
        let context = contexts.open(&name)?;
        let pin = Pin::open(&context.folder, context.log.clone())?;
        let size = pin.newest().map(|checkpoint| checkpoint.head().size.get());
        let pinned = size.map(|size| format!("size {size}")).unwrap_or_else(|| "nothing pinned".to_owned());
        terminal.line(format_args!("{name}: {} {} ({pinned})", context.log.url, context.log.key));
        logs.push(json!({
            "name": name, "url": context.log.url, "key": context.log.key.to_string(),
            "clock": context.log.clock.as_ref().map(ToString::to_string), "size": size,
        }));
    }
    terminal.value(&json!({ "logs": logs }));
    Ok(Exit::YES)
}

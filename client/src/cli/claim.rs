//! `counterfoil claim`: claim keys on paper and in files.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use counterfoil_receipt::{
    claim::{Claim, ClaimKey, PrintedClaim},
    verify::verify,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, LogArgs, MemoryArgs, No, Terminal, place::Place, target::contexts};
use crate::file::{self, Access};

const CLAIM_BYTES_MAX: usize = 64 * 1024;

/// Claim keys: whoever holds the one that came with an answer may dispute its receipt.
#[derive(Debug, Subcommand)]
pub(super) enum ClaimCommand {
    /// Print a claim key for paper or post, with a few words on what it is for.
    Export(Export),
    /// Make a file of a claim key that came on paper or in a message.
    Import(Box<Import>),
}

#[derive(Args, Debug)]
pub(super) struct Export {
    /// The claim key's file, `<id>.claim.json`; `-` for standard input.
    #[arg(value_name = "FILE")]
    claim: PathBuf,

    /// Where to put the page, readable by you alone; standard output by default.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The file, or a text with the printed form in it; `-` for standard input.
    #[arg(value_name = "FILE")]
    claim: PathBuf,

    /// Where to put it; `<id>.claim.json` by default. Nothing may be there yet.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A claim key as somebody has it.
#[derive(Debug)]
pub(super) enum Held {
    /// In its file.
    Whole(Claim),
    /// As it was printed.
    Printed(PrintedClaim),
}

impl Held {
    /// Reads a file with a claim key in either form.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = if path.as_os_str() == "-" {
            let mut bytes = Zeroizing::new(Vec::new());
            let limit = u64::try_from(CLAIM_BYTES_MAX)?;
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
            bytes
        } else {
            Zeroizing::new(file::read(path, CLAIM_BYTES_MAX)?)
        };
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::Whole(Claim::parse(&bytes)?));
        }
        let text = std::str::from_utf8(&bytes).context("a claim key is text")?;
        let printed = text.split_whitespace().find(|word| word.to_ascii_lowercase().starts_with("cf1"));
        let printed = printed.context("there is no claim key in it: those begin with cf1")?;
        Ok(Self::Printed(PrintedClaim::parse(printed)?))
    }

    /// The key.
    pub(super) const fn key(&self) -> &ClaimKey {
        match self {
            Self::Whole(claim) => &claim.key,
            Self::Printed(claim) => &claim.key,
        }
    }

    /// The receipt it belongs to.
    pub(super) fn place(&self) -> anyhow::Result<Place> {
        let text = match self {
            Self::Whole(claim) => claim.id.to_string(),
            Self::Printed(claim) => claim.id_start.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        text.parse().map_err(anyhow::Error::msg)
    }

    /// Names the log that the claim is of, if that is known and nobody named one.
    pub(super) fn name_log(&self, log: &mut LogArgs) -> anyhow::Result<()> {
        let Self::Whole(claim) = self else { return Ok(()) };
        if log.log.is_some() || log.url.is_some() {
            return Ok(());
        }
        let contexts = contexts()?;
        for name in contexts.names()? {
            let known = contexts.open_anyway(&name)?.log;
            if known.key.name().as_str() == claim.log.as_str() {
                log.log = Some(name);
                return Ok(());
            }
        }
        bail!("the receipt is in {}, which is no log that you know: use `counterfoil log add`", claim.log)
    }
}

impl ClaimCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Export(export) => export.run(terminal),
            Self::Import(import) => import.run(terminal).await,
        }
    }
}

impl Export {
    fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Held::Whole(claim) = Held::read(&self.claim)? else {
            bail!("this is the printed form already; `counterfoil claim import` makes a file of it");
        };
        let page = page(&claim);
        if let Some(path) = &self.output {
            file::create(path, page.as_bytes(), Access::Secret)?;
            terminal.line(format_args!("{} (readable by you alone)", path.display()));
            terminal.value(&json!({ "id": claim.id.to_string(), "log": claim.log.as_str(), "page": path }));
            return Ok(Exit::YES);
        }
        if terminal.is_json() {
            let printed = claim.to_printable();
            terminal.value(&json!({
                "id": claim.id.to_string(), "log": claim.log.as_str(), "printed": printed.as_str(),
            }));
        } else {
            terminal.raw(format_args!("{}", page.as_str()));
        }
        Ok(Exit::YES)
    }
}

/// What somebody holds in hand who never heard of logs.
fn page(claim: &Claim) -> Zeroizing<String> {
    let printed = claim.to_printable();
    Zeroizing::new(format!(
        "Claim key for an answer that an AI service gave.\n\n\
         There is a receipt of this answer in the public log {log}.\n\
         Whoever holds this key may dispute the receipt: that the answer was altered, came from\n\
         another model, did harm, or is a wrong decision. Nobody has to allow it, and nothing of\n\
         what was asked or answered is revealed. You may hand the key on to the person whom the\n\
         answer was about. Keep it as you would keep a ticket: whoever has it can use it.\n\n\
         receipt  {id}\n\
         log      {log}\n\
         key      {printed}\n\n\
         To see what stands:   counterfoil standing {id}\n\
         To dispute it:        counterfoil dispute --claim THIS-FILE\n",
        log = claim.log,
        id = claim.id,
        printed = printed.as_str(),
    ))
}

impl Import {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let held = Held::read(&self.claim)?;
        let mut log = self.log.clone();
        held.name_log(&mut log)?;
        let opened = log.open(&self.memory, 2)?;
        let bundle = held.place()?.fetch(&opened.log).await?;
        let report = verify(&bundle, &opened.log.known().trust()?, None);
        if let Some(failure) = report.failures().into_iter().next() {
            return Err(No(format!("the receipt of this claim does not verify: {failure}")).into());
        }
        if bundle.entry.claim.as_ref() != Some(held.key().signing_key().public()) {
            return Err(No(format!("the receipt {} has another claim key", bundle.entry.id)).into());
        }
        let log = opened.log.known().key.name().as_str().parse()?;
        let claim = Claim { id: bundle.entry.id, log, key: held.key().clone() };
        let path = self.output.unwrap_or_else(|| PathBuf::from(format!("{}.claim.json", claim.id)));
        file::create(&path, claim.to_json().as_bytes(), Access::Secret)?;
        terminal.line(format_args!(
            "the claim key of receipt {} in {}: {} (readable by you alone)",
            claim.id,
            claim.log,
            path.display()
        ));
        terminal.value(&json!({ "id": claim.id.to_string(), "log": claim.log.as_str(), "file": path }));
        Ok(Exit::YES)
    }
}

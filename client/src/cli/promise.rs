//! `counterfoil promise`.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use counterfoil_merkle::{TreeHead, note::NOTE_BYTES_MAX};
use counterfoil_receipt::{
    Envelope, Timestamp,
    completeness::{Completeness, Holding, PromiseOutcome},
    envelope::ENVELOPE_BYTES_MAX,
    standing::PromiseState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Exit, LogArgs, MemoryArgs, Opened, Terminal,
    audit::{no_holding, promise_text, promise_value, read_promise},
    progress::Progress,
};
use crate::{
    file::{self, Access},
    log::Latest,
    walk::{Walk, complete},
};

/// What stands in a proof that a promise was broken.
const FORMAT: &str = "counterfoil-broken-promise/v1";

/// Most bytes of such a proof: the envelope, and the longest checkpoint with its escapes.
const PROOF_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 2 * NOTE_BYTES_MAX + 1024;

/// Promises of receipts.
#[derive(Debug, Subcommand)]
pub(super) enum PromiseCommand {
    /// Say what became of a promise: the whole log is read for the receipt, and held against its signed tree head.
    ///
    /// Exit code 0: it was kept; 1: it was not, or late; 2: it is not due yet, or that could not be told.
    Check(Check),
}

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The promise: the envelope that came with the answer, as a file or as it stood in the header.
    #[arg(value_name = "ENVELOPE", required_unless_present = "proof")]
    promise: Option<PathBuf>,

    /// A proof that somebody else made: it is checked against the log's entries, which --url may name in a directory.
    #[arg(long, value_name = "FILE", conflicts_with = "promise")]
    proof: Option<PathBuf>,

    /// If the promise was broken, put the proof here: the promise, and the checkpoint of a tree that has no such receipt. With the
    /// log's entries, which a mirror keeps too, it convinces anybody, for ever.
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    out: Option<PathBuf>,
}

/// A proof that a promise was broken, in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    format: String,
    promise: Value,
    checkpoint: String,
}

impl PromiseCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Self::Check(check) = self;
        check.run(terminal).await
    }
}

impl Check {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let (envelope, latest) = self.given(&mut opened, terminal).await?;
        let head = latest.checkpoint.head();
        let attested =
            latest.clock.as_ref().and_then(|it| Timestamp::from_millis(it.time_s.saturating_mul(1000)));
        let attested =
            attested.context("nothing says how late it is: say the key of the log's clock, --clock")?;
        let outcome = judge(&opened, &envelope, head, attested, terminal).await?;
        let file = match (&self.out, &outcome.state) {
            (Some(out), PromiseState::Broken { .. }) => {
                let proof = Proof {
                    format: FORMAT.to_owned(),
                    promise: serde_json::from_str(&envelope.to_json())?,
                    checkpoint: latest.checkpoint.signed().to_string(),
                };
                file::replace(out, serde_json::to_string(&proof)?.as_bytes(), Access::Public)?;
                Some(out)
            }
            _ => None,
        };
        let (tone, text) = promise_text(&outcome);
        terminal.line(format_args!("promise {}: {}", outcome.promise, terminal.paint(tone, text)));
        terminal.line(format_args!(
            "among {} entries, which are those of the tree that the log signed, root {}",
            head.size, head.root
        ));
        if let Some(file) = file {
            terminal.line(format_args!("proof: {}", file.display()));
        }
        let mut value = promise_value(&outcome);
        let more = json!({
            "size": head.size.get(), "root": head.root.to_string(), "attested": attested.millis(), "proof": file,
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        terminal.value(&value);
        Ok(match outcome.state {
            PromiseState::Kept { late: false, .. } => Exit::YES,
            PromiseState::Kept { late: true, .. } | PromiseState::Broken { .. } => Exit::NO,
            PromiseState::Pending { .. } => Exit::UNKNOWN,
        })
    }

    /// The promise, and the checkpoint that it is judged by: the log's present one, or that of a proof.
    async fn given(&self, opened: &mut Opened, terminal: &Terminal) -> anyhow::Result<(Envelope, Latest)> {
        match (&self.promise, &self.proof) {
            (Some(path), _) => {
                let envelope = read_promise(path)?;
                let latest = opened.log.checkpoint().await?;
                opened.hold(&latest.checkpoint, terminal).await?;
                Ok((envelope, latest))
            }
            (None, Some(path)) => {
                let bytes = file::read(path, PROOF_BYTES_MAX)?;
                let proof: Proof =
                    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
                ensure!(proof.format == FORMAT, "{}: the format is not {FORMAT}", path.display());
                let envelope = Envelope::parse(proof.promise.to_string().as_bytes())?;
                Ok((envelope, opened.log.known().check(&proof.checkpoint)?))
            }
            (None, None) => bail!("say which promise"),
        }
    }
}

/// What became of a promise by that time, in the tree that the log signed.
async fn judge(
    opened: &Opened,
    envelope: &Envelope,
    head: TreeHead,
    attested: Timestamp,
    terminal: &Terminal,
) -> anyhow::Result<PromiseOutcome> {
    let origin = opened.log.known().key.name().as_str().parse()?;
    let mut audit = Completeness::new(origin, envelope.key().clone(), None);
    let holding = Holding { envelope: envelope.clone(), proven_at: None };
    audit.hold(holding).map_err(no_holding)?;
    let mut progress = Progress::new(terminal);
    let mut show = |size| progress.show(format_args!("{size} entries"));
    // Whether statements are shown does not matter: issuer and claim key stand in the entries.
    let _withheld = complete(Walk::new(&opened.log, head, head.size)?, &mut audit, &mut show).await?;
    progress.clear();
    let outcome = audit.finish(Some(attested), 0).promises.pop();
    outcome.context("what was given is no promise, but a record")
}

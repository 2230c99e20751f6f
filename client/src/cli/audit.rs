//! `counterfoil audit`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use counterfoil_merkle::{Hash, LeafIndex, checkpoint::VerifiedCheckpoint};
use counterfoil_receipt::{
    Entry, Envelope, PublicKey, Timestamp,
    audit::{Finding, Place, streams::GAP_GRACE_MS},
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    completeness::{Completeness, Extent, Finished, HoldError, Holding, PromiseOutcome},
    envelope::ENVELOPE_BYTES_MAX,
    standing::PromiseState,
    statement::StreamId,
    verify::verify,
};
use serde_json::{Value, json};

use super::{
    Exit, LogArgs, MemoryArgs, No, Opened, Terminal,
    progress::Progress,
    record::public_key,
    records::assemble,
    terminal::{Tone, moment},
};
use crate::{
    file::{self, Access},
    log::Latest,
    walk::{Walk, complete},
};

/// Audits: whether an issuer logged all that it issued.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Walk an issuer's streams: gaps, forks, and tails that are missing by its epoch records or by what you hold.
    ///
    /// The whole log is read and held against its signed tree head. Exit code 0: nothing is missing; 1: something is, or contradicts
    /// something else; 2: it could not be told, or what is missing may still be on its way.
    Stream(Box<StreamAudit>),
}

#[derive(Args, Debug)]
pub(super) struct StreamAudit {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The issuer's key.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    issuer: PublicKey,

    /// One stream of it: 32 hex digits; all of them by default.
    #[arg(long, value_name = "HEX")]
    stream: Option<StreamId>,

    /// The bundle or envelope of a receipt of the issuer's that you hold: the log must have it. May be given more than once.
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,

    /// A promise of a receipt that you hold: the envelope that came with the answer. May be given more than once.
    #[arg(long, value_name = "ENVELOPE")]
    promise: Vec<PathBuf>,

    /// How long, in seconds, a number may be missing before that counts: records that were sent side by side come out of order.
    #[arg(long, value_name = "S", default_value_t = GAP_GRACE_MS / 1000)]
    grace: u64,

    /// Put the checkpoint, and a bundle of each record that something was found at, here: they verify offline, for ever.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A record, by its place, for a bundle.
type Placed = (LeafIndex, Hash, Entry);

impl AuditCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Self::Stream(audit) = self;
        audit.run(terminal).await
    }
}

impl StreamAudit {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let origin = opened.log.known().key.name().as_str().parse()?;
        let mut audit = Completeness::new(origin, self.issuer.clone(), self.stream);
        for path in &self.promise {
            let holding = Holding { envelope: read_promise(path)?, proven_at: None };
            audit.hold(holding).map_err(no_holding).with_context(|| path.display().to_string())?;
        }
        for path in &self.receipt {
            let holding = held(path, &opened)?;
            audit.hold(holding).map_err(no_holding).with_context(|| path.display().to_string())?;
        }
        let Latest { checkpoint, clock, .. } = opened.log.checkpoint().await?;
        opened.hold(&checkpoint, terminal).await?;
        let head = checkpoint.head();
        let mut progress = Progress::new(terminal);
        let mut show = |size| progress.show(format_args!("{size} entries"));
        let withheld = complete(Walk::new(&opened.log, head, head.size)?, &mut audit, &mut show).await?;
        progress.clear();
        let attested = clock.and_then(|clock| Timestamp::from_millis(clock.time_s.saturating_mul(1000)));
        let finished = audit.finish(attested, self.grace.saturating_mul(1000));
        let kept = self.keep(&opened, &checkpoint, &finished).await?;
        let seen = Seen { withheld, attested };
        seen.print(&self, &checkpoint, &finished, &kept, terminal);
        Ok(seen.exit(&finished))
    }

    /// Writes what proves the findings, if that is wanted: the files.
    async fn keep(
        &self,
        opened: &Opened,
        checkpoint: &VerifiedCheckpoint,
        finished: &Finished,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let Some(out) = &self.out else { return Ok(Vec::new()) };
        file::create_folder(out)?;
        let path = out.join("checkpoint");
        file::replace(&path, checkpoint.signed().to_string().as_bytes(), Access::Public)?;
        let mut kept = vec![path];
        let mut indexes: Vec<_> = finished.report.findings().iter().filter_map(index).collect();
        indexes.sort();
        indexes.dedup();
        for index in indexes {
            let (index, leaf, entry) = placed(opened, checkpoint, index).await?;
            let shown = !opened.log.statement(index, checkpoint.head().size).await?.is_empty();
            let bundle = assemble(&opened.log, checkpoint, index, leaf, &entry, shown).await?;
            let path = out.join(format!("{}.counterfoil.json", entry.id));
            file::replace(&path, bundle.to_json().as_bytes(), Access::Public)?;
            kept.push(path);
        }
        Ok(kept)
    }
}

const fn index(finding: &Finding) -> Option<LeafIndex> {
    if let Place::Entry(index) = finding.place { Some(index) } else { None }
}

async fn placed(
    opened: &Opened,
    checkpoint: &VerifiedCheckpoint,
    index: LeafIndex,
) -> anyhow::Result<Placed> {
    let entry = opened.log.entry(index, checkpoint.head().size).await?;
    Ok((index, Hash::leaf(&entry), Entry::parse(&entry)?))
}

/// A promise, in a file as it is written or as it stood in the header of the answer.
pub(super) fn read_promise(path: &Path) -> anyhow::Result<Envelope> {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let bytes = file::read(path, ENVELOPE_BYTES_MAX)?;
    let decoded = BASE64.decode(bytes.trim_ascii()).unwrap_or(bytes);
    Envelope::parse(&decoded).with_context(|| path.display().to_string())
}

/// A record that somebody holds: an envelope, or a bundle with its proof.
fn held(path: &Path, opened: &Opened) -> anyhow::Result<Holding> {
    let bytes = file::read(path, BUNDLE_BYTES_MAX)?;
    if let Ok(envelope) = Envelope::parse(&bytes) {
        return Ok(Holding { envelope, proven_at: None });
    }
    let bundle = Bundle::parse(&bytes).with_context(|| path.display().to_string())?;
    let statement = bundle.statement.clone();
    let statement = statement.with_context(|| format!("{}: its statement was erased", path.display()))?;
    let envelope = bundle.entry.envelope(statement).with_context(|| path.display().to_string())?;
    // Whether this very log proved it: what another proved says nothing here, but the issuer's signature does.
    let report = verify(&bundle, &opened.log.known().trust()?, None);
    Ok(Holding { envelope, proven_at: report.holds().then_some(report.index) })
}

/// What an audit could see.
struct Seen {
    withheld: bool,
    attested: Option<Timestamp>,
}

impl Seen {
    fn exit(&self, finished: &Finished) -> Exit {
        let nothing = finished.streams.is_empty() && finished.promises.is_empty();
        if !finished.report.findings().is_empty() {
            Exit::NO
        } else if nothing || self.withheld || finished.untimed || finished.waiting > 0 {
            Exit::UNKNOWN
        } else {
            Exit::YES
        }
    }

    fn print(
        &self,
        audit: &StreamAudit,
        checkpoint: &VerifiedCheckpoint,
        finished: &Finished,
        kept: &[PathBuf],
        terminal: &Terminal,
    ) {
        let exit = self.exit(finished);
        if terminal.is_json() {
            let head = checkpoint.head();
            return terminal.value(&json!({
                "log": checkpoint.signed().unverified().origin.as_str(), "size": head.size.get(), "root": head.root.to_string(),
                "attested": self.attested.map(Timestamp::millis), "issuer": audit.issuer.as_str(),
                "complete": exit == Exit::YES, "withheld": self.withheld, "waiting": finished.waiting,
                "streams": finished.streams.iter().map(stream_value).collect::<Vec<_>>(),
                "promises": finished.promises.iter().map(promise_value).collect::<Vec<_>>(),
                "findings": finished.report.findings().iter().map(finding_value).collect::<Vec<_>>(),
                "files": kept,
            }));
        }
        for (stream, extent) in &finished.streams {
            terminal.line(stream_line(*stream, extent));
        }
        for outcome in &finished.promises {
            let (tone, text) = promise_text(outcome);
            terminal.line(format_args!("promise {}: {}", outcome.promise, terminal.paint(tone, text)));
        }
        for finding in finished.report.findings() {
            terminal.line(terminal.paint(Tone::Bad, finding));
        }
        for path in kept {
            terminal.line(format_args!("kept: {}", path.display()));
        }
        let (tone, text) = self.verdict(exit, finished);
        terminal.line(terminal.paint(tone, text));
    }

    fn verdict(&self, exit: Exit, finished: &Finished) -> (Tone, String) {
        match exit {
            Exit::YES => (Tone::Good, "complete, by all that the log and what you hold can show".to_owned()),
            Exit::NO => (Tone::Bad, "NOT complete".to_owned()),
            _ if finished.waiting > 0 => {
                let text =
                    format!("cannot tell yet: {} numbers may be on their way; ask again", finished.waiting);
                (Tone::Warn, text)
            }
            _ if self.withheld => {
                (Tone::Warn, "cannot tell: the log shows its statements to token holders only".to_owned())
            }
            _ if finished.untimed => (
                Tone::Warn,
                "cannot tell: without the key of the log's clock no promise is judged".to_owned(),
            ),
            _ => (Tone::Warn, "cannot tell: the log has no stream of this issuer".to_owned()),
        }
    }
}

fn stream_line(stream: StreamId, extent: &Extent) -> String {
    let reach = match extent.highest {
        Some(highest) => format!("numbers up to {highest}, without a gap up to {}", extent.next),
        None => "no number".to_owned(),
    };
    let unseen = match extent.unseen {
        0 => String::new(),
        unseen => format!(", {unseen} of them without their statements"),
    };
    format!("stream {stream}: {} records{unseen}, {reach}, {} epoch records", extent.records, extent.epochs)
}

fn stream_value((stream, extent): (&StreamId, &Extent)) -> Value {
    json!({
        "stream": stream.to_string(), "records": extent.records, "unseen": extent.unseen,
        "highest": extent.highest, "next": extent.next, "epochs": extent.epochs,
    })
}

fn finding_value(finding: &Finding) -> Value {
    json!({
        "class": finding.class().as_str(), "code": finding.code.as_str(), "place": finding.place.to_string(),
        "message": finding.message,
    })
}

/// What became of a promise, in words.
pub(super) fn promise_text(outcome: &PromiseOutcome) -> (Tone, String) {
    match &outcome.state {
        PromiseState::Kept { receipt, at, late } => {
            let (tone, late) = if *late { (Tone::Bad, ", LATE") } else { (Tone::Good, "") };
            (tone, format!("kept{late}, on {}, by leaf {receipt}", moment(*at)))
        }
        PromiseState::Pending { by } => (Tone::Warn, format!("not due before {}", moment(*by))),
        PromiseState::Broken { since } => (Tone::Bad, format!("BROKEN since {}", moment(*since))),
    }
}

/// What became of a promise, for programs.
pub(super) fn promise_value(outcome: &PromiseOutcome) -> Value {
    let mut value = json!({ "promise": outcome.promise.to_string() });
    let (state, more) = match &outcome.state {
        PromiseState::Kept { receipt, at, late } => {
            let index = outcome.index.map(LeafIndex::get);
            let more = json!({ "leaf": receipt.to_string(), "index": index, "at": at.millis() });
            (if *late { "late" } else { "kept" }, more)
        }
        PromiseState::Pending { by } => ("pending", json!({ "by": by.millis() })),
        PromiseState::Broken { since } => ("broken", json!({ "by": since.millis() })),
    };
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.insert("state".to_owned(), state.into());
        value.extend(more);
    }
    value
}

/// Why something that is held is of no use here: two records of one number are an answer, all else tells nothing.
pub(super) fn no_holding(error: HoldError) -> anyhow::Error {
    match error {
        twice @ HoldError::NumberAgain { .. } => No(twice.to_string()).into(),
        error => error.into(),
    }
}

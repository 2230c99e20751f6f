//! What a light client remembers of a log, demands of it, and passes on.

use std::{error::Error as _, fmt, path::PathBuf};

use clap::Args;
use counterfoil_merkle::{
    Hash,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    evidence::ForkEvidence,
    tlogproof::TlogProof,
};
use counterfoil_receipt::{bundle::Bundle, verify::Report};

use super::{Opened, Terminal, history::History, terminal::shown};
use crate::{
    file::{self, Access},
    fork::Sighting,
    gossip::{Gossip, GossipError, Heard},
    pin::{Held, PinError},
};

/// Whether checkpoints are remembered, and who hears of them.
#[derive(Args, Clone, Debug, Default)]
pub struct MemoryArgs {
    /// Neither hold the log against the newest checkpoint seen of it, nor remember the one seen now.
    #[arg(long)]
    pub no_remember: bool,

    /// Address of a monitor to tell which checkpoint was seen, and to hear whether it saw another history. May be repeated;
    /// those that `log add` remembered are told in any case.
    #[arg(long, value_name = "URL")]
    pub gossip: Vec<String>,
}

impl MemoryArgs {
    /// All monitors to gossip with, those that are known for the log among them.
    pub(super) fn monitors(&self, known: &[String]) -> anyhow::Result<Vec<Gossip>> {
        let new = self.gossip.iter().filter(|url| !known.contains(url));
        known.iter().chain(new).map(|url| Ok(Gossip::new(url, None)?)).collect()
    }
}

impl Opened {
    /// Demands that a checkpoint is consistent with the newest one seen, remembers it if it is newer, and tells those that
    /// are to hear of it.
    ///
    /// # Errors
    /// [`PinError`] if it is not, or if somebody proves that the log signed two histories.
    pub async fn hold(
        &mut self,
        checkpoint: &VerifiedCheckpoint,
        terminal: &Terminal,
    ) -> anyhow::Result<Held> {
        let held = self.hold_quietly(checkpoint, None).await;
        // Told in any case: what this log cannot settle, a monitor may.
        self.tell(checkpoint.signed(), terminal).await?;
        held
    }

    /// As [`Opened::hold`], of a checkpoint that perhaps proves a record, and without gossip.
    pub async fn hold_quietly(
        &mut self,
        checkpoint: &VerifiedCheckpoint,
        record: Option<(&TlogProof, Hash)>,
    ) -> anyhow::Result<Held> {
        let sighting = match record {
            Some((proof, leaf)) => Sighting::with_record(proof.clone(), leaf),
            None => Sighting::of(checkpoint.signed().clone()),
        };
        match self.pin.hold_sighting(&self.log, checkpoint, &sighting).await {
            Err(forked @ PinError::Forked { .. }) => Err(self.accuse(forked).await?.into()),
            held => Ok(held?),
        }
    }

    /// Holds the checkpoint of a bundle against what was seen of the log before, and tells of it.
    pub(super) async fn history(&mut self, bundle: &Bundle, report: &Report, terminal: &Terminal) -> History {
        let Ok(accepted) = &report.checkpoint else { return History::NotAsked };
        let record = report.inclusion.is_ok().then_some((&bundle.proof, report.leaf));
        let held = self.hold_quietly(&accepted.checkpoint, record).await;
        match self.tell(accepted.checkpoint.signed(), terminal).await {
            Ok(()) => History::of(held),
            Err(forked) => History::of(Err(forked)),
        }
    }

    /// Tells those that are to hear of a checkpoint, and says on standard error what they answer. Who is silent, or claims
    /// what he does not prove, is in nobody's way.
    ///
    /// # Errors
    /// [`PinError::Forked`] if somebody proves that the log signed two histories.
    pub async fn tell(&self, checkpoint: &SignedCheckpoint, terminal: &Terminal) -> anyhow::Result<()> {
        for told in self.ask(checkpoint).await? {
            terminal.note(format_args!("gossip: {}", shown(&told.to_string())));
        }
        Ok(())
    }

    /// As [`Opened::tell`], and gives the answers instead.
    pub(super) async fn ask(&self, checkpoint: &SignedCheckpoint) -> anyhow::Result<Vec<Told>> {
        let key = &self.log.known().key;
        let mut told = Vec::new();
        for monitor in &self.gossip {
            let mut heard = monitor.tell(checkpoint, key).await;
            // It cannot judge so large a tree yet; but perhaps a smaller one that was seen of this history.
            if let Ok(Heard::Unknown { size }) = heard
                && let Some(older) = self.pin.newest_up_to(size)
                && let Ok(Heard::Forked(evidence)) = monitor.tell(older.signed(), key).await
            {
                heard = Ok(Heard::Forked(evidence));
            }
            if let Ok(Heard::Forked(evidence)) = heard {
                return Err(self.forked(*evidence).await?.into());
            }
            told.push(Told { monitor: monitor.to_string(), heard });
        }
        Ok(told)
    }

    /// Keeps evidence against the log, and hands it to those that are to hear of it; the error to end with.
    pub(super) async fn forked(&self, evidence: ForkEvidence) -> anyhow::Result<PinError> {
        self.accuse(self.pin.convict(evidence)?).await
    }

    /// Sees to it that evidence is kept somewhere, and hands it on.
    async fn accuse(&self, forked: PinError) -> anyhow::Result<PinError> {
        let forked = match forked {
            PinError::Forked { path: None, origin, evidence } => kept_here(origin, evidence)?,
            forked => forked,
        };
        if let PinError::Forked { evidence, .. } = &forked {
            for monitor in &self.gossip {
                // Whether it takes it is its own affair: the evidence is kept here.
                drop(monitor.accuse(evidence).await);
            }
        }
        Ok(forked)
    }
}

/// What a monitor answered.
#[derive(Debug)]
pub(super) struct Told {
    /// Which monitor.
    pub(super) monitor: String,
    /// What it said.
    pub(super) heard: Result<Heard, GossipError>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.monitor)?;
        match &self.heard {
            Ok(Heard::Consistent) => write!(f, "has seen the same history"),
            Ok(Heard::Unknown { size }) => write!(f, "has verified {size} entries and cannot tell yet"),
            Ok(Heard::Forked(_)) => write!(f, "proves that the log signed another history"),
            Ok(Heard::Unproven { reason: None }) => {
                write!(f, "claims that the log signed another history, and proves nothing")
            }
            Ok(Heard::Unproven { reason: Some(reason) }) => {
                write!(f, "claims that the log signed another history; its proof does not hold: {reason}")
            }
            Err(error) => {
                write!(f, "cannot be asked: {error}")?;
                let mut cause = error.source();
                while let Some(deeper) = cause {
                    write!(f, ": {deeper}")?;
                    cause = deeper.source();
                }
                Ok(())
            }
        }
    }
}

/// Keeps evidence where the command was given: a log without a name has no folder.
fn kept_here(origin: String, evidence: Box<ForkEvidence>) -> Result<PinError, file::FileError> {
    let path = PathBuf::from(format!("{}.fork-evidence.txt", evidence.id()));
    file::replace_durably(&path, evidence.to_string().as_bytes(), Access::Public)?;
    Ok(PinError::Forked { origin, path: Some(path), evidence })
}

//! What a light client remembers of a log, demands of it, and passes on.

use std::path::PathBuf;

use clap::Args;
use counterfoil_merkle::{
    Hash,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    evidence::ForkEvidence,
    tlogproof::TlogProof,
};
use counterfoil_receipt::{bundle::Bundle, verify::Report};

use super::{Opened, Terminal, report::History, terminal::shown};
use crate::{
    file::{self, Access},
    fork::Sighting,
    gossip::{Gossip, Heard},
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
            Err(PinError::Forked { path: None, origin, evidence }) => {
                Err(kept_here(origin, evidence)?.into())
            }
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

    /// Tells those that are to hear of a checkpoint. Who is silent, or claims what he does not prove, is in nobody's way.
    ///
    /// # Errors
    /// [`PinError::Forked`] if somebody proves that the log signed two histories.
    pub async fn tell(&self, checkpoint: &SignedCheckpoint, terminal: &Terminal) -> anyhow::Result<()> {
        let key = &self.log.known().key;
        for monitor in &self.gossip {
            let mut heard = monitor.tell(checkpoint, key).await;
            // It cannot judge so large a tree yet; but perhaps a smaller one that was seen of this history.
            if let Ok(Heard::Unknown { size }) = heard
                && let Some(older) = self.pin.newest_up_to(size)
                && let Ok(Heard::Forked(evidence)) = monitor.tell(older.signed(), key).await
            {
                heard = Ok(Heard::Forked(evidence));
            }
            let said = match heard {
                Ok(Heard::Forked(evidence)) => return Err(self.forked(*evidence)?.into()),
                Ok(Heard::Consistent) => "has seen the same history".to_owned(),
                Ok(Heard::Unknown { size }) => format!("has verified {size} entries and cannot tell yet"),
                Ok(Heard::Unproven { reason: None }) => {
                    "claims that the log signed another history, and proves nothing".to_owned()
                }
                Ok(Heard::Unproven { reason: Some(reason) }) => {
                    format!("claims that the log signed another history; its proof does not hold: {reason}")
                }
                Err(error) => format!("cannot be asked: {:#}", anyhow::Error::from(error)),
            };
            terminal.note(format_args!("gossip: {}", shown(&format!("{monitor} {said}"))));
        }
        Ok(())
    }

    /// Keeps evidence against the log; the error to end with.
    pub(super) fn forked(&self, evidence: ForkEvidence) -> anyhow::Result<PinError> {
        match self.pin.convict(evidence)? {
            PinError::Forked { path: None, origin, evidence } => Ok(kept_here(origin, evidence)?),
            forked => Ok(forked),
        }
    }
}

/// Keeps evidence where the command was given: a log without a name has no folder.
fn kept_here(origin: String, evidence: Box<ForkEvidence>) -> Result<PinError, file::FileError> {
    let path = PathBuf::from(format!("{}.fork-evidence.txt", evidence.id()));
    file::replace_durably(&path, evidence.to_string().as_bytes(), Access::Public)?;
    Ok(PinError::Forked { origin, path: Some(path), evidence })
}

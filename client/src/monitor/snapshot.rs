//! What a monitor knows of a log at one moment, for whoever asks while it goes on reading.

use std::path::{Path, PathBuf};

use counterfoil_merkle::{
    Frontier, TreeHead, TreeSize,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    evidence::ForkEvidence,
    key::VerifierKey,
};
use counterfoil_receipt::Timestamp;

use super::{
    Relation, judge_growth,
    state::{Newest, State, StateDir, StateError, stripped},
    tiles::OwnTiles,
};

/// What a monitor knows. Cheap to clone; it stays what it was while the monitor goes on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    log: VerifierKey,
    cosigners: Vec<VerifierKey>,
    frontier: Frontier,
    newest: Option<Newest>,
    tiles: OwnTiles,
    attested_s: Option<u64>,
    advanced: Option<Timestamp>,
    mirror: Option<PathBuf>,
}

/// What a checkpoint that somebody else holds is to the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the tree that the monitor verified.
    Consistent,
    /// Of another: here is the proof.
    Inconsistent(Box<ForkEvidence>),
    /// Of a larger tree than the monitor has read.
    Unknown,
}

impl Snapshot {
    pub(super) fn of(
        directory: &StateDir,
        state: &State,
        log: &VerifierKey,
        cosigners: &[VerifierKey],
    ) -> Self {
        let tiles = directory.tiles().clone();
        Self {
            log: log.clone(),
            cosigners: cosigners.to_vec(),
            frontier: state.audit.frontier().clone(),
            newest: state.newest.clone(),
            attested_s: state.audit.times().newest_s(),
            advanced: state.advanced,
            mirror: state.keeps.then(|| tiles.root().to_owned()),
            tiles,
        }
    }

    /// The key of the log.
    pub const fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The tree as far as it was read and verified.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The newest checkpoint that the log is followed to, with the lines of the log and of known cosigners alone.
    pub const fn newest(&self) -> Option<&SignedCheckpoint> {
        match &self.newest {
            Some(newest) => Some(&newest.checkpoint),
            None => None,
        }
    }

    /// Where the log's files lie, at the paths at which a log serves them, if all of them are kept.
    pub fn mirror(&self) -> Option<&Path> {
        self.mirror.as_deref()
    }

    /// The size that the log has reached; what lies between it and that of [`Snapshot::head`] is still to be read.
    pub fn known_size(&self) -> TreeSize {
        self.newest.as_ref().map_or(TreeSize::ZERO, |newest| newest.head().size)
    }

    /// The newest time that the log's clock attested, in seconds.
    pub const fn attested_s(&self) -> Option<u64> {
        self.attested_s
    }

    /// When, by the monitor's clock, it last verified more than before.
    pub const fn advanced(&self) -> Option<Timestamp> {
        self.advanced
    }

    /// Holds somebody else's checkpoint against the tree, without the log's help. Reads at most 79 nodes.
    ///
    /// A fork that shows here is not filed: hand the note to the monitor's next round.
    pub fn judge(&self, seen: &VerifiedCheckpoint) -> Result<Verdict, StateError> {
        let Some(newest) = self.newest.clone() else { return Ok(Verdict::Unknown) };
        let (signed, size) = (stripped(seen, &self.cosigners), seen.head().size);
        let evidence = match Relation::of(seen.head(), newest.head()) {
            Relation::Same => None,
            Relation::OtherRoot => Some(ForkEvidence::same_size(newest.checkpoint, signed)),
            Relation::Smaller if size <= self.frontier.size() => {
                let own = self.tiles.growth(size, &self.frontier)?;
                let growth =
                    own.then(&newest.ahead).expect("the newest tree starts with the one that was read");
                judge_growth(signed, newest.checkpoint, growth)
            }
            Relation::Smaller | Relation::Larger => return Ok(Verdict::Unknown),
        };
        Ok(evidence.map_or(Verdict::Consistent, |evidence| Verdict::Inconsistent(Box::new(evidence))))
    }
}

//! What a monitor knows of a log at one moment, for whoever asks while it goes on reading.

use counterfoil_merkle::{
    Frontier, TreeHead, TreeSize,
    checkpoint::{SignedCheckpoint, VerifiedCheckpoint},
    evidence::ForkEvidence,
    key::VerifierKey,
};
use counterfoil_receipt::Timestamp;

use super::{
    Relation, judge_smaller,
    state::{StateError, stripped},
    tiles::OwnTiles,
};

/// What a monitor knows. Cheap to clone; it stays what it was while the monitor goes on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) log: VerifierKey,
    pub(super) clock: Option<VerifierKey>,
    pub(super) frontier: Frontier,
    pub(super) newest: Option<SignedCheckpoint>,
    pub(super) tiles: OwnTiles,
    pub(super) attested_s: Option<u64>,
    pub(super) advanced: Option<Timestamp>,
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
    /// The key of the log.
    pub const fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The tree that was read and verified.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The newest checkpoint that the log is followed to, with the lines of log and clock alone.
    pub const fn newest(&self) -> Option<&SignedCheckpoint> {
        self.newest.as_ref()
    }

    /// The size that the log has reached; what lies between it and that of [`Snapshot::head`] is still to be read.
    pub fn known_size(&self) -> TreeSize {
        self.newest.as_ref().map_or(TreeSize::ZERO, |newest| newest.unverified().head.size)
    }

    /// The newest time that the log's clock attested, in seconds.
    pub const fn attested_s(&self) -> Option<u64> {
        self.attested_s
    }

    /// When, by the monitor's clock, it last verified more than before.
    pub const fn advanced(&self) -> Option<Timestamp> {
        self.advanced
    }

    /// Holds somebody else's checkpoint against the verified tree, without the log's help. Reads at most 79 nodes.
    ///
    /// A fork that shows here is not filed: hand the note to the monitor's next round.
    pub fn judge(&self, seen: &VerifiedCheckpoint) -> Result<Verdict, StateError> {
        let Some(newest) = self.newest.clone() else { return Ok(Verdict::Unknown) };
        let signed = stripped(seen, self.clock.as_ref());
        Ok(match Relation::of(seen.head(), newest.unverified().head) {
            Relation::Same => Verdict::Consistent,
            Relation::OtherRoot => Verdict::Inconsistent(Box::new(ForkEvidence::same_size(newest, signed))),
            Relation::Larger => Verdict::Unknown,
            Relation::Smaller => {
                let growth = self.tiles.growth(seen.head().size, &self.frontier)?;
                match judge_smaller(signed, newest, growth) {
                    Some(evidence) => Verdict::Inconsistent(Box::new(evidence)),
                    None => Verdict::Consistent,
                }
            }
        })
    }
}

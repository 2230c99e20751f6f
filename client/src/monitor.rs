//! Watching a log: read everything, recompute everything, and keep what convicts it.
//!
//! This file decides and does nothing else; [`round`] fetches, [`state`] and [`tiles`] keep, [`forks`] files evidence.
//! A monitor trusts its own state alone: the tree that it verified leaf by leaf, its tiles, and the newest checkpoint that
//! the log signed for it.

pub mod forks;
mod growth;
pub mod reader;
pub mod round;
pub mod snapshot;
pub mod state;
pub mod tiles;
pub mod vantage;

pub use round::{Monitor, Observe, Outside, Record, Settings};
pub use snapshot::{Snapshot, Verdict};
pub use state::StateError;
pub use vantage::{Shows, Vantage};

use std::cmp::Ordering;

use counterfoil_merkle::{TreeHead, checkpoint::SignedCheckpoint, evidence::ForkEvidence, growth::Growth};
use counterfoil_receipt::Timestamp;

/// How old the newest attested time may be, unless somebody says otherwise: a log renews it once a minute.
pub const STALE_AFTER_S: u64 = 300;

/// Most entries that one checkpoint may add: 2 GB of tiles. More takes an operator's word.
pub const GROWTH_MAX: u64 = 1 << 26;

/// Most signed checkpoints that are kept while the log does not show the tree they are of.
pub const PENDING_MAX: usize = 16;

/// What a checkpoint is to a monitor that has verified another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Of the same tree.
    Same,
    /// Of the same size with another root: a fork, here and now.
    OtherRoot,
    /// Of a smaller tree, to be looked up in the verified one.
    Smaller,
    /// Of a larger tree, which must start with the verified one.
    Larger,
}

impl Relation {
    /// Compares a checkpoint with the verified tree. Equal sizes are never skipped, nor are smaller ones.
    pub fn of(seen: TreeHead, verified: TreeHead) -> Self {
        match seen.size.cmp(&verified.size) {
            Ordering::Equal if seen.root == verified.root => Self::Same,
            Ordering::Equal => Self::OtherRoot,
            Ordering::Less => Self::Smaller,
            Ordering::Greater => Self::Larger,
        }
    }
}

/// Evidence that a smaller checkpoint is not of the tree of `newest`, whose own tiles gave `growth`; none if it is.
pub fn judge_smaller(
    seen: SignedCheckpoint,
    newest: SignedCheckpoint,
    growth: Growth,
) -> Option<ForkEvidence> {
    let forked = growth.old_root() != seen.unverified().head.root;
    forked.then(|| ForkEvidence::grown(seen, newest, growth))
}

/// What a larger checkpoint's tiles say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Larger {
    /// Its tree starts with the verified one.
    Grown,
    /// Its tree does not.
    Forked(Box<ForkEvidence>),
    /// The tiles are not those of the tree that was signed, so they prove nothing.
    Unfolded,
}

/// Judges a larger checkpoint by the growth that the log's own tiles gave. `newest` is the checkpoint of the verified
/// tree; there is none before the first, and every tree starts with the empty one.
pub fn judge_larger(seen: SignedCheckpoint, newest: Option<SignedCheckpoint>, growth: Growth) -> Larger {
    if growth.new_root() != seen.unverified().head.root {
        return Larger::Unfolded;
    }
    match newest {
        Some(newest) if growth.old_root() != newest.unverified().head.root => {
            Larger::Forked(Box::new(ForkEvidence::grown(newest, seen, growth)))
        }
        _ => Larger::Grown,
    }
}

/// How many seconds ago the log attested that time, if that is too long.
pub const fn staleness(attested_s: u64, now: Timestamp, stale_after_s: u64) -> Option<u64> {
    let age = now.seconds().saturating_sub(attested_s);
    if age > stale_after_s { Some(age) } else { None }
}

#[cfg(test)]
mod tests;

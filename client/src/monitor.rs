//! Watching a log: read everything, recompute everything, and keep what convicts it.
//!
//! This file decides and does nothing else. [`round`] looks from every [`vantage`] point; `judge` holds each checkpoint
//! against the tree; `reading` reads what the newest one adds, below an [`outline`] that leads to the signed root;
//! [`state`], [`tiles`], `kept` and [`forks`] keep it. A monitor trusts its own state alone: the tree that it read leaf by
//! leaf, its tiles, and the newest checkpoint that the log signed for a tree that starts so.
//!
//! Its memory is bounded, whatever the log holds: bundles on their way (64 MiB), the ids of the newest 2^18 records, what later
//! records may be about (`subjects`, 32 MiB), and streams and open duties as far as an audit and an agenda keep them.

mod bundle;
pub mod cosigners;
mod cross;
pub mod distinct;
pub mod erasing;
pub mod forks;
mod found;
mod judge;
mod kept;
mod lookup;
pub mod outline;
mod pipeline;
pub mod reader;
mod reading;
pub mod round;
pub mod snapshot;
pub mod state;
mod subjects;
pub mod tiles;
pub mod vantage;
pub mod views;

pub use distinct::check_distinct;
pub use round::{Monitor, Observe, Outside, Record, Settings, Sight};
pub use snapshot::{Snapshot, Verdict};
pub use state::StateError;
pub use vantage::{Shows, Vantage};

use std::cmp::Ordering;

use counterfoil_merkle::{TreeHead, checkpoint::SignedCheckpoint, evidence::ForkEvidence, growth::Growth};
use counterfoil_receipt::Timestamp;

/// How old the newest attested time may be, unless somebody says otherwise: a log renews it once a minute.
pub const STALE_AFTER_S: u64 = 300;

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

/// Evidence that the larger checkpoint's tree does not start with the smaller one's, if so `growth`, which leads to the
/// larger one's root, says.
pub fn judge_growth(
    smaller: SignedCheckpoint,
    larger: SignedCheckpoint,
    growth: Growth,
) -> Option<ForkEvidence> {
    let forked = growth.old_root() != smaller.unverified().head.root;
    forked.then(|| ForkEvidence::grown(smaller, larger, growth))
}

/// How many seconds ago the log attested that time, if that is too long.
pub const fn staleness(attested_s: u64, now: Timestamp, stale_after_s: u64) -> Option<u64> {
    let age = now.seconds().saturating_sub(attested_s);
    if age > stale_after_s { Some(age) } else { None }
}

#[cfg(test)]
mod tests;

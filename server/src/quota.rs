//! Quotas: how many follow-up records one key may append in a day. No part of admission: what is kept out may come later.
//!
//! They are kept in memory. A server that was started anew goes on from the newest entries of the last day, so that a restart
//! frees nobody who flooded it; what is older than those [`RECALLED_ENTRIES_MAX`] is forgotten.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use counterfoil_merkle::tile::TILE_WIDTH;
use counterfoil_receipt::{Entry, Kind, PublicKey, Timestamp};
use tokio::sync::OnceCell;

use crate::{
    log::Log,
    tiles::{Edge, ReadError},
};

/// The span that quotas are about: a day.
pub const SPAN_MS: u64 = 86_400_000;

/// Most keys whose records are counted at once: some 60 MB.
const KEYS_MAX: usize = 1 << 17;

/// How many of the newest entries are looked at after a start: some 7 MB, a few tenths of a second.
pub const RECALLED_ENTRIES_MAX: u64 = 1 << 14;

/// How many records one key may append in a day.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Disputes, of a key that nobody registered: a claim key.
    pub disputes: usize,
    /// Records other than receipts, of any other key.
    pub records: usize,
}

/// What keys have appended of late.
pub struct Quotas {
    quota: Quota,
    spent: Mutex<HashMap<PublicKey, VecDeque<Timestamp>>>,
    recalled: OnceCell<()>,
}

/// A key has spent its quota.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} has appended {limit} records of this kind within a day, as many as this log takes from one key; the next may come in {wait_s} s"
)]
pub struct Spent {
    /// The key.
    pub key: PublicKey,
    /// How many it may.
    pub limit: usize,
    /// When the next may come, in seconds.
    pub wait_s: u64,
}

impl Quotas {
    /// Nothing is spent yet.
    pub fn new(quota: Quota) -> Self {
        Self { quota, spent: Mutex::new(HashMap::new()), recalled: OnceCell::new() }
    }

    /// Counts what the log's newest entries show, the first time that it is called: before anything else is counted.
    pub async fn recall(&self, log: &Log, now: Timestamp) -> Result<(), ReadError> {
        let Some(edge) = log.admission.edge() else { return Ok(()) };
        let recall = async {
            for (key, at) in recent(log, &edge, now).await? {
                let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
                spent.entry(key).or_default().push_back(at);
            }
            Ok(())
        };
        self.recalled.get_or_try_init(|| recall).await.copied()
    }

    /// Counts a record, if the quota of its key allows another. Receipts, and what belongs to a stream, are not counted.
    pub fn spend(&self, key: &PublicKey, kind: Kind, registered: bool, now: Timestamp) -> Result<(), Spent> {
        if !is_counted(kind) {
            return Ok(());
        }
        let limit =
            if kind == Kind::Dispute && !registered { self.quota.disputes } else { self.quota.records };
        let fresh = |at: &Timestamp| is_fresh(*at, now);
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= KEYS_MAX && !spent.contains_key(key) {
            spent.retain(|_, times| times.back().is_some_and(fresh));
            if spent.len() >= KEYS_MAX {
                return Err(Spent { key: key.clone(), limit, wait_s: SPAN_MS / 1000 });
            }
        }
        let times = spent.entry(key.clone()).or_default();
        while times.front().is_some_and(|at| !fresh(at)) {
            times.pop_front();
        }
        if times.len() >= limit {
            let oldest = times.front().map_or(now, |at| at.plus(SPAN_MS));
            let wait_s = oldest.millis().saturating_sub(now.millis()).div_ceil(1000);
            return Err(Spent { key: key.clone(), limit, wait_s });
        }
        times.push_back(now);
        Ok(())
    }
}

/// Whether records of this kind are counted: not receipts, and not what belongs to a stream or to the log.
const fn is_counted(kind: Kind) -> bool {
    !matches!(kind, Kind::Receipt | Kind::Void | Kind::Epoch | Kind::Rules | Kind::Clock)
}

const fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    now.millis().saturating_sub(at.millis()) < SPAN_MS
}

/// Who appended what is counted within the last day, as far as the newest entries show, oldest first.
async fn recent(log: &Log, edge: &Edge, now: Timestamp) -> Result<Vec<(PublicKey, Timestamp)>, ReadError> {
    let size = edge.size().get();
    let oldest = size.saturating_sub(RECALLED_ENTRIES_MAX) / TILE_WIDTH;
    let mut recent = Vec::new();
    'bundles: for bundle in (oldest..size.div_ceil(TILE_WIDTH)).rev() {
        for bytes in log.tiles.entries(edge, bundle).await?.iter().rev() {
            let Ok(entry) = Entry::parse(bytes) else { continue };
            if !is_fresh(entry.at, now) {
                break 'bundles;
            }
            if is_counted(entry.kind) {
                recent.push((entry.issuer, entry.at));
            }
        }
    }
    recent.reverse();
    Ok(recent)
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::SigningKey;

    use super::*;
    use crate::testing::at;

    /// A key that has spent its quota waits until its oldest record is a day old; others do not wait for it; receipts never do.
    #[test]
    fn quotas_are_a_keys_own() {
        let key = |seed| SigningKey::from_ed25519_seed(&[seed; 32]).public().clone();
        let quotas = Quotas::new(Quota { disputes: 2, records: 3 });
        let dispute = |seed, now| quotas.spend(&key(seed), Kind::Dispute, false, at(now));
        assert!(dispute(1, 1_000).is_ok() && dispute(1, 2_000).is_ok());
        let spent = dispute(1, 3_000).unwrap_err();
        assert_eq!((spent.limit, spent.wait_s), (2, 86_398));
        assert!(dispute(2, 3_000).is_ok());
        assert!(dispute(1, 999 + SPAN_MS).is_err());
        assert!(dispute(1, 1_000 + SPAN_MS).is_ok());
        for _ in 0..9 {
            assert!(quotas.spend(&key(1), Kind::Receipt, false, at(3_000)).is_ok());
        }
        for n in 0..4 {
            let verdict = quotas.spend(&key(3), Kind::Verdict, true, at(5_000));
            assert_eq!(verdict.is_ok(), n < 3);
        }
    }
}

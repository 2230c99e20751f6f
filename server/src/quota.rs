//! Quotas: how many follow-up records one key may append in a day. No part of admission: what is kept out may come later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use counterfoil_receipt::{Kind, PublicKey, Timestamp};

/// The span that quotas are about: a day.
pub const SPAN_MS: u64 = 86_400_000;

/// Most keys whose records are counted at once: some 60 MB.
const KEYS_MAX: usize = 1 << 17;

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
        Self { quota, spent: Mutex::new(HashMap::new()) }
    }

    /// Counts a record, if the quota of its key allows another. Receipts, and what belongs to a stream, are not counted.
    pub fn spend(&self, key: &PublicKey, kind: Kind, registered: bool, now: Timestamp) -> Result<(), Spent> {
        if matches!(kind, Kind::Receipt | Kind::Void | Kind::Epoch | Kind::Rules | Kind::Clock) {
            return Ok(());
        }
        let limit =
            if kind == Kind::Dispute && !registered { self.quota.disputes } else { self.quota.records };
        let fresh = |at: &Timestamp| now.millis().saturating_sub(at.millis()) < SPAN_MS;
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

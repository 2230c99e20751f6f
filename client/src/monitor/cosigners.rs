//! The witnesses that a policy names: whether enough of them cosigned, lately, and in order.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_merkle::{
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    key::VerifierKey,
    note::NoteError,
    policy::Policy,
};
use counterfoil_receipt::{
    Timestamp,
    audit::{Code, Place, Report, times::CLOCK_SKEW_MS},
};
use serde::{Deserialize, Serialize};

use super::staleness;

/// In how many looks, one after the other, a witness may be missing, unless somebody says otherwise.
pub const WITNESS_MISSED_MAX: u32 = 30;

/// What was seen of a witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSeen {
    /// The newest tree it cosigned.
    size: u64,
    /// When it did, in seconds.
    time_s: u64,
    /// In how many looks since it was missing.
    missed: u32,
}

/// A round's look at the witnesses of a policy.
#[derive(Debug)]
pub(super) struct Cosigners<'p> {
    policy: &'p Policy,
    /// The keys of those that were met.
    met: BTreeSet<String>,
    /// Whether the log showed any checkpoint.
    looked: bool,
}

impl<'p> Cosigners<'p> {
    pub(super) const fn new(policy: &'p Policy) -> Self {
        Self { policy, met: BTreeSet::new(), looked: false }
    }

    /// Checks the cosignatures of a checkpoint: each of them, and whether they are enough if a quorum is due, as where the
    /// log itself shows it. Others may have stripped lines that they do not know.
    pub(super) fn look(
        &mut self,
        checkpoint: &VerifiedCheckpoint,
        due: bool,
        now: Timestamp,
        stale_after_s: u64,
        known: &mut BTreeMap<String, WitnessSeen>,
        report: &mut Report,
    ) {
        let (mut good, mut fresh) = (BTreeSet::new(), BTreeSet::new());
        for (number, key) in witnesses(self.policy, checkpoint.log_key()) {
            let place = Place::Witness(number);
            let time_s = match checkpoint.cosignature(key) {
                Ok(cosignature) => cosignature.time_s,
                Err(CheckpointError::Note(NoteError::NotSigned { .. })) => continue,
                Err(error) => {
                    report.push(Code::CosignatureBad, place, format_args!("{}: {error}", key.name()));
                    continue;
                }
            };
            let size = checkpoint.head().size.get();
            if time_s.saturating_mul(1000) > now.millis().saturating_add(CLOCK_SKEW_MS) {
                let message = format_args!("{}: cosigned at {time_s} s, and now it is {now} ms", key.name());
                report.push(Code::CosignatureAhead, place, message);
                continue;
            }
            known.entry(key.to_string()).or_default().take(size, time_s, key, place, report);
            self.met.insert(key.to_string());
            good.insert(key.to_string());
            if staleness(time_s, now, stale_after_s).is_none() {
                fresh.insert(key.to_string());
            }
        }
        if !due {
            return;
        }
        self.looked = true;
        let place = Place::Checkpoint(checkpoint.head().size);
        let holds = |signed: &BTreeSet<String>| {
            self.policy.is_met_by(|_, listed| signed.contains(&listed.key.to_string()))
        };
        if !holds(&good) {
            let message = format_args!("{} of the policy's witnesses cosigned: no quorum", good.len());
            report.push(Code::QuorumMissing, place, message);
        } else if !holds(&fresh) {
            let message =
                format_args!("without cosignatures older than {stale_after_s} s there is no quorum");
            report.push(Code::CosignaturesStale, place, message);
        }
    }

    /// Says which witnesses have been missing for too many looks.
    pub(super) fn finish(
        self,
        log: &VerifierKey,
        missed_max: u32,
        known: &mut BTreeMap<String, WitnessSeen>,
        report: &mut Report,
    ) {
        let listed: BTreeSet<_> = witnesses(self.policy, log).map(|(_, key)| key.to_string()).collect();
        known.retain(|key, _| listed.contains(key));
        if !self.looked {
            return;
        }
        for (number, key) in witnesses(self.policy, log) {
            let seen = known.entry(key.to_string()).or_default();
            seen.missed = if self.met.contains(&key.to_string()) { 0 } else { seen.missed.saturating_add(1) };
            if seen.missed > missed_max {
                let message = format_args!("{} has not cosigned in {} looks", key.name(), seen.missed);
                report.push(Code::WitnessMissing, Place::Witness(number), message);
            }
        }
    }
}

impl WitnessSeen {
    /// Takes a cosignature: of two trees, the larger is not cosigned earlier.
    fn take(&mut self, size: u64, time_s: u64, key: &VerifierKey, place: Place, report: &mut Report) {
        let back = (size > self.size && time_s < self.time_s) || (size < self.size && time_s > self.time_s);
        if back {
            let message = format_args!(
                "{}: cosigned size {size} at {time_s} s, and size {} at {} s",
                key.name(),
                self.size,
                self.time_s
            );
            report.push(Code::CosignatureBack, place, message);
        }
        if (size, time_s) > (self.size, self.time_s) {
            (self.size, self.time_s) = (size, time_s);
        }
    }
}

/// The witnesses of a policy with their places in it; a log's clock is none.
fn witnesses<'p>(
    policy: &'p Policy,
    log: &VerifierKey,
) -> impl Iterator<Item = (u16, &'p VerifierKey)> + use<'p> {
    let clock = policy.clock_of(log).cloned();
    let keys =
        policy.witnesses().map(|(_, listed)| &listed.key).filter(move |key| Some(*key) != clock.as_ref());
    (0_u16..).zip(keys)
}

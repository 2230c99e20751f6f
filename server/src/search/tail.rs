//! The newest entries, which do not fill a run yet: what they can be found by, in memory.

use std::collections::BTreeSet;

use counterfoil_merkle::Hash;

use super::{
    digest::{ByDigest, Digest, Key, Remembered},
    positions::Positions,
    run::{Run, STEP},
    summary::Summary,
    terms::Facts,
};
use crate::index::runs::RUN_ENTRIES;

/// Up to 65,536 entries: some 25 MB if each has a claim key and a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    times: Vec<u64>,
    sets: ByDigest<Vec<u16>>,
    summaries: ByDigest<Summary>,
}

impl Tail {
    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Whether it makes up a run.
    pub const fn is_full(&self) -> bool {
        self.len() == RUN_ENTRIES
    }

    /// The times of its entries.
    pub fn times(&self) -> &[u64] {
        &self.times
    }

    /// Adds the next entry.
    ///
    /// # Panics
    /// If it is full.
    pub fn push(&mut self, key: &Key, remembered: &mut Remembered, facts: &Facts<'_>) {
        let position = u16::try_from(self.len()).expect("a full run is taken before the next entry");
        for term in &facts.terms {
            self.sets.entry(remembered.digest(key, term)).or_default().push(position);
        }
        let summary = self.summaries.entry(remembered.summary(key, &facts.issuer)).or_default();
        summary.add(facts.kind, facts.place, position);
        self.times.push(facts.at.millis());
    }

    /// The entries that have a term.
    pub fn positions(&self, digest: Digest) -> Option<Positions> {
        self.sets.get(&digest).map(|list| Positions::of(list))
    }

    /// What an issuer did.
    pub fn summary(&self, digest: Digest) -> Option<&Summary> {
        self.summaries.get(&digest)
    }

    /// Takes entries out of every set that came from statements.
    pub fn forget(&mut self, places: &BTreeSet<u16>) {
        let of_statements =
            |digest: &Digest| *digest >= Digest::OF_STATEMENTS && *digest < Digest::OF_SUMMARIES;
        for (_, list) in self.sets.iter_mut().filter(|(digest, _)| of_statements(digest)) {
            list.retain(|place| !places.contains(place));
        }
        self.sets.retain(|_, list| !list.is_empty());
    }

    /// The run that it makes up: the entries below that tree node.
    ///
    /// # Panics
    /// If it is not full.
    pub fn to_run(&self, number: u64, node: Hash) -> Run {
        assert!(self.is_full(), "a run has 65,536 entries");
        let bytes = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            bytes
        };
        let sets =
            self.sets.iter().map(|(digest, list)| (*digest, bytes(&|out| Positions::of(list).write(out))));
        let summaries =
            self.summaries.iter().map(|(digest, summary)| (*digest, bytes(&|out| summary.write(out))));
        let mut records: Vec<_> = sets.chain(summaries).collect();
        records.sort_unstable_by_key(|(digest, _)| *digest);
        let span = (self.times[0], self.times[RUN_ENTRIES - 1]);
        Run { number, node, span, times: self.times.iter().step_by(STEP).copied().collect(), records }
    }
}

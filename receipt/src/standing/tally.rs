//! How many records each key has signed, and when: a revocation that disowns says so from a moment on.

use std::collections::HashMap;

use crate::{key::PublicKey, timestamp::Timestamp};

/// Records counted by issuer and date. Entries of one date, as a batch has, take 16 bytes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// For each issuer: dates in order, each with the number of records up to and on it.
    dates: HashMap<PublicKey, Vec<(Timestamp, u64)>>,
}

impl Tally {
    /// Counts the next record of the log.
    pub fn count(&mut self, issuer: &PublicKey, at: Timestamp) {
        if !self.dates.contains_key(issuer) {
            self.dates.insert(issuer.clone(), vec![(at, 1)]);
            return;
        }
        let Some(dates) = self.dates.get_mut(issuer) else { return };
        match dates.last_mut() {
            // A log whose dates go back is caught elsewhere; here it counts as standing still.
            Some((last, count)) if *last >= at => *count += 1,
            Some((_, count)) => {
                let count = *count + 1;
                dates.push((at, count));
            }
            None => dates.push((at, 1)),
        }
    }

    /// How many records a key has signed.
    pub fn total(&self, issuer: &PublicKey) -> u64 {
        self.dates.get(issuer).and_then(|dates| dates.last()).map_or(0, |(_, count)| *count)
    }

    /// How many of them are dated at or after that moment.
    pub fn since(&self, issuer: &PublicKey, since: Timestamp) -> u64 {
        let Some(dates) = self.dates.get(issuer) else { return 0 };
        let before = dates.partition_point(|(at, _)| *at < since);
        let counted = before.checked_sub(1).map_or(0, |last| dates[last].1);
        self.total(issuer) - counted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, public};

    proptest! {
        /// As counting one by one does.
        #[test]
        fn counts_as_a_list_does(mut dates in prop::collection::vec(0_u64..40, 0..60), since in 0_u64..42) {
            dates.sort_unstable();
            let (own, other) = (public("issuer"), public("verifier"));
            let mut tally = Tally::default();
            for (n, date) in dates.iter().enumerate() {
                tally.count(&own, at(*date));
                if n % 3 == 0 {
                    tally.count(&other, at(*date));
                }
            }
            let counted = dates.iter().filter(|date| **date >= since).count();
            prop_assert_eq!(tally.since(&own, at(since)), counted as u64);
            prop_assert_eq!(tally.total(&own), dates.len() as u64);
        }
    }
}

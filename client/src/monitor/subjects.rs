//! What is known of the newest records that later ones may be about.
//!
//! Verdicts, disputes and corrections name the leaf hash of a record, and that may be an old one. Of the newest records what
//! matters is in memory; of older ones it is read from the log again, below the monitor's own tiles ([`super::lookup`]).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Kind, PublicKey,
    standing::{Known, ReceiptFacts},
};

/// Most bytes that are kept, by estimate: some 60,000 records.
pub(super) const SUBJECTS_BYTES_MAX: usize = 32 << 20;

/// Most issuers whose newest receipt is kept to be shared with the next, which says the same as a rule.
const SHARED_MAX: usize = 1024;

/// What a record takes in the table besides what [`Known::bytes`] counts.
const ROW_BYTES: usize = 128;

/// The newest records.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    known: HashMap<Hash, (Known, usize)>,
    order: VecDeque<Hash>,
    bytes: usize,
    shared: HashMap<PublicKey, Arc<ReceiptFacts>>,
}

impl Subjects {
    /// What is known of a record, if it is kept.
    pub(super) fn get(&self, leaf: Hash) -> Option<&Known> {
        self.known.get(&leaf).map(|(known, _)| known)
    }

    /// Keeps what is known of a record, if others can be about it; drops the oldest if that is too much.
    pub(super) fn put(&mut self, leaf: Hash, mut known: Known) {
        let bytes = ROW_BYTES + if self.share(&mut known) { size_of::<Known>() } else { known.bytes() };
        if !has_followers(known.kind) || self.known.contains_key(&leaf) {
            return;
        }
        self.known.insert(leaf, (known, bytes));
        self.order.push_back(leaf);
        self.bytes += bytes;
        while self.bytes > SUBJECTS_BYTES_MAX {
            let Some((_, bytes)) = self.order.pop_front().and_then(|oldest| self.known.remove(&oldest))
            else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    /// Has a receipt share what it says with the one before it of the same issuer, if that says the same.
    fn share(&mut self, known: &mut Known) -> bool {
        let Some(facts) = known.receipt.as_ref().filter(|_| known.kind == Kind::Receipt) else {
            return false;
        };
        if let Some(shared) = self.shared.get(&known.issuer).filter(|shared| *shared == facts) {
            known.issuer = shared.issuer.clone();
            known.receipt = Some(Arc::clone(shared));
            return true;
        }
        if self.shared.len() >= SHARED_MAX {
            self.shared.clear();
        }
        self.shared.insert(known.issuer.clone(), Arc::clone(facts));
        false
    }
}

/// Whether records of this kind are about others that somebody answers for.
pub(super) const fn has_subject(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Verdict
            | Kind::Dispute
            | Kind::Response
            | Kind::Resolution
            | Kind::Remedy
            | Kind::Correction
            | Kind::Erasure
    )
}

/// Whether others can be about records of this kind.
const fn has_followers(kind: Kind) -> bool {
    matches!(kind, Kind::Receipt) || has_subject(kind) && !matches!(kind, Kind::Remedy | Kind::Erasure)
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::LeafIndex;
    use counterfoil_receipt::{SigningKey, standing::Named};

    use super::*;

    /// However many records come, with whatever names: the newest are kept, and no more than fit.
    #[test]
    fn the_newest_are_kept_and_no_more_than_fit() {
        let issuer = SigningKey::from_ed25519_seed(&[1; 32]).public().clone();
        let mut subjects = Subjects::default();
        for n in 0..100_000_u64 {
            let name = if n % 3 == 0 { "x".repeat(500) } else { format!("model {}", n % 7) };
            let models = [Some(name), None, None];
            let receipt = Arc::new(ReceiptFacts { issuer: issuer.clone(), models, outcome: None });
            let index = LeafIndex::new(n).unwrap();
            let (named, kind) = (Named::Nobody, Kind::Receipt);
            let known =
                Known { index, kind, issuer: issuer.clone(), receipt: Some(receipt), named, summons: None };
            subjects.put(Hash::leaf(&n.to_be_bytes()), known);
            assert!(subjects.bytes <= SUBJECTS_BYTES_MAX && subjects.known.len() == subjects.order.len());
        }
        let kept = subjects.known.len() as u64;
        assert!((20_000..90_000).contains(&kept), "{kept}");
        for n in 0..100_000_u64 {
            let leaf = Hash::leaf(&n.to_be_bytes());
            assert_eq!(subjects.get(leaf).map(|known| known.index.get()), (n >= 100_000 - kept).then_some(n));
        }
        let bytes: usize = subjects.known.values().map(|(_, bytes)| bytes).sum();
        assert_eq!(bytes, subjects.bytes);
    }
}

//! What is kept in mind of a record because later ones may be about it: who answers for it, and whose receipt it is all about.
//!
//! Whoever reads a log in order, and cannot keep all of it, keeps this much of each record. Deadlines follow from it here, for
//! a docket and an agenda alike.

use std::sync::Arc;

use counterfoil_merkle::LeafIndex;

use super::{
    RESPOND_WITHIN_DEFAULT_S,
    fact::{Capacity, Deadline, DueBy},
};
use crate::{
    entry::Entry,
    key::PublicKey,
    statement::{Dispute, Kind, Predicate, Statement, groups::Accountable, receipt::Outcome},
    timestamp::Timestamp,
};

/// What is known of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub index: LeafIndex,
    /// Its kind.
    pub kind: Kind,
    /// Who signed it.
    pub issuer: PublicKey,
    /// The receipt that it is all about; none if that lies outside the log.
    pub receipt: Option<Arc<ReceiptFacts>>,
    /// Whom its receipt names as accountable, if it is one that is answered for so: a receipt or a correction.
    pub named: Named,
    /// Who answers in the dispute that it is, or belongs to.
    pub summons: Option<Summons>,
}

/// What a receipt says that somebody may care about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// Who issued it.
    pub issuer: PublicKey,
    /// The models: requested, reported and claimed. None of them is known if the statement is not there.
    pub models: [Option<String>; 3],
    /// How the exchange ended; none if the statement is not there.
    pub outcome: Option<Outcome>,
}

/// Whom a receipt names as accountable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Its statement is not there.
    Unseen,
    /// Nobody, or nobody openly; or it is no receipt.
    Nobody,
    /// This party.
    Party(Accountable),
}

/// Who is called upon to answer a dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summons {
    /// The issuer of what is disputed.
    pub respondent: PublicKey,
    /// The party that the receipt names, and how that is known.
    pub accountable: Option<(Accountable, DueBy)>,
}

impl Known {
    /// What is known of a record; `about` is what is known of the one that it is about.
    ///
    /// `statement` is that of the entry, which the caller has checked; none if it was erased or is not shown.
    pub fn of(index: LeafIndex, entry: &Entry, statement: Option<&Statement>, about: Option<&Self>) -> Self {
        let predicate = statement.map(|statement| &statement.predicate);
        let (receipt, named) = match (entry.kind, predicate) {
            (Kind::Receipt, _) => {
                let (facts, named) = ReceiptFacts::of(entry, predicate);
                (Some(Arc::new(facts)), named)
            }
            (Kind::Correction, _) => (
                about.and_then(|about| about.receipt.clone()),
                about.map_or(Named::Unseen, |about| about.named.clone()),
            ),
            _ => (about.and_then(|about| about.receipt.clone()), Named::Nobody),
        };
        let summons = match (entry.kind, predicate) {
            (Kind::Dispute, Some(Predicate::Dispute(dispute))) => Summons::of(about, Some(dispute)),
            (Kind::Dispute, _) => Summons::of(about, None),
            _ => about.and_then(|about| about.summons.clone()),
        };
        Self { index, kind: entry.kind, issuer: entry.issuer.clone(), receipt, named, summons }
    }

    /// About how many bytes it takes in memory, keys and shared parts counted in full.
    pub fn bytes(&self) -> usize {
        let key = 300;
        let names = |facts: &Arc<ReceiptFacts>| facts.models.iter().flatten().map(String::len).sum::<usize>();
        let summons = self.summons.as_ref().map_or(0, |_| 2 * key);
        size_of::<Self>() + key + summons + self.receipt.as_ref().map_or(0, |facts| key + names(facts))
    }
}

impl ReceiptFacts {
    fn of(entry: &Entry, predicate: Option<&Predicate>) -> (Self, Named) {
        let issuer = entry.issuer.clone();
        let Some(Predicate::Receipt(receipt)) = predicate else {
            return (Self { issuer, models: [None, None, None], outcome: None }, Named::Unseen);
        };
        let names = receipt.model.names();
        let named = match receipt.accountable.as_ref().and_then(|group| group.open()) {
            Some(accountable) => Named::Party(accountable.clone()),
            None => Named::Nobody,
        };
        let models = names.map(|name| name.map(str::to_owned));
        (Self { issuer, models, outcome: Some(receipt.outcome) }, named)
    }
}

impl Summons {
    /// Who answers a dispute. None if it cannot be seen what is disputed.
    ///
    /// `disputed` is the record that the dispute is about, if it is of this log; `dispute` what it says, if that is there.
    pub fn of(disputed: Option<&Known>, dispute: Option<&Dispute>) -> Option<Self> {
        let copy = || {
            let copy = dispute.and_then(|dispute| dispute.accountable.clone());
            copy.map(|accountable| (accountable, DueBy::Copy))
        };
        let Some(disputed) = disputed else {
            let respondent = dispute?.outside_issuer()?.clone();
            return Some(Self { respondent, accountable: copy() });
        };
        let accountable = match &disputed.named {
            Named::Party(accountable) => Some((accountable.clone(), DueBy::Receipt)),
            Named::Nobody => None,
            Named::Unseen => copy(),
        };
        Some(Self { respondent: disputed.issuer.clone(), accountable })
    }

    /// Until when a dispute of that date is to be answered. `policy_s` is the time that the respondent's newest policy before
    /// what is disputed gives itself, in seconds.
    pub fn due(&self, at: Timestamp, policy_s: Option<u64>) -> Deadline {
        let (within_s, by) = match (policy_s, &self.accountable) {
            (Some(policy_s), _) => (policy_s, DueBy::Policy),
            (None, Some((accountable, by))) => (accountable.respond_within, *by),
            (None, None) => (RESPOND_WITHIN_DEFAULT_S, DueBy::Default),
        };
        Deadline { at: at.plus(within_s.saturating_mul(1000)), by }
    }

    /// As what a key speaks for the respondent; none if it does not. `acts_for` says whether a key is another, or its successor.
    pub fn capacity(
        &self,
        signer: &PublicKey,
        acts_for: impl Fn(&PublicKey, &PublicKey) -> bool,
    ) -> Option<Capacity> {
        if *signer == self.respondent {
            return Some(Capacity::Respondent);
        }
        if acts_for(signer, &self.respondent) {
            return Some(Capacity::Successor);
        }
        let accountable = self.accountable.as_ref().map(|(accountable, _)| &accountable.key);
        accountable.filter(|key| acts_for(signer, key)).map(|_| Capacity::Accountable)
    }
}

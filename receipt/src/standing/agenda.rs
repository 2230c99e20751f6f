//! Whose answers and remedies are due in a whole log, and which of them are overdue: for who watches it as it grows.
//!
//! A docket gathers all about one receipt; an [`Agenda`] keeps of all receipts no more than what is open. It is fed with the
//! records of a log in order and told how time passes, and says each deadline that passed, once.
//!
//! It says what was so when a deadline passed. Who speaks for a respondent is judged when the record comes: a key that is named
//! as a successor afterwards does not undo a silence that was told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use counterfoil_merkle::{Hash, LeafIndex};

use super::{
    keys::acts_for,
    known::{Known, ReceiptFacts, Summons},
};
use crate::{
    entry::Entry,
    key::PublicKey,
    statement::{Kind, Predicate, RemedyKind, Statement, Undertaking},
    timestamp::Timestamp,
};

/// Most open duties that are kept in mind, 30 days' worth as a rule: some 40 MB with long names.
pub const DUTIES_MAX: usize = 1 << 15;

/// Most policies that are kept in mind, and most successors of revoked keys: some 10 MB each.
pub const POLICIES_MAX: usize = 1 << 15;

/// What is open in a log, as far as it was read. All of it is plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// How many seconds each key gives itself to answer: by its policies, with the index from which each counts.
    policies: BTreeMap<PublicKey, Vec<(u64, u64)>>,
    policies_count: usize,
    successors: BTreeMap<PublicKey, PublicKey>,
    /// By deadline, and the record that it follows from.
    duties: BTreeMap<(Timestamp, Hash), Duty>,
    /// The deadlines of those records.
    until: HashMap<Hash, Timestamp>,
    overflowed: bool,
}

/// Something that has to be done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The record that it follows from: the dispute, or the response or resolution that undertakes or orders a remedy.
    pub leaf: Hash,
    /// Where that is.
    pub index: LeafIndex,
    /// The last moment at which it is done in time.
    pub until: Timestamp,
    /// What is to be done: an answer, if it is no remedy.
    pub remedy: Option<RemedyKind>,
    /// By whom.
    pub summons: Summons,
    /// The receipt that it is all about; none if that lies outside the log.
    pub receipt: Option<Arc<ReceiptFacts>>,
}

/// An agenda taken apart, to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgendaParts {
    /// Keys, and for each of their policies its index and the seconds in it.
    pub policies: Vec<(PublicKey, Vec<(u64, u64)>)>,
    /// Revoked keys and those that act for them.
    pub successors: Vec<(PublicKey, PublicKey)>,
    /// What is open.
    pub duties: Vec<Duty>,
    /// Whether there was ever more than is kept in mind.
    pub overflowed: bool,
}

impl Agenda {
    /// Takes the next record of the log, after [`Agenda::lapse`] up to its date; `about` is what is known of the record that it is
    /// about. Gives what has to be known of this one.
    ///
    /// `statement` is that of the entry, which the caller has checked; none if it was erased or is not shown.
    pub fn take(
        &mut self,
        index: LeafIndex,
        leaf: Hash,
        entry: &Entry,
        statement: Option<&Statement>,
        about: Option<&Known>,
    ) -> Known {
        let known = Known::of(index, entry, statement, about);
        let predicate = statement.map(|statement| &statement.predicate);
        match (entry.kind, predicate) {
            (Kind::Policy, Some(Predicate::Policy(policy))) => {
                self.policy(&entry.issuer, index, policy.respond_within_s);
            }
            (Kind::Revocation, Some(Predicate::Revocation(revocation))) => {
                if let Some(successor) = &revocation.successor {
                    self.successor(&revocation.key, successor);
                }
            }
            (Kind::Dispute, _) => self.disputed(leaf, entry, &known, about),
            (Kind::Response, Some(Predicate::Response(response))) if self.speaks(&entry.issuer, about) => {
                self.settle(entry.about);
                self.undertake(leaf, response.remedy, &known);
            }
            (Kind::Response, None) if self.speaks(&entry.issuer, about) => self.settle(entry.about),
            (Kind::Resolution, _) => {
                self.settle(entry.about);
                if let Some(Predicate::Resolution(resolution)) = predicate {
                    self.undertake(leaf, resolution.remedy, &known);
                }
            }
            (Kind::Remedy, Some(Predicate::Remedy(remedy))) if self.speaks(&entry.issuer, about) => {
                self.remedied(entry.about, remedy.remedy);
            }
            _ => {}
        }
        known
    }

    /// The duties whose deadlines lie before that moment and were not met, the oldest first. Each is given once.
    ///
    /// The moment must be one that the log has come to: no later record may be dated before it.
    pub fn lapse(&mut self, moment: Timestamp) -> Vec<Duty> {
        let mut lapsed = Vec::new();
        while let Some(first) = self.duties.first_entry().filter(|first| first.key().0 < moment) {
            let duty = first.remove();
            self.until.remove(&duty.leaf);
            lapsed.push(duty);
        }
        lapsed
    }

    /// What is open, the most urgent first.
    pub fn duties(&self) -> impl Iterator<Item = &Duty> {
        self.duties.values()
    }

    /// Whether there was ever more than is kept in mind, so that something may have passed unnoticed.
    pub const fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Its parts, to be kept.
    pub fn parts(&self) -> AgendaParts {
        AgendaParts {
            policies: self.policies.clone().into_iter().collect(),
            successors: self.successors.clone().into_iter().collect(),
            duties: self.duties().cloned().collect(),
            overflowed: self.overflowed,
        }
    }

    /// The agenda of those parts.
    pub fn from_parts(parts: AgendaParts) -> Self {
        let AgendaParts { policies, successors, duties, overflowed } = parts;
        let policies_count = policies.iter().map(|(_, policies)| policies.len()).sum();
        let until = duties.iter().map(|duty| (duty.leaf, duty.until)).collect();
        let duties = duties.into_iter().map(|duty| ((duty.until, duty.leaf), duty)).collect();
        let (policies, successors) = (policies.into_iter().collect(), successors.into_iter().collect());
        Self { policies, policies_count, successors, duties, until, overflowed }
    }

    fn policy(&mut self, key: &PublicKey, index: LeafIndex, respond_within_s: u64) {
        if self.policies_count >= POLICIES_MAX {
            self.overflowed = true;
            return;
        }
        self.policies_count += 1;
        self.policies.entry(key.clone()).or_default().push((index.get(), respond_within_s));
    }

    fn successor(&mut self, key: &PublicKey, successor: &PublicKey) {
        if self.successors.len() >= POLICIES_MAX && !self.successors.contains_key(key) {
            self.overflowed = true;
            return;
        }
        self.successors.insert(key.clone(), successor.clone());
    }

    fn disputed(&mut self, leaf: Hash, entry: &Entry, known: &Known, disputed: Option<&Known>) {
        let Some(summons) = known.summons.clone() else { return };
        let before = disputed.map_or(known.index, |disputed| disputed.index);
        let policies = self.policies.get(&summons.respondent).map_or(&[][..], Vec::as_slice);
        let policy = policies.iter().rev().find(|(index, _)| *index < before.get());
        let until = summons.due(entry.at, policy.map(|(_, seconds)| *seconds)).at;
        self.owe(leaf, known, until, None, summons);
    }

    fn undertake(&mut self, leaf: Hash, undertaking: Option<Undertaking>, known: &Known) {
        let (Some(Undertaking { remedy, due }), Some(summons)) = (undertaking, known.summons.clone()) else {
            return;
        };
        self.owe(leaf, known, due, Some(remedy), summons);
    }

    fn owe(
        &mut self,
        leaf: Hash,
        known: &Known,
        until: Timestamp,
        remedy: Option<RemedyKind>,
        summons: Summons,
    ) {
        if self.duties.len() >= DUTIES_MAX {
            self.overflowed = true;
            return;
        }
        let receipt = known.receipt.clone();
        self.until.insert(leaf, until);
        let duty = Duty { leaf, index: known.index, until, remedy, summons, receipt };
        self.duties.insert((until, leaf), duty);
    }

    fn settle(&mut self, leaf: Option<Hash>) {
        if let Some((leaf, until)) = leaf.and_then(|leaf| Some((leaf, self.until.remove(&leaf)?))) {
            self.duties.remove(&(until, leaf));
        }
    }

    fn remedied(&mut self, under: Option<Hash>, remedy: RemedyKind) {
        let Some((leaf, until)) = under.and_then(|leaf| Some((leaf, *self.until.get(&leaf)?))) else {
            return;
        };
        if self.duties.get(&(until, leaf)).is_some_and(|duty| duty.remedy == Some(remedy)) {
            self.settle(Some(leaf));
        }
    }

    /// Whether a key speaks for who has to answer in the dispute that a record belongs to.
    fn speaks(&self, signer: &PublicKey, about: Option<&Known>) -> bool {
        let summons = about.and_then(|about| about.summons.as_ref());
        let acts_for =
            |signer: &PublicKey, key: &PublicKey| acts_for(signer, key, |key| self.successors.get(key));
        summons.is_some_and(|summons| summons.capacity(signer, acts_for).is_some())
    }
}

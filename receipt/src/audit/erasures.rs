//! Statements that are gone: whether a record of the log orders it, and who ordered it.
//!
//! A record comes later than what it erases, so an empty slot waits for its record until all entries were read. An order
//! whose statement was still there when its entry was read is handed out, for the target to be looked up by its leaf hash.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_merkle::{Hash, LeafIndex};

use super::{
    finding::{Code, Place},
    leaf::Leaf,
    report::Report,
};
use crate::{
    entry::Entry,
    key::PublicKey,
    statement::{Kind, Predicate},
    timestamp::Timestamp,
};

/// As many empty slots wait for their records; more are reported as not followed.
pub const EMPTY_MAX: usize = 1 << 18;

/// As many leaves are kept in mind that are known to be gone.
pub const GONE_MAX: usize = 1 << 20;

/// As many orders wait to be looked up; more are reported as not followed.
pub const ORDERS_MAX: usize = 1 << 16;

/// As many keys with successors are kept in mind.
pub const SUCCESSORS_MAX: usize = 1 << 16;

/// How far a succession of keys is followed.
const SUCCESSION_MAX: usize = 64;

/// An entry whose slot is empty, and no record was seen yet that ordered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Empty {
    /// The entry.
    pub index: LeafIndex,
    /// Who issued the record.
    pub issuer: PublicKey,
    /// The claim key that came with it.
    pub claim: Option<PublicKey>,
}

/// An erasure that a record orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The record.
    pub record: LeafIndex,
    /// When it was logged.
    pub at: Timestamp,
    /// The leaf hash of what is to go.
    pub about: Hash,
    /// Who signed it.
    pub signer: PublicKey,
    /// Where that is, once it was looked up and the signer judged by it.
    pub target: Option<LeafIndex>,
}

/// What is known of erasures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasures {
    /// Empty slots that no record explains yet, by leaf hash.
    pub empty: BTreeMap<Hash, Empty>,
    /// Orders about statements that were there when their entries were read, in the order of the records.
    pub orders: Vec<Order>,
    /// Leaf hashes of what was ordered to go, or was found gone without an order and told: another look at an empty slot
    /// tells nothing new.
    pub gone: BTreeSet<Hash>,
    /// The log's operator, by the rules in force.
    pub operator: Option<PublicKey>,
    /// Keys that were revoked, and who acts for them.
    pub successors: BTreeMap<PublicKey, PublicKey>,
    /// Whether more came than is kept in mind.
    pub overflowed: bool,
}

impl Erasures {
    /// Takes the next entry, as far as it concerns erasures.
    pub(super) fn take(&mut self, index: LeafIndex, entry: &Entry, leaf: &Leaf, report: &mut Report) {
        if leaf.is_empty() {
            self.found_empty(index, leaf.hash(), entry, report);
            return;
        }
        // What is not signed as it must be orders nothing; that it is not was reported.
        if leaf.is_refused() {
            return;
        }
        let said = leaf.statement().map(|statement| &statement.predicate);
        match (entry.kind, said) {
            (Kind::Rules, Some(Predicate::Rules(rules))) => self.operator = Some(rules.operator.clone()),
            (Kind::Rules, _) => self.operator = Some(entry.issuer.clone()),
            (Kind::Revocation, Some(Predicate::Revocation(revocation))) => {
                if let Some(successor) = &revocation.successor
                    && self.successors.len() < SUCCESSORS_MAX
                {
                    self.successors.insert(revocation.key.clone(), successor.clone());
                }
            }
            (Kind::Erasure, _) => self.order(index, entry, report),
            _ => {}
        }
    }

    /// Whether an empty slot of that leaf is nothing new.
    pub fn is_known(&self, leaf: &Hash) -> bool {
        self.gone.contains(leaf) || self.empty.contains_key(leaf)
    }

    /// Takes an entry whose slot was found empty: a record may still explain it.
    pub fn found_empty(&mut self, index: LeafIndex, leaf: Hash, entry: &Entry, report: &mut Report) {
        let place = Place::Entry(index);
        if !entry.kind.is_erasable() {
            let message = format_args!("the statement of a {} is gone, and none is ever erased", entry.kind);
            report.push(Code::StatementMissing, place, message);
            self.is_gone(leaf, place, report);
        } else if self.empty.len() < EMPTY_MAX {
            let empty = Empty { index, issuer: entry.issuer.clone(), claim: entry.claim.clone() };
            self.empty.insert(leaf, empty);
        } else {
            self.overflow(place, report);
        }
    }

    fn is_gone(&mut self, leaf: Hash, place: Place, report: &mut Report) {
        if self.gone.len() < GONE_MAX {
            self.gone.insert(leaf);
        } else {
            self.overflow(place, report);
        }
    }

    fn order(&mut self, record: LeafIndex, entry: &Entry, report: &mut Report) {
        let (Some(about), signer) = (entry.about, entry.issuer.clone()) else { return };
        self.is_gone(about, Place::Entry(record), report);
        let order = Order { record, at: entry.at, about, signer, target: None };
        if let Some(empty) = self.empty.remove(&about) {
            self.judge(&order, empty.index, &empty.issuer, empty.claim.as_ref(), report);
        } else if self.orders.len() < ORDERS_MAX {
            self.orders.push(order);
        } else {
            self.overflow(Place::Entry(record), report);
        }
    }

    fn overflow(&mut self, place: Place, report: &mut Report) {
        if !std::mem::replace(&mut self.overflowed, true) {
            let message = "more erasures than are followed: later ones are not checked";
            report.push(Code::ErasuresUntracked, place, message);
        }
    }

    /// Judges an order by the entry that it is about, which the caller has looked up. Whether the log may carry it out.
    pub fn judge_target(&self, order: &Order, index: LeafIndex, target: &Entry, report: &mut Report) -> bool {
        if !target.kind.is_erasable() {
            let message =
                format_args!("orders the erasure of entry {index}, a {}: none is ever erased", target.kind);
            report.push(Code::NotAdmitted, Place::Entry(order.record), message);
            return false;
        }
        self.judge(order, index, &target.issuer, target.claim.as_ref(), report)
    }

    /// Reports an order about something that the log does not have before it.
    pub fn judge_missing(order: &Order, report: &mut Report) {
        let message = format_args!("orders the erasure of record {}, which is not before it", order.about);
        report.push(Code::NotAdmitted, Place::Entry(order.record), message);
    }

    fn judge(
        &self,
        order: &Order,
        index: LeafIndex,
        issuer: &PublicKey,
        claim: Option<&PublicKey>,
        report: &mut Report,
    ) -> bool {
        let Order { record, signer, .. } = order;
        if self.acts_for(signer, issuer) || claim == Some(signer) {
            return true;
        }
        let place = Place::Entry(*record);
        let by_operator = self.operator.as_ref().is_none_or(|operator| operator == signer);
        if by_operator {
            let message = format_args!(
                "the log's operator ordered the erasure of entry {index}, and neither its issuer nor its claim key did"
            );
            report.push(Code::ErasedByLog, place, message);
        } else {
            let message = format_args!(
                "{signer} ordered the erasure of entry {index}, and is not its issuer, its claim key or the operator"
            );
            report.push(Code::NotAdmitted, place, message);
        }
        by_operator
    }

    fn acts_for(&self, signer: &PublicKey, key: &PublicKey) -> bool {
        let next = |key: &&PublicKey| self.successors.get(*key);
        std::iter::successors(Some(key), next).take(SUCCESSION_MAX).any(|key| key == signer)
    }

    /// Reports empty slots that no record explains, and waits for their records no more: those that are `due`, once all
    /// entries were read. Whether there were any.
    pub fn report_unexplained(&mut self, due: impl Fn(&Hash) -> bool, report: &mut Report) -> bool {
        let mut unexplained: Vec<_> = self.empty.extract_if(.., |leaf, _| due(leaf)).collect();
        unexplained.sort_unstable_by_key(|(_, empty)| empty.index);
        for (leaf, empty) in &unexplained {
            let place = Place::Entry(empty.index);
            report.push(Code::StatementMissing, place, "the statement is gone, and no record erased it");
            self.is_gone(*leaf, place, report);
        }
        !unexplained.is_empty()
    }
}

//! What a record is about, and what that is about in turn: all that admission looks up.
//!
//! [`Chain::wants`] says which leaf is needed next, the shell fetches it, [`Chain::put`] takes it. A receipt wants nothing.

use counterfoil_merkle::{Hash, LeafIndex};

use crate::{
    entry::Entry,
    key::PublicKey,
    statement::{Dispute, Kind, Predicate, Statement, dispute::Outside},
};

/// The longest chain there is: a remedy, its resolution of an appeal, the appeal, the resolution appealed against, the
/// dispute, the verdict disputed, the receipt; less the record itself.
pub const CHAIN_MAX: usize = 6;

/// A record of the log that another one is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Where it is.
    pub index: LeafIndex,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its entry.
    pub entry: Entry,
    /// What it disputes outside the log, if it is a dispute of such a thing and its statement is there.
    outside: Option<Outside>,
}

impl Link {
    /// The record with this entry. The statement is read only where it matters: all others count by their entries alone.
    ///
    /// `statement` is as it was served: empty if it was erased. One that is not that of the entry counts as not there.
    pub fn new(index: LeafIndex, leaf: Hash, entry: Entry, statement: &[u8]) -> Self {
        let matters = entry.kind == Kind::Dispute && entry.about.is_none() && !statement.is_empty();
        let read = matters.then(|| entry.check_statement(statement).ok()).flatten();
        let outside = read.and_then(|statement| match statement.predicate {
            Predicate::Dispute(dispute) => dispute.outside,
            _ => None,
        });
        Self { index, leaf, entry, outside }
    }

    /// Whether its statement is needed to tell whom it concerns, and is not there.
    pub(super) const fn is_blind(&self) -> bool {
        matches!(self.entry.kind, Kind::Dispute) && self.entry.about.is_none() && self.outside.is_none()
    }

    /// Who issued what this dispute is about, if that lies outside the log and is seen.
    pub(super) fn outside_issuer(&self) -> Option<&PublicKey> {
        self.outside.as_ref().map(Dispute::issuer_of)
    }
}

/// The records that a record is about: the nearest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    wants: Option<Hash>,
    links: Vec<Link>,
    missing: Option<Hash>,
}

impl Chain {
    /// The chain of a record that is about that leaf.
    pub const fn of(about: Option<Hash>) -> Self {
        Self { wants: about, links: Vec::new(), missing: None }
    }

    /// The chain of a statement.
    pub fn of_statement(statement: &Statement) -> Self {
        Self::of(statement.about())
    }

    /// The leaf that is looked up next; none if nothing is needed any more.
    pub const fn wants(&self) -> Option<Hash> {
        self.wants
    }

    /// Takes what the log has at the leaf that was wanted; `None` if it has no such leaf before the record.
    ///
    /// # Panics
    /// If nothing was wanted, or it is another leaf.
    pub fn put(&mut self, found: Option<Link>) {
        let wanted = self.wants.take().expect("a leaf was wanted");
        let Some(link) = found else {
            self.missing = Some(wanted);
            return;
        };
        assert_eq!(link.leaf, wanted, "the leaf that was wanted");
        if self.links.len() + 1 < CHAIN_MAX {
            self.wants = link.entry.about;
        }
        self.links.push(link);
    }

    /// The chain, filled by a look-up of leaves.
    pub fn fill(mut self, mut look_up: impl FnMut(Hash) -> Option<Link>) -> Self {
        while let Some(leaf) = self.wants {
            self.put(look_up(leaf));
        }
        self
    }

    /// The records, the nearest first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The leaf that was looked for and not found.
    pub const fn missing(&self) -> Option<Hash> {
        self.missing
    }
}

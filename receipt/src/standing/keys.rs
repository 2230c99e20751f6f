//! What the log says about keys: names that their holders chose, who registered them, and revocations.

use std::collections::HashMap;

use counterfoil_merkle::Hash;

use super::fact::{KeyFact, Party};
use crate::{
    entry::Entry,
    key::PublicKey,
    statement::{Key, Kind, Name, Policy, Predicate, Role, Statement, revocation::RevocationReason},
    timestamp::Timestamp,
};

/// How many successors are followed from a key.
const SUCCESSORS_MAX: usize = 16;

/// Keys, revocations and policies, by key: what all matters of a log share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    named: HashMap<PublicKey, Named>,
    revoked: HashMap<PublicKey, Vec<Revoked>>,
    policies: HashMap<PublicKey, Vec<(u64, Policy)>>,
}

/// How a key is known.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    record: Hash,
    name: Name,
    contact: Option<crate::statement::Contact>,
    registered: Option<(PublicKey, Vec<Role>)>,
    at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Revoked {
    record: Hash,
    by: PublicKey,
    at: Timestamp,
    reason: RevocationReason,
    since: Option<Timestamp>,
    successor: Option<PublicKey>,
    /// How many records of the key, from `since` to the revocation, it disowns.
    disowned: u64,
}

impl Keys {
    /// Whether records of this kind say something of keys.
    pub const fn is_changed_by(kind: Kind) -> bool {
        matches!(kind, Kind::Rules | Kind::Key | Kind::Revocation | Kind::Policy)
    }

    /// Takes the record at an index, later than all before; those of other kinds are left alone. `counted` says how many records a
    /// key has signed from a moment on, up to here: a revocation disowns them.
    pub fn take(
        &mut self,
        index: u64,
        leaf: Hash,
        entry: &Entry,
        statement: &Statement,
        counted: impl FnOnce(&PublicKey, Timestamp) -> u64,
    ) {
        match &statement.predicate {
            Predicate::Key(Key::Card(card)) => {
                let (name, contact) = (card.name.clone(), card.contact.clone());
                let own = Named { record: leaf, name, contact, registered: None, at: entry.at };
                let known = self.named.entry(entry.issuer.clone()).or_insert_with(|| own.clone());
                // A card of its own making never takes the place of a registration.
                if known.registered.is_none() {
                    *known = own;
                }
            }
            Predicate::Key(Key::Registration(registration)) => {
                let card = registration.card();
                let named = Named {
                    record: leaf,
                    name: card.name.clone(),
                    contact: card.contact.clone(),
                    registered: Some((entry.issuer.clone(), registration.roles.clone())),
                    at: entry.at,
                };
                self.named.insert(registration.key().clone(), named);
            }
            Predicate::Revocation(revocation) => {
                let key = &revocation.key;
                self.revoked.entry(key.clone()).or_default().push(Revoked {
                    record: leaf,
                    by: entry.issuer.clone(),
                    at: entry.at,
                    reason: revocation.reason,
                    since: revocation.since,
                    successor: revocation.successor.clone(),
                    disowned: revocation.since.map_or(0, |since| counted(key, since)),
                });
            }
            Predicate::Policy(policy) => {
                self.policies.entry(entry.issuer.clone()).or_default().push((index, policy.clone()));
            }
            _ => {}
        }
    }

    /// The party that a key stands for.
    pub fn party(&self, key: &PublicKey) -> Party {
        let named = self.named.get(key);
        Party {
            key: key.clone(),
            name: named.map(|named| named.name.clone()),
            contact: named.and_then(|named| named.contact.clone()),
            registered_by: named.and_then(|named| named.registered.as_ref()).map(|(by, _)| by.clone()),
        }
    }

    /// What the log says about a key, oldest first.
    pub fn facts(&self, key: &PublicKey) -> Vec<(Timestamp, Hash, KeyFact)> {
        let mut facts = Vec::new();
        if let Some(named) = self.named.get(key) {
            let roles = named.registered.as_ref().map(|(_, roles)| roles.clone()).unwrap_or_default();
            facts.push((named.at, named.record, KeyFact::Registered { roles }));
        }
        for revoked in self.revoked.get(key).into_iter().flatten() {
            let Revoked { by, reason, since, successor, disowned, .. } = revoked.clone();
            let own = by == *key;
            let fact = KeyFact::Revoked { by, own, reason, since, disowned, successor };
            facts.push((revoked.at, revoked.record, fact));
        }
        facts
    }

    /// The revocations that disown a record of that key and date, and when they were made.
    pub(super) fn disowning(&self, key: &PublicKey, at: Timestamp) -> Vec<(Timestamp, Hash)> {
        let revoked = self.revoked.get(key).into_iter().flatten();
        // A revoked key signs nothing more: whatever it signed was logged before.
        let disowns = |revoked: &&Revoked| revoked.since.is_some_and(|since| since <= at);
        revoked.filter(disowns).map(|revoked| (revoked.at, revoked.record)).collect()
    }

    /// Whether a key is another, or was named as its successor.
    pub(super) fn acts_for(&self, signer: &PublicKey, key: &PublicKey) -> bool {
        acts_for(signer, key, |key| {
            let named = self.revoked.get(key)?.iter().rev();
            named.filter_map(|revoked| revoked.successor.as_ref()).next()
        })
    }

    /// The newest policy of a key before an index.
    pub fn policy(&self, key: &PublicKey, before: u64) -> Option<&Policy> {
        let policies = self.policies.get(key)?;
        policies.iter().rev().find(|(index, _)| *index < before).map(|(_, policy)| policy)
    }
}

/// Whether a key is another, or acts for it: `successor` gives the one that was named last to act for a key.
pub(super) fn acts_for<'k>(
    signer: &PublicKey,
    key: &'k PublicKey,
    successor: impl Fn(&PublicKey) -> Option<&'k PublicKey>,
) -> bool {
    std::iter::successors(Some(key), |key| successor(key)).take(SUCCESSORS_MAX).any(|key| key == signer)
}

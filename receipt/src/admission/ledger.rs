//! What admission remembers of the records before: the rules in force, and who holds which role. Plain receipts leave no trace.

use std::collections::HashMap;

use counterfoil_merkle::{Hash, TreeSize};

use super::{Candidate, Refused};
use crate::{
    key::PublicKey,
    statement::{Key, Kind, Origin, Predicate, Registration, Revocation, Role, Rules, rules::Mode},
    timestamp::Timestamp,
};

/// Most revoked keys that nobody registered: in an open log strangers can revoke keys of their own. Some 120 MB.
pub const STRANGERS_MAX: usize = 1 << 19;

/// How many successors are followed from a key.
const SUCCESSORS_MAX: usize = 16;

/// The state of admission after the first [`Ledger::size`] entries of a log: folded from key records, revocations and rules in
/// index order, and from nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    log: Origin,
    size: TreeSize,
    rules: Option<Rules>,
    registered: HashMap<PublicKey, Registered>,
    revoked: HashMap<PublicKey, Revoked>,
    /// How many of the revoked nobody had registered.
    strangers: usize,
}

/// A key as a registrar registered it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The leaf hash of the key record.
    pub record: Hash,
    /// Its roles.
    pub roles: Vec<Role>,
    /// The first moment at which it may act in them.
    pub not_before: Option<Timestamp>,
    /// The last one.
    pub not_after: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Revoked {
    successor: Option<PublicKey>,
}

impl Ledger {
    /// The state before the first record of a log.
    pub fn new(log: Origin) -> Self {
        let (registered, revoked) = (HashMap::new(), HashMap::new());
        Self { log, size: TreeSize::ZERO, rules: None, registered, revoked, strangers: 0 }
    }

    /// The log.
    pub const fn log(&self) -> &Origin {
        &self.log
    }

    /// How many records were taken.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The rules in force; none before the first record.
    pub const fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// How a key was registered last, whether it was revoked since or not.
    pub fn registered(&self, key: &PublicKey) -> Option<&Registered> {
        self.registered.get(key)
    }

    /// Whether a key was revoked.
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.contains_key(key)
    }

    /// Whether records of this kind change what others are judged by.
    pub const fn is_changed_by(kind: Kind) -> bool {
        matches!(kind, Kind::Rules | Kind::Key | Kind::Revocation)
    }

    /// Goes past records that change nothing here, up to a size: those between two that [`Ledger::take`] took.
    ///
    /// # Panics
    /// If it is behind already.
    pub fn skip_to(&mut self, size: TreeSize) {
        assert!(size >= self.size, "a ledger never goes back");
        self.size = size;
    }

    /// Takes the next record, which was admitted. Only those that [`Ledger::is_changed_by`] names change more than the size.
    ///
    /// # Errors
    /// [`Blind`] if it is one of those and its statement is not shown; then nothing changes.
    pub fn take(&mut self, record: &Candidate<'_>, leaf: Hash) -> Result<(), Blind> {
        if Self::is_changed_by(record.kind) {
            let statement = record.statement.ok_or(Blind { size: self.size })?;
            match &statement.predicate {
                Predicate::Rules(rules) => self.rules = Some(rules.clone()),
                Predicate::Key(Key::Registration(registration)) => self.register(registration, leaf),
                Predicate::Revocation(revocation) => self.revoke(revocation),
                _ => {}
            }
        }
        let next = self.size.next_index();
        self.size = next.size_through();
        Ok(())
    }

    fn register(&mut self, registration: &Registration, record: Hash) {
        let Registration { roles, not_before, not_after, .. } = registration;
        let registered =
            Registered { record, roles: roles.clone(), not_before: *not_before, not_after: *not_after };
        self.registered.insert(registration.key().clone(), registered);
    }

    fn revoke(&mut self, revocation: &Revocation) {
        let stranger = !self.is_revoked(&revocation.key) && !self.registered.contains_key(&revocation.key);
        self.strangers += usize::from(stranger);
        let revoked = self.revoked.entry(revocation.key.clone());
        let successor = &mut revoked.or_insert(Revoked { successor: None }).successor;
        if revocation.successor.is_some() {
            successor.clone_from(&revocation.successor);
        }
    }

    /// The ledger of a log in which that many keys were revoked that nobody had registered.
    #[cfg(test)]
    pub(crate) fn with_strangers(self, strangers: usize) -> Self {
        Self { strangers, ..self }
    }

    /// Whether one more key that nobody registered can be remembered as revoked.
    pub(super) const fn has_room_for_strangers(&self) -> bool {
        self.strangers < STRANGERS_MAX
    }

    /// Whether anybody may act in any role.
    pub(super) fn is_open(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.mode == Mode::Open)
    }

    /// Whether this is the operator's key.
    pub(super) fn is_operator(&self, key: &PublicKey) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.operator == *key)
    }

    /// Whether the rules in force name this key as a registrar, and it was not revoked.
    pub(super) fn is_first_registrar(&self, key: &PublicKey) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.registrars.contains(key)) && !self.is_revoked(key)
    }

    /// Whether this key may register others.
    pub(super) fn is_registrar(&self, key: &PublicKey, at: Timestamp) -> bool {
        self.is_first_registrar(key) || self.check_registered(key, Role::Registrar, at).is_ok()
    }

    /// Checks that a key may act in a role. In an open log everybody may, but be a registrar.
    pub(super) fn check_role(&self, key: &PublicKey, role: Role, at: Timestamp) -> Result<(), Refused> {
        if self.is_open() && role != Role::Registrar {
            return self.check_not_revoked(key);
        }
        self.check_registered(key, role, at)
    }

    pub(super) fn check_not_revoked(&self, key: &PublicKey) -> Result<(), Refused> {
        if self.is_revoked(key) { Err(Refused::KeyRevoked { key: key.clone() }) } else { Ok(()) }
    }

    fn check_registered(&self, key: &PublicKey, role: Role, at: Timestamp) -> Result<(), Refused> {
        self.check_not_revoked(key)?;
        let registered = self.registered.get(key).ok_or_else(|| Refused::KeyUnknown { key: key.clone() })?;
        if !registered.roles.contains(&role) {
            return Err(Refused::KeyRole { key: key.clone(), role });
        }
        let early = registered.not_before.is_some_and(|first| at < first);
        let late = registered.not_after.is_some_and(|last| last < at);
        if early || late {
            return Err(Refused::KeyWindow { key: key.clone(), at });
        }
        Ok(())
    }

    /// Whether a key is another, or was named as its successor.
    pub fn acts_for(&self, signer: &PublicKey, key: &PublicKey) -> bool {
        let next = |key: &&PublicKey| self.revoked.get(*key).and_then(|revoked| revoked.successor.as_ref());
        std::iter::successors(Some(key), next).take(SUCCESSORS_MAX).any(|key| key == signer)
    }
}

/// A record that others are judged by has no statement to be seen: nothing after it can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {size} decides who may write, and its statement is not shown")]
pub struct Blind {
    /// How many records were taken before.
    pub size: TreeSize,
}

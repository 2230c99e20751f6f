//! Keys and their roles: a party's card, which its own key signed, and the registration that a registrar made of it.

use counterfoil_merkle::Hash;

use super::{Contact, Frame, Name, enclosed::Enclosed, frame::Origin};
use crate::{
    code::codes,
    envelope::Envelope,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
    statement::{Kind, Predicate},
    timestamp::Timestamp,
};

codes! {
    /// What a key is trusted for. In a trust file, a key without any is trusted for whatever its records say.
    Role {
        /// It issues receipts.
        Issuer = "issuer",
        /// It checks others' receipts.
        Verifier = "verifier",
        /// It contests others' receipts.
        Disputant = "disputant",
        /// It decides disputes.
        Arbiter = "arbiter",
        /// It registers others.
        Registrar = "registrar",
    }
}

/// What a `key` record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// How a party names itself, signed by its own key.
    Card(Card),
    /// What a registrar lets a party do, with the card it saw.
    Registration(Box<Registration>),
}

/// How a party names itself, and what for. The key is the one that signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name, for ever.
    pub name: Name,
    /// Where it can be reached.
    pub contact: Option<Contact>,
    /// The roles it asks for.
    pub roles: Vec<Role>,
}

/// A party's key as a registrar takes it. The card inside proves that the party holds the key, chose the name and asked for the
/// roles: its own signature is the proof of possession.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    card: Enclosed,
    /// The roles it may act in: some of those the card asks for.
    pub roles: Vec<Role>,
    /// The first moment at which it may.
    pub not_before: Option<Timestamp>,
    /// The last one.
    pub not_after: Option<Timestamp>,
    /// A digest of what binds the key to hardware.
    pub evidence: Option<Hash>,
}

impl Key {
    pub(super) fn read(members: &mut Object<'_, '_>, frame: &Frame) -> Result<Self, FieldError> {
        let Some(card) = members.optional("card") else { return Card::read(members).map(Self::Card) };
        let enclosed = Enclosed::read(&card, Kind::Key)?;
        if enclosed.statement().frame.log != frame.log {
            let meant = enclosed.statement().frame.log.as_str();
            return Err(card.mismatch(frame.log.as_str(), meant));
        }
        let Predicate::Key(Self::Card(asked)) = &enclosed.statement().predicate else {
            return Err(card.error(Reason::Rule("must be a card, signed by the key that it names")));
        };
        let roles = members.required("roles")?;
        let granted = roles.codes(1, Role::CODES)?;
        if granted.iter().any(|role| !asked.roles.contains(role)) {
            return Err(roles.error(Reason::Rule("gives a role that the card does not ask for")));
        }
        let not_before = members.maybe("not_before", Timestamp::read)?;
        let not_after = members.maybe("not_after", Timestamp::read)?;
        if not_before.zip(not_after).is_some_and(|(first, last)| last < first) {
            return Err(members.at("not_after", Reason::Rule("lies before not_before")));
        }
        let evidence = members.maybe("evidence", Field::parse)?;
        let registration = Registration { card: enclosed, roles: granted, not_before, not_after, evidence };
        Ok(Self::Registration(Box::new(registration)))
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        match self {
            Self::Card(card) => card.write(members),
            Self::Registration(registration) => registration.write(members),
        }
    }
}

impl Card {
    fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let name = members.required("name")?.parse()?;
        let contact = members.maybe("contact", Field::parse)?;
        let roles = members.required("roles")?.codes(1, Role::CODES)?;
        Ok(Self { name, contact, roles })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("name", self.name.as_str());
        members.some("contact", self.contact.as_ref().map(Contact::as_str), ObjectWriter::string);
        write_roles(&self.roles, members);
    }
}

impl Registration {
    /// Registers the party of a card, in all roles that it asks for and without limit of time.
    ///
    /// # Errors
    /// [`CardError`] if the envelope is no card for that log, or its signature does not verify.
    pub fn new(card: Envelope, log: &Origin) -> Result<Self, CardError> {
        let card = Enclosed::open(card).map_err(CardError::Envelope)?;
        let Predicate::Key(Key::Card(asked)) = &card.statement().predicate else {
            return Err(CardError::NoCard { kind: card.statement().kind() });
        };
        let meant = &card.statement().frame.log;
        if meant != log {
            return Err(CardError::OtherLog { log: log.clone(), meant: meant.clone() });
        }
        let roles = asked.roles.clone();
        Ok(Self { card, roles, not_before: None, not_after: None, evidence: None })
    }

    /// The key that is registered.
    pub fn key(&self) -> &PublicKey {
        self.card.envelope().key()
    }

    /// The card, as the party signed it.
    pub fn envelope(&self) -> &Envelope {
        self.card.envelope()
    }

    /// What the party says of itself.
    pub fn card(&self) -> &Card {
        let Predicate::Key(Key::Card(card)) = &self.card.statement().predicate else {
            unreachable!("a registration is read and made with a card only")
        };
        card
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.member("card").push_str(&self.card.envelope().to_json());
        write_roles(&self.roles, members);
        members.some("not_before", self.not_before.map(Timestamp::millis), ObjectWriter::integer);
        members.some("not_after", self.not_after.map(Timestamp::millis), ObjectWriter::integer);
        members.some("evidence", self.evidence, ObjectWriter::display);
    }
}

fn write_roles(roles: &[Role], members: &mut ObjectWriter<'_>) {
    write::array(members.member("roles"), roles, |out, role| write::string(out, role.as_str()));
}

/// Why an envelope is not a card that can be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Its signature does not verify, or its statement is none.
    #[error("the card: {0}")]
    Envelope(super::OpenError),
    /// It is another record.
    #[error("the card is a record of kind {kind}, or registers another's key")]
    NoCard {
        /// Its kind.
        kind: Kind,
    },
    /// It was made for another log.
    #[error("the card is meant for {meant}, not for {log}")]
    OtherLog {
        /// This log.
        log: Origin,
        /// The log it is meant for.
        meant: Origin,
    },
}

//! Revocations: a key signs nothing more. What it signed before stays as it was; `since` disowns, and erases nothing.

use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::ObjectWriter,
    },
    key::PublicKey,
    timestamp::Timestamp,
};

/// What a `revocation` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The key that is withdrawn.
    pub key: PublicKey,
    /// Why.
    pub reason: RevocationReason,
    /// From when on what it signed is disowned.
    pub since: Option<Timestamp>,
    /// The key that acts for it from now on.
    pub successor: Option<PublicKey>,
}

codes! {
    /// Why a key is withdrawn.
    RevocationReason {
        /// It is no longer needed.
        Retired = "retired",
        /// Its private half is lost.
        Lost = "lost",
        /// Somebody else has its private half.
        Compromised = "compromised",
        /// Another key has taken its place.
        Superseded = "superseded",
        /// It should not have been registered.
        RegisteredInError = "registered_in_error",
        /// The evidence that bound it to hardware no longer counts.
        EvidenceWithdrawn = "evidence_withdrawn",
    }
}

impl Revocation {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let key = members.required("key")?.parse()?;
        let reason = members.required("reason")?.code(RevocationReason::CODES)?;
        let since = members.maybe("since", Timestamp::read)?;
        let successor = members.maybe("successor", Field::parse)?;
        if successor.as_ref() == Some(&key) {
            return Err(members.at("successor", Reason::Rule("is the key itself")));
        }
        Ok(Self { key, reason, since, successor })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("key", self.key.as_str());
        members.string("reason", self.reason.as_str());
        members.some("since", self.since.map(Timestamp::millis), ObjectWriter::integer);
        members.some("successor", self.successor.as_ref().map(PublicKey::as_str), ObjectWriter::string);
    }
}

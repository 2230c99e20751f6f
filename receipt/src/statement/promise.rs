//! Promises: handed out before an answer's first byte, so that a receipt that never comes can be complained about.
//! Never logged; a dispute encloses one.

use crate::{
    json::{
        field::{FieldError, Object},
        write::ObjectWriter,
    },
    key::PublicKey,
    timestamp::Timestamp,
};

/// What a `promise` says: by then the log will have a receipt of this issuer with this claim key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The claim key that the receipt will name.
    pub claim: PublicKey,
    /// By when.
    pub by: Timestamp,
}

impl Promise {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let claim = members.required("claim")?.parse()?;
        let by = Timestamp::read(&members.required("by")?)?;
        Ok(Self { claim, by })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("claim", self.claim.as_str());
        members.integer("by", self.by.millis());
    }
}

//! Clock records: a checkpoint of the log with its witnesses' times, put into the log verbatim.
//!
//! The entries after such a record are not older than the youngest time in it; those that its tree has are not younger
//! than any.

use counterfoil_merkle::checkpoint::SignedCheckpoint;

use super::Origin;
use crate::json::{
    field::{FieldError, Object, Reason},
    write::ObjectWriter,
};

/// What a `clock` record says: `{"checkpoint":TEXT}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// A checkpoint of the log that the record is in, byte for byte as it was published: a signed note whose origin is
    /// the record's own log. Its signatures are not checked here, for that takes keys.
    pub checkpoint: SignedCheckpoint,
}

impl Clock {
    pub(super) fn read(members: &mut Object<'_, '_>, log: &Origin) -> Result<Self, FieldError> {
        let field = members.required("checkpoint")?;
        let checkpoint: SignedCheckpoint = field.parse()?;
        if checkpoint.unverified().origin.as_str() != log.as_str() {
            return Err(field.error(Reason::Rule("must be a checkpoint of the log that the record is for")));
        }
        Ok(Self { checkpoint })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("checkpoint", &self.checkpoint.to_string());
    }
}

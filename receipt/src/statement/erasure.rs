//! Erasures: the order that a statement's slot be emptied. The entry stays, and this record says who ordered it.

use crate::{
    code::codes,
    json::{
        field::{FieldError, Object},
        write::ObjectWriter,
    },
};

/// What an `erasure` record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Why.
    pub basis: Basis,
}

codes! {
    /// Why a statement is erased.
    Basis {
        /// Somebody asks for what the law gives them.
        RightsRequest = "rights_request",
        /// It was kept as long as it was to be kept.
        RetentionOver = "retention_over",
        /// A court or authority ordered it.
        CourtOrder = "court_order",
        /// It must not be published.
        UnlawfulContent = "unlawful_content",
        /// It should not have been logged.
        Mistake = "mistake",
        /// Another.
        Other = "other",
    }
}

impl Erasure {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self { basis: members.required("basis")?.code(Basis::CODES)? })
    }

    pub(super) fn write(self, members: &mut ObjectWriter<'_>) {
        members.string("basis", self.basis.as_str());
    }
}

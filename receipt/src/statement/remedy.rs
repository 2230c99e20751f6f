//! Remedies: what was done about a dispute.

use super::{
    Commitment,
    verdict::{read_evidence, write_evidence},
};
use crate::{
    code::codes,
    json::{
        field::{FieldError, Object},
        write::ObjectWriter,
    },
};

/// What a `remedy` record says: this was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What.
    pub remedy: RemedyKind,
    /// Evidence that whoever did it keeps.
    pub evidence: Vec<Commitment>,
}

codes! {
    /// What can be done about a wrong.
    RemedyKind {
        /// It is explained.
        Explanation = "explanation",
        /// A person looks at it.
        HumanReview = "human_review",
        /// It is decided anew.
        NewDecision = "new_decision",
        /// The record is corrected.
        Correction = "correction",
        /// The price is paid back.
        Refund = "refund",
        /// Damages are paid.
        Compensation = "compensation",
        /// Data are deleted.
        Deletion = "deletion",
        /// Another.
        Other = "other",
    }
}

impl Remedy {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let remedy = members.required("remedy")?.code(RemedyKind::CODES)?;
        Ok(Self { remedy, evidence: read_evidence(members)? })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("remedy", self.remedy.as_str());
        write_evidence(&self.evidence, members);
    }
}

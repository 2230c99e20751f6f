//! Responses: what the respondent says to a dispute.

use super::{
    Commitment, RemedyKind,
    verdict::{read_evidence, write_evidence},
};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    timestamp::Timestamp,
};

/// What a `response` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Where the respondent stands.
    pub position: Stance,
    /// Why.
    pub reasons: Vec<ResponseReason>,
    /// What it has to say.
    pub statement: Option<Commitment>,
    /// Evidence that it keeps.
    pub evidence: Vec<Commitment>,
    /// What it undertakes to do, and until when.
    pub remedy: Option<Undertaking>,
}

/// A remedy that is promised or ordered, and until when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undertaking {
    /// What.
    pub remedy: RemedyKind,
    /// Until when.
    pub due: Timestamp,
}

codes! {
    /// Where a respondent stands.
    Stance {
        /// The dispute is right.
        Accept = "accept",
        /// In part.
        Partly = "partly",
        /// It is not.
        Reject = "reject",
        /// The disputant should show more.
        NeedMore = "need_more",
        /// It is none of the respondent's business.
        OutOfScope = "out_of_scope",
    }
}

codes! {
    /// Why a respondent stands there.
    ResponseReason {
        /// It found the error.
        ErrorConfirmed = "error_confirmed",
        /// It found none.
        NoErrorFound = "no_error_found",
        /// The answer is not its own.
        NotOurs = "not_ours",
        /// Its policy does not cover this.
        OutsidePolicy = "outside_policy",
        /// Too little was shown.
        NotEnoughShown = "not_enough_shown",
        /// It was settled before.
        AlreadyResolved = "already_resolved",
        /// It is still looking.
        UnderReview = "under_review",
        /// Another.
        Other = "other",
    }
}

impl Response {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let position = members.required("position")?.code(Stance::CODES)?;
        let reasons = members.required("reasons")?.codes(0, ResponseReason::CODES)?;
        let statement = members.maybe("statement", Field::parse)?;
        let evidence = read_evidence(members)?;
        let remedy = Undertaking::read(members)?;
        if remedy.is_some() && !matches!(position, Stance::Accept | Stance::Partly) {
            let rule = "a remedy goes with the position accept or partly";
            return Err(members.at("remedy", Reason::Rule(rule)));
        }
        Ok(Self { position, reasons, statement, evidence, remedy })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("position", self.position.as_str());
        write::array(members.member("reasons"), &self.reasons, |out, it| write::string(out, it.as_str()));
        members.some("statement", self.statement, ObjectWriter::display);
        write_evidence(&self.evidence, members);
        Undertaking::write(self.remedy, members);
    }
}

impl Undertaking {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Option<Self>, FieldError> {
        let remedy = members.maybe("remedy", |field| field.code(RemedyKind::CODES))?;
        let due = members.maybe("due", Timestamp::read)?;
        match (remedy, due) {
            (Some(remedy), Some(due)) => Ok(Some(Self { remedy, due })),
            (None, None) => Ok(None),
            _ => Err(members.at("remedy", Reason::Together { names: "remedy and due" })),
        }
    }

    pub(super) fn write(undertaking: Option<Self>, members: &mut ObjectWriter<'_>) {
        if let Some(Self { remedy, due }) = undertaking {
            members.string("remedy", remedy.as_str());
            members.integer("due", due.millis());
        }
    }
}

//! Resolutions: how a dispute was decided, by whom in which role.

use super::{Commitment, Ground, response::Undertaking};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    timestamp::Timestamp,
};

/// What a `resolution` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// In which role its issuer decides.
    pub role: Decider,
    /// What was found, ground by ground.
    pub findings: Vec<Finding>,
    /// What is to be done, and until when.
    pub remedy: Option<Undertaking>,
    /// Until when it can be appealed against.
    pub appeal_until: Option<Timestamp>,
    /// The decision's own reference, such as a file number.
    pub reference: Option<Commitment>,
    /// The reasons.
    pub statement: Option<Commitment>,
    /// How many of those who decided did not agree.
    pub dissent: Option<u64>,
}

/// What was found on one ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The ground.
    pub ground: Ground,
    /// What was found.
    pub outcome: Outcome,
}

codes! {
    /// In which role somebody decides a dispute.
    Decider {
        /// An arbiter.
        Arbiter = "arbiter",
        /// The respondent, on its own case.
        Respondent = "respondent",
        /// The disputant says that the matter is settled.
        Agreed = "agreed",
        /// A court or authority, reported by an arbiter.
        Authority = "authority",
    }
}

codes! {
    /// What was found on a ground.
    Outcome {
        /// The dispute is right.
        Upheld = "upheld",
        /// In part.
        Partly = "partly",
        /// It is not.
        Rejected = "rejected",
        /// It was left open.
        Undecided = "undecided",
    }
}

impl Resolution {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let role = members.required("role")?.code(Decider::CODES)?;
        let list = members.required("findings")?;
        let findings = list.list(1, Ground::ALL.len(), Finding::read)?;
        let twice = |(n, finding): (usize, &Finding)| {
            findings[..n].iter().any(|before| before.ground == finding.ground)
        };
        if findings.iter().enumerate().any(twice) {
            return Err(list.error(Reason::Rule("finds on one ground twice")));
        }
        Ok(Self {
            role,
            findings,
            remedy: Undertaking::read(members)?,
            appeal_until: members.maybe("appeal_until", Timestamp::read)?,
            reference: members.maybe("reference", Field::parse)?,
            statement: members.maybe("statement", Field::parse)?,
            dissent: members.maybe("dissent", Field::integer)?,
        })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("role", self.role.as_str());
        write::array(members.member("findings"), &self.findings, |out, finding| {
            write::write_object(out, |members| {
                members.string("ground", finding.ground.as_str());
                members.string("finding", finding.outcome.as_str());
            });
        });
        Undertaking::write(self.remedy, members);
        members.some("appeal_until", self.appeal_until.map(Timestamp::millis), ObjectWriter::integer);
        members.some("reference", self.reference, ObjectWriter::display);
        members.some("statement", self.statement, ObjectWriter::display);
        members.some("dissent", self.dissent, ObjectWriter::integer);
    }
}

impl Finding {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let ground = members.required("ground")?.code(Ground::CODES)?;
        let outcome = members.required("finding")?.code(Outcome::CODES)?;
        members.finish()?;
        Ok(Self { ground, outcome })
    }
}

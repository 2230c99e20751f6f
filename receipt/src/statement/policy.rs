//! Policies: what an operator promises in public about complaints, remedies, retention and coverage.

use super::{Ground, RemedyKind, receipt::Protocol};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
};

/// The longest time to respond that can be promised: 366 days. A deadline beyond is none.
pub const RESPOND_WITHIN_S_MAX: u64 = 366 * 86_400;

/// Most arbiters that a policy can name.
pub const ARBITERS_MAX: usize = 32;

/// What a `policy` record says. It holds for receipts that its issuer logs after it, until the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Within how many seconds disputes are answered.
    pub respond_within_s: u64,
    /// Grounds that the operator undertakes to answer.
    pub grounds: Vec<Ground>,
    /// Remedies that it offers.
    pub remedies: Vec<RemedyKind>,
    /// Whose decisions it accepts.
    pub arbiters: Vec<PublicKey>,
    /// Interfaces of which every exchange gets a receipt.
    pub coverage: Vec<Protocol>,
    /// What it does while the log cannot be reached.
    pub on_log_failure: OnLogFailure,
    /// How long it keeps things.
    pub retention: Option<Retention>,
}

codes! {
    /// What an operator does while the log cannot be reached.
    OnLogFailure {
        /// It answers callers, and logs later.
        Answer = "answer",
        /// It refuses callers.
        Refuse = "refuse",
    }
}

/// How long an operator keeps things, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Statements, before it orders their erasure.
    pub statements_s: Option<u64>,
    /// Openings.
    pub openings_s: Option<u64>,
}

impl Policy {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self {
            respond_within_s: respond_within_s(&members.required("respond_within")?)?,
            grounds: members.required("grounds")?.codes(1, Ground::CODES)?,
            remedies: members.required("remedies")?.codes(0, RemedyKind::CODES)?,
            arbiters: members.required("arbiters")?.list(0, ARBITERS_MAX, Field::parse)?,
            coverage: members.required("coverage")?.codes(0, Protocol::CODES)?,
            on_log_failure: members.required("on_log_failure")?.code(OnLogFailure::CODES)?,
            retention: members.maybe("retention", Retention::read)?,
        })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.integer("respond_within", self.respond_within_s);
        write::array(members.member("grounds"), &self.grounds, |out, it| write::string(out, it.as_str()));
        write::array(members.member("remedies"), &self.remedies, |out, it| write::string(out, it.as_str()));
        write::array(members.member("arbiters"), &self.arbiters, |out, it| write::string(out, it.as_str()));
        write::array(members.member("coverage"), &self.coverage, |out, it| write::string(out, it.as_str()));
        members.string("on_log_failure", self.on_log_failure.as_str());
        if let Some(retention) = self.retention {
            members.object("retention", |members| {
                members.some("statements", retention.statements_s, ObjectWriter::integer);
                members.some("openings", retention.openings_s, ObjectWriter::integer);
            });
        }
    }
}

impl Retention {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let statements_s = members.maybe("statements", Field::integer)?;
        let openings_s = members.maybe("openings", Field::integer)?;
        members.finish()?;
        Ok(Self { statements_s, openings_s })
    }
}

/// Reads a time to respond.
pub(super) fn respond_within_s(field: &Field<'_, '_>) -> Result<u64, FieldError> {
    let seconds = field.integer()?;
    if (1..=RESPOND_WITHIN_S_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(field.error(Reason::Rule("must be 1 second to 366 days")))
}

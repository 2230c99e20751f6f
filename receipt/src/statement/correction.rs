//! Corrections: an issuer says which of its claims were wrong.

use super::{Commitment, Number, Sample, StreamId};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
};

/// What a `correction` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What was wrong.
    pub fields: Vec<ReceiptField>,
    /// A JSON object of what is right.
    pub values: Option<Commitment>,
    /// Why it was wrong.
    pub cause: Cause,
    /// How that came out.
    pub found: Found,
    /// The numbers of a stream that are affected.
    pub range: Option<Range>,
    /// The receipts that are affected, where they are no range.
    pub sample: Option<Sample>,
    /// Whether those affected were told.
    pub notified: bool,
}

/// Numbers of a stream, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The stream.
    pub stream: StreamId,
    /// The first number.
    pub from: Number,
    /// The last one.
    pub to: Number,
}

codes! {
    /// What a receipt can be wrong in.
    ReceiptField {
        /// The commitment to the request.
        Request = "request",
        /// The commitment to the response.
        Response = "response",
        /// The claim key.
        Claim = "claim",
        /// The interface.
        Api = "api",
        /// The model that was asked for.
        ModelRequested = "model.requested",
        /// The model that the service named.
        ModelReported = "model.reported",
        /// The model that the issuer named.
        ModelClaimed = "model.claimed",
        /// How the exchange ended.
        Outcome = "outcome",
        /// The group.
        Usage = "usage",
        /// The group.
        Lengths = "lengths",
        /// The group.
        Timing = "timing",
        /// The group.
        Parameters = "parameters",
        /// The group.
        Caller = "caller",
        /// The group.
        Attempts = "attempts",
        /// The group.
        Transforms = "transforms",
        /// The group.
        Parts = "parts",
        /// The group.
        Finish = "finish",
        /// The group.
        Content = "content",
        /// The group.
        Upstream = "upstream",
        /// The group.
        Execution = "execution",
        /// The group.
        Accountable = "accountable",
        /// The group.
        Hints = "hints",
        /// The group.
        Links = "links",
        /// The group.
        Ext = "ext",
    }
}

codes! {
    /// Why a claim was wrong.
    Cause {
        /// A fault of a program.
        Software = "software",
        /// A wrong setting.
        Configuration = "configuration",
        /// Another model answered than was meant to.
        WrongModel = "wrong_model",
        /// The upstream said something wrong.
        Upstream = "upstream",
        /// A clock was wrong.
        Clock = "clock",
        /// It belongs to another exchange.
        Misattributed = "misattributed",
        /// A person's mistake.
        Human = "human",
        /// Somebody meddled with it.
        Tampering = "tampering",
        /// Another.
        Other = "other",
    }
}

codes! {
    /// How a wrong claim came out.
    Found {
        /// The issuer's own check.
        OwnCheck = "own_check",
        /// A verdict.
        Verdict = "verdict",
        /// A dispute.
        Dispute = "dispute",
        /// A resolution.
        Resolution = "resolution",
        /// An audit.
        Audit = "audit",
        /// The caller said so.
        Caller = "caller",
        /// Another way.
        Other = "other",
    }
}

impl Correction {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self {
            fields: members.required("fields")?.codes(1, ReceiptField::CODES)?,
            values: members.maybe("values", Field::parse)?,
            cause: members.required("cause")?.code(Cause::CODES)?,
            found: members.required("found")?.code(Found::CODES)?,
            range: members.maybe("range", Range::read)?,
            sample: members.maybe("sample", Sample::read)?,
            notified: members.required("notified")?.boolean()?,
        })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        write::array(members.member("fields"), &self.fields, |out, it| write::string(out, it.as_str()));
        members.some("values", self.values, ObjectWriter::display);
        members.string("cause", self.cause.as_str());
        members.string("found", self.found.as_str());
        if let Some(range) = &self.range {
            members.object("range", |members| {
                members.display("stream", range.stream);
                members.integer("from", range.from.get());
                members.integer("to", range.to.get());
            });
        }
        Sample::write(&self.sample, members);
        members.boolean("notified", self.notified);
    }
}

impl Range {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let stream = members.required("stream")?.parse()?;
        let (from, to) = (Number::read(&members.required("from")?)?, Number::read(&members.required("to")?)?);
        if to < from {
            return Err(members.at("to", Reason::Rule("lies before from")));
        }
        members.finish()?;
        Ok(Self { stream, from, to })
    }
}

//! How far a stream went, and numbers that were spent for nothing: so a missing tail shows, and a gap has a reason.

use super::{Number, StreamId};
use crate::{
    code::codes,
    envelope::Id,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::ObjectWriter,
    },
    timestamp::Timestamp,
};

/// What an `epoch` record says of one of its issuer's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The stream.
    pub stream: StreamId,
    /// The first number that is not used.
    pub next: Number,
    /// The record with the number before that; none if no number is used.
    pub last: Option<Id>,
    /// The beginning of the time it is about.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// What a `void` record says: its own number stands for no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Void {
    /// Why.
    pub reason: VoidReason,
}

codes! {
    /// Why a number was spent without a receipt.
    VoidReason {
        /// The issuer crashed in between.
        Crash = "crash",
        /// The exchange did not take place.
        Cancelled = "cancelled",
        /// The exchange has a receipt already.
        Duplicate = "duplicate",
        /// It was a test.
        Test = "test",
        /// Another.
        Other = "other",
    }
}

impl Epoch {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let stream = members.required("stream")?.parse()?;
        let next = Number::read(&members.required("next")?)?;
        let last = members.required("last")?.nullable(Field::parse)?;
        if last.is_none() != (next == Number::FIRST) {
            return Err(members.at("last", Reason::Rule("must be null if next is 0, and only then")));
        }
        let from = Timestamp::read(&members.required("from")?)?;
        let to = Timestamp::read(&members.required("to")?)?;
        if to < from {
            return Err(members.at("to", Reason::Rule("lies before from")));
        }
        Ok(Self { stream, next, last, from, to })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.display("stream", self.stream);
        members.integer("next", self.next.get());
        match self.last {
            Some(id) => members.display("last", id),
            None => members.null("last"),
        }
        members.integer("from", self.from.millis());
        members.integer("to", self.to.millis());
    }
}

impl Void {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self { reason: members.required("reason")?.code(VoidReason::CODES)? })
    }

    pub(super) fn write(self, members: &mut ObjectWriter<'_>) {
        members.string("reason", self.reason.as_str());
    }
}

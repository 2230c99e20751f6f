//! Groups about the answer: how much, how long, when, how it ended, what it was.

use super::{Group, GroupName};
use crate::{
    json::{
        field::{Field, FieldError, Reason},
        write::{self, ObjectWriter},
    },
    statement::{Commitment, TEXT_BYTES_MAX},
    timestamp::Timestamp,
};

/// Most choices that an answer can have.
const CHOICES_MAX: usize = 128;

/// Tokens, as the service counted them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the input.
    pub input: Option<u64>,
    /// Of the output.
    pub output: Option<u64>,
    /// Of the input that was cached.
    pub cached: Option<u64>,
    /// Of the output that was reasoning.
    pub reasoning: Option<u64>,
}

impl Group for Usage {
    const NAME: GroupName = GroupName::Usage;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let input = members.maybe("input", Field::integer)?;
        let output = members.maybe("output", Field::integer)?;
        let cached = members.maybe("cached", Field::integer)?;
        let reasoning = members.maybe("reasoning", Field::integer)?;
        members.finish()?;
        Ok(Self { input, output, cached, reasoning })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("input", self.input, ObjectWriter::integer);
            members.some("output", self.output, ObjectWriter::integer);
            members.some("cached", self.cached, ObjectWriter::integer);
            members.some("reasoning", self.reasoning, ObjectWriter::integer);
        });
    }
}

/// Lengths of the bodies in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Of the request's body.
    pub request: Option<u64>,
    /// Of the response's body.
    pub response: Option<u64>,
}

impl Group for Lengths {
    const NAME: GroupName = GroupName::Lengths;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let request = members.maybe("request", Field::integer)?;
        let response = members.maybe("response", Field::integer)?;
        members.finish()?;
        Ok(Self { request, response })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("request", self.request, ObjectWriter::integer);
            members.some("response", self.response, ObjectWriter::integer);
        });
    }
}

/// When the exchange happened, by the issuer's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// The request was there.
    pub received: Option<Timestamp>,
    /// The answer's first byte was sent.
    pub first_byte: Option<Timestamp>,
    /// Its last byte was sent.
    pub completed: Option<Timestamp>,
}

impl Group for Timing {
    const NAME: GroupName = GroupName::Timing;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let received = members.maybe("received", moment)?;
        let first_byte = members.maybe("first_byte", moment)?;
        let completed = members.maybe("completed", moment)?;
        members.finish()?;
        Ok(Self { received, first_byte, completed })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("received", self.received.map(Timestamp::millis), ObjectWriter::integer);
            members.some("first_byte", self.first_byte.map(Timestamp::millis), ObjectWriter::integer);
            members.some("completed", self.completed.map(Timestamp::millis), ObjectWriter::integer);
        });
    }
}

/// Reads a moment.
pub(super) fn moment(field: &Field<'_, '_>) -> Result<Timestamp, FieldError> {
    Timestamp::from_millis(field.integer()?).ok_or_else(|| field.error(Reason::Rule("must be a time in ms")))
}

/// Reads an HTTP status.
pub(super) fn status(field: &Field<'_, '_>) -> Result<u16, FieldError> {
    match u16::try_from(field.integer()?) {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(field.error(Reason::Rule("must be an HTTP status from 100 to 599"))),
    }
}

/// How the answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// The HTTP status; `None` if none was received.
    pub status: Option<u16>,
    /// The reason that the service gave, one a choice.
    pub reasons: Vec<String>,
}

impl Group for Finish {
    const NAME: GroupName = GroupName::Finish;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let status = members.maybe("status", |field| field.nullable(status))?.flatten();
        let reasons = members.maybe("reasons", |field| {
            field.items(CHOICES_MAX)?.map(|item| item.text(TEXT_BYTES_MAX).map(str::to_owned)).collect()
        })?;
        members.finish()?;
        Ok(Self { status, reasons: reasons.unwrap_or_default() })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            match self.status {
                Some(status) => members.integer("status", status.into()),
                None => members.null("status"),
            }
            write::array(members.member("reasons"), &self.reasons, |out, reason| write::string(out, reason));
        });
    }
}

/// Commitments to what was answered, taken out of the body: the words people argue about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// To the text: for each choice its length as u32 big-endian, and the text.
    pub text: Option<Commitment>,
    /// To the tool calls: for each the name and the arguments, each after its length as u32 big-endian.
    pub tool_calls: Option<Commitment>,
    /// To the ids of the tokens: for each choice their number and the ids, each as u32 big-endian.
    pub token_ids: Option<Commitment>,
    /// To the embedding.
    pub embedding: Option<Commitment>,
}

impl Group for Content {
    const NAME: GroupName = GroupName::Content;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let text = members.maybe("text", Field::parse)?;
        let tool_calls = members.maybe("tool_calls", Field::parse)?;
        let token_ids = members.maybe("token_ids", Field::parse)?;
        let embedding = members.maybe("embedding", Field::parse)?;
        members.finish()?;
        Ok(Self { text, tool_calls, token_ids, embedding })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("text", self.text, ObjectWriter::display);
            members.some("tool_calls", self.tool_calls, ObjectWriter::display);
            members.some("token_ids", self.token_ids, ObjectWriter::display);
            members.some("embedding", self.embedding, ObjectWriter::display);
        });
    }
}

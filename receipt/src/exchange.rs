//! What an exchange with an inference service says: the facts of a receipt, taken out of the bodies, whether they are there
//! whole ([`Exchange`]) or pass by ([`Watched`]).
//!
//! Nothing here refuses an exchange for what its bodies say: whatever the service sent, and whatever could not be read, the
//! exchange took place and gets a receipt. Only what is no call of a model is turned away.

mod anthropic_messages;
mod call;
mod openai_chat;
mod openai_embeddings;
mod openai_responses;
mod parameters;
mod recorded;
mod room;
pub mod sse;
mod watched;

pub use call::{Call, NotAnInference};
pub use recorded::{Recorded, RecordedError};
pub use room::Limits;
pub use watched::Watched;

use room::Room;

use crate::{
    json::Value,
    statement::{
        TEXT_BYTES_MAX,
        groups::{Parameters, Usage},
        receipt::{Outcome, Protocol},
    },
};

/// How deeply the bodies of exchanges may nest: tools carry JSON schemas, which nest deeper than our own formats.
const DEPTH_MAX: usize = 64;

/// An exchange: what was sent and what came back, content encoding undone.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The path of the URL.
    pub path: &'a str,
    /// The request's body.
    pub request: &'a [u8],
    /// What came back; `None` if nothing did.
    pub response: Option<Response<'a>>,
    /// How the connection ended.
    pub end: End,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: Option<&'a str>,
    /// The upstream's id for the request, from a header (`x-request-id`, `request-id`).
    pub request_id: Option<&'a str>,
    /// The body, as far as it came.
    pub body: &'a [u8],
}

/// How a response begins.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: Option<&'a str>,
    /// The upstream's id for the request, from a header (`x-request-id`, `request-id`).
    pub request_id: Option<&'a str>,
}

/// How the connection ended: what the bodies cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response ended by itself.
    Finished,
    /// The upstream did not answer in time.
    Timeout,
    /// The client went away.
    ClientGone,
    /// The upstream broke off.
    UpstreamGone,
    /// The gateway itself failed.
    ProxyFailed,
}

/// What an exchange says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The protocol.
    pub protocol: Protocol,
    /// The path, without its query.
    pub path: String,
    /// Whether the request asked for a stream.
    pub stream: bool,
    /// The model that the request named; `None` if it named none that a statement can carry.
    pub requested: Option<String>,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// The HTTP status; `None` if nothing came back, or no status that HTTP knows.
    pub status: Option<u16>,
    /// Settings of the request.
    pub parameters: Parameters,
    /// The exact JSON of each input message.
    pub parts: Vec<String>,
    /// The id of the response that the request continues.
    pub previous_response: Option<String>,
    /// The id of the conversation that the request belongs to.
    pub conversation: Option<String>,
    /// What the response says.
    pub answer: Answer,
}

/// What a response says, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The model that answered.
    pub reported: Option<String>,
    /// The upstream's id for the exchange, from a header or else the body.
    pub request_id: Option<String>,
    /// The upstream's name for the configuration that ran the model.
    pub fingerprint: Option<String>,
    /// Tokens counted.
    pub usage: Usage,
    /// For each choice why it ended, in the service's words; `none` where it gave no reason.
    pub reasons: Vec<String>,
    /// For each choice the text: what the model said to the user, or how it refused.
    pub texts: Vec<String>,
    /// The tools that the model asked to be called, in the order of choices and calls.
    pub tool_calls: Vec<ToolCall>,
    /// For each choice the ids of its tokens; empty where the service does not give them.
    pub token_ids: Vec<Vec<u32>>,
    /// The exact JSON of the embeddings.
    pub embedding: Option<String>,
    /// Whether texts, tool calls, token ids and embeddings were left out: the body was not read whole, or held too much of them.
    pub left_out: bool,
    /// How the answer ended, going by the body; `None` if it says nothing of an end.
    ending: Option<Outcome>,
}

/// A tool that the model asked to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, exactly as received; streamed fragments joined.
    pub arguments: String,
}

impl Exchange<'_> {
    /// Takes the facts out of the exchange.
    pub fn facts(&self) -> Result<Facts, NotAnInference> {
        let mut watched = Watched::new(Call::at(self.path)?, Limits::NONE);
        if let Some(Response { status, content_type, request_id, body }) = self.response {
            watched.head(&Head { status, content_type, request_id });
            watched.body(body);
        }
        Ok(watched.facts(self.request, self.end))
    }
}

impl Answer {
    /// The answer without its content, if that was too long.
    fn within(self, room: Room) -> Self {
        if !room.is_full() {
            return self;
        }
        Self {
            texts: Vec::new(),
            tool_calls: Vec::new(),
            token_ids: Vec::new(),
            embedding: None,
            left_out: true,
            ..self
        }
    }
}

/// Whether a `content-type` is that of a stream of events.
pub fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

/// The exact JSON of each input message; none if they are longer than `bytes_max` together.
fn parts(protocol: Protocol, request: &Value<'_>, bytes_max: usize) -> Vec<String> {
    let name = match protocol {
        Protocol::OpenaiChat | Protocol::AnthropicMessages => "messages",
        Protocol::OpenaiCompletions => "prompt",
        Protocol::OpenaiResponses | Protocol::OpenaiEmbeddings => "input",
    };
    let input = request.member(name).filter(|input| !input.is_null() && input.raw().len() <= bytes_max);
    let Some(input) = input else { return Vec::new() };
    match input.items() {
        // A list of numbers is one text, given as tokens.
        Some(items) if items.first().is_none_or(|first| first.integer().is_none()) => {
            items.iter().map(|item| item.raw().to_owned()).collect()
        }
        _ => vec![input.raw().to_owned()],
    }
}

/// A member that is a text which a statement can carry.
fn text(value: &Value<'_>, name: &str) -> Option<String> {
    value.member(name)?.text().filter(|text| is_printable(text)).map(str::to_owned)
}

/// Whether a statement can carry this text.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// A text as it is listed among reasons.
fn reason(text: Option<&str>) -> String {
    text.filter(|text| is_printable(text)).unwrap_or("none").to_owned()
}

/// A member of a member that is an integer.
fn count(value: &Value<'_>, path: &[&str]) -> Option<u64> {
    path.iter().try_fold(value, |value, name| value.member(name))?.integer()
}

/// The worse of two ends: what befell one choice befell the answer.
fn worse(a: Outcome, b: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Complete => 0,
        Outcome::Truncated => 1,
        Outcome::Refused => 2,
        Outcome::Filtered => 3,
        _ => 4,
    };
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests;

//! What an answer says, taken out of its body or out of openings.

use std::borrow::Cow;

use counterfoil_receipt::{
    commitment::{Label, MemberLabel, Openings},
    exchange::{Answer, End, Exchange, Response, ToolCall, is_event_stream},
    json::Value,
    statement::{
        Commitment, Group as _, GroupName, Receipt, Sealable,
        groups::Content,
        receipt::{Api, Outcome, Protocol},
    },
};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::{Compared, Difference, vectors};
use crate::proxy::decode;

/// The longest body that is read once its content encoding is undone.
const DECODED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a content encoding can be.
const CODINGS: [&str; 4] = ["gzip", "zstd", "br", "deflate"];

/// Why an answer is none to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rubbish {
    /// The status says that it failed.
    #[error("it answers {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// It cannot be read as an answer of the protocol, or broke off, or reports an error.
    #[error("it is no whole answer in this protocol")]
    Broken,
    /// It is an answer of another kind.
    #[error("it is an answer of another kind")]
    Kind,
    /// It is no list of embeddings.
    #[error("it is no list of embeddings: {0}")]
    Embeddings(&'static str),
    /// It has not one embedding for each input.
    #[error("it has {got} embeddings, and {due} inputs were sent")]
    Count {
        /// How many there must be.
        due: usize,
        /// How many there are.
        got: usize,
    },
}

/// A body, content encoding undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) bytes: &'a [u8],
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Words(Words),
    Vectors(Vec<Vec<f64>>),
}

/// What a model said, choice by choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words {
    texts: Vec<String>,
    calls: Vec<ToolCall>,
    tokens: Vec<Vec<u32>>,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) said: Said,
    /// Whether the model ended it, and it came to its end.
    pub(super) is_whole: bool,
}

impl Said {
    /// What the body of an answer to `request` says.
    pub(super) fn of(api: &Api, request: &[u8], body: Body<'_>) -> Result<Read, Rubbish> {
        let declared = body.content_type.filter(|kind| is_event_stream(kind));
        let content_type = declared.or(looks_like_events(body.bytes).then_some("text/event-stream"));
        let response = Response { status: 200, content_type, request_id: None, body: body.bytes };
        let exchange = Exchange { path: &api.path, request, response: Some(response), end: End::Finished };
        let facts = exchange.facts().map_err(|_| Rubbish::Kind)?;
        let is_whole = matches!(
            facts.outcome,
            Outcome::Complete | Outcome::Truncated | Outcome::Refused | Outcome::Filtered
        );
        let Answer { texts, tool_calls: calls, token_ids: tokens, embedding, .. } = facts.answer;
        let said = if api.protocol == Protocol::OpenaiEmbeddings {
            Self::Vectors(embeddings(embedding.as_deref().ok_or(Rubbish::Broken)?)?)
        } else {
            Self::Words(Words { texts, calls, tokens }.trimmed())
        };
        Ok(Read { said, is_whole })
    }

    /// What openings show of the answer; `None` unless they open all that the receipt commits to of its content.
    pub(super) fn opened(receipt: &Receipt, openings: &Openings) -> Option<Self> {
        let value = |label| openings.get(label)?.value.as_deref();
        let content = match receipt.content.as_ref()? {
            Sealable::Open(content) => content.clone(),
            Sealable::Sealed(_) => {
                let json = value(Label::Group(GroupName::Content))?;
                Content::from_json(std::str::from_utf8(json).ok()?).ok()?
            }
        };
        if content == Content::default() {
            return None;
        }
        // Committed to and not opened: then it is not known what was said.
        let part = |commitment: Option<Commitment>, label| match commitment {
            Some(_) => value(Label::Member(label)).map(Some),
            None => Some(None),
        };
        if receipt.api.protocol == Protocol::OpenaiEmbeddings {
            let json = part(content.embedding, MemberLabel::Embedding)??;
            return embeddings(std::str::from_utf8(json).ok()?).ok().map(Self::Vectors);
        }
        let texts = split(part(content.text, MemberLabel::Text)?.unwrap_or_default())?;
        let fields = split(part(content.tool_calls, MemberLabel::ToolCalls)?.unwrap_or_default())?;
        let (pairs, rest) = fields.as_chunks::<2>();
        let call =
            |[name, arguments]: &[String; 2]| ToolCall { name: name.clone(), arguments: arguments.clone() };
        let calls = rest.is_empty().then(|| pairs.iter().map(call).collect())?;
        let tokens = counted(part(content.token_ids, MemberLabel::TokenIds)?.unwrap_or_default())?;
        Some(Self::Words(Words { texts, calls, tokens }.trimmed()))
    }

    /// Whether it says nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Words(words) => *words == Words::default(),
            Self::Vectors(vectors) => vectors.is_empty(),
        }
    }
}

impl Words {
    /// Lists without anything in them say nothing: an answer of tool calls has texts or none, as its service likes.
    fn trimmed(self) -> Self {
        let Self { texts, calls, tokens } = self;
        Self {
            texts: if texts.iter().all(String::is_empty) { Vec::new() } else { texts },
            calls,
            tokens: if tokens.iter().all(Vec::is_empty) { Vec::new() } else { tokens },
        }
    }

    /// The ids of its tokens, if they are told.
    pub(super) fn tokens(&self) -> Option<&[Vec<u32>]> {
        (!self.tokens.is_empty()).then_some(&self.tokens)
    }

    /// How much there is to compare.
    pub(super) fn compared(&self) -> Compared {
        let bytes = self.texts.iter().map(String::len).sum();
        Compared::Words { texts: self.texts.len(), bytes, tool_calls: self.calls.len() }
    }

    /// Where another answer's texts or tool calls part from these. If these were `cut`, the other may go on.
    pub(super) fn difference(&self, again: &Self, cut: bool) -> Option<Difference> {
        let (recorded, other) = (self.texts.len(), again.texts.len());
        if recorded != other && !(cut && recorded < other) {
            return Some(Difference::Texts { recorded, again: other });
        }
        for (choice, (a, b)) in self.texts.iter().zip(&again.texts).enumerate() {
            if let Some(at) = parts_at(a.as_bytes(), b.as_bytes(), cut) {
                return Some(Difference::Text { choice, at });
            }
        }
        let last = self.calls.len().checked_sub(1);
        for (nth, a) in self.calls.iter().enumerate() {
            let cut = cut && Some(nth) == last;
            let same = again.calls.get(nth).is_some_and(|b| {
                let same = |a: &str, b: &str| parts_at(a.as_bytes(), b.as_bytes(), cut).is_none();
                same(&a.name, &b.name) && same(&a.arguments, &b.arguments)
            });
            if !same {
                return Some(Difference::ToolCall { nth });
            }
        }
        let more = again.calls.len() > self.calls.len() && !cut;
        more.then_some(Difference::ToolCall { nth: self.calls.len() })
    }
}

/// Where other tokens part from those recorded.
pub(super) fn token_difference(recorded: &[Vec<u32>], again: &[Vec<u32>], cut: bool) -> Option<Difference> {
    let none = Vec::new();
    let choices = if cut { recorded.len() } else { recorded.len().max(again.len()) };
    (0..choices).find_map(|choice| {
        let (a, b) = (recorded.get(choice).unwrap_or(&none), again.get(choice).unwrap_or(&none));
        parts_at(a, b, cut).map(|nth| Difference::Token { choice, nth })
    })
}

/// Where `b` parts from `a`; if `a` was `cut`, `b` may go on.
fn parts_at<T: PartialEq>(a: &[T], b: &[T], cut: bool) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let same = common == a.len() && (cut || common == b.len());
    (!same).then_some(common)
}

fn embeddings(json: &str) -> Result<Vec<Vec<f64>>, Rubbish> {
    let data = Value::parse_within(json.as_bytes(), super::DEPTH_MAX).map_err(|_| Rubbish::Broken)?;
    vectors::parse(&data).map_err(Rubbish::Embeddings)
}

/// Texts, each after its length as u32 big-endian.
fn split(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

/// Ids of tokens, each choice's after their number, all as u32 big-endian.
fn counted(bytes: &[u8]) -> Option<Vec<Vec<u32>>> {
    let (numbers, rest) = bytes.as_chunks();
    let mut numbers = numbers.iter().map(|number| u32::from_be_bytes(*number));
    let mut choices = Vec::new();
    while let Some(count) = numbers.next() {
        let count = usize::try_from(count).ok().filter(|count| *count <= numbers.len())?;
        choices.push(numbers.by_ref().take(count).collect());
    }
    rest.is_empty().then_some(choices)
}

/// A body as it was committed to, content encoding undone. Which encoding it was, only headers said: so each is tried.
pub(super) fn decoded(body: &[u8]) -> Cow<'_, [u8]> {
    if is_readable(body) {
        return Cow::Borrowed(body);
    }
    let decoded = CODINGS.iter().find_map(|coding| {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
        decode::whole(&headers, body, DECODED_BYTES_MAX).filter(|body| is_readable(body))
    });
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// Whether this looks like JSON, or like a stream of events.
fn is_readable(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{') || looks_like_events(body)
}

/// Whether this looks like a stream of events.
fn looks_like_events(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|start| body.starts_with(start))
}

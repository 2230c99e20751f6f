//! An exchange while it takes place: bytes go in as they pass by, facts come out when it is over.
//!
//! What is held is bounded by [`Limits`], however long the exchange and whatever is sent.

use super::{
    Answer, Call, DEPTH_MAX, End, Facts, Head, Limits, Room, anthropic_messages, is_event_stream,
    openai_chat, openai_embeddings, openai_responses, parameters, parts, sse, text,
};
use crate::{
    json::Value,
    statement::receipt::{Outcome, Protocol},
};

/// An exchange that is being watched.
#[derive(Clone, Debug)]
pub struct Watched {
    call: Call,
    limits: Limits,
    response: Option<Watching>,
}

#[derive(Clone, Debug)]
struct Watching {
    status: u16,
    request_id: Option<String>,
    is_stream: bool,
    body: Body,
}

/// What there is of a body.
#[derive(Clone, Debug)]
enum Body {
    /// It is read when it is whole.
    Whole(Vec<u8>),
    /// It is read event by event.
    Events(Box<Events>),
    /// It is not read.
    Unread,
}

/// A stream of events.
#[derive(Clone, Debug)]
struct Events {
    reader: sse::Reader,
    fragments: Fragments,
}

/// What the events of a stream have said so far.
#[derive(Clone, Debug)]
enum Fragments {
    Chat(openai_chat::Chunks),
    Responses(openai_responses::Events),
    Messages(anthropic_messages::Message),
    /// A protocol that has no streams.
    Unknown,
}

impl Watched {
    /// The request is there.
    pub const fn new(call: Call, limits: Limits) -> Self {
        Self { call, limits, response: None }
    }

    /// What is called.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// A response begins. What was read of another before it is forgotten.
    pub fn head(&mut self, head: &Head<'_>) {
        let is_stream = head.content_type.is_some_and(is_event_stream);
        let body = if is_stream {
            let fragments = Fragments::of(self.call.protocol, Room::new(self.limits.content));
            Body::Events(Box::new(Events { reader: sse::Reader::new(self.limits.event), fragments }))
        } else {
            Body::Whole(Vec::new())
        };
        let request_id = head.request_id.map(str::to_owned);
        self.response = Some(Watching { status: head.status, request_id, is_stream, body });
    }

    /// More of the response's body, content encoding undone.
    pub fn body(&mut self, bytes: &[u8]) {
        let Some(response) = &mut self.response else { return };
        match &mut response.body {
            Body::Whole(held) if held.len().saturating_add(bytes.len()) > self.limits.body => {
                response.body = Body::Unread;
            }
            Body::Whole(held) => held.extend_from_slice(bytes),
            Body::Events(events) => {
                let Events { reader, fragments } = &mut **events;
                reader.push(bytes, &mut |event| fragments.event(&event));
            }
            Body::Unread => {}
        }
    }

    /// The response's body cannot be read, or no further: its content encoding is not known, or not kept.
    pub fn unread(&mut self) {
        if let Some(response) = &mut self.response {
            response.body = Body::Unread;
        }
    }

    /// Whether the body is a stream that has said that nothing follows.
    pub fn is_over(&self) -> bool {
        let Some(Body::Events(events)) = self.response.as_ref().map(|response| &response.body) else {
            return false;
        };
        match &events.fragments {
            Fragments::Chat(chunks) => chunks.is_over(),
            Fragments::Responses(events) => events.is_over(),
            Fragments::Messages(message) => message.is_over(),
            Fragments::Unknown => false,
        }
    }

    /// How many bytes are held of the response, about.
    pub fn held(&self) -> usize {
        match self.response.as_ref().map(|response| &response.body) {
            Some(Body::Whole(held)) => held.capacity(),
            Some(Body::Events(events)) => events.reader.held() + events.fragments.held(),
            Some(Body::Unread) | None => 0,
        }
    }

    /// Leaves the content of the response out, and gives back what is held of it: memory is short.
    pub fn leave_out(&mut self) {
        match self.response.as_mut().map(|response| &mut response.body) {
            Some(body @ Body::Whole(_)) => *body = Body::Unread,
            Some(Body::Events(events)) => events.fragments.leave_out(),
            Some(Body::Unread) | None => {}
        }
    }

    /// It is over. `request` is the request's body, content encoding undone; empty if it was not held.
    pub fn facts(self, request: &[u8], end: End) -> Facts {
        let Self { call: Call { protocol, path }, limits, response } = self;
        let request = Value::parse_within(request, DEPTH_MAX).ok();
        let request = request.as_ref();
        let id = |name: &str| request.and_then(|request| request.member(name));
        let conversation = id("conversation").and_then(|it| it.text().or_else(|| it.member("id")?.text()));
        let status = response.as_ref().map(|response| response.status);
        let (answer, outcome) = match response {
            Some(response) => response.answer(protocol, limits, end),
            None => (Answer::default(), broken(end, false)),
        };
        Facts {
            protocol,
            path,
            stream: request.and_then(|request| request.member("stream")?.boolean()).unwrap_or(false),
            requested: request.and_then(|request| text(request, "model")),
            outcome,
            status: status.filter(|status| (100..600).contains(status)),
            parameters: request.map(parameters::of).unwrap_or_default(),
            parts: request.map(|request| parts(protocol, request, limits.content)).unwrap_or_default(),
            previous_response: id("previous_response_id").and_then(Value::text).map(str::to_owned),
            conversation: conversation.map(str::to_owned),
            answer,
        }
    }
}

impl Watching {
    /// What the response says, and how the exchange ended.
    ///
    /// What the body says of an end comes first: a client may hang up after the last byte.
    fn answer(self, protocol: Protocol, limits: Limits, end: End) -> (Answer, Outcome) {
        let is_read = !matches!(self.body, Body::Unread);
        let mut answer = match self.body {
            Body::Whole(body) => whole(protocol, &body, Room::new(limits.content)),
            Body::Events(events) => {
                let Events { reader, mut fragments } = *events;
                reader.finish(&mut |event| fragments.event(&event));
                fragments.answer()
            }
            Body::Unread => Answer { left_out: true, ..Answer::default() },
        };
        answer.request_id = self.request_id.or(answer.request_id);
        let outcome = match answer.ending {
            _ if !(200..300).contains(&self.status) => Outcome::UpstreamError,
            Some(ending) => ending,
            // The service sent all that it announced. Nothing that was read says more.
            None if !is_read && end == End::Finished => Outcome::Complete,
            None => broken(end, !self.is_stream),
        };
        (answer, outcome)
    }
}

/// How an exchange ended whose bodies do not say it.
const fn broken(end: End, whole: bool) -> Outcome {
    match end {
        // A whole body that says nothing is an error; a stream that does not say it is done was cut.
        End::Finished if whole => Outcome::UpstreamError,
        End::Finished | End::UpstreamGone => Outcome::AbortedByUpstream,
        End::Timeout => Outcome::Timeout,
        End::ClientGone => Outcome::AbortedByClient,
        End::ProxyFailed => Outcome::ProxyError,
    }
}

fn whole(protocol: Protocol, body: &[u8], room: Room) -> Answer {
    let Ok(body) = Value::parse_within(body, DEPTH_MAX) else { return Answer::default() };
    match protocol {
        Protocol::OpenaiChat | Protocol::OpenaiCompletions => openai_chat::body(&body, room),
        Protocol::OpenaiResponses => openai_responses::body(&body, room),
        Protocol::OpenaiEmbeddings => openai_embeddings::body(&body, room),
        Protocol::AnthropicMessages => anthropic_messages::body(&body, room),
    }
}

impl Fragments {
    fn of(protocol: Protocol, room: Room) -> Self {
        match protocol {
            Protocol::OpenaiChat | Protocol::OpenaiCompletions => Self::Chat(openai_chat::Chunks::new(room)),
            Protocol::OpenaiResponses => Self::Responses(openai_responses::Events::new(room)),
            Protocol::OpenaiEmbeddings => Self::Unknown,
            Protocol::AnthropicMessages => Self::Messages(anthropic_messages::Message::new(room)),
        }
    }

    fn event(&mut self, event: &sse::Event) {
        match self {
            Self::Chat(chunks) => chunks.event(event),
            Self::Responses(events) => events.event(event),
            Self::Messages(message) => message.event(event),
            Self::Unknown => {}
        }
    }

    const fn held(&self) -> usize {
        match self {
            Self::Chat(chunks) => chunks.held(),
            Self::Responses(events) => events.held(),
            Self::Messages(message) => message.held(),
            Self::Unknown => 0,
        }
    }

    fn leave_out(&mut self) {
        match self {
            Self::Chat(chunks) => chunks.leave_out(),
            Self::Responses(events) => events.leave_out(),
            Self::Messages(message) => message.leave_out(),
            Self::Unknown => {}
        }
    }

    fn answer(self) -> Answer {
        match self {
            Self::Chat(chunks) => chunks.answer(),
            Self::Responses(events) => events.answer(),
            Self::Messages(message) => message.answer(),
            Self::Unknown => Answer::default(),
        }
    }
}

#[cfg(test)]
mod tests;

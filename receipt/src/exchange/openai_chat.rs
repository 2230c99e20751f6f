//! OpenAI's chat completions and completions, which many services speak.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, Room, ToolCall, count, reason, sse::Event, text, worse};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most choices that are told apart.
const CHOICES_MAX: usize = 128;

/// What a body says.
pub(super) fn body(body: &Value<'_>, room: Room) -> Answer {
    let mut chunks = Chunks::new(room);
    chunks.take(body);
    chunks.done = true;
    chunks.answer()
}

/// A stream: its chunks are added up.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    answer: Answer,
    choices: BTreeMap<u64, Choice>,
    failed: bool,
    done: bool,
    room: Room,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    text: String,
    refusal: String,
    refused: bool,
    reason: Option<String>,
    calls: BTreeMap<u64, ToolCall>,
    tokens: Vec<u32>,
    /// Whether some of the tokens could not be read: then none is told.
    untold: bool,
}

impl Chunks {
    pub(super) fn new(room: Room) -> Self {
        Self { answer: Answer::default(), choices: BTreeMap::new(), failed: false, done: false, room }
    }

    /// Takes the next event of the stream.
    pub(super) fn event(&mut self, event: &Event) {
        if event.data == "[DONE]" {
            self.done = true;
        } else if event.cut {
            self.room.close();
        } else if let Ok(chunk) = Value::parse_within(event.data.as_bytes(), DEPTH_MAX) {
            self.take(&chunk);
        }
    }

    /// Whether the stream said that nothing follows: in so many words, or by an error.
    pub(super) const fn is_over(&self) -> bool {
        self.done || self.failed
    }

    /// How many bytes of content are held.
    pub(super) const fn held(&self) -> usize {
        self.room.taken()
    }

    /// Leaves the content out, and gives back what is held of it.
    pub(super) fn leave_out(&mut self) {
        self.room.close();
        for choice in self.choices.values_mut() {
            (choice.text, choice.refusal, choice.calls, choice.tokens) = Default::default();
        }
    }

    /// Takes a body, or a chunk of one.
    fn take(&mut self, body: &Value<'_>) {
        // An error that follows the end of every choice adds nothing: services report a spent limit in both ways at once.
        self.failed |= !self.ended() && body.member("error").is_some_and(|error| !error.is_null());
        let answer = &mut self.answer;
        answer.reported = text(body, "model").or(answer.reported.take());
        answer.request_id = text(body, "id").or(answer.request_id.take());
        answer.fingerprint = text(body, "system_fingerprint").or(answer.fingerprint.take());
        let groq = body.member("x_groq").and_then(|groq| groq.member("usage"));
        if let Some(usage) = body.member("usage").filter(|usage| !usage.is_null()).or(groq) {
            answer.usage = self::usage(usage);
        }
        let choices = body.member("choices").and_then(Value::items).unwrap_or_default();
        for (position, choice) in (0..).zip(choices) {
            let index = choice.member("index").and_then(Value::integer).unwrap_or(position);
            if self.choices.len() < CHOICES_MAX || self.choices.contains_key(&index) {
                self.choices.entry(index).or_default().take(choice, &mut self.room);
            }
        }
    }

    /// Whether every choice gave the reason of its end.
    fn ended(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.reason.is_some())
    }

    /// What the chunks say together.
    pub(super) fn answer(mut self) -> Answer {
        let ended = self.ended();
        let outcomes = self.choices.values().map(Choice::outcome);
        let outcome = outcomes.fold(Outcome::Complete, worse);
        self.answer.ending = if self.failed {
            Some(Outcome::UpstreamError)
        } else if ended || (self.done && !self.choices.is_empty()) {
            Some(outcome)
        } else {
            None
        };
        for choice in self.choices.into_values() {
            self.answer.reasons.push(reason(choice.reason.as_deref()));
            self.answer.texts.push(if choice.text.is_empty() { choice.refusal } else { choice.text });
            self.answer.tool_calls.extend(choice.calls.into_values());
            self.answer.token_ids.push(if choice.untold { Vec::new() } else { choice.tokens });
        }
        self.answer.within(self.room)
    }
}

impl Choice {
    /// Takes a choice, or a fragment of one.
    fn take(&mut self, choice: &Value<'_>, room: &mut Room) {
        if let Some(given) = choice.member("finish_reason").and_then(Value::text) {
            self.reason = Some(reason(Some(given)));
        }
        let tokens = choice.member("token_ids").and_then(Value::items).unwrap_or_default();
        let id = |token: &Value<'_>| u32::try_from(token.integer()?).ok();
        match tokens.iter().map(id).collect::<Option<Vec<u32>>>() {
            Some(ids) => room.add_ids(&mut self.tokens, &ids),
            None => self.untold = true,
        }
        room.add(&mut self.text, choice.member("text").and_then(Value::text).unwrap_or_default());
        let Some(message) = choice.member("message").or_else(|| choice.member("delta")) else { return };
        match message.member("content").map(|content| (content.text(), content.items())) {
            Some((Some(text), _)) => room.add(&mut self.text, text),
            Some((_, Some(parts))) => {
                let texts = parts.iter().filter_map(|part| part.member("text")?.text());
                texts.for_each(|text| room.add(&mut self.text, text));
            }
            _ => {}
        }
        let refusal = message.member("refusal").and_then(Value::text).unwrap_or_default();
        self.refused |= !refusal.is_empty();
        room.add(&mut self.refusal, refusal);
        let calls = message.member("tool_calls").and_then(Value::items).unwrap_or_default();
        for (position, call) in (0..).zip(calls) {
            let index = call.member("index").and_then(Value::integer).unwrap_or(position);
            let function = call.member("function").or_else(|| call.member("custom")).unwrap_or(call);
            self.call(index, function, room);
        }
        if let Some(call) = message.member("function_call").filter(|call| !call.is_null()) {
            self.call(0, call, room);
        }
    }

    fn call(&mut self, index: u64, function: &Value<'_>, room: &mut Room) {
        if !self.calls.contains_key(&index) && !room.admits_entry() {
            return;
        }
        let call = self.calls.entry(index).or_default();
        room.add(&mut call.name, function.member("name").and_then(Value::text).unwrap_or_default());
        let arguments = function.member("arguments").or_else(|| function.member("input"));
        if let Some(arguments) = arguments.filter(|arguments| !arguments.is_null()) {
            room.add(&mut call.arguments, arguments.text().unwrap_or(arguments.raw()));
        }
    }

    fn outcome(&self) -> Outcome {
        match self.reason.as_deref() {
            Some("length") => Outcome::Truncated,
            Some("content_filter") => Outcome::Filtered,
            Some("error") => Outcome::UpstreamError,
            _ if self.refused => Outcome::Refused,
            Some("refusal") => Outcome::Refused,
            Some(_) => Outcome::Complete,
            None => Outcome::AbortedByUpstream,
        }
    }
}

/// Tokens as chat completions, completions and embeddings count them.
pub(super) fn usage(usage: &Value<'_>) -> Usage {
    Usage {
        input: count(usage, &["prompt_tokens"]),
        output: count(usage, &["completion_tokens"]),
        cached: count(usage, &["prompt_tokens_details", "cached_tokens"]),
        reasoning: count(usage, &["completion_tokens_details", "reasoning_tokens"]),
    }
}

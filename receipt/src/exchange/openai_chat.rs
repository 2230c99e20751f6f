//! OpenAI's chat completions and completions, which many services speak.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, ToolCall, count, reason, sse::Event, text, worse};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most choices that are told apart.
const CHOICES_MAX: usize = 128;

/// What a body says.
pub(super) fn body(body: &Value<'_>) -> Answer {
    let mut gathered = Gathered::default();
    gathered.take(body);
    gathered.done = true;
    gathered.answer()
}

/// What a stream says: its chunks are added up.
pub(super) fn stream(events: &[Event]) -> Answer {
    let mut gathered = Gathered::default();
    for event in events {
        if event.data == "[DONE]" {
            gathered.done = true;
        } else if let Ok(chunk) = Value::parse_within(event.data.as_bytes(), DEPTH_MAX) {
            gathered.take(&chunk);
        }
    }
    gathered.answer()
}

#[derive(Default)]
struct Gathered {
    answer: Answer,
    choices: BTreeMap<u64, Choice>,
    failed: bool,
    done: bool,
}

#[derive(Default)]
struct Choice {
    text: String,
    refusal: String,
    reason: Option<String>,
    calls: BTreeMap<u64, ToolCall>,
}

impl Gathered {
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
                self.choices.entry(index).or_default().take(choice);
            }
        }
    }

    /// Whether every choice gave the reason of its end.
    fn ended(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.reason.is_some())
    }

    fn answer(mut self) -> Answer {
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
        }
        self.answer
    }
}

impl Choice {
    /// Takes a choice, or a fragment of one.
    fn take(&mut self, choice: &Value<'_>) {
        if let Some(reason) = choice.member("finish_reason").and_then(Value::text) {
            self.reason = Some(reason.to_owned());
        }
        self.text.push_str(choice.member("text").and_then(Value::text).unwrap_or_default());
        let Some(message) = choice.member("message").or_else(|| choice.member("delta")) else { return };
        match message.member("content").map(|content| (content.text(), content.items())) {
            Some((Some(text), _)) => self.text.push_str(text),
            Some((_, Some(parts))) => {
                let texts = parts.iter().filter_map(|part| part.member("text")?.text());
                texts.for_each(|text| self.text.push_str(text));
            }
            _ => {}
        }
        self.refusal.push_str(message.member("refusal").and_then(Value::text).unwrap_or_default());
        let calls = message.member("tool_calls").and_then(Value::items).unwrap_or_default();
        for (position, call) in (0..).zip(calls) {
            let index = call.member("index").and_then(Value::integer).unwrap_or(position);
            self.call(index, call.member("function").or_else(|| call.member("custom")).unwrap_or(call));
        }
        if let Some(call) = message.member("function_call").filter(|call| !call.is_null()) {
            self.call(0, call);
        }
    }

    fn call(&mut self, index: u64, function: &Value<'_>) {
        let call = self.calls.entry(index).or_default();
        call.name.push_str(function.member("name").and_then(Value::text).unwrap_or_default());
        let arguments = function.member("arguments").or_else(|| function.member("input"));
        if let Some(arguments) = arguments.filter(|arguments| !arguments.is_null()) {
            call.arguments.push_str(arguments.text().unwrap_or(arguments.raw()));
        }
    }

    fn outcome(&self) -> Outcome {
        match self.reason.as_deref() {
            Some("length") => Outcome::Truncated,
            Some("content_filter") => Outcome::Filtered,
            Some("error") => Outcome::UpstreamError,
            _ if !self.refusal.is_empty() => Outcome::Refused,
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

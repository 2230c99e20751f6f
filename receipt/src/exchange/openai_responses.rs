//! OpenAI's responses. One response is one choice: its messages are one text.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, ToolCall, count, reason, sse::Event, text, worse};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most items of an output that are put together from fragments.
const ITEMS_MAX: usize = 4_096;

/// What a body says.
pub(super) fn body(body: &Value<'_>) -> Answer {
    let output = body.member("output").and_then(Value::items).unwrap_or_default();
    let mut items = Items::default();
    for (index, item) in (0..).zip(output) {
        items.take(index, item);
    }
    finish(Some(body), items)
}

/// What a stream says: its last response object, and the fragments if it broke off before the end.
pub(super) fn stream(events: &[Event]) -> Answer {
    let mut items = Items::default();
    let mut last = None;
    for event in events {
        let Ok(data) = Value::parse_within(event.data.as_bytes(), DEPTH_MAX) else { continue };
        let kind = data.member("type").and_then(Value::text).unwrap_or(&event.kind);
        match kind {
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                return data.member("response").map(body).unwrap_or_default();
            }
            "error" => {
                let mut answer = finish(last.as_ref(), items);
                answer.ending = Some(Outcome::UpstreamError);
                return answer;
            }
            _ => items.event(kind, &data),
        }
        if let Some(response) = data.member("response") {
            last = Some(response.clone());
        }
    }
    let mut answer = finish(last.as_ref(), items);
    answer.ending = None;
    answer
}

fn finish(response: Option<&Value<'_>>, items: Items) -> Answer {
    let member = |name: &str| response.and_then(|response| text(response, name));
    let status = member("status");
    let details = response.and_then(|response| response.member("incomplete_details"));
    let why = details.and_then(|details| text(details, "reason"));
    let failed =
        response.is_some_and(|response| response.member("error").is_some_and(|error| !error.is_null()));
    let usage = response.and_then(|response| response.member("usage"));
    let ending = match (status.as_deref(), why.as_deref()) {
        _ if failed => Some(Outcome::UpstreamError),
        (Some("failed"), _) => Some(Outcome::UpstreamError),
        (Some("cancelled"), _) => Some(Outcome::AbortedByClient),
        (Some("incomplete"), Some("content_filter")) => Some(Outcome::Filtered),
        (Some("incomplete"), _) => Some(Outcome::Truncated),
        // A response that runs in the background: what was asked for was begun, and that is the answer.
        (Some("completed" | "queued" | "in_progress"), _) => Some(Outcome::Complete),
        _ => None,
    };
    let refused = items.0.values().any(|item| item.refused);
    Answer {
        reported: member("model"),
        request_id: member("id"),
        usage: usage.map(self::usage).unwrap_or_default(),
        reasons: status.iter().map(|status| reason(why.as_deref().or(Some(status)))).collect(),
        texts: status.iter().map(|_| items.0.values().map(|item| item.text.as_str()).collect()).collect(),
        tool_calls: items.0.into_values().filter_map(|item| item.call).collect(),
        ending: ending.map(|ending| if refused { worse(ending, Outcome::Refused) } else { ending }),
        ..Answer::default()
    }
}

fn usage(usage: &Value<'_>) -> Usage {
    Usage {
        input: count(usage, &["input_tokens"]),
        output: count(usage, &["output_tokens"]),
        cached: count(usage, &["input_tokens_details", "cached_tokens"]),
        reasoning: count(usage, &["output_tokens_details", "reasoning_tokens"]),
    }
}

/// The items of an output, by their place.
#[derive(Default)]
struct Items(BTreeMap<u64, Item>);

#[derive(Default)]
struct Item {
    text: String,
    refused: bool,
    call: Option<ToolCall>,
}

impl Items {
    /// Takes a whole item, in the place of its fragments.
    fn take(&mut self, index: u64, item: &Value<'_>) {
        let mut whole = Item::default();
        match item.member("type").and_then(Value::text) {
            Some("message") => {
                for part in item.member("content").and_then(Value::items).unwrap_or_default() {
                    let refusal = part.member("refusal").and_then(Value::text);
                    whole.refused |= refusal.is_some();
                    let text = part.member("text").and_then(Value::text).or(refusal);
                    whole.text.push_str(text.unwrap_or_default());
                }
            }
            Some("function_call" | "custom_tool_call") => whole.call = Some(call(item)),
            _ => {}
        }
        self.put(index, whole);
    }

    /// Takes an event of a stream that is not the last one.
    fn event(&mut self, kind: &str, data: &Value<'_>) {
        let index = data.member("output_index").and_then(Value::integer).unwrap_or(0);
        let delta = data.member("delta").and_then(Value::text).unwrap_or_default();
        match kind {
            "response.output_item.added" | "response.output_item.done" => {
                if let Some(item) = data.member("item") {
                    self.take(index, item);
                }
            }
            _ => self.fragment(kind, index, delta),
        }
    }

    fn fragment(&mut self, kind: &str, index: u64, delta: &str) {
        if self.0.len() >= ITEMS_MAX && !self.0.contains_key(&index) {
            return;
        }
        let item = self.0.entry(index).or_default();
        match kind {
            "response.output_text.delta" => item.text.push_str(delta),
            "response.refusal.delta" => {
                item.refused = true;
                item.text.push_str(delta);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                item.call.get_or_insert_default().arguments.push_str(delta);
            }
            _ => {}
        }
    }

    fn put(&mut self, index: u64, item: Item) {
        if self.0.len() < ITEMS_MAX || self.0.contains_key(&index) {
            self.0.insert(index, item);
        }
    }
}

fn call(item: &Value<'_>) -> ToolCall {
    let member = |name: &str| item.member(name).and_then(Value::text);
    ToolCall {
        name: member("name").unwrap_or_default().to_owned(),
        arguments: member("arguments").or_else(|| member("input")).unwrap_or_default().to_owned(),
    }
}

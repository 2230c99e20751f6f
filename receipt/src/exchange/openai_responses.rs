//! OpenAI's responses. One response is one choice: its messages are one text.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, Room, ToolCall, count, reason, sse::Event, text, worse};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most items of an output that are put together from fragments.
const ITEMS_MAX: usize = 4_096;

/// What a body says.
pub(super) fn body(body: &Value<'_>, room: Room) -> Answer {
    let output = body.member("output").and_then(Value::items).unwrap_or_default();
    let mut items = Items::new(room);
    for (index, item) in (0..).zip(output) {
        items.take(index, item);
    }
    Head::of(body).answer(items)
}

/// A stream: its last response object, and the fragments if it broke off before the end.
#[derive(Clone, Debug)]
pub(super) struct Events {
    head: Head,
    items: Items,
    last: Option<Answer>,
    failed: bool,
    /// The room that all of it had at first.
    room: Room,
}

impl Events {
    pub(super) fn new(room: Room) -> Self {
        Self { head: Head::default(), items: Items::new(room), last: None, failed: false, room }
    }

    /// Takes the next event of the stream. Nothing is read beyond the last one.
    pub(super) fn event(&mut self, event: &Event) {
        if self.is_over() {
            return;
        }
        let data = Value::parse_within(event.data.as_bytes(), DEPTH_MAX);
        let data = if event.cut { None } else { data.ok() };
        let kind = data.as_ref().and_then(|data| data.member("type")?.text()).unwrap_or(&event.kind);
        match (kind, &data) {
            ("response.completed" | "response.incomplete" | "response.failed" | "response.cancelled", _) => {
                self.last = Some(self.end(kind, data.as_ref().and_then(|data| data.member("response"))));
            }
            ("error", _) => self.failed = true,
            (_, Some(data)) => {
                self.items.event(kind, data);
                if let Some(response) = data.member("response") {
                    self.head = Head::of(response);
                }
            }
            (_, None) if event.cut => self.items.room.close(),
            (_, None) => {}
        }
    }

    /// Whether the stream said that nothing follows.
    pub(super) const fn is_over(&self) -> bool {
        self.last.is_some() || self.failed
    }

    /// How many bytes of content are held.
    pub(super) const fn held(&self) -> usize {
        self.items.room.taken()
    }

    /// Leaves the content out, and gives back what is held of it.
    pub(super) fn leave_out(&mut self) {
        self.room.close();
        self.items.room.close();
        for item in self.items.list.values_mut() {
            *item = Item { refused: item.refused, ..Item::default() };
        }
    }

    /// What the events say together.
    pub(super) fn answer(self) -> Answer {
        let Self { head, items, last, failed, .. } = self;
        last.unwrap_or_else(|| {
            let mut answer = head.answer(items);
            answer.ending = failed.then_some(Outcome::UpstreamError);
            answer
        })
    }

    /// What the last event says: all of the response; only how it ended and the fragments, if it was too long to be read.
    fn end(&mut self, kind: &str, response: Option<&Value<'_>>) -> Answer {
        let items = std::mem::replace(&mut self.items, Items::new(self.room));
        if let Some(response) = response {
            return body(response, self.room);
        }
        let status = kind.strip_prefix("response.").map(str::to_owned);
        Head { status, ..std::mem::take(&mut self.head) }.answer(items)
    }
}

/// What a response object says beside its output.
#[derive(Clone, Debug, Default)]
struct Head {
    model: Option<String>,
    id: Option<String>,
    status: Option<String>,
    incomplete: Option<String>,
    failed: bool,
    usage: Usage,
}

impl Head {
    fn of(response: &Value<'_>) -> Self {
        Self {
            model: text(response, "model"),
            id: text(response, "id"),
            status: text(response, "status"),
            incomplete: response.member("incomplete_details").and_then(|details| text(details, "reason")),
            failed: response.member("error").is_some_and(|error| !error.is_null()),
            usage: response.member("usage").map(usage).unwrap_or_default(),
        }
    }

    fn answer(self, items: Items) -> Answer {
        let (status, why) = (self.status.as_deref(), self.incomplete.as_deref());
        let ending = match (status, why) {
            _ if self.failed => Some(Outcome::UpstreamError),
            (Some("failed"), _) => Some(Outcome::UpstreamError),
            (Some("cancelled"), _) => Some(Outcome::AbortedByClient),
            (Some("incomplete"), Some("content_filter")) => Some(Outcome::Filtered),
            (Some("incomplete"), _) => Some(Outcome::Truncated),
            // A response that runs in the background: what was asked for was begun, and that is the answer.
            (Some("completed" | "queued" | "in_progress"), _) => Some(Outcome::Complete),
            _ => None,
        };
        let refused = items.list.values().any(|item| item.refused);
        let answer = Answer {
            reasons: status.iter().map(|status| reason(why.or(Some(status)))).collect(),
            texts: status
                .iter()
                .map(|_| items.list.values().map(|item| item.text.as_str()).collect())
                .collect(),
            ending: ending.map(|ending| if refused { worse(ending, Outcome::Refused) } else { ending }),
            reported: self.model,
            request_id: self.id,
            usage: self.usage,
            tool_calls: items.list.into_values().filter_map(|item| item.call).collect(),
            ..Answer::default()
        };
        answer.within(items.room)
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
#[derive(Clone, Debug)]
struct Items {
    list: BTreeMap<u64, Item>,
    room: Room,
}

#[derive(Clone, Debug, Default)]
struct Item {
    text: String,
    refused: bool,
    call: Option<ToolCall>,
}

impl Items {
    const fn new(room: Room) -> Self {
        Self { list: BTreeMap::new(), room }
    }

    /// Takes a whole item, in the place of its fragments.
    fn take(&mut self, index: u64, item: &Value<'_>) {
        let Some(fragments) = self.item(index).map(std::mem::take) else { return };
        // The same text comes again.
        self.room.give_back(fragments.text.len());
        if let Some(call) = fragments.call {
            self.room.give_back(call.name.len() + call.arguments.len());
        }
        let mut whole = Item::default();
        match item.member("type").and_then(Value::text) {
            Some("message") => {
                for part in item.member("content").and_then(Value::items).unwrap_or_default() {
                    let refusal = part.member("refusal").and_then(Value::text);
                    whole.refused |= refusal.is_some();
                    let text = part.member("text").and_then(Value::text).or(refusal);
                    self.room.add(&mut whole.text, text.unwrap_or_default());
                }
            }
            Some("function_call" | "custom_tool_call") => whole.call = Some(call(item, &mut self.room)),
            _ => {}
        }
        self.list.insert(index, whole);
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
            "response.output_text.delta" => self.fragment(index, delta, |item| &mut item.text),
            "response.refusal.delta" => self.fragment(index, delta, |item| {
                item.refused = true;
                &mut item.text
            }),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.fragment(index, delta, |item| &mut item.call.get_or_insert_default().arguments);
            }
            _ => {}
        }
    }

    fn fragment(&mut self, index: u64, delta: &str, place: impl FnOnce(&mut Item) -> &mut String) {
        if self.item(index).is_none() {
            return;
        }
        if let Some(item) = self.list.get_mut(&index) {
            self.room.add(place(item), delta);
        }
    }

    /// The item at a place; `None` if there are too many.
    fn item(&mut self, index: u64) -> Option<&mut Item> {
        if !self.list.contains_key(&index) && (self.list.len() >= ITEMS_MAX || !self.room.admits_entry()) {
            self.room.close();
            return None;
        }
        Some(self.list.entry(index).or_default())
    }
}

fn call(item: &Value<'_>, room: &mut Room) -> ToolCall {
    let member = |name: &str| item.member(name).and_then(Value::text);
    ToolCall {
        name: room.take(member("name").unwrap_or_default()),
        arguments: room.take(member("arguments").or_else(|| member("input")).unwrap_or_default()),
    }
}

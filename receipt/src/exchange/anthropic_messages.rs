//! Anthropic's messages. One message is one choice: its blocks of text are one text.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, Room, ToolCall, count, reason, sse::Event, text};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most blocks of a message that are told apart.
const BLOCKS_MAX: usize = 4_096;

/// What a body says.
pub(super) fn body(body: &Value<'_>, room: Room) -> Answer {
    let mut message = Message::new(room);
    message.start(body);
    for (index, block) in (0..).zip(body.member("content").and_then(Value::items).unwrap_or_default()) {
        message.block(index, block, block.member("input").map(Value::raw).unwrap_or_default());
    }
    message.ended = message.reason.is_some();
    message.answer()
}

/// A stream: a message in fragments.
#[derive(Clone, Debug)]
pub(super) struct Message {
    answer: Answer,
    reason: Option<String>,
    blocks: BTreeMap<u64, Block>,
    ended: bool,
    failed: bool,
    room: Room,
}

#[derive(Clone, Debug, Default)]
struct Block {
    text: String,
    call: Option<ToolCall>,
}

impl Message {
    pub(super) fn new(room: Room) -> Self {
        Self {
            answer: Answer::default(),
            reason: None,
            blocks: BTreeMap::new(),
            ended: false,
            failed: false,
            room,
        }
    }

    /// Takes the next event of the stream.
    pub(super) fn event(&mut self, event: &Event) {
        if event.cut {
            return self.room.close();
        }
        let Ok(data) = Value::parse_within(event.data.as_bytes(), DEPTH_MAX) else { return };
        let index = data.member("index").and_then(Value::integer).unwrap_or(0);
        match data.member("type").and_then(Value::text).unwrap_or(&event.kind) {
            "message_start" => {
                if let Some(start) = data.member("message") {
                    self.start(start);
                }
            }
            "content_block_start" => {
                if let Some(block) = data.member("content_block") {
                    // A stream starts a block with an empty input and sends the real one in fragments.
                    self.block(index, block, "");
                }
            }
            "content_block_delta" => {
                if let Some(delta) = data.member("delta") {
                    self.delta(index, delta);
                }
            }
            "message_delta" => self.close(&data),
            "message_stop" => self.ended = true,
            "error" => self.failed = true,
            _ => {}
        }
    }

    /// Whether the stream said that nothing follows.
    pub(super) const fn is_over(&self) -> bool {
        self.ended || self.failed
    }

    /// How many bytes of content are held.
    pub(super) const fn held(&self) -> usize {
        self.room.taken()
    }

    /// Leaves the content out, and gives back what is held of it.
    pub(super) fn leave_out(&mut self) {
        self.room.close();
        self.blocks.clear();
    }

    fn start(&mut self, message: &Value<'_>) {
        self.failed |= message.member("error").is_some_and(|error| !error.is_null());
        self.answer.reported = text(message, "model");
        self.answer.request_id = text(message, "id").or_else(|| text(message, "request_id"));
        self.reason = text(message, "stop_reason");
        self.usage(message);
    }

    fn block(&mut self, index: u64, block: &Value<'_>, arguments: &str) {
        if self.blocks.len() >= BLOCKS_MAX {
            return self.room.close();
        }
        let member = |name: &str| block.member(name).and_then(Value::text).unwrap_or_default();
        let room = &mut self.room;
        let started = match member("type") {
            "text" => Block { text: room.take(member("text")), call: None },
            "tool_use" => Block {
                text: String::new(),
                call: Some(ToolCall { name: room.take(member("name")), arguments: room.take(arguments) }),
            },
            // Reasoning, and tools that the service itself runs.
            _ => return,
        };
        if self.room.admits_entry() {
            self.blocks.insert(index, started);
        }
    }

    fn delta(&mut self, index: u64, delta: &Value<'_>) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let member = |name: &str| delta.member(name).and_then(Value::text).unwrap_or_default();
        self.room.add(&mut block.text, member("text"));
        if let Some(call) = &mut block.call {
            self.room.add(&mut call.arguments, member("partial_json"));
        }
    }

    fn close(&mut self, data: &Value<'_>) {
        self.reason =
            data.member("delta").and_then(|delta| text(delta, "stop_reason")).or(self.reason.take());
        self.usage(data);
    }

    /// Takes counts; later ones replace earlier ones.
    fn usage(&mut self, data: &Value<'_>) {
        let Some(usage) = data.member("usage") else { return };
        let known = &mut self.answer.usage;
        *known = Usage {
            input: count(usage, &["input_tokens"]).or(known.input),
            output: count(usage, &["output_tokens"]).or(known.output),
            cached: count(usage, &["cache_read_input_tokens"]).or(known.cached),
            reasoning: count(usage, &["output_tokens_details", "thinking_tokens"]).or(known.reasoning),
        };
    }

    /// What the fragments say together.
    pub(super) fn answer(mut self) -> Answer {
        self.answer.ending = match self.reason.as_deref() {
            _ if self.failed => Some(Outcome::UpstreamError),
            _ if !self.ended => None,
            Some("max_tokens" | "model_context_window_exceeded") => Some(Outcome::Truncated),
            Some("refusal") => Some(Outcome::Refused),
            _ => Some(Outcome::Complete),
        };
        if self.answer.reported.is_some() {
            self.answer.reasons = vec![reason(self.reason.as_deref())];
            self.answer.texts = vec![self.blocks.values().map(|block| block.text.as_str()).collect()];
        }
        self.answer.tool_calls = self.blocks.into_values().filter_map(|block| block.call).collect();
        self.answer.within(self.room)
    }
}

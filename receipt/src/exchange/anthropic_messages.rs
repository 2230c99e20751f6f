//! Anthropic's messages. One message is one choice: its blocks of text are one text.

use std::collections::BTreeMap;

use super::{Answer, DEPTH_MAX, ToolCall, count, reason, sse::Event, text};
use crate::{
    json::Value,
    statement::{groups::Usage, receipt::Outcome},
};

/// Most blocks of a message that are told apart.
const BLOCKS_MAX: usize = 4_096;

/// What a body says.
pub(super) fn body(body: &Value<'_>) -> Answer {
    let mut message = Message::default();
    message.start(body);
    for (index, block) in (0..).zip(body.member("content").and_then(Value::items).unwrap_or_default()) {
        message.block(index, block, block.member("input").map(Value::raw).unwrap_or_default());
    }
    message.ended = message.reason.is_some();
    message.answer()
}

/// What a stream says.
pub(super) fn stream(events: &[Event]) -> Answer {
    let mut message = Message::default();
    for event in events {
        let Ok(data) = Value::parse_within(event.data.as_bytes(), DEPTH_MAX) else { continue };
        let index = data.member("index").and_then(Value::integer).unwrap_or(0);
        match data.member("type").and_then(Value::text).unwrap_or(&event.kind) {
            "message_start" => {
                if let Some(start) = data.member("message") {
                    message.start(start);
                }
            }
            "content_block_start" => {
                if let Some(block) = data.member("content_block") {
                    // A stream starts a block with an empty input and sends the real one in fragments.
                    message.block(index, block, "");
                }
            }
            "content_block_delta" => {
                if let Some(delta) = data.member("delta") {
                    message.delta(index, delta);
                }
            }
            "message_delta" => message.close(&data),
            "message_stop" => message.ended = true,
            "error" => message.failed = true,
            _ => {}
        }
    }
    message.answer()
}

#[derive(Default)]
struct Message {
    answer: Answer,
    reason: Option<String>,
    blocks: BTreeMap<u64, Block>,
    ended: bool,
    failed: bool,
}

#[derive(Default)]
struct Block {
    text: String,
    call: Option<ToolCall>,
}

impl Message {
    fn start(&mut self, message: &Value<'_>) {
        self.failed |= message.member("error").is_some_and(|error| !error.is_null());
        self.answer.reported = text(message, "model");
        self.answer.request_id = text(message, "id").or_else(|| text(message, "request_id"));
        self.reason = text(message, "stop_reason");
        self.usage(message);
    }

    fn block(&mut self, index: u64, block: &Value<'_>, arguments: &str) {
        if self.blocks.len() >= BLOCKS_MAX {
            return;
        }
        let started = match block.member("type").and_then(Value::text) {
            Some("text") => Block {
                text: block.member("text").and_then(Value::text).unwrap_or_default().to_owned(),
                call: None,
            },
            Some("tool_use") => Block {
                text: String::new(),
                call: Some(ToolCall {
                    name: block.member("name").and_then(Value::text).unwrap_or_default().to_owned(),
                    arguments: arguments.to_owned(),
                }),
            },
            // Reasoning, and tools that the service itself runs.
            _ => return,
        };
        self.blocks.insert(index, started);
    }

    fn delta(&mut self, index: u64, delta: &Value<'_>) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let member = |name: &str| delta.member(name).and_then(Value::text).unwrap_or_default();
        block.text.push_str(member("text"));
        if let Some(call) = &mut block.call {
            call.arguments.push_str(member("partial_json"));
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

    fn answer(mut self) -> Answer {
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
        self.answer
    }
}

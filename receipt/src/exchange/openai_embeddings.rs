//! OpenAI's embeddings.

use super::{Answer, openai_chat, text};
use crate::{json::Value, statement::receipt::Outcome};

/// What a body says. The embedding is the exact JSON of the `data` member.
pub(super) fn body(body: &Value<'_>) -> Answer {
    let data = body.member("data").filter(|data| data.items().is_some());
    let failed = body.member("error").is_some_and(|error| !error.is_null());
    Answer {
        reported: text(body, "model"),
        request_id: text(body, "id"),
        usage: body.member("usage").map(openai_chat::usage).unwrap_or_default(),
        embedding: data.map(|data| data.raw().to_owned()),
        ending: match data {
            Some(_) if !failed => Some(Outcome::Complete),
            _ => Some(Outcome::UpstreamError),
        },
        ..Answer::default()
    }
}

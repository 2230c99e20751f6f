//! OpenAI's embeddings.

use super::{Answer, Room, openai_chat, text};
use crate::{json::Value, statement::receipt::Outcome};

/// What a body says. The embedding is the exact JSON of the `data` member.
pub(super) fn body(body: &Value<'_>, mut room: Room) -> Answer {
    let data = body.member("data").filter(|data| data.items().is_some());
    let failed = body.member("error").is_some_and(|error| !error.is_null());
    let embedding = data.map(|data| room.take(data.raw()));
    let answer = Answer {
        reported: text(body, "model"),
        request_id: text(body, "id"),
        usage: body.member("usage").map(openai_chat::usage).unwrap_or_default(),
        embedding,
        ending: match data {
            Some(_) if !failed => Some(Outcome::Complete),
            _ => Some(Outcome::UpstreamError),
        },
        ..Answer::default()
    };
    answer.within(room)
}

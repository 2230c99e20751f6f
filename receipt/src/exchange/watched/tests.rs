use std::{fs, path::Path};

use super::*;
use crate::exchange::{Exchange, Recorded};

const SAMPLE: &str = include_str!("../../../../tests/data/exchanges.jsonl");

/// All recorded exchanges that are at hand and call a model.
fn recorded() -> Vec<Recorded> {
    let more = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/exchanges.jsonl");
    let lines = fs::read_to_string(more).unwrap_or_else(|_| SAMPLE.to_owned());
    let recorded = lines.lines().map(|line| Recorded::parse(line.as_bytes()).unwrap());
    recorded.filter(|recorded| recorded.exchange().facts().is_ok()).collect()
}

fn watch(exchange: &Exchange<'_>, limits: Limits) -> Watched {
    let mut watched = Watched::new(Call::at(exchange.path).unwrap(), limits);
    let response = exchange.response.unwrap();
    let (status, content_type, request_id) = (response.status, response.content_type, response.request_id);
    watched.head(&Head { status, content_type, request_id });
    watched
}

fn facts_in_pieces(exchange: &Exchange<'_>, limits: Limits, piece: usize) -> Facts {
    let mut watched = watch(exchange, limits);
    exchange.response.unwrap().body.chunks(piece).for_each(|piece| watched.body(piece));
    watched.facts(exchange.request, exchange.end)
}

/// However the body is cut into pieces, the facts are the same.
#[test]
fn pieces_make_no_difference() {
    for recorded in recorded() {
        let exchange = recorded.exchange();
        let whole = exchange.facts().unwrap();
        for piece in [1, 7, 4096] {
            assert_eq!(facts_in_pieces(&exchange, Limits::NONE, piece), whole, "{}", recorded.path);
        }
    }
}

/// A stream is over with the event that says so, and not before.
#[test]
fn a_stream_says_that_it_is_over() {
    let mut streams = 0;
    for recorded in recorded() {
        let exchange = recorded.exchange();
        let mut watched = watch(&exchange, Limits::NONE);
        let body = exchange.response.unwrap().body;
        let over = body.iter().position(|byte| {
            watched.body(std::slice::from_ref(byte));
            watched.is_over()
        });
        let is_stream = recorded.content_type.as_deref().is_some_and(is_event_stream);
        assert_eq!(over.is_some(), is_stream, "{}", recorded.path);
        if let Some(at) = over {
            streams += 1;
            let rest = String::from_utf8_lossy(&body[at..]).replace("data: [DONE]", "");
            assert!(rest.trim().is_empty(), "{rest}");
        }
    }
    assert!(streams > 3);
}

/// With less room than the content takes it is left out whole; all else is the same.
#[test]
fn content_is_whole_or_left_out() {
    for recorded in recorded() {
        let exchange = recorded.exchange();
        let whole = exchange.facts().unwrap();
        for content in [0, 1, 20, 200, 100_000] {
            let facts = facts_in_pieces(&exchange, Limits { content, ..Limits::NONE }, 50);
            let Answer { texts, tool_calls, token_ids, embedding, left_out, .. } = facts.answer.clone();
            if left_out {
                assert!(
                    texts.is_empty() && tool_calls.is_empty() && token_ids.is_empty() && embedding.is_none()
                );
            } else {
                assert_eq!(texts, whole.answer.texts);
            }
            let Answer { texts, tool_calls, token_ids, embedding, left_out, .. } = whole.answer.clone();
            let answer = Answer { texts, tool_calls, token_ids, embedding, left_out, ..facts.answer };
            assert!(facts.parts == whole.parts || facts.parts.is_empty());
            assert_eq!(Facts { answer, parts: whole.parts.clone(), ..facts }, whole);
        }
    }
}

/// Whatever comes and however much of it, no more is held than the limits allow.
#[test]
fn an_endless_stream_is_held_in_bounds() {
    let limits = Limits { body: 1000, event: 1000, content: 1000 };
    let events = [
        ("/v1/chat/completions", "data: {\"choices\":[{\"delta\":{\"content\":\"word \"}}]}\n\n"),
        ("/v1/completions", "data: {\"choices\":[{\"text\":\"\",\"token_ids\":[1,2,3]}]}\n\n"),
        ("/v1/chat/completions", "data: endless "),
        ("/v1/chat/completions", "data: a\n"),
        (
            "/v1/messages",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"word \"}}\n\n",
        ),
        ("/v1/responses", "data: {\"type\":\"response.output_text.delta\",\"delta\":\"word \"}\n\n"),
    ];
    let start = b"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    for (path, event) in events {
        let mut watched = Watched::new(Call::at(path).unwrap(), limits);
        watched.head(&Head { status: 200, content_type: Some("text/event-stream"), request_id: None });
        watched.body(start);
        for _ in 0..10_000 {
            watched.body(event.as_bytes());
            assert!(watched.held() <= 3_000, "{} after {event}", watched.held());
        }
        let facts = watched.facts(b"", End::ClientGone);
        assert_eq!(facts.outcome, Outcome::AbortedByClient);
        assert!(facts.answer.texts.is_empty());
    }
    let mut watched = Watched::new(Call::at("/v1/embeddings").unwrap(), limits);
    watched.head(&Head { status: 200, content_type: None, request_id: None });
    for _ in 0..10_000 {
        watched.body(b"[0.1,");
        assert!(watched.held() <= 4_000);
    }
    assert_eq!(watched.facts(b"", End::Finished).outcome, Outcome::Complete);
}

/// Many calls with nothing in them are long as well.
#[test]
fn entries_take_room() {
    let mut watched =
        Watched::new(Call::at("/v1/chat/completions").unwrap(), Limits { content: 6_400, ..Limits::NONE });
    watched.head(&Head { status: 200, content_type: Some("text/event-stream"), request_id: None });
    for index in 0..1_000 {
        let event =
            format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":{index}}}]}}}}]}}\n\n");
        watched.body(event.as_bytes());
    }
    assert!(watched.held() <= 6_400);
    assert!(watched.facts(b"", End::Finished).answer.left_out);
}

/// The last event of a response may be longer than is read: its type says how it ended, the fragments what was said.
#[test]
fn a_last_event_that_is_too_long_still_ends_the_response() {
    let filler = "x".repeat(2_000);
    let stream = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"model\":\"m\",\"status\":\"in_progress\"}}}}\n\n\
         event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"hi\"}}\n\n\
         event: response.incomplete\ndata: {{\"type\":\"response.incomplete\",\"response\":{{\"image\":\"{filler}\"}}}}\n\n"
    );
    let mut watched =
        Watched::new(Call::at("/v1/responses").unwrap(), Limits { event: 1_000, ..Limits::NONE });
    watched.head(&Head { status: 200, content_type: Some("text/event-stream"), request_id: None });
    watched.body(stream.as_bytes());
    assert!(watched.is_over());
    let facts = watched.facts(b"", End::Finished);
    assert_eq!((facts.outcome, facts.answer.reported.as_deref()), (Outcome::Truncated, Some("m")));
    assert_eq!(facts.answer.texts, ["hi"]);
}

/// Giving content back under pressure changes nothing but that it is left out.
#[test]
fn what_is_left_out_is_given_back() {
    for recorded in recorded() {
        let exchange = recorded.exchange();
        let mut watched = watch(&exchange, Limits::NONE);
        let (first, rest) = exchange.response.unwrap().body.split_at(recorded.response.len() / 2);
        watched.body(first);
        watched.leave_out();
        assert!(watched.held() <= first.len());
        watched.body(rest);
        let facts = watched.facts(exchange.request, exchange.end);
        let whole = exchange.facts().unwrap();
        assert!(facts.answer.left_out && facts.answer.texts.is_empty());
        let is_stream = recorded.content_type.as_deref().is_some_and(is_event_stream);
        assert!(!is_stream || facts.outcome == whole.outcome, "{}", recorded.path);
    }
}

use super::*;

const SAMPLE: &str = include_str!("../../../tests/data/exchanges.jsonl");

fn sample(host: &str, path: &str, nth: usize) -> Recorded {
    let lines = SAMPLE.lines().map(|line| Recorded::parse(line.as_bytes()).unwrap());
    lines.filter(|it| it.host == host && it.path == path).nth(nth).unwrap()
}

fn facts(recorded: &Recorded) -> Facts {
    recorded.exchange().facts().unwrap()
}

fn usage(
    input: u64,
    output: u64,
    cached: impl Into<Option<u64>>,
    reasoning: impl Into<Option<u64>>,
) -> Usage {
    Usage { input: Some(input), output: Some(output), cached: cached.into(), reasoning: reasoning.into() }
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { name: name.to_owned(), arguments: arguments.to_owned() }
}

#[test]
fn a_chat_that_was_answered_by_another_model() {
    let facts = facts(&sample("api.cerebras.ai", "/v1/chat/completions", 0));
    assert_eq!(
        (facts.protocol, facts.outcome, facts.stream),
        (Protocol::OpenaiChat, Outcome::Complete, false)
    );
    assert_eq!(facts.requested.as_deref(), Some("llama3.3-70b"));
    assert_eq!(facts.parts, [r#"{"content":"What is the capital of France?","role":"user"}"#]);
    let answer = facts.answer;
    assert_eq!(answer.reported.as_deref(), Some("llama-3.3-70b"));
    assert_eq!(answer.texts, ["The capital of France is Paris."]);
    assert_eq!(answer.reasons, ["stop"]);
    assert_eq!(answer.usage, usage(42, 8, 0, None));
    assert_eq!(answer.fingerprint.as_deref(), Some("fp_b6a51bb1d26f03ea3772"));
    assert_eq!(answer.request_id.as_deref(), Some("chatcmpl-175bff47-ce89-4fad-bead-62a14f787c49"));
}

#[test]
fn fragments_of_a_streamed_tool_call_are_joined() {
    let facts = facts(&sample("api.openai.com", "/v1/chat/completions", 2));
    assert!(facts.stream);
    assert_eq!(facts.answer.reasons, ["tool_calls"]);
    assert_eq!(facts.answer.tool_calls, [call("get_capital", r#"{"country":"UK"}"#)]);
    assert_eq!(facts.outcome, Outcome::Complete);
    let groq = self::facts(&sample("api.groq.com", "/openai/v1/chat/completions", 1));
    assert_eq!(groq.answer.tool_calls, [call("get_something_by_name", r#"{"name":"example"}"#)]);
    assert_eq!(groq.answer.usage, usage(304, 49, None, 23));
}

/// The service said `length`, and then reported an error: the limit was spent.
#[test]
fn an_error_after_the_end_adds_nothing() {
    let recorded = sample("openrouter.ai", "/api/v1/chat/completions", 2);
    assert!(recorded.response.contains("\"error\":{\"code\":400"));
    assert_eq!(facts(&recorded).outcome, Outcome::Truncated);
    let before = recorded.response.replace("\"finish_reason\":\"length\"", "\"finish_reason\":null");
    assert_eq!(facts(&Recorded { response: before, ..recorded }).outcome, Outcome::UpstreamError);
}

#[test]
fn a_streamed_response_ends_with_all_of_it() {
    let recorded = sample("api.openai.com", "/v1/responses", 0);
    let facts = facts(&recorded);
    assert_eq!((facts.protocol, facts.outcome), (Protocol::OpenaiResponses, Outcome::Complete));
    assert_eq!(facts.answer.texts, ["The capital of Minas Gerais is Belo Horizonte."]);
    assert_eq!(facts.answer.usage, usage(25, 10, 0, 0));
    assert_eq!(facts.answer.reasons, ["completed"]);

    // Cut before the end, the fragments give what was said until then.
    let end = recorded.response.find("event: response.output_text.done").unwrap();
    let cut = Recorded { response: recorded.response[..end].to_owned(), ..recorded };
    let facts = self::facts(&cut);
    assert_eq!(facts.outcome, Outcome::AbortedByUpstream);
    assert_eq!(facts.answer.texts, ["The capital of Minas Gerais is Belo Horizonte."]);
    assert_eq!(facts.answer.reported.as_deref(), Some("gpt-4o-mini-2024-07-18"));
}

/// The ids of tokens are taken where a service gives them, whole or streamed; where one of them is none, none is told, and the
/// text stays.
#[test]
fn ids_of_tokens_are_taken() {
    let stream = |second: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"token_ids\":[1,2]}}]}}\n\n\
             data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"b\"}},\"token_ids\":[{second}],\
             \"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        )
    };
    let whole =
        r#"{"choices":[{"index":0,"text":"ab","token_ids":[1,2,4294967295],"finish_reason":"stop"}]}"#;
    let answer = |body: &str| {
        let content_type = body.starts_with("data:").then_some("text/event-stream");
        let response = Response { status: 200, content_type, request_id: None, body: body.as_bytes() };
        let path = "/v1/completions";
        Exchange { path, request: b"{}", response: Some(response), end: End::Finished }
            .facts()
            .unwrap()
            .answer
    };
    for body in [whole, &stream("4294967295")] {
        assert_eq!(answer(body).token_ids, [[1, 2, u32::MAX]]);
    }
    for bad in ["-1", "4294967296", "1.5", "\"1\"", "null"] {
        let answer = answer(&stream(bad));
        assert_eq!((answer.token_ids, answer.texts), (vec![vec![]], vec!["ab".to_owned()]), "{bad}");
    }
}

#[test]
fn anthropic_messages_and_their_streams() {
    let body = facts(&sample("api.anthropic.com", "/v1/messages", 0));
    assert_eq!((body.protocol, body.outcome), (Protocol::AnthropicMessages, Outcome::Complete));
    assert_eq!(body.answer.texts, ["2 + 2 + 1 = 5."]);
    assert_eq!(body.answer.usage, usage(1311, 16, 0, 0));
    assert_eq!(body.parts.len(), 3);

    let recorded = sample("api.anthropic.com", "/v1/messages", 1);
    let stream = facts(&recorded);
    assert_eq!(stream.outcome, Outcome::Complete);
    assert_eq!(stream.answer.usage, usage(2411, 145, 0, 47));
    assert_eq!(stream.answer.reasons, ["end_turn"]);
    assert!(stream.answer.texts[0].starts_with("The task asks \"What's 2+2?\""), "{:?}", stream.answer.texts);

    let cut = Recorded { response: recorded.response.replace("message_stop", "ping"), ..recorded };
    assert_eq!(facts(&cut).outcome, Outcome::AbortedByUpstream);
}

#[test]
fn embeddings_are_kept_as_they_came() {
    let recorded = sample("api.openai.com", "/v1/embeddings", 0);
    let facts = facts(&recorded);
    let embedding = facts.answer.embedding.unwrap();
    assert!(recorded.response.contains(&embedding) && embedding.starts_with("[{\"embedding\":\"agda"));
    assert_eq!(facts.answer.usage.input, Some(4));
    assert_eq!(facts.outcome, Outcome::Complete);
}

#[test]
fn errors_are_answers() {
    for (host, path, nth, status) in [
        ("api.openai.com", "/v1/chat/completions", 0, 400),
        ("api.openai.com", "/v1/embeddings", 1, 404),
        ("openrouter.ai", "/api/v1/chat/completions", 1, 429),
        ("api.anthropic.com", "/v1/messages", 2, 400),
    ] {
        let facts = facts(&sample(host, path, nth));
        assert_eq!((facts.outcome, facts.status), (Outcome::UpstreamError, Some(status)), "{host}{path}");
        assert_eq!((facts.answer.reasons.len(), facts.answer.texts.len()), (0, 0));
    }
}

#[test]
fn what_calls_no_model_is_told_apart() {
    for line in SAMPLE.lines() {
        let recorded = Recorded::parse(line.as_bytes()).unwrap();
        let no_call = ["/v1/messages/count_tokens", "/v1/conversations"].contains(&recorded.path.as_str());
        assert_eq!(recorded.exchange().facts().is_err(), no_call, "{}", recorded.path);
    }
    for path in [
        "",
        "/",
        "/v1/models",
        "/v1/responses/compact",
        "/v1/responses/resp_1",
        "/v1/threads/t/messages",
        "/a\nb/chat/completions",
    ] {
        let exchange = Exchange { path, request: b"{}", response: None, end: End::Finished };
        assert!(exchange.facts().is_err(), "{path}");
    }
    let exchange = Exchange {
        path: "/v1/chat/completions?key=secret",
        request: b"{}",
        response: None,
        end: End::Timeout,
    };
    let facts = exchange.facts().unwrap();
    assert_eq!((facts.path.as_str(), facts.outcome), ("/v1/chat/completions", Outcome::Timeout));
}

fn chat(body: &str, end: End) -> Facts {
    let response = Response {
        status: 200,
        content_type: Some("application/json"),
        request_id: None,
        body: body.as_bytes(),
    };
    let exchange = Exchange { path: "/v1/chat/completions", request: b"{}", response: Some(response), end };
    exchange.facts().unwrap()
}

#[test]
fn the_worst_choice_decides() {
    let choice = |index: u64, reason: &str| {
        format!(r#"{{"index":{index},"message":{{"content":"{index}"}},"finish_reason":"{reason}"}}"#)
    };
    let body = |choices: &[String]| format!(r#"{{"choices":[{}]}}"#, choices.join(","));
    let two = |reason: &str| chat(&body(&[choice(1, "stop"), choice(0, reason)]), End::Finished);
    assert_eq!(two("stop").outcome, Outcome::Complete);
    assert_eq!(two("length").outcome, Outcome::Truncated);
    assert_eq!(two("content_filter").outcome, Outcome::Filtered);
    assert_eq!(two("error").outcome, Outcome::UpstreamError);
    assert_eq!(two("length").answer.texts, ["0", "1"]);
    assert_eq!(two("length").answer.reasons, ["length", "stop"]);
    let refused = r#"{"choices":[{"message":{"content":null,"refusal":"No."},"finish_reason":"stop"}]}"#;
    assert_eq!(chat(refused, End::Finished).outcome, Outcome::Refused);
    assert_eq!(chat(refused, End::Finished).answer.texts, ["No."]);
}

#[test]
fn how_the_connection_ended_counts_when_the_body_says_nothing() {
    let whole = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    assert_eq!(chat(whole, End::ClientGone).outcome, Outcome::Complete);
    assert_eq!(chat(&whole[..20], End::ClientGone).outcome, Outcome::AbortedByClient);
    assert_eq!(chat(&whole[..20], End::UpstreamGone).outcome, Outcome::AbortedByUpstream);
    assert_eq!(chat("<html>", End::Finished).outcome, Outcome::UpstreamError);
    assert_eq!(chat("", End::ProxyFailed).outcome, Outcome::ProxyError);
}

/// Input is one text, several, or several as tokens; none of it is cut apart.
#[test]
fn parts_are_the_input_messages() {
    let parts = |path: &'static str, request: &str| {
        let exchange = Exchange { path, request: request.as_bytes(), response: None, end: End::Finished };
        exchange.facts().unwrap().parts
    };
    assert_eq!(parts("/v1/embeddings", r#"{"input":"a"}"#), ["\"a\""]);
    assert_eq!(parts("/v1/embeddings", r#"{"input":["a", "b"]}"#), ["\"a\"", "\"b\""]);
    assert_eq!(parts("/v1/embeddings", r#"{"input":[1, 2]}"#), ["[1, 2]"]);
    assert_eq!(parts("/v1/embeddings", r#"{"input":[[1],[2]]}"#), ["[1]", "[2]"]);
    assert_eq!(parts("/v1/responses", r#"{"input":null}"#), [""; 0]);
    assert_eq!(parts("/v1/chat/completions", r#"{"messages":[ {"a" : 1} ]}"#), ["{\"a\" : 1}"]);
    assert_eq!(parts("/v1/chat/completions", "no JSON"), [""; 0]);
}

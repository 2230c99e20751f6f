use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{
    SigningKey,
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    exchange::{End, Exchange, Response},
    statement::{GroupName, Issuer, Number, Numbering, Predicate, StreamId},
};
use proptest::prelude::*;

use super::*;

const CHAT: &str = "/v1/chat/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
const ASKED: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0}"#;
/// `{"choices":[{"index":0,"message":{"content":"Hello."},"finish_reason":"stop"}]}`, twice.
const GZIP: &str = "H4sIAAAAAAACAw3JwQmAMAwF0F3+uYjnTOAOUqTUaAM1EdODULq7vuvryMUks4PWDtGdX9AccLF7OhnUkU0bawNh4Vptwgg4RMXL9nBy03+82Y0RxweqpH1hTwAAAA==";
const DEFLATE: &str = "eJwNycEJgDAMBdBd/rmI50zgDlKk1GgDNRHTg1C6u77r68jFJLOD1g7RnV/QHHCxezoZ1JFNG2sDYeFabcIIOETFy/ZwctN/vNmNEccHNJ8bTQ==";
const INPUT: &str = r#"{"model":"m","input":["a","b"]}"#;

/// A receipt of an exchange, with its openings.
fn receipt(path: &str, request: &str, response: &[u8], end: End) -> (Receipt, Openings) {
    let content_type = response.starts_with(b"data:").then_some("text/event-stream");
    let answered = Response { status: 200, content_type, request_id: None, body: response };
    let exchange = Exchange { path, request: request.as_bytes(), response: Some(answered), end };
    let key = SigningKey::from_ed25519_seed(&[7; 32]);
    let terms = Terms {
        log: "log.example/2026".parse().unwrap(),
        issuer: Issuer { key: key.public().clone(), software: None },
        claim: ClaimSource::Nobody,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let bodies = WireBodies { request: request.as_bytes(), response: Some(response) };
    let place = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
    let mut random = |bytes: &mut [u8]| bytes.fill(4);
    let draft = Draft::new(exchange.facts().unwrap(), bodies, terms, place, &mut random).unwrap();
    let Predicate::Receipt(receipt) = draft.statement.predicate else { panic!("a receipt") };
    (*receipt, draft.openings)
}

fn recorded(path: &str, request: &str, response: &[u8]) -> Recorded {
    let (receipt, openings) = receipt(path, request, response, End::Finished);
    Recorded::new(&receipt, request.as_bytes(), Some(response), &openings).unwrap()
}

fn rules(tolerance: &str) -> Rules {
    Rules { tolerance: tolerance.parse().unwrap(), nondeterministic: false }
}

fn answered(body: impl Into<Vec<u8>>) -> Answered {
    Answered { status: 200, content_type: None, body: body.into() }
}

fn compare(recorded: &Recorded, body: impl Into<Vec<u8>>) -> Comparison {
    recorded.compare(&answered(body), &rules("0.001")).unwrap()
}

fn chat(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(r#"{{"id":"x","choices":[{{"index":0,"message":{{"content":{text}}},"finish_reason":"stop"}}]}}"#)
}

fn stream(pieces: &[&str]) -> String {
    let event = |piece: &&str| {
        let piece = serde_json::Value::from(*piece);
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{piece}}}}}]}}\n\n")
    };
    let end =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    pieces.iter().map(event).chain([end.to_owned()]).collect()
}

fn called(arguments: &str) -> String {
    let arguments = serde_json::Value::from(arguments);
    format!(
        r#"{{"choices":[{{"message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}},"finish_reason":"tool_calls"}}]}}"#
    )
}

fn vectors(rows: &[&[f64]]) -> String {
    let item = |(index, row): (usize, &&[f64])| serde_json::json!({ "index": index, "embedding": row });
    let data: Vec<serde_json::Value> = rows.iter().enumerate().map(item).collect();
    serde_json::json!({ "object": "list", "data": data, "model": "m" }).to_string()
}

/// What is compared is what was said, however it is wrapped: whole or streamed, cut into other pieces, under another id.
#[test]
fn the_same_words_support() {
    for first in [chat("Hello."), stream(&["Hel", "lo."])] {
        let recorded = recorded(CHAT, ASKED, first.as_bytes());
        for again in [chat("Hello.").replace("\"x\"", "\"y\""), stream(&["", "Hello", "."])] {
            let comparison = compare(&recorded, again);
            assert_eq!((comparison.result, comparison.scheme), (VerdictResult::Supported, Scheme::RerunText));
            assert_eq!((comparison.difference, comparison.limits), (None, vec![]));
            assert_eq!(comparison.compared, Compared::Words { texts: 1, bytes: 6, tool_calls: 0 });
        }
        let contradicted = compare(&recorded, chat("Hello!"));
        assert_eq!(contradicted.result, VerdictResult::Contradicted);
        assert_eq!(contradicted.difference, Some(Difference::Text { choice: 0, at: 5 }));
    }
    let call = recorded(CHAT, ASKED, called("{}").as_bytes());
    assert_eq!(compare(&call, called("{}")).result, VerdictResult::Supported);
    for other in [called("{ }"), chat("{}")] {
        assert_eq!(compare(&call, other).result, VerdictResult::Contradicted);
    }
}

/// A difference contradicts only where the same answer was to be expected; else it shows nothing, and says so.
#[test]
fn sampling_makes_a_difference_inconclusive() {
    let settings = |settings: &str| ASKED.replace("\"temperature\":0", settings);
    for (request, result) in [
        (settings("\"temperature\":0"), VerdictResult::Contradicted),
        (settings("\"temperature\":0.0e1"), VerdictResult::Contradicted),
        (settings("\"temperature\":1,\"seed\":5"), VerdictResult::Contradicted),
        (settings("\"top_k\":1"), VerdictResult::Contradicted),
        (settings("\"temperature\":0.7"), VerdictResult::Inconclusive),
        (settings("\"temperature\":\"0\""), VerdictResult::Inconclusive),
        (settings("\"temperature\":null,\"seed\":null"), VerdictResult::Inconclusive),
        (settings("\"n\":1"), VerdictResult::Inconclusive),
    ] {
        let recorded = recorded(CHAT, &request, chat("a").as_bytes());
        let other = compare(&recorded, chat("b"));
        assert_eq!(other.result, result, "{request}");
        assert_eq!(other.limits.contains(&Limit::Nondeterministic), result == VerdictResult::Inconclusive);
        assert_eq!(compare(&recorded, chat("a")).result, VerdictResult::Supported);
        let told = Rules { nondeterministic: true, ..rules("0") };
        let told = recorded.compare(&answered(chat("b")), &told).unwrap();
        assert_eq!((told.result, told.limits), (VerdictResult::Inconclusive, vec![Limit::Nondeterministic]));
    }
}

/// Ids of tokens decide where both answers have them; where only the recorded one does, that is a limit.
#[test]
fn tokens_are_compared_by_their_ids() {
    let with = |ids: &str| chat("ab").replace("\"index\":0", &format!("\"index\":0,\"token_ids\":{ids}"));
    let recorded = recorded(CHAT, ASKED, with("[1,2]").as_bytes());
    let same = compare(&recorded, with("[1,2]"));
    assert_eq!((same.result, same.scheme), (VerdictResult::Supported, Scheme::RerunTokens));
    assert_eq!(same.compared, Compared::Tokens { count: 2 });
    for (ids, nth) in [("[1,3]", 1), ("[1]", 1), ("[1,2,3]", 2), ("[9,2]", 0)] {
        let other = compare(&recorded, with(ids));
        assert_eq!(
            other.result,
            VerdictResult::Contradicted,
            "{ids}: the text is the same, the tokens are not"
        );
        assert_eq!(other.difference, Some(Difference::Token { choice: 0, nth }));
    }
    let without = compare(&recorded, chat("ab"));
    assert_eq!((without.result, without.scheme), (VerdictResult::Supported, Scheme::RerunText));
    assert_eq!(without.limits, [Limit::PartOfOutput]);
}

/// Receipts commit to bodies as they passed, and the header that named their encoding is gone.
#[test]
fn encoded_bodies_are_read() {
    let plain = chat("Hello.");
    for encoded in [GZIP, DEFLATE] {
        let body = BASE64.decode(encoded).unwrap();
        let (receipt, openings) = receipt(CHAT, ASKED, plain.as_bytes(), End::Finished);
        let recorded = Recorded::new(&receipt, ASKED.as_bytes(), Some(&body), &openings).unwrap();
        assert_eq!(compare(&recorded, plain.clone()).result, VerdictResult::Supported);
        assert_eq!(compare(&recorded, chat("Hello!")).result, VerdictResult::Contradicted);
        let damaged = Recorded::new(&receipt, ASKED.as_bytes(), Some(&body[..body.len() / 2]), &openings);
        assert_eq!(damaged.err(), Some(Unusable::Answer(Rubbish::Broken)));
    }
}

/// What is written as the statistic decides, against what is written as the threshold.
#[test]
fn embeddings_are_held_to_the_tolerance() {
    let recorded = recorded(EMBEDDINGS, INPUT, vectors(&[&[1.0, 0.0], &[0.0, 1.0]]).as_bytes());
    for (again, tolerance, result, statistic) in [
        (vectors(&[&[1.0, 0.0], &[0.0, 1.0]]), "0", VerdictResult::Supported, "0"),
        (vectors(&[&[1.0, 0.0], &[0.0, 0.75]]), "0.25", VerdictResult::Supported, "0.25"),
        (vectors(&[&[1.0, 0.0], &[0.0, 0.75]]), "0.2499", VerdictResult::Contradicted, "0.25"),
        (vectors(&[&[1.0, 0.0], &[0.0, 1.0 - 1e-14]]), "0", VerdictResult::Supported, "0"),
        (vectors(&[&[0.0, 1.0], &[1.0, 0.0]]), "1", VerdictResult::Contradicted, "1.414213562373"),
    ] {
        let comparison = recorded.compare(&answered(again), &rules(tolerance)).unwrap();
        let measure = comparison.measure.unwrap();
        assert_eq!((comparison.result, measure.statistic.as_str()), (result, statistic));
        assert_eq!((comparison.scheme, measure.threshold.as_str()), (Scheme::RerunEmbedding, tolerance));
    }
    let wider = compare(&recorded, vectors(&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]]));
    assert_eq!((wider.result, wider.measure), (VerdictResult::Contradicted, None));
    assert_eq!(wider.difference, Some(Difference::Width { recorded: 2, again: 3 }));
}

/// What is no answer to the request is no verdict on the receipt.
#[test]
fn rubbish_is_not_a_contradiction() {
    let embeddings = recorded(EMBEDDINGS, INPUT, vectors(&[&[1.0], &[1.0]]).as_bytes());
    let words = recorded(CHAT, ASKED, chat("a").as_bytes());
    let error = r#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    let half = stream(&["a"]).replace("data: [DONE]\n\n", "").replace("\"stop\"", "null");
    let cases: &[(&Recorded, u16, &str, Rubbish)] = &[
        (&embeddings, 500, "{}", Rubbish::Status { status: 500 }),
        (&embeddings, 301, "{}", Rubbish::Status { status: 301 }),
        (&embeddings, 200, "", Rubbish::Broken),
        (&embeddings, 200, "rubbish", Rubbish::Broken),
        (&embeddings, 200, error, Rubbish::Broken),
        (&embeddings, 200, &chat("a"), Rubbish::Broken),
        (
            &embeddings,
            200,
            r#"{"data":[{"embedding":["a"]},{"embedding":[1]}]}"#,
            Rubbish::Embeddings("an embedding has an item that is no number"),
        ),
        (&embeddings, 200, &vectors(&[&[1.0]]), Rubbish::Count { due: 2, got: 1 }),
        (&words, 200, "", Rubbish::Broken),
        (&words, 200, "[1]", Rubbish::Broken),
        (&words, 200, error, Rubbish::Broken),
        (&words, 200, &vectors(&[&[1.0]]), Rubbish::Broken),
        (&words, 200, &half, Rubbish::Broken),
    ];
    for (recorded, status, body, due) in cases {
        let answered = Answered { status: *status, ..answered(*body) };
        assert_eq!(recorded.compare(&answered, &rules("0")), Err(*due), "{status} {body}");
    }
}

/// Of an answer that was broken off, the beginning is compared, and the verdict says that it is no more.
#[test]
fn a_cut_answer_supports_by_its_beginning() {
    let whole = stream(&["Hel", "lo."]);
    let cut = &whole[..whole.find("\"finish_reason\"").unwrap()];
    for end in [End::UpstreamGone, End::ClientGone, End::Timeout] {
        let (receipt, openings) = receipt(CHAT, ASKED, cut.as_bytes(), end);
        let recorded = Recorded::new(&receipt, ASKED.as_bytes(), Some(cut.as_bytes()), &openings).unwrap();
        let comparison = compare(&recorded, chat("Hello. And more."));
        assert_eq!(
            (comparison.result, comparison.limits),
            (VerdictResult::Supported, vec![Limit::PartOfOutput])
        );
        for other in ["Hell", "Help."] {
            assert_eq!(compare(&recorded, chat(other)).result, VerdictResult::Contradicted);
        }
    }
}

/// Where the body is gone, the openings of what was said do as well; where they are gone too, nothing is made up.
#[test]
fn openings_stand_for_the_body() {
    let with = chat("ab").replace("\"index\":0", "\"index\":0,\"token_ids\":[1,70000]");
    let both =
        [(CHAT, ASKED, with), (CHAT, ASKED, called("{}")), (EMBEDDINGS, INPUT, vectors(&[&[1.0], &[0.5]]))];
    for (path, request, response) in both {
        let (receipt, mut openings) = receipt(path, request, response.as_bytes(), End::Finished);
        let body = Recorded::new(&receipt, request.as_bytes(), Some(response.as_bytes()), &openings).unwrap();
        let opened = Recorded::new(&receipt, request.as_bytes(), None, &openings).unwrap();
        assert_eq!(opened.said, body.said);
        let labels: Vec<_> =
            openings.labels().filter(|label| label.to_string().contains("content")).collect();
        assert!(!labels.is_empty());
        openings.remove(counterfoil_receipt::commitment::Label::Group(GroupName::Content));
        let gone = Recorded::new(&receipt, request.as_bytes(), None, &openings);
        assert_eq!(gone.err(), Some(Unusable::NotOpened));
    }
}

#[test]
fn what_cannot_be_run_again_is_named() {
    let fresh = |request: &str, response: &str| {
        let (receipt, openings) = receipt(CHAT, request, response.as_bytes(), End::Finished);
        Recorded::new(&receipt, request.as_bytes(), Some(response.as_bytes()), &openings).err()
    };
    assert_eq!(fresh("[1]", &chat("a")), Some(Unusable::Request));
    assert_eq!(fresh("", &chat("a")), Some(Unusable::Request));
    let failed = fresh(ASKED, r#"{"error":{"message":"no"}}"#);
    assert_eq!(failed, Some(Unusable::NoAnswer { outcome: Outcome::UpstreamError }));
    let (mut receipt, openings) = receipt(CHAT, ASKED, chat("a").as_bytes(), End::Finished);
    "/v1/embeddings".clone_into(&mut receipt.api.path);
    let other = Recorded::new(&receipt, ASKED.as_bytes(), Some(chat("a").as_bytes()), &openings);
    assert_eq!(other.err(), Some(Unusable::Path));
}

/// Another model's name goes in, and not a byte is changed beside it.
#[test]
fn the_request_is_sent_as_it_was_recorded() {
    for (request, due) in [
        (r#"{ "model" : "a" , "input": "model"}"#, r#"{ "model" : "é\"" , "input": "model"}"#),
        (r#"{"input":{"model":"x"}, "model":"a"}"#, r#"{"input":{"model":"x"}, "model":"é\""}"#),
        (r#"{"input":"a"}"#, r#"{"model":"é\"","input":"a"}"#),
        (" { } ", " {\"model\":\"é\\\"\" } "),
    ] {
        let recorded = recorded(EMBEDDINGS, request, vectors(&[&[1.0]]).as_bytes());
        assert_eq!(recorded.request(None), request.as_bytes());
        assert_eq!(String::from_utf8(recorded.request(Some("é\""))).unwrap(), due);
    }
    let stateful = recorded(
        CHAT,
        &ASKED.replace("\"model\"", "\"previous_response_id\":\"r\",\"model\""),
        chat("a").as_bytes(),
    );
    assert_eq!(compare(&stateful, chat("a")).limits, [Limit::ParametersMissing]);
}

proptest! {
    /// Whatever comes back: a contradiction always says where, what is the same never does, and rubbish is no verdict.
    #[test]
    fn results_and_differences_agree(
        first in "[ab]{0,3}", second in "[ab]{0,3}", rubbish in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let recorded = recorded(CHAT, ASKED, chat(&first).as_bytes());
        let comparison = compare(&recorded, chat(&second));
        let result = if first == second { VerdictResult::Supported } else { VerdictResult::Contradicted };
        prop_assert_eq!(comparison.result, result);
        prop_assert_eq!(comparison.difference.is_none(), first == second);
        prop_assert!(recorded.compare(&answered(rubbish), &rules("0")).is_err());
    }
}

use counterfoil_receipt::{
    SigningKey, Statement,
    commitment::{Bodies, Finding},
    draft::Draft,
    exchange::Recorded,
    statement::{
        GroupName, Number, Numbering, Predicate, Receipt, Sealable, StreamId,
        groups::Group,
        receipt::{Outcome, Protocol},
    },
};

use super::*;

const SAMPLE: &str = include_str!("../../../../tests/data/exchanges.jsonl");

fn random() -> impl FnMut(&mut [u8]) {
    let mut drawn = 0_u8;
    move |bytes: &mut [u8]| {
        drawn = drawn.wrapping_add(1);
        bytes.fill(drawn);
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_ed25519_seed(&[3; 32])
}

fn policy() -> Policy {
    Policy {
        log: "log.example".parse().unwrap(),
        issuer: Issuer { key: key().public().clone(), software: None },
        sealed: Sealed::only([]),
        accountable: None,
        aliases: BTreeMap::new(),
        contents: true,
        limits: Limits { body: 1 << 20, event: 1 << 20, content: 1 << 20 },
    }
}

fn recorder(path: &str) -> Recorder {
    let call = Call::at(path).unwrap();
    Recorder::new(call, policy().limits, ClaimSource::Nobody, None, at(1), &mut random())
}

fn headers(content_type: &str, encoding: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
    }
    headers
}

/// Finishes, numbers, signs and opens: whatever passed, the receipt is valid and opens with what was sent.
fn draft(recorder: Recorder, request: &[u8], response: Option<&[u8]>, end: End, policy: &Policy) -> Draft {
    let finished =
        recorder.finish((&HeaderMap::new(), request), end, at(9), policy, None, &mut random()).unwrap();
    let numbering = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
    let draft = finished.receipt.number(numbering);
    let envelope = draft.sign(&key()).unwrap();
    let statement = Statement::parse(&envelope).unwrap();
    for checked in draft.openings.check(&statement, Bodies { request: Some(request), response }) {
        assert_eq!(checked.finding, Finding::Opened, "{}", checked.label);
    }
    draft
}

fn receipt(draft: &Draft) -> &Receipt {
    let Predicate::Receipt(receipt) = &draft.statement.predicate else { panic!("a receipt") };
    receipt
}

fn open<T: Group>(group: &Option<Sealable<T>>) -> &T {
    group.as_ref().and_then(Sealable::open).expect("an open group")
}

/// What passed the proxy says the same as the recording of it.
#[test]
fn the_receipt_of_what_passed_is_that_of_the_recording() {
    for line in SAMPLE.lines() {
        let recorded = Recorded::parse(line.as_bytes()).unwrap();
        let Ok(facts) = recorded.exchange().facts() else { continue };
        let mut recorder = recorder(&recorded.path);
        let (request, response) = (recorded.request.as_bytes(), recorded.response.as_bytes());
        request.chunks(100).for_each(|piece| recorder.asked(piece));
        recorder.head(recorded.status, &headers(recorded.content_type.as_deref().unwrap(), None), at(5));
        response.chunks(33).for_each(|piece| recorder.answered(piece));
        let draft = draft(recorder, request, Some(response), End::Finished, &policy());
        let receipt = receipt(&draft);
        assert_eq!((receipt.outcome, &receipt.model.requested), (facts.outcome, &facts.requested));
        assert_eq!(receipt.model.reported.as_ref().map(|it| &it.value), facts.answer.reported.as_ref());
        assert_eq!(open(&receipt.finish).status, Some(recorded.status));
        let timing = open(&receipt.timing);
        assert_eq!(
            (timing.received, timing.first_byte, timing.completed),
            (Some(at(1)), Some(at(5)), Some(at(9)))
        );
    }
}

/// An answer that the proxy gives itself is what the caller got, and no answer of the upstream's.
#[test]
fn the_proxys_own_answer_is_committed_to() {
    let mut recorder = recorder("/v1/messages");
    recorder.asked(b"{}");
    recorder.tried(Attempt {
        upstream: "up.example".to_owned(),
        model: None,
        status: None,
        started: Some(at(2)),
        ended: Some(at(3)),
    });
    recorder.own_head(504, at(4));
    recorder.answered(b"too late");
    let draft = draft(recorder, b"{}", Some(b"too late"), End::Timeout, &policy());
    let receipt = receipt(&draft);
    assert_eq!((receipt.outcome, open(&receipt.finish).status), (Outcome::Timeout, Some(504)));
    assert_eq!(open(&receipt.attempts).0[0].upstream, "up.example");
}

/// Nothing was sent: there is no response to commit to.
#[test]
fn a_caller_that_left_before_the_answer_got_none() {
    let mut recorder = recorder("/v1/responses");
    recorder.asked(b"{\"model\":\"m\"}");
    let draft = draft(recorder, b"{\"model\":\"m\"}", None, End::ClientGone, &policy());
    assert_eq!(receipt(&draft).outcome, Outcome::AbortedByClient);
    assert_eq!(receipt(&draft).api.protocol, Protocol::OpenaiResponses);
}

/// Bodies whose encoding is unknown, wrong or a bomb are committed to as they passed, and not read.
#[test]
fn what_cannot_be_read_is_committed_to() {
    let body = br#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    for encoding in ["compress", "gzip", "zstd"] {
        let mut recorder = recorder("/v1/chat/completions");
        recorder.asked(b"no JSON \xff");
        recorder.head(200, &headers("application/json", Some(encoding)), at(2));
        recorder.answered(body);
        let draft = draft(recorder, b"no JSON \xff", Some(body), End::Finished, &policy());
        let receipt = receipt(&draft);
        assert_eq!((receipt.outcome, &receipt.model.requested), (Outcome::Complete, &None), "{encoding}");
        assert!(receipt.content.is_none());
        assert_eq!(open(&receipt.lengths).response, Some(body.len() as u64));
    }
}

#[test]
fn private_names_have_aliases_and_contents_may_stay_out() {
    let request = br#"{"model":"ft:gpt:acme::1","messages":[{"role":"user","content":"secret"}]}"#;
    let body =
        br#"{"model":"ft:gpt:acme::1","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let mut policy = policy();
    policy.aliases.insert("ft:gpt:acme::1".to_owned(), "private-1".to_owned());
    policy.contents = false;
    let mut recorder = recorder("/v1/chat/completions");
    recorder.asked(request);
    recorder.head(200, &headers("application/json", None), at(2));
    recorder.answered(body);
    let draft = draft(recorder, request, Some(body), End::Finished, &policy);
    let receipt = receipt(&draft);
    assert_eq!(receipt.model.requested.as_deref(), Some("private-1"));
    assert_eq!(receipt.model.reported.as_ref().unwrap().value, "private-1");
    assert_eq!(receipt.model.alias, Some(true));
    assert!(receipt.content.is_none() && receipt.parts.is_none());
    assert!(!draft.statement.to_json().contains("acme") && !draft.openings.to_json().contains("secret"));
    assert!(draft.openings.opens(GroupName::Usage) == receipt.usage.is_some());
}

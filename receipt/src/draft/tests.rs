use std::{fs, path::Path};

use counterfoil_merkle::Hash;
use proptest::prelude::*;

use super::*;
use crate::{
    commitment::{Bodies, Finding},
    entry::EntryDraft,
    exchange::{End, Exchange, NotAnInference, Recorded, Response},
    statement::{Number, StreamId, receipt::Outcome},
    timestamp::Timestamp,
    vectors,
};

const SAMPLE: &str = include_str!("../../../tests/data/exchanges.jsonl");

/// Bytes that look random and are the same every time.
fn counter() -> impl FnMut(&mut [u8]) {
    let mut drawn = 0_u64;
    move |bytes: &mut [u8]| {
        drawn += 1;
        let hash = Hash::of(&[b"draft", &drawn.to_be_bytes()]);
        bytes.copy_from_slice(&hash.as_bytes()[..bytes.len()]);
    }
}

fn place() -> Numbering {
    Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None }
}

fn terms<'a>() -> Terms<'a> {
    Terms {
        log: "log.example/2026".parse().unwrap(),
        issuer: Issuer { key: vectors::key("issuer").public().clone(), software: None },
        claim: ClaimSource::Fresh,
        sealed: Sealed::default(),
        extras: Extras::default(),
    }
}

/// Makes, signs, logs and opens the receipt of an exchange; whatever the exchange, all of it holds.
fn receipt_of(exchange: &Exchange<'_>, terms: Terms<'_>) -> Result<Draft, NotAnInference> {
    let facts = exchange.facts()?;
    let response = exchange.response.map(|response| response.body);
    let bodies = WireBodies { request: exchange.request, response };
    let draft =
        Draft::new(facts, bodies, terms, place(), &mut counter()).expect("facts are what groups may hold");
    let envelope = draft.sign(&vectors::key("issuer")).expect("every receipt is valid");
    assert_eq!(envelope.id(), draft.id());
    let statement = Statement::parse(&envelope).unwrap();
    assert_eq!(statement, draft.statement);

    let at = Timestamp::from_millis(1).unwrap();
    let entry = crate::Entry::parse(&EntryDraft::new(&envelope, &statement).stamp(at)).unwrap();
    assert_eq!(entry.check_statement(envelope.envelope().statement_bytes()), Ok(statement.clone()));

    let openings = Openings::parse(draft.openings.to_json().as_bytes()).unwrap();
    let bodies = Bodies { request: Some(exchange.request), response };
    for checked in openings.check(&statement, bodies) {
        let is_kept_elsewhere = matches!(checked.label, Label::Before(_) | Label::After(_));
        let expected = if is_kept_elsewhere { Finding::NoBody } else { Finding::Opened };
        assert_eq!(checked.finding, expected, "{}", checked.label);
    }
    Ok(draft)
}

fn receipt(draft: &Draft) -> &Receipt {
    let Predicate::Receipt(receipt) = &draft.statement.predicate else { panic!("a receipt") };
    receipt
}

#[test]
fn every_call_of_a_model_gets_a_receipt() {
    let mut receipts = 0;
    for line in SAMPLE.lines() {
        let recorded = Recorded::parse(line.as_bytes()).unwrap();
        receipts += usize::from(receipt_of(&recorded.exchange(), terms()).is_ok());
        let open = Terms { sealed: Sealed::only([]), ..terms() };
        let _ = receipt_of(&recorded.exchange(), open);
    }
    assert_eq!(receipts, 16);
}

/// The whole set of recorded exchanges, where it is at hand: all but the ten that call no model.
#[test]
fn every_recorded_call_gets_a_receipt() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/exchanges.jsonl");
    let Ok(recorded) = fs::read_to_string(path) else { return };
    let exchanges: Vec<Recorded> =
        recorded.lines().map(|line| Recorded::parse(line.as_bytes()).unwrap()).collect();
    let mut turned_away = 0;
    for recorded in &exchanges {
        match receipt_of(&recorded.exchange(), terms()) {
            Ok(draft) => {
                let is_error = recorded.status >= 400 || recorded.response.contains("event: error");
                let outcome = receipt(&draft).outcome;
                assert_eq!(outcome == Outcome::UpstreamError, is_error, "{} {outcome}", recorded.path);
            }
            Err(NotAnInference { path }) => {
                let ends = ["/count_tokens", "/conversations", "/compact"];
                assert!(ends.iter().any(|end| path.ends_with(end)), "{path}");
                turned_away += 1;
            }
        }
    }
    assert_eq!(turned_away, 10);
}

/// Nothing of what is sealed by default, and nothing of the content, stands in the statement.
#[test]
fn a_sealed_receipt_gives_nothing_away() {
    for line in SAMPLE.lines() {
        let recorded = Recorded::parse(line.as_bytes()).unwrap();
        let Ok(draft) = receipt_of(&recorded.exchange(), terms()) else { continue };
        let json = draft.statement.to_json();
        let facts = recorded.exchange().facts().unwrap();
        let secrets = facts.answer.texts.iter().chain(&facts.parts).chain(&facts.answer.request_id);
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            assert!(!json.contains(secret.as_str()), "{secret}");
        }
        for group in GroupName::ALL.iter().filter(|group| group.is_sealed_by_default()) {
            if let Some((_, rest)) = json.split_once(&format!("\"{group}\":")) {
                assert!(rest.starts_with("{\"sealed\":\""), "{group}");
            }
        }
    }
}

#[test]
fn what_the_issuer_adds_is_carried() {
    let recorded = Recorded::parse(SAMPLE.lines().next().unwrap().as_bytes()).unwrap();
    let change = Change { kind: TransformKind::IncludeUsage, before: b"{}", after: b"{ }" };
    let changes = [change];
    let caller = vectors::key("claim").public().clone();
    let extras = Extras {
        timing: Some(Timing { received: Timestamp::from_millis(5), ..Timing::default() }),
        caller_reference: Some("tenant 7"),
        changes: &changes,
        alias: Some(true),
        ext: Some(Ext("{\"a\":1}".to_owned())),
        ..Extras::default()
    };
    let with = Terms { claim: ClaimSource::Given(caller.clone()), sealed: Sealed::all(), extras, ..terms() };
    let draft = receipt_of(&recorded.exchange(), with).unwrap();
    assert_eq!((receipt(&draft).claim.as_ref(), &draft.claim), (Some(&caller), &None));
    assert!(matches!(receipt(&draft).ext, Some(Sealable::Sealed(_))));
    assert!(draft.openings.opens(GroupName::Transforms));
}

/// A group that nobody could open later is refused while the issuer can still do something about it.
#[test]
fn what_could_not_be_opened_is_not_sealed() {
    let recorded = Recorded::parse(SAMPLE.lines().next().unwrap().as_bytes()).unwrap();
    let (exchange, body) = (recorded.exchange(), recorded.request.as_bytes());
    for ext in ["", "17", "{\"a\":0.5}", "{\"a\":1,\"a\":1}"] {
        let extras = Extras { ext: Some(Ext(ext.to_owned())), ..Extras::default() };
        let open = Terms { extras: extras.clone(), ..terms() };
        let bodies = WireBodies { request: body, response: None };
        let draft = Draft::new(exchange.facts().unwrap(), bodies, open, place(), &mut counter()).unwrap();
        assert!(draft.sign(&vectors::key("issuer")).is_err(), "{ext}");
        let sealed = Terms { sealed: Sealed::default().with(GroupName::Ext), extras, ..terms() };
        let error =
            Draft::new(exchange.facts().unwrap(), bodies, sealed, place(), &mut counter()).unwrap_err();
        assert_eq!(error.group, GroupName::Ext, "{ext}");
    }
}

#[test]
fn the_claim_key_belongs_to_the_receipt() {
    let recorded = Recorded::parse(SAMPLE.lines().next().unwrap().as_bytes()).unwrap();
    let draft = receipt_of(&recorded.exchange(), terms()).unwrap();
    let claim = draft.claim.as_ref().unwrap();
    assert_eq!(claim.id, draft.id());
    assert_eq!(Some(claim.key.signing_key().public()), draft.statement.claim());
    let nobody = Terms { claim: ClaimSource::Nobody, ..terms() };
    let draft = receipt_of(&recorded.exchange(), nobody).unwrap();
    assert_eq!((draft.statement.claim(), &draft.claim), (None, &None));
}

/// Bodies that passed by in pieces, a claim key drawn beforehand, a place given last: the same receipt.
#[test]
fn bodies_may_pass_by() {
    let recorded = Recorded::parse(SAMPLE.lines().next().unwrap().as_bytes()).unwrap();
    let exchange = recorded.exchange();
    let (request, response) = (recorded.request.as_bytes(), recorded.response.as_bytes());
    let mut random = counter();
    let mut pass = |label, body: &[u8]| {
        let mut committer = BodyCommitter::new(label, &mut random);
        body.chunks(3).for_each(|piece| committer.update(piece));
        assert_eq!(committer.length(), body.len() as u64);
        committer.finish()
    };
    let request_body = pass(Label::Request, request);
    let bodies = CommittedBodies { request: request_body, response: Some(pass(Label::Response, response)) };
    let key = ClaimKey::new([5; 32]);
    let drawn = Terms { claim: ClaimSource::Drawn(key.clone()), ..terms() };
    let unnumbered = Unnumbered::new(exchange.facts().unwrap(), bodies, drawn, &mut random).unwrap();
    let draft = unnumbered.number(place());
    assert_eq!(draft.statement.claim(), Some(key.signing_key().public()));
    assert_eq!(draft.claim.as_ref().unwrap().key, key);

    let whole = terms();
    let same = Draft::new(
        exchange.facts().unwrap(),
        WireBodies { request, response: Some(response) },
        Terms { claim: ClaimSource::Drawn(key), ..whole },
        place(),
        &mut counter(),
    );
    let same = same.unwrap();
    assert_eq!((same.statement, same.openings), (draft.statement, draft.openings));
}

/// `text` is each choice, `tool_calls` each name and arguments, after lengths of four bytes; `token_ids` four bytes for each
/// number.
#[test]
fn content_is_laid_out_as_the_formats_say() {
    let body = br#"{"choices":[{"index":0,"message":{"content":"ab","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop","token_ids":[7,70000]},{"index":1,"message":{"content":""},"finish_reason":"stop"}]}"#;
    let response = Response { status: 200, content_type: None, request_id: None, body };
    let exchange = Exchange {
        path: "/v1/chat/completions",
        request: b"{}",
        response: Some(response),
        end: End::Finished,
    };
    let draft = receipt_of(&exchange, terms()).unwrap();
    let value = |label| draft.openings.get(Label::Member(label)).unwrap().value.clone().unwrap();
    assert_eq!(value(MemberLabel::Text), b"\0\0\0\x02ab\0\0\0\0");
    assert_eq!(value(MemberLabel::ToolCalls), b"\0\0\0\x01f\0\0\0\x02{}");
    assert_eq!(value(MemberLabel::TokenIds), b"\0\0\0\x02\0\0\0\x07\0\x01\x11\x70\0\0\0\0");
}

fn any_end() -> impl Strategy<Value = End> {
    proptest::sample::select(vec![
        End::Finished,
        End::Timeout,
        End::ClientGone,
        End::UpstreamGone,
        End::ProxyFailed,
    ])
}

proptest! {
    /// However bodies are cut or damaged, and however the connection ended, there is a valid receipt.
    #[test]
    fn damaged_exchanges_get_receipts_too(
        line in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        end in any_end(),
    ) {
        let lines: Vec<&str> = SAMPLE.lines().collect();
        let recorded = Recorded::parse(line.get(&lines).as_bytes()).unwrap();
        let mut body = recorded.response.clone().into_bytes();
        if let Some(damaged) = body.get_mut(cut.index(2 * recorded.response.len())) {
            *damaged = byte;
        } else {
            body.truncate(at.index(body.len() + 1));
        }
        let mut request = recorded.request.clone().into_bytes();
        let at = at.index(request.len());
        request[at] = byte;
        let response = recorded.exchange().response.map(|response| Response { body: &body, ..response });
        let exchange = Exchange { path: &recorded.path, request: &request, response, end };
        let _ = receipt_of(&exchange, terms());
    }
}

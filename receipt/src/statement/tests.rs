mod records;

use proptest::prelude::*;

use super::{
    groups::{
        Accountable, Attempt, Attempts, Caller, Content, Evidence, Execution, ExecutionType, Ext,
        Fingerprint, FingerprintScheme, Finish, Hints, Lengths, Links, Parameters, Parts, Timing, Transform,
        TransformKind, Transforms, Upstream, Usage,
    },
    receipt::{Api, Basis, Claimed, Engine, Model, Outcome, Protocol, Reported, ReportedSource},
    rules::Mode,
    *,
};
use crate::{
    envelope::{Envelope, Id},
    timestamp::Timestamp,
    vectors::{self, records},
};

fn frame() -> Frame {
    let key = vectors::key("issuer");
    Frame {
        nonce: Nonce::new([1; 16]),
        log: "log.example/2026".parse().unwrap(),
        issuer: Issuer { key: key.public().clone(), software: Some("gateway 1.0".to_owned()) },
        numbering: Some(Numbering {
            stream: StreamId::new([2; 16]),
            number: Number::new(17).unwrap(),
            previous: Some(Id::new(Hash::EMPTY_ROOT)),
        }),
    }
}

fn model() -> Model {
    Model {
        requested: Some("m-1".to_owned()),
        reported: Some(Reported { value: "m-1-ü".to_owned(), source: ReportedSource::Header }),
        alias: Some(true),
        claimed: Some(Claimed {
            name: Some("m \"1\"".to_owned()),
            weights: Some(Hash::EMPTY_ROOT),
            engine: Some(Engine { name: "engine".to_owned(), version: Some("1".to_owned()) }),
            quantization: Some("fp8".to_owned()),
            basis: Basis::HashedAtLoad,
        }),
    }
}

fn attempt(at: Option<Timestamp>) -> Attempt {
    Attempt {
        upstream: "api.example".to_owned(),
        model: Some("m-1".to_owned()),
        status: Some(200),
        started: at,
        ended: at,
    }
}

/// A receipt that has everything.
fn full() -> Statement {
    let commitment = Commitment::new([3; 32]);
    let at = Timestamp::from_millis(1_763_712_345_678);
    let key = vectors::key("verifier").public().clone();
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".to_owned(), stream: true };
    let fingerprint = Fingerprint { scheme: FingerprintScheme::Toploc, digest: Hash::EMPTY_ROOT };
    let evidence = Evidence {
        kind: ExecutionType::IntelTdx,
        key_record: Some(Hash::EMPTY_ROOT),
        evidence: Some(Hash::EMPTY_ROOT),
    };
    let receipt = Receipt {
        claim: Some(key.clone()),
        usage: Some(Sealable::Open(Usage {
            input: Some(1),
            output: Some(2),
            cached: Some(0),
            reasoning: None,
        })),
        lengths: Some(Sealable::Open(Lengths { request: Some(10), response: Some(20) })),
        timing: Some(Sealable::Open(Timing { received: at, first_byte: None, completed: at })),
        parameters: Some(Sealable::Open(Parameters(vec![
            ("temperature".to_owned(), "0.70".to_owned()),
            ("stop".to_owned(), "\"a\\n\"".to_owned()),
        ]))),
        caller: Some(Sealable::Open(Caller {
            reference: Some(commitment),
            nonce: Some(Nonce::new([9; 16])),
        })),
        attempts: Some(Sealable::Open(Attempts(vec![attempt(at)]))),
        transforms: Some(Sealable::Open(Transforms(vec![Transform {
            kind: TransformKind::IncludeUsage,
            before: commitment,
            after: commitment,
        }]))),
        parts: Some(Sealable::Open(Parts { count: 2, root: Hash::EMPTY_ROOT })),
        finish: Some(Sealable::Open(Finish { status: Some(200), reasons: vec!["stop".to_owned()] })),
        content: Some(Sealable::Open(Content {
            text: Some(commitment),
            tool_calls: Some(commitment),
            token_ids: Some(commitment),
            embedding: Some(commitment),
        })),
        upstream: Some(Sealable::Open(Upstream {
            request_id: Some(commitment),
            fingerprint: Some("fp_1".to_owned()),
        })),
        execution: Some(Sealable::Open(Execution(vec![evidence]))),
        accountable: Some(Sealable::Open(Accountable { key, respond_within: 86_400 })),
        hints: Some(Sealable::Open(Hints {
            seed: Some("7".to_owned()),
            deterministic: Some(false),
            fingerprint: Some(fingerprint),
        })),
        links: Some(Sealable::Open(Links {
            previous_response: Some(commitment),
            conversation: Some(commitment),
            parent: Some(Id::new(Hash::EMPTY_ROOT)),
        })),
        ext: Some(Sealable::Open(Ext("{ \"a\" : [1, \"0.5\"] }".to_owned()))),
        ..Receipt::new(api, model(), Outcome::Complete)
    };
    Statement {
        subject: Subject::Exchange { request: commitment, response: Some(commitment) },
        frame: frame(),
        predicate: Predicate::Receipt(Box::new(receipt)),
    }
}

fn rules() -> Statement {
    let operator = vectors::key("issuer").public().clone();
    Statement {
        subject: Subject::Log,
        frame: Frame { numbering: None, ..frame() },
        predicate: Predicate::Rules(Rules {
            mode: Mode::Registered,
            registrars: vec![vectors::p256_key().public().clone()],
            operator,
        }),
    }
}

/// A clock record whose checkpoint is of `origin`.
fn clock(origin: &str) -> Statement {
    let note = format!(
        "{origin}\n1\n{}\n\n— {origin} AAAAAAEC\n— witness.example AAAAAAED\n",
        Hash::leaf(b"").to_base64()
    );
    let clock = Clock { checkpoint: note.parse().unwrap() };
    Statement { predicate: Predicate::Clock(Box::new(clock)), ..rules() }
}

fn parse(json: &str) -> Result<Statement, StatementError> {
    Statement::parse_as(json.as_bytes(), vectors::key("issuer").public())
}

/// The statements of the vectors are read, and printed byte for byte; their signatures verify.
#[test]
fn vectors_are_reproduced() {
    for (n, record) in records().iter().enumerate() {
        let envelope = Envelope::parse(record.text("envelope").as_bytes()).unwrap();
        assert_eq!(envelope.to_json(), record.text("envelope"));
        assert_eq!(envelope.id().to_string(), record.text("pae_sha256"));
        assert_eq!(*envelope.key(), vectors::issuer(n));
        let statement = Statement::parse(&envelope.verify().unwrap()).unwrap();
        assert_eq!(statement.to_json(), record.text("statement"));
        assert_eq!(statement.kind(), Kind::Receipt);
        if n < 2 {
            let signed = statement.sign(&vectors::key("issuer")).unwrap();
            assert_eq!(signed.envelope().to_json(), record.text("envelope"));
        }
    }
}

#[test]
fn every_member_is_printed_and_read() {
    for statement in [full(), rules(), clock("log.example/2026")] {
        let json = statement.to_json();
        assert_eq!(parse(&json), Ok(statement));
    }
    let bare = Statement { subject: Subject::Record(Hash::leaf(b"x")), ..rules() };
    assert_eq!(parse(&bare.to_json()).unwrap().about(), Some(Hash::leaf(b"x")));
}

/// Every group may be sealed, by exactly one member that is a commitment.
#[test]
fn every_group_can_be_sealed() {
    let commitment = Commitment::new([3; 32]).to_string();
    let json = full().to_json();
    let value = Value::parse(json.as_bytes()).unwrap();
    let predicate = value.member("predicate").unwrap();
    for group in GroupName::ALL {
        let open = predicate.member(group.as_str()).unwrap().raw();
        let with = |group_json: &str| {
            json.replace(&format!("\"{group}\":{open}"), &format!("\"{group}\":{group_json}"))
        };
        let sealed = parse(&with(&format!("{{\"sealed\":\"{commitment}\"}}"))).unwrap();
        assert_ne!(sealed, full());
        assert_eq!(parse(&sealed.to_json()), Ok(sealed), "{group}");
        for wrong in [
            "null".to_owned(),
            "{\"sealed\":null}".to_owned(),
            format!("{{\"sealed\":\"{}\"}}", &commitment[1..]),
            format!("{{\"sealed\":\"{commitment}\",\"count\":1}}"),
            "17".to_owned(),
        ] {
            assert!(parse(&with(&wrong)).is_err(), "{group} {wrong}");
        }
    }
}

/// What is replaced in a good statement, by what, and what is said of it; nothing: it is no JSON.
const MALFORMED: &[(&str, &str, &str)] = &[
    (
        "Statement/v1",
        "Statement/v0.1",
        "_type: must be https://in-toto.io/Statement/v1, is \"https://in-toto.io/Statement/v0.1\"",
    ),
    (
        "inference-receipt/v1",
        "receipt/v1",
        "predicateType: \"https://counterfoil.dev/receipt/v1\" is refused: no predicate type of Counterfoil",
    ),
    ("\"_type\"", "\"extra\":1,\"_type\"", "extra: unknown member"),
    ("\"name\":\"request\"", "\"name\":\"response\"", "subject[0].name: must be request, is \"response\""),
    ("counterfoilCommitment", "sha256", "subject[0].digest.counterfoilCommitment: required, but not there"),
    (
        "\"nonce\":\"01",
        "\"nonce\":\"0",
        "predicate.nonce: \"0010101010101010101010101010101\" is refused: a nonce is 32 lower-case hex digits",
    ),
    (
        "\"log\":\"log.example",
        "\"log\":\"log example",
        "predicate.log: \"log example/2026\" is refused: an origin has 1 to 255 bytes without white space, plus sign, quote or backslash",
    ),
    ("\"number\":17,", "", "predicate.stream: stream, number and previous go together: all or none"),
    ("\"number\":17", "\"number\":017", ""),
    (
        "openai.chat\"",
        "openai.chat2\"",
        "predicate.api.protocol: \"openai.chat2\" is none of openai.chat, openai.completions, openai.responses, openai.embeddings, anthropic.messages",
    ),
    ("\"stream\":true", "\"stream\":1", "predicate.api.stream: must be true or false, is a number"),
    ("\"requested\":\"m-1\",", "", "predicate.model.requested: required, but not there"),
    ("\"requested\":\"m-1\"", "\"requested\":\"\"", "predicate.model.requested: must not be empty"),
    (
        "\"source\":\"header\"",
        "\"source\":\"guess\"",
        "predicate.model.reported.source: \"guess\" is none of body, header",
    ),
    (
        "\"outcome\":\"complete\"",
        "\"outcome\":\"fine\"",
        "predicate.outcome: \"fine\" is none of complete, truncated, refused, filtered, upstream_error, timeout, aborted_by_client, aborted_by_upstream, proxy_error",
    ),
    ("\"outcome\"", "\"verdict\":1,\"outcome\"", "predicate.verdict: unknown member"),
    (
        "\"input\":1",
        "\"input\":1.5",
        "predicate.usage.input: must be an integer from 0 to 2^53 - 1, is a number",
    ),
    ("\"0.70\"", "\"0.70 \"", "predicate.parameters.temperature: must be the JSON token of a scalar"),
    ("\"0.70\"", "\"[1]\"", "predicate.parameters.temperature: must be the JSON token of a scalar"),
    ("\"0.70\"", "0.70", "predicate.parameters.temperature: must be a string, is a number"),
    (
        "\"status\":200",
        "\"status\":99",
        "predicate.attempts[0].status: must be an HTTP status from 100 to 599",
    ),
    ("[\"stop\"]", "[\"st\\u0000op\"]", "predicate.finish.reasons[0]: contains a control character"),
    ("[1, \"0.5\"]", "[1, 0.5]", "predicate.ext.a[1]: must be an integer from 0 to 2^53 - 1, is a number"),
    (
        "\"respond_within\":86400",
        "\"respond\":1",
        "predicate.accountable.respond_within: required, but not there",
    ),
];

#[test]
fn malformed_statements_say_where() {
    let json = full().to_json();
    for (old, new, message) in MALFORMED {
        let changed = json.replacen(old, new, 1);
        assert_ne!(changed, json, "{old}");
        let error = parse(&changed).expect_err(new).to_string();
        if message.is_empty() {
            assert!(error.starts_with("statement, byte "), "{error}");
        } else {
            assert_eq!(error, format!("statement, {message}"));
        }
    }
}

#[test]
fn long_texts_are_refused() {
    let fits = "x".repeat(TEXT_BYTES_MAX);
    let json = full().to_json();
    assert!(parse(&json.replace("\"m-1\"", &format!("\"{fits}\""))).is_ok());
    let error = parse(&json.replacen("\"m-1\"", &format!("\"{fits}x\""), 1)).unwrap_err().to_string();
    assert_eq!(error, "statement, predicate.model.requested: has 513 bytes, at most 512 are allowed");
}

#[test]
fn nobody_signs_in_anothers_name() {
    let stranger = vectors::key("claim");
    assert!(matches!(full().sign(&stranger), Err(SignError::Statement(StatementError::Issuer { .. }))));
    let envelope = VerifiedEnvelope::sign(full().to_json().into_bytes(), &stranger).unwrap();
    assert!(matches!(Statement::parse(&envelope), Err(StatementError::Issuer { .. })));
}

#[test]
fn receipts_have_a_place_in_a_stream() {
    let statement = Statement { frame: Frame { numbering: None, ..frame() }, ..full() };
    let error = parse(&statement.to_json()).unwrap_err().to_string();
    assert_eq!(error, "statement, predicate.stream: required, but not there");
}

#[test]
fn a_record_about_the_log_names_it() {
    let json = rules().to_json();
    assert!(
        json.contains(
            "\"subject\":[{\"name\":\"log.example/2026\",\"digest\":{\"counterfoilLeaf\":\"e3b0c442"
        )
    );
    assert!(parse(&json.replacen("e3b0c442", "e3b0c443", 1)).is_err());
    assert!(parse(&json.replacen("\"name\":\"log.example/2026\"", "\"name\":\"log.example\"", 1)).is_err());
}

/// A clock record is about the log itself, and its checkpoint is a note of that log.
#[test]
fn a_clock_record_is_of_its_own_log() {
    let said = |json: &str| parse(json).unwrap_err().to_string();
    assert_eq!(
        said(&clock("log.example/2027").to_json()),
        "statement, predicate.checkpoint: must be a checkpoint of the log that the record is for"
    );
    let good = clock("log.example/2026");
    let json = good.to_json();
    let about = Statement { subject: Subject::Record(Hash::leaf(b"x")), ..good };
    assert_eq!(said(&about.to_json()), "statement, subject: must be the log itself, not a record");
    for (old, new) in [("\\n1\\n", "\\n01\\n"), ("AAAAAAED\\n\"", "AAAAAAED\""), ("\\n\\n", "\\n")] {
        let refused = said(&json.replacen(old, new, 1));
        assert!(refused.starts_with("statement, predicate.checkpoint: "), "{refused}");
    }
    assert!(said(&json.replace("\"checkpoint\"", "\"checkpoints\"")).contains("required, but not there"));
    let more = json.replace("\"checkpoint\"", "\"time\":1,\"checkpoint\"");
    assert_eq!(said(&more), "statement, predicate.time: unknown member");
}

proptest! {
    /// Whichever groups a receipt has, it is printed as it was read.
    #[test]
    fn any_choice_of_groups(left_out in proptest::sample::subsequence(GroupName::ALL, 0..=GroupName::ALL.len())) {
        let whole = full().to_json();
        let value = Value::parse(whole.as_bytes()).unwrap();
        let raw = |group: &GroupName| value.member("predicate").unwrap().member(group.as_str()).unwrap().raw();
        let json = left_out.iter().fold(whole.clone(), |json, group| {
            json.replacen(&format!(",\"{group}\":{}", raw(group)), "", 1)
        });
        prop_assert_eq!(json.len() == whole.len(), left_out.is_empty());
        prop_assert_eq!(parse(&json).unwrap().to_json(), json);
    }

    /// Nothing that is done to one byte of a statement makes the reader panic, or read something that it prints otherwise.
    #[test]
    fn one_changed_byte(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = full().to_json().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(read) = Statement::parse_as(&json, vectors::key("issuer").public()) {
            prop_assert_eq!(parse(&read.to_json()), Ok(read));
        }
    }
}

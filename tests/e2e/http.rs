//! HTTP as readable text: each file of `http/` holds exchanges, a request and what must come back.
//!
//! ```text
//! POST /v1/receipts
//! {{envelope}}
//! => 201
//! content-type: application/json
//! ~ "index":1
//! ```
//! A line of the request after the first is its body; after `=>` come the status, headers that must be there, and,
//! after `~`, fragments that the body must have. Lines with `#` are comments. `{{…}}` is filled in by the test.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{
    SigningKey, Statement, VerifiedEnvelope,
    statement::{Clock, Frame, Issuer, Nonce, Predicate, Subject},
};
use counterfoil_tests::{Deployment, Issuing};

use crate::PROGRAMS;

/// Runs all exchanges of a file, in order, over one connection, which must survive every error.
fn play(text: &str, log: &Deployment, values: &BTreeMap<&str, String>) {
    let mut http = log.http();
    for (number, exchange) in text.split("\n\n").filter(|part| part.contains("=>")).enumerate() {
        let lines: Vec<_> =
            exchange.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let split = lines.iter().position(|line| line.starts_with("=>")).unwrap();
        let fill = |line: &str| {
            values
                .iter()
                .fold(line.to_owned(), |line, (name, value)| line.replace(&format!("{{{{{name}}}}}"), value))
        };
        let (method, path) = lines[0].split_once(' ').unwrap();
        let body = lines[1..split].iter().map(|line| fill(line)).collect::<Vec<_>>().join("\n");
        let path = fill(path);
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        http.send(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let reply = http.reply().unwrap();
        let said = String::from_utf8_lossy(&reply.body);
        let context = format!("exchange {number}: {method} {path}\n{:?}\n{said}", reply.headers);
        assert_eq!(reply.status.to_string(), lines[split][2..].trim(), "{context}");
        for line in &lines[split + 1..] {
            if let Some(fragment) = line.strip_prefix("~ ") {
                assert!(said.contains(&fill(fragment)), "{fragment}\nis not in {context}");
            } else {
                let (name, value) = line.split_once(": ").unwrap();
                assert_eq!(reply.header(name), Some(value), "{name} in {context}");
            }
        }
    }
}

#[test]
fn reading() {
    let log = Deployment::start(PROGRAMS, "log.example/read");
    let mut issuing = Issuing::new(&log.origin, 6);
    let mut values = BTreeMap::new();
    let mut http = log.http();
    for _ in 0..300 {
        let (id, envelope) = issuing.issue();
        let answer = http.post("/v1/receipts", envelope.as_bytes()).unwrap().json();
        values.insert("id", id.to_string());
        values.insert("id32", id.to_string()[..32].to_owned());
        values.insert("leaf", answer["leaf"].as_str().unwrap().to_owned());
    }
    play(include_str!("http/reading.txt"), &log, &values);
    // Bundles are compressed for whoever takes it; hash tiles are not worth it.
    for (path, coding) in
        [("tile/entries/000", Some("gzip")), ("statement/000", Some("gzip")), ("tile/0/000", None)]
    {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n");
        http.send(request.as_bytes()).unwrap();
        assert_eq!(http.reply().unwrap().header("content-encoding"), coding, "{path}");
    }
}

/// What is asked for in bad form, or is not there, is named.
#[test]
fn searching() {
    let log = Deployment::start(PROGRAMS, "log.example/search");
    let mut issuing = Issuing::new(&log.origin, 8);
    let key = issuing.key().public().to_string();
    let mut values = BTreeMap::from([
        ("key", key.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()),
        ("escaped", key.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")),
        ("unescaped", "MCowBQYDK2VwAyEA+".to_owned()),
    ]);
    let mut http = log.http();
    for _ in 0..3 {
        let (id, envelope) = issuing.issue();
        let answer = http.post("/v1/receipts", envelope.as_bytes()).unwrap().json();
        values.insert("id", id.to_string());
        values.insert("leaf", answer["leaf"].as_str().unwrap().to_owned());
        let entry: serde_json::Value = serde_json::from_str(answer["entry"].as_str().unwrap()).unwrap();
        values.insert("stream", entry["stream"].as_str().unwrap().to_owned());
    }
    let complete = |http: &mut counterfoil_tests::http::Http| {
        let page = http.get("/v1/overdue").unwrap();
        page.status == 200 && page.json()["complete"] == 4
    };
    counterfoil_tests::until(|| complete(&mut http), "all is indexed");
    let page = http.get("/v1/receipts?kind=receipt&limit=1").unwrap().json();
    let cursor = page["next"].as_str().unwrap().to_owned();
    values.insert("tampered", format!("{}{}", if cursor.starts_with('B') { 'C' } else { 'B' }, &cursor[1..]));
    values.insert("cursor", cursor);
    play(include_str!("http/search.txt"), &log, &values);
}

#[test]
fn bad_input() {
    let log = Deployment::start(PROGRAMS, "log.example/bad");
    let mut issuing = Issuing::new(&log.origin, 7);
    let (_, envelope) = issuing.issue();
    let (_, stranger) = Issuing::new("log.example/another", 7).issue();
    let sign = |statement: &[u8]| {
        let signed = VerifiedEnvelope::sign(statement.to_vec(), issuing.key()).unwrap();
        signed.envelope().to_json()
    };
    let payload: serde_json::Value = serde_json::from_str(&envelope).unwrap();
    let statement = BASE64.decode(payload["payload"].as_str().unwrap()).unwrap();
    let statement = String::from_utf8(statement).unwrap();
    let another_key = SigningKey::from_ed25519_seed(&[9; 32]);
    let other_signer = VerifiedEnvelope::sign(statement.clone().into_bytes(), &another_key).unwrap();
    let values = BTreeMap::from([
        ("envelope", envelope.clone()),
        ("bad_signature", envelope.replace("\"sig\":\"", "\"sig\":\"AAAA")),
        ("changed_payload", envelope.replacen("\"payload\":\"eyJ", "\"payload\":\"fyJ", 1)),
        ("other_log", stranger),
        ("no_json_inside", sign(b"not json")),
        ("unknown_member", sign(statement.replacen("\"nonce\"", "\"more\":1,\"nonce\"", 1).as_bytes())),
        ("open_code", sign(statement.replace("\"complete\"", "\"splendid\"").as_bytes())),
        ("no_model", sign(statement.replace("\"model\":{\"requested\":\"m-1\"},", "").as_bytes())),
        ("clock_record", clock_record(&log, &issuing)),
        ("other_signer", other_signer.envelope().to_json()),
        ("two_signatures", envelope.replace("}]", "},{}]")),
        ("huge", "x".repeat(80_000)),
        ("many_lines", "{}\n".repeat(1001)),
    ]);
    let key: counterfoil_merkle::key::VerifierKey = log.log_key.parse().unwrap();
    play(include_str!("http/bad_input.txt"), &log, &values);
    let size = counterfoil_tests::audit::checkpoint(&mut log.http(), &key).head().size;
    assert_eq!(size.get(), 2, "the rules, and the one good receipt at the end: nothing else was stored");
    assert!(!log.server_log().contains("panicked"), "{}", log.server_log());
}

/// A clock record in good form, which only the log itself may put into the log.
fn clock_record(log: &Deployment, issuing: &Issuing) -> String {
    let checkpoint = log.http().get("/checkpoint").unwrap().text().parse().unwrap();
    let statement = Statement {
        subject: Subject::Log,
        frame: Frame {
            nonce: Nonce::new([1; 16]),
            log: log.origin.parse().unwrap(),
            issuer: Issuer { key: issuing.key().public().clone(), software: None },
            numbering: None,
        },
        predicate: Predicate::Clock(Box::new(Clock { checkpoint })),
    };
    statement.sign(issuing.key()).unwrap().envelope().to_json()
}

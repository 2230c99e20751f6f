//! Recorded exchanges become receipts, are appended, and verify offline; with one byte changed they do not.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_tests::Deployment;
use serde_json::Value;

use crate::PROGRAMS;

/// The whole set where it lies beside the project, the sample in the project elsewhere.
fn exchanges() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = root.join("../../shared/data/exchanges.jsonl");
    if whole.exists() { whole } else { root.join("data/exchanges.jsonl") }
}

struct Case {
    id: String,
    bundle: PathBuf,
    exchange: Value,
}

/// Makes receipts of all exchanges that are inference calls, appends them, and returns their bundles.
fn append_all(log: &Deployment) -> Vec<Case> {
    let home = log.home();
    let text = fs::read_to_string(exchanges()).unwrap();
    let exchanges: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let _ = log.client(&["keygen", "-o", "issuer.pem"]).exits(0);
    let _ = log.client(&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]).exits(0);
    let mut cases = Vec::new();
    for (number, exchange) in exchanges.into_iter().enumerate() {
        let (file, folder) = (home.join("exchange.json"), format!("receipts/{number}"));
        fs::write(&file, exchange.to_string()).unwrap();
        let made = [
            "receipt",
            "new",
            "--key",
            "issuer.pem",
            "--log",
            "l",
            "--exchange",
            "exchange.json",
            "--out",
            &folder,
        ];
        let _ = log.client(&made);
        let names: BTreeSet<String> = fs::read_dir(home.join(&folder))
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        // No envelope where the exchange is no inference call.
        let Some(envelope) = names.iter().find(|name| name.ends_with(".envelope.json")) else { continue };
        let id = envelope.trim_end_matches(".envelope.json").to_owned();
        let appended = log.client(&["append", "--log", "l", &format!("{folder}/{envelope}")]).exits(0);
        assert!(appended.out.contains("1 proven"), "{}", appended.out);
        let bundle = home.join(folder).join(format!("{id}.counterfoil.json"));
        cases.push(Case { id, bundle, exchange });
    }
    assert!(
        cases.iter().any(|case| is_chat(&case.exchange)) && cases.len() >= 16,
        "there is something to try"
    );
    cases
}

fn is_chat(exchange: &Value) -> bool {
    exchange["path"].as_str().unwrap().ends_with("/chat/completions")
}

/// How the verifier may name a byte that was changed in a part.
fn names_of(part: &str) -> &'static [&'static str] {
    match part {
        "statement" => &["NO statement: entry and statement do not match"],
        "entry" => {
            &["NO malformed: bundle, entry", "NO proof: entry, proof", "NO statement: entry and", "NO time"]
        }
        "proof" => &["NO malformed: bundle, proof", "NO proof: entry, proof and checkpoint do not match"],
        _ => &[
            "NO checkpoint",
            "NO malformed: bundle, proof: the proof's checkpoint",
            "NO proof: entry, proof and checkpoint do not match",
            "NO time: the checkpoint",
        ],
    }
}

/// Every exchange that is an inference call gets a receipt that verifies with the policy that `init` wrote; its contents match when they
/// are given, and another request's or response's do not.
#[test]
fn exchanges_verify_offline() {
    let mut log = Deployment::start(PROGRAMS, "log.example/chat");
    let cases = append_all(&log);
    log.down();
    let policy = log.policy();
    let policy = policy.to_str().unwrap();
    for case in &cases {
        let bundle = case.bundle.to_str().unwrap();
        let plain = log.client(&["verify", bundle, "--policy", policy]).exits(0);
        assert!(plain.out.contains("issuer: NOT NAMED BY YOU"), "{}", plain.out);
        let alone = log.client(&["verify", bundle, "--log-key", &log.log_key]).exits(0);
        assert!(alone.out.contains("issuer: NOT NAMED BY YOU"), "{}", alone.out);

        let openings = case.bundle.with_file_name(format!("{}.openings.json", case.id));
        let (request, response) = (log.home().join("request"), log.home().join("response"));
        let text = |name: &str| case.exchange[name].as_str().unwrap_or("").to_owned();
        fs::write(&request, text("request_body")).unwrap();
        fs::write(&response, text("response_body")).unwrap();
        let with_contents = [
            "verify",
            bundle,
            "--policy",
            policy,
            "--openings",
            openings.to_str().unwrap(),
            "--request",
            "request",
            "--response",
            "response",
        ];
        let _ = log.client(&with_contents).exits(0);
        for (file, name) in [(&request, "request"), (&response, "response")] {
            let whole = fs::read(file).unwrap();
            let mut changed = whole.clone();
            let at = changed.len() / 2;
            changed[at] ^= 1;
            fs::write(file, changed).unwrap();
            let refused = log.client(&with_contents).exits(1);
            assert!(refused.out.contains(&format!("NO contents: {name} differs")), "{}", refused.out);
            fs::write(file, whole).unwrap();
        }
    }
    println!("{} exchanges appended and verified", cases.len());
}

/// One byte of statement, entry, proof or checkpoint changed: no, and what does not match is named.
#[test]
fn a_changed_byte_is_named() {
    let mut log = Deployment::start(PROGRAMS, "log.example/byte");
    let cases = append_all(&log);
    log.down();
    let policy = log.policy();
    let changed_file = log.home().join("changed.counterfoil.json");
    for (number, case) in cases.iter().enumerate() {
        let bundle: Value = serde_json::from_slice(&fs::read(&case.bundle).unwrap()).unwrap();
        let (proof, checkpoint) = bundle["proof"].as_str().unwrap().split_once("\n\n").unwrap();
        let statement = BASE64.decode(bundle["statement"].as_str().unwrap()).unwrap();
        let parts = [
            ("statement", statement),
            ("entry", bundle["entry"].as_str().unwrap().as_bytes().to_vec()),
            ("proof", proof.as_bytes().to_vec()),
            ("checkpoint", checkpoint.as_bytes().to_vec()),
        ];
        for (part, bytes) in parts {
            // Five places a part, others in each bundle.
            for step in 0..5 {
                let mut changed = bytes.clone();
                let at = (bytes.len() * step / 5 + number) % bytes.len();
                changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
                let mut tampered = bundle.clone();
                let text = String::from_utf8_lossy(&changed).into_owned();
                match part {
                    "statement" => tampered["statement"] = BASE64.encode(&changed).into(),
                    "entry" => tampered["entry"] = text.into(),
                    "proof" => tampered["proof"] = format!("{text}\n\n{checkpoint}").into(),
                    _ => tampered["proof"] = format!("{proof}\n\n{text}").into(),
                }
                fs::write(&changed_file, tampered.to_string()).unwrap();
                let run =
                    log.client(&["verify", "changed.counterfoil.json", "--policy", policy.to_str().unwrap()]);
                let said = format!("{}{}", run.out, run.err);
                assert_eq!(run.code, 1, "byte {at} of {part}\n{said}");
                let named = |line: &str| names_of(part).iter().any(|name| line.starts_with(name));
                assert!(said.lines().any(named), "byte {at} of {part} is not named in\n{said}");
            }
        }
    }
}

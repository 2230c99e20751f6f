//! What receipts say, and where they go.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{Envelope, SigningKey, Statement, commitment::Openings, statement::Predicate};
use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, LAST, STREAM, Upstream, chat_stream, chunk, json},
};

use super::stage::{CREDENTIAL, Proxy, opened, statement, verify};
use crate::PROGRAMS;

const REQUEST: &str = r#"{"model":"m-1","temperature":0.70,"messages":[{"role":"user","content":"Hello?"}]}"#;

/// The receipt of an answer verifies with its openings and the bodies that the caller sent and got; it says what happened,
/// and nothing of what was said.
#[test]
fn the_receipt_is_of_what_passed() {
    let log = Deployment::start(PROGRAMS, "log.example/receipts");
    let upstream = Upstream::saying(json(200, CHAT).as_slice());
    let proxy = Proxy::before(&log, &upstream, "");
    let answer = proxy.chat(REQUEST);
    let delivered = proxy.delivered(answer.exchange());
    verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(&answer.body));

    let statement = statement(&delivered);
    let predicate = &statement["predicate"];
    assert_eq!(predicate["model"]["requested"], "m-1");
    assert_eq!(predicate["model"]["reported"]["value"], "m-1-0626");
    assert_eq!((&predicate["outcome"], &predicate["number"]), (&"complete".into(), &0.into()));
    let text = statement.to_string();
    for secret in ["Hello", "of-the-caller", "chatcmpl-1", &upstream.address.to_string()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(opened(&delivered, "part/0").to_string(), r#"{"content":"Hello?","role":"user"}"#);
    assert_eq!(opened(&delivered, "group/usage")["output"], 2);
    assert_eq!(opened(&delivered, "group/parameters")["temperature"], "0.70");
    assert_eq!(opened(&delivered, "group/attempts")[0]["upstream"], upstream.address.to_string());
    assert_eq!(delivered["claim"]["id"], delivered["id"]);

    // Bodies are kept as the receipt commits to them; credentials nowhere.
    let id = delivered["id"].as_str().unwrap();
    let kept = |name: &str| fs::read(proxy.home().join("bodies").join(format!("{id}.{name}"))).unwrap();
    proxy.until("bodies are kept", |proxy| {
        proxy.home().join("bodies").join(format!("{id}.response")).exists()
    });
    assert_eq!((kept("request"), kept("response")), (REQUEST.as_bytes().to_vec(), answer.body));
    for folder in ["spool", "spool/segments", "bodies"] {
        for file in fs::read_dir(proxy.home().join(folder)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap_or_default();
            assert!(!bytes.windows(13).any(|window| window == b"of-the-caller"));
        }
    }
    assert!(!proxy.log().contains("of-the-caller"));
}

/// A stream's receipt commits to the bytes of the stream and to the text put together from it.
#[test]
fn a_streams_receipt_is_of_all_of_it() {
    let log = Deployment::start(PROGRAMS, "log.example/stream");
    let upstream = Upstream::saying(chat_stream());
    let proxy = Proxy::before(&log, &upstream, "");
    let request = r#"{"model":"m-1","stream":true,"messages":[]}"#;
    let answer = proxy.chat(request);
    assert_eq!(answer.text(), EVENTS.concat());
    let delivered = proxy.delivered(answer.exchange());
    verify(&log, &proxy, &delivered, request.as_bytes(), Some(&answer.body));
    assert_eq!(statement(&delivered)["predicate"]["api"]["stream"], true);
    let openings = Openings::parse(delivered["openings"].to_string().as_bytes()).unwrap();
    let text = openings.get("text".parse().unwrap()).unwrap().value.clone().unwrap();
    assert_eq!(text, b"\0\0\0\x06Hello.");
}

/// The operator may have streams name their receipts; the commitment is to what the upstream sent.
#[test]
fn streams_can_end_with_a_comment() {
    let log = Deployment::start(PROGRAMS, "log.example/comment");
    let upstream = Upstream::saying(chat_stream());
    let proxy = Proxy::before(&log, &upstream, "receipt.stream_comment = true");
    let answer = proxy.chat(r#"{"stream":true}"#);
    let delivered = proxy.delivered(answer.exchange());
    let id = delivered["id"].as_str().unwrap();
    let body = answer.text().strip_suffix(&format!(": counterfoil {id}\n\n")).expect("a comment");
    assert_eq!(body, EVENTS.concat());
    verify(&log, &proxy, &delivered, br#"{"stream":true}"#, Some(body.as_bytes()));
}

/// A caller brings its own claim key and nonce; the receipt names them, and there is no private half to hand out.
#[test]
fn callers_may_bring_claim_key_and_nonce() {
    let log = Deployment::start(PROGRAMS, "log.example/wishes");
    let upstream = Upstream::saying(json(200, CHAT));
    let proxy = Proxy::before(&log, &upstream, "");
    let key = SigningKey::from_ed25519_seed(&[9; 32]).public().clone();
    let nonce = "00112233445566778899aabbccddeeff";
    let headers = format!("{CREDENTIAL}Counterfoil-Claim: {key}\r\nCounterfoil-Nonce: {nonce}\r\n");
    let answer = proxy.caller().post("/v1/chat/completions", &headers, REQUEST.as_bytes());
    let delivered = proxy.delivered(answer.exchange());
    assert_eq!(statement(&delivered)["predicate"]["claim"], key.as_str());
    assert!(delivered["claim"].is_null());
    assert_eq!(opened(&delivered, "group/caller")["nonce"], nonce);
    assert!(
        !upstream.asked()[0].head.to_lowercase().contains("counterfoil"),
        "what is for the proxy stays there"
    );

    let headers = format!("{CREDENTIAL}Counterfoil-Nonce: 17\r\n");
    let refused = proxy.caller().post("/v1/chat/completions", &headers, REQUEST.as_bytes());
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("counterfoil-nonce cannot be read"), "{}", refused.text());
    assert_eq!(upstream.asked().len(), 1, "nothing was asked");
}

/// A promise goes out with the answer's head, and names the claim key that the receipt will name.
#[test]
fn promises_are_kept() {
    let log = Deployment::start(PROGRAMS, "log.example/promise");
    let upstream = Upstream::saying(json(200, CHAT));
    let proxy = Proxy::before(&log, &upstream, "receipt.promise_within_s = 3600");
    let answer = proxy.chat(REQUEST);
    let promise = BASE64.decode(answer.header("counterfoil-promise").unwrap()).unwrap();
    let envelope = Envelope::parse(&promise).unwrap().verify().unwrap();
    let Predicate::Promise(promise) = Statement::parse(&envelope).unwrap().predicate else {
        panic!("a promise")
    };
    let delivered = proxy.delivered(answer.exchange());
    let receipt = statement(&delivered);
    assert_eq!(receipt["predicate"]["claim"], promise.claim.as_str());
    assert_eq!(receipt["predicate"]["issuer"]["key"], envelope.key().as_str());
}

/// What the operator claims of the model is marked as its claim; who answers for it is named.
#[test]
fn claims_come_from_the_configuration() {
    let log = Deployment::start(PROGRAMS, "log.example/claims");
    let upstream = Upstream::saying(json(200, CHAT));
    let weights = "ab".repeat(32);
    let key = SigningKey::from_ed25519_seed(&[8; 32]).public().clone();
    let config = format!(
        "receipt.accountable = {{ key = \"{key}\", respond_within_s = 86400 }}\nreceipt.aliases = {{ \"m-1\" = \"public\" }}\n\
         receipt.open = [\"usage\"]\nreceipt.contents = false\n[[upstream]]\nname = \"one\"\nurl = \"{}\"\n[upstream.claimed]\n\
         name = \"m\"\nweights = \"{weights}\"\nengine = \"vllm\"\nengine_version = \"0.11\"\nquantization = \"fp8\"\nbasis = \"hashed_at_load\"\n",
        upstream.url()
    );
    let mut proxy = Proxy::configure(&log, &config);
    proxy.up();
    let delivered = proxy.delivered(proxy.chat(REQUEST).exchange());
    let predicate = &statement(&delivered)["predicate"];
    let claimed = &predicate["model"]["claimed"];
    assert_eq!((&claimed["weights"], &claimed["basis"]), (&weights.into(), &"hashed_at_load".into()));
    assert_eq!((&claimed["engine"]["name"], &claimed["quantization"]), (&"vllm".into(), &"fp8".into()));
    assert_eq!(
        (&predicate["model"]["requested"], &predicate["model"]["alias"]),
        (&"public".into(), &true.into())
    );
    assert_eq!(predicate["accountable"]["key"], key.as_str());
    assert_eq!(predicate["usage"]["input"], 3);
    let openings = delivered["openings"]["openings"].as_object().unwrap();
    assert!(!openings.keys().any(|label| label.starts_with("part/") || label == "text"), "{openings:?}");
}

/// Openings and claim keys go where the operator wants them, whole, however often the proxy starts.
#[test]
fn openings_are_handed_to_the_operator() {
    let log = Deployment::start(PROGRAMS, "log.example/push");
    let upstream = Upstream::saying(json(200, CHAT));
    let pushed = log.home().join("pushed");
    let hooked = log.home().join("hooked");
    fs::create_dir_all(&pushed).unwrap();
    let more = format!(
        "push = {{ folder = \"{}\", command = [\"/bin/sh\", \"-c\", \"cat $COUNTERFOIL_FILE >> {}\"] }}",
        pushed.display(),
        hooked.display()
    );
    let mut proxy = Proxy::before(&log, &upstream, &more);
    let first = proxy.delivered(proxy.chat(REQUEST).exchange());
    proxy.down();
    proxy.up();
    let second = proxy.delivered(proxy.chat(REQUEST).exchange());
    proxy.until("two were pushed", |_| {
        fs::read_to_string(&hooked).is_ok_and(|text| text.lines().count() >= 2)
    });
    for delivered in [first, second] {
        let id = delivered["id"].as_str().unwrap();
        let read = |kind: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(pushed.join(format!("{id}.{kind}.json"))).unwrap()).unwrap()
        };
        assert_eq!((&read("openings"), &read("claim")), (&delivered["openings"], &delivered["claim"]));
        let lines = fs::read_to_string(&hooked).unwrap();
        let line = lines.lines().find(|line| line.contains(id)).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["openings"], &line["claim"]), (&delivered["openings"], &delivered["claim"]));
    }
}

/// Every protocol gets its receipts, whatever stands before its path; numbers go on over restarts, each naming the one
/// before.
#[test]
fn all_protocols_and_one_chain() {
    let log = Deployment::start(PROGRAMS, "log.example/chain");
    let message = r#"{"id":"msg_1","type":"message","model":"claude-1","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let response = r#"{"id":"resp_1","status":"completed","model":"m-2","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}"#;
    let embedding = r#"{"object":"list","model":"e-1","data":[{"index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":1}}"#;
    let upstream = Upstream::start(move |asked, stream| {
        use std::io::Write as _;
        let answer = match asked.path() {
            path if path.ends_with("messages") => message,
            path if path.ends_with("responses") => response,
            path if path.ends_with("embeddings") => embedding,
            _ => CHAT,
        };
        if asked.path().contains("slow") {
            stream.write_all(STREAM)?;
            stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
            stream.write_all(LAST)?;
        } else {
            stream.write_all(&json(200, answer))?;
        }
        Ok(true)
    });
    let mut proxy = Proxy::before(&log, &upstream, "");
    let mut previous = serde_json::Value::Null;
    let paths = [
        ("/v1/chat/completions", "openai.chat", "m-1-0626"),
        ("/openai/v1/completions", "openai.completions", "m-1-0626"),
        ("/v1/responses", "openai.responses", "m-2"),
        ("/v1/embeddings", "openai.embeddings", "e-1"),
        ("/anthropic/v1/messages", "anthropic.messages", "claude-1"),
    ];
    for (number, (path, protocol, reported)) in paths.into_iter().enumerate() {
        if number == 3 {
            proxy.down();
            proxy.up();
        }
        let answer = proxy.caller().post(path, CREDENTIAL, br#"{"model":"m","input":"x"}"#);
        let delivered = proxy.delivered(answer.exchange());
        verify(&log, &proxy, &delivered, br#"{"model":"m","input":"x"}"#, Some(&answer.body));
        let predicate = statement(&delivered)["predicate"].clone();
        assert_eq!((&predicate["number"], &predicate["previous"]), (&number.into(), &previous));
        assert_eq!(
            (&predicate["api"]["protocol"], &predicate["outcome"]),
            (&protocol.into(), &"complete".into()),
            "{path}"
        );
        assert_eq!(predicate["model"]["reported"]["value"], reported);
        previous = delivered["id"].clone();
    }
}

/// While the log is away answers go out; once it is back their receipts follow, the time counted.
#[test]
fn receipts_wait_for_the_log() {
    let mut log = Deployment::start(PROGRAMS, "log.example/away");
    let upstream = Upstream::saying(json(200, CHAT));
    log.keep_address();
    let proxy = Proxy::before(&log, &upstream, "");
    log.down();
    let answers: Vec<_> = (0..3).map(|_| proxy.chat(REQUEST)).collect();
    for answer in &answers {
        assert_eq!(answer.status(), 200);
        assert!(proxy.receipt(answer.exchange())["bundle"].is_null());
    }
    assert_eq!(proxy.metric("counterfoil_proxy_undelivered"), 3.0);
    log.up();
    for answer in &answers {
        let _ = proxy.delivered(answer.exchange());
    }
    assert_eq!(proxy.metric("counterfoil_proxy_delivery_delay_seconds_count"), 3.0);
    assert!(proxy.metric("counterfoil_proxy_delivery_failures_total") > 0.0);
}

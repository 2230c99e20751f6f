//! How fast one address or one issuer may append: what comes faster is told when to come again, and nobody else waits for it.

use std::{
    fs,
    time::{Duration, Instant},
};

use counterfoil_receipt::SigningKey;
use counterfoil_tests::{Deployment, Issuing, Reply, until};

use crate::PROGRAMS;

/// A log with these lines in its table of rates, and those before its tables.
fn rated(origin: &str, rates: &[(&str, u32)], lines: &str) -> Deployment {
    let mut log = Deployment::init(PROGRAMS, origin, &["--open"]);
    let config = log.directory().join("counterfoil.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    for (name, rate) in rates {
        let start = text.find(&format!("\n{name} = ")).unwrap() + 1;
        let end = start + text[start..].find('\n').unwrap();
        text.replace_range(start..end, &format!("{name} = {rate}"));
    }
    fs::write(&config, format!("{lines}\n{text}")).unwrap();
    log.up();
    log
}

/// Holds a refusal against what is due: when to come again.
fn assert_too_fast(reply: &Reply, who: &str) -> u64 {
    assert_eq!(reply.status, 429, "{}", String::from_utf8_lossy(&reply.body));
    let (problem, wait) = (reply.json(), reply.header("retry-after").unwrap().parse().unwrap());
    assert_eq!(problem["type"], "https://counterfoil.dev/problems/quota", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with(who) && detail.contains(&format!(" in {wait} s")), "{problem}");
    wait
}

/// Lines of a batch that are refused, each of which counts.
fn bad_lines(count: usize) -> Vec<u8> {
    "{}\n".repeat(count).into_bytes()
}

/// Whoever sent a thousand bad records waits for a long time, whatever it says of its address; reading is not counted.
#[test]
fn an_address_waits_its_turn() {
    let log = rated("log.example/per-address", &[("per_address", 1), ("address_burst", 5)], "");
    let (mut http, mut issuing) = (log.http(), Issuing::new(&log.origin, 1));
    assert_eq!(http.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap().status, 201);
    let spent = http.post("/v1/receipts/batch", &bad_lines(900)).unwrap();
    assert_eq!((spent.status, spent.text().lines().count()), (200, 900));
    let (_, next) = issuing.issue();
    for (path, headers) in [
        ("/v1/receipts", ""),
        ("/v1/receipts/batch", ""),
        ("/v1/receipts", "X-Forwarded-For: 198.51.100.1\r\n"),
        ("/v1/receipts", "Forwarded: for=198.51.100.1\r\nX-Real-IP: 198.51.100.1\r\n"),
    ] {
        let wait = assert_too_fast(&http.post_with(path, headers, next.as_bytes()).unwrap(), "this address");
        assert!((300..=900).contains(&wait), "{wait}");
    }
    let checkpoint = http.get("/checkpoint").unwrap();
    assert_eq!(checkpoint.text().lines().nth(1), Some("2"), "nothing of it was stored");
    assert!(http.get("/metrics").unwrap().text().contains("counterfoil_rejects_total{reason=\"quota\"} 4\n"));
}

/// Behind a proxy of ours each of its clients is counted for itself, by what the proxy has seen and not by what they say.
#[test]
fn a_proxy_tells_who_asks() {
    let lines = "proxies = [\"127.0.0.0/8\", \"fd00::/8\"]";
    let log = rated("log.example/proxied", &[("per_address", 1), ("address_burst", 5)], lines);
    let (mut http, mut issuing) = (log.http(), Issuing::new(&log.origin, 1));
    let from = |forwarded: &str| format!("X-Forwarded-For: {forwarded}\r\n");
    for who in ["198.51.100.1", "2001:db8::1"] {
        let spent = http.post_with("/v1/receipts/batch", &from(who), &bad_lines(900)).unwrap();
        assert_eq!(spent.status, 200);
    }
    for (who, may) in [
        ("198.51.100.1", false),
        ("198.51.100.2", true),
        ("198.51.100.2, 198.51.100.1", false),
        ("198.51.100.2\r\nX-Forwarded-For: 198.51.100.1, 127.0.0.2", false),
        ("198.51.100.1, 198.51.100.3, fd00::7", true),
        ("2001:db8::ffff:1", false),
        ("2001:db8:0:1::1", true),
        ("::ffff:198.51.100.1", false),
    ] {
        let (_, envelope) = issuing.issue();
        let reply = http.post_with("/v1/receipts", &from(who), envelope.as_bytes()).unwrap();
        if may {
            assert_eq!(reply.status, 201, "{who}: {}", reply.text());
        } else {
            assert_too_fast(&reply, "this address");
        }
    }
}

/// An issuer that appends too fast waits; another does not, nor does what the log has already; and nobody spends what is
/// another's without its key.
#[test]
fn an_issuer_waits_its_turn() {
    const BURST: u64 = 5;
    let log = rated("log.example/per-issuer", &[("per_issuer", 1), ("issuer_burst", 5)], "");
    let key = |seed| SigningKey::from_ed25519_seed(&[seed; 32]);
    let [mut fast, mut other] = [1, 2].map(|seed| Issuing::with_key(&log.origin, seed.into(), key(seed)));
    let mut http = log.http();
    let batch = |lines: &[String]| {
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect::<Vec<_>>()
    };
    let (_, good) = fast.issue();
    let forged: Vec<_> = (0..50).map(|n| good.replacen("\"sig\":\"", &format!("\"sig\":\"{n}"), 1)).collect();
    assert_ne!(forged[0], good);
    assert_eq!(http.post("/v1/receipts/batch", &batch(&forged)).unwrap().status, 200);

    let began = Instant::now();
    let envelopes: Vec<_> = std::iter::once(good.clone()).chain((1..200).map(|_| fast.issue().1)).collect();
    let answers = http.post("/v1/receipts/batch", &batch(&envelopes)).unwrap();
    assert_eq!(answers.status, 200);
    let answers: Vec<serde_json::Value> =
        answers.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let taken = answers.iter().filter(|answer| answer["index"].is_u64()).count() as u64;
    assert!((BURST..=BURST + 1 + began.elapsed().as_secs()).contains(&taken), "{taken} were taken");
    for refused in answers.iter().skip(1).filter(|answer| !answer["index"].is_u64()) {
        assert_eq!(refused["error"]["status"], 429, "{refused}");
        assert!(refused["error"]["detail"].as_str().unwrap().starts_with("this issuer"), "{refused}");
    }
    let known = http.post("/v1/receipts", good.as_bytes()).unwrap();
    assert_eq!(known.status, 200, "what is there already is not counted: {}", known.text());
    assert_eq!(http.post("/v1/receipts", other.issue().1.as_bytes()).unwrap().status, 201);

    let too_fast = (0..200).find_map(|_| {
        let (_, envelope) = fast.issue();
        let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
        (reply.status != 201).then_some((envelope, reply))
    });
    let (envelope, reply) = too_fast.expect("a limit is met");
    let wait = assert_too_fast(&reply, "this issuer");
    assert_eq!(wait, 1);
    std::thread::sleep(Duration::from_secs(wait));
    let is_taken = || http.post("/v1/receipts", envelope.as_bytes()).unwrap().status == 201;
    until(is_taken, "it may come later");
}

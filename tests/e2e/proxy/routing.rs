//! Which upstream answers, and what happens when it does not.

use std::{
    io::Write as _,
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, STREAM, Upstream, chunk, json},
};

use super::stage::{CREDENTIAL, Proxy, statement, verify};
use crate::PROGRAMS;

/// The upstream is found by path and model; prefixes are taken off, bases put before.
#[test]
fn upstreams_are_found_by_path_and_model() {
    let log = Deployment::start(PROGRAMS, "log.example/routes");
    let upstreams: Vec<Upstream> = (0..3).map(|_| Upstream::saying(json(200, CHAT))).collect();
    let table = |n: usize, more: &str, base: &str| {
        format!("[[upstream]]\nname = \"{n}\"\nurl = \"{}{base}\"\n{more}\n", upstreams[n].url())
    };
    let config = [
        table(0, "prefix = \"/openai\"\nmodels = [\"gpt-*\"]", ""),
        table(1, "prefix = \"/openai\"", "/api"),
        table(2, "prefix = \"/anthropic\"", ""),
    ];
    let mut proxy = Proxy::configure(&log, &config.concat());
    proxy.up();
    let call = |path: &str, body: &str| proxy.caller().post(path, CREDENTIAL, body.as_bytes()).status();
    assert_eq!(call("/openai/v1/chat/completions", r#"{"model":"gpt-4"}"#), 200);
    assert_eq!(call("/openai/v1/chat/completions?a=b", r#"{"model":"o3"}"#), 200);
    assert_eq!(call("/openai/v1/chat/completions", "no JSON"), 200);
    assert_eq!(call("/anthropic/v1/messages", "{}"), 200);
    assert_eq!(call("/v1/chat/completions", "{}"), 404);
    assert_eq!(proxy.caller().get("/openai/v1/models", CREDENTIAL).status(), 200);
    let paths =
        |n: usize| upstreams[n].asked().iter().map(|asked| asked.path().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(0), ["/v1/chat/completions"]);
    assert_eq!(paths(1), ["/api/v1/chat/completions?a=b", "/api/v1/chat/completions", "/api/v1/models"]);
    assert_eq!(paths(2), ["/v1/messages"]);
}

/// Attempts that fail before a byte went out are made again, elsewhere if need be, and all of them are in the receipt.
#[test]
fn attempts_are_in_the_receipt() {
    let log = Deployment::start(PROGRAMS, "log.example/attempts");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let busy = Upstream::saying(json(503, "{}"));
    let good = Upstream::saying(json(200, CHAT));
    let config = format!(
        "receipt.open = [\"attempts\"]\nretry.attempts = 1\n\
         [[upstream]]\nname = \"a\"\nurl = \"{}\"\nfallback = [\"b\", \"c\"]\n[upstream.claimed]\nname = \"of a\"\n\
         [[upstream]]\nname = \"b\"\nurl = \"http://{nobody}\"\nprefix = \"/b\"\n\
         [[upstream]]\nname = \"c\"\nurl = \"{}\"\nprefix = \"/c\"\n[upstream.claimed]\nname = \"of c\"\n",
        busy.url(),
        good.url()
    );
    let mut proxy = Proxy::configure(&log, &config);
    proxy.up();
    let answer = proxy.chat(r#"{"model":"m-1"}"#);
    assert_eq!((answer.status(), answer.text()), (200, CHAT));
    let delivered = proxy.delivered(answer.exchange());
    verify(&log, &proxy, &delivered, br#"{"model":"m-1"}"#, Some(&answer.body));
    let predicate = statement(&delivered)["predicate"].clone();
    let attempts: Vec<_> = predicate["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["upstream"].as_str().unwrap().to_owned(), attempt["status"].as_u64()))
        .collect();
    let (busy, good, nobody) = (busy.address.to_string(), good.address.to_string(), nobody.to_string());
    let expected =
        [(&busy, Some(503)), (&busy, Some(503)), (&nobody, None), (&nobody, None), (&good, Some(200))];
    assert_eq!(attempts, expected.map(|(upstream, status)| (upstream.clone(), status)));
    assert_eq!(predicate["model"]["claimed"]["name"], "of c", "who answered");
    assert_eq!(predicate["attempts"][0]["model"], "m-1");
}

/// Once a byte of an answer went out there is no other attempt.
#[test]
fn no_attempt_follows_the_first_byte() {
    let log = Deployment::start(PROGRAMS, "log.example/first-byte");
    let upstream = Upstream::start(|_, stream| {
        stream.write_all(STREAM)?;
        stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
        Ok(false)
    });
    let proxy = Proxy::before(&log, &upstream, "retry.attempts = 3");
    let answer = proxy.chat("{}");
    assert_eq!((answer.text(), answer.is_whole), (EVENTS[1], false));
    let _ = proxy.delivered(answer.exchange());
    assert_eq!(upstream.asked().len(), 1);
}

/// The last attempt's answer is the caller's, whatever it is.
#[test]
fn the_last_answer_passes() {
    let log = Deployment::start(PROGRAMS, "log.example/last");
    let asked = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_, stream| {
        let n = asked.fetch_add(1, Ordering::Relaxed);
        stream.write_all(&json(503, &format!("{{\"n\":{n}}}"))).map(|()| true)
    });
    let proxy = Proxy::before(&log, &upstream, "retry.attempts = 2");
    let answer = proxy.chat("{}");
    assert_eq!((answer.status(), answer.text()), (503, "{\"n\":2}"));
}

//! No answer without a receipt that lasts; or answers whatever becomes of their receipts.

use std::{io::Write as _, process::Command, sync::mpsc};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, LAST, STREAM, Upstream, chat_stream, chunk, json},
};

use super::stage::{CREDENTIAL, Proxy, verify};
use crate::PROGRAMS;

/// In strict mode a full spool takes nothing, and no upstream is asked; in the other answers go out and are counted.
#[test]
fn a_full_spool_applies_the_mode() {
    let log = Deployment::start(PROGRAMS, "log.example/full");
    let upstream = Upstream::saying(json(200, CHAT));
    for mode in ["strict", "fail-open"] {
        let more = format!("mode = \"{mode}\"\nkeep.spool_bytes_max = 1000");
        let proxy = Proxy::before(&log, &upstream, &more);
        assert!(!proxy.is_well());
        let before = upstream.asked().len();
        let answer = proxy.chat("{}");
        assert_eq!(answer.header("counterfoil-exchange"), None, "{}", answer.head);
        if mode == "strict" {
            assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("5")));
            assert_eq!(upstream.asked().len(), before);
            assert_eq!(proxy.metric("counterfoil_proxy_refused_total{reason=\"spool-full\"}"), 1.0);
        } else {
            assert_eq!((answer.status(), answer.text()), (200, CHAT));
        }
        assert_eq!(proxy.metric("counterfoil_proxy_unreceipted_total{reason=\"spool-full\"}"), 1.0);
    }
}

/// In strict mode answers pass whole, each event as it comes but the one that ends the stream: that waits for the receipt.
#[test]
fn strict_answers_are_whole_and_hold_their_end_only() {
    let log = Deployment::start(PROGRAMS, "log.example/strict");
    let (seen, next) = mpsc::channel::<()>();
    let next = std::sync::Mutex::new(next);
    let upstream = Upstream::start(move |asked, stream| {
        if asked.path().starts_with("/plain") {
            return stream.write_all(&json(200, CHAT)).map(|()| true);
        }
        if asked.path().starts_with("/error") {
            return stream.write_all(&json(429, "{\"error\":{}}")).map(|()| true);
        }
        stream.write_all(STREAM)?;
        for event in EVENTS {
            stream.write_all(&chunk(event.as_bytes()))?;
            next.lock().unwrap().recv().unwrap();
        }
        stream.write_all(LAST).map(|()| true)
    });
    let proxy = Proxy::before(&log, &upstream, "mode = \"strict\"");
    for (way, status) in [("/plain", 200), ("/error", 429)] {
        let answer = proxy.caller().post(&format!("{way}/v1/chat/completions"), CREDENTIAL, b"{}");
        assert_eq!((answer.status(), answer.is_whole), (status, true));
        // The answer is there, so its receipt is.
        let looked_up = proxy.look_up(answer.exchange());
        assert_eq!(looked_up.status(), 200, "{}", looked_up.text());
        let delivered = proxy.delivered(answer.exchange());
        verify(&log, &proxy, &delivered, b"{}", Some(&answer.body));
    }
    let mut caller = proxy.caller();
    caller.send_post("/v1/chat/completions", CREDENTIAL, b"{\"stream\":true}");
    let head = caller.head();
    for event in &EVENTS[..3] {
        assert_eq!(caller.chunk().unwrap(), event.as_bytes());
        seen.send(()).unwrap();
    }
    let exchange = super::caller::Answer { head, ..super::caller::Answer::default() }.exchange().to_owned();
    assert_eq!(proxy.look_up(&exchange).status(), 202, "the last event is held: the stream has not ended");
    seen.send(()).unwrap();
    assert_eq!(caller.chunk().unwrap(), EVENTS[3].as_bytes());
    assert_eq!(proxy.look_up(&exchange).status(), 200, "it is there, so its receipt is");
    assert!(caller.chunk().unwrap().is_empty());
    let delivered = proxy.delivered(&exchange);
    verify(&log, &proxy, &delivered, b"{\"stream\":true}", Some(EVENTS.concat().as_bytes()));
    assert!(proxy.metric("counterfoil_proxy_held_back_seconds_count") >= 3.0);
}

/// A disk that is full when the receipt is to be written: strict answers do not come to their end, others do. Here no file of
/// the proxy may grow any more.
#[test]
fn a_disk_that_fills_applies_the_mode() {
    let log = Deployment::start(PROGRAMS, "log.example/disk");
    let upstream = Upstream::saying(chat_stream());
    // Longer than what the proxy writes to its log, which may not grow beyond it either.
    let long = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(600_000));
    for mode in ["strict", "fail-open"] {
        let more = format!("mode = \"{mode}\"\nspool = \"{mode}\"");
        let config = super::stage::one(&upstream, &more).replace("keep.bodies = \"bodies\"", "");
        let mut proxy = Proxy::configure(&log, &config);
        proxy.replace("spool = \"spool\"\n", "");
        proxy.up();
        let first = proxy.chat(&long);
        assert!(first.is_whole);
        let _ = proxy.delivered(first.exchange());
        let written = std::fs::read_dir(proxy.home().join(mode).join("segments")).unwrap();
        let written: u64 = written.map(|segment| segment.unwrap().metadata().unwrap().len()).sum();
        assert!(written > 600_000 && written > 2 * proxy.log().len() as u64, "{written} bytes");
        limit_files(&proxy, &(written + 20).to_string());
        let answer = proxy.chat("{}");
        if mode == "strict" {
            assert!(!answer.is_whole || answer.status() == 503, "{} {}", answer.head, answer.text());
            assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
        } else {
            assert!(answer.is_whole);
            assert_eq!(answer.text(), EVENTS.concat());
        }
        proxy.until("it is counted", |proxy| {
            proxy.metric("counterfoil_proxy_unreceipted_total{reason=\"not-written\"}") == 1.0
        });
        limit_files(&proxy, "unlimited");
        let third = proxy.chat("{}");
        assert!(third.is_whole);
        let third = proxy.delivered(third.exchange());
        // The one that failed spent no number: the third follows the first.
        let numbering = super::stage::statement(&third)["predicate"].clone();
        assert_eq!(
            (&numbering["number"], &numbering["previous"]),
            (&1.into(), &proxy.receipt(first.exchange())["id"])
        );
        proxy.down();
    }
}

/// No file that the proxy writes may be longer.
fn limit_files(proxy: &Proxy, bytes: &str) {
    let limits = Command::new("prlimit")
        .args([format!("--pid={}", proxy.process()), format!("--fsize={bytes}:")])
        .output();
    let limits = limits.expect("prlimit is there");
    assert!(limits.status.success(), "{}", String::from_utf8_lossy(&limits.stderr));
}

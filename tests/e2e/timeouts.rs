//! Who sends slowly, or nothing, does not hold a connection for ever; who is one too many waits for a place.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use counterfoil_tests::{Deployment, Http};

use crate::PROGRAMS;

/// A log whose limits are so changed.
fn limited(origin: &str, changes: &[(&str, &str)]) -> Deployment {
    let mut log = Deployment::init(PROGRAMS, origin, &["--open"]);
    let config = log.directory().join("counterfoil.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} in {text}");
        text = text.replace(from, to);
    }
    fs::write(&config, text).unwrap();
    log.up();
    log
}

/// Sends the bytes and reads until the server closes.
fn until_closed(log: &Deployment, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(log.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let started = Instant::now();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer, started.elapsed())
}

/// Nothing at all, half a head, an idle kept-alive connection and a body that stops are all ended in time.
#[test]
fn slow_senders_are_ended() {
    let log = limited(
        "log.example/slow",
        &[("header_timeout_s = 15", "header_timeout_s = 1"), ("body_timeout_s = 15", "body_timeout_s = 1")],
    );
    let whole = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    let stalled = b"POST /v1/receipts HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{";
    for (sent, status) in
        [(&b""[..], None), (b"GET /healthz HT", None), (whole, Some("200")), (stalled, Some("408"))]
    {
        let (answer, elapsed) = until_closed(&log, sent);
        let context = format!("{:?}: {answer} after {elapsed:?}", String::from_utf8_lossy(sent));
        assert!(elapsed < Duration::from_secs(10), "{context}");
        assert!(elapsed >= Duration::from_millis(800), "{context}");
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{context}");
        }
    }
}

/// With all places taken a further connection is not served until one is free.
#[test]
fn connections_are_capped() {
    let log = limited("log.example/cap", &[("connections_max = 4096", "connections_max = 2")]);
    let ask = |http: &mut Http| http.get("/healthz").unwrap().status;
    let (mut first, mut second) = (log.http(), log.http());
    assert_eq!((ask(&mut first), ask(&mut second)), (200, 200));
    let mut third = TcpStream::connect(log.address()).unwrap();
    third.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut answer = [0; 12];
    assert!(third.read_exact(&mut answer).is_err(), "both places are taken");
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

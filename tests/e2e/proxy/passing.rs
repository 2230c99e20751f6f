//! Nothing changes on the way through.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    sync::mpsc,
};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, LAST, STREAM, Upstream, chat_stream, chunk},
};

use super::{
    caller::Caller,
    stage::{CREDENTIAL, Proxy},
};
use crate::PROGRAMS;

/// Lines of a head but for the first, in order.
fn lines(head: &str) -> Vec<&str> {
    head.lines().skip(1).collect()
}

/// Request and answer arrive as they were sent, however odd, but for the host and the lines of each connection.
#[test]
fn heads_and_bodies_pass_as_they_are() {
    let log = Deployment::start(PROGRAMS, "log.example/passing");
    let head = "HTTP/1.1 200 Quite Fine\r\nSet-Cookie: a=1\r\nX-ODD-case: \u{e9}\u{fc}\r\nset-cookie: b=2\r\nServer: up\r\n\
                content-type: application/json\r\nContent-Length: ";
    let answer = format!("{head}{}\r\n\r\n{CHAT}", CHAT.len());
    let upstream = Upstream::saying(answer.clone());
    let proxy = Proxy::before(&log, &upstream, "");
    let body = b"{\"model\" : \"m-1\",\"messages\":[], \"unknown\":1.50}\n";
    let asking = "X-b: 2\r\nAuthorization: Bearer of-the-caller\r\nx-A: 1\r\nX-B: 3\r\nAccept-Encoding: br, zstd\r\nAccept: */*\r\n";
    for (path, is_logged) in [("/v1/chat/completions?beta=%20x", true), ("/v1/files?beta=%20x", false)] {
        let got = proxy.caller().post(path, asking, body);
        assert!(got.is_whole);
        assert_eq!(got.body, CHAT.as_bytes());
        assert_eq!(got.head.lines().next(), Some("HTTP/1.1 200 Quite Fine"));
        assert_eq!(lines(&got.head).len(), 6 + usize::from(is_logged), "{}", got.head);
        let expected = answer.split("\r\n\r\n").next().unwrap();
        let mut sent = lines(expected);
        // Lines of one name keep their order; HTTP gives no meaning to the order of names.
        sent[2] = "Set-Cookie: b=2";
        let head = got.upstreams_head();
        let mut passed = lines(&head);
        for line in sent {
            let at = passed.iter().position(|found| found.eq_ignore_ascii_case(line));
            passed.remove(at.unwrap_or_else(|| panic!("{line} in {passed:?}")));
        }
        assert!(passed.is_empty(), "{passed:?}");
        assert!(got.head.contains("X-ODD-case: \u{e9}\u{fc}\r\n"), "{}", got.head);

        let asked = upstream.asked().pop().unwrap();
        assert_eq!((asked.path(), asked.body.as_slice()), (path, &body[..]));
        let mut expected: Vec<String> =
            lines(&format!("\r\n{asking}")).into_iter().map(str::to_owned).collect();
        expected.extend([format!("Host: {}", upstream.address), format!("Content-Length: {}", body.len())]);
        let mut got: Vec<&str> = lines(&asked.head);
        expected.sort_by_key(|line| line.to_lowercase());
        got.sort_by_key(|line| line.to_lowercase());
        let lower = |line: &str| line.to_lowercase();
        assert_eq!(
            got.iter().map(|it| lower(it)).collect::<Vec<_>>(),
            expected.iter().map(|it| lower(it)).collect::<Vec<_>>()
        );
        assert!(asked.head.contains("x-A: 1\r\n") && asked.head.contains("X-b: 2\r\n"), "{}", asked.head);
    }
    proxy.until("a request that calls no model is counted", |proxy| {
        proxy.metric("counterfoil_proxy_passed_total") >= 1.0
    });
    proxy.until("the other has its receipt", |proxy| proxy.metric("counterfoil_proxy_receipts_total") == 1.0);
}

/// Each event is there before the next one is sent: nothing waits for the end, nothing is cut differently.
#[test]
fn events_pass_as_they_come() {
    let log = Deployment::start(PROGRAMS, "log.example/events");
    let (seen, next) = mpsc::channel::<()>();
    let next = std::sync::Mutex::new(next);
    let upstream = Upstream::start(move |_, stream| {
        stream.write_all(STREAM)?;
        for event in EVENTS {
            stream.write_all(&chunk(event.as_bytes()))?;
            // Only when the caller has it does the next one follow.
            next.lock().unwrap().recv().unwrap();
        }
        stream.write_all(LAST).map(|()| true)
    });
    let proxy = Proxy::before(&log, &upstream, "");
    let mut caller = proxy.caller();
    caller.send_post("/v1/chat/completions", CREDENTIAL, br#"{"model":"m-1","stream":true}"#);
    let head = caller.head();
    assert!(head.contains("Counterfoil-Exchange") || head.contains("counterfoil-exchange"), "{head}");
    for event in EVENTS {
        assert_eq!(caller.chunk().unwrap(), event.as_bytes());
        seen.send(()).unwrap();
    }
    assert!(caller.chunk().unwrap().is_empty(), "the end");
}

/// What the proxy knows nothing of, even another protocol, passes.
#[test]
fn upgrades_pass() {
    let log = Deployment::start(PROGRAMS, "log.example/upgrade");
    let upstream = Upstream::start(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )?;
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes)?;
        bytes.reverse();
        stream.write_all(&bytes)?;
        stream.shutdown(Shutdown::Both).map(|()| false)
    });
    let proxy = Proxy::before(&log, &upstream, "");
    let mut caller = proxy.caller();
    caller.send(b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    caller.send(b"hello").unwrap();
    assert_eq!(caller.rest(), b"olleh");
    assert!(upstream.asked()[0].head.to_lowercase().contains("upgrade: websocket"));
}

/// One connection serves one exchange after another, and callers of HTTP/1.0 are served as well.
#[test]
fn connections_are_used_again() {
    let log = Deployment::start(PROGRAMS, "log.example/again");
    let upstream = Upstream::saying(chat_stream());
    let proxy = Proxy::before(&log, &upstream, "");
    let mut caller = proxy.caller();
    let whole: String = EVENTS.concat();
    for _ in 0..3 {
        let answer = caller.post("/v1/chat/completions", CREDENTIAL, b"{\"stream\":true}");
        assert!(answer.is_whole);
        assert_eq!(answer.text(), whole);
    }
    let mut old = Caller::connect(proxy.address());
    old.send(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    assert_eq!(old.answer().text(), whole);
}

//! What strangers send, from both sides: passed or refused, receipted as what it is, held in bounds, never changed.

use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, LAST, STREAM, Upstream, chunk, json, plain},
};

use super::stage::{CREDENTIAL, Proxy, opened, statement, verify};
use crate::PROGRAMS;

/// Memory that the process takes, in MiB.
fn memory_mib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Stored blocks: a gzip that anybody can write (RFC 1951, 3.2.4; RFC 1952).
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for (n, block) in bytes.chunks(0xffff).enumerate() {
        let is_last = (n + 1) * 0xffff >= bytes.len();
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(is_last));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let crc = bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out
}

/// Answers that are not what they should be arrive byte for byte, and have receipts.
#[test]
fn odd_answers_pass_and_have_receipts() {
    let log = Deployment::start(PROGRAMS, "log.example/odd");
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let zipped = gzip(CHAT.as_bytes());
    let with = |content_type: &str, encoding: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let stream = |bytes: &[u8]| [STREAM, &chunk(bytes), LAST].concat();
    let cases: Vec<(&str, Vec<u8>, Vec<u8>, &str)> = vec![
        ("no JSON", plain(200, "application/json", b"<html>"), b"<html>".to_vec(), "upstream_error"),
        (
            "not UTF-8",
            plain(200, "application/json", b"{\"a\":\"\xff\xfe\"}"),
            b"{\"a\":\"\xff\xfe\"}".to_vec(),
            "upstream_error",
        ),
        ("deep", json(200, &deep), deep.clone().into_bytes(), "upstream_error"),
        (
            "a key twice",
            json(200, "{\"choices\":[],\"choices\":[]}"),
            b"{\"choices\":[],\"choices\":[]}".to_vec(),
            "upstream_error",
        ),
        ("gzip", with("application/json", "gzip", &zipped), zipped.clone(), "complete"),
        ("not gzip", with("application/json", "gzip", CHAT.as_bytes()), CHAT.into(), "complete"),
        ("unknown encoding", with("application/json", "rot13", CHAT.as_bytes()), CHAT.into(), "complete"),
        (
            "bytes in a stream",
            stream(b"data: \xff\xfe\n\ndata: [DONE]\n\n"),
            b"data: \xff\xfe\n\ndata: [DONE]\n\n".to_vec(),
            "aborted_by_upstream",
        ),
        (
            "no events",
            stream(b"this is no stream of events"),
            b"this is no stream of events".to_vec(),
            "aborted_by_upstream",
        ),
        (
            "too long a length",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}and more"
                .to_vec(),
            b"{}".to_vec(),
            "upstream_error",
        ),
    ];
    let answers: Vec<Vec<u8>> = cases.iter().map(|(_, answer, ..)| answer.clone()).collect();
    let upstream = Upstream::start(move |asked, stream| {
        let n: usize = asked.path().split('/').nth(1).unwrap().parse().unwrap();
        stream.write_all(&answers[n]).map(|()| false)
    });
    let proxy = Proxy::before(&log, &upstream, "");
    for (n, (name, _, body, outcome)) in cases.iter().enumerate() {
        let answer = proxy.caller().post(&format!("/{n}/v1/chat/completions"), CREDENTIAL, b"{}");
        assert_eq!(&answer.body, body, "{name}");
        let delivered = proxy.delivered(answer.exchange());
        verify(&log, &proxy, &delivered, b"{}", Some(&answer.body));
        assert_eq!(statement(&delivered)["predicate"]["outcome"], *outcome, "{name}");
        if *name == "gzip" {
            assert_eq!(opened(&delivered, "group/usage")["output"], 2, "read through its encoding");
        }
    }
}

/// Requests that are not what they should be go to the upstream as they are, and have receipts.
#[test]
fn odd_requests_pass_and_have_receipts() {
    let log = Deployment::start(PROGRAMS, "log.example/odd-requests");
    let upstream = Upstream::saying(json(400, "{\"error\":{}}"));
    let proxy = Proxy::before(&log, &upstream, "");
    let deep = format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let long = format!("{{\"model\":\"{}\"}}", "m".repeat(5_000));
    let control = "{\"model\":\"a\\u0000b\",\"stream\":\"yes\",\"messages\":7}";
    for body in [
        &b""[..],
        b"no JSON",
        b"\xff\xfe",
        b"{\"model\":17}",
        deep.as_bytes(),
        long.as_bytes(),
        control.as_bytes(),
    ] {
        let answer = proxy.caller().post("/v1/chat/completions", CREDENTIAL, body);
        assert_eq!(answer.status(), 400);
        assert_eq!(upstream.asked().pop().unwrap().body, body);
        let delivered = proxy.delivered(answer.exchange());
        verify(&log, &proxy, &delivered, body, Some(&answer.body));
        let requested = &statement(&delivered)["predicate"]["model"]["requested"];
        assert!(requested.is_null() || body == deep.as_bytes(), "{requested}");
    }
    // In chunks, with an extension and a trailer: the same body.
    let mut caller = proxy.caller();
    let chunked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{\"\r\n3\r\na\":\r\n2\r\n1}\r\n0\r\nX-T: 1\r\n\r\n";
    caller.send(chunked).unwrap();
    assert_eq!(caller.answer().status(), 400);
    assert_eq!(upstream.asked().pop().unwrap().body, b"{\"a\":1}");
}

/// What HTTP does not allow is refused, and nobody is asked.
#[test]
fn what_http_forbids_is_refused() {
    let log = Deployment::start(PROGRAMS, "log.example/forbidden");
    let upstream = Upstream::saying(json(200, CHAT));
    let proxy = Proxy::before(&log, &upstream, "limits.request_bytes_max = 1000");
    let long = "x".repeat(200_000);
    for request in [
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
            .to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n{}".to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n{}"
            .to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("POST /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("POST /v1/chat/completions HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500)),
        "\0\x01\x02 nonsense\r\n\r\n".to_owned(),
    ] {
        let mut caller = proxy.caller();
        let _ = caller.send(request.as_bytes());
        let answer = caller.answer();
        assert!(
            matches!(answer.status(), 0 | 400..=499),
            "{}\n{}",
            &request[..60.min(request.len())],
            answer.head
        );
    }
    // A length beside chunks: smuggling. It is refused, or read as chunks alone.
    let mut caller = proxy.caller();
    let both = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    caller.send(both.as_bytes()).unwrap();
    let answer = caller.answer();
    let asked = upstream.asked();
    assert!(answer.status() == 400 || (asked.len() == 1 && asked[0].body == b"{}"), "{}", answer.head);

    // Too long: refused by what it says, and by what comes.
    let before = upstream.asked().len();
    let body = vec![b' '; 1001];
    let refused = proxy.caller().post("/v1/chat/completions", CREDENTIAL, &body);
    assert_eq!(refused.status(), 413);
    let delivered = proxy.delivered(refused.exchange());
    assert_eq!(statement(&delivered)["predicate"]["outcome"], "proxy_error");
    let mut caller = proxy.caller();
    caller
        .send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    caller.send(&chunk(&body)).unwrap();
    assert_eq!(caller.answer().status(), 413);
    assert_eq!(upstream.asked().len(), before);
}

/// A stream without end, an event without end, calls without number, a long body: they pass, and little of them is held.
#[test]
fn endless_answers_are_held_in_bounds() {
    let log = Deployment::start(PROGRAMS, "log.example/endless");
    let upstream = Upstream::start(|asked, stream| {
        let way = asked.path().split('/').nth(1).unwrap().to_owned();
        let endless = |stream: &mut TcpStream, piece: &[u8]| -> io::Result<bool> {
            stream.write_all(STREAM)?;
            for _ in 0..(32 << 20) / piece.len() {
                stream.write_all(&chunk(piece))?;
            }
            Ok(false)
        };
        match way.as_str() {
            "events" => endless(stream, EVENTS[1].repeat(400).as_bytes()),
            "event" => endless(stream, &[b'x'; 65_536]),
            "lines" => endless(stream, "data: x\n".repeat(8_192).as_bytes()),
            "calls" => {
                stream.write_all(STREAM)?;
                for n in 0..100_000 {
                    let event = format!(
                        "data: {{\"choices\":[{{\"index\":{},\"delta\":{{\"tool_calls\":[{{\"index\":{n}}}]}}}}]}}\n\n",
                        n % 500
                    );
                    stream.write_all(&chunk(event.as_bytes()))?;
                }
                Ok(false)
            }
            "body" => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 268435456\r\n\r\n",
                )?;
                (0..4096).try_for_each(|_| stream.write_all(&[b'['; 65_536]))?;
                Ok(true)
            }
            other => panic!("{other}"),
        }
    });
    let proxy = Proxy::before(&log, &upstream, "");
    for way in ["events", "event", "lines", "calls", "body"] {
        let mut caller = proxy.caller();
        caller.send_post(&format!("/{way}/v1/chat/completions"), CREDENTIAL, b"{}");
        let answer = caller.answer();
        assert!(answer.body.len() > 4 << 20, "{way}: {}", answer.body.len());
        let delivered = proxy.delivered(answer.exchange());
        let expected = if way == "body" { "complete" } else { "aborted_by_upstream" };
        assert_eq!(statement(&delivered)["predicate"]["outcome"], expected, "{way}");
        assert_eq!(opened(&delivered, "group/lengths")["response"], answer.body.len(), "{way}");
    }
    let held = memory_mib(proxy.process());
    assert!(held < 200, "{held} MiB");
    assert!(proxy.metric("counterfoil_proxy_contents_left_out_total") >= 1.0);
}

/// A caller that takes nothing holds its own stream up and nobody else's, and little of it is held.
#[test]
fn a_caller_that_takes_nothing_is_waited_for_in_bounds() {
    let log = Deployment::start(PROGRAMS, "log.example/slow");
    let upstream = Upstream::start(|asked, stream| {
        if asked.path().starts_with("/v1") {
            return stream.write_all(&json(200, CHAT)).map(|()| true);
        }
        stream.write_all(STREAM)?;
        let piece = chunk(EVENTS[1].repeat(400).as_bytes());
        for _ in 0..4_000 {
            stream.write_all(&piece)?;
        }
        Ok(false)
    });
    let proxy = Proxy::before(&log, &upstream, "limits.idle_timeout_s = 2");
    let before = memory_mib(proxy.process());
    let mut idle: Vec<_> = (0..20).map(|_| proxy.caller()).collect();
    for caller in &mut idle {
        caller.send_post("/slow/v1/chat/completions", CREDENTIAL, b"{}");
    }
    proxy.until("all are under way", |proxy| proxy.metric("counterfoil_proxy_under_way") == 20.0);
    for _ in 0..20 {
        assert_eq!(proxy.chat("{}").status(), 200);
    }
    let aborted = "counterfoil_proxy_exchanges_total{protocol=\"openai.chat\",outcome=\"aborted_by_client\"}";
    proxy.until("they are given up", |proxy| proxy.metric(aborted) == 20.0);
    let more = memory_mib(proxy.process()) - before;
    assert!(more < 60, "{more} MiB");
}

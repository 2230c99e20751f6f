//! However an exchange ends, it gets a receipt that says so, and commits to what was sent.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, EVENTS, LAST, STREAM, Upstream, chunk, json},
};
use serde_json::Value;

use super::{
    caller::Answer,
    stage::{CREDENTIAL, Proxy, opened, statement, verify},
};
use crate::PROGRAMS;

const REQUEST: &str = r#"{"model":"m-1","messages":[]}"#;

fn outcome(delivered: &Value) -> String {
    statement(delivered)["predicate"]["outcome"].as_str().unwrap().to_owned()
}

/// Calls a path of the upstream below and checks the receipt of what came back.
fn check(log: &Deployment, proxy: &Proxy, way: &str) -> (Answer, Value) {
    let path = format!("/{way}/v1/chat/completions");
    let answer = proxy.caller().post(&path, CREDENTIAL, REQUEST.as_bytes());
    let delivered = proxy.delivered(answer.exchange());
    verify(log, proxy, &delivered, REQUEST.as_bytes(), Some(&answer.body));
    (answer, delivered)
}

/// An upstream that answers as the first segment of the path says.
fn upstream() -> Upstream {
    Upstream::start(|asked, stream| {
        let chat = |reason: &str| CHAT.replace("\"stop\"", &format!("\"{reason}\""));
        match asked.path().split('/').nth(1).unwrap() {
            "length" => stream.write_all(&json(200, &chat("length")))?,
            "filter" => stream.write_all(&json(200, &chat("content_filter")))?,
            "refusal" => {
                let refused = CHAT.replace("\"content\":\"Hello.\"", "\"content\":null,\"refusal\":\"No.\"");
                stream.write_all(&json(200, &refused))?;
            }
            "error" => stream.write_all(&json(529, r#"{"error":{"type":"overloaded_error"}}"#))?,
            "cut-stream" => {
                stream.write_all(STREAM)?;
                stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
                stream.write_all(b"ff\r\ndata: {\"choi")?;
                stream.shutdown(Shutdown::Both)?;
                return Ok(false);
            }
            "no-end" => {
                stream.write_all(STREAM)?;
                stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
                stream.write_all(LAST)?;
            }
            "cut-body" => {
                stream.write_all(&json(200, CHAT)[..120])?;
                stream.shutdown(Shutdown::Both)?;
                return Ok(false);
            }
            "no-length" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                stream.write_all(CHAT.as_bytes())?;
                return Ok(false);
            }
            // Until the proxy has lost patience and hangs up.
            "silence" => return stream.read(&mut [0]).map(|_| false),
            "stall" => {
                stream.write_all(STREAM)?;
                stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
                return stream.read(&mut [0]).map(|_| false);
            }
            "hang-up" => return Ok(false),
            "empty" => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
            other => panic!("{other}"),
        }
        Ok(true)
    })
}

#[test]
fn every_end_gets_its_receipt() {
    let log = Deployment::start(PROGRAMS, "log.example/outcomes");
    let upstream = upstream();
    let more = "limits.answer_timeout_s = 1\nlimits.idle_timeout_s = 1";
    let proxy = Proxy::before(&log, &upstream, more);
    // How the exchange ended, whether the answer came whole, and the status that the caller saw.
    for (way, expected, is_whole, status) in [
        ("length", "truncated", true, 200),
        ("filter", "filtered", true, 200),
        ("refusal", "refused", true, 200),
        ("error", "upstream_error", true, 529),
        ("cut-stream", "aborted_by_upstream", false, 200),
        ("no-end", "aborted_by_upstream", true, 200),
        ("cut-body", "aborted_by_upstream", false, 200),
        ("no-length", "complete", true, 200),
        ("silence", "timeout", true, 504),
        ("stall", "timeout", false, 200),
        ("hang-up", "aborted_by_upstream", true, 502),
        ("empty", "upstream_error", true, 204),
    ] {
        let (answer, delivered) = check(&log, &proxy, way);
        assert_eq!((answer.status(), answer.is_whole), (status, is_whole), "{way}: {}", answer.head);
        assert_eq!(outcome(&delivered), expected, "{way}");
        assert_eq!(opened(&delivered, "group/finish")["status"], status, "{way}");
        match way {
            "cut-stream" => {
                assert_eq!(answer.text(), EVENTS[1].to_owned() + "data: {\"choi", "what came is there")
            }
            "stall" => assert_eq!(answer.text(), EVENTS[1], "what came is there"),
            _ => {}
        }
    }
    let outcomes = |outcome: &str| {
        proxy.metric(&format!(
            "counterfoil_proxy_exchanges_total{{protocol=\"openai.chat\",outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!((outcomes("timeout"), outcomes("aborted_by_upstream")), (2.0, 4.0));
}

/// Nobody listens where the upstream should be.
#[test]
fn an_upstream_that_is_not_there_gets_a_receipt_too() {
    let log = Deployment::start(PROGRAMS, "log.example/nobody");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut proxy =
        Proxy::configure(&log, &format!("[[upstream]]\nname = \"none\"\nurl = \"http://{nobody}\"\n"));
    proxy.up();
    let answer = proxy.chat(REQUEST);
    assert_eq!(answer.status(), 502);
    let delivered = proxy.delivered(answer.exchange());
    verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(&answer.body));
    assert_eq!(outcome(&delivered), "aborted_by_upstream");
    assert!(opened(&delivered, "group/attempts")[0]["status"].is_null());
}

/// A caller that leaves: in the middle of a stream, before it began, or in the middle of its own request.
#[test]
fn callers_that_leave_get_receipts() {
    let log = Deployment::start(PROGRAMS, "log.example/leaving");
    let (left, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |asked, stream| {
        if asked.path().starts_with("/later") {
            // The proxy hangs up once its caller has.
            let _ = stream.read(&mut [0]);
            return Ok(false);
        }
        stream.write_all(STREAM)?;
        stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
        wait.lock().unwrap().recv().unwrap();
        Ok(false)
    });
    let proxy = Proxy::before(&log, &upstream, "");
    let aborted = "counterfoil_proxy_exchanges_total{protocol=\"openai.chat\",outcome=\"aborted_by_client\"}";

    let mut caller = proxy.caller();
    caller.send_post("/v1/chat/completions", CREDENTIAL, REQUEST.as_bytes());
    let head = caller.head();
    let seen = caller.chunk().unwrap();
    caller.leave();
    let answer = Answer { head, ..Answer::default() };
    let delivered = proxy.delivered(answer.exchange());
    left.send(()).unwrap();
    assert_eq!(outcome(&delivered), "aborted_by_client");
    verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(&seen));

    let mut caller = proxy.caller();
    caller.send_post("/later/v1/chat/completions", CREDENTIAL, REQUEST.as_bytes());
    proxy.until("the upstream was asked", |_| upstream.asked().len() == 2);
    caller.leave();
    proxy.until("the second is over", |proxy| proxy.metric(aborted) == 2.0);

    let mut caller = proxy.caller();
    caller
        .send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"mod")
        .unwrap();
    proxy.until("it has begun", |proxy| proxy.metric("counterfoil_proxy_under_way") == 1.0);
    caller.leave();
    proxy.until("the third is over", |proxy| proxy.metric(aborted) == 3.0);
    proxy.until("all are in the log", |proxy| proxy.metric("counterfoil_proxy_delivered_total") == 3.0);
    assert_eq!(upstream.asked().len(), 2, "half a request goes nowhere");
}

/// A proxy that is told to stop lets exchanges end, and breaks off those that do not, with receipts.
#[test]
fn stopping_leaves_no_exchange_without_a_receipt() {
    let log = Deployment::start(PROGRAMS, "log.example/stopping");
    let (stopping, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |asked, stream| {
        stream.write_all(STREAM)?;
        stream.write_all(&chunk(EVENTS[1].as_bytes()))?;
        if asked.path().starts_with("/long") {
            // Until the proxy breaks it off.
            return stream.read(&mut [0]).map(|_| false);
        }
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(&chunk(EVENTS[3].as_bytes()))?;
        stream.write_all(LAST).map(|()| false)
    });
    let mut proxy = Proxy::before(&log, &upstream, "limits.drain_timeout_s = 3");
    let begin = |way: &str| {
        let mut caller = proxy.caller();
        caller.send_post(&format!("/{way}/v1/chat/completions"), CREDENTIAL, REQUEST.as_bytes());
        let head = caller.head();
        (caller, Answer { head, ..Answer::default() }.exchange().to_owned())
    };
    let ((mut short, ended), (mut long, broken_off)) = (begin("short"), begin("long"));
    let address = proxy.address();
    let reading = thread::spawn(move || {
        assert_eq!(short.chunk().unwrap(), EVENTS[1].as_bytes());
        // It ends only once the proxy takes no new callers.
        counterfoil_tests::until(|| TcpStream::connect(address).is_err(), "the proxy is stopping");
        stopping.send(()).unwrap();
        assert_eq!(short.chunk().unwrap(), EVENTS[3].as_bytes());
        assert!(short.chunk().unwrap().is_empty(), "the short one came to its end");
    });
    proxy.down();
    reading.join().unwrap();
    proxy.up();
    let delivered = proxy.delivered(&ended);
    let body = [EVENTS[1], EVENTS[3]].concat();
    verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(body.as_bytes()));
    assert_eq!(long.chunk().unwrap(), EVENTS[1].as_bytes());
    assert!(long.chunk().is_err(), "the long one was broken off");
    assert_eq!(outcome(&proxy.delivered(&broken_off)), "proxy_error");
}

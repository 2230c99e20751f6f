//! What is no HTTP, or hardly: bytes on a socket of its own.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::dice::Dice;

/// Answers that rubbish may get; none at all is right as well.
const STATUSES: &[&str] = &["400", "404", "405", "408", "413", "414", "431"];

/// Sends rubbish and reads to the end.
///
/// # Panics
/// If the answer is another than a refusal, or the server neither answers nor closes.
pub(super) fn rubbish(address: SocketAddr, dice: &mut Dice) {
    let bytes = bytes(dice);
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    // The server may answer and close before it read everything: then writing fails, and reading may.
    let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let timed_out = ended.is_err_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    });
    let (sent, answer) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&answer));
    let sent = sent.chars().take(300).collect::<String>();
    assert!(!timed_out, "the server holds on to {sent:?}");
    if !answer.is_empty() {
        let status = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).unwrap_or("");
        assert!(STATUSES.contains(&status), "{sent:?}\ngot {answer}");
    }
}

fn bytes(dice: &mut Dice) -> Vec<u8> {
    let post = |headers: &str, body: &str| {
        format!("POST /v1/receipts HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    let get = |headers: &str| format!("GET /nothing HTTP/1.1\r\n{headers}\r\n\r\n").into_bytes();
    let length = dice.below(3000) + 1;
    match dice.below(32) {
        0 => dice.rubbish(length),
        1 => [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &dice.rubbish(length)[..]].concat(),
        2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        3 => b"GET /checkpoint\r\n\r\n".to_vec(),
        4 => b"GET /checkpoint HTTP/9.9\r\n\r\n".to_vec(),
        5 => b"GET  /checkpoint HTTP/1.1\r\n\r\n".to_vec(),
        6 => b"GET /check point HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        7 => b"G\0T /checkpoint HTTP/1.1\r\n\r\n".to_vec(),
        8 => b"GET /\xff\xfe HTTP/1.1\r\n\r\n".to_vec(),
        9 => b"GET checkpoint HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        10 => b"CONNECT example.com:443 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        11 => b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        12 => b"GET http://other.example/nothing HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        13 => get("no colon here"),
        14 => get("name with space: 1"),
        15 => get("a: \0"),
        16 => get(&format!("a: {}", "x".repeat(100_000))),
        17 => get(&"a: b\r\n".repeat(500)),
        18 => format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(70_000)).into_bytes(),
        19 => post("Content-Length: -1", "{}"),
        20 => post("Content-Length: 2x", "{}"),
        21 => post("Content-Length: 99999999999999999999999", "{}"),
        22 => post("Content-Length: 2\r\nContent-Length: 3", "{}x"),
        23 => post("Content-Length: 100000000", "{}"),
        24 => post(&format!("Content-Length: {length}"), ""),
        25 => post("Transfer-Encoding: gzip", "{}"),
        26 => post("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"),
        27 => post("Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\n{}"),
        28 => post("Transfer-Encoding: chunked", "5\r\n{}"),
        29 => post("Transfer-Encoding: chunked", &format!("1;{}\r\n{{\r\n0\r\n\r\n", "e".repeat(20_000))),
        30 => post("Transfer-Encoding: chunked\r\nContent-Length: 2", "2\r\n{}\r\n0\r\n\r\n"),
        _ => "\r\n".repeat(length).into_bytes(),
    }
}

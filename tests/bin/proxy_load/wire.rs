//! What goes over the wire: requests, answers, and reading both.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    net::TcpStream,
};

use serde_json::{Value, json};

/// What an answer says, in one piece or in each event: as long as a few words.
pub(crate) const WORDS: &str = "the half that stays behind ";

/// The line that ends a stream.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// The longest head and body that are read.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The body of a request for a stream of so many events, or for an answer in one piece.
pub(crate) fn request(events: usize, pause_ms: u64) -> String {
    let messages = json!([{ "role": "system", "content": "Answer briefly." }, { "role": "user", "content": "What is a counterfoil?" }]);
    let asked = json!({
        "model": "m-1", "stream": events > 0, "temperature": 0.7, "messages": messages, "events": events, "pause_ms": pause_ms
    });
    asked.to_string()
}

/// What a request asks for: events, and the pause between them in milliseconds.
pub(crate) fn asked(body: &[u8]) -> io::Result<(u64, u64)> {
    let asked: Value = serde_json::from_slice(body)?;
    let number = |name: &str| asked[name].as_u64().ok_or_else(|| io::Error::other(format!("no {name}")));
    Ok((number("events")?, number("pause_ms")?))
}

/// An answer in one piece.
pub(crate) fn answer() -> String {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_763_712_345, "model": "m-1-0626", "system_fingerprint": "fp_1",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": WORDS.repeat(8) }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 19, "completion_tokens": 48, "total_tokens": 67 }
    });
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nx-request-id: req_1\r\n\r\n{body}"
    )
}

/// The head of a stream.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event of a stream that was sent at a time, as a chunk.
pub(crate) fn event(sent_us: u64) -> String {
    let event = format!(
        r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1763712345,"model":"m-1-0626","choices":[{{"index":0,"delta":{{"content":"{WORDS}"}},"finish_reason":null}}],"sent":{sent_us}}}"#
    );
    format!("{:x}\r\n{event}\n\n\r\n", event.len() + 2)
}

/// The end of a stream.
pub(crate) fn end() -> String {
    let last = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m-1-0626","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let done = str::from_utf8(DONE).expect("ASCII");
    format!("{:x}\r\n{last}\n\n\r\n{:x}\r\n{done}\r\n0\r\n\r\n", last.len() + 2, DONE.len())
}

/// When an event was sent.
pub(crate) fn sent_us(event: &[u8]) -> Option<u64> {
    let at = event.windows(7).rposition(|bytes| bytes == b"\"sent\":")?;
    let digits = event[at + 7..].split(|byte| !byte.is_ascii_digit()).next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(usize),
    /// In chunks.
    Chunked,
}

/// The first line of a head, and how the body after it is framed; `None` where the connection ends before it.
pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Framing)>> {
    let (mut first, mut framing) = (String::new(), Framing::Length(0));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return if first.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if line == "\r\n" {
            return Ok(Some((first, framing)));
        }
        if first.is_empty() {
            first = line;
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().map_err(io::Error::other)?;
            framing = Framing::Length(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        }
    }
}

/// The next piece of a body, with no more than `left` bytes of one that has a length; empty at its end.
pub(crate) fn read_piece(reader: &mut BufReader<TcpStream>, framing: Framing) -> io::Result<Vec<u8>> {
    let size = match framing {
        Framing::Length(size) => size,
        Framing::Chunked => {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?
        }
    };
    if size > BYTES_MAX {
        return Err(io::Error::other("longer than anything that is sent here"));
    }
    let mut piece = vec![0; size];
    reader.read_exact(&mut piece)?;
    if framing == Framing::Chunked {
        reader.read_exact(&mut [0; 2])?;
    }
    Ok(piece)
}

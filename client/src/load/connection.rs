//! One connection that costs as little as it can: HTTP/1.1, one request at a time, answers whose length is stated.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::LoadError;

/// A connection that was idle for as long is opened anew: the server may be about to close it.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer, status line and headers included.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Room that there always is for what comes next.
const READ_BYTES: usize = 8 * 1024;

/// The most headers of an answer.
const HEADERS_MAX: usize = 32;

/// A connection to a log.
pub(super) struct Connection {
    host: String,
    stream: TcpStream,
    used: Instant,
    buffer: Vec<u8>,
}

/// What came back.
pub(super) struct Answer<'a> {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: &'a [u8],
}

/// The part of an answer before its body.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Where the body begins.
    start: usize,
    /// Where it ends.
    end: usize,
}

impl Connection {
    /// Connects to a host and port.
    pub(super) async fn open(host: &str) -> Result<Self, LoadError> {
        let failed = |error| failed(host, &error);
        Self::new(host, TcpStream::connect(host).await.map_err(failed)?)
    }

    /// A connection that was opened outside of a runtime.
    pub(super) fn opened(host: &str, stream: std::net::TcpStream) -> Result<Self, LoadError> {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        Self::new(host, stream.map_err(|error| failed(host, &error))?)
    }

    fn new(host: &str, stream: TcpStream) -> Result<Self, LoadError> {
        stream.set_nodelay(true).map_err(|error| failed(host, &error))?;
        Ok(Self { host: host.to_owned(), stream, used: Instant::now(), buffer: Vec::new() })
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, LoadError> {
        if self.used.elapsed() > IDLE_MAX {
            *self = Self::open(&self.host).await?;
        }
        let answered = timeout(ANSWER_TIMEOUT, exchange(&mut self.stream, request, &mut self.buffer)).await;
        let late = |_| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        let head = answered.map_err(late).flatten().map_err(|reason| failed(&self.host, &reason))?;
        self.used = Instant::now();
        Ok(Answer { status: head.status, body: &self.buffer[head.start..head.end] })
    }
}

/// What a connection that failed is reported as.
pub(super) fn failed(host: &str, reason: &dyn std::fmt::Display) -> LoadError {
    LoadError::Connection { host: host.to_owned(), reason: reason.to_string() }
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Result<Head, String> {
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    buffer.clear();
    let mut head = None;
    loop {
        let missing = head.map_or(0, |head: Head| head.end.saturating_sub(buffer.len()));
        buffer.reserve(missing.max(READ_BYTES));
        if stream.read_buf(buffer).await.map_err(|error| error.to_string())? == 0 {
            return Err("closed before the answer was complete".to_owned());
        }
        if head.is_none() {
            head = parse_head(buffer)?;
        }
        match head {
            Some(head) if buffer.len() == head.end => return Ok(head),
            Some(head) if buffer.len() > head.end => return Err("more bytes than one answer has".to_owned()),
            None if buffer.len() > READ_BYTES => return Err("the answer's headers do not end".to_owned()),
            _ => {}
        }
    }
}

/// Reads status and length, once all headers are there.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let start = match answer.parse(bytes).map_err(|error| format!("not an HTTP answer: {error}"))? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial => return Ok(None),
    };
    let status = answer.code.ok_or("an answer without a status")?;
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.filter(|length| *length <= ANSWER_BYTES_MAX);
    let length = length.ok_or("an answer that does not state its length, or is too long")?;
    Ok(Some(Head { status, start, end: start + length }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Serves each connection one scripted answer, in the pieces given, and closes it.
    async fn server(pieces: Vec<&'static [u8]>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut asked = [0; 3];
            stream.read_exact(&mut asked).await.unwrap();
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        host
    }

    async fn ask(pieces: Vec<&'static [u8]>) -> Result<(u16, Vec<u8>), String> {
        let mut connection = Connection::open(&server(pieces).await).await.unwrap();
        let answer = connection.exchange(b"ask").await.map_err(|error| error.to_string())?;
        Ok((answer.status, answer.body.to_vec()))
    }

    /// However an answer is cut into packets, it is read whole.
    #[tokio::test]
    async fn answers_are_read_to_their_stated_end() {
        let whole: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nx: y\r\n\r\nbody";
        for cut in 0..whole.len() {
            let (left, right) = whole.split_at(cut);
            assert_eq!(ask(vec![left, right]).await.unwrap(), (201, b"body".to_vec()), "cut at {cut}");
        }
        let empty = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(ask(vec![empty]).await.unwrap(), (503, Vec::new()));
    }

    #[tokio::test]
    async fn what_is_no_whole_answer_is_an_error() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "closed before"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbod", "closed before"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody2", "more bytes"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "does not state its length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "too long"),
            (b"SSH-2.0-OpenSSH\r\n", "not an HTTP answer"),
        ];
        for (answer, message) in cases {
            let error = ask(vec![answer]).await.expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }
}

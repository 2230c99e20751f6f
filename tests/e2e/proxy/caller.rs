//! A caller that sees every byte.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// One connection to the proxy.
pub(crate) struct Caller {
    stream: BufReader<TcpStream>,
}

/// A response as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Status line and headers, without the empty line.
    pub(crate) head: String,
    /// The body after transfer decoding.
    pub(crate) body: Vec<u8>,
    /// Whether it came to its end.
    pub(crate) is_whole: bool,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The head without the proxy's own lines.
    pub(crate) fn upstreams_head(&self) -> String {
        let own = |line: &&str| !line.to_lowercase().starts_with("counterfoil-");
        self.head.lines().filter(own).collect::<Vec<_>>().join("\r\n") + "\r\n"
    }

    /// The exchange that the proxy names.
    pub(crate) fn exchange(&self) -> &str {
        self.header("counterfoil-exchange").unwrap_or_else(|| panic!("an exchange in {}", self.head))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }
}

impl Caller {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Connects, if somebody listens.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Posts a body, and gives the answer as far as it came; `None` if nothing did.
    pub(crate) fn try_post(&mut self, path: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: proxy\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.send(&[head.as_bytes(), body].concat()).ok()?;
        Some(self.answer()).filter(|answer| answer.status() != 0)
    }

    /// As [`Caller::try_post`], for a GET.
    pub(crate) fn try_get(&mut self, path: &str, headers: &str) -> Option<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n{headers}\r\n").as_bytes()).ok()?;
        Some(self.answer()).filter(|answer| answer.status() != 0)
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Posts a body with more header lines, each ended by CR and LF, and reads the answer.
    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send_post(path, headers, body);
        self.answer()
    }

    /// As [`Caller::post`], without reading.
    pub(crate) fn send_post(&mut self, path: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: proxy\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.send(&[head.as_bytes(), body].concat()).unwrap();
    }

    /// Gets a path.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n{headers}\r\n").as_bytes()).unwrap();
        self.answer()
    }

    /// Reads an answer, as far as it comes.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer { head: self.head(), ..Answer::default() };
        answer.is_whole = self.body(&mut answer).is_ok();
        answer
    }

    /// Reads status line and headers.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            if line == "\r\n" || !read.is_ok_and(|read| read > 0) {
                return head;
            }
            head.push_str(&line);
        }
    }

    /// Reads one chunk of a body; empty at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok(chunk)
    }

    /// Ends the connection where it stands.
    pub(crate) fn leave(self) {
        self.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    /// What is left of the connection, read until it closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    fn body(&mut self, answer: &mut Answer) -> io::Result<()> {
        if answer.header("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    return Ok(());
                }
                answer.body.extend_from_slice(&chunk);
            }
        }
        if answer.status() == 204 {
            return Ok(());
        }
        let Some(length) = answer.header("content-length") else {
            self.stream.read_to_end(&mut answer.body)?;
            return Ok(());
        };
        let length = length.parse().map_err(io::Error::other)?;
        let read = self.stream.by_ref().take(length).read_to_end(&mut answer.body)?;
        if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

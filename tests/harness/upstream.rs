//! A service behind the proxy: it says exactly what a test tells it to, byte for byte.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Request line and headers, without the empty line.
    pub head: String,
    /// The body after transfer decoding.
    pub body: Vec<u8>,
}

impl Asked {
    /// The path and query of the request line.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// A service that is listening.
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Upstream {
    /// Starts a service. `answer` writes what it answers, and gives whether the connection goes on.
    ///
    /// # Panics
    /// If nothing can listen.
    pub fn start(
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").expect("a free port"), answer)
    }

    /// As [`Upstream::start`], where somebody listens already.
    ///
    /// # Panics
    /// If nobody does.
    pub fn start_at(
        listener: TcpListener,
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let (asked, answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answer));
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), answer, all) = (stream, Arc::clone(&answer), Arc::clone(&all)) else {
                    continue;
                };
                thread::spawn(move || {
                    // Callers come and go; what they leave behind is seen by the test.
                    let _ = serve(stream, &*answer, &all);
                });
            }
        });
        Self { address, asked }
    }

    /// A service that answers everything with these bytes.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, stream| stream.write_all(&bytes).map(|()| true))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync),
    all: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(asked) = read(&mut reader)? {
        all.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        if !answer(&asked, &mut stream)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request; `None` at the end of the connection.
pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = header("content-length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(Some(Asked { head, body }))
}

/// An answer with a length.
pub fn plain(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Some Reason\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer in JSON.
pub fn json(status: u16, body: &str) -> Vec<u8> {
    plain(status, "application/json", body.as_bytes())
}

/// The head of a stream of events.
pub const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunk.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// The chunk that ends a stream.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// A chat completion as OpenAI answers it.
pub const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"m-1-0626","system_fingerprint":"fp_1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

/// The events of a chat completion that streams.
pub const EVENTS: [&str; 4] = [
    "data: {\"id\":\"c1\",\"model\":\"m-1-0626\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"m-1-0626\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello.\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"m-1-0626\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];

/// Such a stream, whole.
pub fn chat_stream() -> Vec<u8> {
    let events = EVENTS.iter().flat_map(|event| chunk(event.as_bytes()));
    STREAM.iter().copied().chain(events).chain(LAST.iter().copied()).collect()
}

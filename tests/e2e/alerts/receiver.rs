//! A receiver of webhooks that believes nobody: what is not signed with its secret is not kept.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(super) const SECRET: [u8; 32] = [0x5e; 32];

/// What has come, and how it is answered.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    status: Arc<AtomicU16>,
    taken: Arc<Mutex<Vec<Value>>>,
    /// Requests, answered well or not.
    asked: Arc<AtomicU16>,
}

impl Receiver {
    /// Listens at an address; port 0 is any.
    pub(super) fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(200)),
            taken: Arc::default(),
            asked: Arc::default(),
        };
        let answering = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A peer that was killed sends half a request.
                drop(answering.answer(&stream.unwrap()));
            }
        });
        receiver
    }

    /// The webhook's table in a configuration.
    pub(super) fn table(&self, name: &str) -> String {
        format!(
            "[[sink]]\nname = '{name}'\nwebhook = 'http://{}/hook'\nsecret_file = 'secret'\nallow_http = true\n\
             allow_addresses = ['127.0.0.1']\n",
            self.address
        )
    }

    pub(super) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(super) fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }

    pub(super) fn asked(&self) -> u16 {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        assert!(line.is_empty() || line == "POST /hook HTTP/1.1\r\n", "{line}");
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let Some(length) = headers.get("content-length") else { return Ok(()) };
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body)?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (id, time) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", &body].concat();
        let signature = format!("v1,{}", BASE64_STANDARD.encode(hmac(&SECRET, &signed)));
        let status = self.status.load(Ordering::SeqCst);
        if signature != headers["webhook-signature"] {
            return write!(stream, "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        if status == 200 {
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert!(id.starts_with(body["id"].as_str().unwrap()), "{id} {body}");
            self.taken.lock().unwrap().push(body);
        }
        write!(
            stream,
            "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
        )
    }
}

/// HMAC-SHA256 as RFC 2104 has it, apart from the program's own.
fn hmac(key: &[u8; 32], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([pad(0x36).as_slice(), text].concat());
    Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

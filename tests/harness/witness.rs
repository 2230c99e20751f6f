//! A witness inside the test: it keeps the protocol, with real signatures, or breaks it as it is told.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::{Checkpoint, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner, VerifierKey},
    proof::ConsistencyProof,
    witness::{ADD_CHECKPOINT, AddCheckpoint, Answer, SIZE_MEDIA_TYPE},
};

use crate::audit::Seen;

/// How a witness behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As the protocol says.
    Honest,
    /// Closes every connection without an answer.
    Dead,
    /// As the protocol says, but only after so long.
    Slow(Duration),
    /// Takes requests and never answers.
    Hanging,
    /// This status to everything.
    Status(u16),
    /// A 409 with this body to everything.
    Conflict(&'static str),
    /// 200 with bytes that are no signature lines.
    Garbage,
    /// 200 with a body that never ends.
    Endless,
    /// Cosigns everything with a key that nobody named.
    Stranger,
    /// Cosigns another tree of the same size.
    OtherTree,
    /// Cosigns at a time a year ago.
    Yesteryear,
}

/// A witness on a port of its own.
pub struct Witness {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    key: NoteSigner,
    state: Mutex<State>,
    open: AtomicUsize,
    open_max: AtomicUsize,
    ended: AtomicBool,
}

struct State {
    manner: Manner,
    log: Option<VerifierKey>,
    newest: Option<SignedCheckpoint>,
    seen: Seen,
    requests: usize,
}

impl Witness {
    /// Starts an honest witness of this name; the seed makes its key. It takes any log until it is told which.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(name: &str, seed: u8) -> Self {
        let key =
            NoteSigner::from_seed(KeyName::new(name).expect("a name"), Algorithm::CosignatureV1, &[seed; 32]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state =
            State { manner: Manner::Honest, log: None, newest: None, seen: Seen::default(), requests: 0 };
        let shared = Arc::new(Shared {
            key: key.expect("32 bytes"),
            state: Mutex::new(state),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&serving);
                thread::spawn(move || {
                    // A broken connection is the other side's doing.
                    let _ = serving.serve(stream);
                });
            }
        });
        Self { address, shared }
    }

    /// Its line of a policy.
    pub fn policy_line(&self) -> String {
        let key = self.key();
        format!("witness {} {key} http://{}\n", key.name(), self.address)
    }

    /// Its public key.
    pub fn key(&self) -> &VerifierKey {
        self.shared.key.public()
    }

    /// Takes checkpoints of the log with this key alone.
    pub fn watch(&self, log: &VerifierKey) {
        self.shared.state().log = Some(log.clone());
    }

    /// Behaves like this from now on.
    pub fn behave(&self, manner: Manner) {
        self.shared.state().manner = manner;
    }

    /// The newest checkpoint that it cosigned.
    pub fn newest(&self) -> Option<SignedCheckpoint> {
        self.shared.state().newest.clone()
    }

    /// All heads that it cosigned.
    pub fn seen(&self) -> Seen {
        self.shared.state().seen.clone()
    }

    /// How often it was asked to cosign.
    pub fn requests(&self) -> usize {
        self.shared.state().requests
    }

    /// The most requests to cosign that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.open_max.load(Ordering::Relaxed)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        loop {
            let (mut line, mut length, mut path) = (String::new(), 0, None);
            loop {
                line.clear();
                if input.read_line(&mut line)? == 0 || self.ended.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let header = line.trim_end().to_lowercase();
                path = path.or_else(|| header.split(' ').nth(1).map(str::to_owned));
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if header.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            input.read_exact(&mut body)?;
            let adds = path.is_some_and(|path| path == format!("/{ADD_CHECKPOINT}"));
            if !self.answer(adds, &String::from_utf8_lossy(&body), &mut out)? {
                return Ok(());
            }
        }
    }

    /// Answers one request; whether the connection goes on.
    fn answer(&self, adds: bool, body: &str, out: &mut TcpStream) -> std::io::Result<bool> {
        let manner = {
            let mut state = self.state();
            state.requests += usize::from(adds);
            state.manner.clone()
        };
        if adds {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.open_max.fetch_max(open, Ordering::Relaxed);
        }
        let answered = self.answer_in(&manner, adds, body, out);
        if adds {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        answered
    }

    fn answer_in(
        &self,
        manner: &Manner,
        adds: bool,
        body: &str,
        out: &mut TcpStream,
    ) -> std::io::Result<bool> {
        match manner {
            Manner::Dead => return Ok(false),
            Manner::Hanging => {
                while !self.ended.load(Ordering::Relaxed) && self.state().manner == Manner::Hanging {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(false);
            }
            Manner::Slow(time) => thread::sleep(*time),
            Manner::Endless => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
                while !self.ended.load(Ordering::Relaxed) {
                    out.write_all(&[b'x'; 4096])?;
                }
                return Ok(false);
            }
            _ => {}
        }
        let (status, kind, body) = match manner {
            Manner::Status(status) => (*status, "text/plain", String::new()),
            Manner::Conflict(body) => (409, SIZE_MEDIA_TYPE, (*body).to_owned()),
            Manner::Garbage => (200, "text/plain", "\u{1}\u{2} nothing of the kind\n\n".to_owned()),
            _ if adds => self.add(manner, body),
            _ => self.show(),
        };
        let length = body.len();
        write!(out, "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        Ok(true)
    }

    fn show(&self) -> (u16, &'static str, String) {
        match &self.state().newest {
            Some(newest) => (200, "text/plain", newest.to_string()),
            None => (404, "text/plain", String::new()),
        }
    }

    fn add(&self, manner: &Manner, body: &str) -> (u16, &'static str, String) {
        let refuse = |status| (status, "text/plain", String::new());
        let mut state = self.state();
        let Ok(request) = body.parse::<AddCheckpoint>() else { return refuse(400) };
        let Ok(mut signed) = SignedCheckpoint::try_from(request.checkpoint) else { return refuse(400) };
        if state.log.as_ref().is_some_and(|log| signed.verify(log).is_err()) {
            return refuse(403);
        }
        let head = signed.unverified().head;
        let known = state.newest.as_ref().map(|newest| newest.unverified().head);
        let known = known.unwrap_or(TreeHead { size: TreeSize::ZERO, root: Hash::EMPTY_ROOT });
        if request.old > head.size {
            return refuse(400);
        }
        let lies = matches!(manner, Manner::Stranger | Manner::OtherTree | Manner::Yesteryear);
        if !lies {
            if request.old != known.size {
                return (409, SIZE_MEDIA_TYPE, Answer::format_size(known.size));
            }
            let proof = ConsistencyProof::new(known.size, head.size, request.proof);
            if !proof.is_ok_and(|proof| proof.verify(known.root, head.root).is_ok()) {
                return refuse(422);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match manner {
            Manner::Stranger => {
                let name = KeyName::new(self.key.public().name().as_str()).expect("a name");
                let stranger = NoteSigner::from_seed(name, Algorithm::CosignatureV1, &[200; 32]);
                signed.cosign(&stranger.expect("32 bytes"), now);
            }
            Manner::OtherTree => {
                let head = TreeHead { root: Hash::leaf(b"another"), ..head };
                let log = NoteSigner::from_seed(
                    KeyName::new(signed.unverified().origin.as_str()).expect("a name"),
                    Algorithm::Ed25519,
                    &[201; 32],
                );
                let other = Checkpoint::new(signed.unverified().origin.clone(), head);
                signed = other.sign(&log.expect("32 bytes"));
                signed.cosign(&self.key, now);
            }
            Manner::Yesteryear => signed.cosign(&self.key, now - 365 * 24 * 3600),
            _ => {
                state.seen.add(head);
                signed.cosign(&self.key, now);
                state.newest = Some(signed.clone());
            }
        }
        let line = signed.note().signatures().last().expect("it cosigned").clone();
        (200, "text/plain", Answer::format_lines(&[line]))
    }
}

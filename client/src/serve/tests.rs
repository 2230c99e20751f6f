use std::net::SocketAddr;

use axum::routing::post;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::*;

const LIMITS: Limits = Limits {
    connections_max: 2,
    head_timeout: Duration::from_millis(500),
    body_timeout: Duration::from_millis(500),
    body_bytes_max: 10,
    stall_timeout: Duration::from_millis(500),
    drain_timeout: Duration::from_secs(10),
};

/// More than a connection's buffers hold.
const LONG: usize = 64 * 1024 * 1024;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    /// Told when a request to `/held` has come.
    held: Arc<Notify>,
    /// Lets that request be answered.
    release: Arc<Notify>,
}

/// A server that gives back what it gets, at `/held` only when it is let.
async fn start() -> Server {
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let hold = {
        let (held, release) = (Arc::clone(&held), Arc::clone(&release));
        async move |Whole(body): Whole| {
            held.notify_one();
            release.notified().await;
            body
        }
    };
    let router = Router::new()
        .route("/", post(async |Whole(body): Whole| body).get(async || vec![b'x'; LONG]))
        .route("/held", post(hold));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, router, LIMITS, async { drop(stopped.await) }));
    Server { address, stop, ended, held, release }
}

/// What comes back until the server closes; nothing if it resets the connection first.
async fn exchange(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn request(path: &str, length: usize, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Nothing, half a head, an idle connection, a body that stops and one too long: each ends, each with its status.
#[tokio::test]
async fn every_request_ends() {
    let Server { address, stop: _stop, .. } = start().await;
    assert_eq!(exchange(address, "").await, "");
    assert_eq!(exchange(address, "POST / HTT").await, "");
    let whole = exchange(address, &request("/", 10, "0123456789")).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("0123456789"), "{whole}");
    let stalled = exchange(address, &request("/", 10, "01234")).await;
    assert!(stalled.starts_with("HTTP/1.1 408"), "{stalled}");
    let long = exchange(address, &request("/", 11, "0123456789a")).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let chunks = "5\r\n01234\r\n".repeat(3);
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let long = exchange(address, &chunked).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let broken = exchange(address, &chunked.replace("5\r\n", "z\r\n")).await;
    assert!(broken.starts_with("HTTP/1.1 400"), "{broken}");
}

/// A byte now and then does not prolong a body's time.
#[tokio::test]
async fn a_dripping_body_ends() {
    let Server { address, stop: _stop, .. } = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request("/", 10, "").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writing.write_all(b"0").await.is_ok() {
            time::sleep(Duration::from_millis(150)).await;
        }
    });
    let mut answer = [0; 12];
    reading.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drip.abort();
}

/// Who asks for much and takes nothing is let go; who takes it slowly gets it all.
#[tokio::test]
async fn answers_that_nobody_takes_end() {
    let Server { address, stop: _stop, .. } = start().await;
    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        stream
    };
    let held = [ask().await, ask().await];
    // There is no third place until these two have lost theirs.
    let third = exchange(address, &request("/", 1, "a")).await;
    assert!(third.starts_with("HTTP/1.1 200"), "{third}");
    drop(held);
    let (mut slow, mut taken, mut part) = (ask().await, 0, vec![0; LONG / 8]);
    loop {
        time::sleep(LIMITS.stall_timeout / 4).await;
        match slow.read(&mut part).await.unwrap() {
            0 => break,
            more => taken += more,
        }
    }
    assert!(taken > LONG, "{taken}");
}

/// One connection too many waits for its turn, and gets it.
#[tokio::test]
async fn connections_above_the_cap_wait() {
    let Server { address, stop: _stop, .. } = start().await;
    let held = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let third = exchange(address, &request("/", 1, "a")).await;
    assert!(third.starts_with("HTTP/1.1 200"), "{third}");
    drop(held);
}

/// A request in flight is answered though the server was told to stop; then it ends.
#[tokio::test]
async fn stopping_finishes_what_has_begun() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request("/held", 2, "ok").as_bytes()).await.unwrap();
    server.held.notified().await;
    server.stop.send(()).unwrap();
    server.release.notify_one();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    server.ended.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

//! The accept loop: HTTP/1.1 with real timeouts, bounds on connections, and an orderly end.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{body::Body, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    body::Timed,
    connections::{Connections, Place, TooMany, Turn},
    front::Front,
    stall::{Slowest, Stalling},
    tls::Tls,
};
use crate::{config::Limits, descriptors, network::Network};

/// The longest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long to pause when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is told to who has too many connections already, in the clear.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 45\r\nRetry-After: 5\r\n\
    Connection: close\r\n\r\ntoo many connections from this address: wait\n";

/// Who is connected, as requests carry it along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What all connections have in common.
struct Serving {
    http: http1::Builder,
    front: Front,
    handshake: Duration,
    body: Slowest,
    answer: Slowest,
}

/// Serves until `stop` is done, then lets requests in flight finish, but no longer than the limit. With `tls` nothing is
/// served in the clear. `proxies` may have as many connections as they like.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    limits: &Limits,
    proxies: &[Network],
    tls: Option<&Tls>,
    stop: impl Future<Output = ()>,
) {
    let serving = Arc::new(Serving::new(front, limits));
    let most = descriptors::make_room(limits.connections_max);
    let connections = Connections::new(most, limits.connections_per_address_max, proxies.into());
    // Dropped by each connection when it has ended.
    let (running, ended) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = tokio::select! {
            place = connections.place(peer.ip()) => place,
            () = &mut stop => break,
        };
        let place = match place {
            Ok(place) => place,
            Err(TooMany) => {
                debug!(%peer, "a connection was refused: too many from there");
                if tls.is_none() {
                    refuse(stream);
                }
                continue;
            }
        };
        let (serving, mut ended) = (Arc::clone(&serving), ended.clone());
        let stream = Stalling::new(stream, serving.answer);
        let Some(tls) = tls else {
            tokio::spawn(async move { serving.answer(stream, peer, place, ended).await });
            continue;
        };
        let shaken = tls.acceptor().accept(stream);
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = timeout(serving.handshake, shaken) => shaken,
                // Who is still shaking hands has no request in flight.
                () = place.lost() => return,
                _ = ended.changed() => return,
            };
            match shaken {
                Ok(Ok(stream)) => serving.answer(stream, peer, place, ended).await,
                Ok(Err(error)) => debug!(%error, "TLS was not agreed on"),
                Err(_) => debug!("TLS was not agreed on in time"),
            }
        });
    }
    drop((listener, ended));
    running.send_replace(());
    if timeout(Duration::from_secs(limits.drain_timeout_s), running.closed()).await.is_err() {
        warn!("requests were still in flight when the time to finish them was over");
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

/// Says why, as far as that can be said at once.
fn refuse(mut stream: TcpStream) {
    // If it cannot be written, the peer sees a connection that ends, which is what there is to say.
    let mut said = pin!(stream.write_all(TOO_MANY));
    let _ = said.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
}

impl Serving {
    fn new(front: Front, limits: &Limits) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(limits.header_timeout_s))
            .max_buf_size(HEAD_BYTES_MAX);
        let slowest = |grace_s| Slowest {
            grace: Duration::from_secs(grace_s),
            bytes_per_second: limits.bytes_per_second_min,
        };
        Self {
            http,
            front,
            handshake: Duration::from_secs(limits.handshake_timeout_s),
            body: slowest(limits.body_timeout_s),
            answer: slowest(limits.answer_timeout_s),
        }
    }

    /// Answers what comes on a connection, to its end.
    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
        place: Place,
        mut ended: watch::Receiver<()>,
    ) {
        let (front, turn, body) = (self.front.clone(), place.turn().clone(), self.body);
        let service =
            service_fn(move |request| one(front.clone(), request, Peer(peer.ip()), body, turn.clone()));
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let (mut is_lost, mut is_over) = (false, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    // Timeouts and broken connections are the peer's doing, and nothing to report.
                    if let Err(error) = result {
                        debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = place.lost(), if !is_lost => is_lost = true,
                _ = ended.changed(), if !is_over => is_over = true,
            }
            if is_lost && !place.turn().is_ours() {
                debug!("a connection lost its place to a newer one");
                return;
            }
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Answers one request.
async fn one(
    front: Front,
    mut request: Request<Incoming>,
    peer: Peer,
    slowest: Slowest,
    turn: Turn,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    let answer = front.answer(request.map(|body| Body::new(Timed::new(body, slowest, turn.clone())))).await;
    turn.peers();
    Ok(answer)
}

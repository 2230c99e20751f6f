//! A small HTTP server: connections with time limits and a cap, bounded bodies, an orderly end. What it serves is the
//! caller's.
//!
//! HTTP/1.1 without TLS: that, and HTTP/2, stay with a front proxy.

mod body;
mod stall;

pub use body::{BodyError, Whole};

use self::stall::Stalling;

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tracing::{debug, warn};

/// The longest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long to pause when the system has no more descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; more wait until one closes.
    pub connections_max: usize,
    /// In which time a request's head must have come, the first byte and idle keep-alive included.
    pub head_timeout: Duration,
    /// In which time a request's whole body must have come.
    pub body_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// How long a peer may take nothing of what is sent to it.
    pub stall_timeout: Duration,
    /// How long a stopping server waits for requests in flight.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(15),
            body_bytes_max: 1024 * 1024,
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` is done, then lets requests in flight finish, but no longer than the limit.
///
/// Every request's body is bounded in bytes and time, however a handler reads it; [`Whole`] answers for what exceeds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) {
    let router = router.layer(middleware::map_request_with_state(limits, body::bound));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(HEAD_BYTES_MAX);
    let (connections, open) = (Connections::new(limits.connections_max), GracefulShutdown::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = connections.accept(&listener) => accepted,
            () = &mut stop => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let stream = TokioIo::new(Stalling::new(stream, limits.stall_timeout));
        let connection = open.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            // Timeouts and broken connections are the peer's doing, and nothing to report.
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if time::timeout(limits.drain_timeout, open.shutdown()).await.is_err() {
        warn!("requests were still in flight when the time to finish them was over");
    }
}

/// Connections, no more than so many at a time.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Semaphore>);

impl Connections {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections_max)))
    }

    /// The next one, once there is room; it takes up room until the permit is dropped.
    pub(crate) async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, permit))
    }
}

#[cfg(test)]
mod tests;

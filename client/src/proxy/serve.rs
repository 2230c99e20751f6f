//! Connections from callers: HTTP/1.1 that adds nothing of its own to what passes.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tracing::{debug, warn};

use super::app::Proxy;
use crate::serve::{ACCEPT_PAUSE, Connections};

/// Most bytes of a request's head, and of an answer's that wait for the caller to take them.
const BUFFER_BYTES: usize = 64 * 1024;

/// Most headers of a request.
const HEADERS_MAX: usize = 200;

/// Serves until `stop` is done; then lets the requests in flight come to their end. How long that may take is for the
/// caller of this to say.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    connections_max: usize,
    head_timeout: Duration,
    stop: impl Future<Output = ()> + Send,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .preserve_header_case(true)
        .auto_date_header(false);
    let connections = Connections::new(connections_max);
    let (stopping, stopped) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = connections.accept(&listener) => accepted,
            () = &mut stop => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let proxy = Arc::clone(&proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.handle(request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                _ = stopped.wait_for(|stopped| *stopped) => None,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // Timeouts and broken connections are the peer's doing, and nothing to report.
            if let Err(error) = ended {
                debug!(%error, "a connection ended");
            }
            drop(permit);
            drop(stopped);
        });
    }
    drop((listener, stopped));
    // Nobody listens for the stop any more once all connections have ended.
    let _ = stopping.send(true);
    stopping.closed().await;
}

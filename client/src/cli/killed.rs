//! When a program that runs on and on is to end.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Done when somebody wants the program to end: SIGTERM or SIGINT. From now on neither ends it by itself.
pub(super) fn killed() -> io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
    })
}

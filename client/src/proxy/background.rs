//! Work that nobody waits for, kept out of the way of answers: a thread of its own, behind all others.
//!
//! Reading what the log answers takes a tenth of a millisecond a receipt, and there may be hundreds at once. On the threads
//! that pass answers on, somebody's answer would wait behind them.

use std::{future::Future, io, thread};

use tokio::{runtime, sync::oneshot, task::JoinHandle};

/// How far behind the others the thread stands when processors are short (nice).
#[cfg(target_os = "linux")]
const BEHIND: i32 = 5;

/// Runs `work` on a thread of that name to its end. The handle tells when that is; aborting it ends nothing.
pub(super) fn run(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, ended) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        stand_back();
        runtime.block_on(work);
        // Whoever has stopped waiting need not know.
        let _ = done.send(());
    })?;
    Ok(tokio::spawn(async move { drop(ended.await) }))
}

/// On Linux this is of the calling thread alone; elsewhere of the whole process, which would defeat its purpose.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BEHIND) {
        tracing::debug!(%error, "background work does not stand back");
    }
}

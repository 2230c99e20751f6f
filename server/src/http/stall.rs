//! Transfers that end: what a peer sends or takes has to go on at some rate.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How slow a transfer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowest {
    /// What any transfer may take.
    pub(super) grace: Duration,
    /// What it may take more, by its length.
    pub(super) bytes_per_second: u64,
}

/// One transfer, and when it has to have come so far.
pub(super) struct Transfer {
    slowest: Slowest,
    began: Instant,
    bytes: u64,
    /// Only for who is waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Transfer {
    /// It begins now.
    pub(super) fn begin(slowest: Slowest) -> Self {
        Self { slowest, began: Instant::now(), bytes: 0, alarm: None }
    }

    /// So many bytes more have come, or gone.
    pub(super) fn went(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Ready once it is too late for what is still to come.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Slowest { grace, bytes_per_second } = self.slowest;
        let due = self.began
            + grace
            + Duration::from_millis(self.bytes.saturating_mul(1000) / bytes_per_second.max(1));
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }
}

/// A stream that fails once the peer takes what is written to it too slowly.
pub(super) struct Stalling<T> {
    stream: T,
    slowest: Slowest,
    /// Since it wrote last, everything that has been written in between.
    writing: Option<Transfer>,
}

impl<T> Stalling<T> {
    pub(super) const fn new(stream: T, slowest: Slowest) -> Self {
        Self { stream, slowest, writing: None }
    }

    /// Passes on what writing gave, unless it takes too long.
    fn watch<R>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<R>>,
        bytes: impl Fn(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        let slowest = self.slowest;
        let writing = self.writing.get_or_insert_with(|| Transfer::begin(slowest));
        match &wrote {
            Poll::Ready(Ok(result)) => writing.went(bytes(result)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return writing.poll_late(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
        wrote
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stalling<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // Who sends something asks anew.
        if read.is_ready() && buffer.filled().len() > before {
            self.writing = None;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stalling<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, wrote, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, wrote, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut, |()| 0)
    }
}

//! Request bodies that end: their peer has to send them at some rate.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Bytes, HttpBody},
};
use hyper::body::{Frame, Incoming, SizeHint};

use super::{
    connections::Turn,
    stall::{Slowest, Transfer},
};

/// A body that comes no more slowly than it may. Once it is whole it is no longer the peer's turn.
pub(super) struct Timed {
    body: Incoming,
    transfer: Transfer,
    turn: Turn,
}

impl Timed {
    pub(super) fn new(body: Incoming, slowest: Slowest, turn: Turn) -> Self {
        if body.is_end_stream() {
            turn.ours();
        }
        Self { body, transfer: Transfer::begin(slowest), turn }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return self.transfer.poll_late(cx).map(|()| Some(Err(Late.into())));
        };
        if let Some(Ok(frame)) = &frame {
            self.transfer.went(frame.data_ref().map_or(0, Bytes::len));
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.turn.ours();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body came too slowly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it came too slowly")]
pub(super) struct Late;

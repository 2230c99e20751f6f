//! Bodies on their way through.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// A request's body as it goes to an upstream.
pub type RequestBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A body that is there whole.
pub fn whole(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that passes as it comes.
pub fn passing(body: Incoming) -> RequestBody {
    body.boxed_unsync()
}

/// A response's body as it goes to the caller.
#[derive(Debug)]
pub enum ResponseBody {
    /// The proxy's own.
    Own(Full<Bytes>),
    /// The upstream's, which nobody looks at.
    Passing(Incoming),
    /// The upstream's, piece by piece, from whoever records it.
    Recorded {
        /// The pieces.
        pieces: mpsc::Receiver<Result<Frame<Bytes>, Broken>>,
        /// How long it is, if the upstream said so.
        size: SizeHint,
    },
}

impl ResponseBody {
    /// A body of the proxy's own.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Passing(body) => Pin::new(body).poll_frame(context).map_err(|_| Broken),
            Self::Recorded { pieces, .. } => pieces.poll_recv(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Passing(body) => body.is_end_stream(),
            // The end is seen when it comes: until then the receipt may still want to hold it.
            Self::Recorded { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Passing(body) => body.size_hint(),
            Self::Recorded { size, .. } => *size,
        }
    }
}

/// The body does not come to its end: the caller's connection is broken off, so that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off")]
pub struct Broken;

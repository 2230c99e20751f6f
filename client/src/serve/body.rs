//! Request bodies that end: in bytes and in time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::Limits;

/// A request's body, read whole.
#[derive(Clone, Debug)]
pub struct Whole(pub Bytes);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = BodyError;

    async fn from_request(request: Request, _: &S) -> Result<Self, BodyError> {
        match request.into_body().collect().await {
            Ok(body) => Ok(Self(body.to_bytes())),
            Err(error) => Err(BodyError::of(&error)),
        }
    }
}

/// Why a request's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Above the limit.
    #[error("the body is too long")]
    TooLong,
    /// Not there in time.
    #[error("the body did not come in time")]
    TooSlow,
    /// The connection broke, or the transfer coding is wrong.
    #[error("the body did not come whole")]
    Broken,
}

impl BodyError {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(own) = error.downcast_ref() {
                return *own;
            }
            if error.is::<LengthLimitError>() {
                return Self::TooLong;
            }
            cause = error.source();
        }
        Self::Broken
    }

    /// The HTTP status that says so.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}

/// Puts the limits on a request's body, whoever reads it.
pub(super) async fn bound(State(limits): State<Limits>, request: Request) -> Request {
    request.map(|body| {
        let deadline = Box::pin(sleep(limits.body_timeout));
        Body::new(Limited::new(Timed { body, deadline }, limits.body_bytes_max))
    })
}

/// A body that must have ended before the deadline.
struct Timed {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::TooSlow.into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

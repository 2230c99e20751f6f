//! Memory for what is large and on its way: bodies of batches that come, bundles and pages that are taken. There is so much of
//! it for all together, however many come slowly or take nothing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use counterfoil_receipt::envelope::ENVELOPE_BYTES_MAX;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// What has no more than so many bytes is not counted: an envelope, or any answer but bundles and pages.
pub(super) const SMALL_BYTES_MAX: usize = ENVELOPE_BYTES_MAX;

/// What a permit stands for.
const PERMIT_BYTES: usize = 1024;

/// The memory that there is.
pub(super) struct Room(Arc<Semaphore>);

/// Some of it, until this is dropped.
#[derive(Default)]
pub(super) struct Held {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Lets `held` stand for so many bytes in all.
    ///
    /// # Errors
    /// If there is not so much room left.
    pub(super) fn hold(&self, held: &mut Held, bytes: usize) -> Result<(), ApiError> {
        if bytes <= SMALL_BYTES_MAX || bytes <= held.bytes {
            return Ok(());
        }
        let has = held.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(PERMIT_BYTES).saturating_sub(has);
        let missing = u32::try_from(missing).map_err(|_| ApiError::Busy)?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(missing).map_err(|_| ApiError::Busy)?;
        match &mut held.permit {
            Some(permit) => permit.merge(more),
            None => held.permit = Some(more),
        }
        held.bytes = bytes;
        Ok(())
    }

    /// A body that stands for its bytes until it is sent. One whose length is not known in advance is made as it is sent, and
    /// stands for nothing.
    ///
    /// # Errors
    /// If there is not so much room left.
    pub(super) fn sending(&self, body: Body) -> Result<Body, ApiError> {
        let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if length <= SMALL_BYTES_MAX {
            return Ok(body);
        }
        let mut held = Held::default();
        self.hold(&mut held, length)?;
        Ok(Body::new(Sending { body, _held: held }))
    }
}

struct Sending {
    body: Body,
    _held: Held,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is small always has room; what is large has so much together, and again once it is gone.
    #[test]
    fn room_is_shared_and_given_back() {
        let room = Room::new(1024 * 1024);
        let (mut first, mut second) = (Held::default(), Held::default());
        for bytes in [0, 1, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 700_000, 699_999, 700_000] {
            room.hold(&mut first, bytes).unwrap();
        }
        assert!(matches!(room.hold(&mut second, 400_000), Err(ApiError::Busy)));
        assert!(room.hold(&mut second, SMALL_BYTES_MAX).is_ok());
        assert!(matches!(room.hold(&mut first, usize::MAX), Err(ApiError::Busy)));
        let sending = room.sending(Body::from(vec![0; 300_000])).unwrap();
        assert!(room.sending(Body::from(vec![0; 300_000])).is_err());
        assert!(room.sending(Body::from(vec![0; SMALL_BYTES_MAX])).is_ok());
        drop(sending);
        room.hold(&mut second, 300_000).unwrap();
        drop(first);
        room.hold(&mut second, 1024 * 1024).unwrap();
        drop(second);
        assert_eq!(room.0.available_permits(), 1024);
    }
}

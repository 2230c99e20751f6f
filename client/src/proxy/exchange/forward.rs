//! The answer, piece by piece as it comes: recorded, and handed on before the next is read.

use bytes::Bytes;
use counterfoil_receipt::exchange::{End, is_event_stream};
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::{Body as _, Frame, Incoming},
    header,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Ended, Exchange,
    held::{Held, Pieces},
};
use crate::proxy::{
    app::now,
    config::Mode,
    headers,
    relay::{Broken, ResponseBody},
};

/// Most bytes that are held of what follows the end of an answer.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// What comes next.
enum Next {
    Data(Bytes),
    Last(Frame<Bytes>),
    End(End),
}

impl Exchange {
    /// Hands the answer to the caller.
    pub(super) async fn forward(&mut self, response: Response<Incoming>) -> Ended {
        let since = Instant::now();
        let (mut parts, body) = response.into_parts();
        let is_stream = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.to_str().is_ok_and(is_event_stream));
        let is_plain = !parts.headers.contains_key(header::CONTENT_ENCODING);
        if self.head.as_ref().is_none_or(|head| head.is_closed()) {
            return Ended { end: End::ClientGone, held: Held::Nothing };
        }
        self.recorder.head(parts.status.as_u16(), &parts.headers, now());
        parts.headers = headers::to_caller(&parts.headers);
        self.mark(&mut parts.headers);
        if body.is_end_stream() {
            let empty = Response::from_parts(parts, ResponseBody::own(Bytes::new()));
            return Ended { end: End::Finished, held: Held::Answer(empty) };
        }
        let (pieces, taken) = mpsc::channel(1);
        let size = body.size_hint();
        let has_room = self.proxy.stream_comment && is_stream && is_plain && size.exact().is_none();
        let response = Response::from_parts(parts, ResponseBody::Recorded { pieces: taken, size });
        if self.head.take().is_none_or(|head| head.send(response).is_err()) {
            return Ended { end: End::ClientGone, held: Held::Nothing };
        }
        self.proxy.metrics.added(self.added + since.elapsed());
        let mut pieces = Pieces::new(pieces, has_room);
        let end = self.pump(body, is_stream, &mut pieces).await;
        Ended { end, held: Held::Pieces(pieces) }
    }

    /// Moves pieces until there are none. In strict mode the one that ends the answer stays in `pieces`, and what follows it.
    async fn pump(&mut self, mut body: Incoming, is_stream: bool, pieces: &mut Pieces) -> End {
        loop {
            let data = match self.next(&mut body, pieces).await {
                Next::Data(data) => data,
                Next::Last(trailers) => {
                    pieces.trailers = Some(trailers);
                    continue;
                }
                Next::End(end) => {
                    pieces.is_broken = end != End::Finished;
                    return end;
                }
            };
            // Who takes nothing for so long is gone as well.
            let Ok(Ok(permit)) = timeout(self.proxy.bounds.idle, pieces.to.reserve()).await else {
                return End::ClientGone;
            };
            self.record(&data);
            if let Some(kept) = self.bodies() {
                kept.answered(data.clone()).await;
            }
            let is_held = match (self.proxy.mode, is_stream) {
                (Mode::FailOpen, _) => false,
                (Mode::Strict, true) => !pieces.held.is_empty() || self.recorder.is_over(),
                // Any piece may be the last one.
                (Mode::Strict, false) => true,
            };
            if !is_held {
                permit.send(Ok(Frame::data(data)));
            } else if is_stream {
                pieces.held.push(data);
                if pieces.held.iter().map(Bytes::len).sum::<usize>() > HELD_BYTES_MAX {
                    pieces.is_broken = true;
                    return End::Finished;
                }
            } else {
                let before = pieces.held.pop();
                pieces.held.push(data);
                if let Some(before) = before {
                    permit.send(Ok(Frame::data(before)));
                }
            }
        }
    }

    async fn next(&mut self, body: &mut Incoming, pieces: &Pieces) -> Next {
        // The caller's side closes by itself once it has all that was announced.
        if body.is_end_stream() {
            return Next::End(End::Finished);
        }
        let mut stop = self.proxy.stop.clone();
        let latest = self.deadline.min(Instant::now() + self.proxy.bounds.idle);
        tokio::select! {
            frame = timeout_at(latest, body.frame()) => match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Next::Data(data),
                    Err(trailers) => Next::Last(trailers),
                },
                Ok(Some(Err(_))) => Next::End(End::UpstreamGone),
                Ok(None) => Next::End(End::Finished),
                Err(_) => Next::End(End::Timeout),
            },
            () = pieces.to.closed() => Next::End(End::ClientGone),
            _ = stop.wait_for(|stop| *stop) => Next::End(End::ProxyFailed),
        }
    }

    /// Records a piece, within what all exchanges may hold.
    fn record(&mut self, data: &[u8]) {
        self.recorder.answered(data);
        let asked = self.asked_bytes;
        if !self.share.resize(asked + self.recorder.held()) {
            self.recorder.leave_out();
            // What is given back is never refused.
            let _ = self.share.resize(asked + self.recorder.held());
        }
    }
}

/// A piece as it goes to the caller.
pub(super) type Piece = Result<Frame<Bytes>, Broken>;

//! What of an answer has not gone out yet when its exchange is over.

use bytes::Bytes;
use counterfoil_receipt::Id;
use hyper::{Response, StatusCode, body::Frame};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{LAST_PIECES, forward::Piece};
use crate::proxy::{
    answer::problem,
    relay::{Broken, ResponseBody},
};

/// What has not gone out.
#[derive(Debug)]
pub(super) enum Held {
    /// Nothing is left, or nobody to take it.
    Nothing,
    /// All of it.
    Answer(Response<ResponseBody>),
    /// The end of it.
    Pieces(Pieces),
}

/// The end of a body.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Where they go.
    pub(super) to: mpsc::Sender<Piece>,
    /// Data that is held.
    pub(super) held: Vec<Bytes>,
    /// What comes after all data.
    pub(super) trailers: Option<Frame<Bytes>>,
    /// Whether the body does not come to its end.
    pub(super) is_broken: bool,
    /// Whether a comment with the receipt's id may follow.
    has_room: bool,
}

impl Pieces {
    pub(super) const fn new(to: mpsc::Sender<Piece>, has_room: bool) -> Self {
        Self { to, held: Vec::new(), trailers: None, is_broken: false, has_room }
    }

    async fn release(self, id: Option<Id>) {
        let Self { to, held, trailers, is_broken, has_room } = self;
        let comment =
            id.filter(|_| has_room && !is_broken).map(|id| Bytes::from(format!(": counterfoil {id}\n\n")));
        let data = held.into_iter().chain(comment).map(Frame::data);
        let broken = is_broken.then_some(Err(Broken));
        for piece in data.chain(trailers).map(Ok).chain(broken) {
            // A caller that left, or takes nothing, has no use for the rest.
            if !matches!(timeout(LAST_PIECES, to.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

impl Held {
    /// Whether it ends with the receipt's id, which must be known first.
    pub(super) fn wants_id(&self) -> bool {
        matches!(self, Self::Pieces(pieces) if pieces.has_room && !pieces.is_broken)
    }

    /// Lets it go.
    pub(super) async fn release(
        self,
        head: &mut Option<oneshot::Sender<Response<ResponseBody>>>,
        id: Option<Id>,
    ) {
        match self {
            Self::Nothing => {}
            Self::Answer(response) => {
                if let Some(head) = head.take() {
                    // Who has left wants no answer.
                    let _ = head.send(response);
                }
            }
            Self::Pieces(pieces) => pieces.release(id).await,
        }
    }

    /// Keeps it back for good, and shows that something is missing.
    pub(super) fn withhold(self, head: &mut Option<oneshot::Sender<Response<ResponseBody>>>) {
        match self {
            Self::Nothing => {}
            Self::Answer(_) => {
                if let Some(head) = head.take() {
                    let none = problem(StatusCode::SERVICE_UNAVAILABLE, "no receipt could be made");
                    let _ = head.send(none);
                }
            }
            Self::Pieces(pieces) => {
                // The channel may hold a piece that is not taken yet: then dropping it breaks nothing off, so wait.
                tokio::spawn(async move {
                    let _ = timeout(LAST_PIECES, pieces.to.send(Err(Broken))).await;
                });
            }
        }
    }
}

//! One exchange, from the request's first byte to its receipt: read, ask, forward, receipt.
//!
//! It runs in a task of its own, so that it comes to its end whoever leaves.

mod ask;
mod forward;
mod held;
mod read;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use counterfoil_receipt::{
    Id,
    claim::ClaimKey,
    draft::ClaimSource,
    exchange::{Call, End},
    statement::receipt::Claimed,
};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::HeaderValue,
};
use tokio::{sync::oneshot, time::Instant};
use tracing::error;
use zeroize::Zeroizing;

use super::{
    answer::{problem, problem_bytes},
    app::{Entropy, Proxy, now},
    bodies::Kept,
    budget::Share,
    config::Mode,
    headers::{self, Wishes},
    live::UnderWay,
    lookup,
    recorder::{Finished, Recorder},
    relay::ResponseBody,
    spool::{Room, SpoolError, record::ExchangeId, writer::Over},
};
use held::Held;

/// What an exchange takes of the spool beside its request.
pub(super) const ROOM_BYTES: u64 = 64 * 1024;

/// From how many bytes of bodies on they are read where nobody else is held up: reading so much takes a tenth of a millisecond.
const LARGE_BYTES: u64 = 32 * 1024;

/// How long the end of an answer may wait to be taken.
const LAST_PIECES: Duration = Duration::from_secs(60);

/// An exchange under way.
struct Exchange {
    proxy: Arc<Proxy>,
    recorder: Recorder,
    /// Where the answer goes, until its head has gone.
    head: Option<oneshot::Sender<Response<ResponseBody>>>,
    receipt: Option<Receipt>,
    /// What is held of the exchange, and how much of that is its request.
    share: Share,
    asked_bytes: usize,
    claimed: Option<Claimed>,
    deadline: Instant,
    /// What the proxy itself took so far.
    added: Duration,
}

/// What an exchange needs to get its receipt. Without room in the spool it has none.
struct Receipt {
    name: ExchangeId,
    credential: [u8; 32],
    promise: Option<HeaderValue>,
    bodies: Option<Kept>,
    _room: Room,
    _under_way: UnderWay,
}

/// Begins an exchange, and answers when the head of its answer is there.
pub(super) async fn begin(
    proxy: Arc<Proxy>,
    call: Call,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let began = Instant::now();
    let wishes = match Wishes::of(request.headers()) {
        Ok(wishes) => wishes,
        Err(error) => {
            proxy.metrics.refused("bad-header");
            return problem(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    let (head, wait) = oneshot::channel();
    let mut entropy = Entropy::default();
    let claim = claim(&wishes, &mut entropy);
    let receipt = receipt(&proxy, &request, &claim, &mut entropy);
    if receipt.is_none() && proxy.mode == Mode::Strict {
        proxy.metrics.refused("spool-full");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "no receipt can be made now");
    }
    let limits = proxy.policy.limits;
    let mut random = |bytes: &mut [u8]| entropy.fill(bytes);
    let recorder = Recorder::new(call, limits, claim, wishes.nonce, now(), &mut random);
    if let Err(error) = entropy.check() {
        error!(%error, "the system gives no random bytes");
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "no receipt can be made now");
    }
    let exchange = Exchange {
        recorder,
        head: Some(head),
        receipt,
        share: proxy.memory.share(),
        asked_bytes: 0,
        claimed: None,
        deadline: began + proxy.bounds.exchange,
        added: began.elapsed(),
        proxy,
    };
    tokio::spawn(exchange.run(request));
    wait.await.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the exchange broke off"))
}

/// The caller's own claim key, or a fresh one.
fn claim(wishes: &Wishes, entropy: &mut Entropy) -> ClaimSource {
    if let Some(key) = &wishes.claim {
        return ClaimSource::Given(key.clone());
    }
    let mut seed = Zeroizing::new([0; 32]);
    entropy.fill(&mut *seed);
    ClaimSource::Drawn(ClaimKey::new(*seed))
}

/// What the exchange needs to get its receipt; `None` if the spool has no room.
fn receipt(
    proxy: &Arc<Proxy>,
    request: &Request<Incoming>,
    claim: &ClaimSource,
    entropy: &mut Entropy,
) -> Option<Receipt> {
    let length = request.body().size_hint().lower();
    let Some(room) = proxy.spool.reserve(length.saturating_mul(2).saturating_add(ROOM_BYTES)) else {
        proxy.metrics.unreceipted("spool-full");
        error!("the spool is full or has failed: an exchange gets no receipt");
        return None;
    };
    let (mut name, mut nonce) = ([0; 16], [0; 16]);
    entropy.fill(&mut name);
    entropy.fill(&mut nonce);
    let credential = headers::credential(request.headers(), &proxy.credential_headers);
    let credential = proxy.spool.credential(&credential);
    let key = match claim {
        ClaimSource::Given(key) => Some(key.clone()),
        ClaimSource::Drawn(key) => Some(key.signing_key().public().clone()),
        ClaimSource::Fresh | ClaimSource::Nobody => None,
    };
    let promise = proxy.promises.as_ref().zip(key).and_then(|(promises, key)| {
        let made = promises.make(key, nonce, now());
        made.inspect_err(|error| error!(%error, "a promise cannot be signed")).ok()
    });
    let bodies = proxy.bodies.as_ref().map(|bodies| bodies.begin(name));
    let under_way = proxy.live.begin(name, credential);
    Some(Receipt { name, credential, promise, bodies, _room: room, _under_way: under_way })
}

/// How an exchange ended, and what of its answer has not gone out.
struct Ended {
    end: End,
    held: Held,
}

impl Exchange {
    async fn run(mut self, request: Request<Incoming>) {
        let (parts, body) = request.into_parts();
        let (asked, ended) = match self.read(body).await {
            Ok(asked) => {
                self.asked_bytes = asked.len();
                let answer = self.ask(&parts, &asked).await;
                let ended = match answer {
                    Ok(response) => self.forward(response).await,
                    Err(none) => self.own(none),
                };
                (asked, ended)
            }
            Err(unread) => (Bytes::new(), self.own(unread)),
        };
        self.finish(&parts.headers, asked, ended).await;
    }

    /// An answer of the proxy's own, unless nobody waits for it.
    fn own(&mut self, none: NoAnswer) -> Ended {
        let NoAnswer { status, end, reason, detail } = none;
        let is_awaited = self.head.as_ref().is_some_and(|head| !head.is_closed());
        let Some(status) = status.filter(|_| is_awaited) else {
            return Ended { end, held: Held::Nothing };
        };
        self.proxy.metrics.refused(reason);
        let mut response = problem_bytes(status, detail);
        self.recorder.own_head(status.as_u16(), now());
        self.recorder.answered(response.body());
        self.mark(response.headers_mut());
        Ended { end, held: Held::Answer(response.map(ResponseBody::own)) }
    }

    /// Where the bodies are kept, if they are.
    fn bodies(&self) -> Option<&Kept> {
        self.receipt.as_ref()?.bodies.as_ref()
    }

    /// Puts the proxy's own headers beside those of the answer.
    fn mark(&self, headers: &mut HeaderMap) {
        let Some(receipt) = &self.receipt else { return };
        let name = HeaderValue::from_str(&lookup::name(&receipt.name)).expect("hex is fit for a header");
        headers.insert(headers::EXCHANGE, name);
        if let Some(promise) = &receipt.promise {
            headers.insert(headers::PROMISE, promise.clone());
        }
    }

    /// Makes the receipt last and lets the end of the answer go, in the order that the mode asks for.
    async fn finish(self, headers: &HeaderMap, asked: Bytes, ended: Ended) {
        let Self { proxy, recorder, mut head, receipt, share, claimed, .. } = self;
        let Ended { end, mut held } = ended;
        let Some(receipt) = receipt else {
            held.release(&mut head, None).await;
            return;
        };
        let is_awaited = proxy.mode == Mode::Strict || held.wants_id();
        if !is_awaited {
            held.release(&mut head, None).await;
            held = Held::Nothing;
        }
        let waiting = Instant::now();
        let written = write(&proxy, recorder, (headers.clone(), asked), end, claimed, receipt).await;
        drop(share);
        if is_awaited {
            proxy.metrics.held_back(waiting.elapsed());
        }
        match written {
            Ok(id) => held.release(&mut head, Some(id)).await,
            Err(error) => {
                proxy.metrics.unreceipted("not-written");
                error!(error = &error as &dyn std::error::Error, "an exchange gets no receipt");
                match proxy.mode {
                    Mode::Strict => held.withhold(&mut head),
                    Mode::FailOpen => held.release(&mut head, None).await,
                }
            }
        }
    }
}

/// No answer came from an upstream.
#[derive(Clone, Copy, Debug)]
struct NoAnswer {
    /// What the caller is told; `None` if it has left.
    status: Option<StatusCode>,
    /// How the exchange ended.
    end: End,
    /// For the counter.
    reason: &'static str,
    /// In words.
    detail: &'static str,
}

/// Makes the receipt of an exchange, and makes it last.
async fn write(
    proxy: &Arc<Proxy>,
    recorder: Recorder,
    (headers, asked): (HeaderMap, Bytes),
    end: End,
    claimed: Option<Claimed>,
    receipt: Receipt,
) -> Result<Id, NoReceipt> {
    let completed = now();
    let is_large = recorder.answered_bytes() + asked.len() as u64 > LARGE_BYTES;
    let finish = {
        let proxy = Arc::clone(proxy);
        move || -> Result<Finished, NoReceipt> {
            let mut entropy = Entropy::default();
            let mut random = |bytes: &mut [u8]| entropy.fill(bytes);
            let (asked, policy) = ((&headers, &*asked), &proxy.policy);
            let finished = recorder.finish(asked, end, completed, policy, claimed, &mut random)?;
            entropy.check()?;
            Ok(finished)
        }
    };
    let finished = if is_large {
        tokio::task::spawn_blocking(finish).await.unwrap_or(Err(NoReceipt::Broken))?
    } else {
        finish()?
    };
    proxy.metrics.over(finished.summary);
    let Receipt { name, credential, bodies, .. } = receipt;
    let over = Over { exchange: name, credential, completed, receipt: finished.receipt };
    let written = proxy.spool.write(over).await;
    if let Some(bodies) = bodies {
        bodies.end(written.as_ref().ok().copied()).await;
    }
    let id = written?;
    proxy.metrics.receipted();
    Ok(id)
}

/// Why an exchange gets no receipt.
#[derive(Debug, thiserror::Error)]
enum NoReceipt {
    #[error(transparent)]
    Draft(#[from] counterfoil_receipt::draft::DraftError),
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("its bodies could not be read")]
    Broken,
}

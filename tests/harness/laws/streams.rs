//! What a service answers through the proxy: bodies, whole or as events, in any content encoding and cut anywhere.

use axum::http::{HeaderMap, HeaderValue, header};
use counterfoil_client::proxy::decode::{Decoder, whole};
use counterfoil_receipt::{
    Envelope, Statement,
    commitment::{Bodies, Finding},
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    exchange::{Call, End, Facts, Head, Limits, Watched},
    statement::{Issuer, Number, Numbering, StreamId},
};

use super::vectors;

const PATHS: [&str; 5] =
    ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"];

const ENDS: [End; 5] = [End::Finished, End::Timeout, End::ClientGone, End::UpstreamGone, End::ProxyFailed];

const LIMITS: [Limits; 3] = [
    Limits { body: 1 << 16, event: 1 << 14, content: 1 << 15 },
    Limits { body: 400, event: 150, content: 200 },
    Limits { body: 64, event: 16, content: 1 },
];

/// An exchange, as the fuzzer's bytes describe it: five bytes of choices, then the request up to the first zero byte, then the
/// response.
struct Played<'a> {
    call: Call,
    limits: Limits,
    end: End,
    status: u16,
    is_stream: bool,
    piece: usize,
    sealed: bool,
    request: &'a [u8],
    response: &'a [u8],
}

impl<'a> Played<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let ([kind, limits, end, status, piece], bodies) = bytes.split_first_chunk()?;
        let cut = bodies.iter().position(|&byte| byte == 0).unwrap_or(bodies.len());
        let (request, response) = bodies.split_at(cut);
        Some(Self {
            call: Call::at(PATHS[usize::from(*kind) % PATHS.len()]).expect("a call"),
            limits: LIMITS[usize::from(*limits) % LIMITS.len()],
            end: ENDS[usize::from(*end) % ENDS.len()],
            status: [200, 201, 404, 500, 99][usize::from(*status) % 5],
            is_stream: kind & 128 != 0,
            piece: usize::from(*piece).max(1),
            sealed: limits & 128 == 0,
            request,
            response: response.get(1..).unwrap_or_default(),
        })
    }

    fn watch(&self, piece: usize) -> Facts {
        let mut watched = Watched::new(self.call.clone(), self.limits);
        let content_type = if self.is_stream { "text/event-stream" } else { "application/json" };
        watched.head(&Head { status: self.status, content_type: Some(content_type), request_id: None });
        let Limits { body, event, content } = self.limits;
        for bytes in self.response.chunks(piece) {
            watched.body(bytes);
            // A body that is held whole may have room to grow into.
            let held_max = if self.is_stream { 2 * event + content } else { 2 * body };
            assert!(watched.held() <= held_max, "{} bytes are held of {held_max}", watched.held());
        }
        watched.facts(self.request, self.end)
    }
}

/// However the response is cut, it says the same; what is held and what is taken out of it are bounded. Whatever was said, the
/// exchange gets a receipt that a log reads, and every commitment in it can be opened.
pub fn exchange(bytes: &[u8]) -> bool {
    let Some(played) = Played::read(bytes) else { return false };
    let facts = played.watch(usize::MAX);
    assert_eq!(played.watch(played.piece), facts, "in pieces of {} it says something else", played.piece);
    let answer = &facts.answer;
    let taken = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let content = taken(&answer.texts) + answer.embedding.as_deref().map_or(0, str::len);
    let ids = answer.token_ids.iter().map(|ids| 4 * ids.len()).sum::<usize>();
    assert!(content + ids <= played.limits.content, "{content} and {ids} bytes were taken");
    assert!(taken(&facts.parts) <= played.limits.content);
    let accepted = answer.reported.is_some() || !answer.texts.is_empty() || facts.requested.is_some();

    let body = (!played.response.is_empty()).then_some(played.response);
    let terms = Terms {
        log: vectors::LOG.parse().expect("an origin"),
        issuer: Issuer { key: vectors::issuer().public().clone(), software: None },
        claim: ClaimSource::Nobody,
        sealed: if played.sealed { Sealed::default() } else { Sealed::only([]) },
        extras: Extras::default(),
    };
    let place = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
    let wire = WireBodies { request: played.request, response: body };
    let draft = Draft::new(facts, wire, terms, place, &mut |bytes| bytes.fill(4)).expect("facts never fail");
    let signed = draft.sign(vectors::issuer()).expect("every exchange gets a receipt");
    let sent = signed.envelope().to_json();
    let received = Envelope::parse(sent.as_bytes()).and_then(Envelope::verify).expect("it is signed");
    let read = Statement::parse(&received).expect("a log reads it");
    assert_eq!(read, draft.statement);
    let bodies = Bodies { request: Some(played.request), response: body };
    for checked in draft.openings.check(&read, bodies) {
        assert_eq!(checked.finding, Finding::Opened, "{:?}", checked.label);
    }
    accepted
}

/// What comes out of a body is bounded by what went in, and the same however that is cut.
pub fn content_coding(bytes: &[u8]) -> bool {
    let Some(([coding, piece], body)) = bytes.split_first_chunk() else { return false };
    let coding = ["gzip", "deflate", "br", "zstd", "identity"][usize::from(*coding) % 5];
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    let decoded = |piece: usize| {
        let mut decoder = Decoder::of(&headers).expect("a known encoding");
        let (mut out, mut taken) = (Vec::new(), 0);
        for bytes in body.chunks(piece) {
            taken += bytes.len();
            let result = decoder.push(bytes, &mut |bytes| out.extend_from_slice(bytes));
            // A step beyond a megabyte, or beyond two hundred times what came, and it ends.
            assert!(out.len() <= (1 << 20).max(200 * (taken + 1)) + (16 << 10), "a bomb went off");
            result.ok()?;
        }
        Some(out)
    };
    let (at_once, in_pieces) = (decoded(body.len().max(1)), decoded(usize::from(*piece).max(1)));
    if let (Some(at_once), Some(in_pieces)) = (&at_once, &in_pieces) {
        assert!(at_once == in_pieces, "cut otherwise, something else came out");
    }
    if let Some(short) = whole(&headers, body, 1000) {
        assert!(short.len() <= 1000);
        assert_eq!(Some(short), at_once);
    }
    at_once.is_some_and(|out| !out.is_empty())
}

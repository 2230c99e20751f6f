//! What the proxy knows of one exchange while bytes pass, and the receipt that it makes of it.
//!
//! The keys of the commitments to both bodies exist from the start: bodies are hashed as they pass and never held for it.

use std::collections::BTreeMap;

use counterfoil_receipt::{
    Timestamp,
    commitment::Label,
    draft::{BodyCommitter, ClaimSource, CommittedBodies, DraftError, Extras, Sealed, Terms, Unnumbered},
    exchange::{Answer, Call, End, Facts, Head, Limits, Watched},
    statement::{
        Issuer, Nonce, Origin,
        groups::{Accountable, Attempt, Attempts, Timing},
        receipt::Claimed,
    },
};
use hyper::header::{self, HeaderMap};

use super::decode::{self, Decoder};

/// Under what terms receipts are made: what the operator says.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The log they are meant for.
    pub log: Origin,
    /// Who issues them.
    pub issuer: Issuer,
    /// Which groups are sealed.
    pub sealed: Sealed,
    /// Who answers for the answers.
    pub accountable: Option<Accountable>,
    /// Names that stand in receipts for private names of models.
    pub aliases: BTreeMap<String, String>,
    /// Whether input messages, texts and tool calls are committed to one by one. Their openings hold them in clear.
    pub contents: bool,
    /// What is held of an exchange, to be read.
    pub limits: Limits,
}

/// One exchange, from the request's first byte to the answer's last.
#[derive(Debug)]
pub struct Recorder {
    watched: Watched,
    request: BodyCommitter,
    response: BodyCommitter,
    decoder: Option<Decoder>,
    claim: ClaimSource,
    nonce: Option<Nonce>,
    timing: Timing,
    attempts: Vec<Attempt>,
    /// The status that the caller was sent.
    status: Option<u16>,
}

impl Recorder {
    /// A request begins to arrive. `random` fills slices with bytes fit for keys.
    pub fn new(
        call: Call,
        limits: Limits,
        claim: ClaimSource,
        nonce: Option<Nonce>,
        received: Timestamp,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Self {
        Self {
            watched: Watched::new(call, limits),
            request: BodyCommitter::new(Label::Request, random),
            response: BodyCommitter::new(Label::Response, random),
            decoder: None,
            claim,
            nonce,
            timing: Timing { received: Some(received), ..Timing::default() },
            attempts: Vec::new(),
            status: None,
        }
    }

    /// What is called.
    pub const fn call(&self) -> &Call {
        self.watched.call()
    }

    /// More of the request's body came.
    pub fn asked(&mut self, bytes: &[u8]) {
        self.request.update(bytes);
    }

    /// An upstream was tried.
    pub fn tried(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// The upstream's response begins to go to the caller.
    pub fn head(&mut self, status: u16, headers: &HeaderMap, at: Timestamp) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        self.watched.head(&Head {
            status,
            content_type: text(header::CONTENT_TYPE.as_str()),
            request_id: text("x-request-id").or_else(|| text("request-id")),
        });
        self.decoder = Decoder::of(headers);
        if self.decoder.is_none() {
            self.watched.unread();
        }
        self.begin(status, at);
    }

    /// An answer of the proxy's own begins to go to the caller: no upstream gave one.
    pub fn own_head(&mut self, status: u16, at: Timestamp) {
        self.begin(status, at);
    }

    fn begin(&mut self, status: u16, at: Timestamp) {
        self.status = Some(status);
        self.timing.first_byte = Some(at);
    }

    /// More of the response's body goes to the caller.
    pub fn answered(&mut self, bytes: &[u8]) {
        self.response.update(bytes);
        let Some(decoder) = &mut self.decoder else { return };
        let watched = &mut self.watched;
        if decoder.push(bytes, &mut |bytes| watched.body(bytes)).is_err() {
            self.decoder = None;
            self.watched.unread();
        }
    }

    /// How many bytes of the response's body went to the caller.
    pub const fn answered_bytes(&self) -> u64 {
        self.response.length()
    }

    /// Whether the answer is a stream that has said that nothing follows.
    pub fn is_over(&self) -> bool {
        self.watched.is_over()
    }

    /// How many bytes are held of the response, about.
    pub fn held(&self) -> usize {
        self.watched.held()
    }

    /// Leaves the content of the response out, and gives back what is held of it: memory is short.
    pub fn leave_out(&mut self) {
        self.watched.leave_out();
    }

    /// The exchange is over: what it says, and the receipt of it, which only wants its place in a stream.
    ///
    /// `asked` is the request's headers and body.
    pub fn finish(
        self,
        asked: (&HeaderMap, &[u8]),
        end: End,
        completed: Timestamp,
        policy: &Policy,
        claimed: Option<Claimed>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Finished, DraftError> {
        let request = decode::whole(asked.0, asked.1, policy.limits.body).unwrap_or_default();
        let mut facts = self.watched.facts(&request, end);
        facts.status = self.status;
        let summary = Summary::of(&facts);
        if !policy.contents {
            facts.parts.clear();
            let Answer { texts, tool_calls, embedding, .. } = &mut facts.answer;
            (*texts, *tool_calls, *embedding) = Default::default();
        }
        let mut attempts = self.attempts;
        for attempt in &mut attempts {
            attempt.model.clone_from(&facts.requested);
        }
        let alias = rename(&mut facts, &mut attempts, &policy.aliases).then_some(true);
        let extras = Extras {
            timing: Some(Timing { completed: Some(completed), ..self.timing }),
            caller_nonce: self.nonce,
            attempts: Some(Attempts(attempts)).filter(|attempts| !attempts.0.is_empty()),
            claimed,
            alias,
            accountable: policy.accountable.clone(),
            ..Extras::default()
        };
        let terms = Terms {
            log: policy.log.clone(),
            issuer: policy.issuer.clone(),
            claim: self.claim,
            sealed: policy.sealed.clone(),
            extras,
        };
        let response = self.status.is_some().then(|| self.response.finish());
        let bodies = CommittedBodies { request: self.request.finish(), response };
        Ok(Finished { receipt: Unnumbered::new(facts, bodies, terms, random)?, summary })
    }
}

/// An exchange that is over.
#[derive(Debug)]
pub struct Finished {
    /// Its receipt, without its place in a stream.
    pub receipt: Unnumbered,
    /// What is counted of it.
    pub summary: Summary,
}

/// What is counted of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its protocol.
    pub protocol: &'static str,
    /// How it ended.
    pub outcome: &'static str,
    /// Whether its content was left out of the receipt.
    pub left_out: bool,
}

impl Summary {
    const fn of(facts: &Facts) -> Self {
        Self {
            protocol: facts.protocol.as_str(),
            outcome: facts.outcome.as_str(),
            left_out: facts.answer.left_out,
        }
    }
}

/// Puts aliases in the place of private names; whether there was one.
fn rename(facts: &mut Facts, attempts: &mut [Attempt], aliases: &BTreeMap<String, String>) -> bool {
    let names = [&mut facts.requested, &mut facts.answer.reported];
    let names = names.into_iter().chain(attempts.iter_mut().map(|attempt| &mut attempt.model));
    let mut renamed = false;
    for name in names.flatten() {
        if let Some(alias) = aliases.get(name.as_str()) {
            name.clone_from(alias);
            renamed = true;
        }
    }
    renamed
}

#[cfg(test)]
mod tests;

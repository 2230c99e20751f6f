//! The bodies of an exchange as on the wire, after transfer decoding and before content decoding: what is committed to.

use zeroize::Zeroizing;

use crate::{
    commitment::{Committer, Label, Opening, OpeningKey},
    statement::Commitment,
};

/// Bodies that are there whole.
#[derive(Clone, Copy, Debug)]
pub struct WireBodies<'a> {
    /// The request's.
    pub request: &'a [u8],
    /// The response's, as far as it was sent; `None` when nothing was.
    pub response: Option<&'a [u8]>,
}

impl WireBodies<'_> {
    /// Commits to them, each under a fresh key.
    pub fn commit(self, random: &mut dyn FnMut(&mut [u8])) -> CommittedBodies {
        let mut commit = |label, bytes| {
            let mut body = BodyCommitter::new(label, random);
            body.update(bytes);
            body.finish()
        };
        let request = commit(Label::Request, self.request);
        CommittedBodies { request, response: self.response.map(|body| commit(Label::Response, body)) }
    }
}

/// Commits to a body while it passes by: its key is drawn before the first byte.
#[derive(Clone, Debug)]
pub struct BodyCommitter {
    key: OpeningKey,
    committer: Committer,
    length: u64,
}

impl BodyCommitter {
    /// Starts under `label`, which is that of a body. `random` is asked for a key of 32 bytes.
    pub fn new(label: Label, random: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random(&mut *bytes);
        let key = OpeningKey::new(*bytes);
        Self { committer: Committer::new(&key, label), key, length: 0 }
    }

    /// Adds bytes that passed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.committer.update(bytes);
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// How many bytes passed.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// No more bytes come.
    pub fn finish(self) -> CommittedBody {
        CommittedBody { key: self.key, commitment: self.committer.finish(), length: self.length }
    }
}

/// A body that is committed to, and need not be there any more.
#[derive(Clone, Debug)]
pub struct CommittedBody {
    pub(super) key: OpeningKey,
    pub(super) commitment: Commitment,
    pub(super) length: u64,
}

impl CommittedBody {
    pub(super) fn opening(self) -> Opening {
        Opening { key: self.key, value: None }
    }
}

/// Bodies that are committed to.
#[derive(Clone, Debug)]
pub struct CommittedBodies {
    /// The request's.
    pub request: CommittedBody,
    /// The response's, as far as it was sent; `None` when nothing was.
    pub response: Option<CommittedBody>,
}

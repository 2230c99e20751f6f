//! From the facts of an exchange to a receipt: commitments are made, groups sealed, a claim key drawn.
//!
//! What comes out: the statement, its openings, and the private half of the claim key. Nothing else knows the keys.

mod bodies;
mod record;

pub use bodies::{BodyCommitter, CommittedBodies, CommittedBody, WireBodies};
pub use record::{Committing, RecordDraft};

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::{
    claim::{Claim, ClaimKey},
    commitment::{Label, MemberLabel, Opening, OpeningKey, Openings, seal},
    envelope::{Id, VerifiedEnvelope},
    exchange::{Answer, Facts},
    key::{PublicKey, SigningKey},
    statement::{
        Commitment, Frame, Group, GroupName, Issuer, Nonce, Numbering, Origin, Predicate, Receipt, Sealable,
        SignError, Statement, Subject,
        groups::{
            Accountable, Attempts, Caller, Content, Execution, Ext, Finish, Hints, Lengths, Links,
            OpenedError, Parts, Timing, Transform, TransformKind, Transforms, Upstream, Usage,
        },
        receipt::{Api, Claimed, Model, Reported, ReportedSource},
    },
    tree,
};

/// Most input messages that are committed to one by one. With more, the commitment to the whole request has to do.
const PARTS_MAX: usize = 4_096;

/// Which groups are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(BTreeSet<GroupName>);

impl Sealed {
    /// Exactly these groups.
    pub fn only(groups: impl IntoIterator<Item = GroupName>) -> Self {
        Self(groups.into_iter().collect())
    }

    /// Every group.
    pub fn all() -> Self {
        Self::only(GroupName::ALL.iter().copied())
    }

    /// These groups and one more.
    pub fn with(mut self, group: GroupName) -> Self {
        self.0.insert(group);
        self
    }

    /// These groups but for one.
    pub fn without(mut self, group: GroupName) -> Self {
        self.0.remove(&group);
        self
    }

    /// Whether a group is sealed.
    pub fn contains(&self, group: GroupName) -> bool {
        self.0.contains(&group)
    }
}

impl Default for Sealed {
    /// The groups that the formats seal.
    fn default() -> Self {
        Self::only(GroupName::ALL.iter().copied().filter(|group| group.is_sealed_by_default()))
    }
}

/// Where the claim key of a receipt comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClaimSource {
    /// It is drawn afresh, and its private half goes out with the answer.
    #[default]
    Fresh,
    /// It was drawn beforehand: a promise names it already. Its private half goes out with the answer.
    Drawn(ClaimKey),
    /// The caller brought its public half.
    Given(PublicKey),
    /// There is none.
    Nobody,
}

/// What a gateway did to a body.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What was done.
    pub kind: TransformKind,
    /// The body before.
    pub before: &'a [u8],
    /// The body after.
    pub after: &'a [u8],
}

/// What the issuer knows beyond the bodies. All of it is optional.
#[derive(Clone, Debug, Default)]
pub struct Extras<'a> {
    /// When the exchange happened.
    pub timing: Option<Timing>,
    /// The issuer's name for the caller; committed to.
    pub caller_reference: Option<&'a str>,
    /// The caller's own nonce.
    pub caller_nonce: Option<Nonce>,
    /// Which upstreams were tried.
    pub attempts: Option<Attempts>,
    /// What was done to the bodies; they are committed to.
    pub changes: &'a [Change<'a>],
    /// The model as the issuer says it is.
    pub claimed: Option<Claimed>,
    /// Whether the facts name a model by an alias, to keep a private name out of the log.
    pub alias: Option<bool>,
    /// Where it ran.
    pub execution: Option<Execution>,
    /// Who answers for it.
    pub accountable: Option<Accountable>,
    /// What helps to run it again.
    pub hints: Option<Hints>,
    /// The receipt of the exchange that led to this one.
    pub parent: Option<Id>,
    /// Anything else.
    pub ext: Option<Ext>,
}

/// Under what terms a receipt is issued.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// The log it is meant for.
    pub log: Origin,
    /// Who issues it.
    pub issuer: Issuer,
    /// Where its claim key comes from.
    pub claim: ClaimSource,
    /// Which groups are sealed.
    pub sealed: Sealed,
    /// What the issuer knows beyond the bodies.
    pub extras: Extras<'a>,
}

/// A receipt without its place in a stream, which is given when all else is known: two records must not share one.
#[derive(Clone, Debug)]
pub struct Unnumbered {
    statement: Statement,
    openings: Vec<(Label, Opening)>,
    claim: Option<ClaimKey>,
}

impl Unnumbered {
    /// Makes a receipt of an exchange. Facts never make it fail; extras do when they are not what their groups may hold.
    /// `random` fills a slice with bytes fit for keys; it is asked for about 40 bytes a commitment.
    pub fn new(
        facts: Facts,
        bodies: CommittedBodies,
        terms: Terms<'_>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, DraftError> {
        let Terms { log, issuer, claim, sealed, extras } = terms;
        let mut drafting = Drafting { random, sealed, openings: Vec::new() };
        let nonce = drafting.nonce();
        let (public, claim) = match claim {
            ClaimSource::Fresh => drafting.claim_key(),
            ClaimSource::Drawn(key) => (Some(key.signing_key().public().clone()), Some(key)),
            ClaimSource::Given(key) => (Some(key), None),
            ClaimSource::Nobody => (None, None),
        };
        let lengths = Lengths {
            request: Some(bodies.request.length),
            response: bodies.response.as_ref().map(|body| body.length),
        };
        let receipt = drafting.receipt(facts, lengths, extras)?;
        let mut openings = drafting.openings;
        let mut commitment = |label, body: CommittedBody| {
            let commitment = body.commitment;
            openings.push((label, body.opening()));
            commitment
        };
        let request = commitment(Label::Request, bodies.request);
        let response = bodies.response.map(|body| commitment(Label::Response, body));
        let statement = Statement {
            subject: Subject::Exchange { request, response },
            frame: Frame { nonce, log, issuer, numbering: None },
            predicate: Predicate::Receipt(Box::new(Receipt { claim: public, ..receipt })),
        };
        Ok(Self { statement, openings, claim })
    }

    /// Gives it its place: now it has an id.
    pub fn number(self, numbering: Numbering) -> Draft {
        let Self { mut statement, openings: opened, claim } = self;
        statement.frame.numbering = Some(numbering);
        let id = Id::of_statement(statement.to_json().as_bytes());
        let mut openings = Openings::new(id);
        opened.into_iter().for_each(|(label, opening)| openings.insert(label, opening));
        let claim = claim.map(|key| Claim { id, log: statement.frame.log.clone(), key });
        Draft { statement, openings, claim }
    }
}

/// A receipt that is not signed yet, with what goes to the caller.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The statement.
    pub statement: Statement,
    /// The keys that open its commitments.
    pub openings: Openings,
    /// The private half of its claim key, if that was drawn here.
    pub claim: Option<Claim>,
}

impl Draft {
    /// Makes a receipt of an exchange whose bodies are there, as [`Unnumbered::new`] does, in its place.
    pub fn new(
        facts: Facts,
        bodies: WireBodies<'_>,
        terms: Terms<'_>,
        numbering: Numbering,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, DraftError> {
        let bodies = bodies.commit(random);
        Ok(Unnumbered::new(facts, bodies, terms, random)?.number(numbering))
    }

    /// The receipt's id: known before it is signed.
    pub fn id(&self) -> Id {
        self.openings.id()
    }

    /// Signs the receipt; `key` is the issuer's.
    pub fn sign(&self, key: &SigningKey) -> Result<VerifiedEnvelope, SignError> {
        self.statement.sign(key)
    }
}

/// A group that was to be sealed and is not what a group of its name may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{group}: {source}")]
pub struct DraftError {
    /// The group.
    pub group: GroupName,
    /// What is wrong with it.
    pub source: OpenedError,
}

struct Drafting<'r> {
    random: &'r mut dyn FnMut(&mut [u8]),
    sealed: Sealed,
    openings: Vec<(Label, Opening)>,
}

impl Drafting<'_> {
    fn receipt(&mut self, facts: Facts, lengths: Lengths, extras: Extras<'_>) -> Result<Receipt, DraftError> {
        let answer = facts.answer;
        let links =
            self.links(facts.previous_response.as_deref(), facts.conversation.as_deref(), extras.parent);
        let content = self.content(&answer);
        let upstream = self.upstream(answer.request_id.as_deref(), answer.fingerprint);
        let caller = self.caller(extras.caller_reference, extras.caller_nonce);
        let transforms = self.transforms(extras.changes);
        let parts = self.parts(facts.parts);
        let model = Model {
            requested: facts.requested,
            reported: answer.reported.map(|value| Reported { value, source: ReportedSource::Body }),
            alias: extras.alias,
            claimed: extras.claimed,
        };
        let api = Api { protocol: facts.protocol, path: facts.path, stream: facts.stream };
        let finish = Finish { status: facts.status, reasons: answer.reasons };
        Ok(Receipt {
            usage: self.place(Some(answer.usage).filter(|usage| *usage != Usage::default()))?,
            lengths: self.place(Some(lengths))?,
            timing: self.place(extras.timing)?,
            parameters: self.place(Some(facts.parameters).filter(|parameters| !parameters.0.is_empty()))?,
            caller: self.place(caller)?,
            attempts: self.place(extras.attempts)?,
            transforms: self.place(transforms)?,
            parts: self.place(parts)?,
            finish: self.place(Some(finish))?,
            content: self.place(content)?,
            upstream: self.place(upstream)?,
            execution: self.place(extras.execution)?,
            accountable: self.place(extras.accountable)?,
            hints: self.place(extras.hints)?,
            links: self.place(links)?,
            ext: self.place(extras.ext)?,
            ..Receipt::new(api, model, facts.outcome)
        })
    }

    fn content(&mut self, answer: &Answer) -> Option<Content> {
        let Answer { texts, tool_calls: calls, token_ids, embedding, .. } = answer;
        let text =
            texts.iter().any(|text| !text.is_empty()).then(|| prefixed(texts.iter().map(String::as_str)));
        let fields = calls.iter().flat_map(|call| [call.name.as_str(), call.arguments.as_str()]);
        let tool_calls = (!calls.is_empty()).then(|| prefixed(fields));
        let token_ids = token_ids.iter().any(|ids| !ids.is_empty()).then(|| counted(token_ids));
        let content = Content {
            text: self.member(MemberLabel::Text, text.as_ref().map(|bytes| bytes.as_slice())),
            tool_calls: self
                .member(MemberLabel::ToolCalls, tool_calls.as_ref().map(|bytes| bytes.as_slice())),
            token_ids: self.member(MemberLabel::TokenIds, token_ids.as_ref().map(|bytes| bytes.as_slice())),
            embedding: self.member(MemberLabel::Embedding, embedding.as_deref().map(str::as_bytes)),
        };
        Some(content).filter(|content| *content != Content::default())
    }

    fn upstream(&mut self, request_id: Option<&str>, fingerprint: Option<String>) -> Option<Upstream> {
        let request_id = self.member(MemberLabel::RequestId, request_id.map(str::as_bytes));
        Some(Upstream { request_id, fingerprint }).filter(|upstream| *upstream != Upstream::default())
    }

    fn caller(&mut self, reference: Option<&str>, nonce: Option<Nonce>) -> Option<Caller> {
        let reference = self.member(MemberLabel::CallerReference, reference.map(str::as_bytes));
        Some(Caller { reference, nonce }).filter(|caller| *caller != Caller::default())
    }

    fn links(
        &mut self,
        previous: Option<&str>,
        conversation: Option<&str>,
        parent: Option<Id>,
    ) -> Option<Links> {
        let previous_response = self.member(MemberLabel::PreviousResponse, previous.map(str::as_bytes));
        let conversation = self.member(MemberLabel::Conversation, conversation.map(str::as_bytes));
        Some(Links { previous_response, conversation, parent }).filter(|links| *links != Links::default())
    }

    fn transforms(&mut self, changes: &[Change<'_>]) -> Option<Transforms> {
        let transform = |(n, change): (u32, &Change<'_>)| Transform {
            kind: change.kind,
            before: self.commit(Label::Before(n), change.before),
            after: self.commit(Label::After(n), change.after),
        };
        let transforms: Vec<Transform> = (0..).zip(changes).map(transform).collect();
        Some(Transforms(transforms)).filter(|transforms| !transforms.0.is_empty())
    }

    fn parts(&mut self, messages: Vec<String>) -> Option<Parts> {
        if messages.is_empty() || messages.len() > PARTS_MAX {
            return None;
        }
        let commit = |(n, message): (u32, String)| self.commit(Label::Part(n), message.as_bytes());
        let commitments: Vec<Commitment> = (0..).zip(messages).map(commit).collect();
        let root = tree::root(commitments.iter().map(|commitment| commitment.as_bytes().as_slice()));
        Some(Parts { count: u64::try_from(commitments.len()).ok()?, root })
    }

    /// Puts a group in its place: sealed, if it is one of those.
    fn place<T: Group>(&mut self, group: Option<T>) -> Result<Option<Sealable<T>>, DraftError> {
        let Some(group) = group else { return Ok(None) };
        if !self.sealed.contains(T::NAME) {
            return Ok(Some(Sealable::Open(group)));
        }
        let sealed = seal(&group, self.key());
        let (sealed, opening) = sealed.map_err(|source| DraftError { group: T::NAME, source })?;
        self.openings.push((Label::Group(T::NAME), opening));
        Ok(Some(sealed))
    }

    fn member(&mut self, label: MemberLabel, bytes: Option<&[u8]>) -> Option<Commitment> {
        bytes.map(|bytes| self.commit(Label::Member(label), bytes))
    }

    /// Commits to bytes under a fresh key. The opening keeps them, unless they are a body.
    fn commit(&mut self, label: Label, bytes: &[u8]) -> Commitment {
        let key = self.key();
        let commitment = key.commit(label, bytes);
        let value = (!label.is_body()).then(|| bytes.to_vec());
        self.openings.push((label, Opening { key, value }));
        commitment
    }

    fn claim_key(&mut self) -> (Option<PublicKey>, Option<ClaimKey>) {
        let key = ClaimKey::new(*self.bytes());
        (Some(key.signing_key().public().clone()), Some(key))
    }

    fn key(&mut self) -> OpeningKey {
        OpeningKey::new(*self.bytes())
    }

    fn bytes(&mut self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        (self.random)(&mut *bytes);
        bytes
    }

    fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        Nonce::new(bytes)
    }
}

/// Each text after its length as u32 big-endian.
fn prefixed<'t>(texts: impl Iterator<Item = &'t str>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    for text in texts {
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// For each choice the number of its tokens and their ids, each as u32 big-endian.
fn counted(choices: &[Vec<u32>]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    for ids in choices {
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let numbers = std::iter::once(&count).chain(ids);
        bytes.extend(numbers.flat_map(|number| number.to_be_bytes()));
    }
    bytes
}

#[cfg(test)]
mod tests;

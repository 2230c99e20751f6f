//! Openings: the keys that show what a statement committed to, in the file `<id>.openings.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Evidenced, Label, MemberLabel, OpeningKey};
use crate::{
    envelope::Id,
    json::{
        JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
    statement::{
        Commitment, Group, GroupName, Predicate, Receipt, Sealable, Statement, Subject,
        groups::{Caller, Content, Links, Parts, Transforms, Upstream},
    },
    tree,
};

const FORMAT: &str = "counterfoil-openings/v1";

/// Most openings in a file: one for every input message, and some.
const OPENINGS_MAX: usize = 16_384;

/// The key of a commitment and, unless it is a body, the bytes. Wiped from memory when dropped; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The key.
    pub key: OpeningKey,
    /// The bytes; `None` for bodies, which are kept elsewhere.
    pub value: Option<Vec<u8>>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.value.is_some() { "Opening(with value)" } else { "Opening(of a body)" })
    }
}

/// All openings of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Openings {
    id: Id,
    openings: BTreeMap<Label, Opening>,
}

/// The bodies of an exchange, as far as they are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bodies<'a> {
    /// The request's, as on the wire after transfer decoding.
    pub request: Option<&'a [u8]>,
    /// The response's.
    pub response: Option<&'a [u8]>,
}

/// What was found for one commitment of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is committed to.
    pub label: Label,
    /// What was found.
    pub finding: Finding,
}

/// What opening a commitment showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// These are the bytes.
    Opened,
    /// There is no opening.
    NoOpening,
    /// There is a key, but the body is not there.
    NoBody,
    /// These are other bytes, or it is another key.
    Differs,
    /// These are the bytes, but they are not the group they should be.
    Malformed,
    /// The statement has no such commitment.
    NotCommitted,
}

impl Openings {
    /// The openings of the record `id`, none yet.
    pub fn new(id: Id) -> Self {
        Self { id, openings: BTreeMap::new() }
    }

    /// The record.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Adds an opening, in the place of one for the same label.
    pub fn insert(&mut self, label: Label, opening: Opening) {
        self.openings.insert(label, opening);
    }

    /// The opening for a label.
    pub fn get(&self, label: Label) -> Option<&Opening> {
        self.openings.get(&label)
    }

    /// Whether there is an opening for a group.
    pub fn opens(&self, group: GroupName) -> bool {
        self.get(Label::Group(group)).is_some()
    }

    /// The labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = Label> {
        self.openings.keys().copied()
    }

    /// Removes an opening: what it opened stays closed for whoever reads this file.
    pub fn remove(&mut self, label: Label) {
        self.openings.remove(&label);
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpeningsError> {
        let value = Value::parse(bytes)?;
        let root = Field::root(&value);
        let mut members = root.object()?;
        members.required("format")?.exactly(FORMAT)?;
        let id = members.required("id")?.parse()?;
        let list = members.required("openings")?;
        members.finish()?;
        let openings = list.members(OPENINGS_MAX)?.map(|(name, field)| read(name, &field));
        Ok(Self { id, openings: openings.collect::<Result<_, _>>()? })
    }

    /// Prints the file.
    pub fn to_json(&self) -> Zeroizing<String> {
        Zeroizing::new(write::object(|members| {
            members.string("format", FORMAT);
            members.display("id", self.id);
            members.object("openings", |list| {
                for (label, opening) in &self.openings {
                    list.object(&label.to_string(), |members| {
                        members.string("key", &opening.key.to_hex());
                        members.some("value", opening.value.as_deref(), |members, name, bytes| {
                            members.string(name, &print(*label, bytes));
                        });
                    });
                }
            });
        }))
    }

    /// Opens all that can be opened: every commitment of the statement, and those inside the groups that open.
    ///
    /// `statement` is the record [`Openings::id`] names; whether it is, the caller has checked.
    pub fn check(&self, statement: &Statement, bodies: Bodies<'_>) -> Vec<Checked> {
        let mut check = Check { openings: self, bodies, found: Vec::new() };
        if let Subject::Exchange { request, response } = statement.subject {
            check.commitment(Label::Request, request);
            if let Some(response) = response {
                check.commitment(Label::Response, response);
            }
        }
        check.predicate(&statement.predicate);
        let known: BTreeSet<Label> = check.found.iter().map(|checked| checked.label).collect();
        let unused = self.labels().filter(|label| !known.contains(label));
        let unused = unused.map(|label| Checked { label, finding: Finding::NotCommitted });
        check.found.into_iter().chain(unused).collect()
    }
}

fn read(name: &str, field: &Field<'_, '_>) -> Result<(Label, Opening), FieldError> {
    let label: Label = name.parse().map_err(|_| field.error(Reason::Rule("is no label of a commitment")))?;
    let mut members = field.object()?;
    let key = members.required("key")?;
    let digits = key.string()?;
    let key = OpeningKey::from_hex(digits)
        .ok_or_else(|| key.error(Reason::Rule("must be 64 lower-case hex digits")))?;
    let value = members.maybe("value", |field| {
        let text = field.string()?;
        if label.is_body() {
            return Err(field.error(Reason::Rule("bodies are kept elsewhere")));
        }
        if !label.is_binary() {
            return Ok(text.as_bytes().to_vec());
        }
        BASE64.decode(text).map_err(|_| field.error(Reason::Rule("must be standard base64 with padding")))
    })?;
    members.finish()?;
    Ok((label, Opening { key, value }))
}

/// The text of an opening's value. What is not UTF-8 under a label for text cannot have been committed to by us.
fn print(label: Label, bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(if label.is_binary() {
        BASE64.encode(bytes)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

struct Check<'a> {
    openings: &'a Openings,
    bodies: Bodies<'a>,
    found: Vec<Checked>,
}

impl Check<'_> {
    fn predicate(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Receipt(receipt) => self.receipt(receipt),
            Predicate::Verdict(verdict) => self.evidence(Evidenced::Verdict, &verdict.evidence),
            Predicate::Dispute(dispute) => {
                self.member(MemberLabel::DisputeStatement, dispute.statement);
                self.evidence(Evidenced::Dispute, &dispute.evidence);
            }
            Predicate::Response(response) => {
                self.member(MemberLabel::ResponseStatement, response.statement);
                self.evidence(Evidenced::Response, &response.evidence);
            }
            Predicate::Resolution(resolution) => {
                self.member(MemberLabel::ResolutionStatement, resolution.statement);
                self.member(MemberLabel::ResolutionReference, resolution.reference);
            }
            Predicate::Remedy(remedy) => self.evidence(Evidenced::Remedy, &remedy.evidence),
            Predicate::Correction(correction) => {
                self.member(MemberLabel::CorrectionValues, correction.values);
            }
            _ => {}
        }
    }

    fn evidence(&mut self, kind: Evidenced, evidence: &[Commitment]) {
        for (n, commitment) in (0..).zip(evidence) {
            self.commitment(Label::Evidence(kind, n), *commitment);
        }
    }

    fn receipt(&mut self, receipt: &Receipt) {
        self.group(&receipt.usage, |_, _| ());
        self.group(&receipt.lengths, |_, _| ());
        self.group(&receipt.timing, |_, _| ());
        self.group(&receipt.parameters, |_, _| ());
        self.group(&receipt.caller, Self::caller);
        self.group(&receipt.attempts, |_, _| ());
        self.group(&receipt.transforms, Self::transforms);
        self.group(&receipt.parts, Self::parts);
        self.group(&receipt.finish, |_, _| ());
        self.group(&receipt.content, Self::content);
        self.group(&receipt.upstream, Self::upstream);
        self.group(&receipt.execution, |_, _| ());
        self.group(&receipt.accountable, |_, _| ());
        self.group(&receipt.hints, |_, _| ());
        self.group(&receipt.links, Self::links);
        self.group(&receipt.ext, |_, _| ());
    }

    /// Opens a group if it is sealed, and then what it commits to itself.
    fn group<T: Group>(&mut self, group: &Option<Sealable<T>>, inner: impl FnOnce(&mut Self, &T)) {
        match group {
            None => {}
            Some(Sealable::Open(group)) => inner(self, group),
            Some(Sealable::Sealed(commitment)) => {
                if self.commitment(Label::Group(T::NAME), *commitment) != Finding::Opened {
                    return;
                }
                match self.opened_group::<T>() {
                    Some(group) => inner(self, &group),
                    None => self.amend(Finding::Malformed),
                }
            }
        }
    }

    fn opened_group<T: Group>(&self) -> Option<T> {
        let opening = self.openings.get(Label::Group(T::NAME))?;
        let json = std::str::from_utf8(opening.value.as_deref()?).ok()?;
        T::from_json(json).ok()
    }

    fn caller(&mut self, caller: &Caller) {
        self.member(MemberLabel::CallerReference, caller.reference);
    }

    fn content(&mut self, content: &Content) {
        self.member(MemberLabel::Text, content.text);
        self.member(MemberLabel::ToolCalls, content.tool_calls);
        self.member(MemberLabel::TokenIds, content.token_ids);
        self.member(MemberLabel::Embedding, content.embedding);
    }

    fn upstream(&mut self, upstream: &Upstream) {
        self.member(MemberLabel::RequestId, upstream.request_id);
    }

    fn links(&mut self, links: &Links) {
        self.member(MemberLabel::PreviousResponse, links.previous_response);
        self.member(MemberLabel::Conversation, links.conversation);
    }

    fn transforms(&mut self, transforms: &Transforms) {
        for (n, transform) in (0..).zip(&transforms.0) {
            self.commitment(Label::Before(n), transform.before);
            self.commitment(Label::After(n), transform.after);
        }
    }

    /// The parts are committed to by the root of a tree: with all their openings it is made again.
    fn parts(&mut self, parts: &Parts) {
        let labels = (0..).map(Label::Part).take(usize::try_from(parts.count).unwrap_or(0).min(OPENINGS_MAX));
        let labels: Vec<Label> = labels.collect();
        let commitments: Option<Vec<Commitment>> = labels
            .iter()
            .map(|&label| self.openings.get(label).and_then(|opening| made(label, opening)))
            .collect();
        let finding = match commitments {
            None => Finding::NoOpening,
            Some(commitments)
                if tree::root(commitments.iter().map(|it| it.as_bytes().as_slice())) == parts.root =>
            {
                Finding::Opened
            }
            Some(_) => Finding::Differs,
        };
        self.found.extend(labels.into_iter().map(|label| Checked { label, finding }));
    }

    fn member(&mut self, label: MemberLabel, commitment: Option<Commitment>) {
        if let Some(commitment) = commitment {
            self.commitment(Label::Member(label), commitment);
        }
    }

    fn commitment(&mut self, label: Label, commitment: Commitment) -> Finding {
        let body = match label {
            Label::Request => self.bodies.request,
            Label::Response => self.bodies.response,
            _ => None,
        };
        let finding = match self.openings.get(label) {
            None => Finding::NoOpening,
            Some(opening) => match body.or(opening.value.as_deref()) {
                None => Finding::NoBody,
                Some(bytes) if opening.key.commit(label, bytes) == commitment => Finding::Opened,
                Some(_) => Finding::Differs,
            },
        };
        self.found.push(Checked { label, finding });
        finding
    }

    fn amend(&mut self, finding: Finding) {
        if let Some(last) = self.found.last_mut() {
            last.finding = finding;
        }
    }
}

/// The commitment that an opening with its bytes makes.
fn made(label: Label, opening: &Opening) -> Option<Commitment> {
    opening.value.as_deref().map(|bytes| opening.key.commit(label, bytes))
}

/// Why a file of openings is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningsError {
    /// It is no JSON that we read.
    #[error("openings, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("openings, {0}")]
    Field(#[from] FieldError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn vector_openings() -> Openings {
        let records = vectors::records();
        let mut openings = Openings::new(records[0].text("pae_sha256").parse().unwrap());
        for vector in vectors::all()["commitments"].as_array().unwrap() {
            let label: Label = vector["label"].as_str().unwrap().parse().unwrap();
            let key = OpeningKey::from_hex(vector["key"].as_str().unwrap()).unwrap();
            let value = (!label.is_body()).then(|| vector["data"].as_str().unwrap().as_bytes().to_vec());
            openings.insert(label, Opening { key, value });
        }
        openings
    }

    fn first() -> Statement {
        let records = vectors::records();
        Statement::parse_as(records[0].text("statement").as_bytes(), &vectors::issuer(0)).unwrap()
    }

    fn bodies() -> [String; 2] {
        let data = |n: usize| vectors::all()["commitments"][n]["data"].as_str().unwrap().to_owned();
        [data(0), data(1)]
    }

    #[test]
    fn the_vectors_open() {
        let [request, response] = bodies();
        let both = Bodies { request: Some(request.as_bytes()), response: Some(response.as_bytes()) };
        let openings = vector_openings();
        let usage = Label::Group(GroupName::Usage);
        let expected =
            [Label::Request, Label::Response, usage].map(|label| Checked { label, finding: Finding::Opened });
        assert_eq!(openings.check(&first(), both), expected);
        assert!(openings.opens(GroupName::Usage) && !openings.opens(GroupName::Ext));

        let swapped = Bodies { request: both.response, response: both.request };
        let findings: Vec<Finding> = openings.check(&first(), swapped).iter().map(|it| it.finding).collect();
        assert_eq!(findings, [Finding::Differs, Finding::Differs, Finding::Opened]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_apart() {
        let [request, _] = bodies();
        let bodies = Bodies { request: Some(request.as_bytes()), response: None };
        let usage = Label::Group(GroupName::Usage);
        let mut openings = vector_openings();
        let key = openings.get(usage).unwrap().key.clone();
        openings.insert(usage, Opening { key, value: Some(b"{\"input\":9,\"output\":2}".to_vec()) });
        openings.remove(Label::Request);
        openings.insert(Label::Part(0), Opening { key: OpeningKey::new([0; 32]), value: None });
        let findings = openings.check(&first(), bodies);
        let expected = [
            (Label::Request, Finding::NoOpening),
            (Label::Response, Finding::NoBody),
            (usage, Finding::Differs),
            (Label::Part(0), Finding::NotCommitted),
        ];
        assert_eq!(findings, expected.map(|(label, finding)| Checked { label, finding }));
    }

    #[test]
    fn the_file_is_read_back() {
        let mut openings = vector_openings();
        let binary = Label::Member(MemberLabel::Text);
        openings
            .insert(binary, Opening { key: OpeningKey::new([7; 32]), value: Some(vec![0, 0, 0, 200, 255]) });
        let json = openings.to_json();
        assert_eq!(Openings::parse(json.as_bytes()), Ok(openings));
        for (old, new) in [
            ("openings/v1", "openings/v2"),
            ("\"request\":{\"key\"", "\"request\":{\"value\":\"\",\"key\""),
            ("\"text\"", "\"texts\""),
            ("\"AAAAyP8=\"", "\"AAAAyP9=\""),
            ("\"key\":\"72", "\"key\":\"7Z"),
        ] {
            let changed = json.replacen(old, new, 1);
            assert_ne!(changed, *json);
            assert!(Openings::parse(changed.as_bytes()).is_err(), "{new}");
        }
    }
}

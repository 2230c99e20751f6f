//! What a record can be found by: a pure function from its entry and statement to terms.
//!
//! Only members that are always open are looked at: groups of a receipt that can be sealed give no terms, sealed or open.
//! Bytes come from the log itself, which checked keys, codes and signatures when it took them; here they are only taken apart.

use std::borrow::Cow;

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    Id, Kind, Timestamp,
    json::{Data, Value},
};

/// What most receipts have.
const TERMS_USUAL: usize = 12;

/// What a term is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The key that signed the record.
    Issuer,
    /// The stream that the record is in.
    Stream,
    /// Stream and number: `<stream>/<number>`.
    Number,
    /// The kind of record.
    Kind,
    /// The leaf hash of the record that it is about.
    About,
    /// The claim key that came with the answer.
    Claim,
    /// The promise that it disputes.
    Promise,
    /// The record of another log that it disputes.
    Elsewhere,
    /// The model that was asked for.
    Requested,
    /// The model that the service named.
    Reported,
    /// The model that the issuer claims it was.
    Claimed,
    /// How the exchange ended.
    Outcome,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Issuer,
        Self::Stream,
        Self::Number,
        Self::Kind,
        Self::About,
        Self::Claim,
        Self::Promise,
        Self::Elsewhere,
        Self::Requested,
        Self::Reported,
        Self::Claimed,
        Self::Outcome,
    ];

    /// Its name in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Stream => "stream",
            Self::Number => "number",
            Self::Kind => "kind",
            Self::About => "about",
            Self::Claim => "claim",
            Self::Promise => "promise",
            Self::Elsewhere => "elsewhere",
            Self::Requested => "requested",
            Self::Reported => "reported",
            Self::Claimed => "claimed",
            Self::Outcome => "outcome",
        }
    }

    /// Whether it comes from the statement, and goes when that is erased; else from the entry, which is for ever.
    pub const fn is_of_statement(self) -> bool {
        matches!(
            self,
            Self::Promise
                | Self::Elsewhere
                | Self::Requested
                | Self::Reported
                | Self::Claimed
                | Self::Outcome
        )
    }

    /// Whether few values are shared by many records.
    pub(super) const fn is_common(self) -> bool {
        !matches!(self, Self::Number | Self::About | Self::Claim | Self::Promise | Self::Elsewhere)
    }
}

/// One thing that a record can be found by. Values are written as in entries and statements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term<'a> {
    /// What about.
    pub field: Field,
    /// What it is.
    pub value: Cow<'a, str>,
}

impl<'a> Term<'a> {
    /// A term.
    pub fn new(field: Field, value: impl Into<Cow<'a, str>>) -> Self {
        Self { field, value: value.into() }
    }

    /// The term of a place in a stream.
    pub fn number(stream: &str, number: u64) -> Self {
        Self::new(Field::Number, format!("{stream}/{number}"))
    }
}

/// What is indexed of one record, as far as possible still in its own bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts<'a> {
    /// When the log took it.
    pub at: Timestamp,
    /// The key that signed it.
    pub issuer: Cow<'a, str>,
    /// The kind of record.
    pub kind: Kind,
    /// Its place in a stream.
    pub place: Option<Place>,
    /// What it can be found by; nothing twice.
    pub terms: Vec<Term<'a>>,
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: [u8; 16],
    /// The number.
    pub number: u64,
}

impl Facts<'_> {
    /// Whether the record has all of these terms.
    pub fn have(&self, terms: &[Term<'_>]) -> bool {
        terms.iter().all(|term| self.terms.contains(term))
    }
}

/// Takes a record apart. `statement` is empty if it was erased: then what it said is not found any more.
///
/// # Errors
/// [`Unreadable`] if these are no entry and the statement that goes with it, whose id is compared.
pub fn read<'a>(index: LeafIndex, entry: &'a [u8], statement: &'a [u8]) -> Result<Facts<'a>, Unreadable> {
    let bad = |what| Unreadable { index, what };
    let value = Value::parse(entry).map_err(|_| bad("entry"))?;
    let text = |name: &'static str| value.member(name).and_then(text).ok_or(bad(name));
    let at = value.member("at").and_then(Value::integer).and_then(Timestamp::from_millis);
    let (issuer, kind) = (text("issuer")?, text("kind")?);
    let known = Kind::from_code(&kind).ok_or(bad("kind"))?;
    let mut facts = Facts {
        at: at.ok_or(bad("at"))?,
        issuer: issuer.clone(),
        kind: known,
        place: None,
        terms: Vec::with_capacity(TERMS_USUAL),
    };
    facts.terms.extend([Term::new(Field::Issuer, issuer), Term::new(Field::Kind, kind)]);
    let number = value.member("number").and_then(Value::integer);
    if let Some((stream, number)) = text("stream").ok().zip(number) {
        let place = Place { stream: hex16(&stream).ok_or(bad("stream"))?, number };
        let number = Term::number(&stream, number);
        facts.terms.extend([Term::new(Field::Stream, stream), number]);
        facts.place = Some(place);
    }
    for (field, member) in [(Field::About, "about"), (Field::Claim, "claim")] {
        if let Ok(found) = text(member) {
            facts.terms.push(Term::new(field, found));
        }
    }
    if !statement.is_empty() {
        if text("id")?.parse() != Ok(Id::of_statement(statement)) {
            return Err(bad("statement"));
        }
        let value = Value::parse(statement).map_err(|_| bad("statement"))?;
        said(known, &value, &mut facts.terms);
    }
    Ok(facts)
}

/// The text of a string: the value's own bytes, if they have no escape.
fn text<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    if let Data::String(text) = value.data() { Some(text.clone()) } else { None }
}

/// What a statement says that can be looked for.
fn said<'a>(kind: Kind, statement: &Value<'a>, terms: &mut Vec<Term<'a>>) {
    let mut add = |field, value: Option<&Value<'a>>| {
        terms.extend(value.and_then(text).map(|text| Term::new(field, text)));
    };
    match kind {
        Kind::Receipt => {
            let Some(predicate) = statement.member("predicate") else { return };
            add(Field::Outcome, predicate.member("outcome"));
            let Some(model) = predicate.member("model") else { return };
            add(Field::Requested, model.member("requested"));
            add(Field::Reported, model.member("reported").and_then(|reported| reported.member("value")));
            add(Field::Claimed, model.member("claimed").and_then(|claimed| claimed.member("name")));
        }
        Kind::Dispute => {
            let subjects = statement.member("subject").and_then(Value::items).unwrap_or_default();
            let Some(subject) = subjects.first() else { return };
            let digest = |name| subject.member("digest").and_then(|digest| digest.member(name));
            match subject.member("name").and_then(Value::text) {
                Some("promise") => add(Field::Promise, digest("counterfoilId")),
                Some("elsewhere") => add(Field::Elsewhere, digest("counterfoilLeaf")),
                _ => {}
            }
        }
        _ => {}
    }
}

/// Reads 32 lower-case hex digits.
pub(super) fn hex16(text: &str) -> Option<[u8; 16]> {
    let id: counterfoil_receipt::statement::StreamId = text.parse().ok()?;
    Some(*id.as_bytes())
}

/// A record of the log that cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} cannot be indexed: its {what} is not as it must be")]
pub struct Unreadable {
    /// Which.
    pub index: LeafIndex,
    /// What is wrong.
    pub what: &'static str,
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::{
        SigningKey, Statement,
        entry::EntryDraft,
        statement::{
            Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, Sealable, StreamId,
            Subject,
            groups::{Ext, Group as _, Parameters},
            receipt::{Api, Basis, Claimed, Model, Outcome, Protocol, Reported, ReportedSource},
        },
    };

    use super::*;
    use crate::testing::at;

    fn receipt(groups: impl FnOnce(&mut Receipt)) -> (Vec<u8>, Vec<u8>) {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        let api = Api { protocol: Protocol::OpenaiChat, path: "/v1".into(), stream: false };
        let claimed = Claimed {
            name: Some("weights \"7\"".into()),
            weights: None,
            engine: None,
            quantization: None,
            basis: Basis::Config,
        };
        let model = Model {
            requested: Some("asked".into()),
            reported: Some(Reported { value: "told".into(), source: ReportedSource::Body }),
            alias: None,
            claimed: Some(claimed),
        };
        let mut receipt = Receipt::new(api, model, Outcome::Refused);
        receipt.claim = Some(SigningKey::from_ed25519_seed(&[2; 32]).public().clone());
        groups(&mut receipt);
        let statement = Statement {
            subject: Subject::Exchange { request: Commitment::new([7; 32]), response: None },
            frame: Frame {
                nonce: Nonce::new([3; 16]),
                log: "log.example".parse().unwrap(),
                issuer: Issuer { key: key.public().clone(), software: Some("secret software".into()) },
                numbering: Some(Numbering {
                    stream: StreamId::new([4; 16]),
                    number: Number::FIRST,
                    previous: None,
                }),
            },
            predicate: Predicate::Receipt(Box::new(receipt)),
        };
        let envelope = statement.sign(&key).unwrap();
        let entry = EntryDraft::new(&envelope, &statement).stamp(at(5_000));
        (entry, envelope.into_envelope().into_statement())
    }

    fn told(terms: &[Term<'_>]) -> Vec<String> {
        terms.iter().map(|term| format!("{}={}", term.field.name(), term.value)).collect()
    }

    /// Groups give no terms, open or sealed; nor do free members.
    #[test]
    fn a_receipt_is_found_by_what_is_always_open() {
        let index = LeafIndex::new(9).unwrap();
        let (entry, statement) = receipt(|_| {});
        let plain = read(index, &entry, &statement).unwrap();
        let stream = "04".repeat(16);
        let key = |seed| SigningKey::from_ed25519_seed(&[seed; 32]).public().to_string();
        let expected = [
            format!("issuer={}", key(1)),
            "kind=receipt".to_owned(),
            format!("stream={stream}"),
            format!("number={stream}/0"),
            format!("claim={}", key(2)),
            "outcome=refused".to_owned(),
            "requested=asked".to_owned(),
            "reported=told".to_owned(),
            "claimed=weights \"7\"".to_owned(),
        ];
        assert_eq!(told(&plain.terms), expected);
        assert_eq!((plain.at, plain.kind), (at(5_000), Kind::Receipt));
        let parameters = Parameters::from_json(r#"{"seed":"7","model":"\"other\""}"#).unwrap();
        let ext = Ext::from_json(r#"{"model":{"requested":"hidden"},"outcome":"complete"}"#).unwrap();
        let (entry, statement) = receipt(|receipt| {
            receipt.parameters = Some(Sealable::Open(parameters.clone()));
            receipt.ext = Some(Sealable::Open(ext.clone()));
        });
        assert_eq!(read(index, &entry, &statement).unwrap().terms, plain.terms);
        let (entry, statement) = receipt(|receipt| {
            receipt.parameters = Some(Sealable::Sealed(Commitment::new([5; 32])));
            receipt.ext = Some(Sealable::Sealed(Commitment::new([6; 32])));
        });
        assert_eq!(read(index, &entry, &statement).unwrap().terms, plain.terms);

        // Without its statement a record is found by its entry alone.
        let bare = read(index, &entry, &[]).unwrap();
        assert_eq!(told(&bare.terms), expected[..5]);
        assert!(bare.terms.iter().all(|term| !term.field.is_of_statement()));
        // Another's statement is no statement.
        let (_, other) = receipt(|_| {});
        let refused = read(index, &entry, &other);
        assert_eq!(refused, Err(Unreadable { index, what: "statement" }));
        assert!(read(index, b"{}", &[]).is_err() && read(index, b"", &[]).is_err());
    }
}

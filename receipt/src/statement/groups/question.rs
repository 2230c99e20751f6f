//! Groups about the question: its settings and parts, who asked, who answers for the answer, what it belongs to.

use counterfoil_merkle::Hash;

use super::{Group, GroupName, SEALED};
use crate::{
    envelope::Id,
    json::{
        Value,
        field::{Field, FieldError, Reason},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
    statement::{Commitment, Nonce, TEXT_BYTES_MAX, check_integers, policy::respond_within_s},
};

/// Most settings that a receipt can carry.
const PARAMETERS_MAX: usize = 64;

/// Most bytes of the name of a setting.
const NAME_BYTES_MAX: usize = 64;

/// Most bytes of the free-form group.
const EXT_BYTES_MAX: usize = 16_000;

/// Settings of the request: name and JSON token as sent, scalars only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(String, String)>);

impl Group for Parameters {
    const NAME: GroupName = GroupName::Parameters;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let read = |(name, value): (&str, Field<'_, '_>)| {
            let token = value.text(TEXT_BYTES_MAX)?;
            if name.is_empty()
                || name.len() > NAME_BYTES_MAX
                || name.chars().any(char::is_control)
                || name == SEALED
            {
                return Err(
                    value.error(Reason::Rule("a parameter's name has 1 to 64 bytes and is not \"sealed\""))
                );
            }
            let scalar = Value::parse(token.as_bytes());
            if !scalar.is_ok_and(|scalar| {
                scalar.raw() == token && scalar.items().is_none() && scalar.members().is_none()
            }) {
                return Err(value.error(Reason::Rule("must be the JSON token of a scalar")));
            }
            Ok((name.to_owned(), token.to_owned()))
        };
        field.members(PARAMETERS_MAX)?.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            self.0.iter().for_each(|(name, token)| members.string(name, token))
        });
    }
}

/// The input messages as a Merkle tree: part n is the n-th, its leaf data the 32 bytes of its commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many there are.
    pub count: u64,
    /// The root (RFC 6962).
    pub root: Hash,
}

impl Group for Parts {
    const NAME: GroupName = GroupName::Parts;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let count = members.required("count")?.integer()?;
        let root = members.required("root")?.parse()?;
        members.finish()?;
        Ok(Self { count, root })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.integer("count", self.count);
            members.display("root", self.root);
        });
    }
}

/// Who called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// A commitment to the issuer's name for the caller.
    pub reference: Option<Commitment>,
    /// The caller's own nonce, which shows that the receipt is fresh.
    pub nonce: Option<Nonce>,
}

impl Group for Caller {
    const NAME: GroupName = GroupName::Caller;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let reference = members.maybe("reference", Field::parse)?;
        let nonce = members.maybe("nonce", Field::parse)?;
        members.finish()?;
        Ok(Self { reference, nonce })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("reference", self.reference, ObjectWriter::display);
            members.some("nonce", self.nonce, ObjectWriter::display);
        });
    }
}

/// Who answers for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accountable {
    /// Their key; their name comes from a key record that it signed.
    pub key: PublicKey,
    /// Within how many seconds they respond to a dispute: 1 second to 366 days.
    pub respond_within: u64,
}

impl Group for Accountable {
    const NAME: GroupName = GroupName::Accountable;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let key = members.required("key")?.parse()?;
        let respond_within = respond_within_s(&members.required("respond_within")?)?;
        members.finish()?;
        Ok(Self { key, respond_within })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.string("key", self.key.as_str());
            members.integer("respond_within", self.respond_within);
        });
    }
}

/// What the exchange belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// A commitment to the id of the response that this one continues.
    pub previous_response: Option<Commitment>,
    /// A commitment to the id of the conversation.
    pub conversation: Option<Commitment>,
    /// The receipt of the exchange that led to this one.
    pub parent: Option<Id>,
}

impl Group for Links {
    const NAME: GroupName = GroupName::Links;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let previous_response = members.maybe("previous_response", Field::parse)?;
        let conversation = members.maybe("conversation", Field::parse)?;
        let parent = members.maybe("parent", Field::parse)?;
        members.finish()?;
        Ok(Self { previous_response, conversation, parent })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("previous_response", self.previous_response, ObjectWriter::display);
            members.some("conversation", self.conversation, ObjectWriter::display);
            members.some("parent", self.parent, ObjectWriter::display);
        });
    }
}

/// Members that no table knows: any JSON object whose numbers are integers, kept as its exact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext(pub String);

impl Group for Ext {
    const NAME: GroupName = GroupName::Ext;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let raw = field.value().raw();
        if raw.len() > EXT_BYTES_MAX {
            return Err(field.error(Reason::TooLong { bytes_max: EXT_BYTES_MAX, got: raw.len() }));
        }
        if field.value().members().is_none() {
            return Err(field.error(Reason::Kind { expected: "an object", got: field.value().kind() }));
        }
        check_integers(field)?;
        Ok(Self(raw.to_owned()))
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

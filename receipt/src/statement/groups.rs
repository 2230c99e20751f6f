//! The optional groups of a receipt. Each can be sealed: a commitment to its exact JSON stands in its place, and whoever
//! holds the opening shows it later.

mod answer;
mod origin;
mod question;

pub use answer::{Content, Finish, Lengths, Timing, Usage};
pub use origin::{
    Attempt, Attempts, Evidence, Execution, ExecutionType, Fingerprint, FingerprintScheme, Hints, Transform,
    TransformKind, Transforms, Upstream,
};
pub use question::{Accountable, Caller, Ext, Links, Parameters, Parts};

use super::Commitment;
use crate::{
    code::codes,
    json::{
        JsonError, Value,
        field::{Field, FieldError, Object},
        write::{self, ObjectWriter},
    },
};

/// The member that stands in a sealed group.
const SEALED: &str = "sealed";

codes! {
    /// The optional groups, in the order in which they are written.
    GroupName {
        /// [`Usage`]
        Usage = "usage",
        /// [`Lengths`]
        Lengths = "lengths",
        /// [`Timing`]
        Timing = "timing",
        /// [`Parameters`]
        Parameters = "parameters",
        /// [`Caller`]
        Caller = "caller",
        /// [`Attempts`]
        Attempts = "attempts",
        /// [`Transforms`]
        Transforms = "transforms",
        /// [`Parts`]
        Parts = "parts",
        /// [`Finish`]
        Finish = "finish",
        /// [`Content`]
        Content = "content",
        /// [`Upstream`]
        Upstream = "upstream",
        /// [`Execution`]
        Execution = "execution",
        /// [`Accountable`]
        Accountable = "accountable",
        /// [`Hints`]
        Hints = "hints",
        /// [`Links`]
        Links = "links",
        /// [`Ext`]
        Ext = "ext",
    }
}

impl GroupName {
    /// Whether the group is sealed unless somebody decides otherwise: an exact length or a count gives an answer away.
    pub const fn is_sealed_by_default(self) -> bool {
        matches!(
            self,
            Self::Lengths
                | Self::Usage
                | Self::Timing
                | Self::Parameters
                | Self::Caller
                | Self::Parts
                | Self::Content
                | Self::Finish
                | Self::Upstream
        )
    }
}

/// An optional group of a receipt.
pub trait Group: Sized {
    /// Its name.
    const NAME: GroupName;

    /// Reads the group's value.
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError>;

    /// Prints the group's value, members in the order of the formats.
    fn write(&self, out: &mut String);

    /// The group's JSON: what is committed to when it is sealed.
    fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Reads a group from the JSON of its opening.
    fn from_json(json: &str) -> Result<Self, OpenedError> {
        let value = Value::parse(json.as_bytes())?;
        Ok(Self::read(&Field::root(&value))?)
    }
}

/// A group as it stands in a statement: open, or sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealable<T> {
    /// The group itself.
    Open(T),
    /// A commitment to its JSON.
    Sealed(Commitment),
}

impl<T: Group> Sealable<T> {
    /// The group, if it is open.
    pub fn open(&self) -> Option<&T> {
        if let Self::Open(group) = self { Some(group) } else { None }
    }

    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Option<Self>, FieldError> {
        members.maybe(T::NAME.as_str(), |field| {
            if field.value().member(SEALED).is_none() {
                return T::read(field).map(Self::Open);
            }
            let mut members = field.object()?;
            let commitment = members.required(SEALED)?.parse()?;
            members.finish()?;
            Ok(Self::Sealed(commitment))
        })
    }

    pub(super) fn write(group: &Option<Self>, members: &mut ObjectWriter<'_>) {
        let Some(group) = group else { return };
        let out = members.member(T::NAME.as_str());
        match group {
            Self::Open(group) => group.write(out),
            Self::Sealed(commitment) => write::write_object(out, |o| o.display(SEALED, commitment)),
        }
    }
}

/// Why the JSON of an opening is not the group it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenedError {
    /// It is no JSON that we read.
    #[error("opened group, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("opened group, {0}")]
    Field(#[from] FieldError),
}

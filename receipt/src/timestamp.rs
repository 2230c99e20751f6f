//! Moments in milliseconds since 1970, UTC.

use std::fmt;

use crate::json::{
    INTEGER_MAX,
    field::{Field, FieldError, Reason},
};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. At most 2^53 - 1, which is some time in the year 287396.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment that many milliseconds after 1970; `None` beyond 2^53 - 1.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        if millis <= INTEGER_MAX { Some(Self(millis)) } else { None }
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The moment that many milliseconds later; the last one there is if that lies beyond.
    pub const fn plus(self, millis: u64) -> Self {
        let sum = self.0.saturating_add(millis);
        if sum <= INTEGER_MAX { Self(sum) } else { Self(INTEGER_MAX) }
    }

    pub(crate) fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        Self::from_millis(field.integer()?).ok_or_else(|| field.error(Reason::Rule("must be a time in ms")))
    }

    /// Whole seconds since 1970, rounded down: the time in checkpoints' cosignatures.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

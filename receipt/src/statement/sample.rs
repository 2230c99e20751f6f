//! Small things that several records measure with: decimals, and samples of receipts.

use std::{fmt, str::FromStr};

use counterfoil_merkle::Hash;

use crate::{
    envelope::Id,
    json::{
        field::{Field, FieldError, Reason},
        write::ObjectWriter,
    },
    tree,
};

/// Most characters of a decimal.
pub const DECIMAL_BYTES_MAX: usize = 32;

/// A decimal as somebody wrote it: `-?digits[.digits]`. Never a JSON number, which readers would round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        if text.len() > DECIMAL_BYTES_MAX || !digits(whole) || !digits(fraction) {
            return Err(DecimalError);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A text that is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decimal is -?digits[.digits], at most {DECIMAL_BYTES_MAX} characters")]
pub struct DecimalError;

/// Several receipts by number and root: the Merkle root (RFC 6962) over their ids, 32 bytes each, in log order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many there are.
    pub count: u64,
    /// The root over their ids.
    pub root: Hash,
}

impl Sample {
    /// The sample of receipts with these ids, which are in log order; `None` if there are none.
    pub fn of(ids: &[Id]) -> Option<Self> {
        let count = u64::try_from(ids.len()).ok().filter(|count| *count > 0)?;
        Some(Self { count, root: tree::root(ids.iter().map(|id| id.as_bytes().as_slice())) })
    }

    pub(super) fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let count = members.required("count")?;
        let (number, root) = (count.integer()?, members.required("root")?.parse()?);
        if number == 0 {
            return Err(count.error(Reason::Rule("must not be 0")));
        }
        members.finish()?;
        Ok(Self { count: number, root })
    }

    pub(super) fn write(sample: &Option<Self>, members: &mut ObjectWriter<'_>) {
        if let Some(sample) = sample {
            members.object("sample", |members| {
                members.integer("count", sample.count);
                members.display("root", sample.root);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has the ids makes the root again, and no other list of ids has it: each counts, and so does their order.
    #[test]
    fn samples_are_roots_over_ids() {
        let id = |n: u8| Id::new(Hash::new([n; 32]));
        let root = |ids: &[Id]| Sample::of(ids).unwrap();
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(root(&[id(1)]), Sample { count: 1, root: Hash::leaf(&[1; 32]) });
        let both = Hash::node(Hash::leaf(&[1; 32]), Hash::leaf(&[2; 32]));
        assert_eq!(root(&[id(1), id(2)]), Sample { count: 2, root: both });
        for other in [vec![id(2), id(1)], vec![id(1), id(3)], vec![id(1), id(2), id(2)]] {
            assert_ne!(root(&other).root, both);
        }
    }

    #[test]
    fn decimals_are_digits() {
        for text in ["0", "-0", "0.5", "-12.0034", "007"] {
            assert_eq!(text.parse::<Decimal>().unwrap().as_str(), text);
        }
        let long = "1".repeat(DECIMAL_BYTES_MAX + 1);
        for text in ["", "-", ".5", "1.", "1e3", "+1", "1.2.3", "NaN", "a", "1 ", long.as_str()] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError), "{text}");
        }
    }
}

//! The kinds of records.

use crate::{
    code::codes,
    json::field::{Field, FieldError},
};

codes! {
    /// A kind of record, by the short name that entries carry.
    Kind {
        /// An inference receipt.
        Receipt = "receipt",
        /// A key is registered.
        Key = "key",
        /// A key is withdrawn.
        Revocation = "revocation",
        /// What an operator promises.
        Policy = "policy",
        /// Who may write into the log.
        Rules = "rules",
        /// A checkpoint with witnesses' times.
        Clock = "clock",
        /// Somebody checked a receipt's claims.
        Verdict = "verdict",
        /// Somebody contests a receipt.
        Dispute = "dispute",
        /// The answer to a dispute.
        Response = "response",
        /// How a dispute was decided.
        Resolution = "resolution",
        /// What was done about it.
        Remedy = "remedy",
        /// An issuer corrects what it said.
        Correction = "correction",
        /// A statement is erased.
        Erasure = "erasure",
        /// How far a stream went.
        Epoch = "epoch",
        /// A number was spent without a receipt.
        Void = "void",
        /// A receipt is promised; never logged.
        Promise = "promise",
        /// A log says why it refused; never logged.
        Refusal = "refusal",
    }
}

impl Kind {
    /// The `predicateType` of statements of this kind.
    pub const fn predicate_type(self) -> &'static str {
        match self {
            Self::Receipt => "https://counterfoil.dev/inference-receipt/v1",
            Self::Key => "https://counterfoil.dev/key/v1",
            Self::Revocation => "https://counterfoil.dev/revocation/v1",
            Self::Policy => "https://counterfoil.dev/policy/v1",
            Self::Rules => "https://counterfoil.dev/rules/v1",
            Self::Clock => "https://counterfoil.dev/clock/v1",
            Self::Verdict => "https://counterfoil.dev/verdict/v1",
            Self::Dispute => "https://counterfoil.dev/dispute/v1",
            Self::Response => "https://counterfoil.dev/response/v1",
            Self::Resolution => "https://counterfoil.dev/resolution/v1",
            Self::Remedy => "https://counterfoil.dev/remedy/v1",
            Self::Correction => "https://counterfoil.dev/correction/v1",
            Self::Erasure => "https://counterfoil.dev/erasure/v1",
            Self::Epoch => "https://counterfoil.dev/epoch/v1",
            Self::Void => "https://counterfoil.dev/void/v1",
            Self::Promise => "https://counterfoil.dev/promise/v1",
            Self::Refusal => "https://counterfoil.dev/refusal/v1",
        }
    }

    /// The kind of a `predicateType`, if it is one of Counterfoil's.
    pub fn from_predicate_type(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.predicate_type() == text)
    }

    /// Whether records of this kind enter the log. Promises and refusals never do.
    pub const fn is_logged(self) -> bool {
        !matches!(self, Self::Promise | Self::Refusal)
    }

    /// Whether records of this kind must have a place in a stream. Others may.
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::Receipt | Self::Void)
    }

    /// Whether the statement of such a record can be erased. What others are judged by cannot.
    pub const fn is_erasable(self) -> bool {
        matches!(self, Self::Receipt | Self::Verdict | Self::Dispute | Self::Response | Self::Correction)
    }

    /// Whether such records may name the program that made them: those that programs make by themselves.
    pub const fn names_software(self) -> bool {
        matches!(
            self,
            Self::Receipt
                | Self::Rules
                | Self::Clock
                | Self::Epoch
                | Self::Void
                | Self::Promise
                | Self::Refusal
        )
    }

    pub(super) fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        struct PredicateType(Kind);
        impl std::str::FromStr for PredicateType {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Kind::from_predicate_type(text).map(Self).ok_or("no predicate type of Counterfoil")
            }
        }
        field.parse::<PredicateType>().map(|read| read.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_predicate_types_are_one_to_one() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.as_str()), Some(kind));
            assert_eq!(Kind::from_predicate_type(kind.predicate_type()), Some(kind));
            let name = if kind == Kind::Receipt { "inference-receipt" } else { kind.as_str() };
            assert_eq!(kind.predicate_type(), format!("https://counterfoil.dev/{name}/v1"));
        }
        let unlogged: Vec<&Kind> = Kind::ALL.iter().filter(|kind| !kind.is_logged()).collect();
        assert_eq!(unlogged, [&Kind::Promise, &Kind::Refusal]);
    }
}

//! What a log answers to an append, and whether to believe it.

use counterfoil_merkle::{LeafIndex, checkpoint::VerifiedCheckpoint};
use counterfoil_receipt::{
    Envelope, Id,
    bundle::{Bundle, BundleError},
    trust::Trust,
    verify::{Failure, verify},
};
use serde::Deserialize;

/// An answer as it came: where the receipt is, and the bundle less the statement. Nothing is checked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Answer {
    /// The index that the log states.
    pub index: u64,
    /// The id that it states.
    pub id: String,
    /// The leaf hash that it states.
    pub leaf: String,
    /// The entry.
    pub entry: String,
    /// The tlog-proof; absent while nothing is published yet.
    pub proof: Option<String>,
}

/// Why a log does not take a record (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is, as a URL.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The kind in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong with this record.
    #[serde(default)]
    pub detail: String,
    /// The rule of admission that it broke.
    #[serde(default)]
    pub rule: Option<String>,
    /// The refusal, signed by the log's operator: an envelope. Nothing of it is checked.
    #[serde(default)]
    pub refusal: Option<Box<serde_json::Value>>,
}

/// A receipt that is in the log: the answer held.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its index.
    pub index: LeafIndex,
    /// Everything that proves it.
    pub bundle: Bundle,
    /// The checkpoint that it is under.
    pub checkpoint: VerifiedCheckpoint,
}

impl Problem {
    /// Whether the same record may be taken later.
    pub const fn is_temporary(&self) -> bool {
        matches!(self.status, 429 | 500..)
    }
}

impl Answer {
    /// Believes the answer to `envelope`, if all of it holds.
    pub fn verify(&self, envelope: &Envelope, trust: &Trust) -> Result<Logged, AnswerError> {
        let proof = self.proof.as_deref().ok_or(AnswerError::NotPublished)?;
        let bundle = Bundle::from_parts(Some(envelope.statement_bytes().to_vec()), &self.entry, proof)?;
        if bundle.entry.id != envelope.id() {
            return Err(AnswerError::OtherRecord { sent: envelope.id(), got: bundle.entry.id });
        }
        let report = verify(&bundle, trust, None);
        if let Some(failure) = report.failures().into_iter().next() {
            return Err(AnswerError::Fails(failure));
        }
        let stated = [
            ("index", self.index.to_string(), report.index.to_string()),
            ("id", self.id.clone(), bundle.entry.id.to_string()),
            ("leaf", self.leaf.clone(), report.leaf.to_string()),
        ];
        if let Some((member, stated, proven)) =
            stated.into_iter().find(|(_, stated, proven)| stated != proven)
        {
            return Err(AnswerError::Misstated { member, stated, proven });
        }
        let checkpoint =
            report.checkpoint.map_err(|reason| AnswerError::Fails(Failure::Checkpoint(reason)))?;
        Ok(Logged { index: report.index, bundle, checkpoint: checkpoint.checkpoint })
    }
}

/// Why an answer is not believed: the log's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The log took it, but has not published a tree with it.
    #[error("the log took the receipt, but has published no proof of it yet")]
    NotPublished,
    /// Entry or proof cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It is about another record.
    #[error("{sent} was sent, the answer is about {got}")]
    OtherRecord {
        /// What was sent.
        sent: Id,
        /// What the answer is about.
        got: Id,
    },
    /// It does not hold.
    #[error(transparent)]
    Fails(Failure),
    /// It states something else than it proves.
    #[error("the answer states {member} {stated}, and proves {proven}")]
    Misstated {
        /// What it misstates.
        member: &'static str,
        /// What it states.
        stated: String,
        /// What it proves.
        proven: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testlog;

    /// An answer is believed as a whole or not at all.
    #[test]
    fn every_member_has_to_hold() {
        let folder = tempfile::tempdir().unwrap();
        let trust = testlog::log(folder.path()).known().trust().unwrap();
        let (envelope, other) = (testlog::envelope(0), testlog::envelope(1));
        let good = testlog::answer(&envelope, 6);
        let read = |value: serde_json::Value| serde_json::from_value::<Answer>(value).unwrap();
        let logged = read(good.clone()).verify(&envelope, &trust).unwrap();
        assert_eq!((logged.index.get(), logged.checkpoint.head().size.get()), (6, 7));

        let swapped = read(good.clone()).verify(&other, &trust);
        assert!(matches!(swapped, Err(AnswerError::OtherRecord { .. })), "{swapped:?}");
        let foreign = testlog::answer(&other, 6);
        for member in ["index", "id", "leaf", "entry", "proof"] {
            let mut changed = good.clone();
            changed[member] = if member == "index" { serde_json::json!(5) } else { foreign[member].clone() };
            let refused = read(changed).verify(&envelope, &trust).expect_err(member);
            let stated = matches!(refused, AnswerError::Misstated { .. });
            assert_eq!(stated, matches!(member, "index" | "id" | "leaf"), "{member}: {refused}");
        }
        let mut pending = good;
        pending["proof"] = serde_json::Value::Null;
        assert_eq!(read(pending).verify(&envelope, &trust).err(), Some(AnswerError::NotPublished));
    }
}

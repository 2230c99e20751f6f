//! Fork evidence: two checkpoints that one log signed and that cannot both be true.
//!
//! A failed proof is no evidence, for anybody can send rubbish. Evidence is either two roots for one size, or a
//! smaller checkpoint beside a [`Growth`] that leads to the larger one's root and to another root at the smaller
//! size. Either can be checked offline by anyone who has the log's public key.

use std::{fmt, str::FromStr};

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint},
    growth::{Growth, GrowthError},
    hash::Hash,
    key::VerifierKey,
    note::NOTE_BYTES_MAX,
};

const HEADER: &str = "fork-evidence/v1";

/// The longest evidence that is read: two notes and some hundred hashes.
pub const EVIDENCE_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX + 16 * 1024;

/// Evidence as somebody sent it, none of it checked.
///
/// The text is deterministic: what parses prints back identically. `a` is the note of the smaller tree, or, at
/// equal sizes, the one whose text sorts first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    a: SignedCheckpoint,
    b: SignedCheckpoint,
    growth: Option<Growth>,
}

impl ForkEvidence {
    /// Two checkpoints of the same size.
    pub fn same_size(one: SignedCheckpoint, other: SignedCheckpoint) -> Self {
        let (a, b) = if one.to_string() <= other.to_string() { (one, other) } else { (other, one) };
        Self { a, b, growth: None }
    }

    /// A smaller checkpoint, a larger one, and what the larger one's tree makes of the smaller size.
    pub const fn grown(a: SignedCheckpoint, b: SignedCheckpoint, growth: Growth) -> Self {
        Self { a, b, growth: Some(growth) }
    }

    /// The checkpoint of the smaller tree.
    pub const fn a(&self) -> &SignedCheckpoint {
        &self.a
    }

    /// The checkpoint of the larger tree.
    pub const fn b(&self) -> &SignedCheckpoint {
        &self.b
    }

    /// A name for this evidence: SHA-256 of its text.
    pub fn id(&self) -> Hash {
        Hash::of(&[self.to_string().as_bytes()])
    }

    /// Whether this proves, to anyone who knows the log's key, that the log signed two histories.
    ///
    /// # Errors
    /// What is missing from the proof. Never that the log is honest: nothing can prove that.
    pub fn verify(&self, log: &VerifierKey) -> Result<(), EvidenceError> {
        let (a, b) = (self.a.signed_head(log)?, self.b.signed_head(log)?);
        let Some(growth) = &self.growth else {
            return if a.size != b.size {
                Err(EvidenceError::Kind)
            } else if a.root == b.root {
                Err(EvidenceError::Consistent)
            } else {
                Ok(())
            };
        };
        // The growth's own sizes, or it would say what the tree was at some other size.
        if a.size >= b.size || (a.size, b.size) != (growth.old(), growth.new_size()) {
            return Err(EvidenceError::Kind);
        }
        if growth.new_root() != b.root {
            return Err(EvidenceError::Unrelated { expected: b.root, computed: growth.new_root() });
        }
        if growth.old_root() == a.root { Err(EvidenceError::Consistent) } else { Ok(()) }
    }
}

impl fmt::Display for ForkEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.growth.is_some() { "consistency" } else { "same-size" };
        writeln!(f, "{HEADER}\nkind {kind}\norigin {}", self.a.unverified().origin)?;
        for (name, note) in [("a", &self.a), ("b", &self.b)] {
            let note = note.to_string();
            write!(f, "note {name} {}\n{note}", note.len())?;
        }
        if let Some(growth) = &self.growth {
            for (name, hashes) in [("frontier", growth.frontier()), ("right", growth.right())] {
                writeln!(f, "{name} {}", hashes.len())?;
                hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
            }
        }
        Ok(())
    }
}

impl FromStr for ForkEvidence {
    type Err = EvidenceError;

    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        if text.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLong { got: text.len() });
        }
        let mut rest = text;
        let form = || EvidenceError::Form;
        if line(&mut rest)? != HEADER {
            return Err(form());
        }
        let kind = line(&mut rest)?.strip_prefix("kind ").ok_or_else(form)?;
        line(&mut rest)?.strip_prefix("origin ").ok_or_else(form)?;
        let (a, b) = (note(&mut rest, "a")?, note(&mut rest, "b")?);
        let parsed = match kind {
            "same-size" => Self::same_size(a, b),
            "consistency" => {
                let (old, new) = (a.unverified().head.size, b.unverified().head.size);
                let (frontier, right) = (hashes(&mut rest, "frontier")?, hashes(&mut rest, "right")?);
                Self { a, b, growth: Some(Growth::new(old, new, frontier, right)?) }
            }
            _ => return Err(form()),
        };
        if parsed.to_string() == text { Ok(parsed) } else { Err(form()) }
    }
}

fn line<'a>(rest: &mut &'a str) -> Result<&'a str, EvidenceError> {
    let (line, after) = rest.split_once('\n').ok_or(EvidenceError::Form)?;
    *rest = after;
    Ok(line)
}

fn counted(rest: &mut &str, name: &str) -> Result<usize, EvidenceError> {
    let count = line(rest)?.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    count.and_then(|count| count.parse().ok()).ok_or(EvidenceError::Form)
}

fn note(rest: &mut &str, name: &str) -> Result<SignedCheckpoint, EvidenceError> {
    let length = counted(rest, &format!("note {name}"))?;
    let (note, after) = rest.split_at_checked(length).ok_or(EvidenceError::Form)?;
    *rest = after;
    Ok(note.parse()?)
}

fn hashes(rest: &mut &str, name: &str) -> Result<Vec<Hash>, EvidenceError> {
    let count = counted(rest, name)?;
    let mut hashes = Vec::new();
    for _ in 0..count {
        hashes.push(Hash::from_base64(line(rest)?).map_err(|_| EvidenceError::Form)?);
    }
    Ok(hashes)
}

/// Why something is not evidence of a fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Above [`EVIDENCE_BYTES_MAX`].
    #[error("the evidence has {got} bytes, above {EVIDENCE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Not in the format.
    #[error("not in the format {HEADER}")]
    Form,
    /// A note is not a checkpoint, or not one of that log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not fit the sizes.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// The sizes do not go with the kind of evidence.
    #[error("the two sizes do not go with this kind of evidence")]
    Kind,
    /// The hashes do not lead to the larger checkpoint's root.
    #[error("the hashes lead to root {computed}, not to the larger checkpoint's {expected}")]
    Unrelated {
        /// The root that the log signed.
        expected: Hash,
        /// The root that the hashes give.
        computed: Hash,
    },
    /// The checkpoints can both be true.
    #[error("the two checkpoints are consistent")]
    Consistent,
}

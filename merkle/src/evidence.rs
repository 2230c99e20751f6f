//! Fork evidence: two checkpoints that one log signed and that cannot both be true.
//!
//! A failed proof is no evidence, for anybody can send rubbish. Evidence is one of three:
//!
//! - two roots for one size;
//! - a smaller checkpoint beside a [`Growth`] that leads to the larger one's root and to another root at the smaller size;
//! - two different leaves at one index, each with its inclusion proof in one of the two trees.
//!
//! Each can be checked offline by anyone who has the log's public key, and each has one form as text and one as JSON,
//! byte for byte. If a witness cosigned both notes, the same evidence convicts that witness too.

mod json;
mod text;

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint},
    growth::{Growth, GrowthError},
    hash::Hash,
    key::VerifierKey,
    note::NOTE_BYTES_MAX,
    proof::{InclusionProof, PROOF_HASHES_MAX, ProofError},
    tlogproof::TlogProof,
    tree::{LeafIndex, TreeError, TreeHead},
};

/// The longest evidence that is read: two notes and some hundred hashes.
pub const EVIDENCE_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX + 16 * 1024;

/// The longest JSON of evidence that is read: no character of the text takes more than two there.
pub const EVIDENCE_JSON_BYTES_MAX: usize = 2 * EVIDENCE_BYTES_MAX;

/// Evidence as somebody sent it: of the right form, its proof not checked.
///
/// `a` is the note of the smaller tree, or, at equal sizes, the one that sorts first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    a: SignedCheckpoint,
    b: SignedCheckpoint,
    conflict: Conflict,
}

/// Why two checkpoints exclude one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// One size, two roots.
    Roots,
    /// The larger tree had another root when it was as large as the smaller one.
    Growth(Growth),
    /// The two trees have different leaves at one index.
    Leaves {
        /// Which index.
        index: LeafIndex,
        /// The leaf in the tree of `a`.
        a: LeafPath,
        /// The leaf in the tree of `b`.
        b: LeafPath,
    },
}

/// The hash of a leaf, and the siblings on its way to a root, leaf side first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafPath {
    leaf: Hash,
    hashes: Vec<Hash>,
}

impl LeafPath {
    /// The leaf's hash.
    pub const fn leaf(&self) -> Hash {
        self.leaf
    }

    /// The hashes of its inclusion proof.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }
}

impl ForkEvidence {
    /// Two checkpoints of the same size.
    pub fn same_size(one: SignedCheckpoint, other: SignedCheckpoint) -> Self {
        let [a, b] = if comes_first(&one, &other) { [one, other] } else { [other, one] };
        Self { a, b, conflict: Conflict::Roots }
    }

    /// A smaller checkpoint, a larger one, and what the larger one's tree makes of the smaller size.
    pub const fn grown(a: SignedCheckpoint, b: SignedCheckpoint, growth: Growth) -> Self {
        Self { a, b, conflict: Conflict::Growth(growth) }
    }

    /// Two proofs for one index, each with the hash of the leaf that it proves.
    ///
    /// # Errors
    /// [`EvidenceError::Indexes`] if they are for two indexes.
    pub fn two_leaves(one: (&TlogProof, Hash), other: (&TlogProof, Hash)) -> Result<Self, EvidenceError> {
        if one.0.index() != other.0.index() {
            return Err(EvidenceError::Indexes { a: one.0.index(), b: other.0.index() });
        }
        let half = |(proof, leaf): (&TlogProof, Hash)| {
            (proof.checkpoint().clone(), LeafPath { leaf, hashes: proof.proof().hashes().to_vec() })
        };
        Ok(Self::leaves(one.0.index(), half(one), half(other)))
    }

    fn leaves(
        index: LeafIndex,
        one: (SignedCheckpoint, LeafPath),
        other: (SignedCheckpoint, LeafPath),
    ) -> Self {
        let [(a, in_a), (b, in_b)] = if comes_first(&one.0, &other.0) { [one, other] } else { [other, one] };
        Self { a, b, conflict: Conflict::Leaves { index, a: in_a, b: in_b } }
    }

    /// The checkpoint of the smaller tree.
    pub const fn a(&self) -> &SignedCheckpoint {
        &self.a
    }

    /// The checkpoint of the larger tree.
    pub const fn b(&self) -> &SignedCheckpoint {
        &self.b
    }

    /// Why they exclude one another.
    pub const fn conflict(&self) -> &Conflict {
        &self.conflict
    }

    /// What kind of evidence this is, in one word: `same-size`, `consistency` or `index`.
    pub const fn kind(&self) -> &'static str {
        match self.conflict {
            Conflict::Roots => "same-size",
            Conflict::Growth(_) => "consistency",
            Conflict::Leaves { .. } => "index",
        }
    }

    /// A name for this evidence: the digest in its last line.
    pub fn id(&self) -> Hash {
        Hash::of(&[text::body(self).as_bytes()])
    }

    /// Whether this proves, to anyone who knows the log's key, that the log signed two histories.
    ///
    /// # Errors
    /// What is missing from the proof. Never that the log is honest: nothing can prove that.
    pub fn verify(&self, log: &VerifierKey) -> Result<(), EvidenceError> {
        self.check(self.a.signed_head(log)?, self.b.signed_head(log)?)
    }

    /// Whether this proves, to anyone who knows a witness' key, that the witness cosigned two histories of one log. What
    /// the log signed is no part of it.
    pub fn verify_cosigner(&self, cosigner: &VerifierKey) -> Result<(), EvidenceError> {
        // A log's key binds the origin by its name; a witness' is the same for every log.
        let [a, b] = [&self.a, &self.b].map(|note| &note.unverified().origin);
        if a != b {
            return Err(EvidenceError::Origins);
        }
        self.check(self.a.cosigned_head(cosigner)?, self.b.cosigned_head(cosigner)?)
    }

    /// Whether two signed heads exclude one another.
    fn check(&self, a: TreeHead, b: TreeHead) -> Result<(), EvidenceError> {
        match &self.conflict {
            Conflict::Roots if a.size != b.size => Err(EvidenceError::Sizes),
            Conflict::Roots if a.root == b.root => Err(EvidenceError::Consistent),
            Conflict::Roots => Ok(()),
            Conflict::Growth(growth) => check_growth(a, b, growth),
            Conflict::Leaves { index, a: in_a, b: in_b } => {
                for (head, LeafPath { leaf, hashes }) in [(a, in_a), (b, in_b)] {
                    let proof = InclusionProof::new(*index, head.size, hashes.clone())?;
                    let unproven = |reason| EvidenceError::Leaf { size: head.size.get(), reason };
                    proof.verify(*leaf, head.root).map_err(unproven)?;
                }
                if in_a.leaf == in_b.leaf { Err(EvidenceError::Consistent) } else { Ok(()) }
            }
        }
    }
}

fn check_growth(a: TreeHead, b: TreeHead, growth: &Growth) -> Result<(), EvidenceError> {
    // The growth's own sizes, or it would say what the tree was at some other size.
    if a.size >= b.size || (a.size, b.size) != (growth.old(), growth.new_size()) {
        return Err(EvidenceError::Sizes);
    }
    if growth.new_root() != b.root {
        return Err(EvidenceError::Unrelated { expected: b.root, computed: growth.new_root() });
    }
    if growth.old_root() == a.root { Err(EvidenceError::Consistent) } else { Ok(()) }
}

/// The order of the two notes: by size, then by their bytes.
fn comes_first(one: &SignedCheckpoint, other: &SignedCheckpoint) -> bool {
    let size = |note: &SignedCheckpoint| note.unverified().head.size;
    size(one).cmp(&size(other)).then_with(|| one.to_string().cmp(&other.to_string())).is_le()
}

/// Why something is not evidence of a fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Above [`EVIDENCE_BYTES_MAX`], or [`EVIDENCE_JSON_BYTES_MAX`] as JSON.
    #[error("evidence of {got} bytes is longer than any")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Something is missing where it should be.
    #[error("not fork evidence: {expected} is missing or malformed")]
    Form {
        /// What should be there.
        expected: &'static str,
    },
    /// The last line is not the digest of those before it: the file was damaged or changed.
    #[error("the digest in the evidence is {stated}, what it is of has {computed}")]
    Digest {
        /// What the last line says.
        stated: String,
        /// What the lines before it give.
        computed: Hash,
    },
    /// All is there, but written in another way than the one that is allowed.
    #[error("the evidence is not written in the one form that it has")]
    NotCanonical,
    /// A note is not a checkpoint, or not one of that log.
    #[error("note {note}: {reason}")]
    Note {
        /// Which one.
        note: char,
        /// What is wrong with it.
        reason: CheckpointError,
    },
    /// A note is not signed by the key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not fit the sizes.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// The index is not in one of the trees.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A list of more hashes than any proof has.
    #[error("a list of {got} hashes; no proof has more than {PROOF_HASHES_MAX}")]
    Hashes {
        /// How many.
        got: usize,
    },
    /// The sizes do not go with the kind of evidence.
    #[error("the two sizes do not go with this kind of evidence")]
    Sizes,
    /// The notes are of two logs.
    #[error("the two notes are of different logs")]
    Origins,
    /// The proofs are for two indexes.
    #[error("one leaf is at index {a}, the other at {b}")]
    Indexes {
        /// One index.
        a: LeafIndex,
        /// The other.
        b: LeafIndex,
    },
    /// A leaf is not proven to be in its tree.
    #[error("the leaf in the tree of size {size} is not proven: {reason}")]
    Leaf {
        /// Size of that tree.
        size: u64,
        /// What does not hold.
        reason: ProofError,
    },
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

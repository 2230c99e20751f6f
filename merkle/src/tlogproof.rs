//! Offline proofs: an inclusion proof and the checkpoint that it leads to, in one file (C2SP tlog-proof).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    hash::Hash,
    proof::{InclusionProof, PROOF_HASHES_MAX, ProofError},
    tree::LeafIndex,
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// An inclusion proof with its checkpoint, none of it checked.
///
/// Parsing is strict: what parses prints back identically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    proof: InclusionProof,
    checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// The proof of a leaf under a checkpoint of the size that the proof is for.
    ///
    /// # Errors
    /// [`ProofError::OtherTree`] if the sizes differ.
    pub fn new(proof: InclusionProof, checkpoint: SignedCheckpoint) -> Result<Self, ProofError> {
        let head = checkpoint.unverified().head.size;
        if proof.size() != head {
            return Err(ProofError::OtherTree { proof: proof.size(), head });
        }
        Ok(Self { extra: None, proof, checkpoint })
    }

    /// The text of a proof under a checkpoint whose text is at hand: what [`TlogProof::new`] prints, without parsing
    /// or printing the checkpoint again.
    pub fn print(proof: &InclusionProof, checkpoint: &str) -> String {
        let mut text = String::with_capacity(64 + 45 * proof.hashes().len() + checkpoint.len());
        text.push_str(HEADER);
        text.push_str("\nindex ");
        text.push_str(&proof.index().to_string());
        text.push('\n');
        for hash in proof.hashes() {
            BASE64.encode_string(hash.as_bytes(), &mut text);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(checkpoint);
        text
    }

    /// Unauthenticated extra data, if the proof has that line.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The leaf's index.
    pub const fn index(&self) -> LeafIndex {
        self.proof.index()
    }

    /// The inclusion proof.
    pub const fn proof(&self) -> &InclusionProof {
        &self.proof
    }

    /// The checkpoint as it came.
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Checks that the tree of a verified checkpoint has this leaf; the checkpoint must be this proof's own.
    pub fn verify(&self, leaf: Hash, checkpoint: &VerifiedCheckpoint) -> Result<(), ProofError> {
        let head = checkpoint.head();
        if head.size != self.proof.size() {
            return Err(ProofError::OtherTree { proof: self.proof.size(), head: head.size });
        }
        self.proof.verify(leaf, head.root)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.proof.index())?;
        for hash in self.proof.hashes() {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let form = || TlogProofError::Form;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(form)?;
        let checkpoint: SignedCheckpoint = checkpoint.parse()?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Header);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(BASE64.decode(&line["extra ".len()..]).map_err(|_| form())?),
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or_else(form)?;
        let index = index
            .parse()
            .ok()
            .and_then(|number| LeafIndex::new(number).ok())
            .filter(|parsed| parsed.to_string() == index)
            .ok_or(TlogProofError::Index)?;
        let hashes: Vec<_> = lines.map(Hash::from_base64).collect::<Result<_, _>>().map_err(|_| form())?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(TlogProofError::Form);
        }
        let size = checkpoint.unverified().head.size;
        let proof = InclusionProof::new(index, size, hashes).map_err(|_| TlogProofError::Index)?;
        Ok(Self { extra, proof, checkpoint })
    }
}

/// Why text is not a tlog-proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// Not the first line of a proof of this version.
    #[error("a tlog-proof begins with the line {HEADER}")]
    Header,
    /// The lines are not those of the format.
    #[error("a tlog-proof has an index line, one line a hash, an empty line and a checkpoint")]
    Form,
    /// Not a canonical index, or not below the checkpoint's size.
    #[error("a tlog-proof's index is a decimal number below the checkpoint's size")]
    Index,
    /// What follows is not a checkpoint.
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

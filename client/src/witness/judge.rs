//! What a witness decides. Pure: what it knows and what it is asked are arguments, its decision is a value.
//!
//! These are the checks of C2SP tlog-witness, in its order: [`Request::read`], then the log is looked up by its origin,
//! then [`WatchedLog::authenticate`], then [`judge`].

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
    evidence::{EvidenceError, ForkEvidence},
    note::{Note, NoteError},
    proof::{ConsistencyProof, ProofError},
    witness::{AddCheckpoint, RequestError},
};

use super::roster::WatchedLog;

/// A well-formed request; nobody has checked who signed what.
#[derive(Clone, Debug)]
pub struct Request {
    origin: String,
    size: TreeSize,
    request: AddCheckpoint,
}

impl Request {
    /// Reads a request's body.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let request: AddCheckpoint = str::from_utf8(body).map_err(|_| Refusal::NotText)?.parse()?;
        let text = request.checkpoint.text();
        let size = match text.parse::<Checkpoint>() {
            Ok(checkpoint) => checkpoint.head.size,
            // Well formed all the same: the protocol refuses it after everything else.
            Err(CheckpointError::EmptyRoot) => TreeSize::ZERO,
            Err(error) => return Err(Refusal::Malformed(error)),
        };
        let origin = text.lines().next().unwrap_or_default().to_owned();
        Ok(Self { origin, size, request })
    }

    /// The log that it claims to come from.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// A request with a checkpoint that the log signed, all other lines stripped.
#[derive(Clone, Debug)]
pub struct Authentic {
    old: TreeSize,
    proof: Vec<Hash>,
    size: TreeSize,
    note: Note,
}

impl WatchedLog {
    /// Demands that a key of the log signed the checkpoint, and that no line of such a key is bad.
    pub fn authenticate(&self, request: Request) -> Result<Authentic, Refusal> {
        let Request { size, request: AddCheckpoint { old, proof, checkpoint }, .. } = request;
        let note = self.signed(&checkpoint).map_err(Refusal::Signature)?;
        Ok(Authentic { old, proof, size, note })
    }

    /// The note with one line of each of the log's keys that signed it.
    pub fn signed(&self, note: &Note) -> Result<Note, NoteError> {
        let mut lines = Vec::new();
        let mut unsigned = None;
        for key in self.keys() {
            let own = distinct(&note.only(&[key]))?;
            match own.verify(key) {
                Ok(()) => lines.extend(own.signatures().first().cloned()),
                Err(error @ NoteError::NotSigned { .. }) => unsigned = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = unsigned.filter(|_| lines.is_empty()) {
            return Err(error);
        }
        let mut stripped = Note::new(note.text().to_owned())?;
        lines.into_iter().for_each(|line| stripped.push(line));
        Ok(stripped)
    }

    /// Evidence that the log signed two histories, if these two of its checkpoints are that.
    ///
    /// None if no single key signed both, or if that key has another name than the log: the format of evidence knows
    /// a log by its key alone.
    pub fn convict(&self, one: &SignedCheckpoint, other: &SignedCheckpoint) -> Option<ForkEvidence> {
        let evidence = ForkEvidence::same_size(one.clone(), other.clone());
        self.check(&evidence).is_ok().then_some(evidence)
    }

    /// Whether the evidence proves, with one of the log's keys, that it signed two histories.
    pub fn check(&self, evidence: &ForkEvidence) -> Result<(), EvidenceError> {
        let mut checked = Err(EvidenceError::Origins);
        for key in self.keys() {
            checked = evidence.verify(key);
            if checked.is_ok() {
                break;
            }
        }
        checked
    }
}

/// The note with each line once. A stranger can repeat a good line and make no other: he buys no work with that.
fn distinct(note: &Note) -> Result<Note, NoteError> {
    let mut distinct = Note::new(note.text().to_owned())?;
    for line in note.signatures() {
        if !distinct.signatures().contains(line) {
            distinct.push(line.clone());
        }
    }
    Ok(distinct)
}

/// What a witness decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The checkpoint goes with all that was cosigned before.
    Cosign(SignedCheckpoint),
    /// It is refused.
    Refuse(Refusal),
    /// It is refused, and kept: the log signed it, and nobody has shown that it goes with what was cosigned before.
    Suspect(Refusal, SignedCheckpoint),
}

/// Judges an authentic request against the newest head that was cosigned for its log: that of the empty tree if none.
pub fn judge(known: TreeHead, request: Authentic) -> Verdict {
    let Authentic { old, proof, size, note } = request;
    if old > size {
        return Verdict::Refuse(Refusal::OldAboveSize { old, size });
    }
    let conflict = Refusal::Conflict { size: known.size };
    // Reading the request left one reason why this could fail.
    let Ok(checkpoint) = SignedCheckpoint::try_from(note) else {
        return Verdict::Refuse(if old == known.size { Refusal::EmptyRoot } else { conflict });
    };
    let root = checkpoint.unverified().head.root;
    let forked = size == known.size && root != known.root;
    match (old == known.size, forked) {
        (false, true) => return Verdict::Suspect(conflict, checkpoint),
        (false, false) => return Verdict::Refuse(conflict),
        (true, true) => return Verdict::Suspect(Refusal::OtherRoot, checkpoint),
        (true, false) => {}
    }
    let proof = ConsistencyProof::new(old, size, proof).expect("the old size is not above the new one");
    match proof.verify(known.root, root) {
        Ok(()) => Verdict::Cosign(checkpoint),
        // The same tree, or the first one: whatever is wrong, it is the proof alone.
        Err(error) if size == known.size || known.size == TreeSize::ZERO => {
            Verdict::Refuse(Refusal::Proof(error))
        }
        Err(error) => Verdict::Suspect(Refusal::Proof(error), checkpoint),
    }
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not UTF-8.
    #[error("the request is not UTF-8")]
    NotText,
    /// Not the body of `add-checkpoint`.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The note is not a checkpoint.
    #[error(transparent)]
    Malformed(CheckpointError),
    /// Nobody told the witness of this log.
    #[error("this witness does not know a log of that origin")]
    UnknownLog,
    /// No key of the log signed, or a line of such a key is bad.
    #[error(transparent)]
    Signature(NoteError),
    /// The log was proven to have signed two histories.
    #[error("this log signed two histories, which is proven; the evidence is at /{log}/evidence")]
    Forked {
        /// SHA-256 of the log's origin.
        log: Hash,
    },
    /// The old size is above the new one.
    #[error("the old size is {old}, above the checkpoint's {size}")]
    OldAboveSize {
        /// Size that the witness is said to have cosigned.
        old: TreeSize,
        /// Size of the checkpoint.
        size: TreeSize,
    },
    /// The old size is not the one that was cosigned last. This size is all of the answer.
    #[error("{size}")]
    Conflict {
        /// The size that was cosigned last.
        size: TreeSize,
    },
    /// Size 0 with another root than that of the empty tree.
    #[error("{}", CheckpointError::EmptyRoot)]
    EmptyRoot,
    /// The size that was cosigned last, with another root.
    #[error("the tree of this size was cosigned with another root")]
    OtherRoot,
    /// The proof does not hold.
    #[error(transparent)]
    Proof(ProofError),
    /// More than the log's requests a day.
    #[error("this log has used up its requests; the next may come in {retry_after_s} s")]
    TooMany {
        /// When to come again.
        retry_after_s: u64,
    },
    /// The clock is behind a time that was signed.
    #[error("the witness's clock is behind what it signed before")]
    Clock,
    /// What was decided could not be stored, so nothing was signed.
    #[error("the witness cannot store its state")]
    Storage,
}

#[cfg(test)]
mod tests;

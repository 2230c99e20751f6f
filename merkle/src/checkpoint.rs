//! Checkpoints: signed tree heads (C2SP tlog-checkpoint).
//!
//! A [`SignedCheckpoint`] is what somebody sent; a [`VerifiedCheckpoint`] can be had through a log's key alone.

use std::{fmt, str::FromStr};

use crate::{
    cosign::{self, Cosignature},
    hash::Hash,
    key::{Algorithm, IN_MEMORY, NoteSigner, Signer, SignerError, VerifierKey},
    note::{Note, NoteError, SignatureLine},
    tree::{TreeHead, TreeSize},
};

/// What a log is called, for ever: one line, not empty, no control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The longest origin: what a subtree cosignature can carry, its length being one byte.
    pub const BYTES_MAX: usize = 255;

    /// An origin, if it has the form of one.
    pub fn new(origin: &str) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.len() > Self::BYTES_MAX || origin.contains(char::is_control) {
            return Err(CheckpointError::Origin);
        }
        Ok(Self(origin.to_owned()))
    }

    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the key with which the log attests the time of its checkpoints: `<origin>/clock`.
    pub fn clock_name(&self) -> String {
        format!("{}/clock", self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a checkpoint: origin, size, root, and extension lines, which are kept and not understood.
///
/// Parsing is strict: what parses prints back identically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// Its size and root.
    pub head: TreeHead,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub const fn new(origin: Origin, head: TreeHead) -> Self {
        Self { origin, head, extensions: Vec::new() }
    }

    /// Extension lines; a Counterfoil log writes none.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Signs as the log.
    ///
    /// # Panics
    /// If the signer is a cosigner.
    pub fn sign(&self, signer: &NoteSigner) -> SignedCheckpoint {
        self.try_sign(signer).expect(IN_MEMORY)
    }

    /// As [`Checkpoint::sign`], wherever the log's key is.
    ///
    /// # Errors
    /// [`SignerError`] if it does not sign.
    ///
    /// # Panics
    /// If the signer is a cosigner.
    pub fn try_sign(&self, signer: &dyn Signer) -> Result<SignedCheckpoint, SignerError> {
        let mut note = Note::new(self.to_string()).expect("a checkpoint is a note's text");
        note.try_sign(signer)?;
        Ok(SignedCheckpoint { checkpoint: self.clone(), note })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, self.head.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Form)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Form);
        };
        let size = size
            .parse()
            .ok()
            .and_then(|number| TreeSize::new(number).ok())
            .filter(|parsed| parsed.to_string() == size)
            .ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).map_err(|_| CheckpointError::Root)?;
        if size == TreeSize::ZERO && root != Hash::EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot);
        }
        let extensions: Vec<_> = lines.map(str::to_owned).collect();
        // A note's text has no such characters either, so whatever parses can be signed.
        let malformed = |line: &String| line.is_empty() || line.contains(|c| c < ' ');
        if extensions.iter().any(malformed) {
            return Err(CheckpointError::Form);
        }
        Ok(Self { origin: Origin::new(origin)?, head: TreeHead { size, root }, extensions })
    }
}

/// A checkpoint with signature lines that nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// What the text says. Not to be trusted before [`SignedCheckpoint::verify`].
    pub const fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with every signature line that came.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The same checkpoint with one cosignature more.
    ///
    /// # Panics
    /// If the signer is not a cosigner.
    pub fn cosign(&mut self, signer: &NoteSigner, time_s: u64) {
        self.try_cosign(signer, time_s).expect(IN_MEMORY);
    }

    /// As [`SignedCheckpoint::cosign`], wherever the cosigner's key is.
    ///
    /// # Errors
    /// [`SignerError`] if it does not sign; the checkpoint is as it was.
    ///
    /// # Panics
    /// If the signer is not a cosigner.
    pub fn try_cosign(&mut self, signer: &dyn Signer, time_s: u64) -> Result<(), SignerError> {
        self.note.push(cosign::sign(&self.checkpoint, signer, time_s)?);
        Ok(())
    }

    /// Adds a signature line, such as a witness answers. It is not checked here.
    pub fn push(&mut self, line: SignatureLine) {
        self.note.push(line);
    }

    /// Checks that the log with this key signed it, and that the key's name is the origin.
    pub fn verify(&self, log: &VerifierKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        self.check_log(log)?;
        self.note.verify(log)?;
        Ok(VerifiedCheckpoint { signed: self.clone(), log: log.clone() })
    }

    /// The newest cosignature of this key, each of whose lines must verify. It says nothing of who signed as the log.
    pub fn cosignature(&self, cosigner: &VerifierKey) -> Result<Cosignature, CheckpointError> {
        cosign::verify(&self.checkpoint, &self.note, cosigner)
    }

    /// The size and root that the log can be held to: it has a good line of this key, and may have bad ones.
    ///
    /// A note with a bad line is not to be trusted, and [`SignedCheckpoint::verify`] refuses it. But others read only
    /// the first line of a key, and a log must not escape by a bad second one.
    pub fn signed_head(&self, log: &VerifierKey) -> Result<TreeHead, CheckpointError> {
        self.check_log(log)?;
        let text = self.note.text().as_bytes();
        if !self.note.lines_of(log).any(|line| log.verifies(text, &line.signature)) {
            self.note.verify(log)?;
        }
        Ok(self.checkpoint.head)
    }

    /// The size and root that a cosigner with this key can be held to: it has a good line of it, and may have bad ones.
    pub fn cosigned_head(&self, cosigner: &VerifierKey) -> Result<TreeHead, CheckpointError> {
        cosign::verify_any(&self.checkpoint, &self.note, cosigner)?;
        Ok(self.checkpoint.head)
    }

    fn check_log(&self, log: &VerifierKey) -> Result<(), CheckpointError> {
        if log.algorithm() != Algorithm::Ed25519 {
            return Err(CheckpointError::NotALogKey);
        }
        if log.name().as_str() != self.checkpoint.origin.as_str() {
            return Err(CheckpointError::OtherOrigin {
                expected: log.name().to_string(),
                got: self.checkpoint.origin.clone(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        text.parse::<Note>()?.try_into()
    }
}

impl TryFrom<Note> for SignedCheckpoint {
    type Error = CheckpointError;

    fn try_from(note: Note) -> Result<Self, CheckpointError> {
        Ok(Self { checkpoint: note.text().parse()?, note })
    }
}

/// A checkpoint that its log signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    signed: SignedCheckpoint,
    log: VerifierKey,
}

impl VerifiedCheckpoint {
    /// Which log.
    pub const fn origin(&self) -> &Origin {
        &self.signed.checkpoint.origin
    }

    /// Size and root that the log signed.
    pub const fn head(&self) -> TreeHead {
        self.signed.checkpoint.head
    }

    /// The key that it was verified with.
    pub const fn log_key(&self) -> &VerifierKey {
        &self.log
    }

    /// The checkpoint with every signature line that came.
    pub const fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// The note with the log's own lines and those of the given keys, all others stripped.
    pub fn note_with(&self, keys: &[&VerifierKey]) -> Note {
        let mut known = vec![&self.log];
        known.extend_from_slice(keys);
        self.signed.note.only(&known)
    }

    /// The newest cosignature of this key, each of whose lines must verify.
    pub fn cosignature(&self, cosigner: &VerifierKey) -> Result<Cosignature, CheckpointError> {
        self.signed.cosignature(cosigner)
    }
}

/// Why text is not a checkpoint, or not one of that log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a signed note, or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Fewer than three lines, an empty one, or one with control characters.
    #[error(
        "a checkpoint has an origin, a size and a root, each a line, no empty line and no control character"
    )]
    Form,
    /// Not an origin.
    #[error("an origin has 1 to 255 bytes and no control character")]
    Origin,
    /// Not a tree size in decimal.
    #[error("a checkpoint's size is a decimal number of at most 2^40 without leading zeros")]
    Size,
    /// Not a root hash.
    #[error("a checkpoint's root is a digest in base64")]
    Root,
    /// Not the root of the empty tree at size 0.
    #[error("the root of a tree of size 0 is the digest of nothing")]
    EmptyRoot,
    /// Another log's checkpoint.
    #[error("the checkpoint is of {got}, not of {expected}")]
    OtherOrigin {
        /// Name of the log's key.
        expected: String,
        /// Origin in the checkpoint.
        got: Origin,
    },
    /// The key given for the log is a cosigner's.
    #[error("a log's key is a plain Ed25519 key, not a cosigner's")]
    NotALogKey,
    /// The key given for a cosigner is not one.
    #[error("a cosigner's key has algorithm 0x04")]
    NotACosignerKey,
}

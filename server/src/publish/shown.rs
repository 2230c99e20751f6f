//! What witnesses show of this log. Only a note that carries our own signature and that our tree cannot reproduce means
//! anything, and it stops the log: the data directory is an old copy, or somebody signed another history.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, Hash, TreeHead, TreeSize, checkpoint::SignedCheckpoint, evidence::ForkEvidence, growth::Growth,
    key::VerifierKey,
};
use futures::executor::block_on;
use tracing::error;

use crate::tiles::{ReadError, Tiles};

/// A checkpoint with a good signature of this log, as a witness showed it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The witness' name in the policy.
    pub witness: String,
    /// The note.
    pub note: SignedCheckpoint,
}

impl Shown {
    /// What a witness showed, if the log with this key signed it.
    pub fn read(witness: &str, text: &str, log: &VerifierKey) -> Option<Self> {
        let note: SignedCheckpoint = text.parse().ok()?;
        note.signed_head(log).ok()?;
        Some(Self { witness: witness.to_owned(), note })
    }

    /// Size and root that were signed.
    pub const fn head(&self) -> TreeHead {
        self.note.unverified().head
    }

    /// Holds it against the committed tree with this right edge. `newest` is the newest checkpoint that this log signed,
    /// as far as is known: it is the other half of the evidence.
    ///
    /// # Errors
    /// [`ShownError::Contradicts`] if it cannot be reproduced; then what proves it is in a file.
    pub async fn check(
        &self,
        tiles: &Tiles,
        frontier: &Frontier,
        newest: Option<&SignedCheckpoint>,
        log: &VerifierKey,
        place: &EvidencePlace,
    ) -> Result<(), ShownError> {
        let (witness, shown, store) = (self.witness.clone(), self.head(), frontier.size());
        if shown.size > store {
            let kept = place.keep(Kind::Notes, &self.both_notes(newest));
            return Err(Contradiction::Ahead { witness, shown: shown.size, store, kept }.into());
        }
        let root = tiles.root_at(frontier, shown.size).await?;
        if root == shown.root {
            return Ok(());
        }
        let evidence = match newest {
            Some(newest) => self.evidence(tiles, frontier, newest, log).await?,
            None => None,
        };
        let kept = match evidence {
            Some(evidence) => place.keep(Kind::Evidence, &evidence.to_string()),
            None => place.keep(Kind::Notes, &self.both_notes(newest)),
        };
        Err(Contradiction::Forked { witness, size: shown.size, shown: shown.root, store: root, kept }.into())
    }

    /// What convinces a stranger: that takes a note of ours that is at least as large.
    async fn evidence(
        &self,
        tiles: &Tiles,
        frontier: &Frontier,
        newest: &SignedCheckpoint,
        log: &VerifierKey,
    ) -> Result<Option<ForkEvidence>, ReadError> {
        let (shown, own) = (self.head().size, newest.unverified().head.size);
        let evidence = if shown == own {
            ForkEvidence::same_size(self.note.clone(), newest.clone())
        } else if shown < own && own <= frontier.size() {
            let hashes = tiles.hashes(frontier, &Growth::nodes(shown, own)?).await?;
            let growth = Growth::from_nodes(shown, own, &hashes)?;
            ForkEvidence::grown(self.note.clone(), newest.clone(), growth)
        } else {
            return Ok(None);
        };
        Ok(evidence.verify(log).is_ok().then_some(evidence))
    }

    fn both_notes(&self, newest: Option<&SignedCheckpoint>) -> String {
        let own = newest.map_or_else(|| "none is known\n".to_owned(), ToString::to_string);
        format!("Shown by witness {}:\n\n{}\nSigned here last:\n\n{own}", self.witness, self.note)
    }
}

/// Holds what witnesses showed against the committed tree with this right edge, as [`Shown::check`] does.
pub fn check_all(
    shown: &[Shown],
    tiles: &Tiles,
    frontier: &Frontier,
    newest: Option<&SignedCheckpoint>,
    log: &VerifierKey,
    place: &EvidencePlace,
) -> Result<(), ShownError> {
    shown.iter().try_for_each(|shown| block_on(shown.check(tiles, frontier, newest, log, place)))
}

/// Where evidence against this log is kept: beside its data directory.
#[derive(Clone, Debug)]
pub struct EvidencePlace {
    data: PathBuf,
}

#[derive(Clone, Copy)]
enum Kind {
    Evidence,
    Notes,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Evidence => "fork-evidence",
            Self::Notes => "contradicting-notes",
        }
    }
}

impl EvidencePlace {
    /// Beside that data directory.
    pub fn beside(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Whether evidence of a fork was found before. Only a person who looked at it moves it away.
    pub fn check(&self) -> Result<(), Contradiction> {
        let (Some(folder), prefix) = (self.data.parent(), self.name(Kind::Evidence)) else { return Ok(()) };
        for item in fs::read_dir(folder).into_iter().flatten().flatten() {
            if item.file_name().to_string_lossy().starts_with(&prefix) {
                return Err(Contradiction::Known { path: item.path() });
            }
        }
        Ok(())
    }

    /// Writes a file, durably. Stopping matters more than writing: an error of that is only told.
    fn keep(&self, kind: Kind, text: &str) -> PathBuf {
        let digest = Hash::of(&[text.as_bytes()]).to_string();
        let path = self.data.with_file_name(format!("{}{}.txt", self.name(kind), &digest[..16]));
        match write(&path, text) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                error!(%error, path = %path.display(), text, "what contradicts this log cannot be written");
            }
            _ => {}
        }
        path
    }

    fn name(&self, kind: Kind) -> String {
        let data = self.data.file_name().unwrap_or_default().to_string_lossy();
        format!("{data}.{}-", kind.as_str())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Why a checkpoint that a witness showed could not be passed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShownError {
    /// It contradicts the log.
    #[error(transparent)]
    Contradicts(#[from] Contradiction),
    /// Our own tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Our own signature under what our tree cannot reproduce. Nothing is signed after this.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// The witness saw more of this log than there is.
    #[error(
        "witness {witness} has cosigned {shown} entries that this log's key signed, and the data directory holds {store}: \
         it is an old copy, or another server signs with these keys; restore the newest copy, for signing over what was \
         signed before would fork the log; the note is in {}",
        kept.display()
    )]
    Ahead {
        /// Its name.
        witness: String,
        /// How many it saw.
        shown: TreeSize,
        /// How many there are.
        store: TreeSize,
        /// The file with the note.
        kept: PathBuf,
    },
    /// The witness saw another history of this log.
    #[error(
        "witness {witness} has cosigned another history that this log's key signed: at size {size} its root is {shown}, \
         and that of the data directory {store}; the log is forked; what proves it is in {}",
        kept.display()
    )]
    Forked {
        /// Its name.
        witness: String,
        /// At which size.
        size: TreeSize,
        /// The root that the witness saw.
        shown: Hash,
        /// Ours.
        store: Hash,
        /// The file with the evidence.
        kept: PathBuf,
    },
    /// Evidence was found before.
    #[error(
        "{} is evidence that this log's key signed two histories; nothing is signed while it lies there",
        path.display()
    )]
    Known {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use counterfoil_merkle::{
        checkpoint::{Checkpoint, Origin},
        key::{Algorithm, KeyName, NoteSigner},
    };

    use super::*;
    use crate::objects::Objects;

    fn signer(seed: u8) -> NoteSigner {
        NoteSigner::from_seed(KeyName::new("log.example").unwrap(), Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    fn tree(leaves: std::ops::Range<u8>) -> Frontier {
        let mut tree = Frontier::new();
        leaves.for_each(|leaf| tree.push(Hash::leaf(&[leaf]), drop).unwrap());
        tree
    }

    fn signed(tree: &Frontier, key: &NoteSigner) -> SignedCheckpoint {
        Checkpoint::new(Origin::new("log.example").unwrap(), tree.head()).sign(key)
    }

    /// What our key signed and our tree has not is told and kept, with evidence where there can be any; all else is
    /// passed over.
    #[test]
    fn only_our_own_signature_over_another_history_counts() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let tiles = Tiles::new(Arc::new(Objects::init(&data).unwrap()));
        let (key, place) = (signer(1), EvidencePlace::beside(&data));
        let log = key.public();
        let (own, newest) = (tree(0..50), signed(&tree(0..40), &key));
        let check = |note: &SignedCheckpoint| {
            let shown = Shown::read("w1", &note.to_string(), log).unwrap();
            block_on(shown.check(&tiles, &own, Some(&newest), log, &place))
        };
        for size in [0, 1, 17, 40, 50] {
            assert!(check(&signed(&tree(0..size), &key)).is_ok(), "{size}");
        }
        assert!(Shown::read("w1", &signed(&tree(9..19), &signer(2)).to_string(), log).is_none());
        assert!(Shown::read("w1", "rubbish", log).is_none());

        let ahead = check(&signed(&tree(0..51), &key)).unwrap_err();
        assert!(ahead.to_string().starts_with("witness w1 has cosigned 51 entries"), "{ahead}");
        let between = check(&signed(&tree(1..46), &key)).unwrap_err();
        let ShownError::Contradicts(Contradiction::Forked { kept, .. }) = between else {
            panic!("{between}")
        };
        assert!(fs::read_to_string(kept).unwrap().contains("Signed here last:\n\nlog.example\n40\n"));
        assert!(place.check().is_ok(), "two notes alone prove nothing to a stranger");
        for leaves in [1..41, 1..18] {
            let note = signed(&tree(leaves), &key);
            let forked = check(&note).unwrap_err();
            let ShownError::Contradicts(Contradiction::Forked { kept, .. }) = forked else {
                panic!("{forked}")
            };
            let evidence: ForkEvidence = fs::read_to_string(&kept).unwrap().parse().unwrap();
            assert_eq!(evidence.verify(log), Ok(()));
            assert!(check(&note).is_err(), "again, over the same file");
            assert!(matches!(place.check(), Err(Contradiction::Known { path }) if path == kept));
            fs::remove_file(kept).unwrap();
        }
        assert!(place.check().is_ok());
    }
}

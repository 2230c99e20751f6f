//! Verifying what a log answers while it is loaded.

use counterfoil_merkle::{Hash, LeafIndex, TreeHead, TreeSize, proof::InclusionProof};
use counterfoil_receipt::{Envelope, bundle::Bundle, trust::Trust, verify::verify};
use serde::Deserialize;

use super::{LoadError, Reading};
use crate::{answer::Answer, log::KnownLog};

/// What answers are held against.
pub(super) struct Check {
    log: KnownLog,
    trust: Trust,
    head: TreeHead,
}

impl Check {
    /// Against the log's keys, and a tree head that it signed.
    pub(super) fn new(log: &KnownLog, head: TreeHead) -> Result<Self, LoadError> {
        let trust = log.trust().map_err(|error| LoadError::Answer(error.to_string()))?;
        Ok(Self { log: log.clone(), trust, head })
    }

    /// The tree head that proofs are asked for.
    pub(super) const fn head(&self) -> TreeHead {
        self.head
    }

    /// That every envelope that was sent is answered with a proof of it that holds.
    pub(super) fn appended(&self, sent: &[u8], answered: &[u8]) -> Result<(), LoadError> {
        let mut answers = answered.split(|&byte| byte == b'\n');
        for sent in sent.split(|&byte| byte == b'\n') {
            let envelope = Envelope::parse(sent).map_err(wrong)?;
            let answer: Answer = serde_json::from_slice(answers.next().unwrap_or_default()).map_err(wrong)?;
            answer.verify(&envelope, &self.trust).map_err(wrong)?;
        }
        Ok(())
    }

    /// That a read was answered with what was asked for. A tile proves nothing alone: reading a log whole is a monitor's task.
    pub(super) fn read(&self, reading: Reading, index: u64, answered: &[u8]) -> Result<(), LoadError> {
        match reading {
            Reading::Proof => self.proof(index, answered),
            Reading::Bundle => {
                let bundle = Bundle::parse(answered).map_err(wrong)?;
                let report = verify(&bundle, &self.trust, None);
                match report.failures().into_iter().next() {
                    Some(failure) => Err(wrong(failure)),
                    None if report.index.get() == index => Ok(()),
                    None => Err(wrong(format_args!("entry {index} was asked for, {} came", report.index))),
                }
            }
            Reading::Checkpoint => {
                let text = str::from_utf8(answered).map_err(wrong)?;
                self.log.check(text).map(drop).map_err(wrong)
            }
            Reading::Tile | Reading::Entries => Ok(()),
        }
    }

    fn proof(&self, index: u64, answered: &[u8]) -> Result<(), LoadError> {
        let answer: Inclusion = serde_json::from_slice(answered).map_err(wrong)?;
        let (index, leaf): (_, Hash) =
            (LeafIndex::new(index).map_err(wrong)?, answer.leaf.parse().map_err(wrong)?);
        let hashes = answer.hashes.iter().map(|hash| Hash::from_base64(hash));
        let hashes = hashes.collect::<Result<_, _>>().map_err(wrong)?;
        let size = TreeSize::new(answer.size).map_err(wrong)?;
        let proof = InclusionProof::new(index, size, hashes).map_err(wrong)?;
        if (answer.index, size) != (index.get(), self.head.size) {
            return Err(wrong(format_args!("a proof of entry {} in a tree of size {size}", answer.index)));
        }
        proof.verify(leaf, self.head.root).map_err(wrong)
    }
}

/// The answer to a request for an inclusion proof.
#[derive(Deserialize)]
struct Inclusion {
    index: u64,
    leaf: String,
    size: u64,
    hashes: Vec<String>,
}

fn wrong(reason: impl std::fmt::Display) -> LoadError {
    LoadError::Answer(reason.to_string())
}

//! `counterfoil verify-evidence`.

use std::{io, path::PathBuf};

use anyhow::ensure;
use clap::Args;
use counterfoil_merkle::{
    TreeHead,
    evidence::{EVIDENCE_BYTES_MAX, ForkEvidence},
    key::{Algorithm, VerifierKey},
};
use serde_json::{Value, json};

use super::{
    Exit, LogArgs, Terminal,
    terminal::{Tone, shown},
};
use crate::file;

/// Check, offline, whether a file proves that a log signed two histories.
#[derive(Args, Debug)]
pub(super) struct VerifyEvidence {
    /// The evidence.
    file: PathBuf,

    /// Key of the log.
    #[arg(long, value_name = "VKEY")]
    log_key: Option<VerifierKey>,

    /// A log that `log add` remembered, for its key; the only one by default.
    #[arg(long, value_name = "NAME", conflicts_with = "log_key")]
    log: Option<String>,
}

impl VerifyEvidence {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = match self.log_key {
            Some(key) => key,
            None => {
                LogArgs { log: self.log, url: None, log_key: None, clock: None, ca: None }.context()?.log.key
            }
        };
        ensure!(key.algorithm() == Algorithm::Ed25519, "{key} is a cosigner's key, not a log's");
        let bytes = match file::read(&self.file, EVIDENCE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.source.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(refuse(terminal, &format!("longer than {EVIDENCE_BYTES_MAX} bytes")));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(judge(&bytes, &key, terminal))
    }
}

fn judge(bytes: &[u8], key: &VerifierKey, terminal: &Terminal) -> Exit {
    let Ok(text) = std::str::from_utf8(bytes) else { return refuse(terminal, "not UTF-8") };
    let evidence: ForkEvidence = match text.parse() {
        Ok(evidence) => evidence,
        Err(error) => return refuse(terminal, &error.to_string()),
    };
    if let Err(error) = evidence.verify(key) {
        return refuse(terminal, &error.to_string());
    }
    let [a, b] = [evidence.a(), evidence.b()].map(|note| note.unverified().head);
    let origin = key.name().as_str();
    terminal.line(format_args!(
        "{}: {} signed two histories, and both of these cannot be true",
        terminal.paint(Tone::Bad, "fork proven"),
        shown(origin)
    ));
    for TreeHead { size, root } in [a, b] {
        terminal.line(format_args!("size {size}, root {root}"));
    }
    let head =
        |head: TreeHead| -> Value { json!({ "size": head.size.get(), "root": head.root.to_string() }) };
    terminal.value(&json!({
        "proven": true, "origin": origin, "id": evidence.id().to_string(), "a": head(a), "b": head(b),
    }));
    Exit::YES
}

fn refuse(terminal: &Terminal, reason: &str) -> Exit {
    terminal.line(format_args!("{}: {}", terminal.paint(Tone::Bad, "not proven"), shown(reason)));
    terminal.value(&json!({ "proven": false, "reason": reason }));
    Exit::NO
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{
        Hash, TreeSize,
        checkpoint::{Checkpoint, Origin},
        key::{KeyName, NoteSigner},
    };

    use super::*;

    #[test]
    fn evidence_is_proven_by_the_logs_key_alone() {
        let name = KeyName::new("log.example").unwrap();
        let signer = |seed| NoteSigner::from_seed(name.clone(), Algorithm::Ed25519, &[seed; 32]).unwrap();
        let note = |leaf: &[u8]| {
            let head = TreeHead { size: TreeSize::new(1).unwrap(), root: Hash::leaf(leaf) };
            Checkpoint::new(Origin::new("log.example").unwrap(), head).sign(&signer(1))
        };
        let home = tempfile::tempdir().unwrap();
        let judged = |text: &str, seed: u8| {
            let file = home.path().join("evidence.txt");
            std::fs::write(&file, text).unwrap();
            let command = VerifyEvidence { file, log_key: Some(signer(seed).public().clone()), log: None };
            command.run(&Terminal::new(true)).unwrap()
        };
        let proven = ForkEvidence::same_size(note(b"a"), note(b"b")).to_string();
        assert_eq!(judged(&proven, 1), Exit::YES);
        assert_eq!(judged(&proven, 2), Exit::NO);
        assert_eq!(judged(&ForkEvidence::same_size(note(b"a"), note(b"a")).to_string(), 1), Exit::NO);
        assert_eq!(judged(&proven.replace("\n1\n", "\n2\n"), 1), Exit::NO);
        assert_eq!(judged("", 1), Exit::NO);
        assert_eq!(judged(&"x".repeat(EVIDENCE_BYTES_MAX + 1), 1), Exit::NO);
        let missing = VerifyEvidence {
            file: home.path().join("none"),
            log_key: Some(signer(1).public().clone()),
            log: None,
        };
        assert_eq!(Exit::of(&missing.run(&Terminal::new(true)).unwrap_err()), Exit::UNKNOWN);
    }
}

//! `counterfoil verify-evidence`.

use std::{io, path::PathBuf};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use counterfoil_merkle::{
    TreeHead,
    evidence::{Conflict, EVIDENCE_JSON_BYTES_MAX, EvidenceError, ForkEvidence},
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
    /// The evidence, as text or as JSON.
    file: PathBuf,

    /// Key of the log.
    #[arg(long, value_name = "VKEY")]
    log_key: Option<VerifierKey>,

    /// A log that `log add` remembered, for its key; the only one by default.
    #[arg(long, value_name = "NAME", conflicts_with = "log_key")]
    log: Option<String>,

    /// Key of a witness: did it cosign two histories?
    #[arg(long, value_name = "VKEY", conflicts_with_all = ["log_key", "log"])]
    witness_key: Option<VerifierKey>,

    /// Print the evidence itself in this form, if it proves the fork.
    #[arg(long, value_name = "FORM", conflicts_with = "json")]
    print: Option<Form>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Whose two signatures are looked for.
enum Accused {
    Log(VerifierKey),
    Witness(VerifierKey),
}

impl Accused {
    fn is_convicted_by(&self, evidence: &ForkEvidence) -> Result<(), EvidenceError> {
        match self {
            Self::Log(key) => evidence.verify(key),
            Self::Witness(key) => evidence.verify_cosigner(key),
        }
    }
}

impl VerifyEvidence {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let accused = match (self.log_key, self.witness_key) {
            (_, Some(key)) => {
                ensure!(key.algorithm() != Algorithm::Ed25519, "{key} is a log's key, not a cosigner's");
                Accused::Witness(key)
            }
            (Some(key), None) => {
                ensure!(key.algorithm() == Algorithm::Ed25519, "{key} is a cosigner's key, not a log's");
                Accused::Log(key)
            }
            (None, None) => {
                let log = LogArgs { log: self.log, ..LogArgs::default() };
                Accused::Log(log.context_anyway()?.log.key)
            }
        };
        let bytes = match file::read(&self.file, EVIDENCE_JSON_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.source.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(refuse(terminal, &format!("longer than {EVIDENCE_JSON_BYTES_MAX} bytes")));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(judge(&bytes, &accused, self.print, terminal))
    }
}

fn judge(bytes: &[u8], accused: &Accused, print: Option<Form>, terminal: &Terminal) -> Exit {
    let Ok(text) = std::str::from_utf8(bytes) else { return refuse(terminal, "not UTF-8") };
    let proven = ForkEvidence::from_either(text)
        .and_then(|evidence| accused.is_convicted_by(&evidence).map(|()| evidence));
    let evidence = match proven {
        Ok(evidence) => evidence,
        Err(error) => return refuse(terminal, &error.to_string()),
    };
    match print {
        Some(Form::Text) => terminal.raw(format_args!("{evidence}")),
        Some(Form::Json) => terminal.raw(format_args!("{}", evidence.to_json())),
        None => say(&evidence, accused, terminal),
    }
    Exit::YES
}

fn say(evidence: &ForkEvidence, accused: &Accused, terminal: &Terminal) {
    let [a, b] = [evidence.a(), evidence.b()].map(|note| note.unverified().head);
    let origin = evidence.a().unverified().origin.as_str();
    let (signer, what) = match accused {
        Accused::Log(key) => (key.name().as_str(), "signed two histories".to_owned()),
        Accused::Witness(key) => {
            (key.name().as_str(), format!("cosigned two histories of {}", shown(origin)))
        }
    };
    terminal.line(format_args!(
        "{}: {} {what}, and both of these cannot be true",
        terminal.paint(Tone::Bad, "fork proven"),
        shown(signer),
    ));
    for TreeHead { size, root } in [a, b] {
        terminal.line(format_args!("size {size}, root {root}"));
    }
    terminal.line(match evidence.conflict() {
        Conflict::Roots => "because: one size, two roots".to_owned(),
        Conflict::Growth(growth) => {
            format!("because: the larger tree had root {} at size {}", growth.old_root(), growth.old())
        }
        Conflict::Leaves { index, a, b } => {
            format!("because: at index {index} the one has leaf {}, the other {}", a.leaf(), b.leaf())
        }
    });
    let head =
        |head: TreeHead| -> Value { json!({ "size": head.size.get(), "root": head.root.to_string() }) };
    terminal.value(&json!({
        "proven": true, "kind": evidence.kind(), "origin": origin, "signer": signer,
        "id": evidence.id().to_string(), "a": head(a), "b": head(b),
    }));
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
        let file = home.path().join("evidence.txt");
        let with = |log_key: Option<VerifierKey>, witness_key: Option<VerifierKey>| VerifyEvidence {
            file: file.clone(),
            log_key,
            log: None,
            witness_key,
            print: None,
        };
        let judged = |text: &str, seed: u8| {
            std::fs::write(&file, text).unwrap();
            with(Some(signer(seed).public().clone()), None).run(&Terminal::new(true)).unwrap()
        };
        let evidence = ForkEvidence::same_size(note(b"a"), note(b"b"));
        let proven = evidence.to_string();
        assert_eq!(judged(&evidence.to_json(), 1), Exit::YES);
        assert_eq!(judged(&proven, 1), Exit::YES);
        assert_eq!(judged(&proven, 2), Exit::NO);
        assert_eq!(judged(&ForkEvidence::same_size(note(b"a"), note(b"a")).to_string(), 1), Exit::NO);
        assert_eq!(judged(&proven.replace("\n1\n", "\n2\n"), 1), Exit::NO);
        assert_eq!(judged("", 1), Exit::NO);
        assert_eq!(judged(&"x".repeat(EVIDENCE_JSON_BYTES_MAX + 1), 1), Exit::NO);
        let unknown = |command: VerifyEvidence| Exit::of(&command.run(&Terminal::new(true)).unwrap_err());
        let witness = NoteSigner::from_seed(name.clone(), Algorithm::CosignatureV1, &[3; 32]).unwrap();
        assert_eq!(unknown(with(Some(witness.public().clone()), None)), Exit::UNKNOWN);
        assert_eq!(unknown(with(None, Some(signer(1).public().clone()))), Exit::UNKNOWN);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(unknown(with(Some(signer(1).public().clone()), None)), Exit::UNKNOWN);
    }

    /// Evidence convicts a witness of what it cosigned, and of nothing else.
    #[test]
    fn witnesses_are_convicted_by_their_own_key() {
        let signer = |name: &str, algorithm| {
            NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[1; 32]).unwrap()
        };
        let log = signer("log.example", Algorithm::Ed25519);
        let [both, one] = ["w.example", "v.example"].map(|name| signer(name, Algorithm::CosignatureV1));
        let note = |leaf: &[u8], cosigners: &[&NoteSigner]| {
            let head = TreeHead { size: TreeSize::new(1).unwrap(), root: Hash::leaf(leaf) };
            let mut note = Checkpoint::new(Origin::new("log.example").unwrap(), head).sign(&log);
            cosigners.iter().for_each(|cosigner| note.cosign(cosigner, 7));
            note
        };
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("evidence.txt");
        let evidence = ForkEvidence::same_size(note(b"a", &[&both, &one]), note(b"b", &[&both]));
        std::fs::write(&file, evidence.to_string()).unwrap();
        for (witness, exit) in [(&both, Exit::YES), (&one, Exit::NO)] {
            let witness_key = Some(witness.public().clone());
            let command =
                VerifyEvidence { file: file.clone(), log_key: None, log: None, witness_key, print: None };
            assert_eq!(command.run(&Terminal::new(true)).unwrap(), exit);
        }
    }
}

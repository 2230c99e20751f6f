//! A log that serves whatever a test wants it to serve, from a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, Hash, TreeHead,
    bundle::format_bundle,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
    tile::{TILE_LEVELS, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::{
    Id, SigningKey, Statement, Timestamp,
    entry::EntryDraft,
    statement::{
        Commitment, Erasure, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, Rules, StreamId,
        Subject,
        erasure::Basis,
        receipt::{Api, Model, Outcome, Protocol},
        rules::Mode,
    },
};

use crate::log::KnownLog;

pub(super) const ORIGIN: &str = "log.example/2026";
/// When the first entry is taken, in seconds.
pub(super) const START_S: u64 = 1_763_712_345;

/// Entries and statements, and what is signed over them.
#[derive(Clone)]
pub(super) struct EvilLog {
    pub(super) directory: PathBuf,
    pub(super) items: Vec<(Vec<u8>, Vec<u8>)>,
    /// The time of the next entry, in seconds.
    pub(super) now_s: u64,
    previous: Option<Id>,
}

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
}

/// A witness' key.
pub(super) fn witness(number: u8) -> NoteSigner {
    signer(&format!("witness.example/w{number}"), Algorithm::CosignatureV1, 100 + number)
}

pub(super) fn log_signer() -> NoteSigner {
    signer(ORIGIN, Algorithm::Ed25519, 7)
}

pub(super) fn clock_signer() -> NoteSigner {
    signer(&format!("{ORIGIN}/clock"), Algorithm::CosignatureV1, 8)
}

impl EvilLog {
    /// A log with its first record.
    pub(super) fn new(directory: &Path) -> Self {
        let mut log =
            Self { directory: directory.to_owned(), items: Vec::new(), now_s: START_S, previous: None };
        let key = SigningKey::from_ed25519_seed(&[9; 32]);
        let rules = Rules { mode: Mode::Open, registrars: Vec::new(), operator: key.public().clone() };
        log.push(&key, Subject::Log, None, Predicate::Rules(rules));
        log
    }

    pub(super) fn known(&self) -> KnownLog {
        KnownLog {
            key: log_signer().public().clone(),
            clock: Some(clock_signer().public().clone()),
            url: self.directory.to_str().unwrap().to_owned(),
            policy: None,
        }
    }

    /// Takes receipts of one stream until the log has that many records.
    pub(super) fn grow_to(&mut self, size: usize) {
        while self.items.len() < size {
            self.receipt(0);
        }
    }

    /// Takes whatever bytes for an entry.
    pub(super) fn take(&mut self, entry: &[u8], statement: &[u8]) {
        self.items.push((entry.to_vec(), statement.to_vec()));
    }

    /// Takes a receipt; others differ in `what`.
    pub(super) fn receipt(&mut self, what: u8) {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        let number = Number::new(self.items.len() as u64 - 1).unwrap();
        let numbering = Numbering { stream: StreamId::new([3; 16]), number, previous: self.previous };
        let subject = Subject::Exchange { request: Commitment::new([what; 32]), response: None };
        let api =
            Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".to_owned(), stream: false };
        let model = Model { requested: None, reported: None, alias: None, claimed: None };
        let receipt = Receipt::new(api, model, Outcome::Timeout);
        let id = self.push(&key, subject, Some(numbering), Predicate::Receipt(Box::new(receipt)));
        self.previous = Some(id);
    }

    /// Takes an order to erase the record at `index`, by the key with that seed: 1 is the receipts', 9 the operator's.
    pub(super) fn order(&mut self, seed: u8, index: usize) {
        let key = SigningKey::from_ed25519_seed(&[seed; 32]);
        let subject = Subject::Record(Hash::leaf(&self.items[index].0));
        let erasure = Erasure { basis: Basis::RightsRequest };
        self.push(&key, subject, None, Predicate::Erasure(erasure));
    }

    /// Takes any record.
    pub(super) fn push(
        &mut self,
        key: &SigningKey,
        subject: Subject,
        numbering: Option<Numbering>,
        predicate: Predicate,
    ) -> Id {
        let issuer = Issuer { key: key.public().clone(), software: None };
        // No two records are the same, and each is the same in every run.
        let mut nonce = [4; 16];
        nonce[8..].copy_from_slice(&(self.items.len() as u64).to_be_bytes());
        let frame = Frame { nonce: Nonce::new(nonce), log: ORIGIN.parse().unwrap(), issuer, numbering };
        let statement = Statement { subject, frame, predicate };
        let envelope = statement.sign(key).unwrap();
        let at = Timestamp::from_millis(1000 * self.now_s).unwrap();
        let entry = EntryDraft::new(&envelope, &statement).stamp(at);
        self.items.push((entry, envelope.envelope().statement_bytes().to_vec()));
        envelope.id()
    }

    /// The tree of the first `size` entries.
    pub(super) fn head(&self, size: usize) -> TreeHead {
        let mut frontier = Frontier::new();
        for (entry, _) in &self.items[..size] {
            frontier.push(Hash::leaf(entry), |_| ()).unwrap();
        }
        frontier.head()
    }

    /// The signed checkpoint of a head at the log's present time.
    pub(super) fn sign(&self, head: TreeHead) -> String {
        self.cosigned(head, &[])
    }

    /// The same, cosigned by witnesses at the given times.
    pub(super) fn cosigned(&self, head: TreeHead, witnesses: &[(&NoteSigner, u64)]) -> String {
        let mut signed = Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).sign(&log_signer());
        signed.cosign(&clock_signer(), self.now_s);
        witnesses.iter().for_each(|(witness, time_s)| signed.cosign(witness, *time_s));
        signed.to_string()
    }

    /// The same log, served from another directory.
    pub(super) fn at(&self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self.clone() }
    }

    /// Shows a checkpoint at a witness' place.
    pub(super) fn show_at_witness(&self, directory: &Path, note: &str) {
        let path = format!("{}/checkpoint", Hash::of(&[ORIGIN.as_bytes()]));
        self.at(directory).write(&path, note.as_bytes());
    }

    /// Shows a checkpoint of the first `size` entries and nothing else.
    pub(super) fn show(&self, size: usize) {
        self.write("checkpoint", self.sign(self.head(size)).as_bytes());
    }

    /// Serves all there is, in place of what was served before.
    pub(super) fn publish(&self) {
        self.withdraw();
        let put = |kind, index: usize, width: usize, bytes: &[u8]| {
            let path = TilePath { kind, index: index as u64, width: width as u64 };
            self.write(&path.to_string(), bytes);
        };
        for (index, chunk) in self.items.chunks(256).enumerate() {
            put(
                TileKind::Entries,
                index,
                chunk.len(),
                &format_bundle(chunk.iter().map(|item| item.0.as_slice())),
            );
            put(
                TileKind::Statements,
                index,
                chunk.len(),
                &format_bundle(chunk.iter().map(|item| item.1.as_slice())),
            );
        }
        let mut hashes: Vec<Hash> = self.items.iter().map(|(entry, _)| Hash::leaf(entry)).collect();
        let mut level = 0;
        while !hashes.is_empty() {
            let mut above = Vec::new();
            for (index, chunk) in hashes.chunks(256).enumerate() {
                let tile = TileTree::from_hashes(chunk.iter().copied());
                put(TileKind::Hashes(level), index, chunk.len(), &tile.to_bytes(tile.width()));
                above.extend(tile.root());
            }
            (hashes, level) = (above, level + 1);
        }
        self.show(self.items.len());
    }

    /// Serves nothing any more.
    pub(super) fn withdraw(&self) {
        for name in ["tile", "statement", "checkpoint"] {
            let path = self.directory.join(name);
            drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
        }
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Changes one byte of what is served.
    pub(super) fn flip(&self, path: &str, byte: usize) {
        let path = self.directory.join(path);
        let mut bytes = fs::read(&path).unwrap();
        bytes[byte] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        fs::remove_file(self.directory.join(path)).unwrap();
    }
}

/// The width of a full tile, for sizes in tests.
pub(super) const FULL: usize = 1 << TILE_LEVELS;

//! A log in a directory that signs and serves whatever a test wants it to, and knows what is wrong with it.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use counterfoil_client::load::Issuing;
use counterfoil_merkle::{
    Frontier, Hash, TreeHead,
    bundle::format_bundle,
    checkpoint::{Checkpoint, Origin},
    frontier::FullTile,
    key::{Algorithm, KeyName, NoteSigner},
    tile::{TILE_WIDTH, TileId, TileKind, TilePath},
};
use counterfoil_receipt::{
    Envelope, SigningKey, Statement, Timestamp,
    entry::EntryDraft,
    statement::{Frame, Issuer, Nonce, Predicate, Rules, Subject, rules::Mode},
};

/// Entries and statements, and what is signed over them.
pub struct EvilDir {
    directory: PathBuf,
    origin: String,
    log: NoteSigner,
    clock: NoteSigner,
    issuing: Issuing,
    items: Vec<(Vec<u8>, Vec<u8>)>,
    frontier: Frontier,
    full: Vec<FullTile>,
    /// How many bundles are served in full.
    served: usize,
    faults: Vec<String>,
    /// Sizes for which another history was shown.
    shown: HashSet<u64>,
}

impl EvilDir {
    /// A log with its first record, which serves nothing yet.
    ///
    /// # Panics
    /// If `origin` is not one.
    pub fn new(directory: &Path, origin: &str) -> Self {
        let signer = |name: &str, algorithm, seed| {
            NoteSigner::from_seed(KeyName::new(name).expect("a name"), algorithm, &[seed; 32]).expect("a key")
        };
        let mut log = Self {
            directory: directory.to_owned(),
            origin: origin.to_owned(),
            log: signer(origin, Algorithm::Ed25519, 1),
            clock: signer(&format!("{origin}/clock"), Algorithm::CosignatureV1, 2),
            issuing: Issuing::new(origin, 1),
            items: Vec::new(),
            frontier: Frontier::new(),
            full: Vec::new(),
            served: 0,
            faults: Vec::new(),
            shown: HashSet::new(),
        };
        let key = SigningKey::from_ed25519_seed(&[9; 32]);
        let rules = Rules { mode: Mode::Open, registrars: Vec::new(), operator: key.public().clone() };
        let issuer = Issuer { key: key.public().clone(), software: None };
        let log_origin = origin.parse().expect("an origin");
        let frame = Frame { nonce: Nonce::new([4; 16]), log: log_origin, issuer, numbering: None };
        let statement = Statement { subject: Subject::Log, frame, predicate: Predicate::Rules(rules) };
        let envelope = statement.sign(&key).expect("a record").into_envelope();
        log.take(envelope);
        log
    }

    /// The log's key.
    pub fn log_key(&self) -> String {
        self.log.public().to_string()
    }

    /// The key of its clock.
    pub fn clock_key(&self) -> String {
        self.clock.public().to_string()
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.items.len() as u64
    }

    /// Entries with their statements.
    pub fn items(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.items
    }

    /// What a monitor must find, in the order of the entries.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Whether a monitor may find this, if it looks in time: the clock attests the other history's size now, and in this one
    /// the entry after it is older.
    pub fn may_be_found(&self, fault: &str) -> bool {
        let index = fault.strip_prefix("at-before-checkpoint at entry ").and_then(|index| index.parse().ok());
        index.is_some_and(|index: u64| self.shown.contains(&index))
    }

    /// Takes a receipt that is as it should be.
    ///
    /// # Panics
    /// If the receipt is none.
    pub fn good(&mut self) {
        let (_, envelope) = self.issuing.issue();
        self.take(Envelope::parse(envelope.as_bytes()).expect("an envelope"));
    }

    /// Takes an entry that nobody can read.
    pub fn unreadable(&mut self) {
        let bytes = format!("unreadable {}", self.items.len()).into_bytes();
        self.fault("entry-unreadable");
        self.push(bytes, Vec::new());
    }

    /// Takes a receipt whose statement is missing, or another one.
    pub fn without_statement(&mut self, other: bool) {
        self.fault(if other { "statement-other" } else { "statement-missing" });
        self.good();
        let statement = if other { b"another".to_vec() } else { Vec::new() };
        self.items.last_mut().expect("the receipt").1 = statement;
    }

    fn fault(&mut self, code: &str) {
        self.faults.push(format!("{code} at entry {}", self.items.len()));
    }

    fn take(&mut self, envelope: Envelope) {
        let verified = envelope.verify().expect("a signature");
        let statement = Statement::parse(&verified).expect("a statement");
        let at = Timestamp::from_millis(1000 * now_s()).expect("a time");
        let entry = EntryDraft::new(&verified, &statement).stamp(at);
        self.push(entry, verified.envelope().statement_bytes().to_vec());
    }

    fn push(&mut self, entry: Vec<u8>, statement: Vec<u8>) {
        let full = &mut self.full;
        self.frontier.push(Hash::leaf(&entry), |tile| full.push(tile)).expect("room in the tree");
        self.items.push((entry, statement));
    }

    /// Serves all there is, the checkpoint last.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn publish(&mut self) {
        for tile in std::mem::take(&mut self.full) {
            let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
            self.write(&path.to_string(), &tile.tree.to_bytes(TILE_WIDTH));
        }
        for (id, width) in TileId::ragged(self.frontier.size()) {
            let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
            let tile = self.frontier.tile(id.level).expect("what is ragged is there");
            self.write(&path.to_string(), &tile.to_bytes(width));
        }
        for (index, chunk) in self.items.chunks(256).enumerate().skip(self.served) {
            let path = |kind| TilePath { kind, index: index as u64, width: chunk.len() as u64 }.to_string();
            let entries = format_bundle(chunk.iter().map(|item| item.0.as_slice()));
            self.write(&path(TileKind::Entries), &entries);
            let statements = format_bundle(chunk.iter().map(|item| item.1.as_slice()));
            self.write(&path(TileKind::Statements), &statements);
        }
        self.served = self.items.len() / 256;
        self.show(self.frontier.head());
    }

    /// Shows a checkpoint of another history, of that size.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn show_other(&mut self, size: u64) {
        self.shown.insert(size);
        let size = counterfoil_merkle::TreeSize::new(size).expect("a size");
        self.show(TreeHead { size, root: Hash::leaf(b"another history") });
    }

    fn show(&self, head: TreeHead) {
        let mut signed = Checkpoint::new(Origin::new(&self.origin).expect("an origin"), head).sign(&self.log);
        signed.cosign(&self.clock, now_s());
        self.write("checkpoint", signed.to_string().as_bytes());
    }

    /// Puts a file in place whole: somebody may be reading.
    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.directory.join(path);
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("a folder");
        let temporary = self.directory.join("being-written");
        fs::write(&temporary, bytes).expect("a file");
        fs::rename(&temporary, path).expect("its place");
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

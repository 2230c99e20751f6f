//! A small log for tests: its keys, its files, its answers.

use std::path::Path;

use counterfoil_merkle::{
    Hash, LeafIndex, TreeHead, TreeSize,
    bundle::format_bundle,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner},
    proof::InclusionProof,
    tile::{TileKind, TilePath, TileTree},
    tlogproof::TlogProof,
};
use counterfoil_receipt::{
    Envelope, Id, SigningKey, Statement, Timestamp,
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    entry::EntryDraft,
    exchange::{End, Exchange},
    statement::{Issuer, Number, Numbering, StreamId},
};

use crate::{
    log::{KnownLog, Log},
    source::{Connection, Source},
};

pub(crate) const ORIGIN: &str = "log.example";

pub(crate) fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("leaf {n}").into_bytes()).collect()
}

pub(crate) fn signer(name: &str, algorithm: Algorithm) -> NoteSigner {
    let seed = Hash::of(&[name.as_bytes()]);
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, seed.as_bytes()).unwrap()
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes the files that a log with these leaves serves, and gives its head.
pub(crate) fn store(root: &Path, leaves: &[Vec<u8>]) -> TreeHead {
    let mut level: Vec<Hash> = leaves.iter().map(|leaf| Hash::leaf(leaf)).collect();
    let put = |kind, index: usize, width: usize, bytes: &[u8]| {
        let path = TilePath { kind, index: index as u64, width: width as u64 };
        write(&root.join(path.to_string()), bytes);
    };
    for (index, chunk) in leaves.chunks(256).enumerate() {
        let bundle = format_bundle(chunk.iter().map(Vec::as_slice));
        put(TileKind::Entries, index, chunk.len(), &bundle);
    }
    let mut tile_level = 0;
    while !level.is_empty() {
        let mut above = Vec::new();
        for (index, chunk) in level.chunks(256).enumerate() {
            let tile = TileTree::from_hashes(chunk.iter().copied());
            put(TileKind::Hashes(tile_level), index, chunk.len(), &tile.to_bytes(tile.width()));
            above.extend(tile.root());
        }
        (level, tile_level) = (above, tile_level + 1);
    }
    head(leaves)
}

/// Writes all that a log with these leaves serves, every statement erased, and gives its head.
pub(crate) fn publish(root: &Path, leaves: &[Vec<u8>], time_s: u64) -> TreeHead {
    let head = store(root, leaves);
    for (index, chunk) in leaves.chunks(256).enumerate() {
        let path = TilePath { kind: TileKind::Statements, index: index as u64, width: chunk.len() as u64 };
        write(&root.join(path.to_string()), &format_bundle(chunk.iter().map(|_| &[][..])));
    }
    write(&root.join("checkpoint"), checkpoint(head, time_s).to_string().as_bytes());
    head
}

pub(crate) fn head(leaves: &[Vec<u8>]) -> TreeHead {
    fn root(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Hash::EMPTY_ROOT,
            [leaf] => Hash::leaf(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                Hash::node(root(left), root(right))
            }
        }
    }
    TreeHead { size: TreeSize::new(leaves.len() as u64).unwrap(), root: root(leaves) }
}

pub(crate) fn log(root: &Path) -> Log {
    let known = KnownLog {
        key: signer(ORIGIN, Algorithm::Ed25519).public().clone(),
        clock: Some(signer("log.example/clock", Algorithm::CosignatureV1).public().clone()),
        url: root.to_str().unwrap().to_owned(),
        policy: None,
    };
    let source = Source::open(&known.url, &Connection::default()).unwrap();
    Log::new(known, source)
}

/// A checkpoint of that tree, signed by log and clock.
pub(crate) fn checkpoint(head: TreeHead, time_s: u64) -> SignedCheckpoint {
    let origin = Origin::new(ORIGIN).unwrap();
    let mut signed = Checkpoint::new(origin, head).sign(&signer(ORIGIN, Algorithm::Ed25519));
    signed.cosign(&signer("log.example/clock", Algorithm::CosignatureV1), time_s);
    signed
}

/// A receipt for the log.
pub(crate) fn envelope(number: u64) -> Envelope {
    let key = SigningKey::from_ed25519_seed(&[3; 32]);
    let request = br#"{"model":"m-1","messages":[]}"#;
    let exchange = Exchange { path: "/v1/chat/completions", request, response: None, end: End::Timeout };
    let previous = (number > 0).then(|| Id::of_statement(b"before"));
    let terms = Terms {
        log: ORIGIN.parse().unwrap(),
        issuer: Issuer { key: key.public().clone(), software: None },
        claim: ClaimSource::Nobody,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let place = Numbering { stream: StreamId::new([1; 16]), number: Number::new(number).unwrap(), previous };
    let bodies = WireBodies { request, response: None };
    let facts = exchange.facts().unwrap();
    let draft = Draft::new(facts, bodies, terms, place, &mut |bytes| bytes.fill(9)).unwrap();
    draft.sign(&key).unwrap().into_envelope()
}

/// What a log answers that has this record behind `before` others, as JSON.
pub(crate) fn answer(envelope: &Envelope, before: u64) -> serde_json::Value {
    let verified = envelope.clone().verify().unwrap();
    let draft = EntryDraft::new(&verified, &Statement::parse(&verified).unwrap());
    let entry = draft.stamp(Timestamp::from_millis(1_763_712_345_678).unwrap());
    let mut leaves = leaves(before);
    leaves.push(entry.clone());
    let tile = TileTree::from_hashes(leaves.iter().map(|leaf| Hash::leaf(leaf)));
    let (index, head) = (LeafIndex::new(before).unwrap(), head(&leaves));
    let nodes = InclusionProof::nodes(index, head.size).unwrap();
    let hashes: Vec<_> = nodes.into_iter().map(|node| tile.tree_node(node).unwrap()).collect();
    let proof = InclusionProof::from_nodes(index, head.size, &hashes).unwrap();
    let proof = TlogProof::new(proof, checkpoint(head, 1_763_712_345)).unwrap();
    serde_json::json!({
        "index": before, "id": envelope.id().to_string(), "leaf": Hash::leaf(&entry).to_string(),
        "entry": String::from_utf8(entry).unwrap(), "proof": proof.to_string(),
    })
}

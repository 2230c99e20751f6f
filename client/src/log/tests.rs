use std::path::Path;

use counterfoil_merkle::{
    bundle::format_bundle,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
};

use super::*;
use crate::source::Connection;

fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("leaf {n}").into_bytes()).collect()
}

fn signer(name: &str, algorithm: Algorithm) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[7; 32]).unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes the files that a log with these leaves serves, and gives its head.
fn store(root: &Path, leaves: &[Vec<u8>]) -> TreeHead {
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

fn head(leaves: &[Vec<u8>]) -> TreeHead {
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

fn log(root: &Path) -> Log {
    let known = KnownLog {
        key: signer("log.example", Algorithm::Ed25519).public().clone(),
        clock: Some(signer("log.example/clock", Algorithm::CosignatureV1).public().clone()),
        url: root.to_str().unwrap().to_owned(),
    };
    let source = Source::open(&known.url, &Connection::default()).unwrap();
    Log::new(known, source)
}

/// Every leaf and every older tree is proven from tiles; another leaf or another root is not.
#[tokio::test]
async fn proofs_come_from_tiles() {
    let store_dir = tempfile::tempdir().unwrap();
    let leaves = leaves(70_000);
    let whole = store(store_dir.path(), &leaves);
    let log = log(store_dir.path());
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_999] {
        let place = LeafIndex::new(index).unwrap();
        let leaf = log.entry(place, whole.size).await.unwrap();
        assert_eq!(leaf, leaves[usize::try_from(index).unwrap()]);
        log.prove(place, Hash::leaf(&leaf), whole).await.unwrap();
        let other = log.prove(place, Hash::leaf(b"other"), whole).await;
        assert!(matches!(other, Err(LogError::Inclusion { .. })), "{other:?}");
    }
    for size in [0, 1, 255, 256, 257, 65_536, 69_999, 70_000] {
        let old = head(&leaves[..size]);
        assert_eq!(log.root(old.size, whole.size).await.unwrap(), old.root, "{size}");
        log.consistency(old, whole).await.unwrap();
        if size > 0 {
            let forked = TreeHead { root: Hash::leaf(b"other"), ..old };
            let refused = log.consistency(forked, whole).await;
            assert!(matches!(refused, Err(LogError::Inconsistent { .. })), "{size} {refused:?}");
        }
    }
    assert!(log.entry(LeafIndex::new(70_000).unwrap(), whole.size).await.is_err());
}

/// A checkpoint counts with both of the log's lines, and not with anybody else's.
#[tokio::test]
async fn checkpoints_are_verified() {
    let store_dir = tempfile::tempdir().unwrap();
    let log = log(store_dir.path());
    assert!(matches!(log.checkpoint().await, Err(LogError::NoCheckpoint)));

    let origin = Origin::new("log.example").unwrap();
    let text = Checkpoint::new(origin, store(store_dir.path(), &leaves(3)));
    let mut signed = text.sign(&signer("log.example", Algorithm::Ed25519));
    write(&store_dir.path().join("checkpoint"), signed.to_string().as_bytes());
    assert!(matches!(log.checkpoint().await, Err(LogError::Checkpoint(_))), "no time");

    signed.cosign(&signer("log.example/clock", Algorithm::CosignatureV1), 1_700_000_000);
    write(&store_dir.path().join("checkpoint"), signed.to_string().as_bytes());
    let latest = log.checkpoint().await.unwrap();
    assert_eq!(latest.checkpoint.head(), text.head);
    assert_eq!(latest.clock.unwrap().time_s, 1_700_000_000);

    let forged = signed.to_string().replacen("\n3\n", "\n4\n", 1);
    write(&store_dir.path().join("checkpoint"), forged.as_bytes());
    assert!(matches!(log.checkpoint().await, Err(LogError::Checkpoint(_))));
}

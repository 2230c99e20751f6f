use super::*;
use crate::testlog::{head, leaves, log, signer, store, write};
use counterfoil_merkle::{
    checkpoint::{Checkpoint, Origin},
    key::Algorithm,
};

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

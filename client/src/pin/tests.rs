//! What is pinned, what convicts, and what is kept to be shown to others.

use counterfoil_merkle::{Hash, TreeHead};

use super::*;
use crate::testlog;

/// A checkpoint is pinned if it grew from the pinned one; one that did not convicts the log.
#[tokio::test]
async fn only_what_grew_is_pinned() {
    let store = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let leaves = testlog::leaves(300);
    testlog::store(store.path(), &leaves);
    let log = testlog::log(store.path());
    let known = log.known().clone();
    let checkpoint =
        |size: usize| testlog::checkpoint(testlog::head(&leaves[..size]), 7).verify(&known.key).unwrap();
    let mut pin = Pin::open(folder.path(), known.clone()).unwrap();
    assert_eq!(pin.hold(&log, &checkpoint(256)).await.unwrap(), Held::First);
    assert_eq!(pin.hold(&log, &checkpoint(256)).await.unwrap(), Held::Same);
    let held = Held::Newer { from: TreeSize::new(256).unwrap() };
    assert_eq!(pin.hold(&log, &checkpoint(300)).await.unwrap(), held);
    assert_eq!(pin.hold(&log, &checkpoint(1)).await.unwrap(), Held::Older);

    let again = Pin::open(folder.path(), known.clone()).unwrap();
    assert_eq!(again.newest().unwrap().head().size.get(), 300);
    let forked = TreeHead { root: Hash::leaf(b"other"), ..checkpoint(300).head() };
    let forked = testlog::checkpoint(forked, 8).verify(&known.key).unwrap();
    let refused = pin.hold(&log, &forked).await;
    let Err(PinError::Forked { path: Some(path), evidence, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(fs::read_to_string(&path).unwrap(), evidence.to_string());
    assert_eq!(evidence.verify(&known.key), Ok(()));
    assert_eq!(conviction::find(folder.path(), &known.key).unwrap().unwrap().path, path);
    assert_eq!(Pin::open(folder.path(), known).unwrap().newest(), again.newest());
}

/// What does not go together, and is not proven to be a fork, is kept to be shown to others: the pinned one stays.
#[tokio::test]
async fn what_is_not_proven_is_kept() {
    let store = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let leaves = testlog::leaves(300);
    testlog::store(store.path(), &leaves);
    let log = testlog::log(store.path());
    let known = log.known().clone();
    let checkpoint = |head| testlog::checkpoint(head, 7).verify(&known.key).unwrap();
    let mut pin = Pin::open(folder.path(), known.clone()).unwrap();
    pin.hold(&log, &checkpoint(testlog::head(&leaves))).await.unwrap();

    let unshown = TreeHead { size: TreeSize::new(400).unwrap(), root: Hash::leaf(b"other") };
    let refused = pin.hold(&log, &checkpoint(unshown)).await;
    let Err(PinError::Unsettled { kept: Some(kept), .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(fs::read_to_string(kept).unwrap(), checkpoint(unshown).signed().to_string());

    testlog::write(&store.path().join("tile/0/000"), &[0; 8192]);
    let smaller = testlog::head(&leaves[..100]);
    let refused = pin.hold(&log, &checkpoint(smaller)).await;
    let Err(PinError::Inconsistent { kept: Some(kept), .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(fs::read_to_string(kept).unwrap(), checkpoint(smaller).signed().to_string());
    assert!(conviction::find(folder.path(), &known.key).unwrap().is_none());
    assert_eq!(Pin::open(folder.path(), known.clone()).unwrap().newest().unwrap().head().size.get(), 300);

    // A hostile log signs without end, and fills no disk.
    for n in 0..INCONSISTENT_MAX as u64 + 5 {
        let head = TreeHead { size: TreeSize::new(500 + n).unwrap(), ..unshown };
        assert!(matches!(pin.hold(&log, &checkpoint(head)).await, Err(PinError::Unsettled { .. })));
    }
    let kept = fs::read_dir(folder.path().join("inconsistent")).unwrap().count();
    assert_eq!(kept, INCONSISTENT_MAX);
}

/// Who wants nothing remembered is not held against anything, and leaves nothing but evidence behind.
#[tokio::test]
async fn forgetting_leaves_evidence_alone() {
    let store = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let leaves = testlog::leaves(9);
    testlog::store(store.path(), &leaves);
    let log = testlog::log(store.path());
    let known = log.known().clone();
    let checkpoint = |head| testlog::checkpoint(head, 7).verify(&known.key).unwrap();
    let mut pin = Pin::forgetful(folder.path(), known.clone());
    for size in [5, 9] {
        pin.hold(&log, &checkpoint(testlog::head(&leaves[..size]))).await.unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(Pin::open(folder.path(), known.clone()).unwrap().newest().is_none());
    let forked = TreeHead { root: Hash::leaf(b"other"), ..testlog::head(&leaves) };
    assert!(matches!(pin.hold(&log, &checkpoint(forked)).await, Err(PinError::Forked { .. })));
    assert!(conviction::find(folder.path(), &known.key).unwrap().is_some());
}

/// Of two programs at once, each holds its checkpoint against what the other has pinned.
#[tokio::test]
async fn two_at_once_do_not_overwrite_each_other() {
    let store = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let leaves = testlog::leaves(300);
    testlog::store(store.path(), &leaves);
    let log = testlog::log(store.path());
    let known = log.known().clone();
    let checkpoint =
        |size: usize| testlog::checkpoint(testlog::head(&leaves[..size]), 7).verify(&known.key).unwrap();
    let mut one = Pin::open(folder.path(), known.clone()).unwrap();
    let mut other = one.clone();
    one.hold(&log, &checkpoint(300)).await.unwrap();
    assert_eq!(other.hold(&log, &checkpoint(256)).await.unwrap(), Held::Older);
    assert_eq!(other.newest().unwrap().head().size.get(), 300);
}

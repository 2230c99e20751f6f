use std::{fs, path::PathBuf};

use counterfoil_merkle::{TreeHead, key::Algorithm};
use counterfoil_receipt::Timestamp;

use super::*;
use crate::{
    monitor::{Monitor, Outside, Settings, Vantage},
    testlog,
};

/// A log, a monitor that has read it, and what is heard of it.
struct Heard {
    home: tempfile::TempDir,
    leaves: Vec<Vec<u8>>,
    snapshot: Snapshot,
    hearsay: Hearsay,
}

fn directory(home: &tempfile::TempDir) -> PathBuf {
    home.path().join("hearsay")
}

impl Heard {
    /// A log whose first `size` leaves a monitor has verified.
    async fn new(size: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join("log");
        let leaves = testlog::leaves(1000);
        let head = testlog::publish(&store, &leaves[..size], 7);
        let log = testlog::log(&store);
        let vantages = vec![Vantage::direct(log.source().clone())];
        let state = home.path().join("state");
        let mut monitor = Monitor::open(&state, log.known(), vantages, Settings::default()).unwrap();
        let mut outside = Outside {
            now: &|| Timestamp::from_millis(8000).unwrap(),
            progress: &|_, _| (),
            notes: &[],
            observe: &mut |_, _| (),
            record: &mut |_| Ok(()),
        };
        monitor.round(&mut outside).await.unwrap();
        let snapshot = monitor.snapshots().borrow().clone();
        assert_eq!(snapshot.head(), head);
        let known = log.known().clone();
        let hearsay = Hearsay::open(&directory(&home), known.key, known.clock).unwrap();
        Self { home, leaves, snapshot, hearsay }
    }

    fn head(&self, size: usize) -> TreeHead {
        testlog::head(&self.leaves[..size])
    }

    fn other(&self, size: usize) -> TreeHead {
        TreeHead { root: Hash::leaf(b"other"), ..self.head(size) }
    }

    fn hear(&self, head: TreeHead) -> Answer {
        self.hearsay.hear(&testlog::checkpoint(head, 9), &self.snapshot).unwrap()
    }

    /// How many files were written.
    fn files(&self) -> usize {
        let count =
            |folder: &str| fs::read_dir(directory(&self.home).join(folder)).map_or(0, |files| files.count());
        count("note") + count("evidence")
    }

    fn again(&self) -> Hearsay {
        Hearsay::open(&directory(&self.home), self.hearsay.log.clone(), self.hearsay.clock.clone()).unwrap()
    }
}

fn key() -> VerifierKey {
    testlog::signer(testlog::ORIGIN, Algorithm::Ed25519).public().clone()
}

/// What is of the verified tree is consistent, at every size, and leaves nothing behind.
#[tokio::test]
async fn what_is_of_the_tree_is_consistent() {
    let heard = Heard::new(300).await;
    for size in [0, 1, 255, 256, 257, 299, 300] {
        let answer = heard.hear(heard.head(size));
        assert_eq!(answer, Answer { relation: Relation::Consistent, size: 300, evidence: None }, "{size}");
    }
    assert_eq!(heard.files(), 0);
}

/// What is of another tree comes with evidence that convinces a stranger, and is kept until the monitor has judged it.
#[tokio::test]
async fn what_is_of_another_tree_is_proven() {
    let heard = Heard::new(300).await;
    for size in [1, 256, 299, 300] {
        let answer = heard.hear(heard.other(size));
        assert_eq!(answer.relation, Relation::Inconsistent, "{size}");
        let evidence: ForkEvidence = answer.evidence.unwrap().parse().unwrap();
        evidence.verify(&key()).unwrap();
    }
    let again = heard.again();
    assert_eq!((again.notes().len(), again.evidence().len()), (4, 4));
    again.settle(&again.notes(), heard.snapshot.head().size).unwrap();
    assert_eq!((again.notes().len(), heard.again().notes().len(), heard.again().evidence().len()), (0, 0, 4));
}

/// What is larger than what was verified is kept for the next look, and over a restart; two roots for one size convict
/// the log even there.
#[tokio::test]
async fn what_is_larger_is_kept_for_later() {
    let heard = Heard::new(300).await;
    let answer = heard.hear(heard.head(301));
    assert_eq!(answer, Answer { relation: Relation::Unknown, size: 300, evidence: None });
    assert_eq!(heard.again().notes(), heard.hearsay.notes());
    heard.hearsay.settle(&heard.hearsay.notes(), heard.snapshot.head().size).unwrap();
    assert_eq!(heard.hearsay.notes().len(), 1, "it is not judged yet");
    let answer = heard.hear(heard.other(301));
    let evidence: ForkEvidence = answer.evidence.unwrap().parse().unwrap();
    evidence.verify(&key()).unwrap();
    assert_eq!((answer.relation, heard.again().evidence().len()), (Relation::Inconsistent, 1));
}

/// However a checkpoint is decorated, and however often it comes, it is kept once; and there is a cap on how many.
#[tokio::test]
async fn endless_signatures_fill_nothing() {
    let heard = Heard::new(1).await;
    for n in 0..50 {
        let mut note = testlog::checkpoint(heard.head(900), 9 + n);
        let stranger = testlog::signer(&format!("stranger.example/{n}"), Algorithm::CosignatureV1);
        note.cosign(&stranger, n);
        heard.hearsay.hear(&note, &heard.snapshot).unwrap();
        let mut fork = testlog::checkpoint(heard.other(1), 9 + n);
        fork.cosign(&stranger, n);
        heard.hearsay.hear(&fork, &heard.snapshot).unwrap();
    }
    assert_eq!(heard.files(), 3, "two checkpoints and one piece of evidence");
    assert!(heard.hearsay.notes().iter().all(|note| note.to_string().matches("\n— ").count() == 2));
    for size in (2..120).rev() {
        heard.hear(heard.head(size));
        heard.hear(heard.other(size));
    }
    assert_eq!((heard.hearsay.notes().len(), heard.hearsay.evidence().len()), (NOTES_MAX, EVIDENCE_MAX));
    assert!(heard.files() <= NOTES_MAX + EVIDENCE_MAX);
    let sizes = heard.hearsay.notes().into_iter().map(|note| note.unverified().head.size.get());
    assert!(sizes.max().unwrap() < 50, "the smallest are kept: they are judged first");
}

/// Nobody but the log is taken at its word.
#[tokio::test]
async fn strangers_are_not_believed() {
    let heard = Heard::new(10).await;
    let mut text = testlog::checkpoint(heard.head(10), 9).to_string();
    text = text.replacen("\n10\n", "\n11\n", 1);
    let refused = heard.hearsay.hear(&text.parse().unwrap(), &heard.snapshot);
    assert!(matches!(refused, Err(HearsayError::NotSigned(_))), "{refused:?}");
    let honest =
        ForkEvidence::same_size(testlog::checkpoint(heard.head(9), 1), testlog::checkpoint(heard.head(9), 2));
    let refused = heard.hearsay.hear_evidence(&honest);
    assert!(matches!(refused, Err(HearsayError::NotProven(_))), "{refused:?}");
    assert_eq!(heard.files(), 0);
    let forked = ForkEvidence::same_size(
        testlog::checkpoint(heard.head(900), 1),
        testlog::checkpoint(heard.other(900), 2),
    );
    assert!(heard.hearsay.hear_evidence(&forked).unwrap());
    assert!(!heard.hearsay.hear_evidence(&forked).unwrap());
    assert_eq!(heard.again().evidence().len(), 1);
    let file = fs::read_dir(directory(&heard.home).join("evidence")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "rubbish").unwrap();
    let refused = Hearsay::open(&directory(&heard.home), key(), None);
    assert!(matches!(refused, Err(StoreError::Damaged { path }) if path == file));
}

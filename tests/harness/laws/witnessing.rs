//! What a log and a witness say to one another.

use std::sync::OnceLock;

use counterfoil_client::witness::{
    judge::{Refusal, Request, Verdict, judge},
    roster::WatchedLog,
};
use counterfoil_merkle::{
    TreeHead,
    proof::ConsistencyProof,
    witness::{ANSWER_BYTES_MAX, AddCheckpoint, Answer, PROOF_LINES_MAX, REQUEST_BYTES_MAX, SIZE_MEDIA_TYPE},
};

use super::texts::canonical;
use crate::SignedTree;

/// The log that the witness watches, and what it may have cosigned of it: nothing, or the smallest of three trees.
fn watched() -> &'static (WatchedLog, [TreeHead; 2], SignedTree) {
    static WATCHED: OnceLock<(WatchedLog, [TreeHead; 2], SignedTree)> = OnceLock::new();
    WATCHED.get_or_init(|| {
        let mut tree = SignedTree::new("log.example/fuzzed");
        let log = WatchedLog::new("log.example/fuzzed", vec![tree.key()], 100).expect("a log");
        tree.grow(1, 5);
        (log, [TreeHead::EMPTY, tree.head()], tree)
    })
}

/// A request has one text, within its limits. Only a checkpoint that the log signed is cosigned, and only if it is proven to have
/// grown from what was cosigned before; what is kept as suspect was signed by the log too.
pub fn add_checkpoint(bytes: &[u8]) -> bool {
    let Ok(request) = Request::read(bytes) else { return false };
    let text = str::from_utf8(bytes).expect("it was read as text");
    let sent: AddCheckpoint = canonical(text).expect("it was read before");
    assert!(bytes.len() <= REQUEST_BYTES_MAX && sent.proof.len() <= PROOF_LINES_MAX);
    let (log, knowns, tree) = watched();
    assert_eq!(
        request.origin(),
        text.split_once("\n\n").and_then(|(_, note)| note.lines().next()).unwrap_or("")
    );
    let Ok(authentic) = log.authenticate(request) else { return true };
    for known in knowns {
        match judge(*known, authentic.clone()) {
            Verdict::Cosign(checkpoint) => {
                let verified = checkpoint.verify(&tree.key()).expect("it was authenticated");
                let head = verified.head();
                assert_eq!(sent.old, known.size);
                assert!(head.size >= known.size, "the tree shrank");
                assert!(head.size > known.size || head == *known, "two roots for one size");
                let proof = ConsistencyProof::new(known.size, head.size, sent.proof.clone());
                assert_eq!(proof.expect("in order").verify(known.root, head.root), Ok(()));
            }
            Verdict::Suspect(refusal, checkpoint) => {
                assert!(checkpoint.verify(&tree.key()).is_ok(), "kept, and not signed by the log");
                assert!(!matches!(refusal, Refusal::OldAboveSize { .. }));
            }
            Verdict::Refuse(refusal) => assert!(!refusal.to_string().is_empty()),
        }
    }
    true
}

/// An answer has one text, and tells nothing but lines or a size.
pub fn witness_answer(bytes: &[u8]) -> bool {
    let Ok(body) = str::from_utf8(bytes) else { return false };
    let lines = Answer::parse(200, None, body);
    if let Ok(Answer::Cosigned(lines)) = &lines {
        assert!(!lines.is_empty() || body == "\n");
        assert_eq!(Answer::format_lines(lines), body);
    }
    let size = Answer::parse(409, Some("Text/x.tlog.size; charset=utf-8"), body);
    if let Ok(Answer::Conflict { size }) = &size {
        assert_eq!(Answer::format_size(*size), body);
    }
    assert_eq!(Answer::parse(409, Some(SIZE_MEDIA_TYPE), body), size);
    assert_eq!(Answer::parse(409, Some("text/plain"), body), Ok(Answer::Refused { status: 409 }));
    assert!(bytes.len() <= ANSWER_BYTES_MAX || size.is_err());
    lines.is_ok() || size.is_ok()
}

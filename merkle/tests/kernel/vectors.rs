//! Deterministic vectors, made outside this project's code.
//!
//! `log.example/receipts`: seven entries `receipt-0` to `receipt-6`, log seed 0x11 and witness seed 0x22 repeated,
//! worked out by hand from the C2SP specifications. `log.example/2026`: `tests/vectors/vectors.json`, which
//! `make.py` beside it made.

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::SignedCheckpoint,
    key::{Algorithm, VerifierKey},
    policy::{Policy, log_alone},
    proof::{InclusionProof, SubtreeProof},
    tlogproof::TlogProof,
    tree::Subtree,
};
use serde_json::Value;

use crate::{
    naive::{Tree, size},
    roles::{checkpoint, log, signer},
};

const LOG_KEY: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";
const WITNESS_KEY: &str = "witness.example/w1+e0cd2864+BKCapfR6Z1mAL/lV+NwtKhSlyZ0jvpf4ZBJ/+Tg0VaTw";

const LEAF_HASHES: [&str; 7] = [
    "30ffcce68ded5ce2353dcb4cac3e9b97e8bfac59c144302ea341014fd0560f06",
    "0fe3f4b6543c842a818accb36e3daf92a48c64dcbbfd5309d52c6d7e6081b6e2",
    "5462ffea863274d28ac2a8ae7a6835c7f6c500848e31ae7d44c8d8d399c63789",
    "d721efdf632d5be6d1a3de120447344f986dec778d7c184f6c9c14cdf0281ec6",
    "b564f396b5a3c430bab37c05d579c629a9f41c2b257b0b3eaccd3b6a66bc431f",
    "8fe482da5c990b80050739cbae30b60b1fa7868411a77e9e44e26cb8c169fb78",
    "8835b5cb017fff1283ebe8c0536d1a7b4e17ae4afa7940d5f9d813c939a35daf",
];

const ROOT_3: &str = "65d69e1ec96e778d72ebcbcfe5dda0a60a7f1cbcc2059b6366816e1770d830c2";
const ROOT_4: &str = "4e2c96882cded1739669c612a1a616f60b5e2baf86436202aae7905841300d2c";
const ROOT_7: &str = "2ef0a400bf2475990ace7f1c3ca79abd009f464524f7bc8de9cabf915b1c274b";

const CONSISTENCY_3_TO_7: [&str; 4] = [
    "VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=",
    "1yHv32MtW+bRo94SBEc0T5ht7HeNfBhPbJwUzfAoHsY=",
    "pPO3R2Ik9m8BlBdMIs8FfM6VfZTYI0tf31lCC6Yy878=",
    "wwHqjyZcliF8fdAPCcKz2FD9h433PvIJcgHA9qdq2oA=",
];

pub(crate) const PROOF_3_OF_7: &str = "\
c2sp.org/tlog-proof@v1
index 3
VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=
pPO3R2Ik9m8BlBdMIs8FfM6VfZTYI0tf31lCC6Yy878=
wwHqjyZcliF8fdAPCcKz2FD9h433PvIJcgHA9qdq2oA=

log.example/receipts
7
LvCkAL8kdZkKzn8cPKeavQCfRkUk97yN6cq/kVscJ0s=

— log.example/receipts cVWIm1wsShGjq1L3b31FgTEx0xb/pOyktqRqeNOH4Kfud0FIYmhj0mWLCgruABQHGXXwtzFIF2ca2u1IP77WCcbGAws=
— witness.example/w1 4M0oZAAAAABlU/EAuhfPmd4tDyg5GJDH3xr3BWIlv48EXgSjpt6W2jHAydww5A2tZ0vHVBuYRKBPN31cs8PJcjVcKJ+y7F/cS2S5DA==
";

fn hash(hex: &str) -> Hash {
    hex.parse().unwrap()
}

fn tree(leaves: u64) -> Tree {
    Tree::of((0..leaves).map(|index| Hash::leaf(format!("receipt-{index}").as_bytes())))
}

#[test]
fn keys_leaves_and_roots() {
    assert_eq!(log().public().to_string(), LOG_KEY);
    let witness = signer("witness.example/w1", Algorithm::CosignatureV1, 0x22);
    assert_eq!(witness.public().to_string(), WITNESS_KEY);
    assert_eq!(tree(7).leaves, LEAF_HASHES.map(hash));
    for (leaves, root) in [(3, ROOT_3), (4, ROOT_4), (7, ROOT_7)] {
        assert_eq!(tree(leaves).head().root, hash(root));
    }
}

/// The file comes out byte for byte from entries and seeds, and reads back to what verifies.
#[test]
fn the_proof_file_is_made_and_verified_byte_for_byte() {
    let witness = signer("witness.example/w1", Algorithm::CosignatureV1, 0x22);
    let mut signed = checkpoint(tree(7).head()).sign(&log());
    signed.cosign(&witness, 1_700_000_000);
    let made = TlogProof::new(tree(7).inclusion(3), signed).unwrap();
    assert_eq!(made.to_string(), PROOF_3_OF_7);

    let read: TlogProof = PROOF_3_OF_7.parse().unwrap();
    assert_eq!(read, made);
    let text = format!("log {LOG_KEY}\nwitness w1 {WITNESS_KEY}\nquorum w1\n");
    let accepted = text.parse::<Policy>().unwrap().check(read.checkpoint()).unwrap();
    assert_eq!(accepted.witnesses[0].time_s, 1_700_000_000);
    assert_eq!(read.verify(hash(LEAF_HASHES[3]), &accepted.checkpoint), Ok(()));
    assert!(read.verify(hash(LEAF_HASHES[4]), &accepted.checkpoint).is_err());
}

#[test]
fn consistency_as_a_witness_is_asked() {
    let proof = tree(7).consistency(3);
    let lines: Vec<_> = proof.hashes().iter().map(|hash| hash.to_base64()).collect();
    assert_eq!(lines, CONSISTENCY_3_TO_7);
    assert_eq!(proof.verify(hash(ROOT_3), hash(ROOT_7)), Ok(()));
}

#[test]
fn subtrees_of_seven() {
    let tree = tree(7);
    let cases: [(u64, u64, &str, &[&str]); 2] = [
        (4, 7, "c301ea8f265c96217c7dd00f09c2b3d850fd878df73ef2097201c0f6a76ada80", &[ROOT_4]),
        (4, 6, "350ed99ce63c9cf1052961eee3c862dc55822bd2edecad929c25ca9b57db5522", &[LEAF_HASHES[6], ROOT_4]),
    ];
    for (start, end, expected, siblings) in cases {
        let subtree = Subtree::new(start, end).unwrap();
        let found = Subtree::fold(&tree.nodes(&subtree.cover()));
        assert_eq!(found, hash(expected));
        let nodes = SubtreeProof::nodes(subtree, size(7)).unwrap();
        let proof = SubtreeProof::from_nodes(subtree, size(7), &tree.nodes(&nodes)).unwrap();
        assert_eq!(proof.hashes(), siblings.iter().map(|sibling| hash(sibling)).collect::<Vec<_>>());
        assert_eq!(proof.verify(found, &TreeHead { size: size(7), root: hash(ROOT_7) }), Ok(()));
    }
}

fn counterfoils_own() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/vectors.json")).unwrap()
}

/// The project's own vectors: entries, root, checkpoint with clock, proof of entry 1.
#[test]
fn counterfoils_own_checkpoint_and_proof() {
    let vectors = counterfoils_own();
    let text = |name: &str| vectors[name].as_str().unwrap().to_owned();
    let records = vectors["records"].as_array().unwrap();
    let field = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let tree = Tree::of(records.iter().map(|record| Hash::leaf(field(record, "entry").as_bytes())));
    for (leaf, record) in tree.leaves.iter().zip(records) {
        assert_eq!(leaf.to_string(), field(record, "leaf_hash"));
    }
    assert_eq!(tree.head().root.to_string(), text("root_3"));

    let (log, clock) = (text("log_vkey"), text("clock_vkey"));
    let (log, clock): (VerifierKey, VerifierKey) = (log.parse().unwrap(), clock.parse().unwrap());
    assert_eq!((log.to_string(), clock.to_string()), (text("log_vkey"), text("clock_vkey")));
    let signed: SignedCheckpoint = text("checkpoint").parse().unwrap();
    assert_eq!(signed.to_string(), text("checkpoint"));
    let verified = signed.verify(&log).unwrap();
    assert_eq!(verified.head(), tree.head());
    assert_eq!(clock.name().as_str(), verified.origin().clock_name());
    let attested = verified.cosignature(&clock).unwrap().time_s;
    assert_eq!(attested, 1_763_712_345, "the newest entry's `at`, in whole seconds");

    let proof: TlogProof = text("tlog_proof_1").parse().unwrap();
    assert_eq!(proof.to_string(), text("tlog_proof_1"));
    assert_eq!(proof, TlogProof::new(tree.inclusion(1), signed).unwrap());
    let policy: Policy = log_alone(&log, &clock).parse().unwrap();
    let accepted = policy.check(proof.checkpoint()).unwrap();
    assert_eq!(accepted.clock.map(|clock| clock.time_s), Some(attested));
    assert_eq!(proof.verify(tree.leaves[1], &accepted.checkpoint), Ok(()));
    assert!(InclusionProof::verify(proof.proof(), tree.leaves[0], tree.head().root).is_err());
}

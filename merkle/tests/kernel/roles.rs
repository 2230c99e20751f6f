//! Who signs what: a log's key, its clock and its witnesses are never taken for one another.

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner, VerifierKey},
    note::{Note, NoteError, SignatureLine},
    policy::{Policy, PolicyError},
};

use crate::naive::{leaf, size};

pub(crate) const ORIGIN: &str = "log.example/receipts";

pub(crate) fn signer(name: &str, algorithm: Algorithm, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
}

pub(crate) fn log() -> NoteSigner {
    signer(ORIGIN, Algorithm::Ed25519, 0x11)
}

pub(crate) fn clock() -> NoteSigner {
    signer(&format!("{ORIGIN}/clock"), Algorithm::CosignatureV1, 0x12)
}

pub(crate) fn checkpoint(head: TreeHead) -> Checkpoint {
    Checkpoint::new(Origin::new(ORIGIN).unwrap(), head)
}

fn some_checkpoint() -> Checkpoint {
    checkpoint(TreeHead { size: size(7), root: leaf(7) })
}

/// The same checkpoint with this line alone.
fn with_line(line: &SignatureLine) -> SignedCheckpoint {
    format!("{}\n{line}\n", some_checkpoint()).parse().unwrap()
}

/// The line as it would be if that key had written it.
fn claimed(line: &SignatureLine, key: &VerifierKey) -> SignatureLine {
    SignatureLine { name: key.name().clone(), id: key.id(), signature: line.signature.clone() }
}

#[test]
fn a_cosigners_key_is_no_logs_key_nor_the_other_way_round() {
    let (log, clock) = (log(), clock());
    let mut signed = some_checkpoint().sign(&log);
    signed.cosign(&clock, 1_700_000_000);
    let verified = signed.verify(log.public()).unwrap();
    assert_eq!(verified.cosignature(clock.public()).unwrap().time_s, 1_700_000_000);
    assert_eq!(signed.verify(clock.public()), Err(CheckpointError::NotALogKey));
    assert_eq!(verified.cosignature(log.public()), Err(CheckpointError::NotACosignerKey));
    let policy = |log: &VerifierKey, witness: &VerifierKey| {
        format!("log {log}\nwitness w {witness}\nquorum none\n").parse::<Policy>()
    };
    assert!(policy(log.public(), clock.public()).is_ok());
    assert!(matches!(policy(clock.public(), clock.public()), Err(PolicyError::Line { number: 1, .. })));
    assert!(matches!(policy(log.public(), log.public()), Err(PolicyError::Line { number: 2, .. })));
}

/// One secret in both roles has two ids, and neither signature passes for the other even under the other's id.
#[test]
fn a_signature_in_one_role_is_none_in_the_other() {
    let log = log();
    let witness = signer(ORIGIN, Algorithm::CosignatureV1, 0x11);
    assert_eq!(log.public().as_bytes(), witness.public().as_bytes());
    assert_ne!(log.public().id(), witness.public().id());

    let mut signed = some_checkpoint().sign(&log);
    signed.cosign(&witness, 5);
    let [as_log, as_witness] = signed.note().signatures() else { panic!("two lines") };
    let posing = with_line(&claimed(as_witness, log.public()));
    assert!(matches!(
        posing.verify(log.public()),
        Err(CheckpointError::Note(NoteError::BadSignature { .. }))
    ));
    let without_time = SignatureLine { signature: as_witness.signature[8..].to_vec(), ..as_witness.clone() };
    assert!(with_line(&claimed(&without_time, log.public())).verify(log.public()).is_err());

    let with_time = [&5_u64.to_be_bytes(), as_log.signature.as_slice()].concat();
    let posing = SignatureLine { signature: with_time, ..as_log.clone() };
    let mut note = signed.note().only(&[log.public()]);
    note.push(claimed(&posing, witness.public()));
    let verified = note.to_string().parse::<SignedCheckpoint>().unwrap().verify(log.public()).unwrap();
    assert!(verified.cosignature(witness.public()).is_err());
}

/// Whoever signs notes and checkpoints with one secret could be made to sign a cosignature as a note's text; so a
/// policy takes no secret in both roles.
#[test]
fn one_secret_in_two_roles_is_refused_by_policies() {
    let (log, witness) = (log(), signer("witness.example", Algorithm::CosignatureV1, 0x11));
    let text = format!("log {}\nwitness w {}\nquorum w\n", log.public(), witness.public());
    assert!(matches!(text.parse::<Policy>(), Err(PolicyError::LogAsWitness { .. })));
}

/// The time of a cosignature is eight bytes, big end first, and signed.
#[test]
fn a_cosignatures_time_is_big_endian() {
    let (log, clock) = (log(), clock());
    let time_s = 1_700_000_000_u64;
    let mut signed = some_checkpoint().sign(&log);
    signed.cosign(&clock, time_s);
    let line = signed.note().signatures()[1].clone();
    assert_eq!(line.signature.len(), 8 + 64);
    assert_eq!(line.signature[..8], [0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x00]);

    let with_time = |time: [u8; 8]| {
        let mut note = signed.note().only(&[log.public()]);
        note.push(SignatureLine { signature: [&time, &line.signature[8..]].concat(), ..line.clone() });
        let verified = note.to_string().parse::<SignedCheckpoint>().unwrap().verify(log.public()).unwrap();
        verified.cosignature(clock.public())
    };
    assert_eq!(with_time(time_s.to_be_bytes()).unwrap().time_s, time_s);
    for bad in [time_s.to_le_bytes(), (time_s + 1).to_be_bytes(), [0; 8], [0xff; 8]] {
        assert!(with_time(bad).is_err(), "{bad:?}");
    }
}

/// The newest of several cosignatures counts, but only if every one of them is good.
#[test]
fn all_lines_of_a_cosigner_must_be_good() {
    let (log, clock) = (log(), clock());
    let mut signed = some_checkpoint().sign(&log);
    for time_s in [5, i64::MAX.unsigned_abs(), 7] {
        signed.cosign(&clock, time_s);
    }
    let time = |signed: &SignedCheckpoint| {
        signed.verify(log.public()).unwrap().cosignature(clock.public()).map(|found| found.time_s)
    };
    assert_eq!(time(&signed), Ok(i64::MAX.unsigned_abs()));
    for length in [1, 8, 71, 73] {
        let mut note = signed.note().clone();
        let (name, id) = (clock.public().name().clone(), clock.public().id());
        note.push(SignatureLine { name, id, signature: vec![0; length] });
        assert!(time(&note.to_string().parse().unwrap()).is_err());
    }
}

/// A key named otherwise than the origin signs for another log, whatever its bytes are.
#[test]
fn a_logs_key_is_named_as_its_origin() {
    let other = signer("log.example/receipts2", Algorithm::Ed25519, 0x11);
    let signed = some_checkpoint().sign(&other);
    assert!(signed.note().verify(other.public()).is_ok());
    assert!(matches!(signed.verify(other.public()), Err(CheckpointError::OtherOrigin { .. })));
    assert!(matches!(signed.verify(log().public()), Err(CheckpointError::Note(NoteError::NotSigned { .. }))));
}

/// The clock of one listed log is nobody's witness, not even another listed log's.
#[test]
fn no_clock_is_named_among_the_witnesses() {
    let (log, clock) = (log(), clock());
    let other = signer("other.example", Algorithm::Ed25519, 3);
    let others_clock = signer("other.example/clock", Algorithm::CosignatureV1, 4);
    let policy: Policy = format!(
        "log {}\nlog {}\nwitness a {}\nwitness b {}\nquorum none\n",
        log.public(),
        other.public(),
        clock.public(),
        others_clock.public()
    )
    .parse()
    .unwrap();
    let mut signed = some_checkpoint().sign(&log);
    signed.cosign(&clock, 1);
    signed.cosign(&others_clock, 2);
    let accepted = policy.check(&signed).unwrap();
    assert_eq!(accepted.witnesses, []);
    assert_eq!(accepted.clock.map(|clock| clock.time_s), Some(1));
}

#[test]
#[should_panic(expected = "a cosigner signs checkpoints only")]
fn a_cosigner_does_not_sign_notes() {
    Note::new("text\n".to_owned()).unwrap().sign(&clock());
}

#[test]
#[should_panic(expected = "only a cosigner's key cosigns")]
fn a_log_does_not_cosign() {
    some_checkpoint().sign(&log()).cosign(&log(), 1);
}

/// The empty tree has one checkpoint.
#[test]
fn the_empty_trees_checkpoint_verifies() {
    let signed = checkpoint(TreeHead::EMPTY).sign(&log());
    let again: SignedCheckpoint = signed.to_string().parse().unwrap();
    assert_eq!(again.verify(log().public()).unwrap().head().root, Hash::EMPTY_ROOT);
}

//! Timestamped cosignatures of checkpoints by witnesses, and by a log's own clock (C2SP tlog-cosignature, Ed25519).

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    key::{Algorithm, KeyName, Signer, SignerError, VerifierKey},
    note::{Note, SignatureLine},
};

/// That a cosigner saw a checkpoint, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The cosigner's name.
    pub name: KeyName,
    /// POSIX seconds, by the cosigner's clock.
    pub time_s: u64,
}

/// The largest timestamp that the format allows.
const TIME_S_MAX: u64 = i64::MAX as u64;

/// The cosignature line of a checkpoint: `time || signature`, the time as eight bytes, big end first.
///
/// # Panics
/// If the signer is not a cosigner, or the time is beyond 2^63 - 1.
pub(crate) fn sign(
    checkpoint: &Checkpoint,
    signer: &dyn Signer,
    time_s: u64,
) -> Result<SignatureLine, SignerError> {
    let key = signer.public();
    assert_eq!(key.algorithm(), Algorithm::CosignatureV1, "only a cosigner's key cosigns");
    assert!(time_s <= TIME_S_MAX, "a cosignature's time has 63 bits");
    let mut signature = time_s.to_be_bytes().to_vec();
    signature.extend_from_slice(&signer.try_sign(&message(&checkpoint.to_string(), time_s))?);
    Ok(SignatureLine { name: key.name().clone(), id: key.id(), signature })
}

/// The newest of the cosigner's lines, if there is any and all of them verify.
pub(crate) fn verify(
    checkpoint: &Checkpoint,
    note: &Note,
    cosigner: &VerifierKey,
) -> Result<Cosignature, CheckpointError> {
    check_role(cosigner)?;
    let text = checkpoint.to_string();
    let mut newest = 0;
    note.verify_lines(cosigner, |bytes| {
        let time_s = verified_time(&text, bytes, cosigner);
        newest = newest.max(time_s.unwrap_or(0));
        time_s.is_some()
    })?;
    Ok(Cosignature { name: cosigner.name().clone(), time_s: newest })
}

/// Whether at least one of the cosigner's lines verifies.
pub(crate) fn verify_any(
    checkpoint: &Checkpoint,
    note: &Note,
    cosigner: &VerifierKey,
) -> Result<(), CheckpointError> {
    check_role(cosigner)?;
    let text = checkpoint.to_string();
    if note.lines_of(cosigner).any(|line| verified_time(&text, &line.signature, cosigner).is_some()) {
        return Ok(());
    }
    Ok(note.verify_lines(cosigner, |_| false)?)
}

fn check_role(cosigner: &VerifierKey) -> Result<(), CheckpointError> {
    match cosigner.algorithm() {
        Algorithm::CosignatureV1 => Ok(()),
        _ => Err(CheckpointError::NotACosignerKey),
    }
}

/// The time in a line's bytes, if the cosigner signed it with this text.
fn verified_time(text: &str, bytes: &[u8], cosigner: &VerifierKey) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time_s = u64::from_be_bytes(*time);
    (time_s <= TIME_S_MAX && cosigner.verifies(&message(text, time_s), signature)).then_some(time_s)
}

fn message(checkpoint: &str, time_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{checkpoint}").into_bytes()
}

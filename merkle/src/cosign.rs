//! Timestamped cosignatures of checkpoints by witnesses, and by a log's own clock (C2SP tlog-cosignature, Ed25519).

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    key::{Algorithm, KeyName, NoteSigner, VerifierKey},
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
pub(crate) fn sign(checkpoint: &Checkpoint, signer: &NoteSigner, time_s: u64) -> SignatureLine {
    let key = signer.public();
    assert_eq!(key.algorithm(), Algorithm::CosignatureV1, "only a cosigner's key cosigns");
    assert!(time_s <= TIME_S_MAX, "a cosignature's time has 63 bits");
    let mut signature = time_s.to_be_bytes().to_vec();
    signature.extend_from_slice(&signer.sign(&message(&checkpoint.to_string(), time_s)));
    SignatureLine { name: key.name().clone(), id: key.id(), signature }
}

/// The newest of the cosigner's lines, if there is any and all of them verify.
pub(crate) fn verify(
    checkpoint: &Checkpoint,
    note: &Note,
    cosigner: &VerifierKey,
) -> Result<Cosignature, CheckpointError> {
    if cosigner.algorithm() != Algorithm::CosignatureV1 {
        return Err(CheckpointError::NotACosignerKey);
    }
    let text = checkpoint.to_string();
    let mut newest = 0;
    note.verify_lines(cosigner, |bytes| {
        let Some((time, signature)) = bytes.split_first_chunk::<8>() else { return false };
        let time_s = u64::from_be_bytes(*time);
        newest = newest.max(time_s);
        time_s <= TIME_S_MAX && cosigner.verifies(&message(&text, time_s), signature)
    })?;
    Ok(Cosignature { name: cosigner.name().clone(), time_s: newest })
}

fn message(checkpoint: &str, time_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{checkpoint}").into_bytes()
}

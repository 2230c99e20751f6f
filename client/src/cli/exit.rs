//! Exit codes.

use std::process::ExitCode;

use counterfoil_merkle::{checkpoint::CheckpointError, policy::PolicyError};
use counterfoil_receipt::{bundle::BundleError, commitment::OpeningsError};

use crate::{context::ContextError, log::LogError, pin::PinError, submit::SubmitError, walk::WalkError};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Yes, or done.
    pub const YES: Self = Self(0);
    /// No: it was found out, and does not hold.
    pub const NO: Self = Self(1);
    /// Could not tell: nothing was found out.
    pub const UNKNOWN: Self = Self(2);

    /// Yes or no.
    pub const fn yes_if(holds: bool) -> Self {
        if holds { Self::YES } else { Self::NO }
    }

    /// What an error means: no if it is an answer, else that nothing is known.
    pub fn of(error: &anyhow::Error) -> Self {
        let no = error.chain().any(|error| {
            error.is::<No>()
                || error.is::<BundleError>()
                || error.is::<OpeningsError>()
                || error.is::<CheckpointError>()
                || error.downcast_ref().is_some_and(is_verdict)
                || error.downcast_ref().is_some_and(|error: &LogError| !error.is_silence())
                || error.downcast_ref().is_some_and(|error: &SubmitError| !error.is_silence())
                || error.downcast_ref().is_some_and(|error: &WalkError| !error.is_silence())
                || matches!(
                    error.downcast_ref(),
                    Some(PinError::Inconsistent { .. } | PinError::Forked { .. })
                )
                || matches!(error.downcast_ref(), Some(ContextError::Refused { .. }))
        });
        if no { Self::NO } else { Self::UNKNOWN }
    }
}

/// Whether a policy refuses a checkpoint; else the policy itself cannot be read.
const fn is_verdict(error: &PolicyError) -> bool {
    matches!(
        error,
        PolicyError::UnknownLog { .. } | PolicyError::Checkpoint(_) | PolicyError::NoQuorum { .. }
    )
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

/// The error that is an answer: no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct No(pub String);

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{TreeSize, proof::ProofError};

    use super::*;
    use crate::{answer::AnswerError, source::SourceError};

    #[test]
    fn silence_is_not_no() {
        let size = TreeSize::ZERO;
        let fork = || LogError::Inconsistent { old: size, new: size, reason: ProofError::TooShort };
        let status = SourceError::Status { address: String::new(), status: 500 };
        let cases: [(anyhow::Error, Exit); 7] = [
            (No("no".to_owned()).into(), Exit::NO),
            (fork().into(), Exit::NO),
            (PinError::Inconsistent { reason: fork(), kept: None }.into(), Exit::NO),
            (SubmitError::Answer(AnswerError::NotPublished).into(), Exit::UNKNOWN),
            (LogError::Source(status).into(), Exit::UNKNOWN),
            (PinError::Log(LogError::NoCheckpoint).into(), Exit::UNKNOWN),
            (anyhow::anyhow!("anything else"), Exit::UNKNOWN),
        ];
        for (error, exit) in cases {
            assert_eq!(Exit::of(&error.context("while doing this")), exit);
        }
    }
}

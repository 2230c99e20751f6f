//! Where a log is looked at from. What one shows to everybody alike, every vantage point shows alike.

use counterfoil_merkle::{Hash, key::VerifierKey};

use crate::source::Source;

/// A place that shows a log: the log itself, a mirror or proxy of it, or a witness that cosigned it.
#[derive(Clone, Debug)]
pub struct Vantage {
    /// What its owner calls it, for findings.
    pub name: String,
    /// Where it is.
    pub source: Source,
    /// What is there.
    pub shows: Shows,
}

/// What a vantage point shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// All of the log: `checkpoint`, tiles and bundles.
    Log,
    /// The newest checkpoint that a witness cosigned, at `<hex SHA-256 of the origin>/checkpoint` (C2SP tlog-witness).
    Checkpoint,
}

impl Vantage {
    /// The log itself.
    pub fn direct(source: Source) -> Self {
        Self { name: "log".to_owned(), source, shows: Shows::Log }
    }

    /// A mirror, or another address of the log.
    pub const fn mirror(name: String, source: Source) -> Self {
        Self { name, source, shows: Shows::Log }
    }

    /// A witness, at its monitoring prefix.
    pub const fn witness(name: String, source: Source) -> Self {
        Self { name, source, shows: Shows::Checkpoint }
    }
}

/// The path below a witness' monitoring prefix where it shows its newest checkpoint of a log.
pub fn witness_path(log: &VerifierKey) -> String {
    format!("{}/checkpoint", Hash::of(&[log.name().as_str().as_bytes()]))
}

//! Where a log is looked at from. What a log shows to everybody alike, every vantage point shows alike.

use counterfoil_receipt::audit::Place;

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
        Self { name: "the log".to_owned(), source, shows: Shows::Log }
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

/// Where findings about the vantage point with that position are.
pub(super) fn place(position: usize) -> Place {
    match u16::try_from(position).unwrap_or(u16::MAX) {
        0 => Place::Log,
        position => Place::Vantage(position),
    }
}

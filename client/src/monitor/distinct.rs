//! Several logs in one process must be several logs: what convicts one must never be held against another.

use crate::log::KnownLog;

/// Two logs that are one, or cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DistinctError {
    /// Two logs of one origin: a fork of one would look like two logs.
    #[error("the origin {origin} is given twice; several places that show one log are its vantage points")]
    Origin {
        /// The origin.
        origin: String,
    },
    /// Two origins with one key: whoever holds it may pass one log off as the other.
    #[error("{one} and {other} have the same key")]
    Key {
        /// One log.
        one: String,
        /// The other.
        other: String,
    },
    /// A log's clock has the key of a log.
    #[error("the clock of {log} has the key of the log {other}")]
    Clock {
        /// Whose clock.
        log: String,
        /// Whose key.
        other: String,
    },
}

/// Refuses logs that share an origin or a key.
pub fn check_distinct<'l>(logs: impl IntoIterator<Item = &'l KnownLog>) -> Result<(), DistinctError> {
    let logs: Vec<_> = logs.into_iter().collect();
    for (position, log) in logs.iter().enumerate() {
        let name = |log: &KnownLog| log.key.name().to_string();
        for before in &logs[..position] {
            if log.key.name() == before.key.name() {
                return Err(DistinctError::Origin { origin: name(log) });
            }
            if log.key.as_bytes() == before.key.as_bytes() {
                return Err(DistinctError::Key { one: name(before), other: name(log) });
            }
        }
        let clock = |of: &KnownLog| of.clock.as_ref().map(|clock| *clock.as_bytes());
        if let Some(other) = logs.iter().find(|other| clock(log) == Some(*other.key.as_bytes())) {
            return Err(DistinctError::Clock { log: name(log), other: name(other) });
        }
    }
    Ok(())
}

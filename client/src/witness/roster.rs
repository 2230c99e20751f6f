//! The logs that a witness watches.

use std::collections::HashMap;

use counterfoil_merkle::{
    Hash,
    checkpoint::Origin,
    key::{Algorithm, VerifierKey},
};

/// A log, as somebody described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedLog {
    origin: Origin,
    keys: Vec<VerifierKey>,
    per_day: u32,
}

impl WatchedLog {
    /// A log with its keys, any of which may sign, and the cosignatures that it may ask for in a day.
    pub fn new(origin: &str, keys: Vec<VerifierKey>, per_day: u32) -> Result<Self, RosterError> {
        let named = |reason| RosterError::Log { origin: origin.to_owned(), reason };
        let parsed = Origin::new(origin)
            .map_err(|_| named("its origin has 1 to 255 bytes and no control character"))?;
        if keys.is_empty() {
            return Err(named("it has no key"));
        }
        if keys.iter().any(|key| key.algorithm() != Algorithm::Ed25519) {
            return Err(named("a log's key has algorithm 0x01; a cosigner's is none"));
        }
        if per_day == 0 {
            return Err(named("it may ask for nothing: qpd is 0"));
        }
        Ok(Self { origin: parsed, keys, per_day })
    }

    /// What the log is called.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The name of the log in paths: SHA-256 of its origin.
    pub fn id(&self) -> Hash {
        Hash::of(&[self.origin.as_str().as_bytes()])
    }

    /// Keys that sign for it.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Cosignatures that it may ask for in a day.
    pub const fn per_day(&self) -> u32 {
        self.per_day
    }
}

/// Logs, no two of which share an origin or a key.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    logs: Vec<WatchedLog>,
    by_origin: HashMap<Origin, usize>,
    by_key: HashMap<[u8; 32], usize>,
}

impl Roster {
    /// Adds a log.
    ///
    /// # Errors
    /// If its origin or one of its keys is another log's, or it is there already.
    pub fn add(&mut self, log: WatchedLog) -> Result<(), RosterError> {
        let index = self.logs.len();
        if self.by_origin.contains_key(log.origin()) {
            return Err(RosterError::Origin { origin: log.origin.to_string() });
        }
        for key in &log.keys {
            if let Some(other) = self.by_key.insert(*key.as_bytes(), index) {
                let other = self.logs.get(other).unwrap_or(&log).origin.to_string();
                return Err(RosterError::Key { origin: log.origin.to_string(), other });
            }
        }
        self.by_origin.insert(log.origin.clone(), index);
        self.logs.push(log);
        Ok(())
    }

    /// Adds a log that others may have named before, with the same keys: then the first description stays.
    pub fn merge(&mut self, log: WatchedLog) -> Result<(), RosterError> {
        let known = self.by_origin.get(log.origin()).map(|index| &self.logs[*index]);
        if known.is_some_and(|known| known.keys == log.keys) { Ok(()) } else { self.add(log) }
    }

    /// The logs, in the order in which they were added.
    pub fn logs(&self) -> &[WatchedLog] {
        &self.logs
    }
}

/// Why logs cannot be watched together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// A description that no log can have.
    #[error("log {origin:?}: {reason}")]
    Log {
        /// Its origin.
        origin: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two logs of one name.
    #[error("log {origin:?} is described twice")]
    Origin {
        /// The name.
        origin: String,
    },
    /// One key for two logs, or twice for one.
    #[error("log {origin:?} has a key that {other:?} has too")]
    Key {
        /// The log.
        origin: String,
        /// The other one.
        other: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testlog::signer;

    fn log(origin: &str, keys: &[&str]) -> WatchedLog {
        let keys = keys.iter().map(|name| signer(name, Algorithm::Ed25519).public().clone()).collect();
        WatchedLog::new(origin, keys, 10).unwrap()
    }

    /// A name or a key belongs to one log; naming the same log in several lists is no harm.
    #[test]
    fn names_and_keys_belong_to_one_log() {
        let mut roster = Roster::default();
        roster.add(log("a", &["a", "a2"])).unwrap();
        let twice = |origin: &str| RosterError::Origin { origin: origin.to_owned() };
        let shared = |origin: &str, other: &str| RosterError::Key {
            origin: origin.to_owned(),
            other: other.to_owned(),
        };
        assert_eq!(roster.clone().add(log("a", &["b"])), Err(twice("a")));
        assert_eq!(roster.clone().add(log("b", &["b", "a2"])), Err(shared("b", "a")));
        assert_eq!(roster.clone().add(log("b", &["b", "b"])), Err(shared("b", "b")));
        assert_eq!(roster.clone().merge(log("a", &["b"])), Err(twice("a")));
        assert_eq!(roster.clone().merge(log("b", &["a"])), Err(shared("b", "a")));
        roster.merge(log("a", &["a", "a2"])).unwrap();
        roster.merge(log("b", &["b"])).unwrap();
        let names: Vec<_> = roster.logs().iter().map(|log| log.origin().as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn descriptions_that_no_log_has() {
        let key = signer("a", Algorithm::Ed25519).public().clone();
        let cosigner = signer("a", Algorithm::CosignatureV1).public().clone();
        for (origin, keys, per_day, reason) in [
            ("", vec![key.clone()], 1, "origin"),
            ("a\nb", vec![key.clone()], 1, "origin"),
            ("a", vec![], 1, "no key"),
            ("a", vec![cosigner], 1, "0x01"),
            ("a", vec![key], 0, "qpd"),
        ] {
            let error = WatchedLog::new(origin, keys, per_day).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}

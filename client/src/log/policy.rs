//! The policy that a person holds one log to: which witnesses, and how many of them.

use std::str::FromStr;

use counterfoil_merkle::{
    key::VerifierKey,
    policy::{Policy, PolicyError},
};

/// A C2SP policy with its text, as it is kept with a known log.
#[derive(Clone, Debug)]
pub struct LogPolicy {
    text: String,
    policy: Policy,
}

impl LogPolicy {
    /// The text, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether it is about a log with this key.
    pub fn lists(&self, log: &VerifierKey) -> bool {
        self.policy.logs().iter().any(|listed| listed.key == *log)
    }
}

impl FromStr for LogPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Ok(Self { text: text.to_owned(), policy: text.parse()? })
    }
}

impl PartialEq for LogPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for LogPolicy {}

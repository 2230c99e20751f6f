//! What a person trusts: logs and witnesses by a C2SP policy, issuers by names for their keys. One TOML file.

mod issuers;

pub use crate::statement::key::Role;
pub use issuers::{Issuers, NamedIssuer};

use counterfoil_merkle::policy::{Policy, PolicyError};
use serde::Deserialize;

use issuers::IssuerTable;

/// The longest trust file that is read.
pub const TRUST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a bundle is held against.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Logs, witnesses, and how many of those it takes.
    pub policy: Policy,
    /// Issuers by name. If there is any, the issuer of a record has to be one of them.
    pub issuers: Issuers,
}

impl Trust {
    /// Trust in logs and witnesses alone: issuers may be anybody.
    pub fn in_policy(policy: Policy) -> Self {
        Self { policy, issuers: Issuers::default() }
    }
}

/// A trust file. Its policy may be in another file, which whoever reads files has to read.
#[derive(Clone, Debug)]
pub struct TrustFile {
    /// Where the policy is.
    pub policy: PolicyPlace,
    /// The issuers.
    pub issuers: Issuers,
}

/// Where the policy of a trust file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyPlace {
    /// In the trust file.
    Here(String),
    /// In a file of this name, beside the trust file unless the name is absolute.
    File(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustTable {
    policy: Option<String>,
    policy_file: Option<String>,
    #[serde(default)]
    issuer: Vec<IssuerTable>,
}

impl TrustFile {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if text.len() > TRUST_BYTES_MAX {
            return Err(TrustError::TooLong { got: text.len() });
        }
        let table: TrustTable = toml::from_str(text)?;
        let policy = match (table.policy, table.policy_file) {
            (Some(text), None) => PolicyPlace::Here(text),
            (None, Some(name)) => PolicyPlace::File(name),
            _ => return Err(TrustError::OnePolicy),
        };
        Ok(Self { policy, issuers: Issuers::from_tables(table.issuer)? })
    }

    /// The trust that it states, with the text of its policy: its own, or that of the file it names.
    pub fn with_policy(self, policy: &str) -> Result<Trust, TrustError> {
        Ok(Trust { policy: policy.parse()?, issuers: self.issuers })
    }
}

/// Why a trust file, or an issuer file, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Above [`TRUST_BYTES_MAX`].
    #[error("a trust file has at most {TRUST_BYTES_MAX} bytes, this has {got}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Not TOML, or not the tables that are known.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// No policy, or two.
    #[error("a trust file has either policy or policy_file")]
    OnePolicy,
    /// The policy is refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A name that cannot be shown.
    #[error("issuer {number}: a name has 1 to {bytes_max} bytes without control characters", bytes_max = issuers::NAME_BYTES_MAX)]
    Name {
        /// Which table, from 1.
        number: usize,
    },
    /// A key that cannot be read.
    #[error("issuer {name}: {reason}")]
    Key {
        /// The issuer's name.
        name: String,
        /// What is wrong with the key.
        reason: crate::key::KeyError,
    },
    /// Two tables for one key.
    #[error("{first} and {second} have the same key")]
    SameKey {
        /// The name that the key was given first.
        first: String,
        /// The name that it was given again.
        second: String,
    },
    /// A moment that is none.
    #[error("issuer {name}: {member} is a date, or a date and time with its offset, from 1970 on")]
    Moment {
        /// The issuer's name.
        name: String,
        /// `not_before` or `not_after`.
        member: &'static str,
    },
    /// A validity that ends before it begins.
    #[error("issuer {name}: not_after is before not_before")]
    NeverValid {
        /// The issuer's name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::policy::log_alone;

    use super::*;
    use crate::{Timestamp, vectors};

    fn policy() -> String {
        let all = vectors::all();
        let key = |name: &str| all[name].as_str().unwrap().parse().unwrap();
        log_alone(&key("log_vkey"), &key("clock_vkey"))
    }

    #[test]
    fn names_keys_and_keeps_the_policy() {
        let (one, other) = (vectors::key("issuer"), vectors::p256_key());
        let text = format!(
            "policy = \"\"\"\n{}\"\"\"\n[[issuer]]\nname = \"Bank\"\nkey = \"{}\"\nnot_before = 2025-01-01\nnot_after = 2025-12-31T23:59:59.5+01:00\nroles = [\"issuer\"]\n[[issuer]]\nname = \"Bank\"\nkey = \"{}\"\n",
            policy(),
            one.public(),
            other.public()
        );
        let file = TrustFile::parse(&text).unwrap();
        let PolicyPlace::Here(policy) = file.policy.clone() else { panic!("inline") };
        let trust = file.with_policy(&policy).unwrap();
        assert_eq!(trust.policy.logs().len(), 1);
        assert_eq!(trust.issuers.len(), 2);
        let found = trust.issuers.find(one.public()).unwrap();
        assert_eq!((found.name(), found.roles()), ("Bank", &[Role::Issuer][..]));
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let (first, last) = (1_735_689_600_000, 1_767_221_999_500);
        for (ms, valid) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
            assert_eq!(found.is_valid_at(at(ms)), valid, "{ms}");
        }
        assert!(trust.issuers.find(other.public()).unwrap().is_valid_at(at(0)));
        assert!(found.may_act_as(Role::Issuer) && !found.may_act_as(Role::Arbiter));
        assert!(trust.issuers.find(other.public()).unwrap().may_act_as(Role::Arbiter));
        assert!(trust.issuers.find(vectors::key("log").public()).is_none());
    }

    /// A date alone means all of that day.
    #[test]
    fn days_are_whole() {
        let key = vectors::key("issuer");
        let text = format!(
            "[[issuer]]\nname = \"Day\"\nkey = \"{}\"\nnot_before = 2024-02-29\nnot_after = 2024-02-29\n",
            key.public()
        );
        let issuers = Issuers::parse(&text).unwrap();
        let found = issuers.find(key.public()).unwrap();
        let midnight = 1_709_164_800_000;
        let valid = |ms| found.is_valid_at(Timestamp::from_millis(ms).unwrap());
        assert!(!valid(midnight - 1) && valid(midnight) && valid(midnight + 86_399_999));
        assert!(!valid(midnight + 86_400_000));
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        let key = vectors::key("issuer");
        let issuer = |more: &str| format!("[[issuer]]\nname = \"a\"\nkey = \"{}\"\n{more}\n", key.public());
        let refused = |text: &str| Issuers::parse(text).expect_err(text).to_string();
        assert!(refused(&issuer("colour = 1")).contains("unknown field `colour`"));
        assert!(refused(&issuer("roles = [\"king\"]")).contains("king"));
        assert_eq!(
            refused(&(issuer("") + &issuer("").replace("\"a\"", "\"b\""))),
            "a and b have the same key"
        );
        assert!(refused(&issuer("").replace("MCow", "MCox")).starts_with("issuer a: a key is"));
        assert!(refused(&issuer("").replace("\"a\"", "\"\\u001b[31m\"")).starts_with("issuer 1: a name"));
        assert!(
            refused(&issuer("not_after = 2025-01-01T00:00:00")).starts_with("issuer a: not_after is a date")
        );
        assert!(refused(&issuer("not_before = 1969-12-31")).starts_with("issuer a: not_before is a date"));
        assert!(refused(&issuer("not_before = 12:00:00")).starts_with("issuer a: not_before is a date"));
        let backwards = issuer("not_before = 2025-01-02\nnot_after = 2025-01-01");
        assert_eq!(refused(&backwards), "issuer a: not_after is before not_before");

        assert_eq!(TrustFile::parse(&issuer("")).unwrap_err(), TrustError::OnePolicy);
        let two = "policy = \"\"\npolicy_file = \"\"\n";
        assert_eq!(TrustFile::parse(two).unwrap_err(), TrustError::OnePolicy);
        assert!(TrustFile::parse("policies = 1").unwrap_err().to_string().contains("unknown field"));
        let file = TrustFile::parse("policy_file = \"log.policy\"").unwrap();
        assert_eq!(file.policy, PolicyPlace::File("log.policy".to_owned()));
        assert!(file.with_policy("log x").is_err());
    }
}

//! The tables of the configuration.

use std::{collections::BTreeMap, path::PathBuf};

use counterfoil_receipt::{PublicKey, statement::rules::REGISTRARS_MAX};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// An S3-compatible store in place of the data directory. Credentials are read from `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `s3://bucket/prefix`. The store must create objects only where there are none (`If-None-Match: *`), which is tried at
    /// every start, and must show at once what was written.
    pub url: String,
    /// Address of the service. Default: AWS's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Default: us-east-1.
    #[serde(default = "default_region")]
    pub region: String,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl StoreConfig {
    /// The bucket, and the prefix of all names in it, which may be empty.
    pub fn bucket_and_prefix(&self) -> Option<(&str, &str)> {
        let rest = self.url.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        (!bucket.is_empty()).then_some((bucket, prefix.trim_matches('/')))
    }
}

/// The index that searches are answered from: made beside the log from what is published, and again whenever it is missing or
/// damaged.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Whether there is one. Default: true.
    pub enabled: bool,
    /// Where it is: a directory of its own. Default: `search`.
    pub directory: PathBuf,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { enabled: true, directory: "search".into() }
    }
}

/// How fast the stored log is read again in the background, to find damage while a mirror or backup can still mend it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// Bytes read a second; 0: none. Default: 4 MiB, which is 360 GB a day.
    pub bytes_per_second: u64,
    /// Seconds between two passes over the log. Default: 600.
    pub rest_s: u64,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { bytes_per_second: 4 * 1024 * 1024, rest_s: 600 }
    }
}

/// What is shown to those who connect. The files are read again on SIGHUP; a pair that cannot be used leaves the old one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: the certificate, then those that lead to an authority.
    pub certificate: PathBuf,
    /// PEM file of its private key, which only its owner can read; it may be a link to one.
    pub key: PathBuf,
}

/// A token that private keys are in (PKCS#11): `log_key_file = "pkcs11:LABEL"` is the Ed25519 key with that label.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The shared library that speaks to it, such as `/usr/lib/softhsm/libsofthsm2.so`. It becomes part of the server.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN: a file that only its owner can read, or `credential:NAME`.
    pub pin_file: PathBuf,
}

/// What only those can do who show a token. Read again on SIGHUP, with the file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokensConfig {
    /// The tokens' digests, a line each, as `counterfoil-server token new` prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether appending needs a token with the scope `append`, beside what admission asks for. Default: false.
    pub require_for_append: bool,
    /// Whether statements, and what is computed from them, need a token with the scope `statements`. Entries, proofs and
    /// checkpoints are always public. Default: false.
    pub withhold_statements: bool,
}

/// Who cosigns tree heads before they are published.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessesConfig {
    /// C2SP tlog-policy file: this log's key, the witnesses with their URLs, and the quorum without which nothing is
    /// published. If it names no witness with a URL and needs none, the log publishes alone.
    pub policy: PathBuf,
    /// PEM file of the certificates to trust for `https`, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// At most one tree head is published in so many milliseconds. Default: 1000.
    #[serde(default = "default_period")]
    pub period_ms: u64,
    /// Milliseconds that a witness may take for an answer. Default: 5000.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
    /// Seconds that an append waits for its publication; then it is answered 202. Default: 10.
    #[serde(default = "default_append_wait")]
    pub append_wait_s: u64,
    /// Seconds between two clock records, which put the witnesses' times into the log; 0: none. Default: 3600.
    #[serde(default = "default_clock_record_period")]
    pub clock_record_period_s: u64,
    /// Monitoring prefixes of witnesses, by their names in the policy, where they are not the submission prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub monitoring: BTreeMap<String, String>,
}

const fn default_period() -> u64 {
    1000
}

const fn default_timeout() -> u64 {
    5000
}

const fn default_append_wait() -> u64 {
    10
}

const fn default_clock_record_period() -> u64 {
    3600
}

/// Who may append. What stands here is logged as the rules when it changes, and takes effect from that record on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionConfig {
    /// `registered` (default): keys with a record that a registrar signed. `open`: any valid signature.
    #[serde(default)]
    pub mode: AdmissionMode,
    /// Public keys of the registrars, as `counterfoil keygen` prints them. Read again on SIGHUP. Needed when the mode is
    /// `registered`.
    #[serde(default)]
    pub registrars: Vec<String>,
}

impl AdmissionConfig {
    /// The registrars' keys.
    pub fn registrar_keys(&self) -> Result<Vec<PublicKey>, ConfigError> {
        let failed = |reason: String| ConfigError::Value { key: "admission.registrars", reason };
        if self.registrars.len() > REGISTRARS_MAX {
            return Err(failed(format!("at most {REGISTRARS_MAX}")));
        }
        self.registrars
            .iter()
            .map(|key| key.parse().map_err(|error| failed(format!("{key}: {error}"))))
            .collect()
    }
}

/// Who may append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdmissionMode {
    /// Keys that a registrar registered.
    #[default]
    Registered,
    /// Any valid signature.
    Open,
}

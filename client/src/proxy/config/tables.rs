//! The tables of the configuration.

use std::{collections::BTreeMap, path::PathBuf};

use counterfoil_merkle::{Hash, key::VerifierKey};
use counterfoil_receipt::{
    PublicKey,
    statement::{
        GroupName,
        receipt::{Basis, Claimed, Engine},
    },
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// What happens to an answer whose receipt cannot be made to last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It goes out.
    #[default]
    FailOpen,
    /// It does not: what ends it is held until the receipt lasts.
    Strict,
}

/// The log that receipts go to: one that is known by name, or its address and keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogTable {
    /// The name that `counterfoil log add` gave it.
    pub name: Option<String>,
    /// Its URL, in place of the name.
    pub url: Option<String>,
    /// Its key (a vkey).
    #[serde(deserialize_with = "parsed")]
    pub key: Option<VerifierKey>,
    /// The key of its clock (a vkey).
    #[serde(deserialize_with = "parsed")]
    pub clock: Option<VerifierKey>,
    /// PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// A service behind the proxy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTable {
    /// What it is called here.
    pub name: String,
    /// Its URL; a path in it stands before every path.
    pub url: String,
    /// The start of the paths that go to it, such as `/openai`, which is taken off. Default: all paths.
    #[serde(default)]
    pub prefix: String,
    /// The models that go to it; `*` at the end of a name stands for any end. Default: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Upstreams to try when this one does not answer, in order. They get the request as it is, credentials included.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The model as the operator says it is.
    pub claimed: Option<UpstreamClaim>,
}

impl UpstreamTable {
    /// The only upstream.
    pub(super) fn of_one(url: &str) -> Self {
        Self {
            name: "upstream".to_owned(),
            url: url.to_owned(),
            prefix: String::new(),
            models: Vec::new(),
            fallback: Vec::new(),
            ca: None,
            claimed: None,
        }
    }
}

/// The model as the operator says it is: marked as a claim in every receipt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamClaim {
    /// Its name.
    pub name: Option<String>,
    /// SHA-256 of its weights, hex.
    #[serde(default, deserialize_with = "parsed")]
    pub weights: Option<Hash>,
    /// The program that runs it.
    pub engine: Option<String>,
    /// That program's version.
    pub engine_version: Option<String>,
    /// How its weights are rounded.
    pub quantization: Option<String>,
    /// How the operator knows: `config` (default), `hashed_at_load` or `measured`.
    #[serde(default, deserialize_with = "basis")]
    pub basis: Option<Basis>,
}

impl UpstreamClaim {
    /// The claim, as receipts carry it.
    pub fn claimed(&self) -> Claimed {
        let version = self.engine_version.clone();
        Claimed {
            name: self.name.clone(),
            weights: self.weights,
            engine: self.engine.clone().map(|name| Engine { name, version }),
            quantization: self.quantization.clone(),
            basis: self.basis.unwrap_or(Basis::Config),
        }
    }
}

/// What receipts say, and what goes out with an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiptTable {
    /// Groups to seal beyond those sealed by default.
    #[serde(deserialize_with = "groups")]
    pub seal: Vec<GroupName>,
    /// Groups to leave open that are sealed by default.
    #[serde(deserialize_with = "groups")]
    pub open: Vec<GroupName>,
    /// Whether input messages, texts, tool calls and embeddings are committed to one by one. Their openings hold them in
    /// clear, in the spool too. Default: true.
    pub contents: bool,
    /// Bytes of content, and of input messages, that are committed to one by one; longer content is committed to as part of
    /// its body alone. Default: 1 MiB.
    pub content_bytes_max: usize,
    /// Who answers for the answers.
    pub accountable: Option<AccountableTable>,
    /// Names that stand in receipts for private names of models.
    pub aliases: BTreeMap<String, String>,
    /// Seconds within which a receipt is promised to be in the log; the promise goes out with the answer's first byte.
    /// Default: none is given.
    pub promise_within_s: Option<u64>,
    /// Whether streams end with a comment that names the receipt. Default: false.
    pub stream_comment: bool,
    /// The headers that carry callers' credentials. Default: authorization, x-api-key, api-key.
    pub credential_headers: Vec<String>,
}

impl Default for ReceiptTable {
    fn default() -> Self {
        Self {
            seal: Vec::new(),
            open: Vec::new(),
            contents: true,
            content_bytes_max: 1024 * 1024,
            accountable: None,
            aliases: BTreeMap::new(),
            promise_within_s: None,
            stream_comment: false,
            credential_headers: ["authorization", "x-api-key", "api-key"].map(str::to_owned).to_vec(),
        }
    }
}

/// Who answers for the answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountableTable {
    /// Their public key (base64 of its SPKI).
    #[serde(deserialize_with = "required")]
    pub key: PublicKey,
    /// Within how many seconds they respond to a dispute.
    pub respond_within_s: u64,
}

/// What is kept, and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Seconds for which an exchange's openings and claim key can be fetched. They stay on the disk up to an hour longer.
    /// Default: 30 days.
    pub exchanges_s: u64,
    /// Bytes that the spool may have. Default: 8 GiB.
    pub spool_bytes_max: u64,
    /// A directory to keep bodies in. Default: none are kept.
    pub bodies: Option<PathBuf>,
    /// Seconds for which bodies are kept. Default: 7 days.
    pub bodies_s: u64,
    /// Bytes that the bodies may have together; those that do not fit are not kept. Default: 8 GiB.
    pub bodies_bytes_max: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            exchanges_s: 30 * 24 * 3600,
            spool_bytes_max: 8 << 30,
            bodies: None,
            bodies_s: 7 * 24 * 3600,
            bodies_bytes_max: 8 << 30,
        }
    }
}

/// Where openings and claim keys are handed to, besides the callers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// A directory that gets `<id>.openings.json` and `<id>.claim.json`.
    pub folder: Option<PathBuf>,
    /// A program and its arguments, started once for each exchange, with `COUNTERFOIL_ID`, `COUNTERFOIL_EXCHANGE` and
    /// `COUNTERFOIL_FILE` set: the file holds `{"exchange","id","openings","claim"}` and is removed afterwards.
    pub command: Vec<String>,
    /// Seconds that the program may take. Default: 30.
    #[serde(default = "thirty")]
    pub timeout_s: u64,
}

const fn thirty() -> u64 {
    30
}

/// When another attempt is made. Never after a byte of an answer went out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often an upstream is tried again, before its fallbacks. Default: 0.
    pub attempts: usize,
    /// The statuses after which it is. Default: 502, 503, 504, 529. No connection and no answer always count.
    pub statuses: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 0, statuses: vec![502, 503, 504, 529] }
    }
}

/// What is refused for being too large, too slow or too many.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections; more wait until one closes. Default: 4096.
    pub connections_max: usize,
    /// Bytes of a request that calls a model. Default: 64 MiB.
    pub request_bytes_max: usize,
    /// Bytes of an answer that is no stream, up to which it is read. A longer one passes all the same. Default: 16 MiB.
    pub answer_bytes_max: usize,
    /// Bytes of requests and answers that are held together. Default: 512 MiB.
    pub memory_bytes_max: usize,
    /// Seconds in which a request's head must have come, the first byte and idle keep-alive included. Default: 60.
    pub head_timeout_s: u64,
    /// Seconds that may pass between two parts of a body, from either side. Default: 300.
    pub idle_timeout_s: u64,
    /// Seconds to connect to an upstream. Default: 10.
    pub connect_timeout_s: u64,
    /// Seconds until an upstream's answer must have begun. Default: 600.
    pub answer_timeout_s: u64,
    /// Seconds that an exchange may take. Default: 6 hours.
    pub exchange_timeout_s: u64,
    /// Seconds that a stopping proxy waits for exchanges. Default: 30.
    pub drain_timeout_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            request_bytes_max: 64 << 20,
            answer_bytes_max: 16 << 20,
            memory_bytes_max: 512 << 20,
            head_timeout_s: 60,
            idle_timeout_s: 300,
            connect_timeout_s: 10,
            answer_timeout_s: 600,
            exchange_timeout_s: 6 * 3600,
            drain_timeout_s: 30,
        }
    }
}

fn required<'de, D: Deserializer<'de>, T>(from: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn parsed<'de, D: Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    required(from).map(Some)
}

fn basis<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Basis>, D::Error> {
    let text = String::deserialize(from)?;
    let codes = || Basis::ALL.iter().map(|basis| basis.as_str()).collect::<Vec<_>>().join(", ");
    Basis::from_code(&text).map(Some).ok_or_else(|| D::Error::custom(format!("basis is one of {}", codes())))
}

fn groups<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<GroupName>, D::Error> {
    let names = || GroupName::ALL.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ");
    let group = |name: String| {
        GroupName::from_code(&name).ok_or_else(|| D::Error::custom(format!("the groups are {}", names())))
    };
    Vec::<String>::deserialize(from)?.into_iter().map(group).collect()
}

//! The configuration: one TOML file. Every key is documented on its field; unknown keys are refused.

mod limits;
mod tables;

pub use self::{
    limits::{Limits, RatesConfig},
    tables::{
        AdmissionConfig, AdmissionMode, Pkcs11Config, ScrubConfig, SearchConfig, StoreConfig, TlsConfig,
        TokensConfig, WitnessesConfig,
    },
};

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    key::{Algorithm, VerifierKey},
    policy::{POLICY_BYTES_MAX, Policy},
};
use serde::{Deserialize, Serialize};

use crate::{keyfile, network::Network, signers};

/// All that a server is told. Paths are relative to the file's own directory.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where this was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// The log's public key (a vkey). Its name is the log's origin. Pinned here: what the log signs is checked with it.
    pub log_key: String,
    /// The public key (a vkey) of the log's clock, named `<origin>/clock`.
    pub clock_key: String,
    /// The log's private key: a file that only its owner can read, or `credential:NAME`, one that the service manager hands over in
    /// `$CREDENTIALS_DIRECTORY` (systemd: `LoadCredential=NAME:…`), or `pkcs11:LABEL`, one in the token of the table `pkcs11`. So are
    /// the other private keys here; that of TLS is in no token.
    pub log_key_file: PathBuf,
    /// The clock's private key: a file that only its owner can read.
    pub clock_key_file: PathBuf,
    /// The operator's private key (PKCS#8 PEM): a file that only its owner can read. It signs clock records, refusals, and changes
    /// of the rules; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_key_file: Option<PathBuf>,
    /// The data directory: the log itself.
    pub data: PathBuf,
    /// The guard: a file that remembers how far the log went. Keep it outside whatever is restored together with the
    /// data directory, best on another disk.
    pub guard: PathBuf,
    /// The index of ids and leaf hashes: made again from the data directory whenever it is missing or damaged.
    #[serde(default = "default_index")]
    pub index: PathBuf,
    /// Address and port to listen on. Default: 127.0.0.1:8430.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Address and port for operators, in the clear: `/metrics` is there and no longer at the other address, and `/healthz` and
    /// `/readyz` are at both. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// Addresses of front proxies (`10.0.0.7`, `10.1.0.0/16`, `fd00::/8`): from them alone `X-Forwarded-For` is believed, the
    /// last address in it that is no proxy's; and `limits.connections_per_address_max` is not for them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<Network>,
    /// The index that searches are answered from.
    #[serde(default)]
    pub search: SearchConfig,
    /// How fast the stored log is read again, to find damage.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// Who may append.
    #[serde(default)]
    pub admission: AdmissionConfig,
    /// What is refused for being too large, too slow or too many.
    #[serde(default)]
    pub limits: Limits,
    /// How fast one address or one issuer may append.
    #[serde(default)]
    pub rates: RatesConfig,
    /// TLS at the address to listen on. Without this table it is plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// The token that private keys are in: a device that signs with them and never lets them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkcs11: Option<Pkcs11Config>,
    /// What only those can do who show a token.
    #[serde(default)]
    pub tokens: TokensConfig,
    /// Where the log itself is, if not in the data directory: a store that several servers may share, of which one writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreConfig>,
    /// Who cosigns tree heads before they are published. Without this table nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessesConfig>,
}

/// Port that nobody else is known to use.
pub const DEFAULT_PORT: u16 = 8430;

fn default_index() -> PathBuf {
    "index".into()
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT)
}

impl Config {
    /// Reads a configuration file; paths in it are taken relative to its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Form { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        let (certificate, key) = config.tls.as_mut().map(|tls| (&mut tls.certificate, &mut tls.key)).unzip();
        let keys = [
            ("log_key_file", Some(&mut config.log_key_file)),
            ("clock_key_file", Some(&mut config.clock_key_file)),
            ("operator_key_file", config.operator_key_file.as_mut()),
            ("tls.key", key),
            ("pkcs11.pin_file", config.pkcs11.as_mut().map(|token| &mut token.pin_file)),
        ];
        for (key, path) in keys {
            if let Some(path) = path.filter(|path| signers::label(path).is_none()) {
                *path = keyfile::place(base, path).map_err(|reason| ConfigError::Value { key, reason })?;
            }
        }
        let optional = [
            config.witnesses.as_mut().map(|witnesses| &mut witnesses.policy),
            certificate,
            config.tokens.file.as_mut(),
        ];
        let needed = [&mut config.data, &mut config.guard, &mut config.index, &mut config.search.directory];
        for path in needed.into_iter().chain(optional.into_iter().flatten()) {
            *path = base.join(&*path);
        }
        if let Some(path) = config.witnesses.as_mut().and_then(|witnesses| witnesses.authorities.as_mut()) {
            *path = base.join(&*path);
        }
        config.path = path.to_owned();
        config.check()?;
        Ok(config)
    }

    /// The log's public key.
    pub fn log_vkey(&self) -> Result<VerifierKey, ConfigError> {
        vkey("log_key", &self.log_key, Algorithm::Ed25519)
    }

    /// The clock's public key.
    pub fn clock_vkey(&self) -> Result<VerifierKey, ConfigError> {
        let log = self.log_vkey()?;
        let clock = vkey("clock_key", &self.clock_key, Algorithm::CosignatureV1)?;
        let expected = format!("{}/clock", log.name());
        if clock.name().as_str() != expected {
            return Err(ConfigError::Value {
                key: "clock_key",
                reason: format!("its name must be {expected}"),
            });
        }
        Ok(clock)
    }

    /// The policy of the witnesses, if there is a table for them.
    pub fn witness_policy(&self) -> Result<Option<Policy>, ConfigError> {
        let Some(WitnessesConfig { policy: path, .. }) = &self.witnesses else { return Ok(None) };
        let failed = |source| ConfigError::Read { path: path.clone(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > POLICY_BYTES_MAX as u64 {
            let reason = format!("{} has {length} bytes, above {POLICY_BYTES_MAX}", path.display());
            return Err(ConfigError::Value { key: "witnesses.policy", reason });
        }
        let parsed = fs::read_to_string(path).map_err(failed)?.parse();
        parsed.map(Some).map_err(|error| ConfigError::Value {
            key: "witnesses.policy",
            reason: format!("{}: {error}", path.display()),
        })
    }

    /// The data directory, for what works on one alone.
    pub fn local_data(&self) -> Result<&Path, ConfigError> {
        match &self.store {
            None => Ok(&self.data),
            Some(store) => {
                let reason = format!("{} is no directory, which this command needs", store.url);
                Err(ConfigError::Value { key: "store.url", reason })
            }
        }
    }

    /// The effective values as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain TOML")
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.log_vkey()?;
        self.clock_vkey()?;
        let keys = self.admission.registrar_keys()?;
        if self.admission.mode == AdmissionMode::Registered && keys.is_empty() {
            let reason = "needed unless admission.mode is \"open\"".to_owned();
            return Err(ConfigError::Value { key: "admission.registrars", reason });
        }
        for (key, value) in self.limits.least_one().into_iter().chain(self.rates.least_one()) {
            if value == 0 {
                return Err(ConfigError::Value { key, reason: "must not be 0".to_owned() });
            }
        }
        if let Some(store) = self.store.as_ref().filter(|store| store.bucket_and_prefix().is_none()) {
            let reason = format!("{} is not s3://bucket or s3://bucket/prefix", store.url);
            return Err(ConfigError::Value { key: "store.url", reason });
        }
        if self.tokens.file.is_none() && (self.tokens.require_for_append || self.tokens.withhold_statements) {
            let reason = "needed where appending or statements need a token".to_owned();
            return Err(ConfigError::Value { key: "tokens.file", reason });
        }
        self.witnesses.as_ref().map_or(Ok(()), |witnesses| self.check_witnesses(witnesses))
    }

    fn check_witnesses(&self, witnesses: &WitnessesConfig) -> Result<(), ConfigError> {
        for (key, value) in
            [("witnesses.period_ms", witnesses.period_ms), ("witnesses.timeout_ms", witnesses.timeout_ms)]
        {
            if value == 0 {
                return Err(ConfigError::Value { key, reason: "must not be 0".to_owned() });
            }
        }
        if witnesses.clock_record_period_s > 0 && self.operator_key_file.is_none() {
            let reason =
                "needed to sign clock records; or set witnesses.clock_record_period_s to 0".to_owned();
            return Err(ConfigError::Value { key: "operator_key_file", reason });
        }
        self.witness_policy()?;
        Ok(())
    }
}

fn vkey(key: &'static str, text: &str, algorithm: Algorithm) -> Result<VerifierKey, ConfigError> {
    let parsed: VerifierKey =
        text.parse().map_err(|error| ConfigError::Value { key, reason: format!("{error}") })?;
    if parsed.algorithm() != algorithm {
        return Err(ConfigError::Value { key, reason: "a key of the wrong algorithm".to_owned() });
    }
    Ok(parsed)
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{}: {source}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{key}: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";

    fn minimal() -> String {
        let clock = counterfoil_merkle::key::NoteSigner::from_seed(
            counterfoil_merkle::key::KeyName::new("log.example/receipts/clock").unwrap(),
            Algorithm::CosignatureV1,
            &[3; 32],
        );
        format!(
            "log_key = \"{LOG}\"\nclock_key = \"{}\"\nlog_key_file = \"l\"\nclock_key_file = \"/c\"\n\
             data = \"data\"\nguard = \"../guard\"\n[admission]\nmode = \"open\"\n",
            clock.unwrap().public()
        )
    }

    fn read(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counterfoil.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    /// What is printed as effective is itself a configuration, and says the same.
    #[test]
    fn effective_values_read_back() {
        let config = read(&minimal()).unwrap();
        assert!(config.data.is_absolute() && config.clock_key_file == Path::new("/c"));
        assert_eq!(read(&config.to_toml()).unwrap().to_toml(), config.to_toml());
        let tables = "[rates]\nper_address = 5\n[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\n[tokens]\nfile = \"t\"\nwithhold_statements = true\n";
        let config =
            read(&("proxies = [\"10.0.0.0/8\", \"::1\"]\n".to_owned() + &minimal() + tables)).unwrap();
        assert_eq!(
            (config.proxies.len(), config.rates.per_address, config.rates.address_burst),
            (2, 5, 1000)
        );
        let tls = config.tls.as_ref().unwrap();
        assert!(tls.certificate.is_absolute() && tls.key == Path::new("/k.pem"));
        assert!(config.tokens.file.as_ref().unwrap().is_absolute() && !config.tokens.require_for_append);
        assert_eq!(read(&config.to_toml()).unwrap().to_toml(), config.to_toml());
    }

    /// A policy is read with the configuration, and is no place for mistakes either.
    #[test]
    fn witnesses_need_a_policy_and_an_operator() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counterfoil.toml");
        let with = |policy: &str, lines: &str, table: &str| {
            fs::write(directory.path().join("policy.txt"), policy).unwrap();
            let text = minimal().replacen("[admission]", &format!("{lines}[admission]"), 1);
            fs::write(&path, format!("{text}[witnesses]\npolicy = \"policy.txt\"\n{table}")).unwrap();
            Config::read(&path)
        };
        let (good, operator) = (format!("log {LOG}\nquorum none\n"), "operator_key_file = \"o.pem\"\n");
        let config = with(&good, operator, "[witnesses.monitoring]\nw1 = \"https://w1.example\"\n").unwrap();
        let witnesses = config.witnesses.as_ref().unwrap();
        assert!(witnesses.policy.is_absolute() && config.operator_key_file.as_ref().unwrap().is_absolute());
        assert_eq!((witnesses.period_ms, witnesses.append_wait_s), (1000, 10));
        assert!(config.witness_policy().unwrap().is_some());
        fs::write(&path, config.to_toml()).unwrap();
        assert_eq!(Config::read(&path).unwrap().to_toml(), config.to_toml());
        assert!(with(&good, "", "clock_record_period_s = 0\n").is_ok());
        for (policy, lines, table, message) in [
            ("quorum", operator, "", "witnesses.policy: "),
            (&*good, "", "", "operator_key_file: needed to sign clock records"),
            (&*good, operator, "period_ms = 0\n", "witnesses.period_ms: must not be 0"),
            (&*good, operator, "period = 1\n", "unknown field"),
        ] {
            let error = with(policy, lines, table).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        with(&good, operator, "").unwrap();
        fs::remove_file(directory.path().join("policy.txt")).unwrap();
        let gone = Config::read(&path).unwrap_err();
        assert!(matches!(gone, ConfigError::Read { path, .. } if path.ends_with("policy.txt")));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            (minimal() + "mod = 1\n", "unknown field"),
            (minimal() + "[limits]\nqueue_max = 0\n", "limits.queue_max: must not be 0"),
            (
                minimal() + "[limits]\nbytes_per_second_min = 0\n",
                "limits.bytes_per_second_min: must not be 0",
            ),
            (minimal() + "[rates]\nissuer_burst = 0\n", "rates.issuer_burst: must not be 0"),
            (format!("proxies = [\"10.0.0.1/8\"]\n{}", minimal()), "the first of the range"),
            (minimal().replace("mode = \"open\"", ""), "admission.registrars: needed"),
            (minimal() + "[store]\nurl = \"s3:///prefix\"\n", "store.url: s3:///prefix is not"),
            (minimal() + "[tls]\nkey = \"k\"\n", "missing field `certificate`"),
            (minimal() + "[tokens]\nrequire_for_append = true\n", "tokens.file: needed"),
            (minimal() + "[tokens]\nwithhold_statements = true\n", "tokens.file: needed"),
            (minimal() + "registrars = [\"x\"]\n", "admission.registrars: x: a key is"),
            (minimal().replace("7155889b", "7155889c"), "log_key: the key's id"),
            (minimal().replace("/clock+", "/o-clock+"), "clock_key: "),
            (minimal().replacen(LOG, "", 1), "log_key: "),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}

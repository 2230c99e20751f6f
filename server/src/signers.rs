//! The private keys of a log, opened wherever its configuration says they are.

use std::{path::Path, sync::Arc};

use counterfoil_merkle::key::{self as note, Algorithm, KeyName};
use counterfoil_receipt::key as record;

use crate::{
    config::{Config, ConfigError},
    keyfile::{self, KeyFileError},
    pkcs11::{IN_TOKEN, Token, TokenError},
};

/// What signs in a log's name.
pub struct Signers {
    /// Signs tree heads.
    pub log: Box<dyn note::Signer>,
    /// Attests their time.
    pub clock: Box<dyn note::Signer>,
    /// Signs the rules, clock records, refusals, and erasures that nobody else ordered. None if the configuration names none.
    pub operator: Option<Arc<dyn record::Signer>>,
}

impl Signers {
    /// Reads key files, and logs in to the token if the configuration has one.
    pub fn open(config: &Config) -> Result<Self, SignersError> {
        let token = config.pkcs11.as_ref().map(Token::open).transpose()?;
        let token = token.as_ref();
        let (log, clock) = (config.log_vkey()?, config.clock_vkey()?);
        Ok(Self {
            log: note_signer(&config.log_key_file, log.name(), log.algorithm(), token)?,
            clock: note_signer(&config.clock_key_file, clock.name(), clock.algorithm(), token)?,
            operator: config.operator_key_file.as_deref().map(|place| operator(place, token)).transpose()?,
        })
    }
}

/// The label of a key in a token, if that is its place.
pub fn label(place: &Path) -> Option<&str> {
    place.to_str()?.strip_prefix(IN_TOKEN)
}

fn note_signer(
    place: &Path,
    name: &KeyName,
    algorithm: Algorithm,
    token: Option<&Arc<Token>>,
) -> Result<Box<dyn note::Signer>, SignersError> {
    Ok(match label(place) {
        None => Box::new(keyfile::read_signer(place)?),
        Some(label) => {
            let token = token.ok_or_else(|| SignersError::NoTable { label: label.to_owned() })?;
            Box::new(token.note_signer(label, name.clone(), algorithm)?)
        }
    })
}

fn operator(place: &Path, token: Option<&Arc<Token>>) -> Result<Arc<dyn record::Signer>, SignersError> {
    Ok(match label(place) {
        None => Arc::new(keyfile::read_operator(place)?),
        Some(label) => {
            let token = token.ok_or_else(|| SignersError::NoTable { label: label.to_owned() })?;
            Arc::new(token.record_signer(label)?)
        }
    })
}

/// Why a private key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignersError {
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key in the token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The configuration names a key in a token, and no token.
    #[error("{IN_TOKEN}{label}: without the table [pkcs11] there is no token")]
    NoTable {
        /// Which key.
        label: String,
    },
    /// A public key of the configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

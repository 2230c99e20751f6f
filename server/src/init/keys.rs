//! The keys that a new log gets.

use std::path::{Path, PathBuf};

use counterfoil_merkle::key::{self as note, Algorithm, KeyError, KeyName, NoteSigner};
use counterfoil_receipt::{SigningKey, key as record, statement::Origin};
use zeroize::Zeroizing;

use super::{InitError, random};
use crate::{
    config::Pkcs11Config,
    keyfile,
    pkcs11::{IN_TOKEN, Token},
};

/// The keys of a new log: of the log, its clock, and its operator.
pub(super) struct Keys {
    pub(super) log: Box<dyn note::Signer>,
    pub(super) clock: Box<dyn note::Signer>,
    pub(super) operator: Box<dyn record::Signer>,
    /// As the configuration names them, in this order.
    pub(super) places: [PathBuf; 3],
    /// The token that they are in.
    pub(super) pkcs11: Option<Pkcs11Config>,
}

impl Keys {
    /// Makes them in a token, or else in files of that directory.
    pub(super) fn make(
        origin: &Origin,
        directory: &Path,
        token: Option<&Pkcs11Config>,
    ) -> Result<Self, InitError> {
        token.map_or_else(|| Self::in_files(origin, directory), |token| Self::in_token(origin, token))
    }

    fn in_files(origin: &Origin, directory: &Path) -> Result<Self, InitError> {
        let [log, clock] = names(origin)?;
        let log = NoteSigner::from_seed(log, Algorithm::Ed25519, &seed())?;
        let clock = NoteSigner::from_seed(clock, Algorithm::CosignatureV1, &seed())?;
        let operator = SigningKey::from_ed25519_seed(&seed());
        keyfile::create(&directory.join("log.key"), &log.to_text())?;
        keyfile::create(&directory.join("clock.key"), &clock.to_text())?;
        keyfile::create(&directory.join("operator.pem"), operator.to_pkcs8_pem().trim_end())?;
        let places = ["keys/log.key", "keys/clock.key", "keys/operator.pem"].map(PathBuf::from);
        Ok(Self {
            log: Box::new(log),
            clock: Box::new(clock),
            operator: Box::new(operator),
            places,
            pkcs11: None,
        })
    }

    /// Labels: the origin, and `/clock` and `/operator` after it.
    fn in_token(origin: &Origin, given: &Pkcs11Config) -> Result<Self, InitError> {
        let here = Path::new("");
        let pin_file = keyfile::place(here, &given.pin_file).map_err(InitError::Credential)?;
        let token = Token::open(&Pkcs11Config { pin_file: pin_file.clone(), ..given.clone() })?;
        let labels = ["", "/clock", "/operator"].map(|suffix| format!("{origin}{suffix}"));
        labels.iter().try_for_each(|label| token.make_key(label))?;
        let [log, clock] = names(origin)?;
        let log = token.note_signer(&labels[0], log, Algorithm::Ed25519)?;
        let clock = token.note_signer(&labels[1], clock, Algorithm::CosignatureV1)?;
        let operator = token.record_signer(&labels[2])?;
        // A credential stays one; a file is named in full, for the configuration lies elsewhere.
        let pin_file = if pin_file == given.pin_file {
            given.pin_file.canonicalize().map_err(|source| InitError::Io { path: pin_file, source })?
        } else {
            given.pin_file.clone()
        };
        let places = labels.map(|label| PathBuf::from(format!("{IN_TOKEN}{label}")));
        let pkcs11 = Some(Pkcs11Config { pin_file, ..given.clone() });
        Ok(Self { log: Box::new(log), clock: Box::new(clock), operator: Box::new(operator), places, pkcs11 })
    }
}

fn names(origin: &Origin) -> Result<[KeyName; 2], KeyError> {
    Ok([KeyName::new(origin.as_str())?, KeyName::new(&format!("{origin}/clock"))?])
}

/// Random bytes for a key.
pub(super) fn seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed);
    seed
}

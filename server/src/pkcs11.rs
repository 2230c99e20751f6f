//! Private keys in a token (OASIS PKCS#11 3.0): a device, or a program such as SoftHSM, that signs with them and never lets them
//! out. A key is a pair of Ed25519 objects with one label.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use counterfoil_merkle::key::{self as note, SignerError, VerifierKey};
use counterfoil_receipt::{PublicKey, key as record};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use tracing::warn;

use crate::{
    config::Pkcs11Config,
    keyfile::{self, KeyFileError},
};

/// What the place of a key begins with that is in the token: its label follows.
pub const IN_TOKEN: &str = "pkcs11:";

/// The curve, as CKA_EC_PARAMS names it: a PrintableString (PKCS#11 3.0, 6.3.3).
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// A token that somebody has logged in to. Whenever it fails its module is started anew, once, before that is an error: some
/// modules look for devices only then. A process has one such token, since a module is started once for all.
pub struct Token {
    module: Pkcs11,
    config: Pkcs11Config,
    pin: AuthPin,
    open: Mutex<Option<Open>>,
}

/// A session, and the private keys that were found in it.
struct Open {
    session: Session,
    keys: HashMap<String, ObjectHandle>,
}

impl Token {
    /// Loads the module and logs in to the token.
    pub fn open(config: &Pkcs11Config) -> Result<Arc<Self>, TokenError> {
        let failed = |source| TokenError::Module { path: config.module.clone(), source };
        let module = Pkcs11::new(&config.module).map_err(failed)?;
        let pin = AuthPin::new(keyfile::read(&config.pin_file)?.trim_end_matches('\n').into());
        let token = Self { module, config: config.clone(), pin, open: Mutex::new(None) };
        token.with_session(|_| Ok(())).map_err(|error| token.failed(error))?;
        Ok(Arc::new(token))
    }

    /// The log's or its clock's key with this label, under its name in notes.
    pub fn note_signer(
        self: &Arc<Self>,
        label: &str,
        name: note::KeyName,
        algorithm: note::Algorithm,
    ) -> Result<NoteTokenKey, TokenError> {
        let form = |_| TokenError::Form { label: label.to_owned() };
        let public = VerifierKey::new(name, algorithm, &self.public(label)?).map_err(form)?;
        Ok(NoteTokenKey { token: Arc::clone(self), label: label.to_owned(), public })
    }

    /// The operator's key with this label.
    pub fn record_signer(self: &Arc<Self>, label: &str) -> Result<RecordTokenKey, TokenError> {
        let form = |_| TokenError::Form { label: label.to_owned() };
        let public = PublicKey::from_ed25519(&self.public(label)?).map_err(form)?;
        Ok(RecordTokenKey { token: Arc::clone(self), label: label.to_owned(), public })
    }

    /// Makes a key in the token, which will never let it out.
    pub fn make_key(&self, label: &str) -> Result<(), TokenError> {
        let shared =
            || vec![Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(label.into())];
        let mut public = shared();
        public.extend([Attribute::Private(false), Attribute::Verify(true)]);
        public.push(Attribute::EcParams(EDWARDS25519.to_vec()));
        let mut private = shared();
        private.extend([Attribute::Private(true), Attribute::Sensitive(true)]);
        private.extend([Attribute::Extractable(false), Attribute::Sign(true)]);
        let made = self.with_session(|open| {
            if !find(&open.session, ObjectClass::PRIVATE_KEY, label)?.is_empty() {
                return Ok(false);
            }
            let made = open.session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private);
            made.map(|_| true)
        });
        match made {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::KeyExists { label: label.to_owned() }),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The public half of a key. Its private half must be there too.
    fn public(&self, label: &str) -> Result<[u8; 32], TokenError> {
        let found = self.with_session(|open| {
            let private = find(&open.session, ObjectClass::PRIVATE_KEY, label)?;
            let public = find(&open.session, ObjectClass::PUBLIC_KEY, label)?;
            let (&[_], &[public]) = (&*private, &*public) else {
                return Ok(Err(TokenError::Pair {
                    label: label.to_owned(),
                    private: private.len(),
                    public: public.len(),
                }));
            };
            open.session.get_attributes(public, &[AttributeType::EcPoint]).map(Ok)
        });
        let attributes = found.map_err(|source| self.failed(source))??;
        let point = attributes.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point),
            _ => None,
        });
        // An OCTET STRING in DER, or, in older devices, the bytes alone.
        let raw = point.map(|point| point.strip_prefix(b"\x04\x20").unwrap_or(point));
        raw.and_then(|raw| raw.try_into().ok()).ok_or_else(|| TokenError::Form { label: label.to_owned() })
    }

    fn sign(&self, label: &str, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let signed = self.with_session(|open| {
            let key = match open.keys.get(label) {
                Some(&key) => key,
                None => {
                    let &[key] = &*find(&open.session, ObjectClass::PRIVATE_KEY, label)? else {
                        return Ok(None);
                    };
                    let _ = open.keys.insert(label.to_owned(), key);
                    key
                }
            };
            let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
            open.session.sign(&pure, key, message).map(Some)
        });
        let failed = |reason: String| SignerError { key: format!("{IN_TOKEN}{label}"), reason };
        let signature = signed.map_err(|error| failed(self.failed(error).to_string()))?;
        let signature = signature.ok_or_else(|| failed("the key is no longer in the token".into()))?;
        signature.try_into().map_err(|other: Vec<u8>| {
            failed(format!("the token gave {} bytes; an Ed25519 signature has 64", other.len()))
        })
    }

    fn with_session<T>(&self, mut work: impl FnMut(&mut Open) -> Result<T, Error>) -> Result<T, Failed> {
        let mut place = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut *place {
            match work(open) {
                Ok(done) => return Ok(done),
                Err(error) => {
                    warn!(token = self.config.token, %error, "the token failed: logging in to it again")
                }
            }
        }
        *place = None;
        self.start_module()?;
        let open = place.insert(self.log_in()?);
        let done = work(open);
        if done.is_err() {
            *place = None;
        }
        Ok(done?)
    }

    fn start_module(&self) -> Result<(), Error> {
        match self.module.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => warn!(token = self.config.token, %error, "the module was not stopped in order"),
        }
        self.module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
    }

    fn log_in(&self) -> Result<Open, Failed> {
        let session = self.module.open_rw_session(self.slot()?.ok_or(Failed::NoToken)?)?;
        session.login(UserType::User, Some(&self.pin))?;
        Ok(Open { session, keys: HashMap::new() })
    }

    fn slot(&self) -> Result<Option<Slot>, Error> {
        for slot in self.module.get_slots_with_initialized_token()? {
            if self.module.get_token_info(slot)?.label() == self.config.token {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    fn failed(&self, failed: Failed) -> TokenError {
        let label = self.config.token.clone();
        match failed {
            Failed::NoToken => TokenError::NoToken { label },
            Failed::Device(source) => TokenError::Device { label, source },
        }
    }
}

/// All objects of a class with a label.
fn find(session: &Session, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, Error> {
    let template =
        [Attribute::Class(class), Attribute::KeyType(KeyType::EC_EDWARDS), Attribute::Label(label.into())];
    session.find_objects(&template)
}

/// The log's or its clock's key in a token.
pub struct NoteTokenKey {
    token: Arc<Token>,
    label: String,
    public: VerifierKey,
}

impl note::Signer for NoteTokenKey {
    fn public(&self) -> &VerifierKey {
        &self.public
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.token.sign(&self.label, message)
    }
}

/// The operator's key in a token.
pub struct RecordTokenKey {
    token: Arc<Token>,
    label: String,
    public: PublicKey,
}

impl record::Signer for RecordTokenKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let signature = self.token.sign(&self.label, message)?;
        // Unlike notes, records are not checked again by whoever has them signed.
        self.public.verify(message, &signature).map_err(|error| SignerError {
            key: format!("{IN_TOKEN}{}", self.label),
            reason: format!("what the token gave is no signature: {error}"),
        })?;
        Ok(signature.to_vec())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.config.token)
    }
}

/// Why nothing was done in a session.
enum Failed {
    NoToken,
    Device(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

/// Why a key in a token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The module is none.
    #[error("pkcs11.module: {}: {source}", path.display())]
    Module {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The file with the PIN cannot be used.
    #[error("pkcs11.pin_file: {0}")]
    Pin(#[from] KeyFileError),
    /// No token has that label.
    #[error("pkcs11.token: the module has no token labelled {label:?}")]
    NoToken {
        /// Which label.
        label: String,
    },
    /// The token failed, or refused the PIN.
    #[error("token {label:?}: {source}")]
    Device {
        /// Which token.
        label: String,
        /// Why.
        source: Error,
    },
    /// There is not just one key pair with that label.
    #[error(
        "the token has {private} private and {public} public Ed25519 keys labelled {label:?}; one of each is due"
    )]
    Pair {
        /// Which label.
        label: String,
        /// How many private keys.
        private: usize,
        /// How many public keys.
        public: usize,
    },
    /// A key to be made is there already.
    #[error("the token has a key labelled {label:?} already")]
    KeyExists {
        /// Which label.
        label: String,
    },
    /// The public key is no Ed25519 key that signatures are checked against.
    #[error("the public key labelled {label:?} in the token is no usable Ed25519 key")]
    Form {
        /// Which label.
        label: String,
    },
}

//! Making a log: keys, configuration, policy, the first record and the guard. Its own command, never a side effect of
//! starting one.

mod keys;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier,
    key::{KeyError, VerifierKey},
    policy,
};
use counterfoil_receipt::{
    PublicKey, SigningKey, Timestamp, key as record,
    statement::{Origin, Rules, SignError},
};

use self::keys::{Keys, seed};
use crate::{
    commit::NO_DIGEST,
    config::{
        AdmissionConfig, AdmissionMode, Config, ConfigError, DEFAULT_PORT, Limits, Pkcs11Config, RatesConfig,
        ScrubConfig, SearchConfig, StoreConfig, TokensConfig,
    },
    guard::{Guard, GuardError, Mark},
    keyfile::{self, KeyFileError},
    objects::{Created, Objects, StoreError, commit_name},
    pkcs11::TokenError,
    rules,
    sequencer::Sequencer,
};

/// Name of the configuration file that `init` writes.
pub const CONFIG_FILE: &str = "counterfoil.toml";
const POLICY_FILE: &str = "policy.txt";
/// What a new log is to be.
#[derive(Clone, Debug)]
pub struct NewLog {
    /// Its name for ever, such as `log.example/2026`.
    pub origin: String,
    /// The directory for configuration, keys and data; it must not exist, or be empty.
    pub directory: PathBuf,
    /// Where the guard goes.
    pub guard: PathBuf,
    /// Who may append.
    pub mode: AdmissionMode,
    /// Who registers others. With none, a log with registered keys gets a registrar's key of its own.
    pub registrars: Vec<PublicKey>,
    /// Where the log itself goes, if not into a data directory.
    pub store: Option<StoreConfig>,
    /// The token in which its keys are made, if not in files.
    pub pkcs11: Option<Pkcs11Config>,
    /// Where it will listen.
    pub listen: Option<std::net::SocketAddr>,
}

/// A log that was made.
#[derive(Clone, Debug)]
pub struct MadeLog {
    /// The configuration file.
    pub config: PathBuf,
    /// The policy file, and its text.
    pub policy: (PathBuf, String),
    /// The log's public key.
    pub log_key: VerifierKey,
    /// The clock's public key.
    pub clock_key: VerifierKey,
    /// The registrar's key file, if one was made.
    pub registrar: Option<PathBuf>,
}

/// Makes a log. What it makes is synced before it returns.
pub fn init(new: &NewLog, now: Timestamp) -> Result<MadeLog, InitError> {
    let origin: Origin = new.origin.parse().map_err(|_| InitError::Origin)?;
    let io = |source| InitError::Io { path: new.directory.clone(), source };
    fs::create_dir_all(&new.directory).map_err(io)?;
    if fs::read_dir(&new.directory).map_err(io)?.next().is_some() {
        return Err(InitError::NotEmpty { path: new.directory.clone() });
    }
    if new.guard.exists() {
        return Err(InitError::GuardExists { path: new.guard.clone() });
    }
    make_guard_folder(&new.guard)?;
    let needs_registrar = new.mode == AdmissionMode::Registered && new.registrars.is_empty();
    let keys = new.directory.join("keys");
    if new.pkcs11.is_none() || needs_registrar {
        fs::create_dir(&keys).map_err(io)?;
    }
    let Keys { log, clock, operator, places: [log_key_file, clock_key_file, operator_key_file], pkcs11 } =
        Keys::make(&origin, &keys, new.pkcs11.as_ref())?;

    let mut registrars = new.registrars.clone();
    let registrar = needs_registrar.then(|| keys.join("registrar.pem"));
    if let Some(path) = &registrar {
        let key = SigningKey::from_ed25519_seed(&seed());
        keyfile::create(path, key.to_pkcs8_pem().trim_end())?;
        registrars.push(key.public().clone());
    }
    let admission =
        AdmissionConfig { mode: new.mode, registrars: registrars.iter().map(ToString::to_string).collect() };

    let objects = match &new.store {
        Some(store) => empty_store(store)?,
        None => Objects::init(&new.directory.join("data"))?,
    };
    let head = log_rules(&objects, &origin, &admission, &*operator, now)?;
    Guard::create(&new.guard, Mark { origin: origin.to_string(), commit: 1, head, time: now })?;
    let policy = policy::log_alone(log.public(), clock.public());
    write(&new.directory.join(POLICY_FILE), &policy)?;
    let config = Config {
        path: PathBuf::new(),
        log_key: log.public().to_string(),
        clock_key: clock.public().to_string(),
        log_key_file,
        clock_key_file,
        operator_key_file: Some(operator_key_file),
        data: "data".into(),
        index: "index".into(),
        search: SearchConfig::default(),
        scrub: ScrubConfig::default(),
        guard: relative_guard(new).map_err(io)?,
        listen: new.listen.unwrap_or_else(|| ([127, 0, 0, 1], DEFAULT_PORT).into()),
        admission,
        limits: Limits::default(),
        rates: RatesConfig::default(),
        admin: None,
        proxies: Vec::new(),
        tls: None,
        pkcs11,
        tokens: TokensConfig::default(),
        store: new.store.clone(),
        witnesses: None,
    };
    let config_file = new.directory.join(CONFIG_FILE);
    write(&config_file, &config.to_toml())?;
    File::open(&new.directory).and_then(|directory| directory.sync_all()).map_err(io)?;
    Ok(MadeLog {
        config: config_file,
        policy: (new.directory.join(POLICY_FILE), policy),
        log_key: log.public().clone(),
        clock_key: clock.public().clone(),
        registrar,
    })
}

/// Makes the folder that the guard goes into, if it is not there, and syncs it with those above.
fn make_guard_folder(guard: &Path) -> Result<(), InitError> {
    let Some(folder) = guard.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    let io = |source| InitError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    for directory in folder.canonicalize().map_err(io)?.ancestors() {
        // Those above may belong to others and be unreadable; what matters is the new names.
        if let Ok(directory) = File::open(directory) {
            directory.sync_all().map_err(io)?;
        }
    }
    Ok(())
}

/// A guard inside the directory is named relative to it, so that the whole can be moved; any other in full.
fn relative_guard(new: &NewLog) -> io::Result<PathBuf> {
    match new.guard.strip_prefix(&new.directory) {
        Ok(inside) => Ok(inside.to_owned()),
        Err(_) => new.guard.canonicalize(),
    }
}

/// A store without a log in it.
fn empty_store(store: &StoreConfig) -> Result<Objects, InitError> {
    let objects = Objects::remote(store)?;
    if objects.commit_numbers()?.is_empty() {
        Ok(objects)
    } else {
        Err(StoreError::HasLog { url: store.url.clone() }.into())
    }
}

/// Commits the first record: the rules, signed by the operator.
fn log_rules(
    objects: &Objects,
    origin: &Origin,
    admission: &AdmissionConfig,
    operator: &dyn record::Signer,
    now: Timestamp,
) -> Result<counterfoil_merkle::TreeHead, InitError> {
    let (mode, registrars) = rules::wanted(admission)?;
    let rules = Rules { mode, registrars, operator: operator.public().clone() };
    let admitted = rules::sign(origin, rules, operator)?.into();
    let mut nonce = [0; 16];
    random(&mut nonce);
    let sequencer = Sequencer::new(Frontier::new(), 0, NO_DIGEST, now);
    let sealed = sequencer.seal(now, nonce, vec![admitted]).expect("an empty log has room");
    match objects.create(&commit_name(sealed.header.number), sealed.record)? {
        Created::Made => Ok(sealed.header.new),
        Created::Found => Err(StoreError::Differs { name: commit_name(sealed.header.number) }.into()),
    }
}

/// Fills with random bytes.
fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random bytes");
}

fn write(path: &Path, text: &str) -> Result<(), InitError> {
    let io = |source| InitError::Io { path: path.to_owned(), source };
    fs::write(path, text).and_then(|()| File::open(path)).and_then(|file| file.sync_all()).map_err(io)
}

/// Why a log was not made. What was made before the error must be removed by hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Not the form of an origin.
    #[error(
        "--origin: 1 to 249 bytes such as log.example/2026, without white space, plus sign, quote or backslash"
    )]
    Origin,
    /// Something is there already.
    #[error("{} is not empty: a log is made in a directory of its own", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// A guard is there already.
    #[error("the guard {} exists: it belongs to another log", path.display())]
    GuardExists {
        /// Which.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key's name is too long.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key file was not written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key was not made in the token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The PIN is to be a credential, and is none.
    #[error("--pkcs11-pin-file: {0}")]
    Credential(String),
    /// The rules record was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The data directory was not made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard was not made.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The configuration is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

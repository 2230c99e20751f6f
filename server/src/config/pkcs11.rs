use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

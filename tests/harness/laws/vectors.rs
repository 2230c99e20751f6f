//! Keys and texts of `tests/vectors`, for laws that need somebody who signs.

use std::sync::OnceLock;

use counterfoil_merkle::{Hash, key::VerifierKey};
use counterfoil_receipt::SigningKey;
use serde_json::Value;

/// The log that the vectors are of.
pub(super) const LOG: &str = "log.example/2026";

/// The file.
pub(super) fn all() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| {
        serde_json::from_str(include_str!("../../vectors/vectors.json")).expect("the vectors are JSON")
    })
}

/// A text of the file.
pub(super) fn text(name: &str) -> &'static str {
    all()[name].as_str().expect("a text of the vectors")
}

/// The key that issues their records.
pub(super) fn issuer() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_ed25519_seed(Hash::of(&[b"counterfoil test key issuer"]).as_bytes()))
}

/// The log's key.
pub(super) fn log() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    KEY.get_or_init(|| text("log_vkey").parse().expect("a key"))
}

/// The key of the log's clock.
pub(super) fn clock() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    KEY.get_or_init(|| text("clock_vkey").parse().expect("a key"))
}

//! Issuers' keys that were read before: unpacking a point of the curve for every receipt of one issuer is waste. Those that many
//! receipts came from are prepared, too, which makes checking a signature cheaper.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use counterfoil_receipt::{PublicKey, key::Algorithm};

/// As many keys are remembered; then all are forgotten at once.
const KEYS_MAX: usize = 4096;

/// A key is prepared when it was asked for as often: what that costs is a small part of what these checks have cost.
const PREPARED_AFTER: u32 = 256;

/// As many keys are prepared, 220 KB each; then, too, all are forgotten at once.
const PREPARED_MAX: usize = 128;

/// Keys by their text. A key is remembered once a signature of its holder was admitted.
#[derive(Default)]
pub struct Keys(RwLock<Known>);

#[derive(Default)]
struct Known {
    keys: HashMap<String, Remembered>,
    prepared: usize,
}

struct Remembered {
    key: PublicKey,
    asked_for: AtomicU32,
}

impl Keys {
    /// The key with this text, if it is remembered.
    pub fn find(&self, text: &str) -> Option<PublicKey> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Remembered { key, asked_for } = known.keys.get(text)?;
        let key = key.clone();
        // One caller counts to there. (What is prepared stays as it is when the count wraps.)
        let is_due = asked_for.fetch_add(1, Relaxed) == PREPARED_AFTER;
        drop(known);
        Some(if is_due && key.algorithm() == Algorithm::Ed25519 { self.prepare(&key) } else { key })
    }

    /// Remembers a key.
    pub fn remember(&self, key: PublicKey) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.keys.len() >= KEYS_MAX && !known.keys.contains_key(key.as_str()) {
            *known = Known::default();
        }
        let remembered = Remembered { key: key.clone(), asked_for: AtomicU32::default() };
        known.keys.entry(key.as_str().to_owned()).or_insert(remembered);
    }

    /// Prepares a key, and remembers it so.
    fn prepare(&self, key: &PublicKey) -> PublicKey {
        let prepared = key.prepared();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.prepared >= PREPARED_MAX {
            *known = Known::default();
        }
        known.prepared += 1;
        let remembered = Remembered { key: prepared.clone(), asked_for: AtomicU32::new(PREPARED_AFTER + 1) };
        known.keys.insert(key.as_str().to_owned(), remembered);
        prepared
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::SigningKey;

    use super::*;

    fn key(n: usize) -> SigningKey {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        SigningKey::from_ed25519_seed(&seed)
    }

    /// What is found is the key with exactly that text, and there is a limit to what is kept.
    #[test]
    fn keys_are_found_by_their_text_and_bounded() {
        let keys = Keys::default();
        let key = |n: usize| key(n).public().clone();
        for n in 0..KEYS_MAX {
            keys.remember(key(n));
            keys.remember(key(0));
        }
        assert_eq!(keys.find(key(17).as_str()), Some(key(17)));
        assert_eq!(keys.find(&key(17).as_str()[1..]), None);
        keys.remember(key(KEYS_MAX));
        assert_eq!(
            (keys.find(key(17).as_str()), keys.find(key(KEYS_MAX).as_str())),
            (None, Some(key(KEYS_MAX)))
        );
    }

    /// Keys that are asked for often are prepared, and go on saying the same; there is a limit to that, too.
    #[test]
    fn keys_in_use_are_prepared() {
        let keys = Keys::default();
        let prepared = |keys: &Keys| keys.0.read().unwrap().prepared;
        let signature = key(0).sign(b"m");
        keys.remember(key(0).public().clone());
        for asked in 0..3 * PREPARED_AFTER {
            // Remembering it again is no beginning.
            keys.remember(key(0).public().clone());
            let found = keys.find(key(0).public().as_str()).unwrap();
            assert_eq!(prepared(&keys), usize::from(asked >= PREPARED_AFTER));
            if asked % 64 == 0 {
                assert!(found.verify(b"m", &signature).is_ok() && found.verify(b"n", &signature).is_err());
            }
        }
        for n in 1..PREPARED_MAX + 3 {
            let key = key(n).public().clone();
            keys.remember(key.clone());
            for _ in 0..=PREPARED_AFTER {
                assert_eq!(keys.find(key.as_str()), Some(key.clone()));
            }
            assert_eq!(prepared(&keys), n % PREPARED_MAX + 1);
        }
        assert_eq!(keys.find(key(0).public().as_str()), None);
    }
}

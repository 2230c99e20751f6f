//! Issuers' keys that were read before: unpacking a point of the curve for every receipt of one issuer is waste.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use counterfoil_receipt::PublicKey;

/// As many keys are remembered; then all are forgotten at once.
const KEYS_MAX: usize = 4096;

/// Keys by their text. A key is remembered once a signature of its holder was admitted.
#[derive(Default)]
pub struct Keys {
    known: RwLock<HashMap<String, PublicKey>>,
}

impl Keys {
    /// The key with this text, if it is remembered.
    pub fn find(&self, text: &str) -> Option<PublicKey> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    /// Remembers a key.
    pub fn remember(&self, key: PublicKey) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_MAX && !known.contains_key(key.as_str()) {
            known.clear();
        }
        known.insert(key.as_str().to_owned(), key);
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::SigningKey;

    use super::*;

    /// What is found is the key with exactly that text, and there is a limit to what is kept.
    #[test]
    fn keys_are_found_by_their_text_and_bounded() {
        let keys = Keys::default();
        let key = |n: usize| {
            let mut seed = [1; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            SigningKey::from_ed25519_seed(&seed).public().clone()
        };
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
}

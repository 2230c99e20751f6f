//! How terms stand in the index: as keyed digests.
//!
//! Eight bytes of HMAC-SHA256 under a random key of this index, so that nothing that a statement says is in any file of the index,
//! and a copy of the files without their key does not even confirm a guess. When a statement is erased its digests go too. Two
//! terms with one digest only make a candidate that is not confirmed.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::terms::Term;

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;

/// As many digests of common terms of one field are remembered.
const REMEMBERED_MAX: usize = 1024;

/// The digest of a term. Its first two bits say where the term is from, so that a run is sorted by that too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; Self::BYTES]);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_be_bytes(self.0));
    }
}

impl Digest {
    /// Bytes of a digest.
    pub const BYTES: usize = 8;

    /// The first digest of a term from a statement: all below are from entries.
    pub const OF_STATEMENTS: Self = Self([0x80, 0, 0, 0, 0, 0, 0, 0]);

    /// The first digest of an issuer's summary: all below are of terms.
    pub const OF_SUMMARIES: Self = Self([0xc0, 0, 0, 0, 0, 0, 0, 0]);
}

/// A table by digests. They are random already, and nobody outside can choose them: they are not hashed again.
pub type ByDigest<T> = HashMap<Digest, T, BuildHasherDefault<AsItIs>>;

/// The hash of a digest: its first eight bytes, which are all.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest is one word");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The key of an index.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    terms: Hmac<Sha256>,
}

impl Key {
    /// Wraps 32 random bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let mut terms = Hmac::new_from_slice(&bytes).expect("a key of any length will do");
        terms.update(b"term");
        Self { bytes: Zeroizing::new(bytes), terms }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// An authentication code for something else than terms: 32 bytes.
    pub fn code(&self, purpose: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.bytes.as_slice()).expect("a key of any length will do");
        mac.update(purpose);
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    /// The digest of a term.
    pub fn digest(&self, term: &Term<'_>) -> Digest {
        let class = if term.field.is_of_statement() { 0b10 } else { 0b00 };
        self.classed(term.field.name(), &term.value, class)
    }

    /// The digest under which what an issuer did is summed up.
    pub fn summary(&self, issuer: &str) -> Digest {
        self.classed("summary", issuer, 0b11)
    }

    fn classed(&self, name: &str, value: &str, class: u8) -> Digest {
        let mut mac = self.terms.clone();
        mac.update(&[u8::try_from(name.len()).expect("names are short")]);
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
        let full = mac.finalize().into_bytes();
        let mut digest: [u8; Digest::BYTES] = *full.first_chunk().expect("32 bytes");
        digest[0] = digest[0] & 0x3f | class << 6;
        Digest(digest)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Digests of common terms, remembered for whoever makes many.
#[derive(Debug, Default)]
pub struct Remembered {
    digests: HashMap<&'static str, HashMap<String, Digest>>,
}

impl Remembered {
    /// As [`Key::digest`].
    pub fn digest(&mut self, key: &Key, term: &Term<'_>) -> Digest {
        if !term.field.is_common() {
            return key.digest(term);
        }
        self.recall(term.field.name(), &term.value, || key.digest(term))
    }

    /// As [`Key::summary`].
    pub fn summary(&mut self, key: &Key, issuer: &str) -> Digest {
        self.recall("summary", issuer, || key.summary(issuer))
    }

    fn recall(&mut self, name: &'static str, value: &str, make: impl FnOnce() -> Digest) -> Digest {
        let known = self.digests.entry(name).or_default();
        if let Some(digest) = known.get(value) {
            return *digest;
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        *known.entry(value.to_owned()).or_insert_with(make)
    }
}

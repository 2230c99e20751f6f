//! SHA-256 as a tree of hashes uses it: leaf and node hashing (RFC 6962, section 2.1).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: of a leaf, of a node, of anything.
///
/// Prints as 64 lower-case hex digits; [`Hash::to_base64`] gives the form that notes and proofs use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Self::BYTES]);

impl Hash {
    /// Length of a digest in bytes.
    pub const BYTES: usize = 32;

    /// The root of the empty tree: SHA-256 of nothing.
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Wraps 32 bytes that are a digest already.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// SHA-256 of the concatenated parts.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The hash of a leaf: SHA-256(0x00 || data).
    pub fn leaf(data: &[u8]) -> Self {
        Self::of(&[&[0x00], data])
    }

    /// The hash of an inner node: SHA-256(0x01 || left || right).
    pub fn node(left: Self, right: Self) -> Self {
        let mut block = [0x01; 1 + 2 * Self::BYTES];
        block[1..=Self::BYTES].copy_from_slice(&left.0);
        block[1 + Self::BYTES..].copy_from_slice(&right.0);
        Self(Sha256::digest(block).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Standard base64 with padding: 44 characters.
    pub fn to_base64(self) -> String {
        BASE64.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] prints, and nothing else (no missing padding, no stray bits).
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        let bytes = BASE64.decode(text).map_err(|_| HashError::Base64)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashError;

    fn try_from(bytes: &[u8]) -> Result<Self, HashError> {
        bytes.try_into().map(Self).map_err(|_| HashError::Length { got: bytes.len() })
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * Self::BYTES];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0x0f)];
        }
        f.write_str(str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads 64 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::BYTES {
            return Err(HashError::Hex);
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, HashError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(HashError::Hex),
    }
}

/// Why some text or bytes are not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// Not 32 bytes.
    #[error("a digest has 32 bytes, not {got}")]
    Length {
        /// How many there were.
        got: usize,
    },
    /// Not 64 lower-case hex digits.
    #[error("a digest is 64 lower-case hex digits")]
    Hex,
    /// Not canonical standard base64.
    #[error("a digest is standard base64 with padding")]
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_root_is_sha256_of_nothing() {
        assert_eq!(Hash::of(&[]), Hash::EMPTY_ROOT);
        assert_eq!(Hash::EMPTY_ROOT.to_base64(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    /// What parses prints back identically, in both text forms; nothing else parses.
    #[test]
    fn text_forms_are_canonical() {
        let hash = Hash::leaf(b"receipt-0");
        assert_eq!(hash.to_string(), "30ffcce68ded5ce2353dcb4cac3e9b97e8bfac59c144302ea341014fd0560f06");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));

        let upper = hash.to_string().to_uppercase();
        for text in ["", "00", upper.as_str(), "zz".repeat(32).as_str()] {
            assert_eq!(text.parse::<Hash>(), Err(HashError::Hex), "{text:?}");
        }
        let stray_bits = hash.to_base64().replace("Bg8G=", "Bg8H=");
        for text in ["", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "AAAA", stray_bits.as_str(), " "] {
            assert!(text == hash.to_base64() || Hash::from_base64(text).is_err(), "{text:?}");
        }
    }
}

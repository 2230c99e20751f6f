//! Names and keys of those who sign notes (C2SP signed-note and tlog-cosignature).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::{ed25519, hash::Hash};

/// The name of a key: not empty, no white space, no `+`, no control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The longest name: what a subtree cosignature can carry, its length being one byte.
    pub const BYTES_MAX: usize = 255;

    /// A name, if it has the form of one.
    pub fn new(name: &str) -> Result<Self, KeyError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.len() > Self::BYTES_MAX || name.contains(forbidden) {
            return Err(KeyError::Name);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The four bytes by which a signature line names its key, together with the key's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Wraps the four bytes.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// First four bytes of SHA-256(name || LF || algorithm || key), as signed-note recommends.
    fn of(name: &KeyName, algorithm: Algorithm, key: &[u8]) -> Self {
        let digest = Hash::of(&[name.0.as_bytes(), b"\n", &[algorithm.byte()], key]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a key signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the note's text. What a log signs with.
    Ed25519,
    /// 0x04: Ed25519 over a timestamp and the note's text. What a witness, and a log's clock, signs with.
    CosignatureV1,
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            _ => Err(KeyError::Algorithm { byte }),
        }
    }
}

/// A public key with its name: `name+id+base64(algorithm || key)`, a *vkey*.
///
/// Verification is strict: no weak keys, no malleable signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    /// A key from its parts.
    pub fn new(name: KeyName, algorithm: Algorithm, key: &[u8; 32]) -> Result<Self, KeyError> {
        let id = KeyId::of(&name, algorithm, key);
        let key = VerifyingKey::from_bytes(key).map_err(|_| KeyError::Key)?;
        if key.is_weak() {
            return Err(KeyError::Key);
        }
        Ok(Self { name, id, algorithm, key })
    }

    /// The key's name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What the key signs.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32 bytes of the public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether the signature is this key's over exactly this message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| ed25519::verify_strict(&self.key, message, &signature))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.algorithm.byte()];
        material.extend_from_slice(self.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, BASE64.encode(material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    /// Reads a vkey; its id must be the one that name and key give.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, algorithm, key) = split_key(text)?;
        let key = Self::new(name, algorithm, &key)?;
        key.check_id(id)?;
        Ok(key)
    }
}

impl VerifierKey {
    fn check_id(&self, stated: &str) -> Result<(), KeyError> {
        let computed = self.id.to_string();
        if computed == stated { Ok(()) } else { Err(KeyError::Id { stated: stated.to_owned(), computed }) }
    }
}

/// Splits `name+id+base64(algorithm || 32 bytes)` at the first two `+`, for base64 may have more.
fn split_key(text: &str) -> Result<(KeyName, &str, Algorithm, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let name = KeyName::new(name)?;
    let material = Zeroizing::new(BASE64.decode(material).map_err(|_| KeyError::Form)?);
    let (&algorithm, key) = material.split_first().ok_or(KeyError::Form)?;
    let algorithm = Algorithm::from_byte(algorithm)?;
    let key = key.try_into().map_err(|_| KeyError::Key)?;
    Ok((name, id, algorithm, key))
}

/// Signs notes with one private key, wherever that key is: in memory, as [`NoteSigner`], or in a device that never lets it out.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public(&self) -> &VerifierKey;

    /// The Ed25519 signature over a message.
    ///
    /// # Errors
    /// [`SignerError`] if whatever has the key does not sign; the same may succeed later.
    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}

/// Why whatever has a private key did not sign with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} did not sign: {reason}")]
pub struct SignerError {
    /// Which key.
    pub key: String,
    /// What was said of it.
    pub reason: String,
}

/// A private key with its name: `PRIVATE+KEY+name+id+base64(algorithm || seed)`, an *skey*. Wiped when dropped.
pub struct NoteSigner {
    public: VerifierKey,
    key: SigningKey,
}

impl NoteSigner {
    /// The signer with this seed of 32 random bytes.
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, algorithm, key.verifying_key().as_bytes())?;
        Ok(Self { public, key })
    }

    /// The public half.
    pub const fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The text form, as `golang.org/x/mod/sumdb/note` has it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut material = Zeroizing::new(vec![self.public.algorithm.byte()]);
        material.extend_from_slice(self.key.as_bytes());
        let material = Zeroizing::new(BASE64.encode(&*material));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{}+{}", self.public.name, self.public.id, *material))
    }
}

/// Why a [`NoteSigner`] always signs.
pub(crate) const IN_MEMORY: &str = "a key in memory signs";

impl Signer for NoteSigner {
    fn public(&self) -> &VerifierKey {
        &self.public
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(ed25519_dalek::Signer::sign(&self.key, message).to_bytes())
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.public.name)
    }
}

impl FromStr for NoteSigner {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Form)?;
        let (name, id, algorithm, seed) = split_key(text)?;
        let seed = Zeroizing::new(seed);
        let signer = Self::from_seed(name, algorithm, &seed)?;
        signer.public.check_id(id)?;
        Ok(signer)
    }
}

/// Why text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the three parts.
    #[error("a key is written name+id+base64")]
    Form,
    /// Not a key name.
    #[error("a key's name has 1 to 255 bytes, no white space, no control character and no +")]
    Name,
    /// Not a usable Ed25519 key.
    #[error("not an Ed25519 public key of 32 bytes, or a weak one")]
    Key,
    /// A signature algorithm that is not supported here.
    #[error("key algorithm {byte:#04x} is not supported; 0x01 and 0x04 are")]
    Algorithm {
        /// The algorithm byte.
        byte: u8,
    },
    /// The id is not the one that name and key give.
    #[error("the key's id is {computed}, not {stated}")]
    Id {
        /// What the text says.
        stated: String,
        /// What name and key give.
        computed: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";

    /// What parses prints back identically, private keys too, and the parts must fit one another.
    #[test]
    fn keys_have_one_text_form() {
        let key: VerifierKey = LOG.parse().unwrap();
        assert_eq!(key.to_string(), LOG);
        let name = KeyName::new("log.example/receipts").unwrap();
        let signer = NoteSigner::from_seed(name, Algorithm::Ed25519, &[0x11; 32]).unwrap();
        assert_eq!(signer.public(), &key);
        let again: NoteSigner = signer.to_text().parse().unwrap();
        assert_eq!(again.to_text(), signer.to_text());

        let wrong_id = LOG.replace("7155889b", "7155889c");
        assert!(matches!(wrong_id.parse::<VerifierKey>(), Err(KeyError::Id { .. })));
        let other_name = LOG.replace("receipts", "receipt");
        assert!(matches!(other_name.parse::<VerifierKey>(), Err(KeyError::Id { .. })));
        for text in ["", "a", "a+b", "+7155889b+AdBK", "a b+7155889b+AdBK", &LOG[..LOG.len() - 1], "a+0+"] {
            assert!(text.parse::<VerifierKey>().is_err(), "{text:?}");
        }
        assert_eq!("a+00000000+Ag==".parse::<VerifierKey>(), Err(KeyError::Algorithm { byte: 2 }));
    }

    /// A key of small order would verify signatures that nobody made.
    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let name = KeyName::new("weak").unwrap();
        assert_eq!(VerifierKey::new(name, Algorithm::Ed25519, &identity), Err(KeyError::Key));
    }
}

//! Issuers' keys: Ed25519, and ECDSA P-256 with SHA-256 for keys that live in a KMS.
//!
//! A public key is written as the base64 of its SPKI DER, and that text is its key id: every record verifies by itself.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::{
    ed25519::{self, PreparedKey},
    key::SignerError,
};
use ed25519_dalek::{
    Signer as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use zeroize::Zeroizing;

/// What precedes the 32 bytes of an Ed25519 key in its SPKI DER (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What precedes the 65 bytes of an uncompressed P-256 point in its SPKI DER (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Most bytes that a key's text can have.
const TEXT_BYTES_MAX: usize = 124;

/// Most bytes that a signature can have: a P-256 one in DER.
pub const SIGNATURE_BYTES_MAX: usize = 72;

/// A public key that signatures can be checked against. Cheap to clone; equal when the text is equal.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    text: String,
    point: Point,
}

enum Point {
    Ed25519(ed25519_dalek::VerifyingKey),
    Prepared(PreparedKey),
    P256(p256::ecdsa::VerifyingKey),
}

/// The algorithm that a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), verified strictly.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, signatures in DER.
    P256,
}

impl PublicKey {
    /// The base64 of the key's SPKI DER: how it is written everywhere, and its key id.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.point {
            Point::Ed25519(_) | Point::Prepared(_) => Algorithm::Ed25519,
            Point::P256(_) => Algorithm::P256,
        }
    }

    /// Checks a signature over `message`: 64 bytes for Ed25519, canonical DER for P-256.
    ///
    /// Ed25519 is checked without cofactor and refuses points of small order (RFC 8032, 5.1.7, and more strictly), so that
    /// every verifier agrees. A P-256 signature may have either `s`: a KMS does not choose.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        match &self.0.point {
            Point::Ed25519(key) => {
                holds(ed25519::verify_strict(key, message, &ed25519_signature(signature)?))
            }
            Point::Prepared(key) => holds(key.verify_strict(message, &ed25519_signature(signature)?)),
            Point::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                let parsed =
                    p256::ecdsa::Signature::from_der(signature).map_err(|_| KeyError::SignatureForm)?;
                if parsed.to_der().as_bytes() != signature {
                    return Err(KeyError::SignatureForm);
                }
                key.verify(message, &parsed).map_err(|_| KeyError::Signature)
            }
        }
    }

    /// The same key, which now takes two thirds of the time to check a signature: worth its 220 KB and 0.5 ms for a key of which
    /// many are to come. A P-256 key stays as it is.
    #[must_use]
    pub fn prepared(&self) -> Self {
        match &self.0.point {
            Point::Ed25519(key) => Self::new(Point::Prepared(PreparedKey::new(*key))),
            Point::Prepared(_) | Point::P256(_) => self.clone(),
        }
    }

    /// The key of the 32 bytes of an Ed25519 point. Refused is what [`PublicKey::from_str`] refuses.
    pub fn from_ed25519(raw: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519_point(raw).map(Self::new)
    }

    fn new(point: Point) -> Self {
        let der = match &point {
            Point::Ed25519(key) => [&ED25519_PREFIX[..], key.as_bytes()].concat(),
            Point::Prepared(key) => [&ED25519_PREFIX[..], key.key().as_bytes()].concat(),
            Point::P256(key) => [&P256_PREFIX[..], key.to_sec1_point(false).as_bytes()].concat(),
        };
        Self(Arc::new(Inner { text: BASE64.encode(der), point }))
    }
}

fn ed25519_signature(bytes: &[u8]) -> Result<ed25519_dalek::Signature, KeyError> {
    ed25519_dalek::Signature::from_slice(bytes).map_err(|_| KeyError::SignatureForm)
}

fn holds(verifies: bool) -> Result<(), KeyError> {
    if verifies { Ok(()) } else { Err(KeyError::Signature) }
}

fn ed25519_point(raw: &[u8; 32]) -> Result<Point, KeyError> {
    if !is_reduced(raw) {
        return Err(KeyError::Point);
    }
    let key = ed25519_dalek::VerifyingKey::from_bytes(raw).map_err(|_| KeyError::Point)?;
    if key.is_weak() { Err(KeyError::Weak) } else { Ok(Point::Ed25519(key)) }
}

/// Whether the y coordinate of an Ed25519 point is below 2^255 - 19. One that is not is a second way to write a point.
/// (The other second way, a sign on x = 0, is open to two points only, both of small order.)
fn is_reduced(raw: &[u8; 32]) -> bool {
    let all_ones = raw[1..31].iter().all(|&byte| byte == 0xff) && raw[31] & 0x7f == 0x7f;
    !all_ones || raw[0] < 0xed
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads what [`PublicKey::as_str`] prints, and nothing else.
    ///
    /// Refused: points that are not on the curve, Ed25519 points of small order or written in a second way, P-256 points in
    /// compressed form, any other base64 or DER of the same key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(KeyError::Form);
        }
        let der = BASE64.decode(text).map_err(|_| KeyError::Form)?;
        let point = if let Some(raw) = der.strip_prefix(&ED25519_PREFIX) {
            ed25519_point(raw.try_into().map_err(|_| KeyError::Form)?)?
        } else if let Some(raw) = der.strip_prefix(&P256_PREFIX) {
            if raw.len() != 65 || raw[0] != 0x04 {
                return Err(KeyError::Form);
            }
            Point::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(raw).map_err(|_| KeyError::Point)?)
        } else {
            return Err(KeyError::Form);
        };
        Ok(Self(Arc::new(Inner { text: text.to_owned(), point })))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.text.cmp(&other.0.text)
    }
}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = self.0.text.len().saturating_sub(12);
        write!(f, "PublicKey({:?} …{})", self.algorithm(), &self.0.text[tail..])
    }
}

/// A private key. Wiped from memory when dropped; never printed by `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    secret: Secret,
    public: PublicKey,
}

#[derive(Clone)]
enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// The Ed25519 key of a seed (RFC 8032, 5.1.5).
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        Self::ed25519(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The P-256 key of a big-endian scalar; zero and what exceeds the order are refused.
    pub fn from_p256_scalar(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        p256::ecdsa::SigningKey::from_slice(scalar).map(Self::p256).map_err(|_| KeyError::Scalar)
    }

    /// Reads an unencrypted private key from PKCS#8 PEM.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::ed25519(key));
        }
        p256::ecdsa::SigningKey::from_pkcs8_pem(pem).map(Self::p256).map_err(|_| KeyError::Pem)
    }

    /// Prints the key as PKCS#8 PEM, which OpenSSL reads.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        let printed = match &self.secret {
            Secret::Ed25519(key) => {
                // Without the public half, which makes it version 2: OpenSSL before 3 refuses that.
                let bytes =
                    ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None };
                bytes.to_pkcs8_pem(LineEnding::LF)
            }
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        printed.expect("a key of fixed size has a PKCS#8 form")
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`, in the form that [`PublicKey::verify`] takes. The same message gives the same signature (RFC 6979).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::Ed25519(key) => key.sign(message).to_vec(),
            Secret::P256(key) => {
                use p256::ecdsa::signature::Signer as _;
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    fn ed25519(key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::new(Point::Ed25519(key.verifying_key()));
        Self { secret: Secret::Ed25519(key), public }
    }

    fn p256(key: p256::ecdsa::SigningKey) -> Self {
        let public = PublicKey::new(Point::P256(*key.verifying_key()));
        Self { secret: Secret::P256(key), public }
    }
}

/// Signs records with one private key, wherever that key is: in memory, as [`SigningKey`], or in a device that never lets it out.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public(&self) -> &PublicKey;

    /// A signature over a message, in the form that [`PublicKey::verify`] takes.
    ///
    /// # Errors
    /// [`SignerError`] if whatever has the key does not sign; the same may succeed later.
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError>;
}

impl Signer for SigningKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.sign(message))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {:?})", self.public)
    }
}

/// Why a key or a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not the canonical base64 of an Ed25519 or P-256 SPKI.
    #[error("a key is the base64 of an Ed25519 or uncompressed P-256 SPKI in DER")]
    Form,
    /// The bytes name no point of the curve, or name it in a second way.
    #[error("the key is no point of its curve in canonical form")]
    Point,
    /// An Ed25519 key of small order: it accepts signatures that nobody made.
    #[error("the Ed25519 key is of small order")]
    Weak,
    /// The bytes are no P-256 private key.
    #[error("the scalar is no P-256 private key")]
    Scalar,
    /// The text is no PKCS#8 PEM of a private key we know.
    #[error("not the PKCS#8 PEM of an unencrypted Ed25519 or P-256 private key")]
    Pem,
    /// The signature has not the form its algorithm gives it.
    #[error("an Ed25519 signature has 64 bytes, a P-256 signature is canonical DER")]
    SignatureForm,
    /// The key did not sign this message.
    #[error("the signature does not verify under the key")]
    Signature,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> [SigningKey; 2] {
        [SigningKey::from_ed25519_seed(&[7; 32]), SigningKey::from_p256_scalar(&[7; 32]).unwrap()]
    }

    fn spki(prefix: &[u8], point: &[u8]) -> String {
        BASE64.encode([prefix, point].concat())
    }

    #[test]
    fn text_is_canonical() {
        for key in keys() {
            let text = key.public().as_str();
            assert_eq!(text.parse::<PublicKey>().unwrap().as_str(), text);
            assert!(
                text.trim_end_matches('=').parse::<PublicKey>() == Err(KeyError::Form)
                    || !text.ends_with('=')
            );
            for other in
                [format!("{text} "), format!(" {text}"), text.replacen('M', "N", 1), text.to_lowercase()]
            {
                assert_eq!(other.parse::<PublicKey>(), Err(KeyError::Form), "{other}");
            }
        }
    }

    #[test]
    fn keys_that_are_weak_or_ambiguous_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(spki(&ED25519_PREFIX, &identity).parse::<PublicKey>(), Err(KeyError::Weak));
        assert_eq!(spki(&ED25519_PREFIX, &[0; 32]).parse::<PublicKey>(), Err(KeyError::Weak));

        // y = p + 3 names the same point as y = 3.
        let mut second_way = [0xff; 32];
        (second_way[0], second_way[31]) = (0xf0, 0x7f);
        let mut first_way = [0; 32];
        first_way[0] = 3;
        assert!(spki(&ED25519_PREFIX, &first_way).parse::<PublicKey>().is_ok());
        assert_eq!(spki(&ED25519_PREFIX, &second_way).parse::<PublicKey>(), Err(KeyError::Point));

        let [_, p256] = keys();
        let der = BASE64.decode(p256.public().as_str()).unwrap();
        let mut off_curve = der.clone();
        off_curve[90] ^= 1;
        assert_eq!(BASE64.encode(off_curve).parse::<PublicKey>(), Err(KeyError::Point));
        let mut hybrid = der.clone();
        hybrid[26] = 6;
        assert_eq!(BASE64.encode(hybrid).parse::<PublicKey>(), Err(KeyError::Form));
        let compressed = [&der[..26], &[2], &der[27..59]].concat();
        assert_eq!(BASE64.encode(compressed).parse::<PublicKey>(), Err(KeyError::Form));
    }

    #[test]
    fn private_keys_survive_pem() {
        for key in keys() {
            let pem = key.to_pkcs8_pem();
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
            let read = SigningKey::from_pkcs8_pem(&pem).unwrap();
            assert_eq!(read.public(), key.public());
            assert_eq!(read.sign(b"m"), key.sign(b"m"));
        }
        assert_eq!(SigningKey::from_pkcs8_pem("nonsense").err(), Some(KeyError::Pem));
        assert_eq!(SigningKey::from_p256_scalar(&[0; 32]).err(), Some(KeyError::Scalar));
        assert_eq!(SigningKey::from_p256_scalar(&[0xff; 32]).err(), Some(KeyError::Scalar));
    }

    /// Two keys as OpenSSL 3 printed them (`openssl genpkey`, `openssl pkey -pubout`), made for this test.
    #[test]
    fn reads_what_openssl_writes() {
        let ed25519 = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEILFuwqLvybgbkIURCs5dwW98WrgnX9/4KHsltI6uFpLC\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pkcs8_pem(ed25519).unwrap();
        assert_eq!(key.public().as_str(), "MCowBQYDK2VwAyEANB+QrOVswSq2hFCP3MeUuMN44+AoCaP43MJ9uVFQUP8=");
        assert_eq!(key.to_pkcs8_pem().as_str(), ed25519);

        let p256 = "-----BEGIN PRIVATE KEY-----\n\
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGXmlpZqEnMKBJna0\n\
            xiqOmAaKilHFccI0snALi1KWKSWhRANCAARxE04slt5+C23wVYbYo5O11H768Bup\n\
            3DNtsuHDJmk7XejIfp7kMAMI5JfrgtGLYeens/qkRFoCGpT4WSVQIyCz\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pkcs8_pem(p256).unwrap();
        assert_eq!(
            key.public().as_str(),
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcRNOLJbefgtt8FWG2KOTtdR++vAb\
             qdwzbbLhwyZpO13oyH6e5DADCOSX64LRi2Hnp7P6pERaAhqU+FklUCMgsw=="
        );
        assert_eq!(key.to_pkcs8_pem().as_str(), p256);
    }

    #[test]
    fn debug_keeps_secrets() {
        for key in keys() {
            let shown = format!("{key:?}");
            assert!(shown.starts_with("SigningKey(of PublicKey("), "{shown}");
            assert!(shown.len() < 60, "{shown}");
        }
    }

    /// RFC 6979, A.2.5: the signature of "sample" with P-256 and SHA-256.
    #[test]
    fn p256_signs_deterministically() {
        let scalar = counterfoil_merkle::Hash::from_str(
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        );
        let key = SigningKey::from_p256_scalar(scalar.unwrap().as_bytes()).unwrap();
        let der: String = key.sign(b"sample").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            der,
            "3046\
             022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        );
    }

    #[test]
    fn der_has_one_form() {
        let [_, key] = keys();
        let der = key.sign(b"m");
        assert_eq!(key.public().verify(b"m", &der), Ok(()));
        let padded = [&[0x30, der[1] + 1, 0x02, der[3] + 1, 0x00], &der[4..]].concat();
        let long = [&[0x30, 0x81], &der[1..]].concat();
        let trailing = [&der[..], &[0]].concat();
        for other in [padded, long, trailing, Vec::new()] {
            assert_eq!(key.public().verify(b"m", &other), Err(KeyError::SignatureForm), "{other:02x?}");
        }
    }

    proptest! {
        /// What one key signed, it verifies, prepared or not; one changed bit of message or signature, or another key, does not.
        #[test]
        fn signatures_bind(message in proptest::collection::vec(any::<u8>(), 1..64), flip in any::<prop::sample::Index>()) {
            let [a, b] = keys();
            for (key, other) in [(&a, &b), (&b, &a)] {
                let signature = key.sign(&message);
                prop_assert!(signature.len() <= SIGNATURE_BYTES_MAX);
                let prepared = key.public().prepared();
                prop_assert_eq!(&prepared, key.public());
                prop_assert_eq!(prepared.algorithm(), key.public().algorithm());
                prop_assert!(other.public().verify(&message, &signature).is_err());
                prop_assert!(other.public().prepared().verify(&message, &signature).is_err());

                let (mut message_changed, mut signature_changed) = (message.clone(), signature.clone());
                for bytes in [&mut message_changed, &mut signature_changed] {
                    let bit = flip.index(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                for public in [key.public(), &prepared] {
                    prop_assert_eq!(public.verify(&message, &signature), Ok(()));
                    prop_assert_eq!(public.verify(&message_changed, &signature), Err(KeyError::Signature));
                    prop_assert!(public.verify(&message, &signature_changed).is_err());
                    prop_assert!(public.verify(&message, &signature[1..]).is_err());
                }
            }
        }
    }
}

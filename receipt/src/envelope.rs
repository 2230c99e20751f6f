//! The signed form of a statement: DSSE with exactly one signature, by the key that its key id is.
//!
//! Specified by DSSE 1.0 (`protocol.md`, `envelope.md`) and narrowed: one payload type, one signature, standard base64.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::{Hash, key::SignerError};

use crate::{
    json::{
        JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
    key::{KeyError, PublicKey, SIGNATURE_BYTES_MAX, Signer},
};

/// The payload type of every envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Most bytes of a statement. With its entry it must fit bundles and commit records, whose lengths are u16.
pub const STATEMENT_BYTES_MAX: usize = 48_000;
const _: () = assert!(STATEMENT_BYTES_MAX <= u16::MAX as usize, "statement bundles carry a u16 length");

/// Most bytes of an envelope: the longest statement in base64 takes 64,000, the rest is ample for white space.
pub const ENVELOPE_BYTES_MAX: usize = 72 * 1024;

/// What precedes the length of a statement in its pre-authentication encoding.
const PAE_HEAD: &[u8] = b"DSSEv1 28 application/vnd.in-toto+json ";

/// The pre-authentication encoding of DSSE 1.0: what is signed.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + payload_type.len() + payload.len());
    out.extend_from_slice(
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).as_bytes(),
    );
    out.extend_from_slice(payload);
    out
}

/// The name of a record: SHA-256 of its pre-authentication encoding. Known before it is signed, the same whoever signs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Hash);

impl Id {
    /// The id of a statement.
    pub fn of_statement(statement: &[u8]) -> Self {
        Self(Hash::of(&[PAE_HEAD, statement.len().to_string().as_bytes(), b" ", statement]))
    }

    /// Wraps a digest that is an id already.
    pub const fn new(hash: Hash) -> Self {
        Self(hash)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Hash::BYTES] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.as_bytes();
        write!(f, "Id({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

impl FromStr for Id {
    type Err = counterfoil_merkle::hash::HashError;

    /// Reads 64 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A statement, a key and a signature as somebody sent them. [`Envelope::verify`] says whether they belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    statement: Vec<u8>,
    key: PublicKey,
    signature: Vec<u8>,
}

impl Envelope {
    /// Reads any JSON of an envelope: exactly the members that DSSE names, in any order, the base64 canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::parse_with(bytes, |_| None)
    }

    /// As [`Envelope::parse`], for whoever has read the same key before: unpacking a key costs some 6 us.
    ///
    /// `known` gives the key whose text it is asked for, or none.
    pub fn parse_with(
        bytes: &[u8],
        known: impl FnOnce(&str) -> Option<PublicKey>,
    ) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLong { got: bytes.len() });
        }
        let value = Value::parse(bytes)?;
        let root = Field::root(&value);
        let mut envelope = root.object()?;
        envelope.required("payloadType")?.exactly(PAYLOAD_TYPE)?;
        let statement = base64(&envelope.required("payload")?)?;
        let signatures = envelope.required("signatures")?;
        envelope.finish()?;

        let mut list = signatures.items(1)?;
        let item = list.next().ok_or_else(|| signatures.error(Reason::Empty))?;
        let mut signature = item.object()?;
        let key = signature.required("keyid")?;
        let key = match known(key.string()?) {
            Some(key) => key,
            None => key.parse()?,
        };
        let bytes = base64(&signature.required("sig")?)?;
        signature.finish()?;
        Self::new(statement, key, bytes)
    }

    /// Puts an envelope together, for instance from an entry and a statement that were kept apart.
    pub fn new(statement: Vec<u8>, key: PublicKey, signature: Vec<u8>) -> Result<Self, EnvelopeError> {
        if statement.len() > STATEMENT_BYTES_MAX {
            return Err(EnvelopeError::StatementTooLong { got: statement.len() });
        }
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(EnvelopeError::Signature(KeyError::SignatureForm));
        }
        Ok(Self { statement, key, signature })
    }

    /// Prints it as compact JSON, members in the order of their names.
    pub fn to_json(&self) -> String {
        write::object(|envelope| {
            envelope.string("payload", &BASE64.encode(&self.statement));
            envelope.string("payloadType", PAYLOAD_TYPE);
            write::array(envelope.member("signatures"), [()], |out, ()| {
                write::write_object(out, |signature| {
                    signature.string("keyid", self.key.as_str());
                    signature.string("sig", &BASE64.encode(&self.signature));
                });
            });
        })
    }

    /// Checks the signature; only then is the statement worth parsing.
    pub fn verify(self) -> Result<VerifiedEnvelope, EnvelopeError> {
        let pae = self.pae();
        self.key.verify(&pae, &self.signature).map_err(EnvelopeError::Signature)?;
        Ok(VerifiedEnvelope { id: Id::new(Hash::of(&[&pae])), envelope: self })
    }

    /// The statement, byte for byte as it was signed.
    pub fn statement_bytes(&self) -> &[u8] {
        &self.statement
    }

    /// The statement, taken out.
    pub fn into_statement(self) -> Vec<u8> {
        self.statement
    }

    /// The key that the envelope names.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The signature: 64 bytes for Ed25519, DER for P-256.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What the signature is over.
    pub fn pae(&self) -> Vec<u8> {
        pae(PAYLOAD_TYPE, &self.statement)
    }

    /// The id of the statement.
    pub fn id(&self) -> Id {
        Id::of_statement(&self.statement)
    }
}

/// An envelope whose signature verifies under the key it names. What that key is trusted for is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEnvelope {
    envelope: Envelope,
    id: Id,
}

impl VerifiedEnvelope {
    /// Signs a statement. Says nothing about what the statement says: see [`crate::statement::Statement::sign`].
    pub fn sign(statement: Vec<u8>, key: &dyn Signer) -> Result<Self, EnvelopeError> {
        let pae = pae(PAYLOAD_TYPE, &statement);
        let envelope = Envelope::new(statement, key.public().clone(), key.try_sign(&pae)?)?;
        Ok(Self { envelope, id: Id::new(Hash::of(&[&pae])) })
    }

    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The envelope, without the proof that it verified.
    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }

    /// The id of the statement.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The key that signed.
    pub fn key(&self) -> &PublicKey {
        &self.envelope.key
    }
}

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The envelope is too long to be one.
    #[error("an envelope has at most {ENVELOPE_BYTES_MAX} bytes, this has {got}")]
    TooLong {
        /// How many bytes it has.
        got: usize,
    },
    /// Whatever has the private key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Its statement is too long.
    #[error("a statement has at most {STATEMENT_BYTES_MAX} bytes, this has {got}")]
    StatementTooLong {
        /// How many bytes it has.
        got: usize,
    },
    /// It is no JSON that we read.
    #[error("envelope, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("envelope, {0}")]
    Field(#[from] FieldError),
    /// The signature does not verify.
    #[error("{0}")]
    Signature(KeyError),
}

fn base64(field: &Field<'_, '_>) -> Result<Vec<u8>, FieldError> {
    struct Bytes(Vec<u8>);
    impl FromStr for Bytes {
        type Err = &'static str;
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            BASE64.decode(text).map(Self).map_err(|_| "standard base64 with padding is due")
        }
    }
    field.parse::<Bytes>().map(|bytes| bytes.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    fn hello() -> Envelope {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        VerifiedEnvelope::sign(b"hello".to_vec(), &key).unwrap().into_envelope()
    }

    /// The test vector of DSSE's protocol.md: deterministic P-256, the signature there as r and s.
    #[test]
    fn dsse_protocol_vector() {
        let pae = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");

        // d = 97358161215184420915383655311931858321456579547487070936769975997791359926199, as hex.
        let d: Hash = "d73ec437fd6346e3619c5ebfdfff0f6916804955ad32ac9ac492b0ede1f6ffb7".parse().unwrap();
        let key = SigningKey::from_p256_scalar(d.as_bytes()).unwrap();
        let raw = BASE64
            .decode(
                "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==",
            )
            .unwrap();
        let signature = p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der();
        assert_eq!(key.public().verify(&pae, signature.as_bytes()), Ok(()));
        assert_eq!(key.sign(&pae), signature.as_bytes());
    }

    /// An id that is made without the encoding is the encoding's digest, however many digits its length has.
    #[test]
    fn ids_are_digests_of_the_encoding() {
        for length in [0, 9, 10, 999, 1000, STATEMENT_BYTES_MAX] {
            let statement = vec![b'x'; length];
            assert_eq!(Id::of_statement(&statement), Id::new(Hash::of(&[&pae(PAYLOAD_TYPE, &statement)])));
        }
    }

    #[test]
    fn prints_what_it_reads() {
        let envelope = hello();
        let json = envelope.to_json();
        assert_eq!(Envelope::parse(json.as_bytes()), Ok(envelope.clone()));
        let reordered = format!(
            " {{\"signatures\" : [{{\"sig\":\"{}\",\"keyid\":\"{}\"}}],\n\"payloadType\":\"application\\/vnd.in-toto+json\",\"payload\":\"aGVsbG8=\"}}\n",
            BASE64.encode(envelope.signature()),
            envelope.key(),
        );
        assert_eq!(Envelope::parse(reordered.as_bytes()), Ok(envelope.clone()));
        assert_eq!(envelope.id(), envelope.clone().verify().unwrap().id());
        assert_eq!(envelope.id().to_string().parse(), Ok(envelope.id()));
    }

    #[test]
    fn malformed_envelopes_say_where() {
        let good = hello().to_json();
        let signature = &good[good.find("[{").unwrap() + 1..good.len() - 2];
        let cases = [
            (
                good.replace("aGVsbG8=", "aGVsbG8"),
                "envelope, payload: \"aGVsbG8\" is refused: standard base64 with padding is due",
            ),
            (
                good.replace("aGVsbG8=", "aGVsbG9="),
                "envelope, payload: \"aGVsbG9=\" is refused: standard base64 with padding is due",
            ),
            (
                good.replace("in-toto", "other"),
                "envelope, payloadType: must be application/vnd.in-toto+json, is \"application/vnd.other+json\"",
            ),
            (good.replace(signature, ""), "envelope, signatures: must not be empty"),
            (
                good.replace(signature, &format!("{signature},{signature}")),
                "envelope, signatures: has 2 elements, at most 1 are allowed",
            ),
            (
                good.replace("\"keyid\"", "\"cert\":\"\",\"keyid\""),
                "envelope, signatures[0].cert: unknown member",
            ),
            (good.replace("{\"payload\"", "{\"x\":0,\"payload\""), "envelope, x: unknown member"),
            (
                good.replace("{\"payload\"", "{\"payload\":\"\",\"payload\""),
                "envelope, byte 14: member named twice",
            ),
            (" ".repeat(ENVELOPE_BYTES_MAX) + &good, "an envelope has at most 73728 bytes, this has "),
        ];
        for (text, message) in cases {
            let error = Envelope::parse(text.as_bytes()).expect_err(message).to_string();
            assert!(error.starts_with(message), "{error} / {message}");
        }
    }

    #[test]
    fn statements_have_a_limit() {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        let longest = VerifiedEnvelope::sign(vec![b' '; STATEMENT_BYTES_MAX], &key).unwrap().into_envelope();
        assert_eq!(Envelope::parse(longest.to_json().as_bytes()), Ok(longest));
        let error = VerifiedEnvelope::sign(vec![b' '; STATEMENT_BYTES_MAX + 1], &key);
        assert_eq!(error, Err(EnvelopeError::StatementTooLong { got: STATEMENT_BYTES_MAX + 1 }));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(statement in proptest::collection::vec(any::<u8>(), 0..200), p256 in any::<bool>()) {
            let ed25519 = SigningKey::from_ed25519_seed(&[1; 32]);
            let key = if p256 { SigningKey::from_p256_scalar(&[1; 32]).unwrap() } else { ed25519 };
            let signed = VerifiedEnvelope::sign(statement, &key).unwrap();
            let read = Envelope::parse(signed.envelope().to_json().as_bytes()).unwrap();
            prop_assert_eq!(read.verify(), Ok(signed));
        }

        /// One changed byte of an envelope is refused, or does not verify, or changed nothing that is said.
        #[test]
        fn one_changed_byte_changes_nothing_or_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let envelope = hello();
            let mut json = envelope.to_json().into_bytes();
            let at = at.index(json.len());
            json[at] = byte;
            if let Ok(read) = Envelope::parse(&json) && let Ok(verified) = read.verify() {
                prop_assert_eq!(verified.envelope(), &envelope);
            }
        }
    }
}

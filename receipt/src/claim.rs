//! Claim keys: the one-time key whose private half goes out with an answer. Whoever holds it may dispute the receipt.
//!
//! No opening is revealed by using it, it outlives erasure, and it can be passed on to the person the answer was about.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use crate::{
    bech32m,
    envelope::Id,
    json::{
        JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
    key::SigningKey,
    statement::Origin,
};

const FORMAT: &str = "counterfoil-claim/v1";

/// What stands before the separator of the printable form.
const PREFIX: &str = "cf";

/// How many bytes of the id the printable form carries: enough to look the receipt up.
pub const PRINTED_ID_BYTES: usize = 16;

/// The private half of a receipt's claim key. Wiped from memory when dropped; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimKey {
    seed: Zeroizing<[u8; 32]>,
}

impl ClaimKey {
    /// The key of an Ed25519 seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed) }
    }

    /// The key, to sign a dispute with.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_ed25519_seed(&self.seed)
    }
}

impl fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimKey(of {:?})", self.signing_key().public())
    }
}

/// A claim key and the receipt it belongs to: the file `<id>.claim.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The receipt.
    pub id: Id,
    /// The log that holds it.
    pub log: Origin,
    /// The key.
    pub key: ClaimKey,
}

impl Claim {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClaimError> {
        let value = Value::parse(bytes)?;
        let root = Field::root(&value);
        let mut members = root.object()?;
        members.required("format")?.exactly(FORMAT)?;
        let id = members.required("id")?.parse()?;
        let log = members.required("log")?.parse()?;
        let seed = members.required("seed")?;
        members.finish()?;
        let bytes = BASE64.decode(seed.string()?).map(Zeroizing::new);
        let Some(bytes) = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()) else {
            return Err(seed.error(Reason::Rule("must be the base64 of 32 bytes")).into());
        };
        Ok(Self { id, log, key: ClaimKey::new(bytes) })
    }

    /// Prints the file.
    pub fn to_json(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(BASE64.encode(*self.key.seed));
        Zeroizing::new(write::object(|members| {
            members.string("format", FORMAT);
            members.display("id", self.id);
            members.string("log", self.log.as_str());
            members.string("seed", &seed);
        }))
    }

    /// The form for paper and post: `cf1`, then Bech32m of the id's first 16 bytes and the seed. 86 characters.
    pub fn to_printable(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; PRINTED_ID_BYTES + 32]);
        bytes[..PRINTED_ID_BYTES].copy_from_slice(&self.id.as_bytes()[..PRINTED_ID_BYTES]);
        bytes[PRINTED_ID_BYTES..].copy_from_slice(&*self.key.seed);
        bech32m::encode(PREFIX, &*bytes)
    }
}

/// What the printable form says: enough of the id to look it up, and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintedClaim {
    /// The id's first 16 bytes; as 32 hex digits they find the receipt in its log.
    pub id_start: [u8; PRINTED_ID_BYTES],
    /// The key.
    pub key: ClaimKey,
}

impl PrintedClaim {
    /// Reads the printable form, in upper or lower case.
    pub fn parse(text: &str) -> Result<Self, ClaimError> {
        let bytes = bech32m::decode(PREFIX, text).ok_or(ClaimError::Printed)?;
        let (id, seed) = bytes.split_at_checked(PRINTED_ID_BYTES).ok_or(ClaimError::Printed)?;
        let id_start = id.try_into().map_err(|_| ClaimError::Printed)?;
        let seed = seed.try_into().map_err(|_| ClaimError::Printed)?;
        Ok(Self { id_start, key: ClaimKey::new(seed) })
    }

    /// Whether this can be the claim of that receipt.
    pub fn matches(&self, id: &Id) -> bool {
        id.as_bytes().starts_with(&self.id_start)
    }
}

/// Why a claim is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The file is no JSON that we read.
    #[error("claim, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("claim, {0}")]
    Field(#[from] FieldError),
    /// The printed form has a typing error, or is something else.
    #[error("a printed claim begins with cf1 and has 86 characters; this one has a typing error")]
    Printed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn claim() -> Claim {
        let id = vectors::records()[0].text("pae_sha256").parse().unwrap();
        Claim { id, log: "log.example/2026".parse().unwrap(), key: ClaimKey::new([5; 32]) }
    }

    #[test]
    fn both_forms_are_read_back() {
        let claim = claim();
        let json = claim.to_json();
        assert!(json.starts_with("{\"format\":\"counterfoil-claim/v1\",\"id\":\"6b263e5b"));
        assert_eq!(Claim::parse(json.as_bytes()), Ok(claim.clone()));

        let printed = claim.to_printable();
        assert_eq!((&printed[..3], printed.len()), ("cf1", 86));
        let read = PrintedClaim::parse(&printed).unwrap();
        assert_eq!(read.key, claim.key);
        assert!(read.matches(&claim.id));
        assert!(!read.matches(&Id::of_statement(b"")));
    }

    #[test]
    fn malformed_claims_are_refused() {
        let json = claim().to_json();
        for (old, new) in
            [("claim/v1", "claim/v2"), ("BQU=", "BQV="), ("\"log\"", "\"lag\""), ("6b263e", "6B263E")]
        {
            assert!(Claim::parse(json.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
        }
        let short = bech32m::encode("cf", &[0; 47]);
        let other = bech32m::encode("bc", &[0; 48]);
        for text in ["", "cf1", short.as_str(), other.as_str()] {
            assert_eq!(PrintedClaim::parse(text), Err(ClaimError::Printed), "{text}");
        }
    }

    #[test]
    fn debug_keeps_the_seed() {
        assert!(format!("{:?}", claim().key).starts_with("ClaimKey(of PublicKey(Ed25519"));
    }
}

//! Ed25519 signatures (RFC 8032), checked so strictly that every verifier agrees.

mod multiples;

use std::sync::LazyLock;

use curve25519_dalek::{EdwardsPoint, Scalar, constants::ED25519_BASEPOINT_POINT};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha512};

use multiples::Multiples;

/// The points of small order, as the only encoding that RFC 8032 (5.1.2) gives each of them. There are eight: the order of
/// Curve25519's torsion group.
const SMALL_ORDER: [[u8; 32]; 8] = [
    // Orders 1, 2, and 4 twice: y is 1, -1 and 0.
    point(0x01, [0; 30], 0x00),
    point(0xec, [0xff; 30], 0x7f),
    point(0x00, [0; 30], 0x00),
    point(0x00, [0; 30], 0x80),
    // Order 8: two values of y, each with both signs of x.
    point(0x26, ORDER_8, 0x05),
    point(0x26, ORDER_8, 0x85),
    point(0xc7, ORDER_8_NEGATED, 0x7a),
    point(0xc7, ORDER_8_NEGATED, 0xfa),
];

const ORDER_8: [u8; 30] = [
    0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
    0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc,
];

const ORDER_8_NEGATED: [u8; 30] = [
    0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
    0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03,
];

const fn point(first: u8, middle: [u8; 30], last: u8) -> [u8; 32] {
    let mut bytes = [first; 32];
    let mut at = 0;
    while at < middle.len() {
        bytes[at + 1] = middle[at];
        at += 1;
    }
    bytes[31] = last;
    bytes
}

/// Whether `signature` is `key`'s over `message`: without cofactor, `s` reduced, and neither the key nor `R` of small order.
///
/// Accepts exactly what [`VerifyingKey::verify_strict`] accepts, for a sixth less: `R` need not be unpacked to know its order. The
/// equation is checked by comparing `R` with the encoding of the point that it has to be, so an accepted `R` is in its only
/// encoding, and is of small order just if it is one of eight.
///
/// The key must not be weak ([`VerifyingKey::is_weak`]): who reads keys refuses those.
pub fn verify_strict(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    debug_assert!(!key.is_weak(), "weak keys are refused when they are read");
    !SMALL_ORDER.contains(signature.r_bytes()) && key.verify(message, signature).is_ok()
}

/// A key whose signatures are checked again and again: that takes two thirds of the time, for 220 KB of memory and the time of
/// some twenty checks once. (Measured against [`verify_strict`] with the curve on AVX2.)
pub struct PreparedKey {
    key: VerifyingKey,
    /// Of the key's point, negated.
    multiples: OfKey,
}

type OfKey = Multiples<6>;

/// The base point is in every equation: worth more memory than a key.
type OfBase = Multiples<8>;

static OF_BASE: LazyLock<OfBase> = LazyLock::new(|| Multiples::new(ED25519_BASEPOINT_POINT));

impl PreparedKey {
    /// Prepares a key, which must not be weak.
    pub fn new(key: VerifyingKey) -> Self {
        debug_assert!(!key.is_weak(), "weak keys are refused when they are read");
        Self { multiples: Multiples::new(-key.to_edwards()), key }
    }

    /// The key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Exactly the answer of [`verify_strict`], by the same equation: `R` is the encoding of `s` times the base point less `k` times
    /// the key, where `k` is the digest of `R`, key and message (RFC 8032, 5.1.7).
    pub fn verify_strict(&self, message: &[u8], signature: &Signature) -> bool {
        let s = Scalar::from_canonical_bytes(*signature.s_bytes()).into_option();
        let Some(s) = s.filter(|_| !SMALL_ORDER.contains(signature.r_bytes())) else { return false };
        let digest = Sha512::new().chain_update(signature.r_bytes()).chain_update(self.key.as_bytes());
        let k = Scalar::from_bytes_mod_order_wide(&digest.chain_update(message).finalize().into());
        let mut terms = Vec::with_capacity(OfKey::DIGITS + OfBase::DIGITS);
        self.multiples.terms(&k, &mut terms);
        OF_BASE.terms(&s, &mut terms);
        let expected: EdwardsPoint = terms.iter().sum();
        expected.compress().as_bytes() == signature.r_bytes()
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    use super::*;

    /// The list is that of all points of small order, as somebody else has computed them.
    #[test]
    fn the_points_of_small_order_are_all_listed() {
        let mut theirs = EIGHT_TORSION.map(|point| point.compress().to_bytes());
        let mut ours = SMALL_ORDER;
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
        for bytes in SMALL_ORDER {
            assert!(VerifyingKey::from_bytes(&bytes).unwrap().is_weak());
        }
    }

    fn key(point: EdwardsPoint) -> VerifyingKey {
        VerifyingKey::from_bytes(&point.compress().to_bytes()).unwrap()
    }

    fn challenge(r: EdwardsPoint, key: &VerifyingKey, message: &[u8]) -> Scalar {
        let digest = Sha512::new().chain_update(r.compress().as_bytes()).chain_update(key.as_bytes());
        Scalar::from_bytes_mod_order_wide(&digest.chain_update(message).finalize().into())
    }

    fn signature(r: EdwardsPoint, s: Scalar) -> Signature {
        Signature::from_components(r.compress().to_bytes(), s.to_bytes())
    }

    /// A key of mixed order can be made to have signatures whose `R` is of small order and which satisfy the equation: who only
    /// checks that takes them.
    #[test]
    fn an_r_of_small_order_is_refused() {
        let secret = Scalar::from(7_u64);
        for torsion in EIGHT_TORSION.into_iter().skip(1) {
            let key = key(BASE * secret + torsion);
            let mut tried = 0;
            for number in 0_u32..256 {
                let message = number.to_be_bytes();
                // s B = R + k A, where A = a B + T: s is k a, and R is -k T if that agrees with itself.
                for r in EIGHT_TORSION {
                    let k = challenge(r, &key, &message);
                    if torsion * k + r != EIGHT_TORSION[0] {
                        continue;
                    }
                    let signature = signature(r, k * secret);
                    tried += 1;
                    assert!(key.verify(&message, &signature).is_ok(), "the equation holds");
                    assert!(key.verify_strict(&message, &signature).is_err());
                    assert!(!verify_strict(&key, &message, &signature));
                    assert!(!PreparedKey::new(key).verify_strict(&message, &signature));
                }
            }
            assert!(tried > 50, "{tried}");
        }
    }

    /// `s` has one form: the same number and the order of the group more is refused.
    #[test]
    fn s_must_be_reduced() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let signer = SigningKey::from_bytes(&[3; 32]);
        let good = signer.sign(b"m");
        let prepared = PreparedKey::new(signer.verifying_key());
        assert!(verify_strict(prepared.key(), b"m", &good) && prepared.verify_strict(b"m", &good));
        let (mut s, mut carry) = (*good.s_bytes(), 0);
        for (byte, more) in s.iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        let second = Signature::from_components(*good.r_bytes(), s);
        assert!(!verify_strict(prepared.key(), b"m", &second) && !prepared.verify_strict(b"m", &second));
    }

    proptest! {
        /// Whatever key, message and signature, also where points have a part of small order: exactly the library's answer.
        #[test]
        fn accepts_what_the_library_accepts(
            (a, r, message) in (1_u64.., any::<u64>(), prop::collection::vec(any::<u8>(), 0..200)),
            (of_key, of_r) in (0_usize..8, 0_usize..8),
            change in prop::option::of((any::<prop::sample::Index>(), 0_u8..8)),
        ) {
            let (a, r) = (Scalar::from(a), Scalar::from(r));
            let key = key(BASE * a + EIGHT_TORSION[of_key]);
            let point = BASE * r + EIGHT_TORSION[of_r];
            let k = challenge(point, &key, &message);
            let mut signature = signature(point, r + k * a).to_bytes();
            if let Some((at, bit)) = change {
                signature[at.index(64)] ^= 1 << bit;
            }
            let signature = Signature::from_bytes(&signature);
            let theirs = key.verify_strict(&message, &signature).is_ok();
            prop_assert_eq!(verify_strict(&key, &message, &signature), theirs);
            prop_assert_eq!(PreparedKey::new(key).verify_strict(&message, &signature), theirs);
            let holds = EIGHT_TORSION[of_r] + EIGHT_TORSION[of_key] * k == EIGHT_TORSION[0];
            if change.is_none() {
                prop_assert_eq!(theirs, holds && !point.is_small_order());
            }
        }
    }
}

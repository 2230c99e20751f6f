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

    /// The vectors of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020; `cases.json` of novifinancial/ed25519-speccheck):
    /// message, key and signature. Keys or `R` of small order, equations that hold with the cofactor only, large `s`, `R` in a second
    /// encoding. The fourth is right without cofactor, too, though of mixed order.
    #[test]
    fn edge_cases_of_others() {
        const A: &str = "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43";
        const B: &str = "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d";
        const C: &str = "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623";
        const SMALL: &str = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa";
        const SECOND: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        #[rustfmt::skip]
        let cases = [
            ["8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6", SMALL,
             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "0000000000000000000000000000000000000000000000000000000000000000"],
            ["9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", SMALL,
             A, "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"],
            ["aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab", A,
             SMALL, "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e"],
            ["9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", B,
             "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f", "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009"],
            ["e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", B,
             "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512", "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"],
            ["e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", B,
             "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7", "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405"],
            ["85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", C,
             "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e", "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514"],
            ["85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", C,
             "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942", "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22"],
            ["fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a", A,
             SECOND, "454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607"],
            ["84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1", A,
             SECOND, "084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09"],
        ];
        let bytes = |hex: &str| *hex.parse::<crate::Hash>().unwrap().as_bytes();
        for (number, [message, key, r, s]) in cases.into_iter().enumerate() {
            let key = VerifyingKey::from_bytes(&bytes(key)).unwrap();
            let signature = Signature::from_components(bytes(r), bytes(s));
            assert_eq!(key.verify_strict(&bytes(message), &signature).is_ok(), number == 3);
            assert_eq!(key.is_weak(), number < 2);
            if number >= 2 {
                assert_eq!(verify_strict(&key, &bytes(message), &signature), number == 3);
                let prepared = PreparedKey::new(key);
                assert_eq!(prepared.verify_strict(&bytes(message), &signature), number == 3);
            }
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

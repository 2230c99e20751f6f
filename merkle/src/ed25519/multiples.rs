//! Multiples of a point that are computed once, so that multiplying it takes additions only.

use curve25519_dalek::{EdwardsPoint, Scalar, traits::Identity as _};

/// Scalars are reduced, so they are below 2^253: with the sign of a digit, 254 bits.
const SCALAR_BITS: usize = 254;

/// A point times 1 to 2^(`WIDTH` - 1), and those times 2^`WIDTH`, and so on: one row for each digit of a scalar.
///
/// `WIDTH` is at most 8; 220 KB for 6, 640 KB for 8. Not for secrets: the time that it takes depends on the scalar.
pub(super) struct Multiples<const WIDTH: usize>(Box<[EdwardsPoint]>);

impl<const WIDTH: usize> Multiples<WIDTH> {
    pub(super) const DIGITS: usize = SCALAR_BITS.div_ceil(WIDTH);
    /// The greatest digit, and the length of a row.
    const HALF: usize = 1 << (WIDTH - 1);

    /// Those of a point: some 0.4 ms for a width of 6, 1 ms for 8.
    pub(super) fn new(mut point: EdwardsPoint) -> Self {
        let mut rows = Vec::with_capacity(Self::DIGITS * Self::HALF);
        for _ in 0..Self::DIGITS {
            let mut multiple = EdwardsPoint::identity();
            for _ in 0..Self::HALF {
                multiple += point;
                rows.push(multiple);
            }
            // The next row's point: twice the last multiple of this one.
            point = multiple + multiple;
        }
        Self(rows.into())
    }

    /// Adds to `terms` multiples whose sum is `scalar` times the point; as an integer, so that is right for a point of any order.
    ///
    /// They are taken from memory all at once, before any addition: one by one, each would be waited for.
    pub(super) fn terms(&self, scalar: &Scalar, terms: &mut Vec<EdwardsPoint>) {
        let mut bytes = [0; 33];
        bytes[..32].copy_from_slice(scalar.as_bytes());
        let mut carry = 0;
        for (digit, row) in self.0.chunks_exact(Self::HALF).enumerate() {
            let (byte, bit) = (digit * WIDTH / 8, digit * WIDTH % 8);
            let bits = usize::from(u16::from_le_bytes([bytes[byte], bytes[byte + 1]]) >> bit);
            // From 0 to 2^WIDTH; what is more than half is taken from the next digit.
            let value = (bits & (2 * Self::HALF - 1)) + carry;
            carry = usize::from(value > Self::HALF);
            if carry == 1 {
                let less = 2 * Self::HALF - value;
                terms.extend((less > 0).then(|| -row[less - 1]));
            } else {
                terms.extend((value > 0).then(|| row[value - 1]));
            }
        }
        debug_assert_eq!(carry, 0, "a reduced scalar has no more digits");
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
    use proptest::prelude::*;

    use super::*;

    fn check<const WIDTH: usize>(point: EdwardsPoint, scalar: &Scalar) {
        let mut terms = Vec::new();
        Multiples::<WIDTH>::new(point).terms(scalar, &mut terms);
        assert!(terms.len() <= Multiples::<WIDTH>::DIGITS);
        let sum: EdwardsPoint = terms.iter().sum();
        assert_eq!(sum, point * scalar, "width {WIDTH}, {scalar:?}");
    }

    /// Digits at both ends of their range, carries that go through all of them, the least and the greatest scalar.
    #[test]
    fn scalars_at_the_edges() {
        let minus_one = -Scalar::ONE;
        let mut scalars = vec![Scalar::ZERO, Scalar::ONE, minus_one, minus_one - Scalar::ONE];
        for byte in [0x0f, 0x10, 0x11, 0x1f, 0x55, 0x7f, 0x80, 0x81, 0xaa, 0xff] {
            let mut bytes = [byte; 32];
            bytes[31] &= 0x0f;
            scalars.push(Scalar::from_canonical_bytes(bytes).unwrap());
        }
        for scalar in &scalars {
            for torsion in EIGHT_TORSION {
                check::<2>(BASE + torsion, scalar);
                check::<6>(BASE + torsion, scalar);
                check::<8>(torsion, scalar);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the scalar and the point: what the library says.
        #[test]
        fn multiplies_as_the_library_does(wide in any::<[u8; 32]>(), a in any::<u64>(), of in 0_usize..8) {
            let (scalar, point) = (Scalar::from_bytes_mod_order(wide), BASE * Scalar::from(a) + EIGHT_TORSION[of]);
            check::<1>(point, &scalar);
            check::<6>(point, &scalar);
            check::<7>(point, &scalar);
            check::<8>(point, &scalar);
        }
    }
}

//! Bech32m (BIP 350): bytes as text that a person can copy, with a checksum that catches what goes wrong then.
//!
//! Written out because it is short and what it guards is a secret: nothing here allocates copies that are not wiped.

use zeroize::Zeroizing;

/// Most characters of a Bech32m text.
const CHARS_MAX: usize = 90;

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_CHARS: usize = 6;
const CHECKSUM_XOR: u32 = 0x2bc8_30a3;

/// Prints `bytes` after the prefix `hrp` and the separator `1`, in lower case.
///
/// Panics if the text would be longer than Bech32m allows: what is printed has a fixed length.
pub(crate) fn encode(hrp: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(Vec::with_capacity(CHARS_MAX));
    let (mut held, mut bits) = (0_u32, 0);
    for &byte in bytes {
        held = (held << 8 | u32::from(byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            digits.push(five_bits(held >> bits));
        }
    }
    if bits > 0 {
        digits.push(five_bits(held << (5 - bits)));
    }
    let sum = polymod(hrp, &digits, &[0; CHECKSUM_CHARS]) ^ CHECKSUM_XOR;
    digits.extend((0..CHECKSUM_CHARS).map(|n| five_bits(sum >> (5 * (CHECKSUM_CHARS - 1 - n)))));
    assert!(hrp.len() + 1 + digits.len() <= CHARS_MAX, "Bech32m texts have at most 90 characters");

    let mut text = Zeroizing::new(String::with_capacity(CHARS_MAX));
    text.push_str(hrp);
    text.push('1');
    text.extend(digits.iter().map(|&digit| char::from(CHARSET[usize::from(digit)])));
    text
}

/// Reads what [`encode`] printed with the prefix `hrp`, in upper or lower case but not mixed.
pub(crate) fn decode(hrp: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (prefix, digits) = read(text)?;
    if prefix != hrp {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(CHARS_MAX));
    let (mut held, mut bits) = (0_u32, 0);
    for &digit in digits.iter() {
        held = (held << 5 | u32::from(digit)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    let padding_is_zero = bits < 5 && held & ((1 << bits) - 1) == 0;
    padding_is_zero.then_some(bytes)
}

/// Splits a text into its prefix, in lower case, and its digits without the checksum, which holds.
fn read(text: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let mixed = text.bytes().any(|c| c.is_ascii_lowercase()) && text.bytes().any(|c| c.is_ascii_uppercase());
    if text.len() > CHARS_MAX || mixed || !text.bytes().all(|c| (33..=126).contains(&c)) {
        return None;
    }
    let (hrp, rest) = text.rsplit_once('1')?;
    if hrp.is_empty() || rest.len() < CHECKSUM_CHARS {
        return None;
    }
    let hrp = hrp.to_ascii_lowercase();
    let mut digits = Zeroizing::new(Vec::with_capacity(CHARS_MAX));
    for c in rest.bytes() {
        let digit = CHARSET.iter().position(|&known| known == c.to_ascii_lowercase())?;
        digits.push(u8::try_from(digit).ok()?);
    }
    if polymod(&hrp, &digits, &[]) != CHECKSUM_XOR {
        return None;
    }
    digits.truncate(rest.len() - CHECKSUM_CHARS);
    Some((hrp, digits))
}

fn polymod(hrp: &str, digits: &[u8], tail: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = hrp.bytes().map(|c| c >> 5);
    let low = hrp.bytes().map(|c| c & 31);
    let values = high.chain([0]).chain(low).chain(digits.iter().chain(tail).copied());
    values.fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let shifted = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|&n| top >> n & 1 == 1).fold(shifted, |sum, n| sum ^ GENERATOR[n])
    })
}

/// The low five bits.
fn five_bits(value: u32) -> u8 {
    u8::try_from(value & 31).expect("five bits fit a byte")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The strings that BIP 350 lists as valid.
    #[test]
    fn valid_by_bip_350() {
        for text in [
            "A1LQFN3A",
            "a1lqfn3a",
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
            "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
            "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
            "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
            "?1v759aa",
        ] {
            assert!(read(text).is_some(), "{text}");
        }
    }

    /// The strings that BIP 350 lists as invalid.
    #[test]
    fn invalid_by_bip_350() {
        for text in [
            "\u{20}1xj0phk",
            "\u{7f}1g6xzxy",
            "\u{80}1vctc34",
            "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
            "qyrz8wqd2c9m",
            "1qyrz8wqd2c9m",
            "y1b0jsk6g",
            "lt1igcx5c0",
            "in1muywd",
            "mm1crxm3i",
            "au1s5cgom",
            "M1VUXWEZ",
            "16plkw9",
            "1p2gdwpf",
            // Mixed case; and Bech32 where Bech32m is due.
            "A1lqfn3a",
            "a12uel5l",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..=48)) {
            let text = encode("cf", &bytes);
            prop_assert_eq!(decode("cf", &text), Some(Zeroizing::new(bytes.clone())));
            prop_assert_eq!(decode("cf", &text.to_uppercase()), Some(Zeroizing::new(bytes)));
            prop_assert_eq!(decode("cg", &text), None);
        }

        /// A wrong character is always noticed, and so are two that changed places.
        #[test]
        fn typing_errors_are_noticed(bytes in any::<[u8; 48]>(), at in 3..85_usize, to in 0..32_usize) {
            let text = encode("cf", &bytes);
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = CHARSET[to];
            let mut swapped = text.as_bytes().to_vec();
            swapped.swap(at, at + 1);
            for other in [wrong, swapped] {
                let other = String::from_utf8(other).unwrap();
                prop_assert!(other == *text || decode("cf", &other).is_none());
            }
        }
    }
}

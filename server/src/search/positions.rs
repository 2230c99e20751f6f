//! Sets of places inside a run: 65,536 consecutive entries.
//!
//! A short set is a sorted list, a long one a bitmap, so that no set takes more than 8 KB, and any two are cut in microseconds.

use std::ops::Range;

use super::Order;
use crate::index::runs::RUN_ENTRIES;

/// A set with as many members is a bitmap, and no list.
const BITS_MIN: usize = 4096;

/// Bytes of a bitmap.
const BITS_BYTES: usize = RUN_ENTRIES / 8;

const WORDS: usize = RUN_ENTRIES / 64;

/// A set of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Rising; fewer than 4,096.
    List(Vec<u16>),
    /// One bit each.
    Bits(Box<[u64; WORDS]>),
}

impl Positions {
    /// The set of these places, which must rise.
    pub fn of(list: &[u16]) -> Self {
        if list.len() < BITS_MIN {
            return Self::List(list.to_vec());
        }
        let mut words = Box::new([0; WORDS]);
        for &position in list {
            words[usize::from(position / 64)] |= 1 << (position % 64);
        }
        Self::Bits(words)
    }

    /// All places of a run.
    pub fn all() -> Self {
        Self::Bits(Box::new([u64::MAX; WORDS]))
    }

    /// Reads what [`Positions::write`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == BITS_BYTES {
            let words = bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect::<Vec<_>>();
            return Some(Self::Bits(words.into_boxed_slice().try_into().ok()?));
        }
        let (places, rest) = bytes.as_chunks();
        let list: Vec<_> = places.iter().map(|place| u16::from_be_bytes(*place)).collect();
        let sound = rest.is_empty() && list.len() < BITS_MIN && list.is_sorted_by(|a, b| a < b);
        sound.then_some(Self::List(list))
    }

    /// Appends 2 bytes for each member of a list, or 8,192.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::List(list) => list.iter().for_each(|place| out.extend_from_slice(&place.to_be_bytes())),
            Self::Bits(words) => words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes())),
        }
    }

    /// How many members it has.
    pub fn count(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits(words) => words.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    /// Whether it has that one.
    pub fn has(&self, place: u16) -> bool {
        match self {
            Self::List(list) => list.binary_search(&place).is_ok(),
            Self::Bits(words) => words[usize::from(place / 64)] >> (place % 64) & 1 == 1,
        }
    }

    /// The members of both.
    pub fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::List(mut list), other) => {
                list.retain(|place| other.has(*place));
                Self::List(list)
            }
            (bits @ Self::Bits(_), Self::List(list)) => {
                Self::List(list.iter().copied().filter(|place| bits.has(*place)).collect())
            }
            (Self::Bits(mut words), Self::Bits(others)) => {
                words.iter_mut().zip(others.iter()).for_each(|(word, other)| *word &= other);
                Self::Bits(words)
            }
        }
    }

    /// Takes a member out; says whether it was one.
    pub fn remove(&mut self, place: u16) -> bool {
        let list: Vec<u16> = match self {
            Self::List(list) => {
                let Ok(at) = list.binary_search(&place) else { return false };
                list.remove(at);
                return true;
            }
            Self::Bits(_) if !self.has(place) => return false,
            Self::Bits(_) => self.within(0..RUN_ENTRIES, Order::Oldest).filter(|it| *it != place).collect(),
        };
        *self = Self::of(&list);
        true
    }

    /// The members inside a range, in either order.
    pub fn within(&self, range: Range<usize>, order: Order) -> Box<dyn Iterator<Item = u16> + '_> {
        let covered = (range.start / 64).min(WORDS)..range.end.div_ceil(64).min(WORDS);
        let inside = move |place: &u16| range.contains(&usize::from(*place));
        match (self, order) {
            (Self::List(list), Order::Oldest) => Box::new(list.iter().copied().filter(inside)),
            (Self::List(list), Order::Newest) => Box::new(list.iter().rev().copied().filter(inside)),
            (Self::Bits(words), Order::Oldest) => {
                Box::new(covered.flat_map(|word| bits(words, word)).filter(inside))
            }
            (Self::Bits(words), Order::Newest) => {
                Box::new(covered.rev().flat_map(|word| bits(words, word).rev()).filter(inside))
            }
        }
    }
}

/// The members of one word, rising.
fn bits(words: &[u64; WORDS], word: usize) -> impl DoubleEndedIterator<Item = u16> + use<> {
    let value = words[word];
    let base = u16::try_from(word * 64).expect("a place is below 65,536");
    // Nearly all words of a thin set are empty.
    let span = if value == 0 { 0..0 } else { 0..64 };
    span.filter(move |bit| value >> bit & 1 == 1).map(move |bit| base + bit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(every: usize, from: usize) -> BTreeSet<u16> {
        (from..RUN_ENTRIES).step_by(every).map(|place| u16::try_from(place).unwrap()).collect()
    }

    fn positions(set: &BTreeSet<u16>) -> Positions {
        Positions::of(&set.iter().copied().collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// As sets do, lists or bitmaps, and the bytes read back.
        #[test]
        fn as_sets_do(
            a in (1_usize..9000, 0_usize..70_000),
            b in (1_usize..9000, 0_usize..70_000),
            range in (0_usize..65_537, 0_usize..65_537),
            gone in any::<u16>(),
        ) {
            let (mut one, other) = (set(a.0, a.1), set(b.0, b.1));
            let mut own = positions(&one);
            prop_assert_eq!(own.remove(gone), one.remove(&gone));
            let mut bytes = Vec::new();
            own.write(&mut bytes);
            let read = Positions::read(&bytes);
            prop_assert_eq!(read.as_ref(), Some(&own));
            prop_assert_eq!(own.count(), one.len());
            let cut: Vec<u16> = one.intersection(&other).copied().collect();
            let both = own.and(&positions(&other));
            let range = range.0..range.1;
            let mut inside: Vec<_> = cut.iter().copied().filter(|it| range.contains(&usize::from(*it))).collect();
            prop_assert_eq!(both.within(range.clone(), Order::Oldest).collect::<Vec<_>>(), inside.clone());
            inside.reverse();
            prop_assert_eq!(both.within(range, Order::Newest).collect::<Vec<_>>(), inside);
        }
    }

    #[test]
    fn what_is_no_set_is_not_read() {
        for bytes in [&[0][..], &[0, 2, 0, 1], &[0, 1, 0, 1], &[0; 2 * BITS_MIN + 2]] {
            assert_eq!(Positions::read(bytes), None, "{}", bytes.len());
        }
        assert_eq!(Positions::read(&[0xff; BITS_BYTES]), Some(Positions::all()));
        assert_eq!(Positions::all().count(), RUN_ENTRIES);
    }
}

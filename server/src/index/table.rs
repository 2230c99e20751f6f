//! Positions by the first bytes of digests, in little more memory than these take.
//!
//! Linear probing in the order of hashes: an entry's place is in proportion to its hash, and entries that want the same place
//! stand side by side from there on, lower hashes first. So a search ends after a few slots even where seven of eight are taken,
//! and nothing need be kept to tell entries apart but what they are. A table is cut by the first bits of the hash into parts
//! that grow one at a time, by an eighth: no entry has to wait until all others have moved.

use counterfoil_merkle::LeafIndex;

use super::prefix;

/// Of a digest, in a slot: among ten million, one look-up in a hundred thousand meets a stranger.
const PREFIX_BYTES: usize = 5;
const POSITION_BYTES: usize = 5;
const PARTS: usize = 256;

/// Free slots behind the last place, for entries that stand further along. Hardly ever are there more.
const BEHIND: usize = 64;

/// One table: 10 bytes an entry, and a seventh to a third more.
pub(super) struct Table {
    parts: Vec<Part>,
    hasher: Hasher,
}

/// Multiply-add-shift (Dietzfelbinger 1996): strongly universal for 40 bits. Keyed anew in each process, so that nobody can choose
/// digests that all fall into one place.
struct Hasher {
    factor: u128,
    addend: u128,
}

#[derive(Clone, Copy)]
struct Slot {
    prefix: [u8; PREFIX_BYTES],
    position: [u8; POSITION_BYTES],
}

/// The entries whose hashes start with the same bits.
#[derive(Default)]
struct Part {
    /// One for each place, and further ones for what stands behind the last. The ranks of the entries rise, none stands before its
    /// place, and from there to where it stands no slot is free.
    slots: Vec<Slot>,
    places: usize,
    used: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Part::default()).collect(), hasher: Hasher::new() }
    }
}

impl Table {
    /// Makes room for so many entries more.
    pub(super) fn reserve(&mut self, entries: usize) {
        let each = entries.div_ceil(PARTS);
        // No part gets exactly its share; few get four standard deviations more.
        let each = each.saturating_add(4 * each.isqrt());
        for part in &mut self.parts {
            let places = (part.used + each) * 8 / 7 + 1;
            if places > part.places {
                part.grow(places, &self.hasher);
            }
        }
    }

    /// Inserts a digest of the entry at a position.
    pub(super) fn insert(&mut self, digest: &[u8], index: u64) {
        let slot = Slot { prefix: prefix(digest), position: position(index) };
        let hash = self.hasher.hash(slot.prefix);
        self.parts[part_of(hash)].insert(slot, rank_of(hash), &self.hasher);
    }

    /// Inserts digests of consecutive entries in the order of their places in memory: one after the other, each would wait for
    /// memory that nobody has touched for long.
    pub(super) fn insert_all<const N: usize>(&mut self, digests: &[[u8; N]], first: u64) {
        let slot = |(digest, index): (&[u8; N], u64)| {
            let slot = Slot { prefix: prefix(digest), position: position(index) };
            (self.hasher.hash(slot.prefix), slot)
        };
        let mut slots: Vec<_> = digests.iter().zip(first..).map(slot).collect();
        slots.sort_unstable_by_key(|(hash, _)| *hash);
        for (hash, slot) in slots {
            self.parts[part_of(hash)].insert(slot, rank_of(hash), &self.hasher);
        }
    }

    /// Positions of entries whose digests may begin with these bytes. Nearly always none or one.
    ///
    /// # Panics
    /// If fewer than 5 bytes are given.
    pub(super) fn candidates(&self, digest: &[u8]) -> Vec<LeafIndex> {
        let prefix = prefix(digest);
        let hash = self.hasher.hash(prefix);
        let part = &self.parts[part_of(hash)];
        let run = part.slots[part.place(rank_of(hash))..].iter();
        run.take_while(|slot| !slot.is_free() && self.hasher.rank(slot) <= rank_of(hash))
            .filter(|slot| slot.prefix == prefix)
            .map(|slot| LeafIndex::new(number(slot.position)).expect("a position is below 2^40"))
            .collect()
    }
}

impl Hasher {
    fn new() -> Self {
        let random = || {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).expect("the system gives random bytes");
            u128::from_be_bytes(bytes)
        };
        Self { factor: random(), addend: random() }
    }

    fn hash(&self, prefix: [u8; PREFIX_BYTES]) -> u64 {
        let sum = self.factor.wrapping_mul(number(prefix).into()).wrapping_add(self.addend);
        u64::try_from(sum >> 64).expect("64 bits are left")
    }

    fn rank(&self, slot: &Slot) -> u32 {
        rank_of(self.hash(slot.prefix))
    }
}

impl Slot {
    /// What no entry is, but the last of 2^40 if its digest begins like that.
    const FREE: Self = Self { prefix: [u8::MAX; PREFIX_BYTES], position: [u8::MAX; POSITION_BYTES] };

    fn is_free(&self) -> bool {
        self.position == Self::FREE.position && self.prefix == Self::FREE.prefix
    }
}

impl Part {
    /// Where an entry of that rank stands if nothing displaces it.
    fn place(&self, rank: u32) -> usize {
        let place = (u64::from(rank) * self.places as u64) >> u32::BITS;
        usize::try_from(place).expect("below the number of places")
    }

    fn insert(&mut self, slot: Slot, rank: u32, hasher: &Hasher) {
        if self.used * 8 >= self.places * 7 {
            self.grow(self.places + self.places / 8 + 16, hasher);
        }
        let mut at = self.place(rank);
        while self.slots.get(at).is_some_and(|there| !there.is_free() && hasher.rank(there) <= rank) {
            at += 1;
        }
        let to_free = self.slots[at..].iter().position(Slot::is_free);
        let free = to_free.map(|slots| at + slots).unwrap_or_else(|| {
            self.slots.push(Slot::FREE);
            self.slots.len() - 1
        });
        self.slots.copy_within(at..free, at + 1);
        self.slots[at] = slot;
        self.used += 1;
    }

    /// Spreads the entries over so many places.
    fn grow(&mut self, places: usize, hasher: &Hasher) {
        let mut slots = Vec::with_capacity(places + BEHIND);
        slots.resize(places, Slot::FREE);
        let former = std::mem::replace(&mut self.slots, slots);
        self.places = places;
        // They come in the order of their ranks already.
        let mut next = 0;
        for slot in former.into_iter().filter(|slot| !slot.is_free()) {
            let at = self.place(hasher.rank(&slot)).max(next);
            if at == self.slots.len() {
                self.slots.push(slot);
            } else {
                self.slots[at] = slot;
            }
            next = at + 1;
        }
    }
}

fn part_of(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0])
}

/// The bits of a hash by which a part is ordered.
fn rank_of(hash: u64) -> u32 {
    let [_, a, b, c, d, ..] = hash.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn position(index: u64) -> [u8; POSITION_BYTES] {
    let [.., a, b, c, d, e] = index.to_be_bytes();
    [a, b, c, d, e]
}

fn number([a, b, c, d, e]: [u8; POSITION_BYTES]) -> u64 {
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn digest(number: u64) -> [u8; 8] {
        *counterfoil_merkle::Hash::leaf(&number.to_be_bytes()).as_bytes().first_chunk().unwrap()
    }

    fn found(table: &Table, digest: &[u8]) -> Vec<u64> {
        let mut found: Vec<_> = table.candidates(digest).into_iter().map(LeafIndex::get).collect();
        found.sort_unstable();
        found
    }

    /// What the documentation of [`Part::slots`] says.
    fn check_order(table: &Table) {
        for part in &table.parts {
            let mut last = 0;
            let mut is_free = vec![];
            for (at, slot) in part.slots.iter().enumerate() {
                is_free.push(slot.is_free());
                if is_free[at] {
                    continue;
                }
                let rank = table.hasher.rank(slot);
                assert!(last <= rank && part.place(rank) <= at);
                assert!(is_free[part.place(rank)..at].iter().all(|is_free| !is_free));
                last = rank;
            }
            assert_eq!(is_free.iter().filter(|is_free| !**is_free).count(), part.used);
        }
    }

    fn bytes(table: &Table) -> usize {
        table.parts.iter().map(|part| part.slots.capacity() * size_of::<Slot>()).sum()
    }

    /// However many are inserted, in whatever way: found is what was inserted, and memory stays in proportion.
    #[test]
    fn memory_is_in_proportion() {
        const MANY: u64 = 300_000;
        let (mut grown, mut reserved) = (Table::default(), Table::default());
        reserved.reserve(usize::try_from(MANY).unwrap());
        let given = bytes(&reserved);
        let digests: Vec<_> = (0..MANY).map(digest).collect();
        for (digest, index) in digests.iter().zip(0..) {
            grown.insert(digest, index);
        }
        reserved.insert_all(&digests, 0);
        assert_eq!(bytes(&reserved), given, "nothing had to grow");
        for table in [&grown, &reserved] {
            check_order(table);
            assert!(bytes(table) < 14 * digests.len(), "{} bytes", bytes(table));
            for index in (0..MANY).step_by(7) {
                assert!(found(table, &digest(index)).contains(&index));
                assert!(found(table, &digest(MANY + index)).len() <= 1);
            }
        }
    }

    /// Many with one prefix, at either end of a part and between, are all found; the table grows no more for them than for others.
    #[test]
    fn equal_prefixes_stand_together() {
        let mut table = Table::default();
        let mut seed = 0;
        let mut of_part = |table: &Table, wanted: fn(u32) -> bool| loop {
            seed += 1;
            let digest = digest(seed);
            let hash = table.hasher.hash(prefix(&digest));
            if part_of(hash) == 3 && wanted(rank_of(hash)) {
                return digest;
            }
        };
        let first = of_part(&table, |rank| rank < 1 << 24);
        let last = of_part(&table, |rank| rank > u32::MAX - (1 << 24));
        for index in 0..1000 {
            table.insert([first, last][usize::from(index % 2 == 1)].as_slice(), index);
        }
        check_order(&table);
        assert_eq!(found(&table, &first), (0..1000).step_by(2).collect::<Vec<_>>());
        assert_eq!(found(&table, &last), (1..1000).step_by(2).collect::<Vec<_>>());
        assert!(bytes(&table) < 40 * 1000, "{} bytes", bytes(&table));
    }

    proptest! {
        /// Insertions of both kinds and reservations in any order, digests that come again among them: as a map would have it.
        #[test]
        fn finds_what_a_map_finds(
            steps in prop::collection::vec((0_usize..3, prop::collection::vec(0_u64..400, 0..120)), 1..12),
        ) {
            let (mut table, mut map, mut next) = (Table::default(), HashMap::<u64, Vec<u64>>::new(), 0);
            for (how, numbers) in steps {
                let digests: Vec<_> = numbers.iter().copied().map(digest).collect();
                match how {
                    0 => table.insert_all(&digests, next),
                    1 => digests.iter().zip(next..).for_each(|(digest, index)| table.insert(digest, index)),
                    _ => {
                        table.reserve(100 * numbers.len());
                        continue;
                    }
                }
                for number in numbers {
                    map.entry(number).or_default().push(next);
                    next += 1;
                }
            }
            check_order(&table);
            for number in 0..400 {
                let expected = map.get(&number).cloned().unwrap_or_default();
                prop_assert_eq!(found(&table, &digest(number)), expected);
            }
        }
    }

    #[test]
    fn positions_have_five_bytes() {
        for index in [0, 1, 255, 256, (1 << 40) - 2] {
            assert_eq!(number(position(index)), index);
        }
    }
}

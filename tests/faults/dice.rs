//! Seeded choices.

use counterfoil_merkle::Hash;

/// Choices that depend on seed and round alone: SHA-256 of both and a counter.
pub(crate) struct Dice {
    seed: u64,
    round: u64,
    thrown: u64,
}

impl Dice {
    pub(crate) const fn new(seed: u64, round: u64) -> Self {
        Self { seed, round, thrown: 0 }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.thrown += 1;
        let numbers = [self.seed, self.round, self.thrown].map(u64::to_be_bytes).concat();
        let [a, b, c, d, ..] = *Hash::of(&[b"faults", &numbers]).as_bytes();
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() % end
    }

    /// Whether one of so many chances came true.
    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// One of those.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

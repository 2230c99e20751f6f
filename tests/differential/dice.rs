//! Seeded randomness.

use counterfoil_merkle::Hash;

/// Numbers that depend on a seed alone: SHA-256 of seed and counter.
pub(crate) struct Dice {
    seed: &'static str,
    thrown: u64,
}

impl Dice {
    pub(crate) const fn new(seed: &'static str) -> Self {
        Self { seed, thrown: 0 }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.thrown += 1;
        let digest = Hash::of(&[self.seed.as_bytes(), &self.thrown.to_be_bytes()]);
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % end
    }

    /// A size from 1 to `max`: of any order of magnitude, and often beside a power of two.
    pub(crate) fn size(&mut self, max: u64) -> u64 {
        let power = 1 << self.below(u64::from(max.ilog2()) + 1);
        let size = match self.below(4) {
            0 => power + self.below(3) - 1,
            1 => max - self.below(power),
            _ => power + self.below(power),
        };
        size.clamp(1, max)
    }
}

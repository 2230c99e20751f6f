//! Seeded choices.

use counterfoil_merkle::Hash;

/// Choices that depend on a seed alone: SHA-256 of seed and counter.
pub(super) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, thrown: 0 }
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let [a, b, c, d, ..] = self.bytes();
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() % end
    }

    /// One of those.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        self.thrown += 1;
        *Hash::of(&[b"hostile", &self.seed.to_be_bytes(), &self.thrown.to_be_bytes()]).as_bytes()
    }

    /// So many bytes of any value.
    pub(super) fn rubbish(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 32);
        while out.len() < length {
            out.extend_from_slice(&self.bytes());
        }
        out.truncate(length);
        out
    }
}

//! The pure kernel of a transparency log.
//!
//! No clock, no socket, no disk, no randomness: whatever this crate needs is an argument.

pub mod hash;

pub use hash::Hash;

//! The pure kernel of a transparency log.
//!
//! No clock, no socket, no disk, no randomness: whatever this crate needs is an argument.

pub mod bundle;
pub mod checkpoint;
pub mod cosign;
pub mod ed25519;
pub mod evidence;
pub mod frontier;
pub mod growth;
pub mod hash;
pub mod key;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;
pub mod tlogproof;
pub mod tree;
pub mod witness;

pub use frontier::Frontier;
pub use hash::Hash;
pub use tree::{LeafIndex, NodeId, TreeHead, TreeSize};

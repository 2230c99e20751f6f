//! What the leaves of the log mean.

mod bech32m;
pub mod claim;
mod code;
pub mod commitment;
pub mod draft;
pub mod entry;
pub mod envelope;
pub mod exchange;
mod hex;
pub mod json;
pub mod key;
pub mod statement;
pub mod timestamp;
mod tree;
#[cfg(test)]
mod vectors;

pub use entry::Entry;
pub use envelope::{Envelope, Id, VerifiedEnvelope};
pub use key::{PublicKey, SigningKey};
pub use statement::{Kind, Statement};
pub use timestamp::Timestamp;

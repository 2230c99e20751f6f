//! What the leaves of the log mean.

mod code;
pub mod entry;
pub mod envelope;
mod hex;
pub mod json;
pub mod key;
pub mod statement;
pub mod timestamp;

pub use entry::Entry;
pub use envelope::{Envelope, Id, VerifiedEnvelope};
pub use key::{PublicKey, SigningKey};
pub use statement::{Kind, Statement};
pub use timestamp::Timestamp;

#[cfg(test)]
mod vectors;

//! Client library and command line of the Counterfoil log.

pub mod log;
pub mod source;

pub use log::{KnownLog, Log};
pub use source::{Connection, Resource, Source};

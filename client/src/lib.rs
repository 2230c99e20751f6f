//! Client library and command line of the Counterfoil log.

pub mod alert;
pub mod answer;
pub mod cli;
pub mod context;
pub mod conviction;
pub mod cpus;
pub mod descriptors;
pub mod file;
pub mod fleet;
pub mod fork;
pub mod gossip;
pub mod hearsay;
pub mod load;
pub mod log;
pub mod monitor;
pub mod numbering;
pub mod outbound;
pub mod pin;
pub mod program;
pub mod proxy;
pub mod rerun;
pub mod secrets;
mod seen;
pub mod serve;
pub mod source;
pub mod submit;
#[cfg(test)]
mod testlog;
pub mod walk;
pub mod watch;
pub mod witness;

pub use cli::main;
pub use log::{KnownLog, Log};
pub use source::{Connection, Resource, Source};

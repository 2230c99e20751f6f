//! The log: sequencer, storage, index, HTTP.
//!
//! A receipt's way: [`http::submit`] admits it, [`queue`] holds it, [`driver`] gives it its place with the pure
//! [`sequencer`], makes it durable as a [`commit`] record and publishes the new tree head; [`settle`] turns commits
//! into full tiles and bundles beside that. [`recover`] finds the log again at every start.

pub mod admission;
pub mod adopt;
pub mod backup;
pub mod batch;
pub mod ceiling;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod config;
pub mod cpus;
mod descriptors;
pub mod driver;
pub mod erase;
pub mod fsck;
pub mod guard;
pub mod http;
pub mod index;
pub mod init;
pub mod keyfile;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod network;
pub mod objects;
pub mod order;
pub mod pace;
pub mod pkcs11;
pub mod publish;
pub mod queue;
pub mod quota;
pub mod rates;
pub mod recover;
pub mod rehash;
pub mod repair;
pub mod room;
pub mod rules;
pub mod run;
pub mod scrub;
pub mod search;
pub mod secrets;
pub mod sequencer;
pub mod settle;
pub mod signers;
pub mod steps;
pub mod stop;
#[cfg(test)]
mod testing;
pub mod tiles;
pub mod tokens;

pub use cli::main;

//! The log: sequencer, storage, index, HTTP.

pub mod clock;
pub mod commit;
pub mod driver;
pub mod guard;
pub mod index;
pub mod log;
pub mod objects;
pub mod publish;
pub mod queue;
pub mod recover;
pub mod sequencer;
pub mod settle;
pub mod tiles;

//! Witnessing logs: a log's checkpoint is cosigned only if it provably grew from the one that was cosigned before
//! (C2SP tlog-witness).
//!
//! [`judge`] decides and does nothing else. [`slot`] holds one log's state and changes it in order; [`state`] and
//! [`refused`] keep it on disk. [`service`] finds the log that a request is about, [`http`] speaks the protocol, and
//! [`handover`] tells a monitor what was refused.

pub mod config;
mod framed;
pub mod handover;
pub mod http;
pub mod judge;
pub mod list;
pub mod metrics;
pub mod quota;
pub mod refused;
pub mod roster;
pub mod service;
pub mod slot;
pub mod state;
#[cfg(test)]
mod tests;

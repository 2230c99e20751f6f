//! Alerts: what was found, told to whoever must know.
pub mod episode;
pub mod message;
pub mod queue;

//! The proxy: it stands between the callers of a model and the service that answers them, passes every byte through, and
//! makes a receipt of every exchange.
//!
//! Pure: [`routes`], [`headers`], [`decode`], [`recorder`]. The rest is shell.

pub mod decode;
pub mod headers;
pub mod recorder;
pub mod routes;
pub mod spool;

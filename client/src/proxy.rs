//! The proxy: it stands between the callers of a model and the service that answers them, passes every byte through, and
//! makes a receipt of every exchange.
//!
//! Pure: [`routes`], [`headers`], [`decode`], [`recorder`]. The rest is shell.

pub mod answer;
pub mod app;
mod background;
pub mod bodies;
pub mod budget;
pub mod config;
pub mod decode;
pub mod deliver;
mod exchange;
pub mod headers;
pub mod live;
mod lookup;
pub mod metrics;
mod pass;
pub mod promise;
pub mod push;
pub mod recorder;
pub mod relay;
pub mod routes;
pub mod run;
pub mod serve;
pub mod spool;
pub mod upstream;

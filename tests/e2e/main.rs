//! Real processes on loopback: what the log promises, tried from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accountability;
mod alerts;
mod append;
mod cli;
mod crash;
mod demo;
mod exchanges;
mod hostile;
mod http;
mod index;
mod issuers;
mod light;
mod load;
mod monitor;
mod monitor_kill;
mod proxy;
mod proxy_kill;
mod recovery;
mod split_view;
mod timeouts;
mod witness;
mod witnessed;

use counterfoil_tests::Programs;

/// The programs built with these tests.
const PROGRAMS: Programs = Programs {
    server: env!("CARGO_BIN_EXE_under-test-server"),
    client: env!("CARGO_BIN_EXE_under-test-client"),
};

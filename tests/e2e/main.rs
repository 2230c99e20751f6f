//! Real processes on loopback: what the log promises, tried from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accountability;
mod alerts;
mod append;
mod backup;
mod cli;
mod completeness;
mod crash;
mod demo;
mod erasure;
mod escapes;
mod exchanges;
mod floods;
mod hostile;
mod http;
mod index;
mod issuers;
mod light;
mod load;
mod mixed;
mod monitor;
mod monitor_kill;
mod proxy;
mod proxy_kill;
mod quotas;
mod recovery;
mod repair;
mod rerun;
mod roles;
mod scrub;
mod search;
mod split_view;
mod timeouts;
mod tls;
mod witness;
mod witnessed;

use counterfoil_tests::Programs;

/// The programs built with these tests.
const PROGRAMS: Programs = Programs {
    server: env!("CARGO_BIN_EXE_under-test-server"),
    client: env!("CARGO_BIN_EXE_under-test-client"),
};

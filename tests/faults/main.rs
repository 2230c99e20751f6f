//! What storage, power and other writers can do to a log, done to it: nothing that was acknowledged may be lost, and
//! no two tree heads may contradict one another.
//!
//! Every campaign is seeded and runs in rounds; a round depends on seed and number alone. A failure names both.
//! `COUNTERFOIL_FAULT_SEED` (1), `COUNTERFOIL_FAULT_FROM` (0) and `COUNTERFOIL_FAULT_ROUNDS` repeat, resume and prolong.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

mod campaign;
mod copies;
mod damage;
mod dice;
mod disk;
mod flips;
mod full;
mod kills;
mod life;
mod line;
mod locks;
mod newest;
mod power;
mod receipts;
mod recorder;
mod shared;
mod small_disk;
mod soak;
mod steps;
mod strace;
mod subject;
#[cfg(feature = "s3")]
mod takeover;
mod template;

use counterfoil_tests::Programs;

/// The programs built with these tests.
const PROGRAMS: Programs = Programs {
    server: env!("CARGO_BIN_EXE_under-test-server"),
    client: env!("CARGO_BIN_EXE_under-test-client"),
};

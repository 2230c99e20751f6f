//! `counterfoil-server`: see [`counterfoil_server::main`].

use std::process::ExitCode;

/// Receipts are allocated on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    counterfoil_server::main()
}

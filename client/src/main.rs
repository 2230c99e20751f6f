//! The program `counterfoil`.

use std::process::ExitCode;

/// `load` must cost as little as it can beside the log that it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    counterfoil_client::main()
}

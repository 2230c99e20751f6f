//! The server as the tests run it: the very program, built with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    counterfoil_server::main()
}

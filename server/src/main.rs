//! `counterfoil-server`: see [`counterfoil_server::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    counterfoil_server::main()
}

//! `counterfoil-server bench-ceiling`.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use counterfoil_merkle::TreeSize;

use super::keep_to;
use crate::ceiling;

#[derive(Args)]
pub(super) struct BenchCeiling {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Answer as a log with so many entries would.
    #[arg(long, value_name = "ENTRIES", default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// Keep to these processors, numbered from 0.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
}

pub(super) fn bench_ceiling(arguments: &BenchCeiling) -> anyhow::Result<()> {
    keep_to(&arguments.cpus)?;
    let size = TreeSize::new(arguments.size).context("--size")?;
    ceiling::run(arguments.listen, size, |address, key| {
        println!("log key     {key}");
        println!("listening on http://{address}");
    })?;
    Ok(())
}

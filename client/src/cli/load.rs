//! `counterfoil load`.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Exit, LogArgs, MemoryArgs, Terminal, progress::Progress};
use crate::load::{Load, run};

/// Measure a log: signs receipts, sends them over many connections, and says how fast they were acknowledged.
#[derive(Args, Debug)]
pub(super) struct LoadCommand {
    #[command(flatten)]
    log: LogArgs,

    /// How many receipts to append.
    #[arg(long, value_name = "N", default_value = "100000")]
    fill: usize,

    /// Which receipts: the same seed makes the same ones.
    #[arg(long, value_name = "S", default_value = "1")]
    seed: u64,

    /// How many connections, each with one request at a time.
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,

    /// How many receipts a request has.
    #[arg(long, value_name = "N", default_value = "1")]
    batch: usize,

    /// Verify every proof that comes back; this costs this machine about as much as it costs the log.
    #[arg(long)]
    verify: bool,
}

impl LoadCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let opened = self.log.open(&MemoryArgs::default(), 0)?;
        let known = opened.log.known();
        let host = known.url.strip_prefix("http://").context("a load is put on http:// addresses only")?;
        let trust = if self.verify { Some(Arc::new(known.trust()?)) } else { None };
        let load = Load {
            host: host.trim_end_matches('/').to_owned(),
            origin: known.key.name().to_string(),
            receipts: self.fill,
            seed: self.seed,
            connections: self.connections.max(1),
            batch: self.batch.max(1),
            trust,
        };
        let mut progress = Progress::new(terminal);
        let measured =
            run(&load, |sent| progress.show(format_args!("{sent} of {} sent", load.receipts))).await?;
        drop(progress);
        let ms = |per_mille| measured.percentile(per_mille).as_secs_f64() * 1000.0;
        terminal.value(&json!({
            "acknowledged": measured.acknowledged,
            "seconds": measured.elapsed.as_secs_f64(),
            "per_second": measured.rate(),
            "connections": load.connections,
            "batch": load.batch,
            "latency_ms": { "p50": ms(500), "p99": ms(990), "p999": ms(999), "max": ms(1000) },
        }));
        terminal.line(format_args!(
            "{} receipts acknowledged in {:.2} s: {:.0} a second over {} connections",
            measured.acknowledged,
            measured.elapsed.as_secs_f64(),
            measured.rate(),
            load.connections
        ));
        terminal.line(format_args!(
            "latency of a request: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
            ms(500),
            ms(990),
            ms(999),
            ms(1000)
        ));
        Ok(Exit::YES)
    }
}

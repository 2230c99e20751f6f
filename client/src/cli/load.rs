//! `counterfoil load`.

use std::{num::NonZeroUsize, thread, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{Exit, LogArgs, MemoryArgs, Terminal, progress::Progress};
use crate::{
    cpus,
    load::{Latencies, Load, Measured, Mix, Reading, run},
};

/// The percentiles that are reported, by their names.
const PERCENTILES: [(&str, f64); 8] = [
    ("p50", 50.0),
    ("p75", 75.0),
    ("p90", 90.0),
    ("p95", 95.0),
    ("p99", 99.0),
    ("p999", 99.9),
    ("p9999", 99.99),
    ("max", 100.0),
];

/// Measure a log: signs receipts, sends them over many connections, reads beside that, and says how fast it was answered.
#[derive(Args, Debug)]
pub(super) struct LoadCommand {
    #[command(flatten)]
    log: LogArgs,

    /// How many receipts to append; 0 to read alone.
    #[arg(long, value_name = "N", default_value = "100000")]
    fill: usize,

    /// Which receipts: the same seed makes the same ones.
    #[arg(long, value_name = "S", default_value = "1")]
    seed: u64,

    /// How many connections append, each with one request at a time.
    #[arg(long, value_name = "N", default_value = "64")]
    connections: NonZeroUsize,

    /// How many receipts a request has.
    #[arg(long, value_name = "N", default_value = "1")]
    batch: NonZeroUsize,

    /// Append so many receipts a second, evenly, whether or not the log keeps up; latencies count from when a request
    /// was due. Without it, each connection sends again once it was answered.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// How many connections read beside those that append.
    #[arg(long, value_name = "N", default_value = "0")]
    readers: usize,

    /// What they read, and how often: proof, tile, entries, bundle, checkpoint.
    #[arg(long, value_name = "MIX", default_value = "proof=1,tile=1")]
    read: Mix,

    /// Read so many times a second; without it, each connection reads again once it was answered.
    #[arg(long, value_name = "N", value_parser = rate, requires = "readers")]
    read_rate: Option<f64>,

    /// End after so many seconds, if the receipts last that long.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,

    /// Do not count what is sent in the first seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    warm_up: Duration,

    /// How many threads send; by default half as many as there are processors.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Keep to these processors, numbered from 0.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Verify every proof that comes back; this costs this machine about as much as it costs the log.
    #[arg(long)]
    verify: bool,
}

impl LoadCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        ensure!(self.fill > 0 || self.readers > 0, "nothing is sent: say --fill or --readers");
        ensure!(self.fill > 0 || self.duration.is_some(), "readers alone need --duration");
        if !self.cpus.is_empty() {
            cpus::keep_to(&self.cpus).context("--cpus")?;
        }
        let log = self.log.open(&MemoryArgs::default(), 0)?.log;
        let head = log.checkpoint().await?.checkpoint.head();
        let host =
            log.known().url.strip_prefix("http://").context("a load is put on http:// addresses only")?;
        let half = || thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2));
        let load = Load {
            host: host.trim_end_matches('/').to_owned(),
            log: log.known().clone(),
            head,
            receipts: self.fill,
            seed: self.seed,
            connections: self.connections.get(),
            batch: self.batch.get(),
            rate: self.rate,
            readers: self.readers,
            mix: self.read,
            read_rate: self.read_rate,
            warm_up: self.warm_up,
            duration: self.duration,
            threads: self.threads.map_or_else(half, NonZeroUsize::get),
            verify: self.verify,
        };
        let mut progress = Progress::new(terminal);
        let measured = run(&load, |sent| progress.show(format_args!("{sent} of {} sent", load.receipts)))?;
        drop(progress);
        terminal.value(&result(&load, &measured));
        print(&load, &measured, terminal);
        Ok(Exit::YES)
    }
}

/// All that was measured, for a program.
fn result(load: &Load, measured: &Measured) -> Value {
    let reads: Map<String, Value> = reads(measured)
        .map(|(reading, latencies)| {
            let count = latencies.count();
            let read = json!({
                "count": count, "per_second": measured.rate(count), "latency_ms": in_ms(latencies),
            });
            (reading.name().to_owned(), read)
        })
        .collect();
    json!({
        "acknowledged": measured.acknowledged,
        "refused": measured.refused,
        "requests": measured.requests,
        "seconds": measured.elapsed.as_secs_f64(),
        "per_second": measured.rate(measured.acknowledged),
        "connections": load.connections,
        "batch": load.batch,
        "rate": load.rate,
        "latency_ms": in_ms(&measured.appends),
        "readers": load.readers,
        "reads": reads,
        "threads": load.threads,
        "verified": load.verify,
        "own_processor_us_per_request": measured.processor_per_request().as_secs_f64() * 1e6,
    })
}

fn in_ms(latencies: &Latencies) -> Value {
    let ms = |latency: Duration| latency.as_secs_f64() * 1000.0;
    let at = |(name, per_cent): (&str, f64)| (name.to_owned(), json!(ms(latencies.percentile(per_cent))));
    let mut named: Map<String, Value> = PERCENTILES.into_iter().map(at).collect();
    named.insert("mean".to_owned(), json!(ms(latencies.mean())));
    named.into()
}

/// What was read at all.
fn reads(measured: &Measured) -> impl Iterator<Item = (Reading, &Latencies)> {
    Reading::ALL.into_iter().zip(&measured.reads).filter(|(_, latencies)| latencies.count() > 0)
}

/// The same, for a person.
fn print(load: &Load, measured: &Measured, terminal: &Terminal) {
    let seconds = measured.elapsed.as_secs_f64();
    let latency = |latencies: &Latencies| {
        let ms = |per_cent| latencies.percentile(per_cent).as_secs_f64() * 1000.0;
        format!(
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
            ms(50.0),
            ms(99.0),
            ms(99.9),
            ms(100.0)
        )
    };
    if load.receipts > 0 {
        terminal.line(format_args!(
            "{} receipts acknowledged in {seconds:.2} s: {:.0} a second over {} connections",
            measured.acknowledged,
            measured.rate(measured.acknowledged),
            load.connections
        ));
        terminal.line(format_args!("latency of an append: {}", latency(&measured.appends)));
    }
    if measured.refused > 0 {
        terminal.line(format_args!("{} receipts were refused: the log had no room", measured.refused));
    }
    for (reading, latencies) in reads(measured) {
        terminal.line(format_args!(
            "{} read {} times: {:.0} a second; latency: {}",
            reading.name(),
            latencies.count(),
            measured.rate(latencies.count()),
            latency(latencies)
        ));
    }
    terminal.line(format_args!(
        "sending cost this machine {:.1} us of processor time a request",
        measured.processor_per_request().as_secs_f64() * 1e6
    ));
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (1e-3..=1e9).contains(rate));
    rate.ok_or_else(|| "a number from 0.001 to 1000000000 is due".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..=1e6).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number from 0 to 1000000 is due".to_owned())
}

//! `counterfoil monitor`.
//!
//! Its exit codes are its own: 0 nothing found, 10 FORK, 11 INVALID, 12 STALE, 13 UNAVAILABLE, 14 COVERAGE,
//! 15 ERASED-BY-LOG, the gravest counts; 2 if its own state cannot be used. Findings against issuers and matches of watch
//! rules change nothing.

mod printed;
mod test_alert;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use counterfoil_receipt::{Timestamp, audit::Class};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{printed::Printer, test_alert::TestAlert};
use super::{Exit, LogArgs, Opened, Terminal};
use crate::{
    alert,
    alert::{
        deliver::stopped,
        sink::{Lines, Way},
    },
    fleet::{Config, Fleet, LogPlan, Plan, Running, config::EXAMPLE, serve},
    monitor::{STALE_AFTER_S, Settings, Vantage},
    watch::Watch,
};

/// Read logs whole, recompute them, and say what does not hold.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Monitor {
    #[command(subcommand)]
    command: Option<MonitorCommand>,

    #[command(flatten)]
    log: LogArgs,

    /// The configuration: several logs, watch rules, and who is told; `monitor example` prints one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "url", "log_key", "clock", "ca", "state"])]
    config: Option<PathBuf>,

    /// Directory for what the monitor verified: one for each log, made if it is not there.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    state: Option<PathBuf>,

    /// Look once and exit with what was found; this is the default.
    #[arg(long, conflicts_with = "follow")]
    once: bool,

    /// Look again and again, until killed.
    #[arg(long)]
    follow: bool,

    /// Serve status page, metrics, gossip and mirrors on this address and port, and look again and again.
    #[arg(long, value_name = "ADDR", conflicts_with = "once")]
    serve: Option<SocketAddr>,

    /// Keep every entry and statement, so that they outlive the log; with --serve, they are served.
    #[arg(long, conflicts_with = "config")]
    keep: bool,

    /// Seconds between two looks.
    #[arg(long, value_name = "S", default_value_t = 10, conflicts_with = "config",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,

    /// Seconds after which the newest time that the log attested is too old.
    #[arg(long, value_name = "S", default_value_t = STALE_AFTER_S, conflicts_with = "config")]
    stale_after: u64,
}

#[derive(Debug, Subcommand)]
enum MonitorCommand {
    /// Send a test through every sink of a configuration, and say which were told.
    TestAlert(TestAlert),
    /// Print a configuration with every key explained.
    Example,
}

impl Monitor {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self.command {
            Some(MonitorCommand::TestAlert(command)) => return command.run(terminal).await,
            Some(MonitorCommand::Example) => {
                terminal.raw(format_args!("{EXAMPLE}"));
                return Ok(Exit::YES);
            }
            None => {}
        }
        let (plan, configured) = match &self.config {
            Some(path) => (Config::read(path, wall_clock)?, true),
            None => (self.plan()?, false),
        };
        let listen = self.serve.or(plan.listen.filter(|_| self.follow));
        let serves = listen.is_some();
        if configured || serves {
            start_logging();
        }
        // Lines of JSON on standard output are somebody's input: nothing else goes there.
        let silent = plan.sinks.iter().any(|sink| matches!(sink.way, Way::Lines(Lines::Out)));
        let several = plan.logs.len() > 1;
        let printer = (!silent).then(|| Printer::new(*terminal, several, !(self.follow || serves)));
        let fleet = Fleet::open(plan, configured || serves, wall_clock)?;
        let (stop, stopping) = watch::channel(false);
        let mut signals = Signals::new()?;
        let served = match listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                let listener = bound.with_context(|| format!("cannot listen on {address}"))?;
                let address = listener.local_addr()?;
                if !silent {
                    terminal.line(format_args!("listening on http://{address}"));
                    terminal.value(&json!({ "listening": format!("http://{address}") }));
                }
                let (router, mut stopping) = (serve::router(fleet.view(), wall_clock), stopping.clone());
                let stop = async move { stopped(&mut stopping).await };
                Some(tokio::spawn(crate::serve::serve(listener, router, serve::limits(), stop)))
            }
        };
        tokio::spawn(async move {
            signals.any().await;
            stop.send_replace(true);
        });
        let running = Running {
            now: wall_clock,
            once: !(self.follow || serves),
            persist: configured,
            audience: Arc::new(move |news| {
                if let Some(printer) = &printer {
                    printer.tell(news);
                }
            }),
            stop: stopping,
        };
        let outcome = fleet.run(running).await;
        if let Some(served) = served {
            served.await?;
        }
        let code = outcome.gravest.and_then(Class::exit_code);
        Ok(code.map_or(if outcome.lost { Exit::UNKNOWN } else { Exit::YES }, Exit))
    }

    /// The one log that the arguments name.
    fn plan(&self) -> anyhow::Result<Plan> {
        let Opened { log, pin, .. } = self.log.open_anyway(1)?;
        // What `append` and others were shown: the log must stand by it here too.
        let notes = pin.newest().map(|pinned| pinned.signed().to_string()).into_iter().collect();
        let known = log.known().clone();
        let settings = Settings { stale_after_s: self.stale_after, keep: self.keep, ..Settings::default() };
        let state = self.state.clone().context("say --state")?;
        let plan = LogPlan {
            name: self.log.log.clone().unwrap_or_else(|| "log".to_owned()),
            known,
            state: state.clone(),
            vantages: vec![Vantage::direct(log.source().clone())],
            settings,
            watch: Watch::default(),
            notes,
        };
        Ok(Plan {
            state,
            interval: Duration::from_secs(self.interval),
            listen: None,
            logs: vec![plan],
            alerts: alert::Settings::default(),
            sinks: Vec::new(),
            peers: Vec::new(),
        })
    }
}

fn start_logging() {
    let colour = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colour).with_target(false).init();
}

fn wall_clock() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(millis)
        .ok()
        .and_then(Timestamp::from_millis)
        .unwrap_or_else(|| Timestamp::from_millis(0).expect("0 is a time"))
}

/// The signals that mean that somebody wants this to end.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

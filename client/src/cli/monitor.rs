//! `counterfoil monitor`.
//!
//! Its exit codes are its own: 0 nothing found, 10 FORK, 11 INVALID, 12 STALE, 13 UNAVAILABLE, 14 COVERAGE, the gravest
//! counts; 2 if its own state cannot be used. Findings against issuers change nothing.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use counterfoil_merkle::TreeSize;
use counterfoil_receipt::{
    Timestamp,
    audit::{Class, Code, Finding, Place, Report},
};
use serde_json::json;

use super::{
    Exit, LogArgs, Opened, Terminal,
    progress::Progress,
    terminal::{Tone, moment_s, shown},
};
use crate::monitor::{Monitor as Watcher, Outside, STALE_AFTER_S, Settings, StateError, Vantage};

/// Most findings that are remembered so as not to be printed again.
const PRINTED_MAX: usize = 100_000;

/// Read a log whole, recompute it, and say what does not hold.
#[derive(Args, Debug)]
pub(super) struct Monitor {
    #[command(flatten)]
    log: LogArgs,

    /// Directory for what the monitor verified: one for each log, made if it is not there.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,

    /// Look once and exit with what was found; this is the default.
    #[arg(long, conflicts_with = "follow")]
    once: bool,

    /// Look again and again, until killed.
    #[arg(long)]
    follow: bool,

    /// Seconds between two looks.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,

    /// Seconds after which the newest time that the log attested is too old.
    #[arg(long, value_name = "S", default_value_t = STALE_AFTER_S)]
    stale_after: u64,
}

impl Monitor {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Opened { log, pin, .. } = self.log.open_anyway(1)?;
        // What `append` and others were shown: the log must stand by it here too.
        let pinned: Vec<_> = pin.newest().map(|pinned| pinned.signed().to_string()).into_iter().collect();
        let settings = Settings { stale_after_s: self.stale_after, ..Settings::default() };
        let mut watcher =
            Watcher::open(&self.state, log.known(), vec![Vantage::direct(log.source().clone())], settings)?;
        if !self.follow {
            let report = look(&mut watcher, &pinned, true, terminal).await?;
            report.findings().iter().for_each(|finding| print(finding, terminal));
            summarize(&watcher, &report, terminal);
            return Ok(Exit(report.exit_code()));
        }
        let mut printed = Printed::default();
        let mut gravest: Option<Class> = None;
        loop {
            let report = tokio::select! {
                report = look(&mut watcher, &pinned, false, terminal) => report?,
                () = killed() => break,
            };
            gravest = gravest.into_iter().chain(report.gravest()).min();
            let new = printed.new_of(&report);
            new.iter().for_each(|finding| print(finding, terminal));
            let moved = printed.moved(&watcher);
            if moved || !new.is_empty() {
                summarize(&watcher, &report, terminal);
            }
            if moved && watcher.state().backlog() > 0 {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(self.interval)) => {}
                () = killed() => break,
            }
        }
        Ok(Exit(gravest.and_then(Class::exit_code).unwrap_or(0)))
    }
}

/// One round, or as many as it takes to read all, which says how far it is if it takes long.
async fn look(
    watcher: &mut Watcher,
    notes: &[String],
    all: bool,
    terminal: &Terminal,
) -> Result<Report, StateError> {
    let line = Mutex::new(Progress::new(terminal));
    let progress = |read: TreeSize, whole: TreeSize| {
        if let Ok(mut line) = line.lock() {
            line.show(format_args!("{read} of {whole} entries read"));
        }
    };
    let mut outside = Outside {
        now: &wall_clock,
        progress: &progress,
        notes,
        observe: &mut |_, _, _, _| (),
        record: &mut |_| Ok(()),
    };
    if all { watcher.catch_up(&mut outside).await } else { watcher.round(&mut outside).await }
}

/// What has been printed, so that nothing is said twice.
#[derive(Default)]
struct Printed {
    findings: HashSet<(Code, Place)>,
    size: Option<u64>,
}

impl Printed {
    /// Findings that were not printed before. What passes, and comes again, is printed again.
    fn new_of<'r>(&mut self, report: &'r Report) -> Vec<&'r Finding> {
        let present: HashSet<_> =
            report.findings().iter().map(|finding| (finding.code, finding.place)).collect();
        let passes = |code: Code| matches!(code.class(), Class::Stale | Class::Unavailable);
        self.findings.retain(|known| !passes(known.0) || present.contains(known));
        if self.findings.len() > PRINTED_MAX {
            self.findings.clear();
        }
        let new = |finding: &&Finding| self.findings.insert((finding.code, finding.place));
        report.findings().iter().filter(new).collect()
    }

    /// Whether more has been verified than was said last.
    fn moved(&mut self, watcher: &Watcher) -> bool {
        let size = Some(watcher.state().head().size.get());
        std::mem::replace(&mut self.size, size) != size
    }
}

fn print(finding: &Finding, terminal: &Terminal) {
    let tone = match finding.class() {
        Class::Fork | Class::Invalid => Tone::Bad,
        Class::Stale | Class::Unavailable | Class::Coverage => Tone::Warn,
        Class::Issuer | Class::Match => Tone::Dim,
    };
    let line = finding.to_string();
    let (class, rest) = line.split_once(' ').unwrap_or((&line, ""));
    terminal.line(format_args!("{} {rest}", terminal.paint(tone, class)));
    terminal.value(&json!({
        "class": finding.class().as_str(),
        "code": finding.code.as_str(),
        "place": finding.place.to_string(),
        "message": finding.message,
    }));
}

fn summarize(watcher: &Watcher, report: &Report, terminal: &Terminal) {
    let (state, origin) = (watcher.state(), watcher.origin());
    let (head, time_s) = (state.head(), state.audit.times().newest_s());
    let tone = if report.is_clean() { Tone::Good } else { Tone::Bad };
    let verdict = match report.gravest().filter(|_| !report.is_clean()) {
        Some(class) => class.as_str(),
        None => "OK",
    };
    let attested = time_s.map_or_else(|| "at no time that is known".to_owned(), moment_s);
    let found: u64 = report.counts().values().sum();
    terminal.line(format_args!(
        "{} {}: {} entries verified, root {}, attested {attested}; {found} findings",
        terminal.paint(tone, verdict),
        shown(origin),
        head.size,
        head.root,
    ));
    let counts: serde_json::Map<_, _> =
        report.counts().iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
    let evidence: Vec<_> =
        watcher.forks().proven().iter().map(|proven| proven.path.display().to_string()).collect();
    terminal.value(&json!({
        "origin": origin, "size": head.size.get(), "root": head.root.to_string(), "time": time_s,
        "findings": counts, "evidence": evidence, "exit": report.exit_code(),
    }));
}

fn wall_clock() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(millis)
        .ok()
        .and_then(Timestamp::from_millis)
        .unwrap_or_else(|| Timestamp::from_millis(0).expect("0 is a time"))
}

/// Waits until somebody wants this to end. A round that is cut off here leaves the state as it was.
async fn killed() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

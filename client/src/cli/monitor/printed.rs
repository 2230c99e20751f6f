//! What a monitor prints: findings as they come, and a summary when something is new.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use counterfoil_receipt::audit::{Class, Code, Finding, Place, Report};
use serde_json::json;

use crate::{
    cli::{
        Terminal,
        progress::Progress,
        terminal::{Tone, moment_s, shown},
    },
    fleet::News,
    monitor::Monitor as Watcher,
};

/// Most findings that are remembered so as not to be printed again.
const PRINTED_MAX: usize = 100_000;

/// Prints the news.
pub(super) struct Printer {
    terminal: Terminal,
    /// Whether lines say which log they are about.
    several: bool,
    /// Whether each log is looked at once only: then all is printed.
    once: bool,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    printed: HashMap<String, Printed>,
}

impl Printer {
    pub(super) fn new(terminal: Terminal, several: bool, once: bool) -> Self {
        let state = State { progress: Progress::new(&terminal), printed: HashMap::new() };
        Self { terminal, several, once, state: Mutex::new(state) }
    }

    pub(super) fn tell(&self, news: News<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Reads { read, whole } => {
                state.progress.show(format_args!("{read} of {whole} entries read"))
            }
            News::Lost { origin, reason } => {
                state.progress.clear();
                let reason = if self.several { format!("{origin}: {reason}") } else { reason.to_owned() };
                self.terminal.error(&anyhow::Error::msg(reason));
            }
            News::Looked { monitor, report } => {
                state.progress = Progress::new(&self.terminal);
                let printed = state.printed.entry(monitor.origin().to_owned()).or_default();
                let new = printed.new_of(report);
                let moved = printed.moved(monitor);
                let origin = self.several.then(|| monitor.origin());
                let all: Vec<_> = report.findings().iter().collect();
                let printing = if self.once { &all } else { &new };
                printing.iter().for_each(|finding| print(finding, origin, &self.terminal));
                if self.once || moved || !new.is_empty() {
                    summarize(monitor, report, &self.terminal);
                }
            }
        }
    }
}

/// What has been printed of a log, so that nothing is said twice.
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

fn print(finding: &Finding, origin: Option<&str>, terminal: &Terminal) {
    let tone = match finding.class() {
        Class::Fork | Class::Invalid => Tone::Bad,
        Class::Stale | Class::Unavailable | Class::Coverage | Class::ErasedByLog => Tone::Warn,
        Class::Issuer | Class::Match => Tone::Dim,
    };
    let line = finding.to_string();
    let (class, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let log = origin.map(|origin| format!("{}: ", shown(origin))).unwrap_or_default();
    terminal.line(format_args!("{log}{} {rest}", terminal.paint(tone, class)));
    let mut value = json!({
        "class": finding.class().as_str(),
        "code": finding.code.as_str(),
        "place": finding.place.to_string(),
        "message": finding.message,
    });
    if let Some(origin) = origin {
        value["origin"] = json!(origin);
    }
    terminal.value(&value);
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

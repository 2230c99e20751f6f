//! The status page: what is watched, how far it is, when it last advanced, what is found, who has been told.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use counterfoil_receipt::Timestamp;
use serde::Serialize;
use tracing::error;

use super::App;
use crate::{
    alert::{Alert, Standing},
    cli::terminal::{moment, moment_s, shown},
    fleet::Watched,
    hearsay::path_name,
    monitor::Snapshot,
};

/// How many of the newest alerts are shown.
const NEWEST_SHOWN: usize = 20;

/// Most findings that last that are shown.
const OPEN_SHOWN: usize = 200;

/// All that the page says. Times are in ms since 1970, save where the name says otherwise.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    now: u64,
    started: u64,
    logs: Vec<LogStatus>,
    /// What lasts now, of all logs; the gravest first.
    open: Vec<Alert>,
    /// The newest alerts, newest first.
    newest: Vec<Alert>,
    sinks: Vec<SinkStatus>,
    queue: Option<QueueStatus>,
}

#[derive(Serialize)]
struct LogStatus {
    name: String,
    origin: String,
    /// How it is named in paths: SHA-256 of the origin.
    path: String,
    url: String,
    /// Entries that were read and verified, and their root.
    size: u64,
    root: Option<String>,
    /// Entries that the log has signed for.
    known_size: u64,
    attested_s: Option<u64>,
    advanced: Option<u64>,
    looked: Option<u64>,
    /// What has been read in a look that goes on, and what there is to read.
    reading: Option<(u64, u64)>,
    /// Why it is not being watched, if it is not.
    trouble: Option<String>,
    forks_proven: u64,
    mirrored: bool,
    /// How many findings the last look had, and the gravest of them.
    found: u64,
    findings: Vec<FindingStatus>,
}

#[derive(Serialize)]
struct FindingStatus {
    class: &'static str,
    code: &'static str,
    place: String,
    message: String,
}

#[derive(Serialize)]
struct SinkStatus {
    name: String,
    kind: &'static str,
    behind: u64,
    missed: u64,
}

#[derive(Serialize)]
struct QueueStatus {
    bytes: u64,
    bytes_max: u64,
}

/// `GET /status.json`
pub(super) async fn document(State(app): State<Arc<App>>) -> Response {
    let status = Status::of(&app);
    ([(header::CACHE_CONTROL, "no-cache")], Json(status)).into_response()
}

/// `GET /`: the same as text, in which nothing that a log or an issuer wrote is obeyed by a terminal or a browser.
pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    Status::of(&app).print(&mut text).expect("writing into memory");
    let kind = "text/plain; charset=utf-8";
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

impl Status {
    fn of(app: &App) -> Self {
        let alerts = app.view.alerts.as_ref();
        let open = alerts.map(|alerts| alerts.open_now(OPEN_SHOWN)).unwrap_or_default();
        let newest = alerts.map(|alerts| alerts.newest(NEWEST_SHOWN)).transpose();
        let newest = newest.unwrap_or_else(|reason| {
            error!(%reason, "the newest alerts cannot be read");
            None
        });
        let standings = alerts.map(|alerts| alerts.standings()).unwrap_or_default();
        let space = alerts.map(|alerts| alerts.space());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: (app.now)().millis(),
            started: app.started.millis(),
            logs: app.view.logs.iter().map(|log| LogStatus::of(log)).collect(),
            open,
            newest: newest.unwrap_or_default(),
            sinks: standings.into_iter().map(|standing| app.sink(standing)).collect(),
            queue: space.map(|(bytes, bytes_max)| QueueStatus { bytes, bytes_max }),
        }
    }

    fn print(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "counterfoil monitor {}, {}", self.version, at(Some(self.now)))?;
        writeln!(out, "running since {}\n", at(Some(self.started)))?;
        for log in &self.logs {
            log.print(out)?;
        }
        for (title, alerts) in [("lasting now", &self.open), ("newest alerts", &self.newest)] {
            if !alerts.is_empty() {
                writeln!(out, "{title}:")?;
            }
            for alert in alerts {
                let Alert { class, code, place, message, at: found, .. } = alert;
                let (event, log) = (alert.event.as_str(), shown(&alert.log));
                let (code, place, message) = (shown(code), shown(place), shown(message));
                writeln!(out, "  {} {event} {class} {code} at {place} of {log}: {message}", moment(*found))?;
            }
            out.push('\n');
        }
        for sink in &self.sinks {
            let SinkStatus { name, kind, behind, missed } = sink;
            writeln!(out, "sink {name} ({kind}): {behind} to be told, {missed} missed")?;
        }
        if let Some(queue) = &self.queue {
            writeln!(out, "queue: {} of {} bytes", queue.bytes, queue.bytes_max)?;
        }
        Ok(())
    }
}

impl App {
    fn sink(&self, standing: Standing) -> SinkStatus {
        let Standing { name, behind, missed } = standing;
        let kind = self.view.sinks.iter().find(|(sink, _)| *sink == name).map_or("", |(_, kind)| *kind);
        SinkStatus { name, kind, behind, missed }
    }
}

impl LogStatus {
    fn of(log: &Watched) -> Self {
        let (standing, snapshot) = (log.standing(), log.snapshot());
        let snapshot = snapshot.as_ref();
        let finding = |finding: &counterfoil_receipt::audit::Finding| FindingStatus {
            class: finding.class().as_str(),
            code: finding.code.as_str(),
            place: finding.place.to_string(),
            message: finding.message.clone(),
        };
        Self {
            name: log.name.clone(),
            origin: log.origin().to_owned(),
            path: path_name(&log.known.key).to_string(),
            url: log.known.url.clone(),
            size: snapshot.map_or(0, |snapshot| snapshot.head().size.get()),
            root: snapshot.map(|snapshot| snapshot.head().root.to_string()),
            known_size: snapshot.map_or(0, |snapshot| snapshot.known_size().get()),
            attested_s: snapshot.and_then(Snapshot::attested_s),
            advanced: snapshot.and_then(Snapshot::advanced).map(Timestamp::millis),
            looked: standing.looked.map(Timestamp::millis),
            reading: standing.reading.map(|(read, whole)| (read.get(), whole.get())),
            trouble: standing.trouble,
            forks_proven: standing.forks,
            mirrored: snapshot.is_some_and(|snapshot| snapshot.mirror().is_some()),
            found: standing.found,
            findings: standing.findings.iter().map(finding).collect(),
        }
    }

    fn print(&self, out: &mut String) -> std::fmt::Result {
        let root = self.root.as_deref().unwrap_or("none");
        let attested = self.attested_s.map_or_else(|| "never".to_owned(), moment_s);
        writeln!(out, "log {} ({})", shown(&self.origin), shown(&self.name))?;
        writeln!(out, "  verified {} of {} entries, root {root}", self.size, self.known_size)?;
        writeln!(
            out,
            "  attested {attested}, advanced {}, looked at {}",
            at(self.advanced),
            at(self.looked)
        )?;
        if let Some((read, whole)) = self.reading {
            writeln!(out, "  reading: {read} of {whole} entries")?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(out, "  NOT WATCHED: {}", shown(trouble))?;
        }
        if self.forks_proven > 0 {
            writeln!(out, "  FORKED: {} times, proven", self.forks_proven)?;
        }
        writeln!(out, "  {} findings in the last look", self.found)?;
        for finding in &self.findings {
            let FindingStatus { class, code, place, message } = finding;
            writeln!(out, "    {class} {code} at {}: {}", shown(place), shown(message))?;
        }
        writeln!(out)
    }
}

fn at(millis: Option<u64>) -> String {
    millis.and_then(Timestamp::from_millis).map_or_else(|| "never".to_owned(), moment)
}

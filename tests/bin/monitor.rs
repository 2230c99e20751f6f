//! A monitor that looks without pause and writes what it finds to a file, durably, before its state goes past it. To be
//! killed.
//!
//! `under-test-monitor STATE LOG LOG_KEY CLOCK_KEY FINDINGS`

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use counterfoil_client::{
    KnownLog, Source,
    monitor::{Monitor, Outside, Settings, StateError, Vantage},
    source::Connection,
};
use counterfoil_receipt::{Timestamp, audit::Finding};

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [state, url, log, clock, findings] = arguments.try_into().map_err(|_| "five arguments")?;
    let known = KnownLog { key: log.parse()?, clock: Some(clock.parse()?), url, policy: None };
    let vantages = vec![Vantage::direct(Source::open(&known.url, &Connection::default())?)];
    // Short readings, so that it is killed in the middle of many of them.
    let settings = Settings {
        keep: true,
        attempts: 1,
        reading_time_max: Duration::from_millis(30),
        ..Settings::default()
    };
    let mut monitor = Monitor::open(Path::new(&state), &known, vantages, settings)?;
    let mut file = OpenOptions::new().create(true).append(true).open(findings)?;
    loop {
        let mut outside = Outside {
            now: &now,
            progress: &|_, _| (),
            notes: &[],
            observe: &mut |_, _| (),
            record: &mut |found| record(&mut file, found).map_err(|error| StateError::Record(error.into())),
        };
        monitor.round(&mut outside).await?;
    }
}

/// A line a finding. What a crash cut off gets a line of its own, which says nothing.
fn record(file: &mut File, found: &[Finding]) -> std::io::Result<()> {
    let lines: String = found.iter().map(|found| format!("\n{} at {};", found.code, found.place)).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(millis).ok().and_then(Timestamp::from_millis).expect("a time of our days")
}

//! A log inside a test's own process: wired as the server does it, without HTTP and without an index on disk.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use counterfoil_server::{
    clock::{Clock, wall_now},
    config::{AdmissionMode, Config},
    driver::Driver,
    guard::Guard,
    init::{NewLog, init},
    log::Log,
    metrics::Metrics,
    objects::Objects,
    pace::Pace,
    publish::{Publisher, heads::Heads, shown::EvidencePlace},
    room::Room,
    rules::WantedRules,
    signers::Signers,
};

/// A new log that admits any valid signature, in that directory, with its guard's file.
///
/// # Panics
/// If it cannot be made.
pub fn new_log(origin: &str, directory: &Path, guard: &Path) -> Config {
    let new = NewLog {
        origin: origin.to_owned(),
        directory: directory.to_owned(),
        guard: guard.to_owned(),
        mode: AdmissionMode::Open,
        registrars: Vec::new(),
        pkcs11: None,
        listen: None,
        store: None,
    };
    let made = init(&new, wall_now().expect("the time")).expect("a new log");
    Config::read(&made.config).expect("a configuration")
}

/// The loop of the log of a configuration, over a store and a guard. It publishes alone, and needs no room on the disk.
///
/// # Panics
/// If the configuration cannot be used.
pub fn driver(config: &Config, objects: Objects, guard: Guard, clock: Clock, pace: Pace) -> Driver {
    let log_key = config.log_vkey().expect("the log's key");
    let origin = log_key.name().as_str().parse().expect("an origin");
    let Signers { log, clock: clock_key, operator } = Signers::open(config).expect("the log's private keys");
    let publisher = Publisher::new(log, clock_key, log_key, config.clock_vkey().expect("the clock's key"));
    Driver {
        log: Arc::new(Log::new(Arc::new(objects), None, config.limits.queue_max)),
        guard: Arc::new(Mutex::new(guard)),
        heads: Heads::Alone(Box::new(publisher.expect("the pinned keys"))),
        evidence: EvidencePlace::beside(&config.data),
        clock,
        clock_gap_max: Duration::from_secs(config.limits.clock_gap_max_s),
        room: Room::new(0),
        rules: Arc::new(WantedRules::new(origin, operator, &config.admission).expect("rules")),
        metrics: Arc::new(Metrics::new()),
        pace,
    }
}

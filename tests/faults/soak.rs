//! A log that runs for long, is killed at random and scrubbed all the while: memory, descriptors and disk stay flat.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{
    Deployment, Issuing,
    audit::Seen,
    ledger::{Acknowledged, append_until_killed},
};

use crate::{PROGRAMS, campaign::number, dice::Dice};

/// Seconds, unless the environment says otherwise.
const SOAK_S: u64 = 10;

/// How many writers send at once.
const WRITERS: u64 = 3;

/// Bytes of memory that an entry may cost for good: its places in the indexes.
const ENTRY_MEMORY_MAX: u64 = 96;

/// Bytes on disk that an entry may cost in the indexes.
const ENTRY_INDEX_MAX: u64 = 96;

/// By so much memory may grow for other reasons.
const MEMORY_SLACK: u64 = 24 << 20;

/// By so much may what is neither entries nor tiles grow: commit records that are retained or written over, staging
/// files, partial bundles.
const DISK_SLACK: u64 = 2 << 20;

/// The same, of the indexes' files.
const INDEX_SLACK: u64 = 16 << 20;

/// By so many may descriptors grow.
const DESCRIPTORS_SLACK: u64 = 8;

/// Fewer samples than this say nothing.
const SAMPLES_MIN: usize = 9;

/// What was measured at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    entries: u64,
    memory: u64,
    descriptors: u64,
    /// Bytes of the data directory beside full tiles and bundles.
    beside: u64,
    /// Bytes of both indexes.
    indexes: u64,
}

impl Sample {
    fn take(log: &Deployment) -> Self {
        let process = Path::new("/proc").join(log.process().to_string());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
        let descriptors = fs::read_dir(process.join("fd")).unwrap().count() as u64;
        let size = |name: &str| bytes_below(&log.directory().join(name), |_| true);
        let full = |path: &Path| {
            let text = path.to_string_lossy();
            (text.contains("/tile/") || text.contains("/statement/"))
                && !text.contains(".p/")
                && !text.contains('#')
        };
        let beside = bytes_below(&log.data(), |path| !full(path));
        Self {
            entries: metric(log, "tree_size"),
            memory,
            descriptors,
            beside,
            indexes: size("index") + size("search"),
        }
    }
}

/// Bytes of the files below a directory that are of interest; one that goes away meanwhile has none.
fn bytes_below(directory: &Path, of_interest: impl Fn(&Path) -> bool + Copy) -> u64 {
    let Ok(items) = fs::read_dir(directory) else { return 0 };
    let bytes = items.map_while(Result::ok).map(|item| {
        let path = item.path();
        match item.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&path, of_interest),
            Ok(metadata) if of_interest(&path) => metadata.len(),
            _ => 0,
        }
    });
    bytes.sum()
}

/// A number that the server counts.
fn metric(log: &Deployment, name: &str) -> u64 {
    let reply = log.http().get("/metrics").unwrap();
    let line = reply.text().lines().find_map(|line| line.strip_prefix(&format!("counterfoil_{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {}", reply.text())).parse().unwrap()
}

/// The median of a third of the samples: 0 is the first, 2 the last.
fn median(samples: &[Sample], third: usize, of: impl Fn(&Sample) -> u64) -> u64 {
    let length = samples.len() / 3;
    let mut values: Vec<_> = samples[third * length..(third + 1) * length].iter().map(of).collect();
    values.sort_unstable();
    values[length / 2]
}

/// In the last third of the time the log takes no more than in the middle third, but for what its entries need.
fn check_flat(samples: &[Sample]) {
    let [middle, last] = [1, 2].map(|third| Sample {
        entries: median(samples, third, |sample| sample.entries),
        memory: median(samples, third, |sample| sample.memory),
        descriptors: median(samples, third, |sample| sample.descriptors),
        beside: median(samples, third, |sample| sample.beside),
        indexes: median(samples, third, |sample| sample.indexes),
    });
    println!("soak: medians of the middle third: {middle:?}\nsoak: medians of the last third: {last:?}");
    let grown = last.entries - middle.entries;
    let flat = |what: &str, middle: u64, last: u64, more: u64| {
        assert!(last <= middle + more, "{what}: {last}, after {middle}; {more} more would be flat");
    };
    flat("memory", middle.memory, last.memory, grown * ENTRY_MEMORY_MAX + MEMORY_SLACK);
    flat("descriptors", middle.descriptors, last.descriptors, DESCRIPTORS_SLACK);
    flat("disk beside entries and tiles", middle.beside, last.beside, DISK_SLACK);
    flat("disk of the indexes", middle.indexes, last.indexes, grown * ENTRY_INDEX_MAX + INDEX_SLACK);
}

/// Those who append, until the log is killed.
fn write(
    log: &Deployment,
    life: u64,
    ledger: &Arc<Mutex<Vec<Acknowledged>>>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let key: VerifierKey = log.log_key.parse().unwrap();
    let start = |n| {
        let (ledger, stop, key) = (Arc::clone(ledger), Arc::clone(stop), key.clone());
        let (issuing, address) = (Issuing::new(&log.origin, life * WRITERS + n), log.address());
        let how = (address, "", Duration::from_millis(8));
        thread::spawn(move || append_until_killed(issuing, how, &key, &ledger, &stop))
    };
    (0..WRITERS).map(start).collect()
}

/// `COUNTERFOIL_SOAK_S` says how long; `COUNTERFOIL_SOAK_SEED` chooses other moments for the kills.
#[test]
fn a_log_that_runs_for_long_stays_flat() {
    let (seconds, seed) = (number("COUNTERFOIL_SOAK_S", SOAK_S), number("COUNTERFOIL_SOAK_SEED", 1));
    let mut log = Deployment::init(PROGRAMS, "log.example/soak", &["--open"]);
    log.configure(&[
        ("bytes_per_second = 4194304", "bytes_per_second = 20000000"),
        ("rest_s = 600", "rest_s = 1"),
    ]);
    let (key, ledger): (VerifierKey, _) = (log.log_key.parse().unwrap(), Arc::<Mutex<Vec<_>>>::default());
    let (mut dice, mut samples, mut passes, mut lives) = (Dice::new(seed, 0), Vec::new(), 0, 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) || samples.len() < SAMPLES_MIN || passes < 2 {
        log.up();
        let stop = Arc::<AtomicBool>::default();
        let writers = write(&log, lives, &ledger, &stop);
        let life = Duration::from_millis(2000 + dice.below(usize::try_from(seconds * 25).unwrap()) as u64);
        let (begun, mut passed) = (Instant::now(), 0);
        while begun.elapsed() < life {
            thread::sleep(Duration::from_millis(500));
            samples.push(Sample::take(&log));
            passed = metric(&log, "scrub_passes_total");
            assert_eq!(metric(&log, "scrub_damaged"), 0, "{}", log.server_log());
        }
        passes += passed;
        log.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        lives += 1;
    }
    log.up();
    let (mut http, mut seen, ledger) = (log.http(), Seen::default(), ledger.lock().unwrap());
    ledger.iter().for_each(|ack| ack.check(&mut http, &key, &mut seen));
    log.down();
    log.server_run(&["fsck"]).exits(0);
    println!(
        "soak: {} s, {lives} kills, {passes} passes of the scrubber, {} receipts acknowledged, none lost, {} samples",
        started.elapsed().as_secs(),
        ledger.len(),
        samples.len()
    );
    check_flat(&samples);
}

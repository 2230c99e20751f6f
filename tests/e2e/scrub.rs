//! The scrubber: damage under a running log is found, named, and stops writing; reads go on.

use std::{fs, path::Path};

use counterfoil_merkle::bundle::empty_items;
use counterfoil_tests::{Deployment, Issuing, until};

use crate::PROGRAMS;

/// Has a log that is down scrubbed fast, and again and again.
pub(crate) fn scrub_fast(log: &Deployment) {
    let path = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&path).unwrap();
    let fast = text
        .replace("bytes_per_second = 4194304", "bytes_per_second = 1000000000")
        .replace("rest_s = 600", "rest_s = 1");
    assert_ne!(text, fast);
    fs::write(path, fast).unwrap();
}

/// A number that the server counts.
pub(crate) fn metric(log: &Deployment, name: &str) -> u64 {
    let reply = log.http().get("/metrics").unwrap();
    let line = reply.text().lines().find_map(|line| line.strip_prefix(&format!("counterfoil_{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {}", reply.text())).parse().unwrap()
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    bytes
}

/// Damages a file below a running log, and takes the log through what follows.
fn found(log: &mut Deployment, issuing: &mut Issuing, name: &str, damaged: Option<Vec<u8>>) {
    let path = log.data().join(name);
    let good = fs::read(&path).unwrap();
    let before = log.server_log().len();
    until(|| metric(log, "scrub_passes_total") > 0, "a pass over a log in order");
    assert_eq!(metric(log, "scrub_damaged"), 0);
    assert_eq!(log.http().get("/readyz").unwrap().status, 200);
    match damaged {
        Some(damaged) => fs::write(&path, damaged).unwrap(),
        None => fs::remove_file(&path).unwrap(),
    }
    until(|| log.http().get("/readyz").unwrap().status == 503, "writing stops");
    assert_eq!(metric(log, "scrub_damaged"), 1);
    let said = log.server_log().split_off(before);
    assert!(said.contains("the stored log is damaged") && said.contains(name), "{name}: {said}");
    let mut http = log.http();
    let refused = http.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(http.get("/checkpoint").unwrap().status, 200);
    assert_eq!(http.get("/tile/entries/001").unwrap().status, 200);
    log.kill();
    fs::write(&path, good).unwrap();
    log.up();
    log.append(issuing, 1);
}

/// A flipped bit in a bundle or a tile, a missing object, and an emptied slot that no record orders: each is found while the
/// log runs, and each stops writing.
#[test]
fn damage_is_found_and_stops_writing() {
    let mut log = Deployment::start(PROGRAMS, "log.example/scrub");
    let mut issuing = Issuing::new(&log.origin, 41);
    log.append(&mut issuing, 600);
    log.down();
    scrub_fast(&log);
    log.up();
    for name in ["tile/entries/000", "tile/0/001", "statement/001"] {
        let damaged = flipped(&fs::read(log.data().join(name)).unwrap());
        found(&mut log, &mut issuing, name, Some(damaged));
    }
    found(&mut log, &mut issuing, "tile/0/000", None);
    let statements = fs::read(log.data().join("statement/000")).unwrap();
    let emptied = empty_items(&statements, |slot| slot == 9).unwrap();
    found(&mut log, &mut issuing, "statement/000", Some(emptied));
    assert!(log.server_log().contains("the statement of entry 9 is gone, and no record orders that"));
    log.down();
    log.server_run(&["fsck"]).exits(0);
}

/// Turned off, it reads nothing.
#[test]
fn it_can_be_turned_off() {
    let mut log = Deployment::init(PROGRAMS, "log.example/unscrubbed", &["--open"]);
    let path: &Path = &log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace("bytes_per_second = 4194304", "bytes_per_second = 0")).unwrap();
    log.up();
    log.append(&mut Issuing::new(&log.origin, 42), 300);
    let shown = log.server_run(&["run", "--check"]).exits(0);
    assert!(shown.out.contains("bytes_per_second = 0"), "{}", shown.out);
    assert_eq!((metric(&log, "scrub_passes_total"), metric(&log, "scrub_position")), (0, 0));
}

//! The load tool counts what the log did, and nothing else.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use counterfoil_tests::{Deployment, Http, Issuing};
use serde_json::Value;

use crate::PROGRAMS;

fn load(log: &Deployment, more: &[&str]) -> Value {
    let url = log.url();
    let target = ["load", "--json", "--url", &url, "--log-key", &log.log_key, "--clock", &log.clock_key];
    log.client(&[&target[..], more].concat()).exits(0).json()
}

/// Latencies are in order, and the count of what was read is stated.
fn assert_plausible(latency_ms: &Value) {
    let names = ["p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max"];
    let all: Vec<_> = names.iter().map(|name| latency_ms[name].as_f64().unwrap()).collect();
    assert!(all.is_sorted() && all[0] > 0.0, "{latency_ms}");
}

/// Every receipt that is reported as acknowledged is in the log; every answer was verified, reads included.
#[test]
fn what_is_reported_is_in_the_log() {
    let log = Deployment::start(PROGRAMS, "log.example/load");
    let mix = "proof=2,tile=1,entries=1,bundle=1,checkpoint=1";
    let single = ["--fill", "400", "--seed", "7", "--connections", "5", "--threads", "2", "--verify"];
    let measured = load(&log, &[&single[..], &["--readers", "3", "--read", mix]].concat());
    assert_eq!((&measured["acknowledged"], &measured["refused"]), (&400.into(), &0.into()));
    assert_plausible(&measured["latency_ms"]);
    for reading in ["proof", "tile", "entries", "bundle", "checkpoint"] {
        assert!(measured["reads"][reading]["count"].as_u64().unwrap() > 0, "{reading}: {measured}");
        assert_plausible(&measured["reads"][reading]["latency_ms"]);
    }
    let batches = load(&log, &["--fill", "333", "--seed", "8", "--batch", "50", "--verify"]);
    assert_eq!(batches["acknowledged"], 333);
    let checkpoint = log.http().get("/checkpoint").unwrap();
    assert_eq!(checkpoint.text().lines().nth(1), Some("734"), "the rules, 400 and 333");

    let again = ["load", "--url", &log.url(), "--log-key", &log.log_key, "--fill", "10", "--seed", "7"];
    let refused = log.client(&again).exits(2);
    assert!(refused.err.contains("receipts of this seed already"), "{}", refused.err);
}

/// An open loop sends as many as are due in its time, and no faster; readers alone end when theirs is over.
#[test]
fn an_open_loop_keeps_its_schedule() {
    let log = Deployment::start(PROGRAMS, "log.example/open-loop");
    let open = ["--fill", "1000", "--rate", "200", "--warm-up", "0.5", "--duration", "1"];
    let measured = load(&log, &open);
    assert_eq!(measured["acknowledged"], 200, "{measured}");
    assert!(measured["seconds"].as_f64().unwrap() > 0.99, "{measured}");
    let readers = ["--fill", "0", "--readers", "2", "--read-rate", "100", "--read", "checkpoint"];
    let measured = load(&log, &[&readers[..], &["--duration", "0.5"]].concat());
    assert_eq!(measured["reads"]["checkpoint"]["count"], 50, "{measured}");
    assert_eq!(measured["acknowledged"], 0);
}

/// What cannot be measured is an error that says why.
#[test]
fn what_cannot_be_sent_is_named() {
    let log = Deployment::start(PROGRAMS, "log.example/load-errors");
    let url = log.url();
    let target = ["load", "--url", &url, "--log-key", &log.log_key];
    for (more, message) in [
        (&["--fill", "0"][..], "nothing is sent"),
        (&["--fill", "0", "--readers", "1"], "readers alone need --duration"),
        (&["--read", "everything"], "is none of proof"),
        (&["--rate", "0"], "a number from 0.001"),
        (&["--cpus", "100000"], "no system has a processor 100000"),
    ] {
        let refused = log.client(&[&target[..], more].concat()).exits(2);
        assert!(refused.err.contains(message), "{}", refused.err);
    }
}

/// The ceiling that a log is measured against answers as much as the log does, and checks signatures too.
#[test]
fn the_ceiling_answers_what_a_log_answers() {
    let log = Deployment::start(PROGRAMS, "ceiling.invalid/2");
    let _ = load(&log, &["--fill", "600", "--batch", "100"]);
    let mut issuing = Issuing::new(&log.origin, 77);
    let envelopes: Vec<_> = (0..64).map(|_| issuing.issue().1).collect();
    let real = log.http().post("/v1/receipts/batch", envelopes.join("\n").as_bytes()).unwrap();
    let ceiling = Ceiling::start(665);
    let target = ["load", "--url", &ceiling.url, "--log-key", &ceiling.key, "--json"];
    for more in [&["--fill", "100", "--readers", "2"][..], &["--fill", "90", "--batch", "40"]] {
        let measured = log.client(&[&target[..], more].concat()).exits(0).json();
        assert_eq!(measured["acknowledged"].to_string(), more[1], "{measured}");
    }
    let mut bare = Http::connect(ceiling.url.trim_start_matches("http://").parse().unwrap()).unwrap();
    for path in ["/v1/proofs/inclusion?index=332", "/tile/0/001"] {
        let (real, bare) = (log.http().get(path).unwrap(), bare.get(path).unwrap());
        assert_eq!((real.status, real.body.len()), (bare.status, bare.body.len()), "{path}");
    }
    let envelope = Issuing::new("ceiling.invalid/1", 77).issue().1;
    let answered = bare.post("/v1/receipts", envelope.as_bytes()).unwrap();
    assert_eq!((real.status, answered.status), (200, 201));
    let real = real.text().lines().nth(32).unwrap();
    assert!(real.starts_with("{\"index\":633,"), "{real}");
    assert!(real.len().abs_diff(answered.body.len()) < 8, "{real}\n{}", answered.text());
    // One digit of the payload is another one: it parses, and is not what was signed.
    let forged = envelope.replacen("Ii", "Ij", 1);
    assert_eq!(bare.post("/v1/receipts", forged.as_bytes()).unwrap().status, 400);
}

/// A server of bare handlers.
struct Ceiling {
    server: Child,
    url: String,
    key: String,
}

impl Ceiling {
    fn start(size: u64) -> Self {
        let mut server = Command::new(PROGRAMS.server);
        server.args(["bench-ceiling", "--size", &size.to_string()]).stdout(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut word = |prefix| lines.find_map(|line| Some(line.strip_prefix(prefix)?.trim().to_owned()));
        let (key, url) = (word("log key").unwrap(), word("listening on").unwrap());
        Self { server, url, key }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

//! A monitor tells of what it finds: to whomever it must, at least once, whatever is killed.

mod receiver;
pub(crate) mod watching;

use std::{collections::BTreeMap, time::Duration};

use counterfoil_tests::{Deployment, Issuing};
use serde_json::Value;

use self::{receiver::Receiver, watching::Watching};
use crate::PROGRAMS;

const FORK: i32 = 10;

/// A log's table in a configuration.
pub(crate) fn table(name: &str, log: &Deployment) -> String {
    let (key, clock, url) = (&log.log_key, &log.clock_key, log.url());
    format!("[[log]]\nname = '{name}'\nkey = '{key}'\nclock = '{clock}'\nurl = '{url}'\n")
}

pub(crate) const LINES: &str = "[[sink]]\nname = 'lines'\nlines = 'alerts.jsonl'\n";

/// How often each alert of that code was told, by id.
pub(crate) fn told(alerts: &[Value], code: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert["code"] == code && alert["event"] == "finding") {
        *counts.entry(alert["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// A log and a copy of it that went on by itself, both running.
fn forked(origin: &str) -> (Deployment, Deployment) {
    let mut log = Deployment::start(PROGRAMS, origin);
    log.append(&mut Issuing::new(origin, 10), 3);
    log.down();
    let mut copy = log.copy();
    log.up();
    copy.up();
    log.append(&mut Issuing::new(origin, 11), 2);
    copy.append(&mut Issuing::new(origin, 12), 2);
    (log, copy)
}

/// A mirror that shows another branch: file, hook, webhook, metrics and page all say so, each once.
#[test]
fn a_fork_is_told_to_everybody() {
    let (log, copy) = forked("log.example/told");
    let receiver = Receiver::start("127.0.0.1:0");
    let mut watching = Watching::new(&format!(
        "{}[[log.vantage]]\nname = 'mirror'\nurl = '{}'\n{LINES}{}{}",
        table("main", &log),
        copy.url(),
        Watching::hook_table(),
        receiver.table("web"),
    ));
    watching.up();
    let fork = |alerts: &[Value]| told(alerts, "fork-same-size");
    watching.until("all are told", || {
        [watching.lines("alerts.jsonl"), watching.hooked(), receiver.taken()]
            .iter()
            .all(|alerts| fork(alerts).len() == 1)
    });
    watching.until_looked();
    let metrics = watching.metrics();
    for line in [
        "counterfoil_monitor_findings_total{log=\"log.example/told\",class=\"FORK\",code=\"fork-same-size\"} 1",
        "counterfoil_monitor_forks_proven{log=\"log.example/told\"} 1",
        "counterfoil_monitor_deliveries_total{sink=\"web\",result=\"ok\"}",
        "counterfoil_monitor_deliveries_total{sink=\"hook\",result=\"ok\"}",
        "counterfoil_monitor_deliveries_total{sink=\"lines\",result=\"ok\"}",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let page = watching.http().get("/").unwrap();
    assert!(page.text().contains("FORKED: 1 times, proven"), "{}", page.text());
    // More looks, and another life, tell nobody again.
    watching.until_looked();
    assert_eq!(watching.down(), FORK);
    watching.up();
    watching.until_looked();
    assert_eq!(watching.down(), FORK);
    for alerts in [watching.lines("alerts.jsonl"), receiver.taken()] {
        assert_eq!(fork(&alerts).into_values().collect::<Vec<_>>(), [1]);
        assert_eq!(told(&alerts, "fork-known").into_values().collect::<Vec<_>>(), [1]);
    }
}

/// Somebody hands in the other branch's checkpoint when that branch is gone: evidence comes back and everybody is told.
#[test]
fn a_fork_that_is_gossiped_is_told() {
    let (log, mut copy) = forked("log.example/gossiped");
    let note = copy.http().get("/checkpoint").unwrap().body;
    copy.down();
    let mut watching = Watching::new(&format!("{}{LINES}", table("main", &log)));
    watching.up();
    watching.until_read(&log, 6);
    let answer = watching.http().post("/v1/gossip", &note).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((answer["relation"].as_str(), answer["size"].as_u64()), (Some("inconsistent"), Some(6)));
    std::fs::write(watching.path("evidence.txt"), answer["evidence"].as_str().unwrap()).unwrap();
    let verify = ["verify-evidence", "evidence.txt", "--log-key", &log.log_key];
    let _ = watching.run(&verify).exits(0);
    // Killed right after the answer: what was answered is not forgotten.
    watching.kill();
    watching.up();
    watching.until("it is told", || told(&watching.lines("alerts.jsonl"), "fork-known").len() == 1);
    watching.until_looked();
    assert_eq!(watching.down(), FORK);

    // Another monitor, which saw nothing itself, is handed the evidence.
    watching.up();
    let peer = format!("[[peer]]\nurl = '{}'\n", watching.url());
    let mut other = Watching::new(&format!("{}{LINES}{peer}", table("main", &log)));
    other.up();
    other.until_read(&log, 6);
    let forked = other.http().post("/v1/evidence", answer["evidence"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(forked.json()["proven"].as_bool(), Some(true));
    other.until("it is told", || told(&other.lines("alerts.jsonl"), "fork-known").len() == 1);
    other.until_looked();
    watching.until_looked();
    assert_eq!((other.down(), watching.down()), (FORK, FORK));
}

/// Killed between finding and telling: it is told after the restart, and the sink that could be told is not told twice.
#[test]
fn what_was_found_before_a_kill_is_told_after_it() {
    let (log, copy) = forked("log.example/killed");
    let receiver = Receiver::start("127.0.0.1:0");
    receiver.answer_with(503);
    let mut watching = Watching::new(&format!(
        "{}[[log.vantage]]\nname = 'mirror'\nurl = '{}'\n{LINES}{}",
        table("main", &log),
        copy.url(),
        receiver.table("web"),
    ));
    watching.up();
    watching.until("one is told, the other refuses", || {
        let status = watching.status();
        let lines = status["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == "lines").unwrap();
        let all = lines["behind"] == 0 && !watching.lines("alerts.jsonl").is_empty();
        all && receiver.asked() > 0
    });
    assert!(receiver.taken().is_empty());
    watching.kill();
    // Both branches are gone: only the queue knows.
    let (mut log, mut copy) = (log, copy);
    log.down();
    copy.down();
    receiver.answer_with(200);
    watching.up();
    watching.until("the other is told", || told(&receiver.taken(), "fork-same-size").len() == 1);
    watching.until_looked();
    assert_eq!(watching.down(), FORK);
    let lines = told(&watching.lines("alerts.jsonl"), "fork-same-size");
    assert_eq!(lines, told(&receiver.taken(), "fork-same-size"), "one finding, one id, told once to each");
}

/// `kill -9` at random moments: every record that a rule asks for is told, in order, and none is invented.
///
/// `COUNTERFOIL_ALERT_ROUNDS` prolongs it.
#[test]
fn no_match_is_lost_to_kill_9() {
    let rounds = std::env::var("COUNTERFOIL_ALERT_ROUNDS").map_or(8, |text| text.parse().unwrap());
    let log = Deployment::start(PROGRAMS, "log.example/rules");
    let rule = "[[watch]]\nname = 'all'\nkinds = ['receipt']\n";
    let mut watching = Watching::new(&format!("{}{rule}{LINES}", table("main", &log)));
    let mut issuing = Issuing::new(&log.origin, 1);
    let (mut count, mut dice) = (0, 7_u64);
    for _ in 0..rounds {
        watching.up();
        log.append(&mut issuing, 20);
        count += 20;
        // A linear congruential step (Knuth, MMIX): 0 to 400 ms until the kill.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((dice >> 33) % 400));
        watching.kill();
    }
    let _ = watching.once().exits(0);
    let alerts = watching.lines("alerts.jsonl");
    let matches: Vec<_> = alerts.iter().filter(|alert| alert["code"] == "watch-match").collect();
    let mut seen = BTreeMap::new();
    let mut order = Vec::new();
    for alert in &matches {
        assert_eq!((alert["rule"].as_str(), alert["class"].as_str()), (Some("all"), Some("MATCH")));
        let place = alert["place"].as_str().unwrap().to_owned();
        let id = alert["id"].as_str().unwrap().to_owned();
        assert_eq!(seen.entry(place.clone()).or_insert_with(|| id.clone()), &id, "one record, one id");
        if !order.contains(&place) {
            order.push(place);
        }
    }
    let all: Vec<_> = (1..=count).map(|index| format!("entry {index}")).collect();
    assert_eq!(order, all);
    // Each kill can repeat what was being told, and no more.
    assert!(matches.len() <= all.len() + 256 * rounds, "{} for {}", matches.len(), all.len());
}

/// An outage is told after it has lasted, and its end too; it never looks like an attack.
#[test]
fn outages_are_told_when_they_last() {
    let mut log = Deployment::start(PROGRAMS, "log.example/out");
    let config = |log: &Deployment| format!("outage_after_s = 2\n{}{LINES}", table("main", log));
    let mut watching = Watching::new(&config(&log));
    watching.up();
    watching.until_read(&log, 1);
    log.down();
    let events = |watching: &Watching| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        watching
            .lines("alerts.jsonl")
            .iter()
            .map(|alert| (text(&alert["event"]), text(&alert["class"])))
            .collect()
    };
    let finding = ("finding".to_owned(), "UNAVAILABLE".to_owned());
    watching.until("it is told", || events(&watching) == [finding.clone()]);
    let since = watching.lines("alerts.jsonl")[0]["since"].as_u64().unwrap();
    let at = watching.lines("alerts.jsonl")[0]["at"].as_u64().unwrap();
    assert!(at - since >= 2000, "{since} {at}");
    assert_eq!(watching.down(), 13);
    // It is back, at another port.
    log.up();
    watching.configure(&config(&log));
    watching.up();
    let cleared = ("cleared".to_owned(), "UNAVAILABLE".to_owned());
    watching.until("its end is told", || events(&watching) == [finding.clone(), cleared.clone()]);
    let alerts = watching.lines("alerts.jsonl");
    assert_eq!(alerts[0]["id"], alerts[1]["id"]);
    assert_eq!(watching.down(), 0);
}

/// A test goes through every sink, marked as one; the exit code says whether all were told.
#[test]
fn sinks_can_be_tested() {
    let log = Deployment::start(PROGRAMS, "log.example/test");
    let receiver = Receiver::start("127.0.0.1:0");
    let classes = "classes = ['FORK']\n";
    let watching = Watching::new(&format!(
        "{}{LINES}{classes}{}{}",
        table("main", &log),
        Watching::hook_table(),
        receiver.table("web"),
    ));
    let test = ["monitor", "test-alert", "--config", "monitor.toml"];
    let run = watching.run(&test).exits(0);
    assert_eq!(run.out.lines().filter(|line| line.starts_with("TOLD ")).count(), 3, "{}", run.out);
    for alerts in [watching.lines("alerts.jsonl"), watching.hooked(), receiver.taken()] {
        assert_eq!((alerts.len(), alerts[0]["event"].as_str()), (1, Some("test")));
    }
    receiver.answer_with(500);
    let run = watching.run(&test).exits(1);
    assert!(run.out.contains("NOT TOLD web (webhook): "), "{}", run.out);
    let only = watching.run(&[&test[..], &["--sink", "hook"]].concat()).exits(0);
    assert_eq!(only.out, "TOLD hook (exec)\n");
    let _ = watching.run(&[&test[..], &["--sink", "none"]].concat()).exits(2);
    watching.configure(&table("main", &log));
    let none = watching.run(&test).exits(2);
    assert!(none.err.contains("has no sink"), "{}", none.err);
}

/// What cannot be watched as it is written is refused before anything is touched.
#[test]
fn configurations_are_checked_first() {
    let log = Deployment::start(PROGRAMS, "log.example/config");
    let twice = format!("{}{}", table("main", &log), table("again", &log));
    let watching = Watching::new(&twice);
    let run = watching.once().exits(2);
    assert!(run.err.contains("the origin log.example/config is given twice"), "{}", run.err);
    watching.configure(&format!("{}[[watch]]\nname = 'r'\nmodel = ['x']\n", table("main", &log)));
    let run = watching.once().exits(2);
    assert!(run.err.contains("unknown field `model`"), "{}", run.err);
    assert!(!watching.path("state").exists());
}

/// A monitor that keeps everything is a mirror: another monitor reads the whole log from it when the log is gone.
#[test]
fn a_mirror_outlives_its_log() {
    let mut log = Deployment::start(PROGRAMS, "log.example/mirror");
    log.append(&mut Issuing::new(&log.origin, 1), 300);
    let mut watching = Watching::new(&format!("{}keep = true\n", table("main", &log)));
    watching.up();
    watching.until_read(&log, 301);
    log.down();
    let path = watching.status()["logs"][0]["path"].as_str().unwrap().to_owned();
    let url = format!("{}/mirror/{path}", watching.url());
    let keys = ["--log-key", &log.log_key, "--clock", &log.clock_key];
    let reads = [&["monitor", "--once", "--state", "second", "--url", &url], &keys[..]].concat();
    let read = watching.run(&reads).exits(0);
    assert!(read.out.contains("OK log.example/mirror: 301 entries verified"), "{}", read.out);
    watching.until_looked();
    assert_eq!(watching.down(), 13, "the log itself is gone");
}

/// One log, without a configuration: what is served is served all the same.
#[test]
fn one_log_can_be_served_from_arguments() {
    let log = Deployment::start(PROGRAMS, "log.example/single");
    log.append(&mut Issuing::new(&log.origin, 1), 3);
    let mut watching = Watching::new("");
    watching.up_with(&[
        "monitor",
        "--serve",
        "127.0.0.1:0",
        "--keep",
        "--interval",
        "1",
        "--state",
        "own",
        "--url",
        &log.url(),
        "--log-key",
        &log.log_key,
        "--clock",
        &log.clock_key,
    ]);
    watching.until_read(&log, 4);
    let note = log.http().get("/checkpoint").unwrap().body;
    let answer = watching.http().post("/v1/gossip", &note).unwrap().json();
    assert_eq!(answer["relation"].as_str(), Some("consistent"), "{answer}");
    let path = watching.status()["logs"][0]["path"].as_str().unwrap().to_owned();
    let kept = watching.http().get(&format!("/mirror/{path}/tile/entries/000.p/4")).unwrap().body;
    assert_eq!(kept, log.http().get("/tile/entries/000.p/4").unwrap().body);
    assert!(watching.metrics().contains("verified_size{log=\"log.example/single\"} 4"));
    assert_eq!(watching.down(), 0);
}

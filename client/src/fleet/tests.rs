use std::{fs, path::Path, sync::Mutex};

use counterfoil_merkle::key::Algorithm;
use serde_json::Value;

use super::*;
use crate::testlog;

const NOW_S: u64 = 1_763_712_400;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_S * 1000).unwrap()
}

/// The configuration of two logs, of which the first is `testlog`'s and the second is nowhere.
fn config(home: &Path) -> Plan {
    let key = |name: &str, algorithm| testlog::signer(name, algorithm).public().to_string();
    let text = format!(
        "state = 'state'\ninterval_s = 1\noutage_after_s = 60\n\
         [[log]]\nname = 'main'\nkey = '{}'\nclock = '{}'\nurl = 'log'\n\
         [[log]]\nname = 'other'\nkey = '{}'\nurl = 'nowhere'\n\
         [[sink]]\nname = 'file'\nlines = 'alerts.jsonl'\n",
        key(testlog::ORIGIN, Algorithm::Ed25519),
        key("log.example/clock", Algorithm::CosignatureV1),
        key("other.example", Algorithm::Ed25519),
    );
    fs::write(home.join("monitor.toml"), text).unwrap();
    Config::read(&home.join("monitor.toml"), now).unwrap()
}

/// A minute later.
fn later() -> Timestamp {
    Timestamp::from_millis(NOW_S * 1000 + 60_000).unwrap()
}

async fn run(plan: Plan, now: fn() -> Timestamp, audience: Arc<Audience>) -> Outcome {
    let (_stop, stopping) = watch::channel(false);
    let running = Running { now, once: true, persist: true, audience, stop: stopping };
    Fleet::open(plan, true, now).unwrap().run(running).await
}

fn alerts(home: &Path) -> Vec<Value> {
    let text = fs::read_to_string(home.join("alerts.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is found in one log and in another is told, each once, however often the monitor runs.
#[tokio::test]
async fn each_finding_of_each_log_is_told_once() {
    let home = tempfile::tempdir().unwrap();
    testlog::publish(&home.path().join("log"), &testlog::leaves(7), NOW_S);
    let outcome = run(config(home.path()), now, Arc::new(|_| ())).await;
    assert_eq!(outcome, Outcome { gravest: Some(Class::Unavailable), lost: false });
    let told = alerts(home.path());
    let count = |log: &str, code: &str| told.iter().filter(|a| a["log"] == log && a["code"] == code).count();
    assert_eq!(count(testlog::ORIGIN, "entry-unreadable"), 7, "{told:?}");
    assert_eq!(count("other.example", "checkpoint-unavailable"), 0, "one look does not make an outage");
    assert_eq!(count("other.example", "clock-unchecked"), 1);
    run(config(home.path()), later, Arc::new(|_| ())).await;
    let again = alerts(home.path());
    assert_eq!(again.len(), told.len() + 1, "{again:?}");
    let (event, code) = (&again.last().unwrap()["event"], &again.last().unwrap()["code"]);
    assert_eq!((event.as_str(), code.as_str()), (Some("finding"), Some("checkpoint-unavailable")));
    assert_eq!(run(config(home.path()), later, Arc::new(|_| ())).await.gravest, Some(Class::Unavailable));
    assert_eq!(alerts(home.path()).len(), again.len());
}

/// A log whose state cannot be used is told of, and costs the others nothing.
#[tokio::test]
async fn one_that_is_lost_does_not_stop_the_others() {
    let home = tempfile::tempdir().unwrap();
    testlog::publish(&home.path().join("log"), &testlog::leaves(3), NOW_S);
    let plan = config(home.path());
    let state = plan.logs[1].state.join("monitor.json");
    testlog::write(&state, b"rubbish");
    let lost: Arc<Mutex<Vec<String>>> = Arc::default();
    let audience: Arc<Audience> = {
        let lost = Arc::clone(&lost);
        Arc::new(move |news| {
            if let News::Lost { origin, .. } = news {
                lost.lock().unwrap().push(origin.to_owned());
            }
        })
    };
    let outcome = run(plan, now, audience).await;
    assert!(outcome.lost);
    assert_eq!(*lost.lock().unwrap(), ["other.example"]);
    let told = alerts(home.path());
    assert_eq!(told.iter().filter(|alert| alert["code"] == "entry-unreadable").count(), 3);
    let stopped = told.iter().find(|alert| alert["code"] == "monitor-stopped").unwrap();
    assert_eq!(
        (stopped["log"].as_str(), stopped["class"].as_str()),
        (Some("other.example"), Some("COVERAGE"))
    );
    assert!(stopped["message"].as_str().unwrap().contains(state.to_str().unwrap()), "{stopped}");
}

/// The heart beats while every log is being looked at, and not when one is not.
#[test]
fn the_heart_stops_with_any_log() {
    let later = || Timestamp::from_millis(NOW_S * 1000 + 700_000).unwrap();
    let known = |name: &str| crate::log::KnownLog {
        key: testlog::signer(name, Algorithm::Ed25519).public().clone(),
        clock: None,
        url: String::new(),
        policy: None,
    };
    let logs: Vec<_> =
        ["a.example", "b.example"].map(|name| Arc::new(Watched::new(name, known(name), now()))).to_vec();
    let second = Duration::from_secs(1);
    let message = heartbeat::heartbeat(logs.clone(), second, now)().unwrap();
    let json: Value = serde_json::from_str(&message.json).unwrap();
    assert_eq!((json["event"].as_str(), json["logs"].as_array().map(Vec::len)), (Some("heartbeat"), Some(2)));
    assert!(heartbeat::heartbeat(logs.clone(), second, later)().is_none(), "no sign of life for too long");
    assert!(heartbeat::heartbeat(logs.clone(), Duration::from_secs(200), later)().is_some());
    logs[0].reads(TreeSize::ZERO, TreeSize::ZERO, later());
    assert!(heartbeat::heartbeat(logs.clone(), second, later)().is_none(), "the other one");
    logs[1].reads(TreeSize::ZERO, TreeSize::ZERO, later());
    assert!(heartbeat::heartbeat(logs.clone(), second, later)().is_some());
    logs[1].lose("a reason");
    assert!(heartbeat::heartbeat(logs, second, later)().is_none());
}

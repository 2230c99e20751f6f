use std::time::Duration;

use counterfoil_merkle::{
    TreeHead, checkpoint::SignedCheckpoint, evidence::ForkEvidence, key::Algorithm, note::NOTE_BYTES_MAX,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use super::*;
use crate::{
    fleet::{Config, Fleet, Running},
    source::{Api, Connection, Reply},
    testlog,
};

const NOW_S: u64 = 1_763_712_400;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_S * 1000).unwrap()
}

/// A log, a monitor of it that is served, and a connection to that.
struct Served {
    home: tempfile::TempDir,
    leaves: Vec<Vec<u8>>,
    api: Api,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<crate::fleet::Outcome>,
}

impl Served {
    /// A log of that size, which the monitor has read when this returns.
    async fn new(size: usize, more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let leaves = testlog::leaves(1000);
        testlog::publish(&home.path().join("log"), &leaves[..size], NOW_S);
        let [key, clock] = [testlog::ORIGIN, "log.example/clock"]
            .into_iter()
            .zip([Algorithm::Ed25519, Algorithm::CosignatureV1])
            .map(|(name, algorithm)| testlog::signer(name, algorithm).public().to_string())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let text = format!(
            "state = 'state'\ninterval_s = 1\n[[log]]\nname = 'main'\nkey = '{key}'\nclock = '{clock}'\nurl = 'log'\n{more}"
        );
        let path = home.path().join("monitor.toml");
        std::fs::write(&path, text).unwrap();
        let fleet = Fleet::open(Config::read(&path, now).unwrap(), true, now).unwrap();
        let (view, log) = (fleet.view(), Arc::clone(&fleet.watched()[0]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(crate::serve::serve(listener, router(view, now), limits(), std::future::pending()));
        let (stop, stopping) = watch::channel(false);
        let audience: Arc<crate::fleet::Audience> = Arc::new(|_| ());
        let running = Running { now, once: false, persist: true, audience, stop: stopping };
        let running = tokio::spawn(fleet.run(running));
        while log.standing().looked.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let api = Api::new(&url, &Connection::default()).unwrap();
        Self { home, leaves, api, stop, running }
    }

    fn head(&self, size: usize) -> TreeHead {
        testlog::head(&self.leaves[..size])
    }

    fn other(&self, size: usize) -> TreeHead {
        TreeHead { root: Hash::leaf(b"other"), ..self.head(size) }
    }

    async fn get(&self, path: &str) -> Reply {
        self.api.get(path, 1 << 20).await.unwrap()
    }

    async fn post(&self, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
        self.api.post(path, "text/plain", body.into(), 1 << 20).await.unwrap()
    }

    async fn tell(&self, note: &SignedCheckpoint) -> Reply {
        self.post("v1/gossip", note.to_string()).await
    }

    async fn end(self) -> crate::fleet::Outcome {
        self.stop.send_replace(true);
        self.running.await.unwrap()
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn text(reply: &Reply) -> &str {
    str::from_utf8(&reply.body).unwrap()
}

fn log_path() -> String {
    Hash::of(&[testlog::ORIGIN.as_bytes()]).to_string()
}

/// Whoever holds a checkpoint is told what it is; who sends anything else is told what is wrong with it.
#[tokio::test]
async fn gossip_is_answered() {
    let served = Served::new(300, "").await;
    let consistent = served.tell(&testlog::checkpoint(served.head(299), NOW_S)).await;
    assert_eq!((consistent.status, text(&consistent)), (200, r#"{"relation":"consistent","size":300}"#));
    let unknown = served.tell(&testlog::checkpoint(served.head(301), NOW_S)).await;
    assert_eq!((unknown.status, text(&unknown)), (200, r#"{"relation":"unknown","size":300}"#));
    let forked = json(&served.tell(&testlog::checkpoint(served.other(299), NOW_S)).await);
    assert_eq!((forked["relation"].as_str(), forked["size"].as_u64()), (Some("inconsistent"), Some(300)));
    let evidence: ForkEvidence = forked["evidence"].as_str().unwrap().parse().unwrap();
    evidence.verify(testlog::signer(testlog::ORIGIN, Algorithm::Ed25519).public()).unwrap();

    let newest = served.get(&format!("v1/gossip/{}", log_path())).await;
    let newest: SignedCheckpoint = text(&newest).parse().unwrap();
    assert_eq!(newest.unverified().head, served.head(300));

    let good = testlog::checkpoint(served.head(299), NOW_S).to_string();
    let elsewhere = good.replacen(testlog::ORIGIN, "elsewhere.example", 1);
    for (body, status) in [
        (good.replacen("\n299\n", "\n298\n", 1), 403),
        (elsewhere, 404),
        (String::new(), 400),
        ("rubbish".to_owned(), 400),
        (good.replacen("\n299\n", "\n0299\n", 1), 400),
        (good.replacen("\n299\n", "\n9223372036854775808\n", 1), 400),
        (good.clone() + &"x".repeat(NOTE_BYTES_MAX), 400),
        ("x".repeat(1 << 20), 413),
    ] {
        assert_eq!(served.post("v1/gossip", body.clone()).await.status, status, "{:.80}", body);
    }
    assert_eq!(served.post("v1/gossip", vec![0xff, 0xfe]).await.status, 400);
    for (path, status) in [
        (format!("v1/gossip/{}", "ab".repeat(32)), 404),
        ("v1/gossip/x".to_owned(), 404),
        ("v1/gossip".to_owned(), 405),
        ("nowhere".to_owned(), 404),
    ] {
        assert_eq!(served.get(&path).await.status, status, "{path}");
    }
    served.end().await;
}

/// Evidence that somebody else has convicts the log here too, at once and for ever; rubbish convicts nobody.
#[tokio::test]
async fn evidence_is_taken() {
    let served = Served::new(3, "").await;
    let evidence = |one, other| {
        ForkEvidence::same_size(testlog::checkpoint(one, NOW_S), testlog::checkpoint(other, NOW_S))
    };
    let honest = evidence(served.head(900), served.head(900));
    assert_eq!(served.post("v1/evidence", honest.to_string()).await.status, 422);
    assert_eq!(served.post("v1/evidence", "fork-evidence/v1\n").await.status, 400);
    let proven = evidence(served.head(900), served.other(900));
    let elsewhere = proven.to_json().replace(testlog::ORIGIN, "elsewhere.example");
    assert!([400, 404].contains(&served.post("v1/evidence", elsewhere).await.status));
    let taken = json(&served.post("v1/evidence", proven.to_json()).await);
    assert_eq!((taken["proven"].as_bool(), taken["new"].as_bool()), (Some(true), Some(true)));
    let again = json(&served.post("v1/evidence", proven.to_string()).await);
    assert_eq!(again["new"].as_bool(), Some(false));
    loop {
        let status = json(&served.get("status.json").await);
        if status["logs"][0]["forks_proven"] == 1 {
            let newest = status["newest"].as_array().unwrap();
            assert!(newest.iter().any(|alert| alert["code"] == "fork-known"), "{status}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcome = served.end().await;
    assert_eq!(outcome.gravest, Some(counterfoil_receipt::audit::Class::Fork));
}

/// The pages say what is watched and how far it is.
#[tokio::test]
async fn pages_say_how_it_stands() {
    let served = Served::new(300, "[[sink]]\nname = 'file'\nlines = 'alerts.jsonl'").await;
    let page = served.get("").await;
    for said in
        ["log log.example (main)", "verified 300 of 300 entries", "sink file (lines)", "entry-unreadable"]
    {
        assert!(text(&page).contains(said), "{said}: {}", text(&page));
    }
    assert!(!text(&page).contains(|c: char| c.is_control() && c != '\n'));
    let status = json(&served.get("status.json").await);
    let log = &status["logs"][0];
    assert_eq!((log["size"].as_u64(), log["attested_s"].as_u64()), (Some(300), Some(NOW_S)));
    assert_eq!(log["advanced"].as_u64(), Some(NOW_S * 1000));
    assert_eq!(log["root"].as_str(), Some(served.head(300).root.to_string().as_str()));
    let metrics = served.get("metrics").await;
    for line in [
        "counterfoil_monitor_verified_size{log=\"log.example\"} 300",
        "counterfoil_monitor_backlog{log=\"log.example\"} 0",
        "counterfoil_monitor_attested_time_seconds{log=\"log.example\"} 1763712400",
        "counterfoil_monitor_findings_total{log=\"log.example\",class=\"COVERAGE\",code=\"entry-unreadable\"} 300",
        "counterfoil_monitor_queue_depth{sink=\"file\"}",
    ] {
        assert!(text(&metrics).contains(line), "{line}: {}", text(&metrics));
    }
    assert_eq!(text(&served.get("healthz").await), "ok\n");
    served.end().await;
}

/// What is kept is served as the log served it, and never more than was verified.
#[tokio::test]
async fn mirrors_serve_what_is_kept() {
    let served = Served::new(300, "keep = true").await;
    let mirror = format!("mirror/{}", log_path());
    for path in
        ["tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/entries/001.p/44", "tile/1/000.p/1"]
    {
        let kept = served.get(&format!("{mirror}/{path}")).await;
        let original = std::fs::read(served.home.path().join("log").join(path)).unwrap();
        assert_eq!((kept.status, &kept.body[..]), (200, &original[..]), "{path}");
    }
    let part = served.get(&format!("{mirror}/tile/0/000.p/7")).await;
    assert_eq!((part.status, part.body.len()), (200, 7 * 32));
    let shown: SignedCheckpoint = text(&served.get(&format!("{mirror}/checkpoint")).await).parse().unwrap();
    assert_eq!(shown.unverified().head, served.head(300));
    for path in [
        "tile/0/001",
        "tile/0/001.p/45",
        "tile/0/002",
        "tile/entries/001",
        "statement/001",
        "tile/2/000.p/1",
        "lock",
        "monitor.json",
        "../monitor.json",
        "..%2fmonitor.json",
        "tile/0/../../lock",
        "tile/0/1",
        "",
    ] {
        assert_eq!(served.get(&format!("{mirror}/{path}")).await.status, 404, "{path}");
    }
    assert_eq!(served.get(&format!("mirror/{}/checkpoint", "ab".repeat(32))).await.status, 404);
    served.end().await;

    let bare = Served::new(3, "").await;
    assert_eq!(bare.get(&format!("{mirror}/checkpoint")).await.status, 404);
    bare.end().await;
}

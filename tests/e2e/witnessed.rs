//! Tree heads that witnesses cosign before anybody sees them: what waits for them, what does not, and what a witness can
//! and cannot do to a log.

mod clocks;
mod crash;
mod forks;
mod show;

use std::{
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::{checkpoint::SignedCheckpoint, key::VerifierKey, policy::Policy};
use counterfoil_tests::{
    Deployment, Http, Issuing, Manner, Reply, Witness,
    audit::{Ack, check_answer, check_kept, checkpoint},
};

use crate::PROGRAMS;

/// Publishes five times a second, does not wait long for anybody, and puts no clock records between the test's receipts.
const QUICK: &str = "period_ms = 200\ntimeout_ms = 1000\nappend_wait_s = 5\nclock_record_period_s = 0";

const ASYNC: &str = "Prefer: respond-async\r\n";

/// A log and its witnesses.
struct World {
    log: Deployment,
    witnesses: Vec<Witness>,
    policy: String,
    key: VerifierKey,
}

impl World {
    /// A log whose heads need `needed` of three witnesses; not started.
    fn new(origin: &str, needed: usize, table: &str) -> Self {
        let log = Deployment::init(PROGRAMS, origin, &["--open"]);
        let witnesses: Vec<_> =
            (1..=3).map(|n| Witness::start(&format!("witness.example/w{n}"), n)).collect();
        let key: VerifierKey = log.log_key.parse().unwrap();
        witnesses.iter().for_each(|witness| witness.watch(&key));
        let lines: String = witnesses.iter().map(Witness::policy_line).collect();
        let names: Vec<_> = witnesses.iter().map(|witness| witness.key().name().to_string()).collect();
        let policy = format!("{lines}group all {needed} {}\nquorum all\n", names.join(" "));
        log.witnessed_by(&policy, table);
        let policy = format!("log {}\n{policy}", log.log_key);
        Self { log, witnesses, policy, key }
    }

    /// The same, started.
    fn start(origin: &str, needed: usize, table: &str) -> Self {
        let mut world = Self::new(origin, needed, table);
        world.log.up();
        world
    }

    fn policy(&self) -> Policy {
        self.policy.parse().unwrap()
    }

    /// Sends the next receipt and reads the answer of a log that published it.
    fn append(&self, http: &mut Http, issuing: &mut Issuing) -> Ack {
        let (id, envelope) = issuing.issue();
        let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
        assert_eq!(reply.status, 201, "{}\n{}", reply.text(), self.log.server_log());
        check_answer(&reply.json(), id, &self.key)
    }

    /// The published size; 0 before anything is.
    fn size(&self, http: &mut Http) -> u64 {
        match http.get("/checkpoint").unwrap() {
            reply if reply.status == 200 => self.check(&reply),
            reply => {
                assert_eq!(reply.status, 503, "{}", reply.text());
                0
            }
        }
    }

    /// A published checkpoint satisfies the policy; its size.
    fn check(&self, reply: &Reply) -> u64 {
        let signed: SignedCheckpoint = reply.text().parse().unwrap();
        let accepted = self.policy().check(&signed).unwrap();
        accepted.checkpoint.head().size.get()
    }

    fn await_size(&self, http: &mut Http, size: u64) {
        until(|| self.size(http) >= size, || format!("size {size}\n{}", self.log.server_log()));
    }

    /// The value of a metric, if it is printed.
    fn metric(&self, http: &mut Http, name: &str) -> Option<f64> {
        let text = http.get("/metrics").unwrap().text().to_owned();
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

/// Waits for a condition, but not for ever.
fn until(mut condition: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waiting for {}", what());
        thread::sleep(Duration::from_millis(20));
    }
}

/// An append is answered under a checkpoint with its quorum; who prefers not to wait gets index and entry at once, and the
/// bundle later where the answer says.
#[test]
fn appends_wait_for_their_quorum_unless_asked_not_to() {
    let world = World::start("log.example/waits", 2, QUICK);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    let first = world.append(&mut http, &mut issuing);
    let reply = http.get("/checkpoint").unwrap();
    assert!(world.check(&reply) > first.index);

    world.witnesses[0].behave(Manner::Dead);
    world.witnesses[1].behave(Manner::Dead);
    let (id, envelope) = issuing.issue();
    let reply = http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("preference-applied")), (202, Some("respond-async")));
    let bundle = reply.header("location").unwrap().to_owned();
    assert_eq!(bundle, format!("/v1/receipts/{id}"));
    let answer = reply.json();
    assert_eq!((answer["index"].as_u64(), answer["id"].as_str()), (Some(2), Some(&*id.to_string())));
    assert!(answer.get("proof").is_none() && answer["entry"].as_str().unwrap().contains(&id.to_string()));
    // The same again: the same place, published or not; a batch answers each line so.
    let again = http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap();
    assert_eq!((again.status, again.json()), (202, answer.clone()));
    let (other, second) = issuing.issue();
    let lines = format!("{envelope}\n{{}}\n{second}\n");
    let batch = http.post_with("/v1/receipts/batch", ASYNC, lines.as_bytes()).unwrap();
    assert_eq!((batch.status, batch.header("preference-applied")), (202, Some("respond-async")));
    let lines: Vec<serde_json::Value> =
        batch.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], answer);
    assert_eq!(lines[1]["error"]["status"], 400);
    assert_eq!((lines[2]["id"].as_str(), lines[2]["index"].as_u64()), (Some(&*other.to_string()), Some(3)));
    assert_eq!(http.get(&bundle).unwrap().status, 404, "what is not published cannot be read");
    assert_eq!(world.size(&mut http), 2, "and the published tree is as it was");

    world.witnesses[0].behave(Manner::Honest);
    world.await_size(&mut http, 4);
    assert_eq!(http.get(&bundle).unwrap().json()["entry"], answer["entry"]);
    let known = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
    assert_eq!(known.status, 200);
    assert_eq!(check_answer(&known.json(), id, &world.key).index, 2);
}

/// A log without witnesses publishes what it makes durable: who prefers not to wait need not.
#[test]
fn a_log_alone_answers_201_to_everybody() {
    let log = Deployment::start(PROGRAMS, "log.example/alone");
    let (mut http, key) = (log.http(), log.log_key.parse().unwrap());
    let (id, envelope) = Issuing::new(&log.origin, 1).issue();
    let reply = http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("preference-applied")), (201, None));
    check_answer(&reply.json(), id, &key);
    let batch = http.post_with("/v1/receipts/batch", ASYNC, envelope.as_bytes()).unwrap();
    assert_eq!((batch.status, batch.header("preference-applied")), (200, None));
}

/// Who waits longer than the log lets anybody is told that the receipt is durable, and where its bundle will be.
#[test]
fn waiting_ends_with_202() {
    let table = QUICK.replace("append_wait_s = 5", "append_wait_s = 1");
    let world = World::start("log.example/patience", 3, &table);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    world.append(&mut http, &mut issuing);
    world.witnesses[2].behave(Manner::Hanging);
    let (id, envelope) = issuing.issue();
    let started = Instant::now();
    let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("preference-applied")), (202, None));
    assert!(started.elapsed() >= Duration::from_millis(900), "it waited");
    assert!(reply.header("retry-after").is_some());
    let batch = http.post("/v1/receipts/batch", envelope.as_bytes()).unwrap();
    assert_eq!((batch.status, batch.text().lines().count()), (202, 1));
    world.witnesses[2].behave(Manner::Honest);
    world.await_size(&mut http, 3);
    assert_eq!(http.get(&format!("/v1/receipts/{id}")).unwrap().status, 200);
}

/// Whatever one of three does, with two needed nobody waits for it and nothing is published that it had a say in.
#[test]
fn one_witness_costs_its_own_vote() {
    let world = World::start("log.example/one", 2, QUICK);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    let mut acks = vec![world.append(&mut http, &mut issuing)];
    let bad = &world.witnesses[1];
    for (manner, kind) in [
        (Manner::Dead, "unreachable"),
        (Manner::Hanging, "timeout"),
        (Manner::Status(422), "refused"),
        (Manner::Status(503), "unavailable"),
        (Manner::Status(200), "malformed"),
        (Manner::Conflict("1099511627776\n"), "conflict"),
        (Manner::Conflict("0\n"), "conflict"),
        (Manner::Conflict("seventeen\n"), "malformed"),
        (Manner::Garbage, "malformed"),
        (Manner::Endless, "malformed"),
        (Manner::Stranger, "signature"),
        (Manner::OtherTree, "signature"),
        (Manner::Yesteryear, "time"),
    ] {
        let name =
            format!("counterfoil_witness_failures_total{{witness=\"{}\",kind=\"{kind}\"}}", bad.key().name());
        let failures = |http: &mut Http| world.metric(http, &name).unwrap_or(0.0);
        let before = failures(&mut http);
        bad.behave(manner.clone());
        until(
            || {
                acks.push(world.append(&mut http, &mut issuing));
                failures(&mut http) > before
            },
            || format!("{manner:?} as {name}\n{}", world.log.server_log()),
        );
        let signed: SignedCheckpoint = http.get("/checkpoint").unwrap().text().parse().unwrap();
        let lines = signed.note().signatures();
        assert!(lines.iter().all(|line| line.name != *bad.key().name()), "{manner:?}");
        bad.behave(Manner::Honest);
        let good = || {
            let signed: SignedCheckpoint =
                world.log.http().get("/checkpoint").unwrap().text().parse().unwrap();
            signed.verify(&world.key).unwrap().cosignature(bad.key()).is_ok()
        };
        until(
            || {
                acks.push(world.append(&mut http, &mut issuing));
                good()
            },
            || format!("the witness after {manner:?}\n{}", world.log.server_log()),
        );
    }
    assert!(world.witnesses.iter().all(|witness| witness.most_at_once() == 1), "one request a witness");
    assert!(!world.log.server_log().contains("panicked"));
    acks.iter().for_each(|ack| check_kept(&mut http, ack, &world.key));
    for witness in &world.witnesses {
        witness.seen().check_consistent(&mut http);
    }
}

/// A slow witness whose vote is needed is waited for, and no pile of requests builds up before it.
#[test]
fn a_slow_witness_is_waited_for_and_not_flooded() {
    let world = World::start("log.example/slow-witness", 3, QUICK);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    world.append(&mut http, &mut issuing);
    world.witnesses[0].behave(Manner::Slow(Duration::from_millis(600)));
    let before = world.witnesses[0].requests();
    let started = Instant::now();
    let acks: Vec<_> = (0..4).map(|_| world.append(&mut http, &mut issuing)).collect();
    let periods = started.elapsed().as_millis() / 600 + 1;
    assert!(world.witnesses[0].requests() - before <= usize::try_from(periods).unwrap());
    assert_eq!(world.witnesses[0].most_at_once(), 1);
    acks.iter().for_each(|ack| check_kept(&mut http, ack, &world.key));
}

/// While too few witnesses cosign the published head stands still, commits go on, and the metrics say so; then it catches
/// up. The heads in between were never anybody's.
#[test]
fn without_a_quorum_the_head_stands_still_and_commits_go_on() {
    let world = World::start("log.example/still", 2, QUICK);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    world.append(&mut http, &mut issuing);
    let before = checkpoint(&mut http, &world.key);
    world.witnesses[0].behave(Manner::Dead);
    world.witnesses[1].behave(Manner::Status(422));
    let mut envelopes = Vec::new();
    for _ in 0..30 {
        let (id, envelope) = issuing.issue();
        assert_eq!(http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap().status, 202);
        envelopes.push((id, envelope));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(checkpoint(&mut http, &world.key).head(), before.head());
    let committed = world.metric(&mut http, "counterfoil_committed_size").unwrap();
    let published = world.metric(&mut http, "counterfoil_tree_size").unwrap();
    assert!((published, committed) == (2.0, 32.0), "{published} of {committed}");
    until(
        || world.metric(&mut http, "counterfoil_quorum_missing_seconds").unwrap() >= 1.0,
        || "the metric".into(),
    );
    world.witnesses[1].behave(Manner::Honest);
    world.await_size(&mut http, 32);
    assert_eq!(world.metric(&mut http, "counterfoil_quorum_missing_seconds"), Some(0.0));
    for (id, envelope) in envelopes {
        let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
        assert_eq!(reply.status, 200);
        check_answer(&reply.json(), id, &world.key);
    }
}

/// An idle log has its head cosigned anew, so that it does not look frozen: same tree, later times of clock and witnesses.
#[test]
fn an_idle_log_renews_its_times() {
    let world = World::start("log.example/idle", 3, QUICK);
    let mut http = world.log.http();
    world.await_size(&mut http, 1);
    let times = |http: &mut Http| {
        let checkpoint = checkpoint(http, &world.key);
        let clock = world.log.clock_key.parse().unwrap();
        let keys = world.witnesses.iter().map(|witness| witness.key().clone()).chain([clock]);
        keys.map(|key| checkpoint.cosignature(&key).unwrap().time_s).min().unwrap()
    };
    let before = times(&mut http);
    let deadline = Instant::now() + Duration::from_secs(60);
    while times(&mut http) <= before {
        assert!(Instant::now() < deadline, "at least once a minute");
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(world.size(&mut http), 1);
}

//! `kill -9` of proxy, log or upstream while callers call: no receipt of an answered exchange is missing in strict mode, none
//! that was written is ever lost, and the stream has no gap.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use counterfoil_receipt::{
    Id,
    bundle::Bundle,
    commitment::{Bodies, Finding, Openings},
    statement::Numbering,
};
use counterfoil_tests::Deployment;
use serde_json::Value;

use crate::proxy::{
    caller::Caller,
    stage::{CREDENTIAL, Proxy},
};

/// How many call at once.
const CALLERS: u64 = 6;

/// Rounds for each mode, unless the environment says otherwise.
const ROUNDS: u64 = 6;

/// An exchange that was answered whole.
#[derive(Clone)]
struct Answered {
    exchange: String,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Whether it was looked up at once, and had its receipt.
    has_receipt: bool,
}

/// The upstream's process.
struct Service(Child);

impl Service {
    fn start(address: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_under-test-upstream"))
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next();
        assert!(line.is_some_and(|line| line.is_ok()), "it listens");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed leaves it behind; both calls may find it gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `COUNTERFOIL_PROXY_KILL_ROUNDS` and `COUNTERFOIL_PROXY_KILL_SEED` prolong or repeat it.
#[test]
fn strict_answers_have_receipts_whatever_is_killed() {
    println!("{}", campaign("strict"));
}

#[test]
fn written_receipts_are_kept_whatever_is_killed() {
    println!("{}", campaign("fail-open"));
}

/// Runs it, and says what was tried.
fn campaign(mode: &str) -> String {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let rounds = number("COUNTERFOIL_PROXY_KILL_ROUNDS", ROUNDS);
    let mut dice = number("COUNTERFOIL_PROXY_KILL_SEED", 1);
    let mut log = Deployment::start(crate::PROGRAMS, &format!("log.example/kill-{mode}"));
    log.keep_address();
    // A port that nobody has now, for a process that comes and goes.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut service = Service::start(address);
    let config = format!(
        "mode = \"{mode}\"\nlimits.answer_timeout_s = 5\n[[upstream]]\nname = \"one\"\nurl = \"http://{address}\"\n"
    );
    let mut proxy = Proxy::configure(&log, &config);
    proxy.up();
    proxy.keep_address();
    let ledger = Arc::<Mutex<Vec<Answered>>>::default();
    let (stop, called) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let (ledger, stop, called) = (Arc::clone(&ledger), Arc::clone(&stop), Arc::clone(&called));
            let address = proxy.address();
            thread::spawn(move || call(address, n, &ledger, &stop, &called))
        })
        .collect();
    let mut kills = BTreeMap::<&str, u64>::new();
    for _ in 0..rounds {
        // A linear congruential step (Knuth, MMIX): 20 to 400 ms until the kill.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(20 + (dice >> 33) % 380));
        let victim = ["proxy", "proxy", "log", "upstream"][usize::try_from(dice >> 60).unwrap() % 4];
        *kills.entry(victim).or_default() += 1;
        match victim {
            "proxy" => {
                proxy.kill();
                proxy.up();
            }
            "log" => {
                log.kill();
                log.up();
            }
            _ => {
                service.kill();
                service = Service::start(address);
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.metric("counterfoil_proxy_undelivered") > 0.0
        || proxy.metric("counterfoil_proxy_under_way") > 0.0
    {
        assert!(Instant::now() < deadline, "receipts do not reach the log\n{}", proxy.log());
        thread::sleep(Duration::from_millis(50));
    }
    let ledger = ledger.lock().unwrap();
    let receipts = check_answered(&proxy, &ledger, mode == "strict");
    let chain = check_chain(&log);
    assert!(receipts <= chain, "every receipt is in the log");
    assert!(ledger.len() as u64 > rounds, "the load was real: {} answers", ledger.len());
    format!(
        "{mode}: {rounds} rounds ({kills:?}), {} exchanges, {} answered whole, {receipts} of them with receipts, {chain} receipts in the log, no gap",
        called.load(Ordering::Relaxed),
        ledger.len()
    )
}

/// Calls until it is told to stop; whatever breaks, it calls again.
fn call(
    address: SocketAddr,
    caller: u64,
    ledger: &Mutex<Vec<Answered>>,
    stop: &AtomicBool,
    called: &AtomicU64,
) {
    for n in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut connection) = Caller::try_connect(address) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let stream = (n + caller).is_multiple_of(2);
        let request = format!(r#"{{"model":"m-1","stream":{stream},"echo":"{caller}-{n}"}}"#);
        called.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = connection.try_post("/v1/chat/completions", CREDENTIAL, request.as_bytes()) else {
            continue;
        };
        // What ends an answer, for those who read it.
        let ending = if stream { "data: [DONE]\n\n" } else { "}]}" };
        let is_answered =
            answer.status() == 200 && str::from_utf8(&answer.body).is_ok_and(|text| text.ends_with(ending));
        if !is_answered {
            continue;
        }
        let exchange = answer.exchange().to_owned();
        let has_receipt = Caller::try_connect(address).is_ok_and(|mut connection| {
            connection
                .try_get(&format!("/counterfoil/v1/exchanges/{exchange}"), CREDENTIAL)
                .is_some_and(|found| found.status() == 200)
        });
        ledger.lock().unwrap().push(Answered {
            exchange,
            request: request.into_bytes(),
            response: answer.body,
            has_receipt,
        });
    }
}

/// Every answered exchange, in strict mode, and every one that ever had its receipt is there, and opens with what its caller
/// sent and got. How many there are.
fn check_answered(proxy: &Proxy, ledger: &[Answered], strict: bool) -> usize {
    let mut receipts = 0;
    for answered in ledger {
        let found = proxy.look_up(&answered.exchange);
        if found.status() != 200 {
            assert!(!strict, "an answer without receipt: {} {}", found.head, answered.exchange);
            assert!(!answered.has_receipt, "a receipt was lost: {}", answered.exchange);
            continue;
        }
        receipts += 1;
        let found: Value = serde_json::from_slice(&found.body).unwrap();
        let bundle = Bundle::parse(found["bundle"].to_string().as_bytes()).unwrap();
        let statement = bundle.entry.check_statement(bundle.statement.as_deref().unwrap()).unwrap();
        let openings = Openings::parse(found["openings"].to_string().as_bytes()).unwrap();
        let bodies = Bodies { request: Some(&answered.request), response: Some(&answered.response) };
        for checked in openings.check(&statement, bodies) {
            assert_eq!(checked.finding, Finding::Opened, "{} of {}", checked.label, answered.exchange);
        }
    }
    receipts
}

/// The receipts in the log are one stream: from 0 on without a gap, no number twice, each naming the one before. How many.
fn check_chain(log: &Deployment) -> usize {
    let mut http = log.http();
    let mut by_number: BTreeMap<u64, (Numbering, Id)> = BTreeMap::new();
    for index in 0_u64.. {
        let reply = http.get(&format!("/v1/entries/{index}")).unwrap();
        if reply.status == 404 {
            break;
        }
        let bundle = Bundle::parse(&reply.body).unwrap();
        if bundle.entry.position.is_none() {
            continue;
        }
        let statement = bundle.entry.check_statement(bundle.statement.as_deref().unwrap()).unwrap();
        let numbering = statement.frame.numbering.unwrap();
        let before = by_number.insert(numbering.number.get(), (numbering, bundle.entry.id));
        assert!(before.is_none(), "number {} twice", numbering.number);
    }
    let mut previous = None;
    let mut stream = None;
    for (expected, (number, (numbering, id))) in (0..).zip(&by_number) {
        assert_eq!((*number, numbering.previous), (expected, previous), "a gap");
        assert_eq!(*stream.get_or_insert(numbering.stream), numbering.stream);
        previous = Some(*id);
    }
    by_number.len()
}

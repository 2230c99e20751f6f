//! Ten thousand requests of the worst kinds. Each is refused for the reason that is due, none leaves a trace in the log.

mod addresses;
mod dice;
mod forge;
mod records;
mod sockets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use counterfoil_tests::{Deployment, Http, Reply, audit};
use serde_json::Value;

use self::{addresses::Address, dice::Dice, forge::Forge, records::Record};
use crate::PROGRAMS;

/// How many requests, unless `COUNTERFOIL_HOSTILE_REQUESTS` says otherwise.
const REQUESTS: usize = 10_000;

/// How many send at once.
const WORKERS: usize = 2;

/// By how much memory may differ between the middle and the end: caches, buffers, and what good records take.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

/// What a problem's type begins with.
const TYPE: &str = "https://counterfoil.dev/problems/";

/// Where receipts go, one at a time and many.
const ONE: &str = "/v1/receipts";
const BATCH: &str = "/v1/receipts/batch";

/// What the server's own document promises.
struct Contract {
    /// The status of each code.
    statuses: BTreeMap<String, u64>,
    /// Method, path and code of each refusal that is described.
    described: BTreeSet<(String, String, String)>,
}

impl Contract {
    fn read(document: &Value) -> Self {
        let statuses = document["components"]["examples"].as_object().unwrap().iter();
        let statuses =
            statuses.map(|(code, example)| (code.clone(), example["value"]["status"].as_u64().unwrap()));
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for response in operation["responses"].as_object().unwrap().values() {
                    let response = response["$ref"].as_str().and_then(|it| document.pointer(&it[1..]));
                    let examples =
                        response.and_then(|it| it.pointer("/content/application~1problem+json/examples"));
                    for code in examples.and_then(Value::as_object).into_iter().flat_map(|it| it.keys()) {
                        described.insert((method.to_uppercase(), path.clone(), code.clone()));
                    }
                }
            }
        }
        Self { statuses: statuses.collect(), described }
    }

    /// Checks a problem detail; gives its code.
    fn check(&self, problem: &Value, due: &[&str], context: &str) -> String {
        let code = problem["type"].as_str().and_then(|kind| kind.strip_prefix(TYPE)).unwrap_or_default();
        assert!(due.contains(&code), "{due:?} was due: {problem}\n{context}");
        assert_eq!(problem["status"].as_u64(), self.statuses.get(code).copied(), "{problem}\n{context}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty() && detail.len() < 4096, "{problem}\n{context}");
        assert!(!detail.contains(char::is_control), "{problem}\n{context}");
        // What was signed has an author, who gets a rule and a refusal; what was not has none.
        let signed = ["statement", "signer", "other-log", "rule"].contains(&code);
        let members = if signed { 6 } else { 4 };
        assert_eq!(problem.as_object().map(serde_json::Map::len), Some(members), "{problem}\n{context}");
        code.to_owned()
    }
}

/// One connection's worth of attacks, and the count of what came of them.
struct Attacker<'a> {
    log: &'a Deployment,
    contract: &'a Contract,
    http: Http,
    forge: Forge,
    accepted: BTreeSet<u64>,
    refused: BTreeMap<String, u64>,
}

impl Attacker<'_> {
    /// The next attack; the kinds take turns.
    fn attack(&mut self, turn: usize) {
        const OTHERS: usize = 9;
        let kinds = records::KINDS.len() + OTHERS;
        let Some(other) = (turn % kinds).checked_sub(records::KINDS.len()) else {
            let (what, make) = records::KINDS[turn % kinds];
            let record = make(&mut self.forge);
            return self.send_record(what, &record);
        };
        match other {
            0 => self.send_address(addresses::wrong_method),
            1 => self.send_address(addresses::wrong_path),
            2 => self.send_address(addresses::wrong_tile),
            3 | 4 => self.send_address(addresses::wrong_parameter),
            5 | 6 => self.send_batch(),
            7 => self.send_too_much(),
            _ => sockets::rubbish(self.log.address(), &mut self.forge.dice),
        }
    }

    /// Sends over the one connection, which has to survive.
    fn send(&mut self, method: &str, path: &str, body: &[u8], chunked: bool) -> Reply {
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", body.len())
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n").into_bytes();
        if chunked {
            for chunk in body.chunks(16_000) {
                request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                request.extend_from_slice(chunk);
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\n\r\n");
        } else {
            request.extend_from_slice(body);
        }
        let sent = self.http.send(&request).and_then(|()| self.http.reply());
        let reply = sent.unwrap_or_else(|error| panic!("{error}: {method} {path}\n{}", shown(body)));
        assert_eq!(reply.header("connection"), None, "{method} {path}\n{}", shown(body));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        reply
    }

    /// Checks a refusal, against what is due and what is described.
    fn refused(&mut self, reply: &Reply, due: &[&str], (method, route): (&str, Option<&str>), context: &str) {
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{context}");
        let problem = reply.json();
        assert_eq!(problem["status"], reply.status, "{context}");
        let code = self.contract.check(&problem, due, context);
        if let Some(route) = route.filter(|_| code != "method") {
            let described = (method.to_owned(), route.to_owned(), code.clone());
            assert!(self.contract.described.contains(&described), "not in the document: {described:?}");
        }
        *self.refused.entry(code).or_default() += 1;
    }

    fn send_record(&mut self, what: &str, record: &Record) {
        let chunked = self.forge.dice.below(4) == 0;
        let reply = self.send("POST", ONE, &record.body, chunked);
        let context = format!("{what}: {}\n{}", shown(&record.body), shown(&reply.body));
        if record.due.is_empty() {
            assert_eq!(reply.status, 201, "{context}");
            assert!(self.accepted.insert(reply.json()["index"].as_u64().unwrap()), "{context}");
        } else {
            self.refused(&reply, record.due, ("POST", Some(ONE)), &context);
        }
    }

    fn send_address(&mut self, make: fn(&mut Dice) -> Address) {
        let Address { method, path, route, due } = make(&mut self.forge.dice);
        let reply = self.send(method, &path, b"", false);
        let context = format!("{method} {path}\n{}", shown(&reply.body));
        assert_eq!(reply.header("allow").is_some(), reply.status == 405, "{context}");
        self.refused(&reply, due, (method, route), &context);
    }

    /// Lines of any kind, the good among the bad: each stands for itself.
    fn send_batch(&mut self) {
        let mut lines = Vec::new();
        while lines.len() < 12 {
            let (_, make) = *self.forge.dice.pick(records::KINDS);
            let record = make(&mut self.forge);
            if !record.body.contains(&b'\n') {
                lines.push(record);
            }
        }
        lines.truncate(1 + self.forge.dice.below(12));
        let end: &[u8] = if self.forge.dice.below(2) == 0 { b"\n" } else { b"\n\n" };
        let body = lines.iter().flat_map(|line| [&line.body, end].concat()).collect::<Vec<_>>();
        let chunked = self.forge.dice.below(2) == 0;
        let reply = self.send("POST", BATCH, &body, chunked);
        assert_eq!(reply.status, 200, "{}", shown(&reply.body));
        let answers: Vec<_> = reply.text().lines().collect();
        assert_eq!(answers.len(), lines.len(), "{}", reply.text());
        for (line, answer) in lines.iter().zip(answers) {
            let context = format!("{}\n{answer}", shown(&line.body));
            let answer: Value = serde_json::from_str(answer).unwrap();
            if line.due.is_empty() {
                let index = answer["index"].as_u64().unwrap_or_else(|| panic!("{context}"));
                assert!(self.accepted.insert(index), "{context}");
            } else {
                assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{context}");
                let code = self.contract.check(&answer["error"], line.due, &context);
                *self.refused.entry(code).or_default() += 1;
            }
        }
    }

    /// More bytes or lines than are taken, but few enough for the connection to survive.
    fn send_too_much(&mut self) {
        let chunked = self.forge.dice.below(2) == 0;
        if self.forge.dice.below(2) == 0 {
            let body = "{}\n".repeat(1001 + self.forge.dice.below(1000));
            let reply = self.send("POST", BATCH, body.as_bytes(), chunked);
            return self.refused(&reply, &["too-many-lines"], ("POST", Some(BATCH)), "many lines");
        }
        let size = 72 * 1024 + 1 + *self.forge.dice.pick(&[0, 1, 5_000, 40_000, 900_000]);
        let mut body = self.forge.good().into_bytes();
        body.resize(size, b' ');
        let reply = self.send("POST", ONE, &body, chunked);
        self.refused(&reply, &["too-large"], ("POST", Some(ONE)), "many bytes");
    }
}

/// The beginning of a body, for messages.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned()
}

/// What the server says that it refused, by code.
fn counted(http: &mut Http) -> BTreeMap<String, u64> {
    let metrics = http.get("/metrics").unwrap();
    let lines = metrics.text().lines().filter_map(|line| {
        let (code, count) = line.strip_prefix("counterfoil_rejects_total{reason=\"")?.split_once("\"} ")?;
        Some((code.to_owned(), count.parse().unwrap()))
    });
    lines.collect()
}

/// Holds the server's count against the senders', and sees that every kind was tried.
fn check_counts(
    before: &BTreeMap<String, u64>,
    refused: &BTreeMap<String, u64>,
    server: &BTreeMap<String, u64>,
) {
    for (code, count) in server {
        // Rubbish on sockets is refused by some of these codes too; its senders hear of it or not.
        let sender = refused.get(code).or(before.get(code)).copied().unwrap_or(0);
        let exact = !matches!(code.as_str(), "body" | "envelope" | "method" | "not-found" | "too-large");
        assert!(*count >= sender && (!exact || *count == sender), "{code}: {count} counted, {sender} heard");
    }
    assert!(refused.keys().all(|code| server.contains_key(code)), "{refused:?}\n{server:?}");
    let due = [
        "envelope",
        "signature",
        "statement",
        "signer",
        "other-log",
        "rule",
        "too-large",
        "too-many-lines",
        "parameter",
        "not-found",
        "method",
    ];
    assert!(
        due.iter().all(|code| refused.contains_key(*code)),
        "a kind of attack was not tried: {refused:?}"
    );
}

/// Lets the server wait for long: what is tried here is what is sent, and a busy machine may take its time to send it.
fn patient(log: &Deployment) {
    let config = log.directory().join("counterfoil.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    for (name, seconds) in [("header", 15), ("body", 15), ("answer", 30)] {
        let line = format!("{name}_timeout_s = {seconds}\n");
        assert!(text.contains(&line), "{text}");
        text = text.replace(&line, &format!("{name}_timeout_s = 600\n"));
    }
    fs::write(&config, text).unwrap();
}

/// What good records and time alone make a server say: batches, the index that has caught up, the scrubber every ten minutes.
const REGULAR: [&str; 3] = ["batch_leaves", "the search index is complete", "the stored log was read again"];

/// What the server has said so far, less that.
fn said(log: &Deployment) -> Vec<String> {
    let is_regular =
        |line: &str| line.contains(" INFO ") && REGULAR.iter().any(|regular| line.contains(regular));
    log.server_log().lines().filter(|line| !is_regular(line)).map(str::to_owned).collect()
}

/// Whatever is sent, the answer is the problem detail that is due and never a fault of the server, the log has nothing but what
/// was good and accepted, and the server's count of refusals is the sender's. It takes no more memory for it, and says nothing.
#[test]
fn nothing_bad_enters() {
    let requests =
        std::env::var("COUNTERFOIL_HOSTILE_REQUESTS").map_or(REQUESTS, |text| text.parse().unwrap());
    let mut log = Deployment::init(PROGRAMS, "log.example/hostile", &[]);
    patient(&log);
    let forges: Vec<_> = (1..=WORKERS).map(|seed| Forge::new(&log.origin, seed as u64)).collect();
    log.up();
    forges.iter().enumerate().for_each(|(worker, forge)| forge.register(&log, worker));
    let registered = 5 * WORKERS as u64;

    let contract = Contract::read(&log.http().get("/openapi.json").unwrap().json());
    let before = counted(&mut log.http());
    assert!(before.keys().all(|code| code == "starting"), "{before:?}");
    let (shared, contract, said_before) = (&log, &contract, said(&log));
    let (sent, mut at_half) = (&AtomicUsize::new(0), 0);
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers = forges.into_iter().map(|forge| {
            scope.spawn(move || {
                let (accepted, refused) = (BTreeSet::new(), BTreeMap::new());
                let http = shared.http();
                let mut attacker = Attacker { log: shared, contract, http, forge, accepted, refused };
                for turn in 0..requests / WORKERS {
                    attacker.attack(turn);
                    sent.fetch_add(1, Relaxed);
                }
                (attacker.accepted, attacker.refused)
            })
        });
        let workers: Vec<_> = workers.collect();
        while sent.load(Relaxed) < requests / 2 && !workers.iter().any(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        at_half = shared.memory();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });

    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeMap::new());
    for (indices, codes) in done {
        accepted.extend(indices);
        codes.into_iter().for_each(|(code, count)| *refused.entry(code).or_default() += count);
    }
    let (at_end, said_after) = (log.memory(), said(&log));
    println!("{requests} requests: {} MiB at half of them, {} MiB at the end", at_half >> 20, at_end >> 20);
    assert!(at_end < at_half + GROWTH_BYTES_MAX, "memory grew from {at_half} to {at_end} bytes");
    assert_eq!(said_after, said_before, "callers' mistakes are no reason to fill a log");
    let mut http = log.http();
    let size = 1 + registered + accepted.len() as u64;
    let key = log.log_key.parse().unwrap();
    assert_eq!(
        audit::checkpoint(&mut http, &key).head().size.get(),
        size,
        "the rules, the keys, and what was accepted"
    );
    assert!(accepted.into_iter().eq(1 + registered..size), "every index once");
    check_counts(&before, &refused, &counted(&mut http));
    assert_eq!(http.get("/readyz").unwrap().status, 200);
    log.down();
    log.server_run(&["fsck", "--admission"]).exits(0);
}

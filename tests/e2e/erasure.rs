//! Erased statements: what is left of them (nothing), what goes on without them (all else), and who is told whose order it was.

mod copies;
mod crash;
mod orders;
mod repair;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use counterfoil_receipt::{
    Id, SigningKey, Statement,
    claim::{Claim, ClaimKey},
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        receipt::{Api, Model, Outcome, Protocol},
    },
};
use counterfoil_tests::Deployment;
use serde_json::Value;

use crate::PROGRAMS;

/// What every statement of these tests has in it, and nothing else that a log keeps; a number of six digits follows.
const MARK: &str = "say-no-more-";

/// An issuer of one stream, whose statements can be told apart byte by byte.
struct Bank {
    key: SigningKey,
    log: String,
    next: Number,
    previous: Option<Id>,
}

/// A receipt that the bank signed.
struct Issued {
    number: u64,
    id: Id,
    envelope: String,
    statement: Vec<u8>,
    claim: Claim,
}

impl Bank {
    fn new(log: &Deployment) -> Self {
        let key = SigningKey::from_ed25519_seed(&[77; 32]);
        Self { key, log: log.origin.clone(), next: Number::FIRST, previous: None }
    }

    fn issue(&mut self) -> Issued {
        let number = self.next.get();
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let claim = ClaimKey::new(seed);
        let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
        let requested = Some(format!("{MARK}{number:06}"));
        let model = Model { requested, reported: None, alias: None, claimed: None };
        let mut receipt = Receipt::new(api, model, Outcome::Complete);
        receipt.claim = Some(claim.signing_key().public().clone());
        let statement = Statement {
            subject: Subject::Exchange { request: Commitment::new(seed), response: None },
            frame: Frame {
                nonce: Nonce::new(seed[..16].try_into().unwrap()),
                log: self.log.parse().unwrap(),
                issuer: Issuer { key: self.key.public().clone(), software: None },
                numbering: Some(Numbering {
                    stream: StreamId::new([0x77; 16]),
                    number: self.next,
                    previous: self.previous,
                }),
            },
            predicate: Predicate::Receipt(Box::new(receipt)),
        };
        let signed = statement.sign(&self.key).unwrap();
        let id = signed.id();
        self.next = self.next.next().unwrap();
        self.previous = Some(id);
        let claim = Claim { id, log: self.log.parse().unwrap(), key: claim };
        let envelope = signed.envelope();
        Issued {
            number,
            id,
            envelope: envelope.to_json(),
            statement: envelope.statement_bytes().to_vec(),
            claim,
        }
    }

    /// Issues receipts and appends them, some dozens a batch; each is at the index after the one before.
    fn append(&mut self, log: &Deployment, count: usize) -> Vec<Issued> {
        let issued: Vec<_> = (0..count).map(|_| self.issue()).collect();
        let mut http = log.http();
        for some in issued.chunks(48) {
            let lines: String = some.iter().map(|it| format!("{}\n", it.envelope)).collect();
            let reply = http.post("/v1/receipts/batch", lines.as_bytes()).unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(!reply.text().contains("error"), "{}", reply.text());
        }
        issued
    }
}

/// A log that people know by the name `l`, with the bank's and a stranger's keys at hand, and `count` receipts in it.
fn begun(origin: &str, count: usize) -> (Deployment, Bank, Vec<Issued>) {
    let log = Deployment::start(PROGRAMS, origin);
    log.keep_address();
    let mut bank = Bank::new(&log);
    does(&log, &["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]);
    fs::write(log.home().join("bank.pem"), &*bank.key.to_pkcs8_pem()).unwrap();
    does(&log, &["keygen", "-o", "stranger.pem"]);
    let issued = bank.append(&log, count);
    for it in &issued {
        fs::write(log.home().join(format!("{}.claim.json", it.number)), &*it.claim.to_json()).unwrap();
    }
    (log, bank, issued)
}

fn does(log: &Deployment, arguments: &[&str]) -> counterfoil_tests::Run {
    log.client(arguments).exits(0)
}

/// Orders the erasure of a receipt, by `--claim` or `--key`; the index of the order.
fn erase(log: &Deployment, it: &Issued, by: &[&str]) -> u64 {
    let id = it.id.to_string();
    let order = [
        &["--json", "erase", &id, "--basis", "rights_request", "--yes", "--log", "l", "--out", "records"],
        by,
    ];
    let answer = does(log, &order.concat()).json();
    assert_eq!((&answer["status"], &answer["kind"]), (&"proven".into(), &"erasure".into()), "{answer}");
    answer["index"].as_u64().unwrap()
}

/// All files below a directory, with their bytes.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(items) = fs::read_dir(&directory) else { continue };
        for item in items {
            let path = item.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                // What a running server deletes meanwhile is not there.
                found.push((path, bytes));
            }
        }
    }
    found
}

/// Everything that a log keeps: configuration, data, index, guard, and what it wrote to its own log.
fn all_of(log: &Deployment) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = files(log.directory());
    all.push((log.guard().to_owned(), fs::read(log.guard()).unwrap()));
    all.push(("server.log".into(), log.server_log().into_bytes()));
    all
}

/// The files in which a statement, or what only it has, is found: as it is, in hex, or in base64 at whatever offset.
fn traces(all: &[(PathBuf, Vec<u8>)], it: &Issued) -> Vec<PathBuf> {
    let mark = format!("{MARK}{:06}", it.number).into_bytes();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    let mut needles = vec![it.statement.clone(), hex(&mark), mark.clone()];
    for offset in 0..3 {
        // Whole groups of three bytes inside the mark: how they read does not depend on what stands around them.
        let inner = &mark[offset..offset + (mark.len() - offset) / 3 * 3];
        needles.push(STANDARD_NO_PAD.encode(inner).into_bytes());
    }
    let has = |bytes: &[u8]| needles.iter().any(|needle| find(bytes, needle));
    all.iter().filter(|(_, bytes)| has(bytes)).map(|(path, _)| path.clone()).collect()
}

/// Whether bytes are somewhere in others.
fn find(bytes: &[u8], needle: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Waits until nothing of a statement is left: an order is answered before the last file is written.
fn gone(log: &Deployment, it: &Issued) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = traces(&all_of(log), it);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{} is still in {left:?}", it.number);
        thread::sleep(Duration::from_millis(20));
    }
}

/// The bundle that the server gives of a record.
fn bundle(log: &Deployment, it: &Issued) -> Value {
    let reply = log.http().get(&format!("/v1/receipts/{}", it.id)).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// One look of a monitor that keeps its state under that name.
fn look(log: &Deployment, state: &str, more: &[&str]) -> counterfoil_tests::Run {
    log.client(&[&["monitor", "--once", "--state", state, "--log", "l"], more].concat())
}

/// What stands about a receipt.
fn standing(log: &Deployment, id: &str) -> Value {
    does(log, &["--json", "standing", id, "--log", "l"]).json()["logs"][0].clone()
}

/// The only fact of that name.
fn one<'v>(standing: &'v Value, name: &str) -> &'v Value {
    let found: Vec<_> =
        standing["facts"].as_array().unwrap().iter().filter(|fact| fact["fact"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {standing:#}");
    found[0]
}

/// Nothing left of a statement, wherever a log keeps anything.
fn nothing_left(log: &Deployment, it: &Issued) {
    assert_eq!(traces(&all_of(log), it), Vec::<PathBuf>::new(), "receipt {}", it.number);
}

/// Show 1. One statement goes by order of its claim key, out of a full bundle; another by its issuer's, out of the ragged edge.
#[test]
fn an_erased_statement_leaves_everything_but_itself() {
    let (mut log, mut bank, issued) = begun("log.example/erased", 300);
    let (old, young) = (&issued[17], &issued[290]);
    fs::write(log.home().join("before.json"), bundle(&log, old).to_string()).unwrap();
    let id = old.id.to_string();
    let said = ["--json", "dispute", "--claim", "17.claim.json", "--ground", "harmful_or_wrong_decision"];
    let dispute = does(&log, &[&said[..], &["--log", "l", "--out", "records"]].concat()).json();
    look(&log, "watching", &[]).exits(0);
    look(&log, "mirror", &["--keep"]).exits(0);
    for it in [old, young] {
        assert!(!traces(&all_of(&log), it).is_empty(), "the search finds what is there");
        assert!(!traces(&files(&log.home().join("mirror")), it).is_empty());
    }

    erase(&log, old, &["--claim", "17.claim.json"]);
    assert_eq!(bundle(&log, old)["statement"], Value::Null, "as soon as it was answered");
    erase(&log, young, &["--key", "bank.pem"]);
    assert_eq!(bundle(&log, young)["statement"], Value::Null);
    gone(&log, old);
    gone(&log, young);
    assert!(!traces(&all_of(&log), &issued[18]).is_empty(), "its neighbour stays");
    everything_goes_on(&log, old, dispute["leaf"].as_str().unwrap());

    // The same receipt again is known, and stays erased.
    let again = log.http().post("/v1/receipts", old.envelope.as_bytes()).unwrap();
    assert_eq!((again.status, again.json()["index"].as_u64()), (200, Some(18)));
    // Further receipts fill the bundle that was ragged; then the log is stopped, checked, and started without its index.
    bank.append(&log, 300);
    log.down();
    let checked = log.server_run(&["fsck", "--admission"]).exits(0);
    assert!(checked.out.contains("erasures: 2 ordered, 0 still"), "{}", checked.out);
    [old, young].into_iter().for_each(|it| nothing_left(&log, it));
    fs::remove_dir_all(log.directory().join("index")).unwrap();
    log.up();
    [old, young].into_iter().for_each(|it| nothing_left(&log, it));
    assert_eq!(bundle(&log, young)["statement"], Value::Null);
    let stands = standing(&log, &id);
    ["claimed", "disputed", "answered", "erased"].iter().for_each(|fact| {
        one(&stands, fact);
    });
    look(&log, "watching", &[]).exits(0);
}

/// Proof, stream, dispute and duties of an erased receipt; monitors old and new, and a mirror.
fn everything_goes_on(log: &Deployment, old: &Issued, dispute: &str) {
    let policy = log.policy();
    fs::write(log.home().join("after.json"), bundle(log, old).to_string()).unwrap();
    for (file, statement) in [("before.json", "matches"), ("after.json", "absent")] {
        let verified = does(log, &["--json", "verify", file, "--policy", policy.to_str().unwrap()]).json();
        let found = (&verified["holds"], &verified["statement"], verified["logged"]["index"].as_u64());
        assert_eq!(found, (&true.into(), &statement.into(), Some(18)), "{verified:#}");
    }
    let id = old.id.to_string();
    does(log, &["prove", &id[..32], "--log", "l"]);
    let stands = standing(log, &id);
    assert_eq!(one(&stands, "erased")["by"], "claim_key", "{stands:#}");
    assert_eq!(one(&stands, "disputed")["due_by"], "default", "{stands:#}");
    assert_eq!(stands["turns"][0]["task"], "answer", "the duty stays: {stands:#}");
    let answer =
        ["respond", dispute, "--key", "bank.pem", "--position", "accept", "--reason", "error_confirmed"];
    does(log, &[&answer[..], &["--log", "l", "--out", "records"]].concat());
    let stands = standing(log, &id);
    one(&stands, "answered");
    for state in ["watching", "anew"] {
        let looked = look(log, state, &["--json"]).exits(0);
        assert!(!looked.out.contains("\"code\""), "no finding: {}", looked.out);
    }
    look(log, "mirror", &["--keep"]).exits(0);
    let mirror = files(&log.home().join("mirror"));
    assert_eq!(traces(&mirror, old), Vec::<PathBuf>::new(), "the mirror was told by the record");
}

/// A statement that vanishes without a record is a finding, for monitor and fsck, and a log that was tampered with so runs on.
#[test]
fn what_vanishes_without_a_record_is_found() {
    let (mut log, _, issued) = begun("log.example/vanished", 280);
    log.down();
    let path = log.data().join("statement/000");
    let bundle = fs::read(&path).unwrap();
    let without = counterfoil_merkle::bundle::empty_items(&bundle, |slot| slot == 18).unwrap();
    assert!(find(&bundle, &issued[17].statement) && !find(&without, &issued[17].statement));
    fs::write(&path, without).unwrap();
    let checked = log.server_run(&["fsck"]).exits(1);
    assert!(checked.out.contains("INVALID statement-missing at entry 18"), "{}", checked.out);
    log.up();
    let looked = look(&log, "watching", &[]).exits(11);
    assert!(looked.out.contains("INVALID statement-missing at entry 18"), "{}", looked.out);
}

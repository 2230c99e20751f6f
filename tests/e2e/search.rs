//! Searching a real log: what is found is what is there, whatever became of the index; and what is owed in disputes.

use std::{collections::BTreeMap, fs, path::Path};

use counterfoil_merkle::{Hash, LeafIndex, proof::InclusionProof};
use counterfoil_receipt::{
    SigningKey, Timestamp,
    statement::{
        Commitment, Dispute, Ground, Policy, Predicate, Receipt, RemedyKind, Response, StreamId, Subject,
        Undertaking,
        policy::OnLogFailure,
        receipt::{Api, Model, Outcome, Protocol, Reported, ReportedSource},
        response::Stance,
    },
};
use counterfoil_tests::{Deployment, http::Http, records::record, until};
use serde_json::Value;

use crate::PROGRAMS;

/// What a receipt was made of: key, model asked for, model reported, outcome.
type Made = (String, String, String, Outcome);

/// Waits until the index knows so many entries.
fn indexed(http: &mut Http, size: u64) {
    let known = || {
        let known = http.get("/v1/overdue").unwrap();
        known.status == 200 && known.json()["complete"].as_u64() == Some(size)
    };
    until(known, "the index follows");
}

/// All pages of a question: indexes of the records, each proven under the checkpoint of its page.
fn all(http: &mut Http, question: &str, limit: usize) -> Vec<u64> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = http.get(&format!("/v1/receipts?{question}&limit={limit}{cursor}")).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        let records = page["records"].as_array().unwrap();
        assert!(records.len() <= limit);
        for record in records {
            found.push(proven(&page, record));
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Checks the proof of a record of an answer; its index.
fn proven(answer: &Value, record: &Value) -> u64 {
    let checkpoint: counterfoil_merkle::checkpoint::SignedCheckpoint =
        answer["checkpoint"].as_str().unwrap().parse().unwrap();
    let head = checkpoint.unverified().head;
    assert_eq!(answer["size"].as_u64(), Some(head.size.get()));
    let index = record["index"].as_u64().unwrap();
    let hashes = record["hashes"].as_array().unwrap().iter();
    let hashes = hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap()).collect();
    let proof = InclusionProof::new(LeafIndex::new(index).unwrap(), head.size, hashes).unwrap();
    let leaf = Hash::leaf(record["entry"].as_str().unwrap().as_bytes());
    proof.verify(leaf, head.root).unwrap();
    assert_eq!(record["leaf"], leaf.to_string());
    index
}

/// A receipt of a model, appended.
fn receipt(log: &Deployment, key: &SigningKey, requested: &str, reported: &str, outcome: Outcome) {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
    let reported = Some(Reported { value: reported.into(), source: ReportedSource::Body });
    let model = Model { requested: Some(requested.into()), reported, alias: None, claimed: None };
    let subject = Subject::Exchange { request: Commitment::new([7; 32]), response: None };
    let predicate = Predicate::Receipt(Box::new(Receipt::new(api, model, outcome)));
    log.put(&record(&log.origin, key, subject, predicate));
}

fn url_key(key: &SigningKey) -> String {
    key.public().as_str().replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

/// Every question is answered with the records that a plain filter gives, in either order, over pages of any length; after a restart
/// too, and after the index was deleted, damaged or made again. Cursors outlive a restart, and not their index.
#[test]
#[expect(clippy::too_many_lines, reason = "one log, asked before and after each thing that befalls it")]
fn answers_are_those_of_a_plain_filter_whatever_becomes_of_the_index() {
    let mut log = Deployment::start(PROGRAMS, "log.example/found");
    let keys: Vec<_> = (20..23).map(|seed| SigningKey::from_ed25519_seed(&[seed; 32])).collect();
    let outcomes = [Outcome::Complete, Outcome::Refused, Outcome::Truncated];
    let mut facts = vec![("".to_owned(), "".to_owned(), "".to_owned(), Outcome::ProxyError)];
    for n in 0..300_usize {
        let (key, model, outcome) = (&keys[n % 7 % 3], format!("model {}", n % 5), outcomes[n % 11 % 3]);
        let reported = format!("told & {}+", n / 100);
        receipt(&log, key, &model, &reported, outcome);
        facts.push((url_key(key), model, reported, outcome));
    }
    let size = facts.len() as u64;
    let expected = |has: &dyn Fn(&Made) -> bool| -> Vec<u64> {
        (1..size).filter(|n| has(&facts[usize::try_from(*n).unwrap()])).collect()
    };
    let key = url_key(&keys[1]);
    let questions: Vec<(String, Vec<u64>)> = vec![
        ("kind=receipt".into(), expected(&|_| true)),
        (format!("issuer={key}"), expected(&|fact| fact.0 == key)),
        ("requested=model%203".into(), expected(&|fact| fact.1 == "model 3")),
        ("reported=told%20%26%202%2B".into(), expected(&|fact| fact.2 == "told & 2+")),
        (
            format!("issuer={key}&requested=model%201&outcome=refused"),
            expected(&|fact| fact.0 == key && fact.1 == "model 1" && fact.3 == Outcome::Refused),
        ),
        ("kind=rules".into(), vec![0]),
        ("outcome=timeout".into(), vec![]),
    ];
    let check = |log: &Deployment| {
        let mut http = log.http();
        indexed(&mut http, size);
        for (question, expected) in &questions {
            for limit in [7, 100] {
                assert_eq!(
                    all(&mut http, &format!("{question}&order=oldest"), limit),
                    *expected,
                    "{question}"
                );
                let mut newest = all(&mut http, question, limit);
                newest.reverse();
                assert_eq!(newest, *expected, "{question}");
            }
        }
        // A span of time is a span of indexes.
        let at = |index: u64| {
            let entry = http_entry(&mut log.http(), index);
            entry["at"].as_u64().unwrap()
        };
        let (from, before) = (at(50), at(250));
        let inside = all(&mut http, &format!("kind=receipt&from={from}&before={before}&order=oldest"), 33);
        let expected: Vec<_> = (1..size).filter(|index| (from..before).contains(&at(*index))).collect();
        assert_eq!(inside, expected);
    };
    check(&log);
    let first = log.http().get("/v1/receipts?kind=receipt&limit=10").unwrap().json();
    let next = format!("/v1/receipts?kind=receipt&limit=10&cursor={}", first["next"].as_str().unwrap());
    let then = log.http().get(&next).unwrap().json()["records"].clone();

    log.down();
    log.up();
    check(&log);
    assert_eq!(log.http().get(&next).unwrap().json()["records"], then, "a cursor outlives a restart");

    log.down();
    fs::remove_dir_all(log.directory().join("search")).unwrap();
    log.up();
    check(&log);
    let refused = log.http().get(&next).unwrap();
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (400, Some("https://counterfoil.dev/problems/cursor"))
    );

    // What the command line shows is verified, and is what was asked for.
    let search = |log: &Deployment, more: &[&str]| {
        let known = ["search", "--url", &log.url(), "--log-key", &log.log_key, "--json", "--limit", "500"];
        log.client(&[&known[..], more].concat())
    };
    let shown = search(&log, &["--requested", "model 3", "--oldest"]).exits(0);
    let indexes: Vec<_> =
        shown.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(
        indexes.iter().map(|line| line["index"].as_u64().unwrap()).collect::<Vec<_>>(),
        questions[2].1
    );
    assert!(indexes.iter().all(|line| line["receipt"]["requested"] == "model 3"));

    // Without an index there are no answers, and that is said.
    log.down();
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[search]\nenabled = true", "[search]\nenabled = false")).unwrap();
    log.up();
    for path in ["/v1/receipts?kind=receipt", "/v1/overdue", &format!("/v1/issuers/{key}")] {
        let reply = log.http().get(path).unwrap();
        assert_eq!((reply.status, reply.json()["title"].as_str()), (501, Some("No search")), "{path}");
    }
    let refused = search(&log, &["--kind", "receipt"]).exits(2);
    assert!(refused.err.contains("501"), "{}", refused.err);
}

fn http_entry(http: &mut Http, index: u64) -> Value {
    let bundle = http.get(&format!("/v1/entries/{index}")).unwrap().json();
    serde_json::from_str(bundle["entry"].as_str().unwrap()).unwrap()
}

/// The files of the index.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// The index of a log with a full run is the same to the byte, whether it grew while receipts came, was made again from entries and
/// statements by `reindex`, or was mended by the running log after a run was damaged.
#[test]
fn a_rebuilt_index_is_the_one_that_grew() {
    const RECEIPTS: u64 = 65_600;
    let mut log = Deployment::start(PROGRAMS, "log.example/rebuilt");
    let keys = ["--log-key", &log.log_key, "--clock", &log.clock_key];
    let fill = RECEIPTS.to_string();
    let load = ["load", "--url", &log.url(), "--fill", &fill, "--batch", "500", "--connections", "8"];
    let _ = log.client(&[&load[..], &keys[..]].concat()).exits(0);
    let directory = log.directory().join("search");
    indexed_slowly(&log, RECEIPTS + 1);
    let answer = |log: &Deployment| {
        let page = log.http().get("/v1/receipts?requested=m-1&order=oldest&limit=100").unwrap().json();
        page["records"].as_array().unwrap().iter().map(|record| proven(&page, record)).collect::<Vec<_>>()
    };
    let before = answer(&log);
    assert_eq!(before, (1..=100).collect::<Vec<_>>());
    log.down();
    let grown = files(&directory);
    assert_eq!(grown.keys().collect::<Vec<_>>(), ["0000000000.run", "key"]);
    let whole: Vec<u8> = grown.values().flatten().copied().collect();
    assert!(!whole.windows(8).any(|window| window == b"complete"), "no text of a statement is in a file");

    let reindexed = log.server_run(&["reindex"]).exits(0);
    assert!(
        reindexed.out.contains(&format!("{} published entries can be searched", RECEIPTS + 1)),
        "{}",
        reindexed.out
    );
    assert!(files(&directory) == grown, "made again by reindex");

    let run = directory.join("0000000000.run");
    let mut bytes = grown["0000000000.run"].clone();
    bytes.iter_mut().step_by(911).for_each(|byte| *byte ^= 0x55);
    fs::write(&run, bytes).unwrap();
    log.up();
    indexed_slowly(&log, RECEIPTS + 1);
    assert!(log.server_log().contains("a run of the search index was made again"), "{}", log.server_log());
    assert_eq!(answer(&log), before);
    log.down();
    assert!(files(&directory) == grown, "mended by the running log");
}

fn indexed_slowly(log: &Deployment, size: u64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(240);
    let known = || log.http().get("/v1/overdue").unwrap();
    loop {
        let reply = known();
        if reply.status == 200 && reply.json()["complete"].as_u64() == Some(size) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}\n{}", reply.text(), log.server_log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn dispute(ground: Ground) -> Predicate {
    Predicate::Dispute(Box::new(Dispute {
        grounds: vec![ground],
        harm: None,
        remedy: None,
        statement: None,
        evidence: vec![],
        accountable: None,
        outside: None,
    }))
}

/// Disputes that nobody answers, and remedies that are not done, are overdue from the moment that their deadline is past, and no more
/// once they are answered; the history of a receipt says the same, from any record about it; after a restart too.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn what_is_owed_is_overdue_when_it_is_late() {
    const MINUTE: u64 = 60_000;
    let mut log = Deployment::start(PROGRAMS, "log.example/owed");
    let [bank, customer, shop] = [30, 31, 32].map(|seed| SigningKey::from_ed25519_seed(&[seed; 32]));
    let policy = Policy {
        respond_within_s: 60,
        grounds: vec![Ground::Billing],
        remedies: vec![RemedyKind::Refund],
        arbiters: vec![],
        coverage: vec![],
        on_log_failure: OnLogFailure::Answer,
        retention: None,
    };
    log.put(&record(&log.origin, &bank, Subject::Log, Predicate::Policy(policy)));
    let mut leaves = Vec::new();
    for key in [&bank, &shop] {
        receipt(&log, key, "m-1", "m-1", Outcome::Complete);
        let size: u64 = 2 + leaves.len() as u64;
        let bundle = log.http().get(&format!("/v1/entries/{size}")).unwrap().json();
        leaves.push(Hash::leaf(bundle["entry"].as_str().unwrap().as_bytes()));
    }
    let about = |leaf| Subject::Record(leaf);
    let first = log.put(&record(&log.origin, &customer, about(leaves[0]), dispute(Ground::Billing)));
    let _second = log.put(&record(&log.origin, &customer, about(leaves[1]), dispute(Ground::Billing)));
    let mut http = log.http();
    indexed(&mut http, 6);
    let disputed = http_entry(&mut http, 4)["at"].as_u64().unwrap();
    let id = |index: u64| http_entry(&mut log.http(), index)["id"].as_str().unwrap().to_owned();
    let (receipt_id, dispute_id) = (id(2), id(4));
    let overdue = |log: &Deployment, at: u64| {
        let answer = log.http().get(&format!("/v1/overdue?at={at}")).unwrap().json();
        let tasks = answer["overdue"].as_array().unwrap().iter();
        let told = |it: &Value| format!("{} {}", it["task"].as_str().unwrap(), it["dispute_index"]);
        let told: Vec<_> = tasks.map(told).collect();
        assert_eq!(answer["total"].as_u64(), Some(told.len() as u64));
        told
    };
    let nothing: [&str; 0] = [];
    assert_eq!(overdue(&log, disputed + MINUTE), nothing, "the last moment is not late");
    assert_eq!(overdue(&log, disputed + MINUTE + 1), ["answer 4"]);
    let month = disputed + 31 * 24 * 60 * MINUTE;
    assert_eq!(overdue(&log, month), ["answer 4", "answer 5"], "who promised nothing has 30 days");
    assert_eq!(log.http().get("/v1/overdue").unwrap().json()["total"], 0);
    let page = log.http().get(&format!("/v1/overdue?at={month}&limit=1")).unwrap().json();
    let next = format!("/v1/overdue?at={month}&limit=1&cursor={}", page["next"].as_str().unwrap());
    let page = log.http().get(&next).unwrap().json();
    assert_eq!((&page["overdue"][0]["dispute_index"], &page["next"]), (&5.into(), &Value::Null));

    // An answer ends it, and what it undertakes is owed instead.
    let due = Timestamp::from_millis(disputed + 10 * MINUTE).unwrap();
    let response = Response {
        position: Stance::Accept,
        reasons: vec![],
        statement: None,
        evidence: vec![],
        remedy: Some(Undertaking { remedy: RemedyKind::Refund, due }),
    };
    log.put(&record(&log.origin, &bank, about(first), Predicate::Response(response)));
    indexed(&mut http, 7);
    let check = |log: &Deployment| {
        assert_eq!(overdue(log, disputed + MINUTE + 1), nothing);
        assert_eq!(overdue(log, due.millis() + 1), ["remedy 4"]);
        // From the receipt, or from whatever is about it.
        for id in [&receipt_id, &dispute_id] {
            let path = format!("/v1/receipts/{id}/history?at={}", due.millis() + 1);
            let history = log.http().get(&path).unwrap().json();
            assert_eq!(history["matter"]["record"], leaves[0].to_string(), "{history:#}");
            let records: Vec<_> = history["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| proven(&history, record))
                .collect();
            assert_eq!(records, [2, 4, 6]);
            let facts = history["standing"]["facts"].as_array().unwrap();
            let names: Vec<_> = facts.iter().map(|fact| fact["fact"].as_str().unwrap()).collect();
            assert_eq!(names, ["claimed", "disputed", "answered", "overdue"]);
            let turn = &history["standing"]["turns"][0];
            assert_eq!((&turn["task"], &turn["overdue"]), (&"remedy".into(), &true.into()));
        }
        // Whoever reads the whole log finds the same.
        let known = ["standing", &receipt_id, "--url", &log.url(), "--log-key", &log.log_key, "--json"];
        let at = (due.millis() + 1).to_string();
        let standing = log.client(&[&known[..], &["--at", &at]].concat()).exits(0).json();
        let path = format!("/v1/receipts/{receipt_id}/history?at={at}");
        let history = log.http().get(&path).unwrap().json();
        for part in ["facts", "turns", "moment", "size"] {
            assert_eq!(history["standing"][part], standing["logs"][0][part], "{part}");
        }
    };
    check(&log);
    let known = log.http().get(&format!("/v1/issuers/{}", url_key(&bank))).unwrap().json();
    assert_eq!(known["records"], serde_json::json!({ "policy": 1, "receipt": 1, "response": 1 }));
    assert_eq!(known["respond_within"], 60);
    let streams = known["streams"].as_array().unwrap();
    assert_eq!((streams.len(), &streams[0]["highest"], &streams[0]["index"]), (1, &0.into(), &2.into()));
    assert!(streams[0]["stream"].as_str().unwrap().parse::<StreamId>().is_ok());

    log.down();
    log.up();
    indexed(&mut log.http(), 7);
    check(&log);
    let remedy = counterfoil_receipt::statement::Remedy { remedy: RemedyKind::Refund, evidence: vec![] };
    let response =
        Hash::leaf(log.http().get("/v1/entries/6").unwrap().json()["entry"].as_str().unwrap().as_bytes());
    log.put(&record(&log.origin, &bank, about(response), Predicate::Remedy(remedy)));
    indexed(&mut log.http(), 8);
    assert_eq!(overdue(&log, due.millis() + 1), nothing);
}

//! Append and prove over HTTP.

use counterfoil_merkle::key::VerifierKey;
use counterfoil_tests::{
    Deployment, Issuing,
    audit::{Seen, check_answer, check_kept, checkpoint},
};

use crate::PROGRAMS;

/// A receipt gets its index and a proof, and gets the same index when it is sent again, also after a restart.
#[test]
fn a_receipt_is_stored_once_and_proven() {
    let mut log = Deployment::start(PROGRAMS, "log.example/append");
    let key: VerifierKey = log.log_key.parse().unwrap();
    let mut issuing = Issuing::new(&log.origin, 1);
    let (mut http, mut acks, mut seen) = (log.http(), Vec::new(), Seen::default());
    for expected in 1..=300_u64 {
        let (id, envelope) = issuing.issue();
        let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
        let ack = check_answer(&reply.json(), id, &key);
        assert_eq!(ack.index, expected, "entry 0 is the rules record");
        seen.add(ack.head);
        acks.push((ack, envelope));
    }
    for restarted in [false, true] {
        if restarted {
            log.down();
            log.up();
        }
        let mut http = log.http();
        for (ack, envelope) in &acks {
            let reply = http.post("/v1/receipts", envelope.as_bytes()).unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            let again = check_answer(&reply.json(), ack.id, &key);
            assert_eq!((again.index, &again.entry), (ack.index, &ack.entry));
            check_kept(&mut http, ack, &key);
        }
        assert_eq!(checkpoint(&mut http, &key).head().size.get(), 301);
        seen.check_consistent(&mut http);
    }
    log.down();
}

/// One line an answer, in order: new ones, known ones, one twice in a batch, and refused ones among them.
#[test]
fn a_batch_is_answered_line_by_line() {
    let log = Deployment::start(PROGRAMS, "log.example/batch");
    let key: VerifierKey = log.log_key.parse().unwrap();
    let mut issuing = Issuing::new(&log.origin, 2);
    let receipts: Vec<_> = (0..5).map(|_| issuing.issue()).collect();
    let spoilt = receipts[3].1.replace("\"sig\":\"", "\"sig\":\"AAAA");
    let lines = [&receipts[0].1, &receipts[1].1, &spoilt, &receipts[0].1, &receipts[2].1];
    let body = lines.map(|line| format!("{line}\n")).concat();
    let reply = log.http().post("/v1/receipts/batch", body.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ndjson")));
    let answers: Vec<serde_json::Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let indexes: Vec<_> = answers.iter().map(|answer| answer["index"].as_u64()).collect();
    assert_eq!(indexes, [Some(1), Some(2), None, Some(1), Some(3)]);
    for (answer, receipt) in [(0, 0), (1, 1), (3, 0), (4, 2)] {
        check_answer(&answers[answer], receipts[receipt].0, &key);
    }
    assert_eq!(answers[2]["error"]["status"], 422);
    assert_eq!(answers[2]["error"]["type"], "https://counterfoil.dev/problems/signature");
}

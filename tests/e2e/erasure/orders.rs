//! Whose order it may be, how it reaches the log, and who is told.

use counterfoil_merkle::Hash;
use counterfoil_receipt::statement::{Erasure, erasure::Basis};
use counterfoil_tests::{Manner, Witness, records::record};

use super::*;

/// The operator's own order, at a running log: it is carried out, every monitor says whose it was, and the log is in order.
#[test]
fn the_operators_own_order_is_reported() {
    let (mut log, _, issued) = begun("log.example/operator", 20);
    look(&log, "watching", &[]).exits(0);
    let operator = log.directory().join("keys/operator.pem");
    erase(&log, &issued[4], &["--key", operator.to_str().unwrap()]);
    gone(&log, &issued[4]);
    for state in ["watching", "anew"] {
        let looked = look(&log, state, &[]).exits(15);
        assert!(looked.out.contains("ERASED-BY-LOG erased-by-log at entry 21"), "{}", looked.out);
        look(&log, state, &[]).exits(0);
    }
    assert_eq!(one(&standing(&log, &issued[4].id.to_string()), "erased")["by"], "log");
    log.down();
    let checked = log.server_run(&["fsck", "--admission"]).exits(0);
    assert!(checked.out.contains("ERASED-BY-LOG"), "{}", checked.out);
}

/// An order by a key that has no right to it names the rule and changes nothing: over HTTP, and at the stopped log.
#[test]
fn an_order_by_the_wrong_key_changes_nothing() {
    let (mut log, _, issued) = begun("log.example/wrong", 20);
    let it = &issued[4];
    let id = it.id.to_string();
    let by_stranger =
        ["erase", &id, "--key", "stranger.pem", "--basis", "mistake", "--log", "l", "--out", "orders"];
    let refused = log.client(&by_stranger).exits(1);
    assert!(refused.out.contains("rule signer"), "{}", refused.out);
    // The claim key of another receipt; and what is never erased.
    let other =
        log.client(&["erase", &id, "--claim", "5.claim.json", "--basis", "mistake", "--log", "l"]).exits(1);
    assert!(other.err.contains("nothing was signed"), "{}", other.err);
    let rules = log.client(&["erase", "0", "--key", "bank.pem", "--basis", "mistake", "--log", "l"]).exits(1);
    assert!(rules.err.contains("a rules is never erased"), "{}", rules.err);

    does(&log, &[&["--json"], &by_stranger[..], &["--sign-only"]].concat());
    let orders = fs::read_dir(log.home().join("orders")).unwrap().map(|file| file.unwrap().path());
    let order = orders.filter(|path| path.to_str().unwrap().ends_with("envelope.json")).max().unwrap();
    let order = order.to_str().unwrap();
    let running = log.server_run(&["erase", "--order", order]).exits(2);
    assert!(running.err.contains("a server is running on this log"), "{}", running.err);
    log.down();
    let refused = log.server_run(&["erase", "--order", order]).exits(1);
    assert!(
        refused.err.contains("rule signer") && refused.err.contains("nothing was changed"),
        "{}",
        refused.err
    );
    fs::write(log.home().join("rubbish"), "{}").unwrap();
    let rubbish = log.home().join("rubbish");
    log.server_run(&["erase", "--order", rubbish.to_str().unwrap()]).exits(1);
    log.server_run(&["erase", "9999", "--basis", "mistake", "--yes"]).exits(1);
    log.server_run(&["fsck"]).exits(0);
    assert!(!traces(&all_of(&log), it).is_empty());
    log.up();
    assert_ne!(bundle(&log, it)["statement"], Value::Null);
    look(&log, "watching", &[]).exits(0);
}

/// A stopped log is erased from by its server's own command: with somebody's order, and without one, once that was confirmed.
#[test]
fn a_stopped_log_carries_out_orders() {
    let (mut log, _, issued) = begun("log.example/stopped", 280);
    let (first, second) = (&issued[3], &issued[270]);
    let id = first.id.to_string();
    let order =
        ["erase", &id, "--key", "bank.pem", "--basis", "retention_over", "--log", "l", "--out", "orders"];
    does(&log, &[&order[..], &["--sign-only"]].concat());
    let order = fs::read_dir(log.home().join("orders")).unwrap().next().unwrap().unwrap().path();
    log.down();
    let order = order.to_str().unwrap();
    let erased = log.server_run(&["erase", "--order", order]).exits(0);
    assert!(erased.out.contains("erased: the statement of entry 4, by order of entry 281"), "{}", erased.out);
    nothing_left(&log, first);
    log.server_run(&["erase", "--order", order]).exits(0);

    let id = second.id.to_string();
    let ask = log.server_run(&["erase", &id[..32], "--basis", "court_order"]).exits(0);
    assert!(ask.out.contains("Nothing was done"), "{}", ask.out);
    assert!(!traces(&all_of(&log), second).is_empty());
    log.server_run(&["erase", &id[..32], "--basis", "court_order", "--yes"]).exits(0);
    nothing_left(&log, second);
    log.server_run(&["fsck", "--admission"]).exits(0);
    log.up();
    let looked = look(&log, "watching", &[]).exits(15);
    assert!(looked.out.contains("ERASED-BY-LOG erased-by-log at entry 282"), "{}", looked.out);
}

/// A log with witnesses shows no slot empty before it shows the record that explains it: while the quorum is missing the
/// statement is served with the tree that is published, over a kill too; once the record is published, it is gone.
#[test]
fn a_slot_is_empty_once_its_record_is_published() {
    let mut log = Deployment::init(PROGRAMS, "log.example/waits", &["--open"]);
    let witness = Witness::start("witness.example/w1", 1);
    witness.watch(&log.log_key.parse().unwrap());
    let policy = format!("{}quorum {}\n", witness.policy_line(), witness.key().name());
    let table = "period_ms = 200\ntimeout_ms = 1000\nappend_wait_s = 5\nclock_record_period_s = 0";
    log.witnessed_by(&policy, table);
    log.up();
    let mut bank = Bank::new(&log);
    let issued = bank.append(&log, 270);
    witness.behave(Manner::Dead);
    let (old, young) = (&issued[3], &issued[265]);
    for it in [old, young] {
        let leaf = Hash::leaf(bundle(&log, it)["entry"].as_str().unwrap().as_bytes());
        let erasure = Predicate::Erasure(Erasure { basis: Basis::Mistake });
        let order = record(&log.origin, &bank.key, Subject::Record(leaf), erasure).to_json();
        let reply =
            log.http().post_with("/v1/receipts", "Prefer: respond-async\r\n", order.as_bytes()).unwrap();
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    for _ in 0..2 {
        for it in [old, young] {
            assert_ne!(bundle(&log, it)["statement"], Value::Null, "its order is not published");
            assert!(!traces(&all_of(&log), it).is_empty());
        }
        log.kill();
        log.up();
    }
    witness.behave(Manner::Honest);
    for it in [old, young] {
        gone(&log, it);
        assert_eq!(bundle(&log, it)["statement"], Value::Null);
    }
    does(&log, &["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]);
    look(&log, "watching", &[]).exits(0);
    log.down();
    log.server_run(&["fsck", "--admission"]).exits(0);
}

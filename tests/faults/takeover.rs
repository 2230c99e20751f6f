//! Two real servers on one real store: one stands still (SIGSTOP), the other takes the log over and settles what the first one
//! built on, whose names are free again by then; the first one goes on (SIGCONT).

use std::{process::Command, thread, time::Duration};

use counterfoil_merkle::key::VerifierKey;
use counterfoil_server::objects::s3::connect;
use counterfoil_tests::{
    Deployment, Issuing, Programs, Reply,
    audit::{Ack, Seen, check_answer, check_kept, checkpoint},
    until,
};
use futures::{StreamExt as _, executor::block_on};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use crate::{
    campaign::rounds,
    shared::{store_config, tiles},
};

const PROGRAMS: Programs = Programs {
    server: env!("CARGO_BIN_EXE_under-test-server"),
    client: env!("CARGO_BIN_EXE_under-test-client"),
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 6;

fn signal(log: &Deployment, name: &str) {
    let sent = Command::new("kill").args([name, &log.process().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// Appends as many receipts, each line acknowledged.
fn append(log: &Deployment, issuing: &mut Issuing, key: &VerifierKey, count: usize) -> Vec<Ack> {
    let (mut acks, mut left) = (Vec::new(), count);
    while left > 0 {
        let some: Vec<_> = (0..left.min(60)).map(|_| issuing.issue()).collect();
        left -= some.len();
        let lines: String = some.iter().map(|(_, envelope)| format!("{envelope}\n")).collect();
        let reply = log.http().post("/v1/receipts/batch", lines.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{error}\n{}", log.server_log()));
        for ((id, _), line) in some.iter().zip(reply.text().lines()) {
            acks.push(check_answer(&serde_json::from_str(line).unwrap(), *id, key));
        }
    }
    acks
}

/// Waits until what the first server built on is settled, and deletes the tombstones, as happens after an hour.
fn free_names(store: &dyn ObjectStore) {
    let settled = || -> Vec<_> {
        let listed = block_on(store.list(Some(&Path::from("commit"))).collect::<Vec<_>>());
        let objects = listed.into_iter().map(Result::unwrap);
        objects.filter(|object| object.size == b"counterfoil-settled/v1\n".len() as u64).collect()
    };
    until(|| settled().len() >= 3, "what the first one built on is settled");
    settled().iter().for_each(|object| block_on(store.delete(&object.location)).unwrap());
}

fn is_acknowledged(reply: &Reply) -> bool {
    matches!(reply.status, 200..=202)
}

/// Whoever was overtaken acknowledges nothing that it did not commit before, signs no head, changes no tile, and stops; the
/// other one is not disturbed, every acknowledgement of either holds, and the first can be started again later.
#[test]
fn a_stopped_server_was_overtaken() {
    rounds("takeovers", ROUNDS, |round, mut dice| {
        let config = store_config();
        let endpoint = config.endpoint.clone().expect("an endpoint");
        let origin = format!("log.example/takeover-{round}");
        let place = ["--open", "--store", &config.url, "--endpoint", &endpoint];
        let mut old = Deployment::init(PROGRAMS, &origin, &place);
        let mut new = old.copy();
        let key: VerifierKey = old.log_key.parse().unwrap();
        let (mut seen, mut acks) = (Seen::default(), Vec::new());
        let (mut first, mut second) =
            (Issuing::new(&origin, 2 * round), Issuing::new(&origin, 2 * round + 1));
        old.up();
        acks.extend(append(&old, &mut first, &key, 20));

        // It is stopped at rest, or anywhere in an append whose answer is then awaited.
        let busy = round % 2 == 1;
        let (id, envelope) = first.issue();
        let (mut awaiting, pause) = (old.http(), Duration::from_micros(200 * dice.below(40) as u64));
        let awaited = busy.then(|| thread::spawn(move || awaiting.post("/v1/receipts", envelope.as_bytes())));
        if busy {
            thread::sleep(pause);
        }
        signal(&old, "-STOP");
        let store = connect(&config).unwrap();
        new.up();
        acks.extend(append(&new, &mut second, &key, 300));
        free_names(&*store);
        let before = tiles(&*store);
        assert!(!before.is_empty());

        let shown = checkpoint(&mut new.http(), &key).head();
        signal(&old, "-CONT");
        if let Some(Ok(reply)) = awaited.map(|awaited| awaited.join().unwrap())
            && is_acknowledged(&reply)
        {
            // It had been committed before.
            acks.push(check_answer(&reply.json(), id, &key));
        }
        for _ in 0..3 {
            let reply = old.http().post("/v1/receipts", first.issue().1.as_bytes());
            assert!(!reply.is_ok_and(|reply| is_acknowledged(&reply)), "an overtaken server acknowledged");
        }
        until(|| old.http().get("/readyz").unwrap().status == 503, "the overtaken server stops");
        let said = old.server_log();
        assert!(said.contains("another writer has"), "{said}");
        let left = checkpoint(&mut old.http(), &key).head();
        assert!(left.size < shown.size, "the overtaken server signed a head of size {}", left.size);
        seen.add(left);
        seen.add(shown);
        acks.extend(append(&new, &mut second, &key, 5));
        let after = tiles(&*store);
        assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "a tile has changed");
        seen.add(checkpoint(&mut new.http(), &key).head());
        seen.check_consistent(&mut new.http());
        acks.iter().for_each(|ack| check_kept(&mut new.http(), ack, &key));
        old.kill();
        new.down();
        new.server_run(&["fsck", "--admission"]).exits(0);

        old.up();
        acks.extend(append(&old, &mut first, &key, 5));
        acks.iter().for_each(|ack| check_kept(&mut old.http(), ack, &key));
        seen.check_consistent(&mut old.http());
        old.down();
        old.server_run(&["fsck", "--admission"]).exits(0);
    });
}

/// What a store cannot have is refused with its reason: another log, a name that is none, credentials that are missing, and the
/// commands that work on a directory.
#[test]
fn what_a_store_cannot_have_is_named() {
    let config = store_config();
    let endpoint = config.endpoint.clone().expect("an endpoint");
    let place = ["--open", "--store", &config.url, "--endpoint", &endpoint];
    let mut log = Deployment::init(PROGRAMS, "log.example/refused", &place);
    let home = tempfile::tempdir().unwrap();
    let again = |url: &str, key: Option<&str>| {
        let mut command = Command::new(PROGRAMS.server);
        command.args([
            "init",
            "--open",
            "--origin",
            "log.example/other",
            "--store",
            url,
            "--endpoint",
            &endpoint,
        ]);
        let directory = home.path().join(format!("log-{}", url.len()));
        let _ = std::fs::remove_dir_all(&directory);
        command.arg("--dir").arg(&directory).arg("--guard").arg(home.path().join("guard"));
        match key {
            Some(key) => command.env("AWS_SECRET_ACCESS_KEY", key),
            None => command.env_remove("AWS_SECRET_ACCESS_KEY"),
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let right = std::env::var("AWS_SECRET_ACCESS_KEY").unwrap();
    for (said, message) in [
        (again(&config.url, Some(&right)), "has a log already"),
        (again("s3:///x", Some(&right)), "is not s3://bucket"),
        (again(&config.url, Some("wrong")), "object probe: "),
        (again(&config.url, None), "AWS_SECRET_ACCESS_KEY is not set"),
    ] {
        assert!(said.contains(message) && !said.contains(&right), "{said}");
    }
    for command in [&["backup", "--to", "x"][..], &["repair", "--from", "http://127.0.0.1:1"]] {
        let refused = log.server_run(command).exits(2);
        assert!(refused.err.contains("is no directory, which this command needs"), "{}", refused.err);
    }
    log.up();
    log.append(&mut Issuing::new(&log.origin, 1), 2);
    log.down();
    assert!(!log.server_log().contains(&right));
    assert!(!log.data().exists(), "the log is in the store alone");
}

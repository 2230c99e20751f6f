//! `counterfoil witness`, as its operators run it and as strangers reach it.

mod crash;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::{
    checkpoint::SignedCheckpoint,
    evidence::ForkEvidence,
    note::SignatureLine,
    witness::{Answer, checkpoint_path},
};
use counterfoil_tests::{Deployment, Http, Issuing, Person, Reply, ServedWitness, SignedTree};

use crate::PROGRAMS;

/// Exit code for what could not be done.
const UNKNOWN: i32 = 2;

fn tree(origin: &str, size: u64) -> SignedTree {
    SignedTree::new(origin).grown(0, size)
}

/// Submits the tree to a witness that has cosigned that size of it.
fn submit(http: &mut Http, tree: &SignedTree, old: u64) -> Reply {
    http.post("/add-checkpoint", tree.request(old).to_string().as_bytes()).unwrap()
}

fn cosigned(reply: &Reply) -> Vec<SignatureLine> {
    let answer = Answer::parse(reply.status, reply.header("content-type"), reply.text()).unwrap();
    let Answer::Cosigned(lines) = answer else { panic!("{answer:?}: {}", reply.text()) };
    lines
}

/// The newest checkpoint that the witness shows of a log, if it shows one.
fn shown(http: &mut Http, origin: &str) -> Option<SignedCheckpoint> {
    let reply = http.get(&format!("/{}", checkpoint_path(origin))).unwrap();
    (reply.status == 200).then(|| reply.text().parse().unwrap())
}

fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Made, started, asked, stopped and started again: what it cosigned it shows, under both signatures.
#[test]
fn a_witness_keeps_its_word_over_a_restart() {
    let tree = tree("log.example/w", 7);
    let mut witness = ServedWitness::start(PROGRAMS, "witness.example/e2e", &[tree.key()]);
    let mut http = witness.http();
    assert_eq!(shown(&mut http, "log.example/w"), None);
    let lines = cosigned(&submit(&mut http, &tree, 0));
    let mut expected = tree.checkpoint();
    lines.into_iter().for_each(|line| expected.push(line));
    assert!(expected.verify(&tree.key()).unwrap().cosignature(witness.key()).is_ok());
    assert_eq!(shown(&mut http, "log.example/w"), Some(expected.clone()));
    drop(http);
    witness.down();
    witness.up();
    assert_eq!(shown(&mut witness.http(), "log.example/w"), Some(expected));
    let again = submit(&mut witness.http(), &tree.grown(0, 9), 0);
    assert_eq!((again.status, again.header("content-type")), (409, Some("text/x.tlog.size")));
    assert_eq!(again.text(), "7\n");
}

/// `init` makes a key that its owner alone can read, once; `serve` uses no other.
#[test]
fn keys_are_their_owners_alone() {
    let witness = ServedWitness::init(PROGRAMS, "witness.example/key", &[]);
    let key = witness.home().join("witness.key");
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let _ = witness.check().exits(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = witness.check().exits(UNKNOWN);
    assert!(open.err.contains("witness.key") && open.err.contains("chmod 600"), "{}", open.err);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = fs::read_to_string(&key).unwrap();
    for said in [open.out, open.err, witness.check().out, witness.log()] {
        assert!(!said.contains("PRIVATE") && !said.contains(secret.trim()), "{said}");
    }
    let log = Deployment::init(PROGRAMS, "log.example/init", &["--open"]);
    let again =
        log.client(&["witness", "init", "--name", "other", "--out", witness.home().to_str().unwrap()]);
    let again = again.exits(UNKNOWN);
    assert!(again.err.contains("witness.key is there already"), "{}", again.err);
    assert_eq!(fs::read_to_string(&key).unwrap(), secret);
    // A log's key cosigns nothing, and another witness's key not with this state.
    for other in [SignedTree::new("x").key().to_string(), "PRIVATE+KEY+?".to_owned()] {
        fs::write(&key, other).unwrap();
        let refused = witness.check().exits(UNKNOWN);
        assert!(refused.err.contains("witness.key"), "{}", refused.err);
    }
    let other = ServedWitness::init(PROGRAMS, "witness.example/other", &[]);
    fs::copy(other.home().join("witness.key"), &key).unwrap();
    let refused = witness.check().exits(UNKNOWN);
    assert!(refused.err.contains(&witness.key().to_string()), "{}", refused.err);
}

/// A configuration that names a log or a key twice is refused, and so is one that says what nobody knows.
#[test]
fn bad_configurations_are_named() {
    let (a, b) = (SignedTree::new("a.example").key(), SignedTree::new("b.example").key());
    let witness = ServedWitness::init(PROGRAMS, "witness.example/config", &[a.clone(), b.clone()]);
    let config = fs::read_to_string(witness.config()).unwrap();
    let twice = format!("{config}[[log]]\nvkeys = [\"{a}\"]\n");
    let stolen = format!("{config}[[log]]\norigin = \"c\"\nvkeys = [\"{b}\"]\n");
    let list = format!("logs/v0\nvkey {a}\norigin c.example\nqpd 1\ncontact x\n");
    fs::write(witness.home().join("list.txt"), &list).unwrap();
    fs::write(witness.home().join("broken.txt"), list.replace("qpd 1", "qpd 0")).unwrap();
    for (text, reason) in [
        (twice, "\"a.example\" is described twice"),
        (stolen, "\"c\" has a key that \"b.example\" has too"),
        (format!("lists = [\"list.txt\"]\n{config}"), "\"c.example\" has a key that \"a.example\" has too"),
        (format!("lists = [\"broken.txt\"]\n{config}"), "broken.txt: line 4"),
        (format!("lists = [\"none.txt\"]\n{config}"), "none.txt"),
        (config.replacen("vkeys = [\"a", "vkeys = [\"b", 1), "the key's id"),
        (config.replace("qpd = 172800", "qpd = 0"), "qpd is 0"),
        (format!("monitor = \"ftp://x\"\n{config}"), "ftp://x"),
        (format!("colour = 1\n{config}"), "unknown field"),
        (config.replace("connections_max = 512", "connections_max = 0"), "connections_max"),
    ] {
        fs::write(witness.config(), &text).unwrap();
        let refused = witness.check().exits(UNKNOWN);
        assert!(refused.err.contains(reason), "{reason}: {}", refused.err);
    }
    fs::write(witness.config(), &config).unwrap();
    assert!(witness.check().exits(0).out.contains("connections_max = 512"));

    let [state, key] = ["state", "witness.key"].map(|name| witness.home().join(name).display().to_string());
    let arguments = ["witness", "serve", "--check", "--state", &state, "--key", &key, "--log"];
    let person = Person::new(PROGRAMS);
    let in_place =
        person.run(&[&arguments[..], &[&a.to_string(), "--listen", "127.0.0.1:1"]].concat()).exits(0);
    assert!(in_place.out.contains("a.example") && in_place.out.contains("127.0.0.1:1"), "{}", in_place.out);
    let _ = person.run(&[&arguments[..], &["a.example"]].concat()).exits(UNKNOWN);
    let config = witness.config().display().to_string();
    let _ = person.run(&["witness", "serve", "--config", &config, "--state", &state]).exits(UNKNOWN);
    let _ = person.run(&["witness", "serve", "--check", "--state", "nowhere", "--key", &key]).exits(UNKNOWN);
    assert!(!person.home().join("nowhere").exists());
}

/// A state file that was cut or changed, or is gone: the witness says which, does not start, and changes nothing.
#[test]
fn damaged_state_is_named_and_left() {
    let tree = tree("log.example/damage", 5);
    let mut witness = ServedWitness::start(PROGRAMS, "witness.example/damage", &[tree.key()]);
    cosigned(&submit(&mut witness.http(), &tree, 0));
    witness.down();
    let file = witness.home().join("state/log").join(checkpoint_path("log.example/damage"));
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[100] ^= 4;
    for damaged in [flipped, whole[..whole.len() - 1].to_vec(), whole[..50].to_vec(), Vec::new()] {
        fs::write(&file, &damaged).unwrap();
        let refused = witness.check().exits(UNKNOWN);
        assert!(
            refused.err.contains(file.to_str().unwrap()) && refused.err.contains("damaged"),
            "{}",
            refused.err
        );
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
    fs::remove_file(&file).unwrap();
    let refused = witness.check().exits(UNKNOWN);
    assert!(
        refused.err.contains(file.to_str().unwrap()) && refused.err.contains("missing"),
        "{}",
        refused.err
    );
    fs::write(&file, whole).unwrap();
    witness.up();
    let checked = witness.check().exits(0);
    assert!(checked.err.contains("the state was not checked"), "{}", checked.err);
    let other = Person::new(PROGRAMS);
    let locked =
        other.run(&["witness", "serve", "--config", witness.config().to_str().unwrap()]).exits(UNKNOWN);
    assert!(locked.err.contains("another witness is running"), "{}", locked.err);
    cosigned(&submit(&mut witness.http(), &tree.grown(0, 6), 5));
}

/// A fork is refused, proven and shown; the evidence convinces whoever has the log's key, and can be handed on to other
/// witnesses, which then cosign that log no more either.
#[test]
fn a_fork_is_proven_and_its_proof_handed_on() {
    let trunk = tree("log.example/forked", 5);
    let [mut first, second] = ["1", "2"]
        .map(|name| ServedWitness::start(PROGRAMS, &format!("witness.example/{name}"), &[trunk.key()]));
    for witness in [&first, &second] {
        cosigned(&submit(&mut witness.http(), &trunk, 0));
    }
    let (honest, lie) = (trunk.grown(0, 9), trunk.grown(1, 9));
    cosigned(&submit(&mut first.http(), &honest, 5));
    assert_eq!(submit(&mut first.http(), &lie, 5).status, 409, "the protocol's answer comes first");
    let place = format!("/{}", checkpoint_path("log.example/forked").replace("checkpoint", "evidence"));
    let evidence = first.http().get(&place).unwrap();
    assert_eq!(evidence.status, 200);
    evidence.text().parse::<ForkEvidence>().unwrap().verify(&trunk.key()).unwrap();
    let reader = Person::new(PROGRAMS);
    fs::write(reader.home().join("evidence.txt"), &evidence.body).unwrap();
    let key = trunk.key().to_string();
    let _ = reader.run(&["verify-evidence", "evidence.txt", "--log-key", &key]).exits(0);

    assert_eq!(second.http().post("/evidence", &evidence.body).unwrap().status, 200);
    first.kill();
    first.up();
    for (witness, size) in [(&first, 9), (&second, 5)] {
        let refused = submit(&mut witness.http(), &honest.grown(0, 12), size);
        assert!(refused.status == 403 && refused.text().contains(&place), "{}", refused.text());
        assert_eq!(witness.http().get(&place).unwrap().body, evidence.body);
        assert_eq!(
            shown(&mut witness.http(), "log.example/forked").unwrap().unverified().head.size.get(),
            size
        );
    }
}

/// New logs of a list are watched on SIGHUP; a list that went bad changes nothing.
#[test]
fn lists_are_read_again_on_sighup() {
    let [a, b] = ["a.example", "b.example"].map(|origin| tree(origin, 3));
    let mut witness = ServedWitness::init(PROGRAMS, "witness.example/lists", &[]);
    let item = |tree: &SignedTree| format!("vkey {}\nqpd 86400\ncontact nobody\n\n", tree.key());
    let (list, config) = (witness.home().join("logs.txt"), fs::read_to_string(witness.config()).unwrap());
    fs::write(witness.config(), format!("lists = [\"logs.txt\"]\n{config}")).unwrap();
    fs::write(&list, format!("logs/v0\n{}", item(&a))).unwrap();
    witness.up();
    let mut http = witness.http();
    cosigned(&submit(&mut http, &a, 0));
    assert_eq!(submit(&mut http, &b, 0).status, 404);
    fs::write(&list, format!("logs/v0\n{}vkey ?\n", item(&b))).unwrap();
    witness.signal("HUP");
    until(|| witness.log().contains("line 6"), "the reason why the list is not taken");
    assert_eq!(submit(&mut http, &b, 0).status, 404);
    fs::write(&list, format!("logs/v0\n{}", item(&b))).unwrap();
    witness.signal("HUP");
    until(|| submit(&mut http, &b, 0).status == 200, "the new log");
    cosigned(&submit(&mut http, &a.grown(0, 4), 3));
}

/// Nothing at all, half a head, a body that stops, one that drips and one without end: each is ended in time, and nobody
/// else waits for them.
#[test]
fn slow_peers_are_ended() {
    let tree = tree("log.example/slow", 5);
    let mut witness = ServedWitness::init(PROGRAMS, "witness.example/slow", &[tree.key()]);
    let config = fs::read_to_string(witness.config()).unwrap();
    let quick = config
        .replace("head_timeout_s = 15", "head_timeout_s = 1")
        .replace("body_timeout_s = 15", "body_timeout_s = 1");
    fs::write(witness.config(), quick).unwrap();
    witness.up();
    let head = |length: usize| {
        format!("POST /add-checkpoint HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
    };
    let slow: Vec<_> = [String::new(), "POST /add-che".to_owned(), head(100), head(100) + "old 3\n"]
        .into_iter()
        .map(|sent| {
            let mut stream = TcpStream::connect(witness.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut dripping = TcpStream::connect(witness.address()).unwrap();
    dripping.write_all(head(100_000).as_bytes()).unwrap();
    let started = Instant::now();
    while dripping.write_all(b"o").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "a dripping body goes on for ever");
        thread::sleep(Duration::from_millis(50));
    }
    let mut endless = TcpStream::connect(witness.address()).unwrap();
    endless.write_all(head(1 << 40).as_bytes()).unwrap();
    let started = Instant::now();
    while endless.write_all(&[b'o'; 65536]).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "a body without end goes on for ever");
    }
    cosigned(&submit(&mut witness.http(), &tree, 0));
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

/// The log itself, with three of these as its witnesses: one is killed and it goes on, two are killed and it stands
/// still, they come back and it catches up.
#[test]
fn the_log_is_witnessed_by_these() {
    let mut log = Deployment::init(PROGRAMS, "log.example/witnessed-by-ours", &["--open"]);
    let key = log.log_key.parse().unwrap();
    let mut witnesses = ["1", "2", "3"].map(|n| {
        ServedWitness::start(PROGRAMS, &format!("witness.example/ours{n}"), std::slice::from_ref(&key))
    });
    let lines: String = witnesses.iter().map(ServedWitness::policy_line).collect();
    let names: Vec<_> = witnesses.iter().map(|witness| witness.key().name().to_string()).collect();
    let table = "period_ms = 200\ntimeout_ms = 1000\nappend_wait_s = 2\nclock_record_period_s = 0";
    log.witnessed_by(&format!("{lines}group all 2 {}\nquorum all\n", names.join(" ")), table);
    log.up();
    let (mut http, mut issuing) = (log.http(), Issuing::new(&log.origin, 5));
    let mut append =
        |http: &mut Http| http.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap().status;
    let published = |http: &mut Http| -> Option<SignedCheckpoint> {
        let reply = http.get("/checkpoint").unwrap();
        (reply.status == 200).then(|| reply.text().parse().unwrap())
    };
    let votes = |checkpoint: &SignedCheckpoint| {
        witnesses.iter().filter(|witness| checkpoint.cosignature(witness.key()).is_ok()).count()
    };
    assert_eq!(append(&mut http), 201);
    assert!(votes(&published(&mut http).unwrap()) >= 2);
    witnesses[0].kill();
    assert_eq!(append(&mut http), 201);
    witnesses[1].kill();
    let still = published(&mut http).unwrap().unverified().head;
    assert_ne!(append(&mut http), 201);
    assert_eq!(published(&mut http).unwrap().unverified().head.root, still.root);
    witnesses[0].up();
    witnesses[1].up();
    let size = |http: &mut Http| published(http).unwrap().unverified().head.size;
    until(|| size(&mut http) > still.size, "the log to catch up");
    assert_eq!(append(&mut http), 201);
    let newest =
        |witness: &ServedWitness| shown(&mut witness.http(), &log.origin).unwrap().unverified().head.size;
    until(
        || witnesses.iter().all(|witness| newest(witness) == size(&mut http)),
        "all three to be where the log is",
    );
}

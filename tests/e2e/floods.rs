//! Bombs and floods: what is small to send and could be large to answer. Each gets the answer that is due, and memory stays
//! bounded.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use counterfoil_tests::{Deployment, Http, Issuing, Reply, until};

use crate::PROGRAMS;

const ONE: &str = "/v1/receipts";
const BATCH: &str = "/v1/receipts/batch";

/// The largest batch that is taken.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// How many times each bomb is sent.
const TIMES: usize = 4;

/// What so many bombs may leave behind in memory: buffers that are used again.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// What is sent, by name: path, headers and body; then what is due, status and code.
type Bomb<'a> = (&'a str, &'a str, &'a str, &'a [u8], u16, &'a str);

/// Answers by their status, and the code of a problem.
fn answer(reply: &Reply) -> (u16, String) {
    let kind = if reply.status < 400 { None } else { reply.json()["type"].as_str().map(str::to_owned) };
    (reply.status, kind.and_then(|kind| Some(kind.rsplit_once('/')?.1.to_owned())).unwrap_or_default())
}

/// A thousand times as much when it is unpacked.
fn gzip_bomb() -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is there");
    let (mut input, mut output) = (gzip.stdin.take().unwrap(), gzip.stdout.take().unwrap());
    let zeros = thread::spawn(move || (0..64).try_for_each(|_| input.write_all(&vec![b' '; 1 << 20])));
    let mut packed = Vec::new();
    output.read_to_end(&mut packed).unwrap();
    zeros.join().unwrap().unwrap();
    assert!(gzip.wait().unwrap().success() && packed.len() < 72 << 10, "{}", packed.len());
    packed
}

/// Bodies that are small and unpack to much, and bodies as large as may be: nothing is unpacked, each line is judged for itself,
/// and memory is given back.
#[test]
fn bombs_do_not_go_off() {
    let log = Deployment::start(PROGRAMS, "log.example/bombs");
    let bomb = gzip_bomb();
    let nested = [vec![b'['; BATCH_BYTES_MAX / 1000 - 1], vec![b'\n']].concat().repeat(1000);
    let object = "{\"payload\":".repeat(1400);
    let many_keys: String =
        (0..BATCH_BYTES_MAX / 20_000).map(|n| format!("{{\"{n}\":{}}}\n", "1,".repeat(9_000))).collect();
    let bombs: [Bomb<'_>; 8] = [
        ("gzip", ONE, "Content-Encoding: gzip\r\n", &bomb, 400, "envelope"),
        ("gzip in a batch", BATCH, "Content-Encoding: gzip\r\n", &bomb, 200, ""),
        ("nested lists", BATCH, "", &nested, 200, ""),
        ("nested objects", ONE, "", object.as_bytes(), 400, "envelope"),
        ("many keys", BATCH, "", many_keys.as_bytes(), 200, ""),
        ("only ends of lines", BATCH, "", &vec![b'\n'; BATCH_BYTES_MAX], 200, ""),
        ("too many lines", BATCH, "", &b"{}\n".repeat(BATCH_BYTES_MAX / 3), 413, "too-many-lines"),
        ("one line", BATCH, "", &vec![b' '; BATCH_BYTES_MAX], 200, ""),
    ];
    let send = || {
        for (name, path, headers, body, status, code) in bombs {
            let reply = log.http().post_with(path, headers, body).unwrap();
            assert_eq!(answer(&reply), (status, code.to_owned()), "{name}");
            for line in reply.text().lines().filter(|_| status == 200) {
                let refused: serde_json::Value = serde_json::from_str(line).unwrap();
                let due = refused["error"]["status"].as_u64();
                assert!(due.is_some_and(|due| (400..500).contains(&due)), "{name}: {line}");
            }
        }
    };
    send();
    let before = log.memory_peak();
    (0..TIMES).for_each(|_| send());
    let after = log.memory_peak();
    assert!(after < before + KEPT_BYTES_MAX, "from {before} to {after} bytes");
    assert_eq!(log.http().get("/checkpoint").unwrap().text().lines().nth(1), Some("1"), "nothing was stored");
}

/// Heads that are too large are refused as such.
#[test]
fn heads_are_bounded() {
    let log = Deployment::start(PROGRAMS, "log.example/heads");
    let ask = |request: String| {
        let mut http = log.http();
        // The server may answer and close before it has read everything.
        let _ = http.send(request.as_bytes());
        http.reply().map_or(0, |reply| reply.status)
    };
    let with = |headers: &str| format!("GET /checkpoint HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    assert_eq!(ask(with(&format!("A: {}\r\n", "x".repeat(50_000)))), 200);
    assert_eq!(ask(with(&"A: b\r\n".repeat(90))), 200);
    for _ in 0..TIMES {
        for (what, request) in [
            ("a long header", with(&format!("A: {}\r\n", "x".repeat(1 << 20)))),
            ("many headers", with(&"A: b\r\n".repeat(200))),
            ("a long name", with(&format!("{}: b\r\n", "x".repeat(100_000)))),
        ] {
            // What is not read yet when the server closes can take the answer with it.
            let status = ask(request);
            assert!(status == 431 || status == 0, "{what}: {status}");
        }
    }
    assert_eq!(ask(with(&"A: b\r\n".repeat(200))), 431);
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(65_000));
    assert!(matches!(ask(long), 404 | 414 | 431));
}

/// Proofs of all kinds, as fast as they can be asked for: all are answered, appends too, and memory stays where it was.
#[test]
fn proofs_can_be_asked_for() {
    const ASKING: usize = 4;
    let log = Deployment::start(PROGRAMS, "log.example/proof-flood");
    let mut issuing = Issuing::new(&log.origin, 1);
    let lines: String = (0..700).map(|_| issuing.issue().1 + "\n").collect();
    assert_eq!(log.http().post(BATCH, lines.as_bytes()).unwrap().status, 200);
    let ask = |http: &mut Http, n: usize| {
        let (a, b) = (n * 37 % 701, n * 91 % 701);
        for path in [
            format!("/v1/proofs/consistency?from={}&to={}", a.min(b), a.max(b)),
            format!("/v1/proofs/inclusion?index={}&size={}", a.min(b), a.max(b) + 1),
            format!("/v1/entries/{a}"),
        ] {
            let reply = http.get(&path).unwrap();
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
    };
    (0..200).for_each(|n| ask(&mut log.http(), n));
    let before = log.memory();
    thread::scope(|scope| {
        for worker in 0..ASKING {
            let (log, ask) = (&log, &ask);
            scope.spawn(move || {
                let mut http = log.http();
                (0..500).for_each(|n| ask(&mut http, n * ASKING + worker));
            });
        }
        log.append(&mut issuing, 30);
    });
    let after = log.memory();
    assert!(after < before + (32 << 20), "from {before} to {after} bytes");
}

/// What is large has so much memory for all together. Whoever holds it and sends no more is in nobody's way who sends little;
/// who sends much is told to come again.
#[test]
fn large_bodies_share_what_there_is() {
    let mut log = Deployment::init(PROGRAMS, "log.example/large", &["--open"]);
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    let small = text.replace("large_bytes_max = 536870912", "large_bytes_max = 20000000");
    assert_ne!(small, text);
    fs::write(&config, small).unwrap();
    log.up();
    let mut other = log.http();
    let head = format!("POST {BATCH} HTTP/1.1\r\nHost: h\r\nContent-Length: 15000000\r\n\r\n");
    let first = [head.as_bytes(), &vec![b'\n'; 14_999_999]].concat();
    let second = vec![b'\n'; 6_000_000];
    let mut pause = Duration::from_millis(50);
    let (mut holds, refused) = loop {
        let mut holds = log.http();
        holds.send(&first).unwrap();
        // While the log has not read all of it, the first may as well be the one that is refused.
        thread::sleep(pause);
        let reply = log.http().post(BATCH, &second);
        if let Some(refused) = reply.ok().filter(|reply| reply.status != 200) {
            break (holds, refused);
        }
        pause *= 2;
        assert!(pause < Duration::from_secs(20), "there is room for another");
    };
    assert_eq!((answer(&refused), refused.header("retry-after")), ((503, "busy".to_owned()), Some("1")));
    let mut issuing = Issuing::new(&log.origin, 1);
    assert_eq!(other.post(ONE, issuing.issue().1.as_bytes()).unwrap().status, 201);
    assert_eq!(other.post(BATCH, issuing.issue().1.as_bytes()).unwrap().status, 200);
    holds.send(b"\n").unwrap();
    assert_eq!(holds.reply().unwrap().status, 200, "who has come first is answered");
    until(|| log.http().post(BATCH, &second).is_ok_and(|reply| reply.status == 200), "there is room again");
}

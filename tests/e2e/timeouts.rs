//! Who sends slowly, or takes nothing, does not hold a connection for ever, nor up anybody else.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use counterfoil_tests::{Deployment, Http, Issuing, until};

use crate::PROGRAMS;

/// A log whose limits are so changed.
fn limited(origin: &str, changes: &[(&str, &str)]) -> Deployment {
    let mut log = Deployment::init(PROGRAMS, origin, &["--open"]);
    let config = log.directory().join("counterfoil.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} in {text}");
        text = text.replace(from, to);
    }
    fs::write(&config, text).unwrap();
    log.up();
    log
}

/// Sends the bytes and reads until the server closes.
fn until_closed(log: &Deployment, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(log.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let started = Instant::now();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer, started.elapsed())
}

/// Nothing at all, half a head, an idle kept-alive connection and a body that stops are all ended in time.
#[test]
fn slow_senders_are_ended() {
    let log = limited(
        "log.example/slow",
        &[("header_timeout_s = 15", "header_timeout_s = 1"), ("body_timeout_s = 15", "body_timeout_s = 1")],
    );
    let whole = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    let stalled = b"POST /v1/receipts HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{";
    for (sent, status) in
        [(&b""[..], None), (b"GET /healthz HT", None), (whole, Some("200")), (stalled, Some("408"))]
    {
        let (answer, elapsed) = until_closed(&log, sent);
        let context = format!("{:?}: {answer} after {elapsed:?}", String::from_utf8_lossy(sent));
        assert!(elapsed < Duration::from_secs(10), "{context}");
        assert!(elapsed >= Duration::from_millis(800), "{context}");
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{context}");
        }
    }
}

/// With all places taken a further connection gets the place of the one that has been silent for longest.
#[test]
fn connections_are_capped() {
    let log = limited("log.example/cap", &[("connections_max = 8192", "connections_max = 2")]);
    let ask = |http: &mut Http| http.get("/healthz").map_or(0, |reply| reply.status);
    let (mut first, mut second) = (log.http(), log.http());
    assert_eq!((ask(&mut first), ask(&mut second)), (200, 200));
    let mut third = log.http();
    assert_eq!(ask(&mut third), 200);
    // What it asks before it hears of that is still answered.
    until(|| ask(&mut first) == 0, "the first connection is ended");
    assert_eq!((ask(&mut second), ask(&mut third)), (200, 200));
}

/// One address has so many connections and hears why it gets no more, before it has sent anything; a proxy of ours has as many
/// as it likes.
#[test]
fn connections_from_one_address_are_capped() {
    let few = ("connections_per_address_max = 1024", "connections_per_address_max = 2");
    let log = limited("log.example/one-address", &[few]);
    let mut held = Vec::new();
    let both_are_held = || {
        held = vec![log.http(), log.http()];
        held.iter_mut().all(|http| http.get("/healthz").is_ok_and(|reply| reply.status == 200))
    };
    until(both_are_held, "the connections that saw it start are gone");
    let refused = log.http().reply().unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    held.pop();
    until(|| log.http().get("/healthz").is_ok_and(|reply| reply.status == 200), "a place is free again");

    let proxied = ("[search]", "proxies = [\"127.0.0.0/8\"]\n[search]");
    let log = limited("log.example/one-proxy", &[few, proxied]);
    let mut held: Vec<_> = (0..5).map(|_| log.http()).collect();
    assert!(held.iter_mut().all(|http| http.get("/healthz").unwrap().status == 200));
}

/// Ways to hold a connection: what is sent at first, and then again and again.
static SLOW: [(&[u8], &[u8]); 5] = [
    (b"", b""),
    (b"GET /checkpoint HTTP/1.1\r\n", b"A: b\r\n"),
    (b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n", b" "),
    (b"POST /v1/receipts/batch HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\n{}\n\r\n"),
    (&NEVER_READ, b""),
];

/// More answers than the buffers between two processes hold, none of which is taken.
static NEVER_READ: [u8; 43 * 900] = {
    let (request, mut all) = (b"GET /openapi.json HTTP/1.1\r\nHost: hhhhh\r\n\r\n", [0; 43 * 900]);
    let mut at = 0;
    while at < all.len() {
        all[at] = request[at % request.len()];
        at += 1;
    }
    all
};

/// Holds a connection in one of these ways until the server ends it.
fn hold(log: &Deployment, (first, again): (&[u8], &[u8])) {
    let mut stream = TcpStream::connect(log.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut open, mut sent) = (true, 0);
    while open {
        assert!(Instant::now() < deadline, "the server holds on to {:?}", String::from_utf8_lossy(first));
        let next = if sent < first.len() { &first[sent..] } else { again };
        let is_open = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        match stream.write(next) {
            Ok(written) if sent < first.len() => sent += written,
            Ok(_) => {}
            Err(error) => open = is_open(error),
        }
        // Who takes nothing sees the end of it when it sends something.
        if first.len() == NEVER_READ.len() {
            open = open && stream.take_error().unwrap().is_none();
        } else {
            open = open && stream.read(&mut [0; 1024]).map_or_else(is_open, |read| read > 0);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells the slow ones to end, however the test does.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Appends a receipt over a connection, or over new ones if it was ended: on a busy machine an honest client is taken for a slow one.
fn insist(log: &Deployment, http: &mut Http, receipt: &str) {
    for _ in 0..10 {
        if let Ok(reply) = http.post("/v1/receipts", receipt.as_bytes()) {
            assert!([200, 201].contains(&reply.status), "{}", reply.text());
            return;
        }
        *http = log.http();
    }
    panic!("ten connections were ended before they were answered");
}

/// However slowly others send and take, more of them than there are places: who asks for something is answered, and they
/// are ended.
#[test]
fn slow_peers_hold_nobody_up() {
    const EACH: usize = 12;
    let log = limited(
        "log.example/slow-crowd",
        &[
            ("header_timeout_s = 15", "header_timeout_s = 1"),
            ("body_timeout_s = 15", "body_timeout_s = 1"),
            ("answer_timeout_s = 30", "answer_timeout_s = 1"),
            ("bytes_per_second_min = 1024", "bytes_per_second_min = 1000000"),
            ("connections_max = 8192", "connections_max = 40"),
        ],
    );
    let mut issuing = Issuing::new(&log.origin, 1);
    log.append(&mut issuing, 50);
    let before = log.memory();
    let is_done = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let slow: Vec<_> = (0..EACH * SLOW.len())
            .map(|n| {
                let (log, is_done) = (&log, &is_done);
                scope.spawn(move || {
                    let mut ended = 0;
                    while !is_done.load(Relaxed) || ended == 0 {
                        hold(log, SLOW[n % SLOW.len()]);
                        ended += 1;
                    }
                    ended
                })
            })
            .collect();
        let done = Done(&is_done);
        // Each on a connection of its own, and one that stays.
        (0..100).for_each(|_| insist(&log, &mut log.http(), &issuing.issue().1));
        let mut http = log.http();
        (0..100).for_each(|_| insist(&log, &mut http, &issuing.issue().1));
        drop(done);
        slow.into_iter().map(|slow| slow.join().unwrap()).collect::<Vec<usize>>()
    });
    assert!(ended.iter().all(|ended| *ended > 0), "{ended:?}");
    let grown = log.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for {} slow connections", SLOW.len() * EACH);
    let said = log.server_log();
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
}

/// Without anybody who waits for a place: who never takes an answer, and who never ends a body that comes drop by drop, is let go.
#[test]
fn drops_do_not_prolong() {
    let log = limited(
        "log.example/drops",
        &[
            ("body_timeout_s = 15", "body_timeout_s = 1"),
            ("answer_timeout_s = 30", "answer_timeout_s = 1"),
            ("bytes_per_second_min = 1024", "bytes_per_second_min = 1000000"),
        ],
    );
    std::thread::scope(|scope| {
        for slow in [SLOW[2], SLOW[3], SLOW[4]] {
            let log = &log;
            scope.spawn(move || hold(log, slow));
        }
    });
}

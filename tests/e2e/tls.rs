//! A log behind TLS of its own: what it shows, how that is replaced, and who is sent away.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use counterfoil_tests::{
    Deployment, Http, Issuing,
    secured::{certificate, connect},
    until,
};

use crate::PROGRAMS;

/// Names that certificates of the tests' authority are for.
const NAMES: [(&str, &str); 2] = [("localhost", "localhost"), ("elsewhere", "elsewhere.example")];

/// Puts the certificate of one of the tests' services, and the key of one, where the log looks for them.
fn put(log: &Deployment, certificate_of: &str, key_of: &str) {
    let place = |name: &str| log.directory().join(name);
    fs::copy(certificate(certificate_of), place("certificate.pem")).unwrap();
    fs::copy(certificate(key_of), place("key.pem")).unwrap();
    mode(&place("key.pem"), 0o600);
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

/// A log with a table for TLS, which is not started.
fn secured(origin: &str) -> Deployment {
    let log = Deployment::init(PROGRAMS, origin, &["--open"]);
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    let tls = "\n[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";
    fs::write(&config, text + tls).unwrap();
    put(&log, "localhost", "localhost");
    log
}

/// Whether the log shows the certificate of this service, and of this one alone.
fn shows(log: &Deployment, service: &str) -> bool {
    NAMES.iter().all(|(of, name)| {
        let answer = connect(log.address(), name).and_then(|mut http| http.get("/healthz"));
        answer.is_ok_and(|reply| reply.status == 200) == (*of == service)
    })
}

fn is_ready(log: &Deployment) -> bool {
    connect(log.address(), "localhost").is_ok_and(|mut http| http.get("/readyz").unwrap().status == 200)
}

/// With a certificate nothing is said in the clear; a new one is shown without a restart, to new connections, while old ones go
/// on; a pair that cannot be used is named and changes nothing.
#[test]
fn a_certificate_is_shown_and_replaced() {
    let mut log = secured("log.example/tls-own");
    log.spawn();
    until(|| is_ready(&log), "the log takes receipts");
    assert!(shows(&log, "localhost"));
    assert!(Http::connect(log.address()).unwrap().get("/checkpoint").is_err(), "it answers in the clear");

    let url = format!("https://localhost:{}", log.address().port());
    let (key, clock, ca) = (log.log_key.clone(), log.clock_key.clone(), certificate("authority"));
    let add = ["log", "add", "own", &url, &key, "--clock", &clock];
    log.client(&add).exits(2);
    log.client(&[&add[..], &["--ca", ca.to_str().unwrap()]].concat()).exits(0);
    let mut kept = connect(log.address(), "localhost").unwrap();
    let mut issuing = Issuing::new(&log.origin, 1);
    assert_eq!(kept.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap().status, 201);
    log.client(&["get", "1", "--log", "own"]).exits(0);

    put(&log, "elsewhere", "elsewhere");
    log.hang_up();
    until(|| log.server_log().contains("the certificate was read again"), "a line about it");
    assert!(shows(&log, "elsewhere"));
    assert_eq!(kept.post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap().status, 201);

    let spoil: [(&dyn Fn(), &str); 5] = [
        (&|| put(&log, "localhost", "elsewhere"), "certificate.pem and key"),
        (&|| put(&log, "localhost", "authority"), "tls.key: "),
        (&|| mode(&log.directory().join("key.pem"), 0o644), "others can read it"),
        (&|| fs::write(log.directory().join("certificate.pem"), "rubbish").unwrap(), "no certificate in it"),
        (&|| fs::remove_file(log.directory().join("certificate.pem")).unwrap(), "tls.certificate: "),
    ];
    for (number, (spoil, message)) in (1..).zip(spoil) {
        put(&log, "localhost", "localhost");
        spoil();
        log.hang_up();
        let told = || {
            let text = log.server_log();
            let lines = text
                .lines()
                .filter(|line| line.contains("the certificate was not read again; the old one stays"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        until(|| told().len() == number, message);
        assert!(told()[number - 1].contains(message), "{:?}", told());
        assert!(shows(&log, "elsewhere"), "{message}");
    }
    log.down();
    let refused = log.server_run(&["run"]).exits(2);
    assert!(refused.err.contains("tls.certificate: "), "{}", refused.err);
    log.server_run(&["run", "--check"]).exits(2);
    put(&log, "localhost", "localhost");
    log.server_run(&["run", "--check"]).exits(0);
}

/// Who does not get on with the handshake is sent away in time, and holds up no end.
#[test]
fn handshakes_end() {
    let mut log = secured("log.example/tls-slow");
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    let limited = |seconds| {
        let (from, to) = ("handshake_timeout_s = 10", format!("handshake_timeout_s = {seconds}"));
        assert!(text.contains(from), "{text}");
        fs::write(&config, text.replace(from, &to)).unwrap();
    };
    limited(1);
    log.spawn();
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(log.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(sent).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => assert!(answer.len() <= 7, "an alert at most: {answer:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{sent:?}"),
        }
    }
    log.down();

    limited(600);
    log.spawn();
    let stalled = TcpStream::connect(log.address()).unwrap();
    until(|| is_ready(&log), "others are served");
    log.down();
    assert!(!log.server_log().contains("requests were still in flight"), "{}", log.server_log());
    drop(stalled);
}

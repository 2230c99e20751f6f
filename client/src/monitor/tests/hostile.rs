//! Logs that answer over HTTP, and not as they should.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// How a server answers a path.
pub(super) type Answers = fn(&str, &EvilLog) -> Behaviour;

pub(super) enum Behaviour {
    /// The file, or 404.
    Serve,
    Status(u16),
    /// A file of those bytes.
    Give(String),
    /// Reads the request and says nothing.
    Hang,
    /// A body that never ends.
    Endless,
}

pub(super) async fn serve(log: EvilLog, answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream, log.clone(), answers));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, log: EvilLog, answers: Answers) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
    let head = |status: u16| format!("HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n");
    let answer = match answers(&path, &log) {
        Behaviour::Serve => match fs::read(log.directory.join(path)) {
            Ok(bytes) => [head(200).into_bytes(), bytes].concat(),
            Err(_) => head(404).into_bytes(),
        },
        Behaviour::Status(status) => head(status).into_bytes(),
        Behaviour::Give(text) => [head(200), text].concat().into_bytes(),
        Behaviour::Hang => return tokio::time::sleep(Duration::from_secs(60)).await,
        Behaviour::Endless => {
            drop(stream.write_all(head(200).as_bytes()).await);
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
            return;
        }
    };
    drop(stream.write_all(&answer).await);
}

/// What a monitor finds at a log of 9 records that answers so.
async fn found(answers: Answers) -> (Vec<String>, u64) {
    let home = tempfile::tempdir().unwrap();
    let mut log = EvilLog::new(&home.path().join("log"));
    log.grow_to(9);
    log.publish();
    let known = crate::log::KnownLog { url: serve(log.clone(), answers).await, ..log.known() };
    let vantages = vec![Vantage::direct(source(&known.url))];
    let settings = Settings { fetch_time_max: Duration::from_millis(500), ..settings() };
    let mut monitor = Monitor::open(&home.path().join("state"), &known, vantages, settings).unwrap();
    let now = Timestamp::from_millis(1000 * START_S).unwrap();
    let started = Instant::now();
    let report = look(&mut monitor, now).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    let shown = report.findings().iter().map(|finding| format!("{} at {}", finding.code, finding.place));
    (shown.collect(), monitor.state().head().size.get())
}

#[tokio::test]
async fn an_honest_server_passes() {
    assert_eq!(found(|_, _| Behaviour::Serve).await, (vec![], 9));
}

/// Entries are checked all the same, and nothing is raised against issuers.
#[tokio::test]
async fn withheld_statements_are_a_matter_of_coverage() {
    let withheld = found(|path, _| match path.starts_with("statement/") {
        true => Behaviour::Status(401),
        false => Behaviour::Serve,
    });
    assert_eq!(withheld.await, (vec!["statements-withheld at log".to_owned()], 9));
    let entries = found(|path, _| match path.starts_with("tile/entries/") {
        true => Behaviour::Status(401),
        false => Behaviour::Serve,
    });
    assert_eq!(entries.await, (vec!["tile-unavailable at tile/entries/000.p/9".to_owned()], 0));
}

#[tokio::test]
async fn silence_and_endless_bodies_come_to_an_end() {
    let checkpoint = |found: &str| (vec![format!("{found} at log")], 0);
    assert_eq!(found(|_, _| Behaviour::Hang).await, checkpoint("checkpoint-unavailable"));
    assert_eq!(found(|_, _| Behaviour::Status(500)).await, checkpoint("checkpoint-unavailable"));
    assert_eq!(found(|_, _| Behaviour::Endless).await, checkpoint("checkpoint-malformed"));
    let entries = |behaviour: &str| (vec![format!("{behaviour} at tile/entries/000.p/9")], 0);
    let hang = found(|path, _| if path.contains("entries") { Behaviour::Hang } else { Behaviour::Serve });
    assert_eq!(hang.await, entries("tile-unavailable"));
    let endless =
        found(|path, _| if path.contains("entries") { Behaviour::Endless } else { Behaviour::Serve });
    assert_eq!(endless.await, entries("tile-malformed"));
}

/// A tree of 2^40 leaves whose tiles are not there, and one whose tiles are any hashes.
#[tokio::test]
async fn huge_sizes_are_harmless() {
    let huge = |path: &str, log: &EvilLog| {
        if path == "checkpoint" {
            let size = counterfoil_merkle::TreeSize::MAX;
            let root = counterfoil_merkle::Hash::leaf(ORIGIN.as_bytes());
            log.write("checkpoint", log.sign(TreeHead { size, root }).as_bytes());
        }
        Behaviour::Serve
    };
    let (shown, size) = found(huge).await;
    assert_eq!((shown, size), (vec!["tile-unavailable at tile/5/000.p/1".to_owned()], 0));

    let folding = |path: &str, log: &EvilLog| {
        let root = counterfoil_merkle::Hash::leaf(ORIGIN.as_bytes());
        if path == "checkpoint" {
            let head = TreeHead { size: counterfoil_merkle::TreeSize::MAX, root };
            log.write("checkpoint", log.sign(head).as_bytes());
        } else {
            log.write("tile/5/000.p/1", root.as_bytes());
        }
        Behaviour::Serve
    };
    let (shown, size) = found(folding).await;
    assert_eq!((shown.last().unwrap().as_str(), size), ("tile-unavailable at tile/4/000", 0));
}

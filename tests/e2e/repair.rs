//! Repair: whatever is damaged or missing is mended with what a mirror has, nothing else is touched, and a mirror that has
//! other bytes is refused by the object's name.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread,
};

use counterfoil_merkle::bundle::empty_items;
use counterfoil_tests::{Deployment, Issuing, Run};

use crate::{
    PROGRAMS,
    alerts::watching::Watching,
    backup::{append, contents},
};

/// Files by their paths below the data directory.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A log that is down, and the same log, up elsewhere.
pub(crate) fn log_and_mirror(origin: &str, receipts: usize, seed: u64) -> (Deployment, Deployment) {
    let mut log = Deployment::start(PROGRAMS, origin);
    append(&log, &mut Issuing::new(&log.origin, seed), receipts);
    log.down();
    let mut mirror = log.copy();
    mirror.up();
    (log, mirror)
}

pub(crate) fn repair(log: &Deployment, from: &str) -> Run {
    log.server_run(&["repair", "--from", from])
}

/// What a data directory has, but what was set aside, and the files of settled commits that wait to be used again.
fn objects(log: &Deployment) -> Files {
    let all = contents(&log.data()).into_iter();
    let all = all.map(|(path, bytes)| (path.strip_prefix(log.data()).unwrap().to_owned(), bytes));
    let is_object = |path: &Path| !path.starts_with("set-aside") && !path.to_string_lossy().contains('#');
    all.filter(|(path, _)| is_object(path)).collect()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

fn is_tile(path: &Path) -> bool {
    path.starts_with("tile") || path.starts_with("statement")
}

/// The ways to damage an object: a bit flipped at the front, in the middle, at the end; cut off; empty; gone.
fn damages(bytes: &[u8]) -> [Option<Vec<u8>>; 6] {
    let length = bytes.len();
    [
        Some(flipped(bytes, 0)),
        Some(flipped(bytes, length / 2)),
        Some(flipped(bytes, length - 1)),
        Some(bytes[..length * 2 / 3].to_vec()),
        Some(Vec::new()),
        None,
    ]
}

fn damage(log: &Deployment, name: &Path, damaged: Option<&[u8]>) {
    let path = log.data().join(name);
    match damaged {
        Some(damaged) => fs::write(path, damaged).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

/// Every full tile and bundle, in every way, one by one and then all at once: each is named, each is as it was, damaged tiles and
/// entries are kept aside, and nothing else has changed.
#[test]
fn damaged_tiles_and_bundles_are_mended() {
    let (log, mirror) = log_and_mirror("log.example/repair", 600, 61);
    let whole = objects(&log);
    let tiles: Files =
        whole.iter().filter(|(path, _)| is_tile(path)).map(|(p, b)| (p.clone(), b.clone())).collect();
    assert!(tiles.len() >= 6, "{:?}", tiles.keys());
    for (round, (name, bytes)) in tiles.iter().enumerate() {
        let damaged = damages(bytes)[round % 6].clone();
        damage(&log, name, damaged.as_deref());
        let mended = repair(&log, &mirror.url()).exits(0);
        let of = format!("mended {}: ", name.display());
        assert!(mended.out.contains(&of) && mended.out.contains("1 objects mended, 0 not"), "{}", mended.out);
        assert!(objects(&log) == whole, "{}", mended.out);
        if let Some(damaged) = damaged.filter(|_| !name.starts_with("statement")) {
            let aside =
                mended.out.split("the damaged bytes are in ").nth(1).and_then(|rest| rest.lines().next());
            assert_eq!(fs::read(log.data().join(aside.unwrap())).unwrap(), damaged);
        }
    }
    for way in 0..6 {
        for (name, bytes) in &tiles {
            damage(&log, name, damages(bytes)[way].as_deref());
        }
        let mended = repair(&log, &mirror.url()).exits(0);
        assert!(
            mended.out.contains(&format!("{} objects mended, 0 not", tiles.len())),
            "{way}: {}",
            mended.out
        );
        assert!(objects(&log) == whole, "{way}: {}", mended.out);
    }
    let nothing = repair(&log, "http://127.0.0.1:1/").exits(0);
    assert!(nothing.out.starts_with("0 objects mended, 0 not\nclean"), "{}", nothing.out);
    log.server_run(&["fsck", "--admission"]).exits(0);
}

/// Commit records, the ragged bundle below them, and the checkpoint: in whatever way one of them is damaged, the log has all of
/// its entries afterwards, and goes on.
#[test]
fn damaged_commits_are_mended() {
    let (mut log, mirror) = log_and_mirror("log.example/tail", 300, 62);
    let size = mirror.http().get("/checkpoint").unwrap();
    let size: u64 = size.text().lines().nth(1).unwrap().parse().unwrap();
    let whole = objects(&log);
    let commits: Vec<_> = whole.keys().filter(|path| path.starts_with("commit")).cloned().collect();
    assert!(commits.len() >= 2, "{commits:?}");
    let mut named = commits.clone();
    named.push("checkpoint".into());
    for (round, name) in named.iter().enumerate() {
        let mut victim = log.copy();
        damage(&victim, name, damages(&whole[name])[round % 5].as_deref());
        let mended = repair(&victim, &mirror.url()).exits(0);
        assert!(mended.out.contains(&format!(" {}: ", name.display())), "{}", mended.out);
        assert!(mended.out.contains(&format!("clean: {size} entries")), "{}", mended.out);
        victim.up();
        append(&victim, &mut Issuing::new(&victim.origin, 63 + round as u64), 300);
        victim.down();
        victim.server_run(&["fsck", "--admission"]).exits(0);
    }
    let older = &commits[..commits.len() - 1];
    let mut victim = log.copy();
    older.iter().for_each(|name| damage(&victim, name, Some(&flipped(&whole[name], 30))));
    repair(&victim, &mirror.url()).exits(0);
    victim.up();
    victim.append(&mut Issuing::new(&victim.origin, 90), 2);

    // Without its newest commit the data directory is an old copy, and no mirror makes it another.
    damage(&log, commits.last().unwrap(), None);
    let refused = repair(&log, &mirror.url()).exits(1);
    assert!(refused.out.contains("the data directory is an old copy"), "{}", refused.out);
    log.spawn();
    assert_eq!(log.http().get("/readyz").unwrap().status, 503);
}

/// A mirror with other bytes, for whatever reason, is refused by the name of the object, and nothing is changed; one that has
/// nothing, and one that does not answer, are told apart from that.
#[test]
fn a_lying_mirror_is_refused_by_name() {
    let (log, mirror) = log_and_mirror("log.example/liar", 600, 64);
    let whole = objects(&log);
    let served = Served::start(whole.clone());
    let empty = Served::start(Files::new());
    for (round, (name, bytes)) in whole.iter().filter(|(path, _)| is_tile(path)).enumerate() {
        // What could make up for it here is damaged too.
        let also = match name.to_str().unwrap() {
            "tile/0/000" => Some("tile/entries/000"),
            "tile/0/001" => Some("tile/entries/001"),
            _ => None,
        };
        for name in [Some(name.as_path()), also.map(Path::new)].into_iter().flatten() {
            // So that all of it has to come from the mirror.
            damage(&log, name, damages(&whole[name])[3 + round % 3].as_deref());
        }
        let before = objects(&log);
        let lies = [
            flipped(bytes, bytes.len() / 3),
            whole[Path::new(if name.ends_with("000") { "statement/001" } else { "tile/entries/000" })]
                .clone(),
            [&bytes[..], b"more"].concat(),
            vec![0; 20_000_000],
        ];
        for lie in lies {
            let mut lying = whole.clone();
            lying.insert(name.clone(), lie.clone());
            also.map(|also| lying.insert(also.into(), lie));
            served.serve(lying);
            let refused = repair(&log, &served.url()).exits(1);
            // Of two that could make up for each other, either.
            let said = |name: &str| refused.out.contains(&format!("NOT MENDED {name}: refused"));
            assert!(said(name.to_str().unwrap()) || also.is_some_and(said), "{}", refused.out);
            assert!(refused.out.contains("0 objects mended"), "{}", refused.out);
            assert!(objects(&log) == before, "{}", refused.out);
        }
        if round == 0 {
            let absent = repair(&log, &empty.url()).exits(1);
            assert!(absent.out.contains("the mirror does not have it: status 404"), "{}", absent.out);
            let silent = repair(&log, "http://127.0.0.1:1").exits(2);
            assert!(silent.out.contains("the mirror does not answer"), "{}", silent.out);
        }
        assert!(objects(&log) == before);
        repair(&log, &mirror.url()).exits(0);
        assert!(objects(&log) == whole);
    }
    assert!(repair(&log, "ftp://127.0.0.1").exits(2).err.contains("is not an http or https URL"));
}

/// A monitor that keeps a log is a mirror of it; and beside a running server nothing is repaired.
#[test]
fn a_keeping_monitor_is_a_mirror() {
    let mut log = Deployment::start(PROGRAMS, "log.example/kept");
    append(&log, &mut Issuing::new(&log.origin, 65), 600);
    let refused = repair(&log, &log.url()).exits(2);
    assert!(refused.err.contains("another server is running"), "{}", refused.err);
    let mut watching = Watching::new("");
    let own = ["monitor", "--serve", "127.0.0.1:0", "--keep", "--interval", "1", "--state", "own"];
    let url = log.url();
    watching.up_with(
        &[&own[..], &["--url", &url, "--log-key", &log.log_key, "--clock", &log.clock_key]].concat(),
    );
    watching.until_read(&log, 601);
    log.down();
    let whole = objects(&log);
    let path = watching.status()["logs"][0]["path"].as_str().unwrap().to_owned();
    let mirror = format!("{}/mirror/{path}/", watching.url());
    for name in ["tile/entries/000", "tile/0/001", "statement/001"].map(Path::new) {
        damage(&log, name, Some(&flipped(&whole[name], 4000)));
    }
    // Entries of one bundle, and the tile that would tell what they were, at once.
    for name in ["tile/entries/001", "tile/0/000"].map(Path::new) {
        damage(&log, name, None);
    }
    let emptied = empty_items(&whole[Path::new("statement/000")], |slot| slot == 9).unwrap();
    damage(&log, Path::new("statement/000"), Some(&emptied));
    let mended = repair(&log, &mirror).exits(0);
    assert!(mended.out.contains("6 objects mended, 0 not"), "{}", mended.out);
    assert!(objects(&log) == whole);
    log.up();
    log.append(&mut Issuing::new(&log.origin, 66), 1);
}

/// Files over HTTP, whatever they are.
struct Served {
    address: SocketAddr,
    files: std::sync::Arc<std::sync::Mutex<Files>>,
}

impl Served {
    fn start(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = std::sync::Arc::new(std::sync::Mutex::new(files));
        let shown = std::sync::Arc::clone(&files);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = BufReader::new(stream);
                let (mut request, mut line) = (String::new(), String::new());
                if stream.read_line(&mut request).is_err() {
                    continue;
                }
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                let (status, body) = match shown.lock().unwrap().get(Path::new(&path)) {
                    Some(bytes) => ("200 OK", bytes.clone()),
                    None => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // Whoever has read enough hangs up.
                let _ = stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { address, files }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(&self, files: Files) {
        *self.files.lock().unwrap() = files;
    }
}

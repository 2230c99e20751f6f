//! What is kept of a log is the log: another monitor reads it there, and it outlasts the log.

use super::*;

fn keeping() -> Settings {
    Settings { keep: true, ..settings() }
}

/// What is kept of a log by a monitor that has not started yet.
fn keep(size: usize) -> (Watch, PathBuf) {
    let mut watch = Watch::new(size);
    watch.monitor = None;
    fs::remove_dir_all(&watch.state).unwrap();
    watch.set(keeping());
    let mirror = watch.state.join("log");
    (watch, mirror)
}

/// A monitor of the mirror, new or known.
async fn read_mirror(watch: &Watch, mirror: &std::path::Path, name: &str) -> (Vec<String>, TreeHead) {
    let vantages = vec![Vantage::direct(source(mirror.to_str().unwrap()))];
    let state = watch.home.path().join(name);
    let mut monitor = Monitor::open(&state, &watch.log.known(), vantages, settings()).unwrap();
    let report = look(&mut monitor, Timestamp::from_millis(1000 * watch.now_s).unwrap()).await;
    (report.findings().iter().map(ToString::to_string).collect(), monitor.state().head())
}

#[tokio::test]
async fn a_mirror_is_read_as_the_log_is() {
    let (mut watch, mirror) = keep(1);
    for (round, size) in [3, FULL - 1, FULL, FULL + 1, FULL + 2, 2 * FULL + 3].into_iter().enumerate() {
        watch.log.grow_to(size);
        watch.log.publish();
        assert_eq!(watch.codes().await, [""; 0]);
        assert_eq!(watch.codes().await, [""; 0]);
        watch.restart().unwrap();
        assert_eq!(watch.monitor.as_ref().unwrap().snapshots().borrow().mirror(), Some(&*mirror));
        let head = watch.log.head(size);
        let (fresh, follows) = (format!("fresh-{round}"), "follows".to_owned());
        for name in [fresh, follows] {
            assert_eq!(read_mirror(&watch, &mirror, &name).await, (vec![], head), "{size} {name}");
        }
    }
    // Of partial forms those of the newest and of the one before are there, and none where the full one is.
    let names = |path: &str| {
        let files = fs::read_dir(mirror.join(path)).into_iter().flatten();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("tile/entries"), ["000", "001", "002.p"]);
    assert_eq!(names("statement"), ["000", "001", "002.p"]);
    assert_eq!(names("tile/0"), ["000", "001", "002.p"]);
    assert_eq!([names("tile/entries/002.p"), names("tile/1/000.p")], [vec!["3"], vec!["1", "2"]]);
    watch.log.grow_to(2 * FULL + 5);
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!(names("tile/entries/002.p"), ["3", "5"]);
    for (index, (entry, statement)) in watch.log.items.iter().enumerate().skip(2 * FULL) {
        let item = |path: &str| {
            let bytes = fs::read(mirror.join(path)).unwrap();
            counterfoil_merkle::bundle::parse_bundle(&bytes).unwrap()[index - 2 * FULL].to_vec()
        };
        assert_eq!((&item("tile/entries/002.p/5"), &item("statement/002.p/5")), (entry, statement));
    }
}

/// The log vanishes; its records, and what proves them, do not. Of a log that is read halfway the mirror shows what is whole.
#[tokio::test]
async fn a_mirror_shows_what_is_whole() {
    let (mut watch, mirror) = keep(FULL + 2);
    assert_eq!(watch.codes().await, [""; 0]);
    watch.log.grow_to(3 * FULL);
    watch.log.publish();
    watch.log.remove("tile/entries/002");
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    assert_eq!(watch.size(), 2 * FULL as u64);
    assert_eq!(read_mirror(&watch, &mirror, "a").await, (vec![], watch.log.head(FULL + 2)));
    watch.log.publish();
    assert_eq!(watch.codes().await, [""; 0]);
    watch.log.withdraw();
    assert_eq!(read_mirror(&watch, &mirror, "b").await, (vec![], watch.log.head(3 * FULL)));
}

/// Statements that are not their entries' are not kept, and those that were kept stay as they were.
#[tokio::test]
async fn only_statements_that_entries_name_are_kept() {
    let (mut watch, mirror) = keep(3);
    assert_eq!(watch.codes().await, [""; 0]);
    let good = watch.log.items.clone();
    watch.log.grow_to(6);
    watch.log.items[1].1 = vec![b'x'; 60_000];
    watch.log.items[4].1 = vec![b'x'; 60_000];
    watch.log.items[5].1.clear();
    watch.log.publish();
    assert_eq!(watch.shown().await, ["statement-other at entry 4"]);
    assert_eq!(watch.shown().await, ["statement-missing at entry 5"]);
    let kept = fs::read(mirror.join("statement/000.p/6")).unwrap();
    let kept = counterfoil_merkle::bundle::parse_bundle(&kept).unwrap();
    assert_eq!(kept[1], good[1].1);
    assert_eq!((kept[4], kept[5]), (&b""[..], &b""[..]));
}

/// A mirror has all or nothing: keeping is not begun, nor ended, halfway.
#[tokio::test]
async fn a_mirror_is_whole_from_the_start() {
    let mut watch = Watch::verified(3).await;
    watch.settings = keeping();
    assert!(matches!(watch.restart(), Err(StateError::Keeps { keeps: false, .. })));
    let (mut watch, _) = keep(3);
    watch.settings = settings();
    assert!(matches!(watch.restart(), Err(StateError::Keeps { keeps: true, .. })));
}

/// A log whose statements are for others leaves its entries.
#[tokio::test]
async fn withheld_statements_leave_the_entries() {
    let home = tempfile::tempdir().unwrap();
    let mut log = EvilLog::new(&home.path().join("log"));
    log.grow_to(9);
    log.publish();
    let url = hostile::serve(log.clone(), |path, _| match path.starts_with("statement/") {
        true => hostile::Behaviour::Status(401),
        false => hostile::Behaviour::Serve,
    });
    let (url, state) = (url.await, home.path().join("state"));
    let mut monitor =
        Monitor::open(&state, &log.known(), vec![Vantage::direct(source(&url))], keeping()).unwrap();
    let report = look(&mut monitor, Timestamp::from_millis(1000 * START_S).unwrap()).await;
    assert_eq!(report.exit_code(), 14);
    assert!(state.join("log/tile/entries/000.p/9").exists() && !state.join("log/statement").exists());
}

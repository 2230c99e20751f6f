//! What a log, or whoever stands between it and its monitor, can try: each attack once, and the class it is found as.
//!
//! | attack | found as | test |
//! |---|---|---|
//! | equal size, different root | FORK | `equal_size_with_another_root` |
//! | rollback to a smaller size | STALE (consistent), FORK (not) | `rollback_to_a_smaller_size` |
//! | freeze | STALE | `freeze`, `freeze_of_one_view` |
//! | split by address, user agent or token | FORK | `split_by_who_asks` |
//! | C and C' in quick succession | INVALID, then FORK | `two_checkpoints_in_quick_succession` |
//! | key confusion | INVALID | `key_confusion` |
//! | two logs with one key, one origin twice | refused | `two_logs_that_are_one` |
//! | time travel | INVALID | `time_travel`, `entries_dated_as_the_log_likes` |
//! | withheld or wrong entries | UNAVAILABLE, INVALID | `withheld_and_wrong_entries` |
//! | tiles, bundles and proofs disagree | INVALID | `tiles_bundles_and_proofs_that_disagree` |
//! | a partial tile that the full one does not start with | INVALID | `a_partial_tile_that_was_another` |
//! | hashes fine, content malformed | COVERAGE | `content_that_others_may_read_otherwise` |
//! | a leaf passed off as a node | INVALID | `a_leaf_passed_off_as_a_node` |
//! | huge sizes, proofs without end | INVALID, UNAVAILABLE | `huge_sizes_and_endless_proofs` |
//! | the monitor's state rolled back | refused, FORK | `a_monitor_that_was_rolled_back` |
//! | another tree at the first look | INVALID | `another_tree_at_the_first_look` |
//! | a log faster than its monitor | UNAVAILABLE | `a_log_that_outruns_its_monitor` |

use counterfoil_merkle::{Hash, TreeSize, checkpoint::Checkpoint, checkpoint::Origin, key::VerifierKey};
use counterfoil_receipt::audit::Class;

use super::{
    evil::{clock_signer, log_signer, witness},
    hostile::{Behaviour, serve},
    *,
};
use crate::log::KnownLog;

impl Watch {
    async fn found(&mut self) -> (Option<Class>, Vec<String>) {
        let report = self.round().await;
        let shown =
            |finding: &counterfoil_receipt::audit::Finding| format!("{} at {}", finding.code, finding.place);
        (report.gravest(), report.findings().iter().map(shown).collect())
    }
}

fn is(class: Class, shown: &[&str]) -> (Option<Class>, Vec<String>) {
    (Some(class), shown.iter().map(|&shown| shown.to_owned()).collect())
}

const NOTHING: (Option<Class>, Vec<String>) = (None, Vec::new());

#[tokio::test]
async fn equal_size_with_another_root() {
    let mut watch = Watch::verified(5).await;
    watch.branch(4, 5).publish();
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-same-size at checkpoint 5"]));
    assert_eq!(watch.evidence().len(), 1);
}

#[tokio::test]
async fn rollback_to_a_smaller_size() {
    let mut watch = Watch::verified(9).await;
    watch.log.show(7);
    assert_eq!(watch.found().await, NOTHING, "a cache may be the reason");
    watch.restart().unwrap();
    watch.now_s += views::CACHE_S + 1;
    assert_eq!(watch.found().await, is(Class::Stale, &["size-back at log"]));
    watch.log.show(9);
    assert_eq!(watch.found().await, NOTHING);
    watch.branch(6, 7).show(7);
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-smaller at checkpoint 7"]));
}

/// Frozen for us, while others are shown more: the witness that tells so need not know the log's clock.
#[tokio::test]
async fn freeze_of_one_view() {
    let mut watch = Watch::verified(5).await;
    let place = watch.add_witness("w1");
    watch.log.grow_to(9);
    let note = watch.log.sign(watch.log.head(9));
    let without_clock: String =
        note.lines().filter(|line| !line.contains("/clock")).map(|line| format!("{line}\n")).collect();
    watch.log.publish();
    watch.log.show_at_witness(&place, &without_clock);
    watch.now_s += 10;
    assert_eq!(watch.found().await, NOTHING);
    watch.log.show(5);
    watch.restart().unwrap();
    assert_eq!(watch.found().await, NOTHING);
    watch.now_s += STALE_AFTER_S + 1;
    let stale = ["size-back at log", "view-behind at log", "clock-stale at checkpoint 5"];
    assert_eq!(watch.found().await, is(Class::Stale, &stale));
}

#[tokio::test]
async fn freeze() {
    let mut watch = Watch::verified(5).await;
    let w = witness(1);
    watch.policy = Some(format!("log {}\nwitness w {}\nquorum w\n", watch.log.known().key, w.public()));
    watch.restart().unwrap();
    watch.log.write("checkpoint", watch.log.cosigned(watch.log.head(5), &[(&w, START_S)]).as_bytes());
    assert_eq!(watch.found().await, NOTHING);
    watch.now_s += STALE_AFTER_S + 1;
    let stale = ["clock-stale at checkpoint 5", "cosignatures-stale at checkpoint 5"];
    assert_eq!(watch.found().await, is(Class::Stale, &stale));
    // The log goes on attesting, its witness does not.
    watch.log.now_s = watch.now_s;
    watch.log.write("checkpoint", watch.log.cosigned(watch.log.head(5), &[(&w, START_S)]).as_bytes());
    assert_eq!(watch.found().await, is(Class::Stale, &stale[1..]));
}

/// Each of two places shows a history that is fine by itself.
#[tokio::test]
async fn split_by_who_asks() {
    let mut watch = Watch::verified(5).await;
    let mirror = watch.add_mirror("elsewhere");
    watch.branch(5, 9).at(&mirror).publish();
    watch.log.grow_to(9);
    watch.log.publish();
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-same-size at checkpoint 9"]));
    assert_eq!(watch.evidence().len(), 1);
    // The same at a witness, which shows nothing but a checkpoint.
    let mut watch = Watch::verified(9).await;
    let place = watch.add_witness("w1");
    let other = watch.branch(5, 7);
    watch.log.show_at_witness(&place, &other.sign(other.head(7)));
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-smaller at checkpoint 7"]));
}

/// The log shows C, and by the time its tiles are asked for it serves the tree of C', which is consistent with all before.
#[tokio::test]
async fn two_checkpoints_in_quick_succession() {
    let mut watch = Watch::verified(5).await;
    let mut other = watch.branch(5, 8);
    watch.log.grow_to(8);
    let c = watch.log.sign(watch.log.head(8));
    other.publish();
    other.write("checkpoint", c.as_bytes());
    assert_eq!(watch.found().await, is(Class::Invalid, &["root-mismatch at checkpoint 8"]));
    // The proofs from C to what was seen before would all have held, and those from C' do. C is not forgotten.
    other.grow_to(11);
    other.publish();
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-smaller at checkpoint 8"]));
    assert_eq!(watch.size(), 11);
    assert_eq!(watch.evidence().len(), 1);
}

#[tokio::test]
async fn key_confusion() {
    let mut watch = Watch::verified(5).await;
    let head = watch.log.head(5);
    let checkpoint = || Checkpoint::new(Origin::new(ORIGIN).unwrap(), head);
    // A cosigner's line for the log's, the log's key under another name, another key under the log's name.
    let only_cosigned = watch
        .log
        .sign(head)
        .lines()
        .filter(|line| !line.starts_with("— log.example/2026 "))
        .fold(String::new(), |note, line| note + line + "\n");
    let mut twice = checkpoint().sign(&log_signer());
    twice.cosign(&clock_signer(), START_S);
    let line = twice.to_string().lines().nth(4).unwrap().to_owned();
    // A second line of the log's key that is not good spoils the note.
    let mut bad = line.clone().into_bytes();
    let last = bad.len() - 6;
    bad[last] = if bad[last] == b'A' { b'B' } else { b'A' };
    let spoiled = format!("{twice}{}\n", String::from_utf8(bad).unwrap());
    let renamed = watch.log.sign(head).replace(ORIGIN, "log.example/2027");
    for (note, code) in [
        (only_cosigned, "checkpoint-signature at log"),
        (spoiled, "checkpoint-signature at log"),
        (renamed, "checkpoint-origin at log"),
        ("no note".to_owned(), "checkpoint-malformed at log"),
    ] {
        watch.log.write("checkpoint", note.as_bytes());
        assert_eq!(watch.found().await, is(Class::Invalid, &[code]), "{note}");
    }
    let unclocked = checkpoint().sign(&log_signer()).to_string();
    watch.log.write("checkpoint", unclocked.as_bytes());
    assert_eq!(watch.found().await, is(Class::Invalid, &["clock-missing at checkpoint 5"]));
}

#[test]
fn two_logs_that_are_one() {
    let home = tempfile::tempdir().unwrap();
    let log = EvilLog::new(home.path()).known();
    let other = |name: &str, key: &VerifierKey| {
        let name = counterfoil_merkle::key::KeyName::new(name).unwrap();
        VerifierKey::new(name, key.algorithm(), key.as_bytes()).unwrap()
    };
    let second = KnownLog { key: witness_as_log("other.example"), clock: None, ..log.clone() };
    assert_eq!(check_distinct([&log, &second]), Ok(()));
    assert!(matches!(check_distinct([&log, &log]), Err(distinct::DistinctError::Origin { .. })));
    let same_key = KnownLog { key: other("other.example", &log.key), ..second.clone() };
    assert!(matches!(check_distinct([&log, &same_key]), Err(distinct::DistinctError::Key { .. })));
    let clock = counterfoil_merkle::key::KeyName::new("other.example/clock").unwrap();
    let algorithm = counterfoil_merkle::key::Algorithm::CosignatureV1;
    let clock = VerifierKey::new(clock, algorithm, log.key.as_bytes()).unwrap();
    let clocked = KnownLog { clock: Some(clock), ..second };
    assert!(matches!(check_distinct([&log, &clocked]), Err(distinct::DistinctError::Clock { .. })));
}

fn witness_as_log(name: &str) -> VerifierKey {
    let name = counterfoil_merkle::key::KeyName::new(name).unwrap();
    VerifierKey::new(name, counterfoil_merkle::key::Algorithm::Ed25519, witness(9).public().as_bytes())
        .unwrap()
}

#[tokio::test]
async fn time_travel() {
    let mut watch = Watch::verified(5).await;
    watch.log.now_s = watch.now_s + 31;
    watch.log.show(5);
    assert_eq!(watch.found().await, is(Class::Invalid, &["clock-ahead at checkpoint 5"]));
    watch.now_s += 100;
    watch.log.now_s = watch.now_s - 10;
    watch.log.show(5);
    assert_eq!(watch.found().await, NOTHING);
    watch.log.grow_to(6);
    watch.log.now_s -= 1;
    watch.log.publish();
    assert_eq!(
        watch.found().await,
        is(Class::Invalid, &["clock-back at checkpoint 6", "at-after-checkpoint at entry 5"])
    );
    watch.log.now_s += 2;
    watch.log.show(4);
    assert_eq!(watch.found().await.0, Some(Class::Invalid));
}

/// Between an older checkpoint's time and the first sight of it: nowhere else can an entry's date lie.
#[tokio::test]
async fn entries_dated_as_the_log_likes() {
    let mut watch = Watch::verified(5).await;
    watch.now_s += 60;
    watch.log.now_s = START_S - 1;
    watch.log.grow_to(6);
    watch.log.now_s = watch.now_s;
    watch.log.publish();
    let back = ["at-back at entry 5", "at-before-checkpoint at entry 5"];
    assert_eq!(watch.found().await, is(Class::Invalid, &back));
    // The checkpoint is seen, its entries only much later: they are dated after the first sight all the same.
    watch.log.now_s = watch.now_s + 40;
    watch.log.grow_to(7);
    watch.log.now_s = watch.now_s;
    watch.log.publish();
    watch.log.remove("tile/entries/000.p/7");
    assert_eq!(watch.found().await.0, Some(Class::Unavailable));
    watch.now_s += 60;
    watch.restart().unwrap();
    watch.log.publish();
    let ahead = ["at-after-checkpoint at entry 6", "at-ahead at entry 6"];
    assert_eq!(watch.found().await, is(Class::Invalid, &ahead));
}

#[tokio::test]
async fn withheld_and_wrong_entries() {
    let mut watch = Watch::verified(5).await;
    watch.set(Settings { attempts: 3, ..settings() });
    watch.log.grow_to(9);
    watch.log.publish();
    watch.log.remove("tile/entries/000.p/9");
    let missing = ["tile-unavailable at tile/entries/000.p/9"];
    assert_eq!(watch.found().await, is(Class::Unavailable, &missing));
    watch.log.publish();
    watch.log.flip("tile/entries/000.p/9", 3000);
    let found = watch.found().await;
    assert_eq!((found.0, found.1.len()), (Some(Class::Invalid), 1), "{:?}", found.1);
    assert_eq!(watch.size(), 5);
    // Somebody else has it right: then it is read there, and the log's fault is reported all the same.
    let mirror = watch.add_mirror("elsewhere");
    watch.log.at(&mirror).publish();
    assert_eq!(watch.found().await, found);
    assert_eq!(watch.size(), 9);
}

#[tokio::test]
async fn tiles_bundles_and_proofs_that_disagree() {
    let mut watch = Watch::verified(5).await;
    watch.log.grow_to(9);
    watch.log.publish();
    let good = watch.log.clone();
    watch.log.flip("tile/0/000.p/9", 0);
    let root = ["root-mismatch at checkpoint 9"];
    assert_eq!(watch.found().await, is(Class::Invalid, &root), "tiles that lead elsewhere");
    good.publish();

    // Proofs that do not hold, of one hash too many, of none, without end; and then none at all.
    let shown = |answers| async move {
        let home = tempfile::tempdir().unwrap();
        let mut log = EvilLog::new(&home.path().join("log"));
        log.grow_to(9);
        log.publish();
        let known = KnownLog { url: serve(log.clone(), answers).await, ..log.known() };
        let vantages = vec![Vantage::direct(source(&known.url))];
        let mut monitor = Monitor::open(&home.path().join("state"), &known, vantages, settings()).unwrap();
        let report = look(&mut monitor, Timestamp::from_millis(1000 * START_S).unwrap()).await;
        let proofs =
            |finding: &&counterfoil_receipt::audit::Finding| finding.code.as_str().starts_with("proof");
        report.findings().iter().filter(proofs).map(|found| found.code.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(shown(|_, _| Behaviour::Serve).await, [""; 0], "who gives no proofs need give none");
    let wrong = shown(|path, _| match path.starts_with("v1/proofs/") {
        true => Behaviour::Give(format!("{{\"hashes\":[\"{}\"]}}", Hash::leaf(b"x").to_base64())),
        false => Behaviour::Serve,
    });
    assert_eq!(wrong.await, ["proof-bad", "proof-bad"]);
    let half = shown(|path, _| match path {
        path if path.starts_with("v1/proofs/consistency") => Behaviour::Give("{\"hashes\":[]}".to_owned()),
        path if path.starts_with("v1/proofs/") => Behaviour::Endless,
        _ => Behaviour::Serve,
    });
    assert_eq!(half.await, ["proof-unavailable"]);
}

#[tokio::test]
async fn a_partial_tile_that_was_another() {
    let mut watch = Watch::verified(FULL + 5).await;
    watch.log.grow_to(2 * FULL);
    watch.log.publish();
    // The partial forms are still served, to whoever may hold an older checkpoint.
    let old = watch.branch(FULL + 3, FULL + 5);
    let bundle = |log: &EvilLog| {
        counterfoil_merkle::bundle::format_bundle(
            log.items[FULL..FULL + 5].iter().map(|item| item.0.as_slice()),
        )
    };
    let tile: Vec<u8> =
        old.items[FULL..FULL + 5].iter().flat_map(|item| *Hash::leaf(&item.0).as_bytes()).collect();
    watch.log.write("tile/entries/001.p/5", &bundle(&old));
    watch.log.write("tile/0/001.p/5", &tile);
    let changed =
        ["tile-mismatch at tile/0/001.p/5", "entry-changed at entry 259", "entry-changed at entry 260"];
    assert_eq!(watch.found().await, is(Class::Invalid, &changed));

    // And the other way round: what was verified is right, and the full tile is not.
    let mut watch = Watch::verified(FULL + 5).await;
    watch.log.grow_to(2 * FULL);
    watch.log.publish();
    watch.log.flip("tile/0/001", 0);
    assert_eq!(watch.found().await.0, Some(Class::Invalid));
    assert_eq!(watch.size(), FULL as u64 + 5);
}

#[tokio::test]
async fn content_that_others_may_read_otherwise() {
    let mut watch = Watch::verified(5).await;
    let (entry, statement) = watch.log.items[4].clone();
    let spaced = String::from_utf8(entry).unwrap().replacen(":", ": ", 1);
    watch.log.take(spaced.as_bytes(), &statement);
    watch.log.take(b"\xff", b"");
    watch.log.publish();
    let shown = ["entry-unreadable at entry 5", "entry-unreadable at entry 6"];
    assert_eq!(watch.found().await, is(Class::Coverage, &shown));
    assert_eq!(watch.size(), 7, "it is counted and hashed");
}

/// A log of two leaves that says it has one, whose bytes are their two hashes.
#[tokio::test]
async fn a_leaf_passed_off_as_a_node() {
    let mut watch = Watch::new(2);
    let leaves: Vec<Hash> = watch.log.items.iter().map(|item| Hash::leaf(&item.0)).collect();
    let mut evil = watch.log.clone();
    evil.items.truncate(1);
    evil.items[0].0 = [*leaves[0].as_bytes(), *leaves[1].as_bytes()].concat();
    evil.publish();
    let root = watch.log.head(2).root;
    evil.write("checkpoint", evil.sign(TreeHead { size: TreeSize::new(1).unwrap(), root }).as_bytes());
    evil.write("tile/0/000.p/1", root.as_bytes());
    assert_eq!(watch.found().await, is(Class::Invalid, &["root-mismatch at entry 0"]));
    assert_eq!(watch.size(), 0);
}

#[tokio::test]
async fn huge_sizes_and_endless_proofs() {
    let mut watch = Watch::verified(5).await;
    let note = watch.log.sign(watch.log.head(5));
    let huge = note.replacen("\n5\n", "\n9223372036854775808\n", 1);
    watch.log.write("checkpoint", huge.as_bytes());
    assert_eq!(watch.found().await, is(Class::Invalid, &["checkpoint-malformed at log"]));
    let root = Hash::leaf(b"any");
    let most = watch.log.sign(TreeHead { size: TreeSize::MAX, root });
    watch.log.write("checkpoint", most.as_bytes());
    watch.log.write("tile/5/000.p/1", root.as_bytes());
    assert_eq!(watch.found().await, is(Class::Unavailable, &["tile-unavailable at tile/4/000"]));
    assert_eq!(watch.size(), 5);
    // As long as nobody has that tree, it is held against the log.
    watch.log.publish();
    assert_eq!(watch.found().await, NOTHING);
    watch.now_s += STALE_AFTER_S + 1;
    watch.log.now_s = watch.now_s;
    watch.log.publish();
    assert_eq!(
        watch.found().await,
        is(Class::Stale, &["size-back at log", "tree-withheld at checkpoint 1099511627776"])
    );
}

#[tokio::test]
async fn a_monitor_that_was_rolled_back() {
    let mut watch = Watch::verified(5).await;
    let elsewhere = watch.home.path().join("mark");
    watch.set(Settings { mark: Some(elsewhere.clone()), ..settings() });
    let document = watch.state.join("monitor.json");
    let old = (fs::read(&document).unwrap(), fs::read(watch.state.join("mark")).unwrap());
    watch.log.grow_to(9);
    watch.log.publish();
    assert_eq!(watch.found().await, NOTHING);
    let new = fs::read(&document).unwrap();
    watch.monitor = None;
    // The state alone, the state with its mark, the whole directory away.
    fs::write(&document, &old.0).unwrap();
    let refused = watch.restart().unwrap_err();
    assert!(
        matches!(&refused, StateError::RolledBack { mark, .. } if *mark == watch.state.join("mark")),
        "{refused}"
    );
    fs::write(watch.state.join("mark"), &old.1).unwrap();
    let refused = watch.restart().unwrap_err();
    assert!(matches!(&refused, StateError::RolledBack { mark, .. } if *mark == elsewhere), "{refused}");
    fs::rename(&watch.state, watch.home.path().join("away")).unwrap();
    assert!(matches!(watch.restart(), Err(StateError::Lost { .. })));
    fs::remove_dir_all(&watch.state).unwrap();
    fs::rename(watch.home.path().join("away"), &watch.state).unwrap();
    fs::write(&document, new).unwrap();
    assert!(matches!(watch.restart(), Err(StateError::RolledBack { .. })), "a mark that is too old");

    // Without a mark elsewhere the roll-back is not seen; what a witness saw meanwhile convicts a log that uses it.
    let mut watch = Watch::verified(5).await;
    let place = watch.add_witness("w1");
    let saved =
        [document_of(&watch), watch.state.join("mark")].map(|path| (path.clone(), fs::read(path).unwrap()));
    let other = watch.branch(5, 9);
    watch.log.grow_to(9);
    watch.log.publish();
    watch.log.show_at_witness(&place, &watch.log.sign(watch.log.head(9)));
    assert_eq!(watch.found().await, NOTHING);
    saved.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    watch.restart().unwrap();
    assert_eq!(watch.size(), 5);
    other.publish();
    assert_eq!(watch.found().await, is(Class::Fork, &["fork-same-size at checkpoint 9"]));
}

fn document_of(watch: &Watch) -> PathBuf {
    watch.state.join("monitor.json")
}

#[tokio::test]
async fn another_tree_at_the_first_look() {
    let mut watch = Watch::new(9);
    let expected = watch.branch(3, 6).head(6);
    watch.set(Settings { expect: Some(expected), ..settings() });
    assert_eq!(watch.found().await, is(Class::Invalid, &["not-expected at checkpoint 6"]));
    assert_eq!(watch.size(), 0);
    watch.set(Settings { expect: Some(watch.log.head(6)), ..settings() });
    assert_eq!(watch.found().await, NOTHING);
    assert_eq!(watch.size(), 9);
    watch.set(Settings { expect: Some(expected), ..settings() });
    assert_eq!(watch.found().await, is(Class::Invalid, &["not-expected at checkpoint 6"]));
}

/// Nothing is skipped to keep up, and that it does not keep up is said.
#[tokio::test]
async fn a_log_that_outruns_its_monitor() {
    let mut watch = Watch::new(3 * FULL);
    watch.set(Settings { reading_time_max: std::time::Duration::ZERO, ..settings() });
    for round in 1..=5 {
        let found = watch.found().await;
        assert_eq!(watch.size(), (round * FULL) as u64, "a bundle a round");
        let behind =
            is(Class::Unavailable, &[&format!("too-slow at checkpoint {}", (3 + 2 * (round - 1)) * FULL)]);
        assert_eq!(found, if round > 3 { behind } else { NOTHING }, "{round}");
        if round < 5 {
            watch.log.grow_to((3 + 2 * round) * FULL);
            watch.log.publish();
        }
    }
    while watch.state().backlog() > 0 || watch.size() < 11 * FULL as u64 {
        assert_eq!(watch.found().await, NOTHING);
    }
    assert!(watch.observed.iter().copied().eq(0..11 * FULL as u64), "each entry once, in order");
}

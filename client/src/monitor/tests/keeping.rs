//! What the monitor keeps, and whether it notices that it is damaged.

use super::*;

#[tokio::test]
async fn without_the_clocks_key_times_are_not_checked_and_it_says_so() {
    let watch = Watch::new(3);
    let known = crate::log::KnownLog { clock: None, ..watch.log.known() };
    let state = watch.state.with_file_name("other");
    let open = |known: &crate::log::KnownLog| {
        Monitor::open(&state, known, vec![Vantage::direct(source(&known.url))], settings()).unwrap()
    };
    let now = Timestamp::from_millis(1000 * (START_S + 9999)).unwrap();
    let report = look(&mut open(&known), now).await;
    assert_eq!((report.exit_code(), report.findings().len()), (14, 1));
    // Once given, the key is kept.
    assert_eq!(look(&mut open(&watch.log.known()), now).await.exit_code(), 12);
    assert_eq!(look(&mut open(&known), now).await.exit_code(), 12);
}

#[tokio::test]
async fn damage_to_the_state_is_noticed_and_named() {
    let mut watch = Watch::verified(2 * FULL + 9).await;
    for path in ["log/tile/0/000", "log/tile/0/001", "monitor.json"] {
        let path = watch.state.join(path);
        let good = fs::read(&path).unwrap();
        for byte in [0, 100, good.len() - 1] {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(&path, bad).unwrap();
            let error = watch.restart().unwrap_err();
            assert!(
                matches!(&error, StateError::Damaged { path: named } | StateError::Io { path: named, .. } if *named == path),
                "{error}"
            );
        }
        fs::remove_file(&path).unwrap();
        let error = watch.restart().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(&path, good).unwrap();
        watch.restart().unwrap();
    }
}

#[tokio::test]
async fn one_monitor_a_directory_and_one_log_a_directory() {
    let mut watch = Watch::verified(3).await;
    let vantages = |known: &crate::log::KnownLog| vec![Vantage::direct(source(&known.url))];
    let again = Monitor::open(&watch.state, &watch.log.known(), vantages(&watch.log.known()), settings());
    assert!(matches!(again, Err(StateError::Locked { .. })));
    watch.monitor = None;
    let mut known = watch.log.known();
    known.key = known.clock.take().unwrap();
    let other = Monitor::open(&watch.state, &known, vantages(&known), settings());
    assert!(matches!(other, Err(StateError::OtherLog { .. })));
}

#[tokio::test]
async fn vantage_points_have_names_of_their_own_and_one_has_tiles() {
    let mut watch = Watch::verified(3).await;
    let known = watch.log.known();
    watch.monitor = None;
    let witness = || Vantage::witness("w".to_owned(), source(&known.url));
    let open = |vantages| Monitor::open(&watch.state, &known, vantages, settings());
    assert!(matches!(open(vec![witness()]), Err(StateError::NothingToRead)));
    let direct = Vantage::direct(source(&known.url));
    let twice = open(vec![direct.clone(), witness(), witness()]);
    assert!(matches!(twice, Err(StateError::NameTwice { name }) if name == "w"));
    assert!(open(vec![direct, witness()]).is_ok());
}

#[tokio::test]
async fn damaged_evidence_is_not_overlooked() {
    let mut watch = Watch::verified(5).await;
    watch.branch(4, 5).publish();
    assert_eq!(watch.round().await.exit_code(), 10);
    let file = fs::read_dir(watch.state.join("evidence")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\n5\n", "\n6\n", 1)).unwrap();
    assert!(matches!(watch.restart(), Err(StateError::Damaged { path }) if path == file));
}

//! Erasures: whose order, whether it is carried out, and what a mirror does.

use std::path::Path;

use super::*;
use crate::monitor::erasing::ERASED_WITHIN;

/// Every file below a directory that has these bytes in it.
fn files_with(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
                found.push(path);
            }
        }
    }
    found
}

/// A slot that the issuer had emptied is no finding: whether it was seen full before, or never.
#[tokio::test]
async fn an_order_explains_an_empty_slot() {
    let mut watch = Watch::verified(6).await;
    watch.log.order(1, 2);
    watch.log.grow_to(9);
    watch.log.order(1, 7);
    for index in [2, 7] {
        watch.log.items[index].1.clear();
    }
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    assert!(watch.state().audit.erasures().orders.is_empty(), "it was carried out");
    assert_eq!(watch.shown().await, [""; 0]);
    // And for who comes later.
    let mut late = Watch::new(3);
    late.log = watch.log.at(&late.log.directory);
    late.log.publish();
    assert_eq!(late.shown().await, [""; 0]);
    assert_eq!(late.shown().await, [""; 0]);
}

/// The record may come after the look at which its slot is empty: the next look finds it.
#[tokio::test]
async fn the_record_may_be_read_later_than_its_slot() {
    let mut watch = Watch::verified(3).await;
    watch.log.grow_to(6);
    let statement = std::mem::take(&mut watch.log.items[5].1);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    watch.restart().unwrap();
    watch.log.order(1, 5);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    assert_eq!(watch.shown().await, [""; 0]);
    assert!(!statement.is_empty());
}

/// What was read long ago is looked at again as the log grows: it must not vanish without a record, and that it has is told once.
#[tokio::test]
async fn what_vanishes_later_is_noticed() {
    let mut watch = Watch::verified(9).await;
    watch.log.items[5].1.clear();
    watch.log.grow_to(10);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0], "a record may explain it");
    watch.restart().unwrap();
    assert_eq!(watch.shown().await, ["statement-missing at entry 5"]);
    for size in 11..14 {
        watch.log.grow_to(size);
        watch.log.publish();
        assert_eq!(watch.shown().await, [""; 0]);
    }
    watch.log.items[6].1.clear();
    watch.log.grow_to(14);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    watch.log.order(1, 6);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    assert_eq!(watch.shown().await, [""; 0]);
}

/// Whose order it was is told: once, and with a class of its own if it was the operator's.
#[tokio::test]
async fn the_operators_own_order_is_told() {
    for (seed, shown, exit) in [(9, "erased-by-log", 15), (5, "not-admitted", 11)] {
        let mut watch = Watch::verified(6).await;
        watch.log.order(seed, 2);
        watch.log.items[2].1.clear();
        watch.log.publish();
        let report = watch.round().await;
        let found: Vec<_> =
            report.findings().iter().map(|it| format!("{} at {}", it.code, it.place)).collect();
        assert_eq!((found, report.exit_code()), (vec![format!("{shown} at entry 6")], exit));
        watch.restart().unwrap();
        assert_eq!(watch.shown().await, [""; 0]);
    }
}

/// A log that logs an order and goes on serving the statement is found out, once it had time enough; whatever restarts.
#[tokio::test]
async fn an_order_that_is_not_carried_out_is_told() {
    let mut watch = Watch::verified(6).await;
    watch.log.order(1, 2);
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    watch.restart().unwrap();
    watch.now_s += ERASED_WITHIN.as_secs() + 1;
    watch.log.now_s = watch.now_s;
    watch.log.publish();
    assert_eq!(watch.shown().await, ["statement-not-erased at entry 2"]);
    watch.log.items[2].1.clear();
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    assert!(watch.state().audit.erasures().orders.is_empty());
}

/// A mirror erases what it kept, in all forms of the bundle, and again at every start; an order that the log had no right to
/// take erases nothing here.
#[tokio::test]
async fn a_mirror_erases_what_it_kept() {
    let mut watch = Watch::new(FULL + 9);
    watch.state = watch.state.with_file_name("mirror");
    watch.set(Settings { keep: true, ..settings() });
    assert_eq!(watch.shown().await, [""; 0]);
    let files = |watch: &Watch, index: usize| files_with(&watch.state, &watch.log.items[index].1);
    let old = watch.log.items.clone();
    let copy = fs::read(watch.state.join("log/statement/000")).unwrap();
    watch.log.order(1, 7);
    watch.log.order(1, FULL + 2);
    watch.log.order(5, 9);
    watch.log.publish();
    for index in [7, 9, FULL + 2] {
        assert!(!files(&watch, index).is_empty());
    }
    assert_eq!(watch.shown().await, [format!("not-admitted at entry {}", FULL + 11)]);
    assert_eq!((files(&watch, 7), files(&watch, FULL + 2)), (vec![], vec![]));
    assert_eq!(files(&watch, 9).len(), 1);
    assert_eq!(files(&watch, 8).len(), 1);

    // Somebody puts an older copy back; and the monitor's files that never got their places are no hiding place.
    fs::write(watch.state.join("log/statement/000"), copy).unwrap();
    fs::write(watch.state.join("log/statement/000.new"), &old[7].1).unwrap();
    assert_eq!(files(&watch, 7).len(), 2);
    watch.restart().unwrap();
    assert_eq!(files(&watch, 7), Vec::<PathBuf>::new());
    watch.log.grow_to(2 * FULL + 3);
    watch.log.items[7].1.clear();
    watch.log.items[FULL + 2].1.clear();
    watch.log.publish();
    assert_eq!(watch.shown().await, [""; 0]);
    assert_eq!(files_with(&watch.state, &old[FULL + 2].1), Vec::<PathBuf>::new());
    assert_eq!(files_with(&watch.state, &old[FULL + 3].1).len(), 1);
}

//! Erased statements and repair: a mirror that still has one does not bring it back.

use super::*;
use crate::repair::repair;

/// A mirror from before an erasure, and bundles damaged after it: what was ordered to go stays gone, in a bundle that lost its
/// form as well as in one of which a neighbour is damaged, and what was not ordered to go comes back.
#[test]
fn erased_statements_stay_erased() {
    let (mut log, mut bank, issued) = begun("log.example/erased-repair", 600);
    log.down();
    let mut mirror = log.copy();
    log.up();
    let erased = [&issued[3], &issued[300], &issued[590]];
    for it in erased {
        erase(&log, it, &["--claim", &format!("{}.claim.json", it.number)]);
    }
    erased.iter().for_each(|it| gone(&log, it));
    bank.append(&log, 3);
    log.down();
    mirror.up();
    let first = log.data().join("statement/000");
    let mut bytes = fs::read(&first).unwrap();
    bytes[0] ^= 0x40;
    fs::write(&first, bytes).unwrap();
    let second = log.data().join("statement/001");
    let mut bytes = fs::read(&second).unwrap();
    let mark = format!("{MARK}{:06}", issued[301].number);
    let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(&second, bytes).unwrap();
    let mended = repair(&log, &mirror.url()).exits(0);
    for name in ["statement/000", "statement/001"] {
        assert!(mended.out.contains(&format!("mended {name}: fetched from the mirror")), "{}", mended.out);
    }
    for it in erased {
        nothing_left(&log, it);
    }
    for it in [&issued[2], &issued[4], &issued[301]] {
        assert!(!traces(&files(&log.data()), it).is_empty(), "{} came back", it.number);
    }
    log.server_run(&["fsck", "--admission"]).exits(0);
    mirror.down();
    log.up();
    look(&log, "anew", &[]).exits(0);
}

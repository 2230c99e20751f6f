//! Erased statements and copies of the log: backups lose them too, and the scrubber knows an ordered slot.

use super::*;
use crate::scrub::{metric, scrub_fast};

/// A statement that is erased from the log is not in the backup after the next one, whether it lay in a full bundle or in
/// the ragged one; the log that is restored is in order; and the scrubber finds nothing wrong with slots that were
/// ordered to be empty.
#[test]
fn erased_statements_leave_the_backup() {
    let (mut log, mut bank, issued) = begun("log.example/copies", 300);
    log.down();
    scrub_fast(&log);
    log.up();
    let to = log.home().join("backup");
    let back_up = |log: &Deployment| log.server_run(&["backup", "--to", to.to_str().unwrap()]).exits(0);
    back_up(&log);
    let erased = [&issued[3], &issued[290]];
    for it in erased {
        assert!(!traces(&files(&to), it).is_empty(), "the backup has {}", it.number);
    }
    for it in erased {
        erase(&log, it, &["--claim", &format!("{}.claim.json", it.number)]);
    }
    for it in erased {
        gone(&log, it);
    }
    let done = back_up(&log);
    for it in erased {
        assert_eq!(traces(&files(&to), it), Vec::<PathBuf>::new(), "receipt {}: {}", it.number, done.out);
    }
    assert!(!traces(&files(&to), &issued[4]).is_empty(), "others stay");
    let passes = metric(&log, "scrub_passes_total");
    counterfoil_tests::until(|| metric(&log, "scrub_passes_total") > passes + 1, "another whole pass");
    assert_eq!(metric(&log, "scrub_damaged"), 0);

    bank.append(&log, 300);
    back_up(&log);
    log.down();
    fs::remove_dir_all(log.data()).unwrap();
    log.server_run(&["restore", "--from", to.to_str().unwrap()]).exits(0);
    log.server_run(&["fsck", "--admission"]).exits(0);
    for it in erased {
        nothing_left(&log, it);
        assert_eq!(traces(&files(&to), it), Vec::<PathBuf>::new(), "receipt {}", it.number);
    }
    log.up();
    look(&log, "anew", &[]).exits(0);
}

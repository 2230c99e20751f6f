//! Logs that sign two histories, and one that does not.

use super::*;

#[tokio::test]
async fn equal_sizes_with_other_roots_are_a_fork() {
    let mut watch = Watch::verified(5).await;
    let before = watch.state().head();
    watch.branch(4, 5).publish();
    assert_eq!(watch.shown().await, ["fork-same-size at checkpoint 5"]);
    assert_eq!(watch.evidence().len(), 1);
    assert_eq!(watch.state().head(), before);

    // It stays convicted, once, whatever it shows later; and is watched on.
    assert_eq!(watch.shown().await, ["fork-known at log", "fork-same-size at checkpoint 5"]);
    assert_eq!(watch.evidence().len(), 1);
    watch.restart().unwrap();
    watch.log.grow_to(9);
    watch.log.publish();
    assert_eq!(watch.shown().await, ["fork-known at log"]);
    assert_eq!(watch.size(), 9);
    assert_eq!(watch.round().await.exit_code(), 10);
}

/// The other branch shows a checkpoint and nothing else: the monitor's own tiles convict it.
#[tokio::test]
async fn smaller_checkpoints_are_held_against_own_tiles() {
    for size in [2, 3, FULL - 1, FULL, FULL + 1, 2 * FULL + 2] {
        let mut watch = Watch::verified(2 * FULL + 3).await;
        watch.log.withdraw();
        watch.branch(size - 1, size).show(size);
        assert_eq!(watch.shown().await, [format!("fork-smaller at checkpoint {size}")]);
        let [evidence] = watch.evidence().try_into().unwrap();
        assert_eq!(evidence.a().unverified().head.size.get(), size as u64);
        assert_eq!(evidence.b().unverified().head, watch.log.head(2 * FULL + 3));
    }
}

#[tokio::test]
async fn smaller_consistent_checkpoints_are_no_fork() {
    let mut watch = Watch::verified(FULL + 9).await;
    for size in [0, 1, 2, FULL, FULL + 8] {
        watch.log.show(size);
        assert_eq!(watch.codes().await, [""; 0], "{size}");
        assert_eq!(watch.size(), FULL as u64 + 9);
    }
}

#[tokio::test]
async fn larger_trees_that_do_not_start_with_the_verified_one_are_a_fork() {
    for (size, other) in [(3, 4), (5, FULL + 7), (FULL + 2, FULL + 3), (FULL + 2, 2 * FULL)] {
        let mut watch = Watch::verified(size).await;
        let newest = watch.state().newest.clone();
        watch.branch(size - 1, other).publish();
        assert_eq!(watch.shown().await, [format!("fork-larger at checkpoint {other}")]);
        let [evidence] = watch.evidence().try_into().unwrap();
        assert_eq!(evidence.a().unverified().head, watch.log.head(size));
        watch.restart().unwrap();
        let state = watch.state();
        assert_eq!((state.head(), &state.newest), (watch.log.head(size), &newest), "the state is untouched");
    }
}

/// A branch whose tiles are offline when its checkpoint is seen is convicted once the log has grown past it.
#[tokio::test]
async fn checkpoints_that_could_not_be_followed_are_held_against_what_comes_later() {
    let mut watch = Watch::verified(5).await;
    let other = watch.branch(5, 8);
    watch.log.withdraw();
    other.show(8);
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    assert_eq!(watch.size(), 5);
    watch.restart().unwrap();
    watch.log.grow_to(20);
    watch.log.publish();
    assert_eq!(watch.shown().await, ["fork-smaller at checkpoint 8"]);
    assert_eq!(watch.size(), 20);
    assert_eq!(watch.evidence().len(), 1);
    assert_eq!(watch.shown().await, ["fork-known at log"]);
}

/// A checkpoint that somebody else was shown convicts a log that shows this monitor nothing wrong.
#[tokio::test]
async fn checkpoints_from_elsewhere_are_held_against_the_log() {
    let mut watch = Watch::verified(9).await;
    let other = watch.branch(5, 7);
    for (note, code) in [(watch.log.sign(watch.log.head(7)), 0), (other.sign(other.head(7)), 10)] {
        watch.notes = vec![note];
        assert_eq!(watch.round().await.exit_code(), code);
    }
    // What is none of the log's says nothing about it.
    watch.restart().unwrap();
    let foreign = watch.log.sign(watch.log.head(7)).replace(ORIGIN, "log.example/2027");
    watch.notes = vec!["rubbish".to_owned(), foreign];
    assert_eq!(watch.codes().await, ["fork-known"]);
}

/// The other branch is larger, and gone from where it was shown; whoever still has its tiles gives what convicts the log,
/// although the branch that is followed never grows.
#[tokio::test]
async fn the_tree_of_a_larger_checkpoint_is_had_from_whoever_has_it() {
    let mut watch = Watch::verified(5).await;
    let mirror = watch.add_mirror("elsewhere");
    watch.log.at(&mirror).publish();
    let other = watch.branch(4, FULL + 7);
    watch.notes = vec![other.sign(other.head(FULL + 7))];
    assert!(watch.codes().await.iter().all(|code| *code == "tile-unavailable"));
    watch.notes.clear();
    assert_eq!(watch.codes().await, [""; 0], "that was said");
    watch.restart().unwrap();
    other.at(&mirror).publish();
    watch.log.at(&mirror).show(5);
    // Nor does the log have its tiles, which is said too.
    let shown = watch.shown().await;
    assert_eq!(shown.last(), Some(&format!("fork-larger at checkpoint {}", FULL + 7)), "{shown:?}");
    assert_eq!((watch.size(), watch.evidence().len(), watch.state().pending.len()), (5, 1, 0));
}

/// A witness shows what the log does not: a larger tree of the same history is read from the log, once that has it.
#[tokio::test]
async fn what_a_witness_saw_is_followed() {
    let mut watch = Watch::verified(5).await;
    let place = watch.add_witness("w1");
    watch.log.grow_to(9);
    watch.log.show_at_witness(&place, &watch.log.sign(watch.log.head(9)));
    watch.log.show(5);
    assert_eq!(watch.shown().await, ["tile-unavailable at tile/0/000.p/9"]);
    watch.log.publish();
    watch.log.show(5);
    assert_eq!(watch.codes().await, [""; 0]);
    assert_eq!((watch.size(), watch.state().pending.len()), (9, 0));
}

/// A log that signs without end fills neither disk nor memory.
#[tokio::test]
async fn what_is_kept_of_a_hostile_log_is_bounded() {
    let mut watch = Watch::verified(5).await;
    let sign = |watch: &Watch, size: u64, n: usize| {
        let root = counterfoil_merkle::Hash::leaf(&n.to_be_bytes());
        let head = TreeHead { size: counterfoil_merkle::TreeSize::new(size).unwrap(), root };
        watch.log.write("checkpoint", watch.log.sign(head).as_bytes());
    };
    for n in 0..2 * PENDING_MAX {
        sign(&watch, 100 + n as u64, n);
        assert_eq!(watch.codes().await, ["tile-unavailable"]);
    }
    assert_eq!(watch.state().pending.len(), PENDING_MAX);
    for n in 0..forks::EVIDENCE_MAX + 5 {
        sign(&watch, 5, n);
        assert_eq!(watch.round().await.exit_code(), 10);
    }
    assert_eq!(watch.evidence().len(), forks::EVIDENCE_MAX);
    watch.restart().unwrap();
    assert_eq!(watch.monitor.as_ref().unwrap().forks().proven().len(), forks::EVIDENCE_MAX);
}

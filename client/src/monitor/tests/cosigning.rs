//! What the policy demands of witnesses.

use counterfoil_merkle::key::NoteSigner;

use super::{evil::witness, *};

/// A log of five records whose policy names three witnesses, two of which make a quorum.
async fn watched() -> (Watch, [NoteSigner; 3]) {
    let mut watch = Watch::verified(5).await;
    let witnesses = [witness(1), witness(2), witness(3)];
    let [a, b, c] = witnesses.each_ref().map(NoteSigner::public);
    let known = watch.log.known();
    watch.policy = Some(format!(
        "log {}\nwitness clock {}\nwitness a {a}\nwitness b {b}\nwitness c {c}\ngroup g 2 a b c\nquorum g\n",
        known.key,
        known.clock.unwrap()
    ));
    watch.set(Settings { witness_missed_max: 2, ..settings() });
    (watch, witnesses)
}

fn show(watch: &Watch, size: usize, witnesses: &[(&NoteSigner, u64)]) {
    watch.log.write("checkpoint", watch.log.cosigned(watch.log.head(size), witnesses).as_bytes());
}

/// The quorum is checked at every look; a checkpoint without one is read all the same.
#[tokio::test]
async fn a_checkpoint_needs_its_quorum() {
    let (mut watch, [a, b, c]) = watched().await;
    watch.log.grow_to(7);
    watch.log.publish();
    show(&watch, 7, &[(&a, START_S)]);
    assert_eq!(watch.shown().await, ["quorum-missing at checkpoint 7"]);
    assert_eq!(watch.size(), 7);
    for enough in [[&a, &b], [&c, &b], [&a, &c]] {
        show(&watch, 7, &enough.map(|witness| (witness, START_S)));
        assert_eq!(watch.codes().await, [""; 0]);
    }
}

/// Cosignatures that are too old make no quorum.
#[tokio::test]
async fn a_quorum_is_of_our_days() {
    let (mut watch, [a, b, _]) = watched().await;
    watch.now_s += STALE_AFTER_S + 10;
    watch.log.now_s = watch.now_s;
    let now = watch.now_s;
    show(&watch, 5, &[(&a, now), (&b, START_S)]);
    assert_eq!(watch.shown().await, ["cosignatures-stale at checkpoint 5"]);
    show(&watch, 5, &[(&a, now), (&b, now - STALE_AFTER_S)]);
    assert_eq!(watch.codes().await, [""; 0]);
}

/// A witness that is missing costs nothing but its vote; that it is missing is said after some looks, across restarts.
#[tokio::test]
async fn a_missing_witness_is_missed() {
    let (mut watch, [a, b, c]) = watched().await;
    show(&watch, 5, &[(&a, START_S), (&b, START_S)]);
    for _ in 0..2 {
        assert_eq!(watch.codes().await, [""; 0]);
        watch.restart().unwrap();
    }
    assert_eq!(watch.shown().await, ["witness-missing at witness 2"]);
    // It is not missing if it shows its cosignature itself.
    let place = watch.add_witness("c");
    watch.log.show_at_witness(&place, &watch.log.cosigned(watch.log.head(5), &[(&c, START_S)]));
    assert_eq!(watch.codes().await, [""; 0]);
    // And a log that is away is not its witnesses' fault.
    watch.log.withdraw();
    for _ in 0..3 {
        assert_eq!(watch.codes().await, ["checkpoint-unavailable"]);
    }
}

/// Times of one witness grow with the sizes it cosigns, and none lies in the future.
#[tokio::test]
async fn a_witness_does_not_travel_in_time() {
    let (mut watch, [a, b, c]) = watched().await;
    watch.now_s += 100;
    watch.log.now_s = watch.now_s;
    show(&watch, 5, &[(&a, START_S + 50), (&b, START_S + 50)]);
    assert_eq!(watch.codes().await, [""; 0]);
    watch.log.grow_to(6);
    watch.log.publish();
    show(&watch, 6, &[(&a, START_S + 49), (&b, START_S + 50), (&c, START_S + 200)]);
    assert_eq!(watch.shown().await, ["cosignature-back at witness 0", "cosignature-ahead at witness 2"]);
    show(&watch, 5, &[(&a, START_S + 49), (&b, START_S + 51), (&c, START_S + 50)]);
    assert_eq!(watch.shown().await, ["cosignature-back at witness 1"]);
}

/// A line of a witness' key that does not verify is nobody's cosignature.
#[tokio::test]
async fn a_bad_cosignature_is_none() {
    let (mut watch, [a, b, _]) = watched().await;
    let other = watch.log.cosigned(watch.log.head(4), &[(&b, START_S)]);
    let line = other.lines().last().unwrap();
    let note = watch.log.cosigned(watch.log.head(5), &[(&a, START_S)]);
    watch.log.write("checkpoint", format!("{note}{line}\n").as_bytes());
    assert_eq!(watch.shown().await, ["cosignature-bad at witness 1", "quorum-missing at checkpoint 5"]);
}

/// A witness that cosigned both sides is convicted with the log, by the same evidence.
#[tokio::test]
async fn a_witness_of_both_sides_is_named() {
    let (mut watch, [a, b, c]) = watched().await;
    show(&watch, 5, &[(&a, START_S), (&b, START_S)]);
    assert_eq!(watch.codes().await, [""; 0]);
    let other = watch.branch(3, 4);
    let note = other.cosigned(other.head(4), &[(&b, START_S), (&c, START_S)]);
    watch.log.write("checkpoint", note.as_bytes());
    let found = ["fork-smaller at checkpoint 4", "witness-forked at checkpoint 4"];
    assert_eq!(watch.shown().await, found);
    let [evidence] = watch.evidence().try_into().unwrap();
    assert_eq!(
        [&a, &b, &c].map(|witness| evidence.verify_cosigner(witness.public()).is_ok()),
        [false, true, false]
    );
}

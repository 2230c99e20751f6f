//! An operator that lost disowns, and gains nothing by it.

use super::*;

/// The bank loses a dispute and revokes its key with an early date. The bundle of before verifies as it did; every fact of before stands
/// word for word; one is added, that it is disowned; what the arbiter ordered is still due; and the key signs nothing more.
#[test]
fn a_revocation_changes_nothing_before_it() {
    let town = Town::new("log.example/revoked");
    let (id, claim) = town.answers();
    town.does(&["get", &id, "--log", "l", "-o", "before.json"]);
    let before = town.log.home().join("before.json");
    let dispute = town.records(&["dispute", "--claim", claim.to_str().unwrap(), "--ground", "wrong_model"]);
    town.records(&[
        "resolve",
        &dispute.leaf,
        "--key",
        "arbiter.pem",
        "--role",
        "arbiter",
        "--finding",
        "wrong_model=upheld",
        "--remedy",
        "correction",
        "--due",
        "+1h",
    ]);
    let stood = town.stands(&id, &[]);
    let revoked =
        town.records(&["revoke", "--key", "bank.pem", "--reason", "retired", "--since", "2020-01-01"]);

    let stands = town.stands(&id, &[]);
    let all = stands["facts"].as_array().unwrap();
    for fact in stood["facts"].as_array().unwrap() {
        assert!(all.contains(fact), "{fact}\nis no longer among\n{all:#?}");
    }
    let added: Vec<_> =
        all.iter().filter(|fact| !stood["facts"].as_array().unwrap().contains(fact)).collect();
    let names: Vec<_> = added.iter().map(|fact| fact["fact"].as_str().unwrap()).collect();
    assert_eq!(names, ["revoked", "disowned"], "{added:#?}");
    assert_eq!((&added[0]["record"], &added[0]["disowned"]), (&revoked.leaf.as_str().into(), &1.into()));
    assert_eq!(stands["turns"], stood["turns"], "the duty is still due");

    town.verifies(&before);
    town.verifies(&dispute.bundle);
    let screen = town.screen(&id);
    assert!(screen.contains("bank Ltd says:") && screen.contains("DISOWNED"), "{screen}");
    let late = town.log.client(&[
        "--json", "correct", &id, "--key", "bank.pem", "--field", "outcome", "--cause", "other", "--found",
        "other", "--log", "l", "--out", "records",
    ]);
    assert_eq!(late.exits(1).json()["rule"], "key_revoked");
}

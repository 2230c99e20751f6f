//! What witnesses know of a log that its own data directory does not.

use std::fs;

use counterfoil_merkle::evidence::ForkEvidence;
use counterfoil_tests::{Deployment, Issuing, Manner, audit::check_kept};

use super::{ASYNC, QUICK, World, until};

fn stopped(log: &Deployment) -> bool {
    let reply = log.http().get("/readyz").unwrap();
    reply.status == 503 && reply.json()["type"] == "https://counterfoil.dev/problems/stopped"
}

/// A whole machine rolled back, guard and all, asks its witnesses before it signs anything, and does not run behind what
/// they saw. Those that cannot be asked are not waited for.
#[test]
fn a_log_does_not_run_behind_its_witnesses() {
    let mut world = World::start("log.example/behind", 2, QUICK);
    let mut issuing = Issuing::new(&world.log.origin, 1);
    let kept = world.append(&mut world.log.http(), &mut issuing);
    world.log.down();
    let mut old = world.log.copy();
    world.log.up();
    for _ in 0..3 {
        world.append(&mut world.log.http(), &mut issuing);
    }
    world.log.down();

    world.witnesses[0].behave(Manner::Hanging);
    world.witnesses[1].behave(Manner::Dead);
    old.spawn();
    until(|| stopped(&old), || old.server_log());
    let said = "has cosigned 5 entries that this log's key signed, and the data directory holds 2";
    assert!(old.server_log().contains(said), "{}", old.server_log());
    let (_, envelope) = issuing.issue();
    assert_eq!(old.http().post("/v1/receipts", envelope.as_bytes()).unwrap().status, 503);
    check_kept(&mut old.http(), &kept, &world.key);
    let commits = fs::read_dir(old.data().join("commit")).unwrap().count();
    old.kill();
    old.spawn();
    until(|| stopped(&old), || old.server_log());
    assert_eq!(fs::read_dir(old.data().join("commit")).unwrap().count(), commits, "nothing was written");

    // The newest copy runs, though two of three cannot be asked.
    world.log.up();
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Honest));
    world.append(&mut world.log.http(), &mut issuing);
}

/// A log that hears of another history under its own key stops for good, and what it leaves convinces a stranger. Until
/// somebody moves the evidence away, no start signs anything.
#[test]
fn a_log_that_was_forked_stops_with_evidence() {
    let mut world = World::start("log.example/forked", 2, QUICK);
    let mut issuing = Issuing::new(&world.log.origin, 1);
    world.append(&mut world.log.http(), &mut issuing);
    world.log.down();
    let mut fork = world.log.copy();
    world.log.up();
    world.append(&mut world.log.http(), &mut issuing);
    world.log.down();

    // The fork starts while nobody can warn it, and grows past what the witnesses saw.
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Dead));
    fork.up();
    let (mut http, mut other) = (fork.http(), Issuing::new(&world.log.origin, 2));
    for _ in 0..10 {
        let (_, envelope) = other.issue();
        assert_eq!(http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap().status, 202);
    }
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Honest));
    until(|| stopped(&fork), || fork.server_log());
    assert!(fork.server_log().contains("the log is forked"), "{}", fork.server_log());
    assert_eq!(http.get("/checkpoint").unwrap().status, 200, "reads go on");
    let evidence = |log: &Deployment| {
        let files = fs::read_dir(log.directory()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.to_string_lossy().contains("fork-evidence")).collect::<Vec<_>>()
    };
    let [file] = &evidence(&fork)[..] else { panic!("{:?}", evidence(&fork)) };
    let proven: ForkEvidence = fs::read_to_string(file).unwrap().parse().unwrap();
    assert_eq!(proven.verify(&world.key), Ok(()));

    fork.kill();
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Dead));
    fork.spawn();
    until(|| stopped(&fork), || fork.server_log());
    assert!(fork.server_log().contains("nothing is signed while it lies there"), "{}", fork.server_log());
    fork.kill();
    // The log itself was never in doubt.
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Honest));
    world.log.up();
    world.append(&mut world.log.http(), &mut issuing);
    assert!(evidence(&world.log).is_empty());
}

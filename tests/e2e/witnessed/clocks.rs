//! Clock records: witnesses' times in the log itself, and what they say of the entries around them.

use std::{fs, path::Path};

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{Kind, bundle::Bundle, statement::Predicate, trust::Trust, verify::verify};
use counterfoil_tests::{Http, Issuing, Manner};
use serde_json::Value;

use super::{ASYNC, QUICK, World, until};

fn clocks(http: &mut Http, index: u64) -> [Option<Bundle>; 2] {
    let reply = http.get(&format!("/v1/clocks?index={index}")).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let value = reply.json();
    ["before", "after"]
        .map(|side| Some(&value[side]).filter(|bundle| !bundle.is_null()))
        .map(|bundle| bundle.map(|bundle| Bundle::parse(bundle.to_string().as_bytes()).unwrap()))
}

/// The log puts cosigned checkpoints among its receipts, finds those around any of them, also after its index is lost, and
/// who trusts the witnesses gets both bounds of a receipt's time from three files, offline.
#[test]
fn clock_records_bound_the_times_around_them() {
    let table = QUICK.replace("clock_record_period_s = 0", "clock_record_period_s = 1");
    let mut world = World::start("log.example/clocks", 2, &table);
    let (mut http, mut issuing) = (world.log.http(), Issuing::new(&world.log.origin, 1));
    // A receipt with a record on either side of it.
    let mut acks = Vec::new();
    let enclosed = |http: &mut Http, index| clocks(http, index).iter().all(Option::is_some);
    until(
        || {
            acks.push(world.append(&mut http, &mut issuing));
            acks.iter().any(|ack| enclosed(&mut http, ack.index))
        },
        || world.log.server_log(),
    );
    let ack = acks.iter().find(|ack| enclosed(&mut http, ack.index)).unwrap().clone();
    let bundle = http.get(&format!("/v1/entries/{}", ack.index)).unwrap();
    let bundle = Bundle::parse(&bundle.body).unwrap();
    let records = clocks(&mut http, ack.index).map(Option::unwrap);
    let trust = Trust::in_policy(world.policy());
    let mut report = verify(&bundle, &trust, None);
    report.bound_by(&records, &trust);
    assert!(report.holds(), "{:?}", report.failures());
    let (lower, upper) = (report.bounds.not_before.unwrap(), report.bounds.not_after.unwrap());
    assert_eq!(lower.record, Some(records[0].proof.index()));
    assert!(lower.time_s <= bundle.entry.at.seconds() + 1 && bundle.entry.at.seconds() <= upper.time_s + 1);

    // Records lie about a second apart, each of a larger tree than the one before.
    let size = world.size(&mut http);
    let bundles = (0..size).map(|index| http.get(&format!("/v1/entries/{index}")).unwrap().body);
    let bundles: Vec<_> = bundles.map(|body| Bundle::parse(&body).unwrap()).collect();
    let mut last = None;
    for bundle in bundles.iter().filter(|bundle| bundle.entry.kind == Kind::Clock) {
        let statement = bundle.entry.check_statement(bundle.statement.as_ref().unwrap()).unwrap();
        let Predicate::Clock(clock) = statement.predicate else { panic!("a clock record") };
        let size = clock.checkpoint.unverified().head.size;
        world.policy().check(&clock.checkpoint).unwrap();
        if let Some((before, at)) = last.replace((size, bundle.entry.at.millis())) {
            assert!(size > before && bundle.entry.at.millis() >= at + 1000);
        }
    }
    assert_eq!(http.get(&format!("/v1/clocks?index={}", size + 1000)).unwrap().status, 404);
    assert_eq!(http.get("/v1/clocks?index=x").unwrap().status, 400);

    by_command_line(&world, &bundle, ack.index);

    // Without its index the log finds them again from its entries; fsck takes them for what they are.
    let indexes = |records: &[Bundle; 2]| -> [LeafIndex; 2] { [0, 1].map(|n| records[n].proof.index()) };
    world.log.down();
    world.log.server_run(&["fsck"]).exits(0);
    fs::remove_dir_all(world.log.directory().join("index")).unwrap();
    world.log.up();
    let again = clocks(&mut world.log.http(), ack.index).map(Option::unwrap);
    assert_eq!(indexes(&again), indexes(&records));
}

/// `get` fetches the records, `verify` takes them from files, and names one that says nothing.
fn by_command_line(world: &World, bundle: &Bundle, index: u64) {
    let policy = world.log.home().join("trusted.txt");
    fs::write(&policy, &world.policy).unwrap();
    let policy = policy.to_str().unwrap();
    let url = world.log.url();
    let fetch = ["get", "--url", &url, "--log-key", &world.log.log_key, "--clock-records", "-o", "it.json"];
    world.log.client(&[&fetch[..], &[&*index.to_string()]].concat());
    let file = |name: &str| world.log.home().join(name).to_str().unwrap().to_owned();
    let records: Vec<_> =
        fs::read_dir(world.log.home()).unwrap().map(|file| file.unwrap().file_name()).collect();
    let records = records.iter().filter_map(|name| name.to_str()).filter(|name| name.starts_with("clock-"));
    let records: Vec<_> = records.map(file).collect();
    assert_eq!(records.len(), 2, "{records:?}");
    let mut arguments = vec!["verify", "it.json", "--policy", policy, "--json"];
    records.iter().for_each(|record| arguments.extend(["--clock-record", record]));
    let said = world.log.client(&arguments).exits(0).json();
    let time = &said["time"];
    assert!(time["not_before"]["record"].is_u64() && time["not_after"]["time"].is_u64(), "{said}");
    arguments.retain(|argument| *argument != "--json");
    let said = world.log.client(&arguments).exits(0).out;
    assert!(said.contains("bounds: not before 2"), "{said}");

    fs::write(Path::new(&records[0]), bundle.to_json()).unwrap();
    let refused = world.log.client(&arguments).exits(1);
    assert!(refused.out.contains("it is not a clock record"), "{}", refused.out);
    fs::write(Path::new(&records[0]), "{}").unwrap();
    world.log.client(&arguments).exits(1);
}

/// A log whose witnesses are away makes no clock records of old checkpoints, and no receipt waits for one.
#[test]
fn without_witnesses_no_clock_records_are_made() {
    let table = QUICK.replace("clock_record_period_s = 0", "clock_record_period_s = 1");
    let world = World::start("log.example/no-clocks", 1, &table);
    let mut http = world.log.http();
    world.await_size(&mut http, 2);
    world.witnesses.iter().for_each(|witness| witness.behave(Manner::Dead));
    let (_, envelope) = Issuing::new(&world.log.origin, 1).issue();
    assert_eq!(http.post_with("/v1/receipts", ASYNC, envelope.as_bytes()).unwrap().status, 202);
    let committed = |http: &mut Http| world.metric(http, "counterfoil_committed_size");
    until(
        || world.metric(&mut http, "counterfoil_quorum_missing_seconds").unwrap() >= 2.0,
        || "the quorum is missing".into(),
    );
    let before = committed(&mut http);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(committed(&mut http), before);
    let kinds: Vec<Value> = (0..world.size(&mut http))
        .map(|index| http.get(&format!("/v1/entries/{index}")).unwrap().json()["entry"].clone())
        .collect();
    assert!(kinds.iter().any(|entry| entry.as_str().unwrap().contains("\"kind\":\"clock\"")));
}

//! Who may append: keys by their records, registrars by the rules, and the rules as the configuration says.

use std::{fs, process::Command};

use counterfoil_receipt::{
    SigningKey, Timestamp,
    statement::{Key, Predicate, Registration, Role, Subject},
};
use counterfoil_tests::{
    Deployment, Issuing,
    records::{card, record, refused},
    until,
};

use crate::PROGRAMS;

fn post(log: &Deployment, issuing: &mut Issuing) -> Result<u64, String> {
    let envelope = counterfoil_receipt::Envelope::parse(issuing.issue().1.as_bytes()).unwrap();
    let reply = log.send(&envelope);
    match reply.status {
        201 => Ok(reply.json()["index"].as_u64().unwrap()),
        403 => Err(refused(&reply.json(), &envelope, &log.operator())),
        status => panic!("{status}: {}", reply.text()),
    }
}

fn hang_up(log: &Deployment) {
    let sent = Command::new("kill").args(["-HUP", &log.process().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn size(log: &Deployment) -> u64 {
    let checkpoint = log.http().get("/checkpoint").unwrap();
    checkpoint.text().lines().nth(1).unwrap().parse().unwrap()
}

/// An unknown key is refused until a registrar's record lets it in, for as long as that says; the refusal names the rule and is
/// signed by the operator. All of it outlives a restart.
#[test]
fn keys_come_from_records() {
    let mut log = Deployment::init(PROGRAMS, "log.example/issuers", &[]);
    log.up();
    let mut bank = Issuing::new(&log.origin, 1);
    let key = bank.key().clone();
    assert_eq!(post(&log, &mut bank), Err("key_unknown".to_owned()));

    let own = log.send(&card(&log.origin, &key, "Bank", &[Role::Issuer]));
    assert_eq!((own.status, own.json()["rule"].as_str()), (403, Some("registrar")));
    log.register(&key, "Bank", &[Role::Verifier]);
    assert_eq!(post(&log, &mut bank), Err("key_role".to_owned()));
    let past = Timestamp::from_millis(1_577_836_800_000);
    log.register_for(&key, "Bank", &[Role::Issuer], None, past);
    assert_eq!(post(&log, &mut bank), Err("key_window".to_owned()));
    log.register(&key, "Bank", &[Role::Issuer]);
    let index = post(&log, &mut bank).unwrap();
    log.down();
    log.up();
    assert_eq!(post(&log, &mut bank), Ok(index + 1), "the key records are found again");
    log.kill();
    fs::remove_dir_all(log.directory().join("index")).unwrap();
    log.up();
    assert_eq!(post(&log, &mut bank), Ok(index + 2), "and without an index");
    log.down();
    log.server_run(&["fsck", "--admission"]).exits(0);
}

/// Registrars are those of the rules in force; the configuration is read again on SIGHUP and at each start, and what it changes is a
/// record of its own. A configuration that cannot be read changes nothing.
#[test]
fn the_rules_are_a_record() {
    let mut log = Deployment::init(PROGRAMS, "log.example/rules", &[]);
    log.up();
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (former, other) = (log.registrar(), SigningKey::from_ed25519_seed(&[3; 32]));
    let bank = SigningKey::from_ed25519_seed(&[4; 32]);
    log.register(&bank, "Bank", &[Role::Issuer]);
    let before = size(&log);

    fs::write(&config, "not toml").unwrap();
    hang_up(&log);
    until(|| log.server_log().contains("the rules stay"), "a warning");
    assert_eq!(size(&log), before);

    fs::write(&config, text.replace(former.public().as_str(), other.public().as_str())).unwrap();
    hang_up(&log);
    until(|| size(&log) == before + 1, "a rules record");
    let card = card(&log.origin, &bank, "Bank", &[Role::Issuer]);
    let registration = Registration::new(card, &log.origin.parse().unwrap()).unwrap();
    let predicate = Predicate::Key(Key::Registration(Box::new(registration)));
    let by = |key| record(&log.origin, key, Subject::Log, predicate.clone());
    let reply = log.send(&by(&former));
    assert_eq!((reply.status, reply.json()["rule"].as_str()), (403, Some("registrar")), "{}", reply.text());
    log.put(&by(&other));
    log.down();

    let without = text.lines().filter(|line| !line.starts_with("operator_key_file"));
    fs::write(&config, without.collect::<Vec<_>>().join("\n")).unwrap();
    log.spawn();
    until(|| log.server_log().contains("without operator_key_file nobody can sign them"), "an error");
    assert_eq!(
        log.http().get("/readyz").unwrap().status,
        503,
        "it does not write under rules it was not told"
    );
    log.kill();
    log.server_run(&["fsck", "--admission"]).exits(0);
}

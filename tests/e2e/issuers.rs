//! Who may append: registered issuers, read again on SIGHUP.

use std::{fs, process::Command, thread, time::Duration};

use counterfoil_tests::{Deployment, Issuing};

use crate::PROGRAMS;

fn post(log: &Deployment, issuing: &mut Issuing) -> (u16, String) {
    let reply = log.http().post("/v1/receipts", issuing.issue().1.as_bytes()).unwrap();
    (reply.status, reply.text().to_owned())
}

fn hang_up(log: &Deployment) {
    let sent = Command::new("kill").args(["-HUP", &log.process().to_string()]).status().unwrap();
    assert!(sent.success());
    thread::sleep(Duration::from_millis(300));
}

/// An unknown issuer is refused until the file names it and the server is told; a file that cannot be read changes
/// nothing; an issuer whose time is over, or who is named for something else, is refused by name.
#[test]
fn registered_issuers_are_read_again() {
    let mut log = Deployment::init(PROGRAMS, "log.example/issuers", &[]);
    log.up();
    let mut bank = Issuing::new(&log.origin, 1);
    let key = bank.key().public().as_str().to_owned();
    let (status, said) = post(&log, &mut bank);
    assert!(status == 403 && said.contains("is not registered with this log"), "{said}");

    let file = log.directory().join("issuers.toml");
    let table = format!("[[issuer]]\nname = \"Bank\"\nkey = \"{key}\"\n");
    fs::write(&file, &table).unwrap();
    assert_eq!(post(&log, &mut bank).0, 403, "not before the server is told");
    hang_up(&log);
    assert_eq!(post(&log, &mut bank).0, 201);

    fs::write(&file, "[[issuer]]\nname = 7\n").unwrap();
    hang_up(&log);
    assert_eq!(post(&log, &mut bank).0, 201, "a malformed file changes nothing");
    assert!(log.server_log().contains("the issuers were not read again"), "{}", log.server_log());

    for (more, reason) in [
        ("not_after = 2020-01-01T00:00:00Z\n", "the registration of Bank is not valid"),
        ("not_before = 2120-01-01T00:00:00Z\n", "the registration of Bank is not valid"),
        ("roles = [\"verifier\"]\n", "Bank is registered, but not as an issuer"),
    ] {
        fs::write(&file, format!("{table}{more}")).unwrap();
        hang_up(&log);
        let (status, said) = post(&log, &mut bank);
        assert!(status == 403 && said.contains(reason), "{said}");
    }
    log.down();
}

//! Keys in a token: SoftHSM's, which is a program, but speaks PKCS#11 like a device.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use counterfoil_client::load::Issuing;
use counterfoil_merkle::key::VerifierKey;
use counterfoil_receipt::SigningKey;
use counterfoil_tests::{Deployment, Programs, audit::check_answer, until};

use crate::PROGRAMS;

const PIN: &str = "20261-user-pin";
const LABEL: &str = "counterfoil";

/// Where distributions put the library.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A place with a token in it, and the programs as they see it.
struct Place {
    home: tempfile::TempDir,
    module: &'static str,
    programs: Programs,
}

impl Place {
    /// None where there is no SoftHSM, which is said; with `CI` set that is a failure.
    fn new() -> Option<Self> {
        let Some(module) = MODULES.into_iter().find(|module| Path::new(module).exists()) else {
            assert!(std::env::var_os("CI").is_none(), "CI has to have SoftHSM");
            eprintln!("not tried: there is no SoftHSM here (Debian: softhsm2)");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let (tokens, config) = (home.path().join("tokens"), home.path().join("softhsm2.conf"));
        fs::create_dir(&tokens).unwrap();
        fs::write(&config, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
            .unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "officers-pin", "--pin", PIN])
            .env("SOFTHSM2_CONF", &config)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let server = home.path().join("server");
        let text =
            format!("#!/bin/sh\nSOFTHSM2_CONF='{}' exec '{}' \"$@\"\n", config.display(), PROGRAMS.server);
        fs::write(&server, text).unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o700)).unwrap();
        let server = Box::leak(server.display().to_string().into_boxed_str());
        Some(Self { programs: Programs { server, ..PROGRAMS }, home, module })
    }

    fn pin_file(&self, name: &str, pin: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, format!("{pin}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// Takes the token away, as when a device is pulled.
    fn take_away(&self) {
        let tokens = self.home.path().join("tokens");
        fs::rename(&tokens, self.home.path().join("away")).unwrap();
        fs::create_dir(&tokens).unwrap();
    }

    fn bring_back(&self) {
        let tokens = self.home.path().join("tokens");
        fs::remove_dir(&tokens).unwrap();
        fs::rename(self.home.path().join("away"), &tokens).unwrap();
    }

    /// A log that admits any valid signature, with its keys in the token.
    fn log(&self, origin: &str) -> Deployment {
        let pin_file = self.pin_file("pin", PIN);
        let token = ["--pkcs11-module", self.module, "--pkcs11-token", LABEL, "--pkcs11-pin-file", &pin_file];
        Deployment::init(self.programs, origin, &[&["--open"], &token[..]].concat())
    }
}

/// The rules that a log begins with, in the form of its configuration.
const OPEN: &str = "mode = \"open\"\nregistrars = []";

/// And others.
fn registered() -> String {
    let registrar = SigningKey::from_ed25519_seed(&[3; 32]).public().to_string();
    format!("mode = \"registered\"\nregistrars = [\"{registrar}\"]")
}

/// Size of the published tree.
fn size(log: &Deployment) -> u64 {
    log.http().get("/checkpoint").unwrap().text().lines().nth(1).unwrap().parse().unwrap()
}

/// Appends one receipt and checks its proof with the keys that `init` printed.
fn append(log: &Deployment, issuing: &mut Issuing) {
    let key: VerifierKey = log.log_key.parse().unwrap();
    let (id, envelope) = issuing.issue();
    let reply = log.http().post("/v1/receipts", envelope.as_bytes()).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.text());
    check_answer(&serde_json::from_slice(&reply.body).unwrap(), id, &key);
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|item| item.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A log whose keys are in a token works like any other: heads, clock and rules are signed there, and no file has a key.
#[test]
fn a_log_signs_with_keys_in_a_token() {
    let Some(place) = Place::new() else { return };
    let mut log = place.log("log.example/token");
    let mut issuing = Issuing::new(&log.origin, 1);
    for _ in 0..2 {
        log.up();
        (0..3).for_each(|_| append(&log, &mut issuing));
        log.down();
    }
    // The operator's key signs other rules.
    log.configure(&[(OPEN, &registered())]);
    log.up();
    until(|| size(&log) == 8, "the rules are logged");
    log.down();
    let _ = log.server_run(&["fsck", "--admission"]).exits(0);
    for path in files(log.directory()) {
        let bytes = fs::read(&path).unwrap();
        assert!(!crate::has(&bytes, "PRIVATE") && !crate::has(&bytes, PIN), "{}", path.display());
    }
    assert!(!log.server_log().contains(PIN));
    // Nobody's key is made anew.
    let again = Command::new(place.programs.server)
        .args(["init", "--origin", &log.origin, "--open", "--dir"])
        .arg(place.home.path().join("again"))
        .arg("--guard")
        .arg(place.home.path().join("again-guard"))
        .args(["--pkcs11-module", place.module, "--pkcs11-token", LABEL, "--pkcs11-pin-file"])
        .arg(place.home.path().join("pin"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(2) && said.contains("has a key labelled"), "{said}");
}

/// While the token does not sign nothing is published, and what was acknowledged stays; once it signs again the log goes on by itself.
#[test]
fn a_log_waits_for_its_token() {
    let Some(place) = Place::new() else { return };
    let mut log = place.log("log.example/gone");
    let mut issuing = Issuing::new(&log.origin, 2);
    log.up();
    (0..3).for_each(|_| append(&log, &mut issuing));
    place.take_away();
    let (_, envelope) = issuing.issue();
    let reply = log.http().post("/v1/receipts", envelope.as_bytes()).unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    until(|| log.http().get("/readyz").unwrap().status != 200, "the log says that it is not ready");
    assert_eq!(log.http().get("/checkpoint").unwrap().status, 200, "what is published is served");
    std::thread::sleep(Duration::from_secs(1));
    place.bring_back();
    until(|| log.http().get("/readyz").unwrap().status == 200, "the log goes on");
    (0..3).for_each(|_| append(&log, &mut issuing));
    // So do the rules, which the operator's key has to sign.
    let before = size(&log);
    place.take_away();
    let config = log.directory().join("counterfoil.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(OPEN, &registered())).unwrap();
    log.hang_up();
    until(|| log.http().get("/readyz").unwrap().status != 200, "the rules cannot be signed");
    place.bring_back();
    until(|| size(&log) == before + 1, "the rules are logged once they can be");
    let said = log.server_log();
    assert!(said.contains("pkcs11:log.example/gone did not sign"), "{said}");
    log.down();
    let _ = log.server_run(&["fsck"]).exits(0);
}

/// A wrong PIN, token, label or module is named, and so is a key that is not the pinned one. The PIN is not.
#[test]
fn what_is_wrong_with_a_token_is_named() {
    let Some(place) = Place::new() else { return };
    let log = place.log("log.example/wrong");
    let other = place.log("log.example/other");
    drop(other);
    let wrong_pin = place.pin_file("wrong-pin", "00000");
    let pin = fs::canonicalize(place.home.path().join("pin")).unwrap().display().to_string();
    let config = log.directory().join("counterfoil.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (old, new, due) in [
        (&*pin, &*wrong_pin, "token \"counterfoil\": "),
        ("token = \"counterfoil\"", "token = \"nobody\"", "no token labelled \"nobody\""),
        ("pkcs11:log.example/wrong/clock", "pkcs11:log.example/none", "0 private and 0 public"),
        ("pkcs11:log.example/wrong\"", "pkcs11:log.example/other\"", "is not that of the public key"),
        (place.module, "/usr/lib/nothing.so", "pkcs11.module: /usr/lib/nothing.so: "),
        ("[pkcs11]", "[unknown]", "unknown"),
    ] {
        assert!(good.contains(old), "{old} in {good}");
        fs::write(&config, good.replace(old, new)).unwrap();
        let refused = log.server_run(&["run"]).exits(2);
        assert!(refused.err.contains(due), "{due}: {}", refused.err);
        assert!(!refused.err.contains(PIN), "{}", refused.err);
    }
}

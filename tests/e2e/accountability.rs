//! What happens when it goes wrong: the whole story with real processes, each step verified offline, and what stood at each of them.

mod elsewhere;
mod revoked;
mod story;

use std::{
    fs,
    path::{Path, PathBuf},
};

use counterfoil_tests::{Deployment, Run};
use serde_json::Value;

use crate::PROGRAMS;

/// A log with registered keys, and people who use it by the command line.
struct Town {
    log: Deployment,
}

impl Town {
    /// A log in which `bank` issues, `lab1` and `lab2` verify, and `arbiter` decides; all by commands that a person would type.
    fn new(origin: &str) -> Self {
        let mut log = Deployment::init(PROGRAMS, origin, &[]);
        log.up();
        let town = Self { log };
        town.does(&["log", "add", "l", &town.log.url(), &town.log.log_key, "--clock", &town.log.clock_key]);
        for (name, role) in
            [("bank", "issuer"), ("lab1", "verifier"), ("lab2", "verifier"), ("arbiter", "arbiter")]
        {
            town.joins(name, role);
        }
        town
    }

    /// Somebody makes a key and a card, and the registrar registers them.
    fn joins(&self, name: &str, role: &str) {
        self.does(&["keygen", "-o", &format!("{name}.pem")]);
        self.registers(name, role, &format!("{name}.card.json"));
    }

    /// Somebody who has a key makes a card, and the registrar registers it.
    fn registers(&self, name: &str, role: &str, card: &str) {
        let (key, title) = (format!("{name}.pem"), format!("{name} Ltd"));
        let registrar = self.log.directory().join("keys/registrar.pem");
        self.does(&[
            "key", "card", "--key", &key, "--name", &title, "--role", role, "--log", "l", "-o", card,
        ]);
        self.does(&[
            "key",
            "register",
            card,
            "--key",
            registrar.to_str().unwrap(),
            "--log",
            "l",
            "--out",
            "records",
        ]);
    }

    /// A command that has to work.
    fn does(&self, arguments: &[&str]) -> Run {
        self.log.client(arguments).exits(0)
    }

    /// A record that has to be taken; its leaf hash, once its bundle was verified offline.
    fn records(&self, arguments: &[&str]) -> Recorded {
        let all = [&["--json"], arguments, &["--log", "l", "--out", "records"]].concat();
        let answer = self.does(&all).json();
        assert_eq!(answer["status"], "proven", "{answer}");
        let bundle = self.log.home().join(answer["bundle"].as_str().unwrap());
        self.verifies(&bundle);
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        Recorded { id: text("id"), leaf: text("leaf"), at: answer["at"].as_u64().unwrap(), bundle }
    }

    /// Offline: the server is not asked, and need not be there.
    fn verifies(&self, bundle: &Path) {
        let policy = self.log.policy();
        let verified =
            self.does(&["verify", bundle.to_str().unwrap(), "--policy", policy.to_str().unwrap(), "--json"]);
        assert_eq!(verified.json()["holds"], true);
    }

    /// The bank answers a customer, and logs the receipt; its id, and the file of the customer's claim key.
    fn answers(&self) -> (String, PathBuf) {
        let request = r#"{"model":"m-1","messages":[{"role":"user","content":"May I have the loan?"}]}"#;
        let response =
            r#"{"model":"m-1-0626","choices":[{"message":{"content":"denied"},"finish_reason":"stop"}]}"#;
        let home = self.log.home();
        fs::write(home.join("request.json"), request).unwrap();
        fs::write(home.join("response.json"), response).unwrap();
        let made = self.does(&[
            "receipt",
            "new",
            "--key",
            "bank.pem",
            "--log",
            "l",
            "--path",
            "/v1/chat/completions",
            "--request",
            "request.json",
            "--response",
            "response.json",
            "--status",
            "200",
            "--out",
            "receipts",
            "--json",
        ]);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        self.does(&["append", "--log", "l", &format!("receipts/{id}.envelope.json")]);
        (id.clone(), home.join(format!("receipts/{id}.claim.json")))
    }

    /// What stands about a receipt, as programs read it.
    fn stands(&self, id: &str, more: &[&str]) -> Value {
        let all = [&["--json", "standing", id, "--log", "l"], more].concat();
        let standing = self.does(&all).json();
        standing["logs"][0].clone()
    }

    /// The screen that people read.
    fn screen(&self, id: &str) -> String {
        self.does(&["standing", id, "--log", "l"]).out
    }
}

/// A record that was taken.
struct Recorded {
    id: String,
    leaf: String,
    at: u64,
    bundle: PathBuf,
}

/// The facts of that name.
fn facts<'v>(standing: &'v Value, name: &str) -> Vec<&'v Value> {
    standing["facts"].as_array().unwrap().iter().filter(|fact| fact["fact"] == name).collect()
}

/// The only fact of that name.
fn fact<'v>(standing: &'v Value, name: &str) -> &'v Value {
    let found = facts(standing, name);
    assert_eq!(found.len(), 1, "{name}: {standing:#}");
    found[0]
}

//! The whole story in a minute, with the real programs: append, verify, monitor, fork, caught.
//!
//! Each step is a process of its own, shown as a person would type it. The fork is an honest one: the log is stopped,
//! its directory with guard and keys is copied, and both run; the server has no switch for that.

mod stage;

use std::path::PathBuf;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use serde_json::Value;

use self::stage::{ANY_PORT, Server, Stage};
use super::{Exit, Terminal};

/// Exchanges recorded from public inference services; `tests/data/README.md` names their origin and licence.
const EXCHANGES: &str = include_str!("../../../tests/data/exchanges.jsonl");

/// See it work: receipts are appended and verified, one byte is changed, the log forks, the monitor catches it.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Work in this new directory and leave it there; otherwise in a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Leave the log running at the end, and say how to go on with it.
    #[arg(long)]
    keep: bool,

    /// The server's program; by default the one beside this program, or on the search path.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let (stage, place) = Stage::set(self.dir.clone(), self.server.clone(), *terminal)?;
        let mut log = start(&stage)?;
        append_and_verify(&stage)?;
        stage.say("A monitor reads the whole log and recomputes every entry, tile and root.");
        stage.client("monitor --once --state monitor --log demo", 0)?;
        let fork = fork(&stage, &mut log)?;
        stage.say("The monitor follows the first branch. Taken alone, nothing is wrong with it.");
        stage.client("monitor --once --state monitor --log demo", 0)?;
        stage.say("Then somebody shows it the second branch.");
        stage.client("monitor --once --state monitor --log fork", 10)?;
        check_evidence(&stage, &log)?;
        fork.stop()?;
        stage.say(
            "Done: appended, proven, verified; a changed byte was noticed, a fork was caught and proven.",
        );
        if self.keep {
            let (url, process) = (log.url().to_owned(), log.leave());
            stage.say(&format!("The log goes on at {url} until `kill {process}`. To go on with it:"));
            let place = place.keep();
            terminal.line(format_args!("cd {0} && export XDG_CONFIG_HOME={0}/config", place.display()));
        } else {
            log.stop()?;
        }
        Ok(Exit::YES)
    }
}

/// Makes a log and starts it; makes a key and remembers the log.
fn start(stage: &Stage) -> anyhow::Result<Server> {
    stage.say("A new log: keys, configuration, policy, and the guard that remembers how far it went.");
    stage.init("log")?;
    let log = stage.serve("log", ANY_PORT)?;
    stage.say("The client remembers the log by name, address and keys, and pins its first checkpoint.");
    stage.client(&format!("log add demo {} {} --clock {}", log.url(), log.log_key(), log.clock_key()), 0)?;
    stage.client("keygen -o issuer.pem", 0)?;
    Ok(log)
}

/// Receipts of recorded exchanges go into the log; one is verified offline, and again with one byte changed.
fn append_and_verify(stage: &Stage) -> anyhow::Result<()> {
    stage.write("exchanges.jsonl", EXCHANGES.as_bytes())?;
    stage.say("Receipts of recorded exchanges: of request and response they hold nothing but commitments.");
    stage.client("receipt new --key issuer.pem --log demo --exchange exchanges.jsonl --out receipts", 0)?;
    stage.client_glob("append --log demo receipts/*.envelope.json", 0)?;
    let bundle = stage.first("receipts", ".counterfoil.json")?;
    stage.say("Anybody can check one offline, with the file and the policy that trusts this log.");
    stage.client(&format!("verify receipts/{bundle} --policy log/policy.txt"), 0)?;
    stage.say("One byte of the statement is changed.");
    let tampered = tamper(&stage.read(&format!("receipts/{bundle}"))?)?;
    stage.write("tampered.counterfoil.json", &tampered)?;
    stage.client("verify tampered.counterfoil.json --policy log/policy.txt", 1)?;
    Ok(())
}

/// The bundle with one byte of its statement changed: another model is said to have been asked for.
fn tamper(bundle: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bundle: Value = serde_json::from_slice(bundle)?;
    let statement = bundle["statement"].as_str().context("the bundle has a statement")?;
    let mut statement = BASE64.decode(statement)?;
    let name = b"\"requested\":\"";
    let at = statement.windows(name.len()).position(|window| window == name);
    let at = at.context("the statement names a requested model")? + name.len();
    statement[at] = if statement[at] == b'x' { b'y' } else { b'x' };
    bundle["statement"] = BASE64.encode(statement).into();
    Ok(serde_json::to_vec(&bundle)?)
}

/// Stops the log, copies it whole, starts both and appends another receipt to each.
fn fork(stage: &Stage, log: &mut Server) -> anyhow::Result<Server> {
    stage.say(
        "Now the operator cheats: the log is stopped, copied with its guard and keys, and both copies run.",
    );
    let listen = log.stop_in_place()?;
    stage.copy("log", "fork")?;
    *log = stage.serve("log", &listen)?;
    let fork = stage.serve("fork", ANY_PORT)?;
    stage
        .client(&format!("log add fork {} {} --clock {}", fork.url(), fork.log_key(), fork.clock_key()), 0)?;
    let id = first_id()?;
    for branch in ["demo", "fork"] {
        let out = format!("told-by-{branch}");
        let new = format!("--log {branch} --exchange exchanges.jsonl --id {id} --out {out}");
        stage.client(&format!("receipt new --key issuer.pem {new}"), 0)?;
        stage.client_glob(&format!("append --log {branch} {out}/*.envelope.json"), 0)?;
    }
    Ok(fork)
}

/// The id of the first of the recorded exchanges.
fn first_id() -> anyhow::Result<u64> {
    let line = EXCHANGES.lines().next().context("there are exchanges")?;
    let exchange: Value = serde_json::from_str(line)?;
    exchange["id"].as_u64().context("an exchange has an id")
}

/// A stranger with nothing but the log's public key is convinced.
fn check_evidence(stage: &Stage, log: &Server) -> anyhow::Result<()> {
    let evidence = stage.first("monitor/evidence", ".txt")?;
    stage.say("The evidence holds both checkpoints. Whoever has the log's public key can check it, offline.");
    stage.client(&format!("verify-evidence monitor/evidence/{evidence} --log-key {}", log.log_key()), 0)?;
    Ok(())
}

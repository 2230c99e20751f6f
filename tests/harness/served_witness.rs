//! A witness as its operators run it: `counterfoil witness serve`, a process of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use counterfoil_merkle::key::VerifierKey;

use crate::{Http, Programs, Run, deployment::finish};

/// A witness with its directory and, while it is up, its process.
pub struct ServedWitness {
    programs: Programs,
    home: tempfile::TempDir,
    key: VerifierKey,
    /// Where it listens: from the first start on always there.
    address: Option<SocketAddr>,
    process: Option<Child>,
}

impl ServedWitness {
    /// Makes a witness of these logs; not started.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn init(programs: Programs, name: &str, logs: &[VerifierKey]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(programs.client);
        command.args(["witness", "init", "--name", name, "--listen", "127.0.0.1:0", "--out"]);
        command.arg(home.path());
        for log in logs {
            command.args(["--log", &log.to_string()]);
        }
        let made = finish(&mut command).exits(0);
        let key = made.out.trim().parse().expect("init prints the key");
        Self { programs, home, key, address: None, process: None }
    }

    /// The same, started.
    pub fn start(programs: Programs, name: &str, logs: &[VerifierKey]) -> Self {
        let mut witness = Self::init(programs, name, logs);
        witness.up();
        witness
    }

    /// Its public key.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home().join("witness.toml")
    }

    /// Its line of a policy.
    pub fn policy_line(&self) -> String {
        format!("witness {} {} http://{}\n", self.key.name(), self.key, self.address())
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it was never up.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the witness was up")
    }

    /// A connection to it.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn http(&self) -> Http {
        Http::connect(self.address()).expect("the witness answers")
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn up(&mut self) {
        assert!(self.process.is_none(), "the witness is up");
        let log = File::options().create(true).append(true).open(self.home().join("log"));
        let mut command = self.serve();
        if let Some(address) = self.address {
            command.args(["--listen", &address.to_string()]);
        }
        command.stdout(Stdio::piped()).stderr(log.expect("a file for the witness's log"));
        let mut child = command.spawn().expect("the witness starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let address = out.lines().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening on http://").and_then(|address| address.parse().ok())
        });
        let Some(address) = address else {
            panic!("the witness ended: {:?}\n{}", child.wait(), self.log());
        };
        (self.address, self.process) = (Some(address), Some(child));
    }

    /// Checks all that starting it checks.
    pub fn check(&self) -> Run {
        finish(self.serve().arg("--check"))
    }

    fn serve(&self) -> Command {
        let mut command = Command::new(self.programs.client);
        command.args(["witness", "serve", "--config"]).arg(self.config());
        command
    }

    /// Sends it a signal, by the signal's name.
    ///
    /// # Panics
    /// If it is down.
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("the witness is up").id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &process]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// If it does not end with 0.
    pub fn down(&mut self) {
        self.signal("TERM");
        let status = self.process.take().expect("the witness is up").wait().expect("the witness ends");
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Kills it where it stands.
    ///
    /// # Panics
    /// If it is down.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("the witness is up");
        child.kill().expect("a kill");
        child.wait().expect("the witness ends");
    }

    /// What it wrote to standard error, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home().join("log")).unwrap_or_default()
    }
}

impl Drop for ServedWitness {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // A test that failed leaves its witness behind; both calls may find it gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

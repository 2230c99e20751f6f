//! One log with its directory, its server process and a client's home, all in a temporary place.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use counterfoil_client::load::Issuing;
use serde_json::Value;

use crate::http::Http;

/// Where the programs under test are; `env!("CARGO_BIN_EXE_…")` tells in a test.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// `counterfoil-server`.
    pub server: &'static str,
    /// `counterfoil`.
    pub client: &'static str,
}

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// Checks the exit code and hands the run on.
    ///
    /// # Panics
    /// If it is another one, with all that was said.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// A log with its server.
pub struct Deployment {
    programs: Programs,
    home: tempfile::TempDir,
    directory: PathBuf,
    guard: PathBuf,
    /// The log's origin.
    pub origin: String,
    /// The log's public key.
    pub log_key: String,
    /// The clock's public key.
    pub clock_key: String,
    server: Option<(Child, SocketAddr)>,
    /// Where it listens for operators, if that is apart.
    admin: Option<SocketAddr>,
}

impl Deployment {
    /// Makes a log that admits any valid signature, and starts it.
    pub fn start(programs: Programs, origin: &str) -> Self {
        let mut deployment = Self::init(programs, origin, &["--open"]);
        deployment.up();
        deployment
    }

    /// Makes a log without starting it.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn init(programs: Programs, origin: &str, more: &[&str]) -> Self {
        Self::init_in(programs, &std::env::temp_dir(), origin, more)
    }

    /// The same, in a home below that directory.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn init_in(programs: Programs, place: &Path, origin: &str, more: &[&str]) -> Self {
        let home = tempfile::tempdir_in(place).expect("a temporary directory");
        let (directory, guard) = (home.path().join("log"), home.path().join("guard"));
        let mut command = Command::new(programs.server);
        command.args(["init", "--origin", origin, "--listen", "127.0.0.1:0", "--dir"]);
        command.arg(&directory).arg("--guard").arg(&guard).args(more);
        let made = finish(&mut command).exits(0);
        let key = |name: &str| {
            let line = made.out.lines().find_map(|line| line.strip_prefix(name));
            line.expect("init prints the keys").trim().to_owned()
        };
        let (log_key, clock_key) = (key("log key"), key("clock key"));
        let origin = origin.to_owned();
        Self { programs, home, directory, guard, origin, log_key, clock_key, server: None, admin: None }
    }

    /// Has its tree heads cosigned: lines of witnesses, groups and the quorum for the policy, and lines more for the
    /// configuration's table. The log must be down.
    ///
    /// # Panics
    /// If files cannot be written.
    pub fn witnessed_by(&self, policy: &str, table: &str) {
        assert!(self.server.is_none(), "a running log does not read its configuration");
        let policy = format!("log {}\nwitness clock {}\n{policy}", self.log_key, self.clock_key);
        fs::write(self.policy(), policy).expect("the policy");
        let path = self.directory.join("counterfoil.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        let text = text.split("[witnesses]").next().expect("what is before");
        let text = format!("{}\n[witnesses]\npolicy = \"policy.txt\"\n{table}\n", text.trim_end());
        fs::write(path, text).expect("the configuration");
    }

    /// Replaces parts of its configuration. The log must be down.
    ///
    /// # Panics
    /// If a part is not there.
    pub fn configure(&self, parts: &[(&str, &str)]) {
        assert!(self.server.is_none(), "a running log does not read its configuration");
        let path = self.directory.join("counterfoil.toml");
        let mut text = fs::read_to_string(&path).expect("the configuration");
        for (old, new) in parts {
            assert!(text.contains(old), "{old} in {text}");
            text = text.replace(old, new);
        }
        fs::write(path, text).expect("the configuration");
    }

    /// A copy of the log's directory and guard, as somebody who forks or restores would make it. The log must be down.
    pub fn copy(&self) -> Self {
        assert!(self.server.is_none(), "a running log is not copied");
        let home = tempfile::tempdir().expect("a temporary directory");
        let (directory, guard) = (home.path().join("log"), home.path().join("guard"));
        copy_all(&self.directory, &directory);
        fs::copy(&self.guard, &guard).expect("copying the guard");
        let config = directory.join("counterfoil.toml");
        let text = fs::read_to_string(&config).expect("the configuration");
        let old = self.guard.canonicalize().expect("the guard's path");
        let new = guard.canonicalize().expect("the guard's path");
        let text = text.replace(&old.display().to_string(), &new.display().to_string());
        fs::write(&config, text).expect("the configuration");
        Self {
            programs: self.programs,
            home,
            directory,
            guard,
            origin: self.origin.clone(),
            log_key: self.log_key.clone(),
            clock_key: self.clock_key.clone(),
            server: None,
            admin: None,
        }
    }

    /// Lets the server, which is up, listen where it does now for good: clients find it after a restart.
    ///
    /// # Panics
    /// If the configuration cannot be changed.
    pub fn keep_address(&self) {
        let config = self.directory.join("counterfoil.toml");
        let text = fs::read_to_string(&config).expect("the configuration");
        let text = text.replace("\"127.0.0.1:0\"", &format!("\"{}\"", self.address()));
        fs::write(&config, text).expect("the configuration");
    }

    /// The directory that all of this is in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The log's directory: configuration, keys, policy, data.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The guard file.
    pub fn guard(&self) -> &Path {
        &self.guard
    }

    /// The policy file that `init` wrote.
    pub fn policy(&self) -> PathBuf {
        self.directory.join("policy.txt")
    }

    /// Where the server listens.
    ///
    /// # Panics
    /// If it is down.
    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("the server is up").1
    }

    /// Where the server listens for operators.
    ///
    /// # Panics
    /// If that is not apart.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("an address for operators")
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A connection to the server.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn http(&self) -> Http {
        Http::connect(self.address()).expect("the server answers")
    }

    /// Starts the server and waits until it takes receipts.
    ///
    /// # Panics
    /// If it does not within five minutes: a long log is read again on a busy machine.
    pub fn up(&mut self) {
        self.spawn();
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.http().get("/readyz").map_or(0, |reply| reply.status) != 200 {
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", self.server_log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the server and waits until it listens, ready or not.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn spawn(&mut self) {
        assert!(self.server.is_none(), "the server is up");
        let log = File::options().create(true).append(true).open(self.home().join("server.log"));
        let mut child = self
            .server_command("run")
            .stdout(Stdio::piped())
            .stderr(log.expect("a file for the server's log"))
            .spawn()
            .expect("the server starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let mut admin = None;
        let address = out.lines().map_while(Result::ok).find_map(|line| {
            if let Some(said) = line.strip_prefix("for operators on http://") {
                admin = said.parse().ok();
            }
            line.strip_prefix("listening on ")?.split_once("://")?.1.parse().ok()
        });
        let Some(address) = address else {
            panic!("the server ended: {:?}\n{}", child.wait(), self.server_log());
        };
        self.server = Some((child, address));
        self.admin = admin;
    }

    /// Stops the server in order.
    ///
    /// # Panics
    /// If it does not end with 0.
    pub fn down(&mut self) {
        let (mut child, _) = self.server.take().expect("the server is up");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        let status = child.wait().expect("the server ends");
        assert!(status.success(), "{status}\n{}", self.server_log());
    }

    /// Kills the server where it stands.
    ///
    /// # Panics
    /// If it is down.
    pub fn kill(&mut self) {
        let (mut child, _) = self.server.take().expect("the server is up");
        child.kill().expect("a kill");
        child.wait().expect("the server ends");
    }

    /// The server's process, for signals.
    ///
    /// # Panics
    /// If it is down.
    pub fn process(&self) -> u32 {
        self.server.as_ref().expect("the server is up").0.id()
    }

    /// What the server's process has in memory, in bytes.
    ///
    /// # Panics
    /// If it is down.
    pub fn memory(&self) -> u64 {
        self.memory_line("VmRSS:")
    }

    /// The most that it ever had in memory, in bytes.
    ///
    /// # Panics
    /// If it is down.
    pub fn memory_peak(&self) -> u64 {
        self.memory_line("VmHWM:")
    }

    fn memory_line(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("what it has in memory");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kilobytes * 1024
    }

    /// What the server wrote to standard error, over all its lives.
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.home().join("server.log")).unwrap_or_default()
    }

    /// Lets the server read its files again.
    ///
    /// # Panics
    /// If it is down.
    pub fn hang_up(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.process().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Runs a command of the server on this log's configuration.
    pub fn server_run(&self, arguments: &[&str]) -> Run {
        let (command, more) = arguments.split_first().expect("a command");
        finish(self.server_command(command).args(more))
    }

    fn server_command(&self, command: &str) -> Command {
        let mut server = Command::new(self.programs.server);
        server.arg(command).arg("--config").arg(self.directory.join("counterfoil.toml"));
        server
    }

    /// Appends receipts, each with its proof.
    ///
    /// # Panics
    /// If the log does not take one.
    pub fn append(&self, issuing: &mut Issuing, count: usize) {
        let mut http = self.http();
        for _ in 0..count {
            let reply = http.post("/v1/receipts", issuing.issue().1.as_bytes()).expect("the server answers");
            assert_eq!(reply.status, 201, "{}", reply.text());
        }
    }

    /// Appends receipts in one batch: the log never has only some of them.
    ///
    /// # Panics
    /// If the log does not take them all.
    pub fn append_at_once(&self, issuing: &mut Issuing, count: usize) {
        let lines: String = (0..count).map(|_| issuing.issue().1 + "\n").collect();
        let reply = self.http().post("/v1/receipts/batch", lines.as_bytes()).expect("the server answers");
        let refused = reply.text().contains(r#""error""#);
        assert_eq!((reply.status / 100, refused), (2, false), "{}", reply.text());
    }

    /// Runs the client, in this deployment's home and with a context of its own.
    pub fn client(&self, arguments: &[&str]) -> Run {
        let mut client = Command::new(self.programs.client);
        client.current_dir(self.home()).env("XDG_CONFIG_HOME", self.home().join("config")).args(arguments);
        finish(&mut client)
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.server.take() {
            // A test that failed leaves its server behind; both calls may find it gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Run { code, out: text(&output.stdout), err: text(&output.stderr) }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for item in fs::read_dir(from).expect("a directory") {
        let item = item.expect("a directory's item");
        let target = to.join(item.file_name());
        if item.file_type().expect("a type").is_dir() {
            copy_all(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).expect("a copy");
        }
    }
}

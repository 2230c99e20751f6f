//! `counterfoil monitor --config` as a process, in a home of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use counterfoil_tests::{Deployment, Http, Run};
use serde_json::Value;

use super::receiver::SECRET;
use crate::PROGRAMS;

/// How long anything may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A monitor's home: its configuration, what it keeps, and what it was told to write.
pub(crate) struct Watching {
    home: tempfile::TempDir,
    process: Option<(Child, SocketAddr)>,
}

impl Watching {
    /// A monitor with that configuration, which has a state directory already. Not running yet.
    pub(crate) fn new(config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let secret = format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET));
        let mut file = File::options();
        file.write(true).create_new(true).mode(0o600).open(home.path().join("secret")).unwrap();
        fs::write(home.path().join("secret"), secret).unwrap();
        let hook = home.path().join("hook.sh");
        // One file a message; whoever reads it finds it whole.
        let script = "#!/bin/sh\ncp \"$COUNTERFOIL_FILE\" \"$1/.$COUNTERFOIL_ID\" && mv \"$1/.$COUNTERFOIL_ID\" \"$1/$COUNTERFOIL_ID\"\n";
        fs::write(&hook, script).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(home.path().join("hooked")).unwrap();
        let watching = Self { home, process: None };
        watching.configure(config);
        watching
    }

    pub(crate) fn configure(&self, config: &str) {
        let text = format!("state = 'state'\nlisten = '127.0.0.1:0'\ninterval_s = 1\n{config}");
        fs::write(self.path("monitor.toml"), text).unwrap();
    }

    /// The hook's table in a configuration: it leaves a file for each message.
    pub(crate) fn hook_table() -> &'static str {
        "[[sink]]\nname = 'hook'\nexec = ['./hook.sh', './hooked']\n"
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts it and waits until it serves.
    pub(crate) fn up(&mut self) {
        self.up_with(&["monitor", "--follow", "--config", "monitor.toml"]);
    }

    /// Starts it with these arguments and waits until it serves.
    pub(crate) fn up_with(&mut self, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = out.by_ref().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening on http://").and_then(|address| address.parse().ok())
        });
        // What it prints further must go somewhere.
        std::thread::spawn(move || out.for_each(drop));
        let address = address.unwrap_or_else(|| panic!("{:?}: {}", child.wait(), self.log()));
        self.process = Some((child, address));
    }

    /// Looks once at all logs.
    pub(crate) fn once(&self) -> Run {
        self.run(&["monitor", "--once", "--config", "monitor.toml"])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Run { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAMS.client);
        command.current_dir(self.home.path()).args(arguments);
        command
    }

    /// Ends it in order, and gives its exit code.
    pub(crate) fn down(&mut self) -> i32 {
        let (mut child, _) = self.process.take().unwrap();
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        child.wait().unwrap().code().unwrap()
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        let (mut child, _) = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn http(&self) -> Http {
        Http::connect(self.process.as_ref().unwrap().1).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.process.as_ref().unwrap().1)
    }

    pub(crate) fn status(&self) -> Value {
        self.http().get("/status.json").unwrap().json()
    }

    pub(crate) fn metrics(&self) -> String {
        self.http().get("/metrics").unwrap().text().to_owned()
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all of a log has been read.
    pub(crate) fn until_read(&self, log: &Deployment, size: u64) {
        self.until("all is read", || {
            let status = self.status();
            let logs = status["logs"].as_array().unwrap();
            logs.iter().any(|shown| shown["origin"] == log.origin.as_str() && shown["size"] == size)
        });
    }

    /// Waits until it has looked at every log, by a look that began after now.
    pub(crate) fn until_looked(&self) {
        // A look that is under way may have seen what is past: the first to end after it has not.
        self.until_a_look_ends();
        self.until_a_look_ends();
    }

    fn until_a_look_ends(&self) {
        let looked = |status: &Value| -> Vec<Value> {
            status["logs"].as_array().unwrap().iter().map(|log| log["looked"].clone()).collect()
        };
        let before = looked(&self.status());
        self.until("it looks at all logs", || {
            let now = looked(&self.status());
            now.iter().zip(&before).all(|(now, before)| !now.is_null() && now != before)
        });
    }

    /// The lines of a file, as far as they are whole.
    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        lines(&self.path(name))
    }

    /// What the hook has left.
    pub(crate) fn hooked(&self) -> Vec<Value> {
        let files = fs::read_dir(self.path("hooked")).unwrap().map(|file| file.unwrap().path());
        let whole = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
        files.filter(whole).flat_map(|path| lines(&path)).collect()
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            // A test that failed leaves it behind; both calls may find it gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

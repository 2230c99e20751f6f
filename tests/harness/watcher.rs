//! A monitor as its users run it: `counterfoil monitor --follow`, a process of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{Programs, Run, deployment::finish};

/// A monitor with its state and, while it is up, its process.
pub struct Watcher {
    programs: Programs,
    home: PathBuf,
    process: Option<Child>,
}

impl Watcher {
    /// The monitor of a log that `log add` called `l`, in that home; not started.
    pub fn new(programs: Programs, home: &Path) -> Self {
        Self { programs, home: home.to_owned(), process: None }
    }

    /// Starts it, if it is not up; it looks every second.
    ///
    /// # Panics
    /// If the program cannot be run.
    pub fn up(&mut self) {
        if self.process.is_some() {
            return;
        }
        let said = || File::options().create(true).append(true).open(self.home.join("monitor.log"));
        let mut command = self.command("--follow");
        command.args(["--interval", "1"]).stdin(Stdio::null());
        command.stdout(said().expect("a file for what it says"));
        command.stderr(said().expect("a file for what it says"));
        self.process = Some(command.spawn().expect("the monitor starts"));
    }

    /// Kills it where it stands, if it is up.
    ///
    /// # Panics
    /// If it had ended by itself.
    pub fn kill(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        let ended = child.try_wait().expect("a process");
        assert!(ended.is_none(), "the monitor ended by itself: {ended:?}\n{}", self.said());
        child.kill().expect("a kill");
        child.wait().expect("the monitor ends");
    }

    /// Looks once.
    pub fn once(&self) -> Run {
        finish(&mut self.command("--once"))
    }

    /// What it said, over all its lives.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.join("monitor.log")).unwrap_or_default()
    }

    /// Its state.
    pub fn state(&self) -> PathBuf {
        self.home.join("monitor")
    }

    fn command(&self, how: &str) -> Command {
        let mut command = Command::new(self.programs.client);
        command.current_dir(&self.home).env("XDG_CONFIG_HOME", self.home.join("config"));
        command.args(["monitor", how, "--state", "monitor", "--log", "l"]);
        command
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // A test that failed leaves it behind; both calls may find it gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

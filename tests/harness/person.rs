//! Somebody with a home of their own, who knows logs by name.

use std::{path::Path, process::Command};

use crate::deployment::{Programs, Run, finish};

/// A home directory, and the client in it.
pub struct Person {
    programs: Programs,
    home: tempfile::TempDir,
}

impl Person {
    /// Somebody who knows nothing yet.
    ///
    /// # Panics
    /// If there is no place for a home.
    pub fn new(programs: Programs) -> Self {
        Self { programs, home: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs the client.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut client = Command::new(self.programs.client);
        client.current_dir(self.home()).env("XDG_CONFIG_HOME", self.home().join("config"));
        finish(client.args(arguments))
    }
}

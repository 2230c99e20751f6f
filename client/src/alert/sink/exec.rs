//! A program that is started for each message.
//!
//! It is started as it is named, by no shell, with the message's JSON in a file: what strangers wrote stands there and
//! nowhere else. Its environment has what is small and ours.

use std::{io::Write as _, path::PathBuf, time::Duration};

use super::{Message, TellError};
use crate::program;

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program, then its arguments.
    pub command: Vec<String>,
    /// How long it may take; then it is killed, and all that it started in its process group.
    pub timeout: Duration,
    /// Where its files are put.
    pub folder: PathBuf,
}

impl Hook {
    pub(super) async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| TellError::passing("no program"))?;
        let failed = |error| TellError::passing(format_args!("{program}: {error}"));
        // Removed when dropped.
        let mut file = tempfile::Builder::new()
            .prefix("alert-")
            .suffix(".json")
            .tempfile_in(&self.folder)
            .map_err(failed)?;
        file.write_all(message.json.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        let mut command = program::command(program, arguments);
        command
            .env("COUNTERFOIL_EVENT", message.event.as_str())
            .env("COUNTERFOIL_ID", &message.id)
            .env("COUNTERFOIL_FILE", file.path())
            .envs(message.facts.iter().map(|(name, value)| (format!("COUNTERFOIL_{name}"), value)));
        program::run(command, program, self.timeout).await.map_err(TellError::passing)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use rustix::process::{Pid, Signal};

    use super::*;
    use crate::{alert::message::Event, program::OUTPUT_BYTES_MAX};

    fn hook(folder: &Path, script: &str) -> Hook {
        let path = folder.join("hook.sh");
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let command =
            vec![path.display().to_string(), folder.display().to_string(), "$(touch bad) ; x".to_owned()];
        Hook { command, timeout: Duration::from_secs(20), folder: folder.to_owned() }
    }

    fn message() -> Message {
        let place = "entry 7; touch bad".to_owned();
        let json = format!("{{\"x\":\"{}\"}}", "y".repeat(300_000));
        Message { id: "some-id".to_owned(), event: Event::Finding, facts: vec![("PLACE", place)], json }
    }

    /// A program gets small things in its environment, the whole in a file, and no shell between.
    #[tokio::test]
    async fn programs_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"cat "$COUNTERFOIL_FILE" > "$1/json"; env > "$1/env"; printf %s "$2" > "$1/argument"; ls "$1" > "$1/files""#;
        hook(folder.path(), script).tell(&message()).await.unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("json"), message().json + "\n");
        assert_eq!(read("argument"), "$(touch bad) ; x");
        let environment = read("env");
        for line in
            ["COUNTERFOIL_EVENT=finding", "COUNTERFOIL_ID=some-id", "COUNTERFOIL_PLACE=entry 7; touch bad"]
        {
            assert!(environment.lines().any(|found| found == line), "{environment}");
        }
        assert!(!environment.contains("CARGO"), "{environment}");
        assert!(!Path::new("bad").exists() && !folder.path().join("bad").exists());
        let left = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        assert!(
            !left.into_iter().any(|name| name.to_string_lossy().starts_with("alert-")),
            "the file is gone"
        );
    }

    /// What a program says when it fails is kept, in part; however much it says, it is not held up.
    #[tokio::test]
    async fn failures_are_told_with_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let script = "head -c 3000000 /dev/zero | tr '\\0' 'z'; echo no pager >&2; exit 3";
        let error = hook(folder.path(), script).tell(&message()).await.unwrap_err();
        assert!(
            error.reason.contains("exit status: 3") && error.reason.contains("no pager"),
            "{}",
            error.reason
        );
        assert!(error.reason.len() < 2 * OUTPUT_BYTES_MAX && !error.refused);
        let none = Hook { command: vec!["/nowhere/at/all".to_owned()], ..hook(folder.path(), "") };
        assert!(none.tell(&message()).await.unwrap_err().reason.contains("/nowhere/at/all"));
    }

    /// A program that does not end is killed, with all that it started.
    #[tokio::test]
    async fn programs_end_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"sleep 600 & echo $! > "$1/child"; wait"#;
        let slow = Hook { timeout: Duration::from_millis(500), ..hook(folder.path(), script) };
        let error = slow.tell(&message()).await.unwrap_err();
        assert!(error.reason.contains("did not end"), "{}", error.reason);
        let child = fs::read_to_string(folder.path().join("child")).unwrap();
        let gone = || match fs::read_to_string(format!("/proc/{}/stat", child.trim())) {
            // A zombie is waited for by whoever adopted it.
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        for _ in 0..500 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {child} still runs");
    }

    /// What a program leaves running in the background does not hold the next message up.
    #[tokio::test]
    async fn what_is_left_running_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"sleep 20 & echo $! > "$1/child""#;
        hook(folder.path(), script).tell(&message()).await.unwrap();
        let child = fs::read_to_string(folder.path().join("child")).unwrap();
        let pid = child.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
}

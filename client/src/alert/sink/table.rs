//! Sinks as they stand in the configuration.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use counterfoil_receipt::{Timestamp, audit::Class};
use serde::Deserialize;

use super::{Hook, Lines, Secret, Sink, Way, Webhook};
use crate::{
    file,
    outbound::{Guarded, Network, Reachable},
};

const NAME_BYTES_MAX: usize = 64;
const CERTIFICATES_BYTES_MAX: usize = 4 * 1024 * 1024;
const TIMEOUT_S: u64 = 30;
const TIMEOUT_S_MAX: u64 = 600;
const HEARTBEAT_S_MIN: u64 = 10;

/// One `[[sink]]` table: exactly one of `lines`, `exec` and `webhook`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkTable {
    /// What the sink is called. Another name is another sink, which starts with what is found from then on.
    pub name: String,
    /// The classes of findings that it is told of, such as `FORK`; all, if there is none.
    #[serde(default)]
    pub classes: Vec<String>,
    /// How often, in seconds, it is told that the monitor and its looks at every log live.
    pub heartbeat_s: Option<u64>,
    /// How long one message may take, in seconds. Default: 30.
    pub timeout_s: Option<u64>,
    /// A file that a line of JSON is appended to for each message; `-` is standard output.
    pub lines: Option<PathBuf>,
    /// A program and its arguments, started for each message. A program without a slash is looked for in PATH.
    pub exec: Option<Vec<String>>,
    /// An https address that each message is posted to.
    pub webhook: Option<String>,
    /// For a webhook: the file of the secret that its messages are signed with, `whsec_` and base64.
    pub secret_file: Option<PathBuf>,
    /// For a webhook: whether it may be http.
    #[serde(default)]
    pub allow_http: bool,
    /// For a webhook: addresses and networks that are not public, and that it may be at all the same.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// For a webhook: PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
}

impl SinkTable {
    /// Reads a table. Paths are relative to `base`; programs' files are put into `scratch`.
    ///
    /// # Errors
    /// Names the sink and the field that cannot be used.
    pub fn read(&self, base: &Path, scratch: &Path, now: fn() -> Timestamp) -> Result<Sink, SinkError> {
        let error = |field, reason: String| SinkError::Field { sink: self.name.clone(), field, reason };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.name.is_empty()
            || self.name.len() > NAME_BYTES_MAX
            || self.name.starts_with('.')
            || !self.name.chars().all(allowed)
        {
            let reason =
                format!("1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores, no dot first");
            return Err(error("name", reason));
        }
        let mut classes = BTreeSet::new();
        for name in &self.classes {
            let all: Vec<_> = Class::ALL.iter().map(|class| class.as_str()).collect();
            let class = Class::from_code(name);
            classes.insert(
                class.ok_or_else(|| error("classes", format!("{name:?} is none of {}", all.join(", "))))?,
            );
        }
        if classes.is_empty() {
            classes.extend(Class::ALL);
        }
        if self.heartbeat_s.is_some_and(|seconds| seconds < HEARTBEAT_S_MIN) {
            return Err(error("heartbeat_s", format!("at least {HEARTBEAT_S_MIN}")));
        }
        let timeout_s = self.timeout_s.unwrap_or(TIMEOUT_S);
        if !(1..=TIMEOUT_S_MAX).contains(&timeout_s) {
            return Err(error("timeout_s", format!("1 to {TIMEOUT_S_MAX}")));
        }
        let timeout = Duration::from_secs(timeout_s);
        let way = match (&self.lines, &self.exec, &self.webhook) {
            (Some(path), None, None) if path.as_os_str() == "-" => Way::Lines(Lines::Out),
            (Some(path), None, None) => Way::Lines(Lines::File(base.join(path))),
            (None, Some(command), None) => {
                let mut command = command.clone();
                let program =
                    command.first_mut().ok_or_else(|| error("exec", "names no program".to_owned()))?;
                // A name alone is looked for in PATH.
                if program.contains('/') {
                    *program = base.join(&program).display().to_string();
                }
                Way::Exec(Hook { command, timeout, folder: scratch.to_owned() })
            }
            (None, None, Some(url)) => Way::Webhook(self.webhook(url, base, timeout, now)?),
            _ => return Err(error("name", "say exactly one of lines, exec and webhook".to_owned())),
        };
        if self.webhook.is_none() {
            self.check_unused().map_err(|field| error(field, "is for webhooks".to_owned()))?;
        }
        let heartbeat = self.heartbeat_s.map(Duration::from_secs);
        Ok(Sink { name: self.name.clone(), classes, heartbeat, way })
    }

    fn webhook(
        &self,
        url: &str,
        base: &Path,
        timeout: Duration,
        now: fn() -> Timestamp,
    ) -> Result<Webhook, SinkError> {
        let error = |field, reason: String| SinkError::Field { sink: self.name.clone(), field, reason };
        let Some(path) = &self.secret_file else {
            return Err(error(
                "secret_file",
                "a webhook's messages are signed: name the secret's file".to_owned(),
            ));
        };
        let secret = Secret::read(&base.join(path)).map_err(|reason| error("secret_file", reason))?;
        let networks: Result<Vec<Network>, _> =
            self.allow_addresses.iter().map(|text| text.parse()).collect();
        let networks = networks.map_err(|reason| error("allow_addresses", reason))?;
        let read = |path| file::read(&base.join(path), CERTIFICATES_BYTES_MAX);
        let authorities = self.ca.as_ref().map(read).transpose();
        let authorities =
            authorities.map_err(|reason| error("ca", format!("{reason}: {}", reason.source)))?;
        let reachable = Reachable::new(&networks);
        let guarded = Guarded { reachable, http: self.allow_http, authorities, timeout };
        Webhook::new(url, secret, &guarded, now).map_err(|reason| error("webhook", reason))
    }

    fn check_unused(&self) -> Result<(), &'static str> {
        match () {
            () if self.secret_file.is_some() => Err("secret_file"),
            () if self.allow_http => Err("allow_http"),
            () if !self.allow_addresses.is_empty() => Err("allow_addresses"),
            () if self.ca.is_some() => Err("ca"),
            () => Ok(()),
        }
    }
}

/// Why sinks cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A field of a sink.
    #[error("sink {sink:?}, {field}: {reason}")]
    Field {
        /// The sink's name.
        sink: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two sinks of one name.
    #[error("sink {sink:?}, name: there are two sinks of this name")]
    Twice {
        /// The name.
        sink: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Sink, String> {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        file::create(&folder.path().join("secret"), secret, file::Access::Secret).unwrap();
        let table: SinkTable = toml::from_str(text).map_err(|error| error.to_string())?;
        let now = || Timestamp::from_millis(0).unwrap();
        table.read(folder.path(), folder.path(), now).map_err(|error| error.to_string())
    }

    #[test]
    fn sinks_are_of_three_kinds() {
        for (text, way) in [
            ("name = 's'\nlines = '-'", "lines"),
            ("name = 's'\nlines = 'alerts.jsonl'\nheartbeat_s = 60", "lines"),
            ("name = 's'\nexec = ['/bin/true', 'x']\nclasses = ['FORK', 'INVALID']", "exec"),
            ("name = 's'\nwebhook = 'https://hooks.example/x'\nsecret_file = 'secret'", "webhook"),
            (
                "name = 's'\nwebhook = 'http://127.0.0.1:1/'\nsecret_file = 'secret'\nallow_http = true\n\
              allow_addresses = ['127.0.0.1']",
                "webhook",
            ),
        ] {
            assert_eq!(read(text).unwrap().way.as_str(), way, "{text}");
        }
        assert_eq!(read("name = 's'\nlines = '-'").unwrap().classes.len(), Class::ALL.len());
        let two = read("name = 's'\nlines = '-'\nclasses = ['FORK', 'INVALID']").unwrap();
        assert_eq!(two.classes, BTreeSet::from([Class::Fork, Class::Invalid]));
    }

    /// Mistakes are refused, and named by sink and field.
    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("lines = '-'", "missing field `name`"),
            ("name = '../x'\nlines = '-'", "sink \"../x\", name: 1 to 64"),
            ("name = 's'", "sink \"s\", name: say exactly one"),
            ("name = 's'\nlines = '-'\nexec = ['x']", "sink \"s\", name: say exactly one"),
            ("name = 's'\nexec = []", "sink \"s\", exec: names no program"),
            ("name = 's'\nexec = 'echo x'", "expected a sequence"),
            ("name = 's'\nlines = '-'\nclasses = ['fork']", "sink \"s\", classes: \"fork\" is none of FORK"),
            ("name = 's'\nlines = '-'\nheartbeat_s = 1", "sink \"s\", heartbeat_s: at least"),
            ("name = 's'\nlines = '-'\ntimeout_s = 0", "sink \"s\", timeout_s: 1 to"),
            ("name = 's'\nlines = '-'\nallow_http = true", "sink \"s\", allow_http: is for webhooks"),
            ("name = 's'\nlines = '-'\nsecret_file = 'secret'", "sink \"s\", secret_file: is for webhooks"),
            ("name = 's'\nlines = '-'\nurl = 'x'", "unknown field `url`"),
            ("name = 's'\nwebhook = 'https://h.example/'", "sink \"s\", secret_file: a webhook's"),
            (
                "name = 's'\nwebhook = 'https://h.example/'\nsecret_file = 'none'",
                "sink \"s\", secret_file: cannot read",
            ),
            (
                "name = 's'\nwebhook = 'http://h.example/'\nsecret_file = 'secret'",
                "sink \"s\", webhook: http://h.example/: needs https",
            ),
            ("name = 's'\nwebhook = 'https://127.0.0.1/'\nsecret_file = 'secret'", "127.0.0.1 is loopback"),
            (
                "name = 's'\nwebhook = 'https://h.example/'\nsecret_file = 'secret'\nallow_addresses = ['x']",
                "sink \"s\", allow_addresses: \"x\" is no address",
            ),
            (
                "name = 's'\nwebhook = 'https://h.example/'\nsecret_file = 'secret'\nca = 'none'",
                "sink \"s\", ca: cannot read",
            ),
        ] {
            let error = read(text).map(|sink| sink.name).unwrap_err();
            assert!(error.contains(message), "{text}\n{error}");
        }
    }
}

//! The configuration of a monitor: one TOML file. Every key is documented on its field; unknown keys are refused.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use counterfoil_merkle::{
    TreeHead, TreeSize,
    key::{Algorithm, VerifierKey},
    policy::{POLICY_BYTES_MAX, PolicyError},
};
use counterfoil_receipt::Timestamp;
use serde::Deserialize;

use crate::{
    alert::{
        self, Sink,
        queue::QUEUE_BYTES_MIN,
        sink::{SinkError, SinkTable},
    },
    file::{self, FileError},
    hearsay::peers::{Peer, PeerError, PeerTable},
    log::{KnownLog, LogPolicy},
    monitor::{STALE_AFTER_S, Settings, Vantage, check_distinct, distinct::DistinctError},
    source::{Connection, Source},
    watch::{KnownGoodTable, RuleError, RuleTable, Watch},
};

/// A configuration with every key, explained.
pub const EXAMPLE: &str = include_str!("example.toml");

const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
const CERTIFICATES_BYTES_MAX: usize = 4 * 1024 * 1024;
const NAME_BYTES_MAX: usize = 64;
const INTERVAL_S: std::ops::RangeInclusive<u64> = 1..=86_400;

/// How often a file of a log is asked for again.
const RETRIES: u32 = 1;

/// All that a monitor is told. Paths are relative to the file's own directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory for all that the monitor keeps, made if it is not there.
    pub state: PathBuf,
    /// Seconds between two looks at a log. Default: 10.
    #[serde(default = "default_interval")]
    pub interval_s: u64,
    /// Address and port to serve the status page, metrics, gossip and mirrors on. Default: none of it is served.
    pub listen: Option<SocketAddr>,
    /// Seconds that something must be out before anybody is told. Default: 600.
    #[serde(default = "default_outage")]
    pub outage_after_s: u64,
    /// Bytes that the queue of alerts may take. Default: 64 MiB.
    #[serde(default = "default_queue")]
    pub queue_bytes_max: u64,
    /// The logs.
    #[serde(rename = "log", default)]
    pub logs: Vec<LogTable>,
    /// What to be told of beside what is wrong.
    #[serde(rename = "watch", default)]
    pub rules: Vec<RuleTable>,
    /// What rules no longer alert to.
    #[serde(default)]
    pub known_good: Vec<KnownGoodTable>,
    /// Who is told.
    #[serde(rename = "sink", default)]
    pub sinks: Vec<SinkTable>,
    /// Monitors to exchange checkpoints with.
    #[serde(rename = "peer", default)]
    pub peers: Vec<PeerTable>,
}

/// One `[[log]]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogTable {
    /// What the log is called here.
    pub name: String,
    /// The key that signs its checkpoints (a vkey); the key's name is the log's origin.
    pub key: String,
    /// The key of its clock (a vkey). Without it no times are checked.
    pub clock: Option<String>,
    /// Where it is read from: a URL, or the path of a directory.
    pub url: String,
    /// PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Other places that show it: mirrors, proxies, witnesses.
    #[serde(rename = "vantage", default)]
    pub vantages: Vec<VantageTable>,
    /// The policy (C2SP tlog-policy) that its checkpoints must satisfy.
    pub policy: Option<String>,
    /// The file of that policy.
    pub policy_file: Option<PathBuf>,
    /// Seconds after which the newest time that it attested is too old. Default: 300.
    pub stale_after_s: Option<u64>,
    /// A tree that the log's must start with, known from elsewhere: `SIZE:ROOT`, the root in hex. Without one, the first
    /// look at the log is trusted.
    pub expect: Option<String>,
    /// A file, best on another disk, that marks how far the log was verified, so that the state directory cannot be
    /// rolled back unnoticed.
    pub mark: Option<PathBuf>,
    /// Whether entries and statements are kept and served, so that they outlive the log.
    #[serde(default)]
    pub keep: bool,
}

/// One `[[log.vantage]]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VantageTable {
    /// What the place is called, in findings.
    pub name: String,
    /// Where it is: a URL, or the path of a directory; of a witness, its monitoring prefix.
    pub url: String,
    /// Whether it is a witness, which shows the newest checkpoint that it cosigned and nothing else.
    #[serde(default)]
    pub witness: bool,
    /// PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// A configuration, read and checked: all that a fleet needs to start.
#[derive(Debug)]
pub struct Plan {
    /// Directory for all that is kept.
    pub state: PathBuf,
    /// Time between two looks at a log.
    pub interval: Duration,
    /// Where to serve.
    pub listen: Option<SocketAddr>,
    /// The logs.
    pub logs: Vec<LogPlan>,
    /// How alerts are kept.
    pub alerts: alert::Settings,
    /// Who is told.
    pub sinks: Vec<Sink>,
    /// Who is gossiped with.
    pub peers: Vec<Peer>,
}

/// One log, ready to be watched.
#[derive(Clone, Debug)]
pub struct LogPlan {
    /// What it is called here.
    pub name: String,
    /// Its keys and address.
    pub known: KnownLog,
    /// Where what is verified of it is kept.
    pub state: PathBuf,
    /// Where it is looked at from, the log itself first.
    pub vantages: Vec<Vantage>,
    /// How it is watched.
    pub settings: Settings,
    /// What to be told of beside what is wrong.
    pub watch: Watch,
    /// Checkpoints of it that were seen elsewhere.
    pub notes: Vec<String>,
}

const fn default_interval() -> u64 {
    10
}

const fn default_outage() -> u64 {
    alert::OUTAGE_AFTER_S
}

const fn default_queue() -> u64 {
    alert::QUEUE_BYTES_MAX
}

/// Where, below the state directory, alerts are kept.
pub fn alerts_directory(state: &Path) -> PathBuf {
    state.join("alerts")
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Names the table and the field that cannot be used.
    pub fn read(path: &Path, now: fn() -> Timestamp) -> Result<Plan, ConfigError> {
        let config: Self = file::read_toml(path, CONFIG_BYTES_MAX)?;
        config.plan(path.parent().unwrap_or_else(|| Path::new(".")), now)
    }

    /// Checks all of it. Paths are relative to `base`.
    pub fn plan(&self, base: &Path, now: fn() -> Timestamp) -> Result<Plan, ConfigError> {
        let value = |key, reason: String| ConfigError::Value { key, reason };
        if !INTERVAL_S.contains(&self.interval_s) {
            let reason = format!("{} to {}", INTERVAL_S.start(), INTERVAL_S.end());
            return Err(value("interval_s", reason));
        }
        if self.queue_bytes_max < QUEUE_BYTES_MIN {
            return Err(value("queue_bytes_max", format!("at least {QUEUE_BYTES_MIN}")));
        }
        if self.logs.is_empty() {
            return Err(value("log", "there is none to watch".to_owned()));
        }
        let state = base.join(&self.state);
        let logs: Result<Vec<_>, _> = self.logs.iter().map(|log| self.log(log, base, &state)).collect();
        let logs = logs?;
        if let Some(name) = twice(logs.iter().map(|log| log.name.as_str())) {
            let reason = "there are two logs of this name".to_owned();
            return Err(ConfigError::Log { log: name.to_owned(), field: "name", reason });
        }
        check_distinct(logs.iter().map(|log| &log.known))?;
        self.check_rules(&logs)?;
        let scratch = alert::scratch(&alerts_directory(&state));
        let sinks: Result<Vec<_>, _> = self.sinks.iter().map(|sink| sink.read(base, &scratch, now)).collect();
        let sinks = sinks?;
        if let Some(sink) = twice(sinks.iter().map(|sink| sink.name.as_str())) {
            return Err(SinkError::Twice { sink: sink.to_owned() }.into());
        }
        let peers: Result<Vec<_>, _> = self.peers.iter().map(|peer| peer.read(base)).collect();
        let alerts =
            alert::Settings { queue_bytes_max: self.queue_bytes_max, outage_after_s: self.outage_after_s };
        let interval = Duration::from_secs(self.interval_s);
        Ok(Plan { state, interval, listen: self.listen, logs, alerts, sinks, peers: peers? })
    }

    fn log(&self, table: &LogTable, base: &Path, state: &Path) -> Result<LogPlan, ConfigError> {
        let error = |field, reason: String| ConfigError::Log { log: table.name.clone(), field, reason };
        check_name(&table.name).map_err(|reason| error("name", reason))?;
        let vkey = |field, text: &str, algorithm| {
            let key: VerifierKey = text.parse().map_err(|reason| error(field, format!("{reason}")))?;
            let right = key.algorithm() == algorithm;
            if right { Ok(key) } else { Err(error(field, "a key of the wrong algorithm".to_owned())) }
        };
        let key = vkey("key", &table.key, Algorithm::Ed25519)?;
        let clock =
            table.clock.as_ref().map(|text| vkey("clock", text, Algorithm::CosignatureV1)).transpose()?;
        let policy = policy(table, base).map_err(|(field, reason)| error(field, reason))?;
        if policy.as_ref().is_some_and(|policy| !policy.lists(&key)) {
            return Err(error("policy", "does not name the log".to_owned()));
        }
        let clock = clock.or_else(|| policy.as_ref()?.policy().clock_of(&key).cloned());
        let vantages = vantages(table, base).map_err(|(field, reason)| error(field, reason))?;
        let settings = Settings {
            stale_after_s: table.stale_after_s.unwrap_or(STALE_AFTER_S),
            keep: table.keep,
            expect: table
                .expect
                .as_deref()
                .map(tree_head)
                .transpose()
                .map_err(|reason| error("expect", reason))?,
            mark: table.mark.as_ref().map(|path| base.join(path)),
            ..Settings::default()
        };
        let watch = Watch::read(&self.rules, &self.known_good, &table.name)?;
        let state = state.join("log").join(crate::hearsay::path_name(&key).to_string());
        let known = KnownLog { key, clock, url: table.url.clone(), policy };
        let notes = Vec::new();
        Ok(LogPlan { name: table.name.clone(), known, state, vantages, settings, watch, notes })
    }

    fn check_rules(&self, logs: &[LogPlan]) -> Result<(), ConfigError> {
        for rule in &self.rules {
            let unknown = |name: &&String| !logs.iter().any(|log| log.name == **name);
            if let Some(name) = rule.logs.iter().find(unknown) {
                let reason = format!("no log is called {name:?}");
                return Err(RuleError::Rule { rule: rule.name.clone(), field: "logs", reason }.into());
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(format!("1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores"));
    }
    Ok(())
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn tree_head(text: &str) -> Result<TreeHead, String> {
    let head = text.split_once(':').and_then(|(size, root)| {
        let size = TreeSize::new(size.parse().ok()?).ok()?;
        Some(TreeHead { size, root: root.parse().ok()? })
    });
    head.ok_or_else(|| format!("{text:?} is not a size, a colon and 64 hex digits"))
}

/// The log itself, and the other places that show it.
fn vantages(table: &LogTable, base: &Path) -> Result<Vec<Vantage>, (&'static str, String)> {
    let mut vantages = vec![Vantage::direct(open_source(&table.url, table.ca.as_ref(), base)?)];
    if let Some(name) = twice(table.vantages.iter().map(|vantage| vantage.name.as_str())) {
        return Err(("vantage", format!("there are two vantage points called {name:?}")));
    }
    for vantage in &table.vantages {
        let error = |reason: String| ("vantage", format!("{:?}: {reason}", vantage.name));
        check_name(&vantage.name).map_err(error)?;
        let source = open_source(&vantage.url, vantage.ca.as_ref(), base);
        let source = source.map_err(|(field, reason)| error(format!("{field}: {reason}")))?;
        let made = if vantage.witness { Vantage::witness } else { Vantage::mirror };
        vantages.push(made(vantage.name.clone(), source));
    }
    Ok(vantages)
}

fn open_source(url: &str, ca: Option<&PathBuf>, base: &Path) -> Result<Source, (&'static str, String)> {
    let authorities = ca.map(|path| file::read(&base.join(path), CERTIFICATES_BYTES_MAX)).transpose();
    let authorities = authorities.map_err(|error| ("ca", format!("{error}: {}", error.source)))?;
    let connection = Connection { authorities, retries: RETRIES, ..Connection::default() };
    let place = match url.split_once("://") {
        Some(("http" | "https" | "file", _)) => url.to_owned(),
        Some(_) => return Err(("url", format!("not an address that can be read from: {url}"))),
        None => base.join(url).display().to_string(),
    };
    Source::open(&place, &connection).map_err(|error| ("url", error.to_string()))
}

fn policy(table: &LogTable, base: &Path) -> Result<Option<LogPolicy>, (&'static str, String)> {
    let parse = |field, text: &str| text.parse().map_err(|error: PolicyError| (field, error.to_string()));
    match (&table.policy, &table.policy_file) {
        (None, None) => Ok(None),
        (Some(text), None) => parse("policy", text).map(Some),
        (None, Some(path)) => {
            let text = file::read_text(&base.join(path), POLICY_BYTES_MAX)
                .map_err(|error| ("policy_file", format!("{error}: {}", error.source)))?;
            parse("policy_file", &text).map(Some)
        }
        (Some(_), Some(_)) => Err(("policy", "and policy_file are both given".to_owned())),
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, or the configuration is not TOML of its form.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value that cannot be.
    #[error("{key}: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A field of a log.
    #[error("log {log:?}, {field}: {reason}")]
    Log {
        /// The log's name.
        log: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two logs that are one, or cannot be told apart.
    #[error(transparent)]
    Distinct(#[from] DistinctError),
    /// A watch rule, or a list of what is known to be good.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A peer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testlog;

    fn keys(origin: &str) -> (String, String) {
        let key = testlog::signer(origin, Algorithm::Ed25519).public().to_string();
        let clock =
            testlog::signer(&format!("{origin}/clock"), Algorithm::CosignatureV1).public().to_string();
        (key, clock)
    }

    fn log(name: &str, origin: &str) -> String {
        let (key, clock) = keys(origin);
        format!("[[log]]\nname = '{name}'\nkey = '{key}'\nclock = '{clock}'\nurl = 'http://127.0.0.1:1'\n")
    }

    fn read(text: &str) -> Result<Plan, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path, || Timestamp::from_millis(0).unwrap())
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    /// Several logs with several vantage points each, rules, lists, sinks and peers.
    #[test]
    fn a_whole_configuration_is_read() {
        let (key, clock) = keys("b.example");
        let text = format!(
            "state = 'm'\ninterval_s = 5\nlisten = '127.0.0.1:0'\noutage_after_s = 60\nqueue_bytes_max = 2000000\n{}\
             keep = true\nstale_after_s = 9\nmark = 'mark'\nexpect = '0:{}'\n[[log.vantage]]\nname = 'mirror'\nurl = 'file:///m'\n\
             [[log.vantage]]\nname = 'w'\nurl = 'https://w.example/'\nwitness = true\n\
             [[log]]\nname = 'b'\nkey = '{key}'\nurl = 'data'\npolicy = \"\"\"\nlog {key}\nwitness c {clock}\nquorum none\n\"\"\"\n\
             [[watch]]\nname = 'r'\nkinds = ['receipt']\nlogs = ['b']\n[[known_good]]\nids = ['{}']\n\
             [[sink]]\nname = 's'\nlines = '-'\n[[peer]]\nurl = 'http://127.0.0.1:2'\n",
            log("a", "a.example"),
            counterfoil_merkle::Hash::EMPTY_ROOT,
            "ab".repeat(32),
        );
        let plan = read(&text).unwrap();
        assert_eq!((plan.logs.len(), plan.sinks.len(), plan.peers.len()), (2, 1, 1));
        let [a, b] = &plan.logs[..] else { panic!("{plan:?}") };
        assert_eq!((a.vantages.len(), a.settings.keep, a.settings.stale_after_s), (3, true, 9));
        assert_ne!(a.state, b.state);
        assert_eq!(b.known.clock.as_ref().map(ToString::to_string), Some(clock), "the policy names it");
        assert!(b.known.policy.is_some() && b.vantages[0].source.to_string().ends_with("/data"));
    }

    /// The example is a configuration as it stands, and so is it with every key in use.
    #[test]
    fn the_example_is_read() {
        let (key, clock) = keys("log.example");
        let spki = counterfoil_receipt::SigningKey::from_ed25519_seed(&[3; 32]).public().to_string();
        let filled = EXAMPLE
            .replace("LOG-VKEY", &key)
            .replace("CLOCK-VKEY", &clock)
            .replace("SPKI", &spki)
            .replace("32 hex digits", &"01".repeat(16))
            .replace("64 hex digits", &"01".repeat(32))
            .replace("SIZE:ROOT", &format!("0:{}", counterfoil_merkle::Hash::EMPTY_ROOT));
        assert_eq!(read(&filled).unwrap().sinks.len(), 1);
        // A line that is commented out begins with a key, a table or a lone mark.
        let is_key = |line: &str| {
            let name = line.split([' ', '=']).next().unwrap_or("");
            let key = line.contains(" = ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            key || line.starts_with("[[")
        };
        let uncommented: Vec<_> = filled
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| is_key(line)).unwrap_or(line))
            .filter(|line| !["ca = ", "policy_file = "].iter().any(|start| line.starts_with(start)))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        file::create(&folder.path().join("hook.secret"), secret, file::Access::Secret).unwrap();
        let path = folder.path().join("monitor.toml");
        std::fs::write(&path, uncommented.join("\n")).unwrap();
        let plan = Config::read(&path, || Timestamp::from_millis(0).unwrap()).unwrap();
        assert_eq!((plan.sinks.len(), plan.peers.len(), plan.logs[0].vantages.len()), (3, 1, 3));
        assert_eq!(plan.alerts.queue_bytes_max, alert::QUEUE_BYTES_MAX);
        assert_eq!(plan.alerts.outage_after_s, alert::OUTAGE_AFTER_S);
    }

    /// Mistakes are refused, and named by table and field.
    #[test]
    fn mistakes_are_named() {
        let good = format!("state = 'm'\n{}", log("a", "a.example"));
        assert!(read(&good).is_ok());
        let (key, _) = keys("b.example");
        for (text, message) in [
            (log("a", "a.example"), "missing field `state`"),
            ("state = 'm'".to_owned(), "log: there is none"),
            (format!("interval_s = 0\n{good}"), "interval_s: 1 to"),
            (format!("queue_bytes_max = 7\n{good}"), "queue_bytes_max: at least"),
            (format!("listen = 'x'\n{good}"), "invalid socket address"),
            (format!("sinks = []\n{good}"), "unknown field `sinks`"),
            (good.replace("'a'", "'a b'"), "log \"a b\", name: 1 to 64"),
            (good.replacen("a.example+", "a.example+0", 1), "log \"a\", key: "),
            (good.replacen("clock = ", "clock = 'x' #", 1), "log \"a\", clock: "),
            (good.replacen("http:", "ftp:", 1), "log \"a\", url: not an address"),
            (format!("{good}ca = 'none'\n"), "log \"a\", ca: cannot read"),
            (format!("{good}policy = 'quorum'\n"), "log \"a\", policy: "),
            (format!("{good}policy = \"log {key}\\nquorum none\"\n"), "log \"a\", policy: does not name"),
            (format!("{good}policy_file = 'none'\n"), "log \"a\", policy_file: cannot read"),
            (format!("{good}expect = '7'\n"), "log \"a\", expect: \"7\" is not a size"),
            (format!("{good}kept = true\n"), "unknown field `kept`"),
            (
                format!("{good}[[log.vantage]]\nname = 'v'\nurl = 'ftp://x'\n"),
                "log \"a\", vantage: \"v\": url",
            ),
            (
                format!("{good}{}", "[[log.vantage]]\nname = 'v'\nurl = 'm'\n".repeat(2)),
                "two vantage points called",
            ),
            (format!("{good}{}", log("a", "b.example")), "log \"a\", name: there are two"),
            (format!("{good}{}", log("b", "a.example")), "the origin a.example is given twice"),
            (format!("{good}[[watch]]\nname = 'r'\nkinds = ['x']\n"), "watch \"r\", kinds"),
            (
                format!("{good}[[watch]]\nname = 'r'\nkinds = ['receipt']\nlogs = ['x']\n"),
                "watch \"r\", logs: no log",
            ),
            (
                format!("{good}{}", "[[sink]]\nname = 's'\nlines = '-'\n".repeat(2)),
                "sink \"s\", name: there are two",
            ),
            (format!("{good}[[peer]]\nurl = 'x'\n"), "peer \"x\", url"),
        ] {
            let error = read(&text).map(|plan| plan.state).unwrap_err();
            assert!(error.contains(message), "{text}\n{error}");
        }
    }
}

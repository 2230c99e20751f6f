//! A log, a proxy before it, and what a test wants to know of both.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_tests::{Deployment, upstream::Upstream};
use serde_json::Value;

use super::caller::{Answer, Caller};
use crate::PROGRAMS;

/// A header with a credential.
pub(crate) const CREDENTIAL: &str = "Authorization: Bearer of-the-caller\r\n";

/// A proxy, its process and its files.
pub(crate) struct Proxy {
    home: PathBuf,
    process: Option<Child>,
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    /// Certificates that the system is to trust, in place of its own.
    pub(crate) roots: Option<PathBuf>,
}

impl Proxy {
    /// Configures a proxy for a log, with these lines at the end of its configuration.
    pub(crate) fn configure(log: &Deployment, more: &str) -> Self {
        let home = log.home().join("proxy");
        fs::create_dir_all(&home).unwrap();
        if !home.join("issuer.pem").exists() {
            let key = home.join("issuer.pem");
            let _ = log.client(&["keygen", "--output", key.to_str().unwrap()]).exits(0);
        }
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nkey = \"issuer.pem\"\nspool = \"spool\"\n{more}\n\
             [log]\nurl = \"{}\"\nkey = \"{}\"\nclock = \"{}\"\n",
            log.url(),
            log.log_key,
            log.clock_key
        );
        fs::write(home.join("proxy.toml"), config).unwrap();
        Self { home, process: None, address: None, admin: None, roots: None }
    }

    /// Configures and starts a proxy before one upstream; it keeps bodies.
    pub(crate) fn before(log: &Deployment, upstream: &Upstream, more: &str) -> Self {
        let mut proxy = Self::configure(log, &one(upstream, more));
        proxy.up();
        proxy
    }

    /// Lets it listen where it does now for good: callers find it after a restart.
    pub(crate) fn keep_address(&self) {
        self.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{}\"", self.address()));
    }

    /// Changes its configuration.
    pub(crate) fn replace(&self, from: &str, to: &str) {
        let path = self.home.join("proxy.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Starts it.
    pub(crate) fn up(&mut self) {
        assert!(self.process.is_none(), "the proxy is up");
        let errors = File::options().create(true).append(true).open(self.home.join("proxy.log")).unwrap();
        // A write beyond what a file may have (see `strict`) is an error, and no signal.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", PROGRAMS.client, "proxy", "--config"]);
        command.arg(self.home.join("proxy.toml")).env("XDG_CONFIG_HOME", self.home.join("config"));
        if let Some(roots) = &self.roots {
            command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        }
        let mut child = command
            .env("RUST_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut find = |start: &str| {
            let line = out.find_map(|line| Some(line.strip_prefix(start)?.to_owned()));
            let address = line.and_then(|line| line.split('/').next()?.parse().ok());
            address.unwrap_or_else(|| panic!("the proxy ended:\n{}", self.log()))
        };
        (self.address, self.admin) = (Some(find("listening on http://")), Some(find("metrics on http://")));
        self.process = Some(child);
    }

    /// Stops it in order.
    pub(crate) fn down(&mut self) {
        let mut child = self.process.take().expect("the proxy is up");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().expect("the proxy is up");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("the proxy is up")
    }

    /// A connection to it.
    pub(crate) fn caller(&self) -> Caller {
        Caller::connect(self.address())
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.as_ref().expect("the proxy is up").id()
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("proxy.log")).unwrap_or_default()
    }

    /// Calls a chat completion with the usual credential.
    pub(crate) fn chat(&self, body: &str) -> Answer {
        self.caller().post("/v1/chat/completions", CREDENTIAL, body.as_bytes())
    }

    /// A number of its metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = Caller::connect(self.admin.unwrap()).get("/metrics", "");
        let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Whether it says that it is well.
    pub(crate) fn is_well(&self) -> bool {
        Caller::connect(self.admin.unwrap()).get("/healthz", "").status() == 200
    }

    /// The exchange with the usual credential, as it is now.
    pub(crate) fn look_up(&self, exchange: &str) -> Answer {
        self.caller().get(&format!("/counterfoil/v1/exchanges/{exchange}"), CREDENTIAL)
    }

    /// The exchange with the usual credential, once it has a receipt.
    pub(crate) fn receipt(&self, exchange: &str) -> Value {
        self.wait(exchange, |answer| answer["id"].is_string())
    }

    /// The exchange with the usual credential, once its receipt is in the log.
    pub(crate) fn delivered(&self, exchange: &str) -> Value {
        self.wait(exchange, |answer| answer["bundle"].is_object())
    }

    fn wait(&self, exchange: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.look_up(exchange);
            let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if matches!(answer.status(), 200 | 202) && is_there(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{}\n{}\n{}", answer.head, value, self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something holds.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // A test that failed leaves its proxy behind; both calls may find it gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The configuration of one upstream, which keeps bodies.
pub(crate) fn one(upstream: &Upstream, more: &str) -> String {
    format!("keep.bodies = \"bodies\"\n{more}\n[[upstream]]\nname = \"one\"\nurl = \"{}\"\n", upstream.url())
}

/// The statement of what a look-up gave, from its bundle.
pub(crate) fn statement(delivered: &Value) -> Value {
    let statement = delivered["bundle"]["statement"].as_str().expect("a statement");
    serde_json::from_slice(&BASE64.decode(statement).unwrap()).unwrap()
}

/// The value of an opening, as JSON.
pub(crate) fn opened(delivered: &Value, label: &str) -> Value {
    let value = delivered["openings"]["openings"][label]["value"].as_str();
    value.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| text.into()))
}

/// Verifies a receipt by the command line, with its openings and the bodies as the caller saw them.
pub(crate) fn verify(
    log: &Deployment,
    proxy: &Proxy,
    delivered: &Value,
    request: &[u8],
    response: Option<&[u8]>,
) {
    let folder = proxy.home().join(delivered["id"].as_str().unwrap());
    fs::create_dir_all(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let bundle = put("bundle", delivered["bundle"].to_string().as_bytes());
    let openings = put("openings", delivered["openings"].to_string().as_bytes());
    let request = put("request", request);
    let policy = log.policy();
    let mut arguments = vec![
        "verify",
        &bundle,
        "--policy",
        policy.to_str().unwrap(),
        "--openings",
        &openings,
        "--request",
        &request,
    ];
    let response = response.map(|response| put("response", response));
    if let Some(response) = &response {
        arguments.extend(["--response", response]);
    }
    let _ = log.client(&arguments).exits(0);
}

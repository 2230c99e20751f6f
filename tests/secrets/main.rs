//! Where secrets must not be: what the programs say, how they were called, and what is left of them when they die.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod token;

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use counterfoil_tests::{Deployment, Programs, until};

const PROGRAMS: Programs = Programs {
    server: env!("CARGO_BIN_EXE_under-test-server"),
    client: env!("CARGO_BIN_EXE_under-test-client"),
};

/// The secret part of every private key of a log, as its files have it.
fn secrets(log: &Deployment) -> Vec<String> {
    let keys = fs::read_dir(log.directory().join("keys")).unwrap();
    let texts = keys.map(|key| fs::read_to_string(key.unwrap().path()).unwrap());
    texts
        .map(|text| match text.lines().collect::<Vec<_>>()[..] {
            // PRIVATE+KEY+name+hash+key, and the key's base64 may have a plus of its own.
            [line] => line.splitn(5, '+').last().unwrap().to_owned(),
            [_, base64, _] => base64.to_owned(),
            ref other => panic!("a key of {} lines", other.len()),
        })
        .collect()
}

/// A server that says all it has to say into files.
struct Server {
    child: Child,
    said: std::path::PathBuf,
}

impl Server {
    fn start(config: &Path, credentials: Option<&Path>) -> Self {
        let said = config.with_file_name("said");
        let out = fs::File::create(&said).unwrap();
        let mut command = Command::new("/bin/sh");
        // Whoever starts it would have cores.
        command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\"", PROGRAMS.server]);
        command.args(["--log-level", "trace", "run", "--config"]).arg(config);
        command.current_dir(config.parent().unwrap()).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        if let Some(directory) = credentials {
            command.env("CREDENTIALS_DIRECTORY", directory);
        }
        let server = Self { child: command.spawn().unwrap(), said };
        until(|| server.said().contains("listening on http"), "the server listens");
        server
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap()).into_owned()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        fs::File::open(format!("/proc/{}/{name}", self.child.id())).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn has(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// No key is among a server's arguments or in what it says at the most talkative level, and when it is killed by a signal that has
/// cores written, there is none.
#[test]
fn no_secret_leaves_a_server() {
    let log = Deployment::init(PROGRAMS, "log.example/secrets", &[]);
    let secrets = secrets(&log);
    assert_eq!(secrets.len(), 4, "log, clock, operator and registrar");
    let mut server = Server::start(&log.directory().join("counterfoil.toml"), None);
    let limits = String::from_utf8(server.file("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    for secret in &secrets {
        assert!(secret.len() >= 40 && !has(server.said().as_bytes(), secret));
        assert!(!has(&server.file("cmdline"), secret));
    }
    let id = server.child.id().to_string();
    assert!(Command::new("kill").args(["-ABRT", &id]).status().unwrap().success());
    let status = server.child.wait().unwrap();
    let status = format!("{status}");
    assert!(status.contains("signal: 6") && !status.contains("core dumped"), "{status}");
    for file in fs::read_dir(log.directory()).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            let bytes = fs::read(&file).unwrap();
            assert!(secrets.iter().all(|secret| !has(&bytes, secret)), "{}", file.display());
        }
    }
}

/// Keys may come as credentials: then they lie nowhere in the log's directory, and the log is the same.
#[test]
fn keys_come_as_credentials() {
    let log = Deployment::init(PROGRAMS, "log.example/credentials", &[]);
    let config = log.directory().join("counterfoil.toml");
    let credentials = log.directory().with_file_name("credentials");
    fs::rename(log.directory().join("keys"), &credentials).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"keys/", "\"credential:")).unwrap();
    let without = log.server_run(&["run", "--check"]).exits(2);
    assert!(
        without.err.contains("log_key_file: ") && without.err.contains("CREDENTIALS_DIRECTORY"),
        "{}",
        without.err
    );
    let server = Server::start(&config, Some(&credentials));
    assert!(server.said().contains("listening on http"));
}

//! Where the demo plays: a directory, the two programs, and what they print.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use super::super::{Terminal, terminal::Tone};

const SERVER: &str = "counterfoil-server";

/// Longer lists than this, and four lines more, are shortened.
const LINES_MAX: usize = 10;

/// Listen on this machine alone, on whatever port is free.
pub(super) const ANY_PORT: &str = "127.0.0.1:0";

/// How long a server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory and the programs that work in it.
pub(super) struct Stage {
    directory: PathBuf,
    client: PathBuf,
    server: PathBuf,
    terminal: Terminal,
}

/// The directory, removed at the end unless it was named or is kept.
pub(super) enum Place {
    Named(PathBuf),
    Temporary(TempDir),
}

impl Place {
    /// Leaves the directory there.
    pub(super) fn keep(self) -> PathBuf {
        match self {
            Self::Named(path) => path,
            Self::Temporary(directory) => directory.keep(),
        }
    }
}

impl Stage {
    /// Makes the directory and finds the programs.
    pub(super) fn set(
        named: Option<PathBuf>,
        server: Option<PathBuf>,
        terminal: Terminal,
    ) -> anyhow::Result<(Self, Place)> {
        let client = std::env::current_exe().context("finding this program")?;
        let beside = client.with_file_name(SERVER);
        let server = match server {
            Some(server) => server.canonicalize().with_context(|| format!("{}", server.display()))?,
            None if beside.exists() => beside,
            None => SERVER.into(),
        };
        let place = match named {
            Some(path) => {
                fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
                Place::Named(path.canonicalize()?)
            }
            None => Place::Temporary(tempfile::Builder::new().prefix("counterfoil-demo-").tempdir()?),
        };
        let directory = match &place {
            Place::Named(path) => path.clone(),
            Place::Temporary(directory) => directory.path().to_owned(),
        };
        Ok((Self { directory, client, server, terminal }, place))
    }

    /// Tells what happens next.
    pub(super) fn say(&self, text: &str) {
        self.terminal.line(self.terminal.paint(Tone::Good, format_args!("\n# {text}")));
    }

    fn show(&self, program: &str, arguments: &str) {
        self.terminal.line(self.terminal.paint(Tone::Dim, format_args!("$ {program} {arguments}")));
    }

    /// Runs the client, which must exit with that code.
    pub(super) fn client(&self, arguments: &str, code: i32) -> anyhow::Result<()> {
        self.show("counterfoil", arguments);
        self.run(&self.client, arguments.split(' '), code)
    }

    /// As [`Stage::client`], with a last argument that a shell would expand.
    pub(super) fn client_glob(&self, arguments: &str, code: i32) -> anyhow::Result<()> {
        self.show("counterfoil", arguments);
        let (rest, pattern) = arguments.rsplit_once(' ').context("an argument")?;
        let (folder, ending) = pattern.split_once("/*").context("a pattern")?;
        let files = self.files(folder, ending)?.into_iter().map(|name| format!("{folder}/{name}"));
        let arguments: Vec<_> = rest.split(' ').map(str::to_owned).chain(files).collect();
        self.run(&self.client, arguments, code)
    }

    /// Makes a log in a directory, with its guard beside its data.
    pub(super) fn init(&self, name: &str) -> anyhow::Result<()> {
        let tag: [u8; 4] = random()?;
        let arguments = format!(
            "init --origin demo.invalid/{:08x} --dir {name} --guard {name}/guard --open",
            u32::from_be_bytes(tag)
        );
        self.show(SERVER, &arguments);
        self.run(&self.server, arguments.split(' '), 0)
    }

    /// Runs a program to its end and prints what it prints.
    fn run<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        code: i32,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.directory.join("config"));
        let output = command.output().with_context(|| format!("running {}", program.display()))?;
        for text in [&output.stdout, &output.stderr] {
            self.print(&String::from_utf8_lossy(text));
        }
        let got = output.status.code();
        ensure!(got == Some(code), "the step ended with {got:?}, where exit code {code} was due");
        Ok(())
    }

    /// Prints what a program printed, long lists shortened.
    fn print(&self, text: &str) {
        let lines: Vec<_> = text.trim_end().lines().collect();
        match lines.as_slice() {
            [] => {}
            [first, second, left_out @ .., before, last] if left_out.len() > LINES_MAX => {
                for line in [first, second] {
                    self.terminal.line(line);
                }
                self.terminal.line(self.terminal.paint(Tone::Dim, format_args!("… {} more", left_out.len())));
                for line in [before, last] {
                    self.terminal.line(line);
                }
            }
            lines => lines.iter().for_each(|line| self.terminal.line(line)),
        }
    }

    /// Starts the log in a directory and waits until it takes receipts.
    pub(super) fn serve(&self, name: &str, listen: &str) -> anyhow::Result<Server> {
        let arguments = format!("run --config {name}/counterfoil.toml --listen {listen}");
        self.show(SERVER, &format!("{arguments} &"));
        let errors = fs::File::create(self.directory.join(format!("{name}.server.log")))?;
        let mut child = Command::new(&self.server)
            .args(arguments.split(' '))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", self.server.display()))?;
        let out = BufReader::new(child.stdout.take().context("the server's output")?);
        let address = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let address = address.with_context(|| format!("the server did not start; see {name}.server.log"))?;
        let config: toml::Table =
            fs::read_to_string(self.directory.join(name).join("counterfoil.toml"))?.parse()?;
        let key = |name: &str| {
            config
                .get(name)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
                .context("a key in the configuration")
        };
        let server = Server { child, url: address, log_key: key("log_key")?, clock_key: key("clock_key")? };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Copies a directory whole.
    pub(super) fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.terminal.line(self.terminal.paint(Tone::Dim, format_args!("$ cp -a {from} {to}")));
        copy_all(&self.directory.join(from), &self.directory.join(to))
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        fs::write(self.directory.join(name), bytes).with_context(|| format!("writing {name}"))
    }

    /// Reads a file.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        fs::read(self.directory.join(name)).with_context(|| format!("reading {name}"))
    }

    /// The first file of a directory with that ending.
    pub(super) fn first(&self, folder: &str, ending: &str) -> anyhow::Result<String> {
        let first = self.files(folder, ending)?.into_iter().next();
        first.with_context(|| format!("there is no {folder}/*{ending}"))
    }

    fn files(&self, folder: &str, ending: &str) -> anyhow::Result<Vec<String>> {
        let listed =
            fs::read_dir(self.directory.join(folder)).with_context(|| format!("reading {folder}"))?;
        let mut names = Vec::new();
        for item in listed {
            let name = item?.file_name().to_string_lossy().into_owned();
            if name.ends_with(ending) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A running log.
pub(super) struct Server {
    child: Child,
    url: String,
    log_key: String,
    clock_key: String,
}

impl Server {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn log_key(&self) -> &str {
        &self.log_key
    }

    pub(super) fn clock_key(&self) -> &str {
        &self.clock_key
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let host = self.url.strip_prefix("http://").context("an http address")?;
        while !is_ready(host).unwrap_or(false) {
            ensure!(Instant::now() < deadline, "the server at {} is not ready", self.url);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops it in order.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.stop_in_place().map(drop)
    }

    /// Stops it in order and returns where it listened; it can be replaced then.
    pub(super) fn stop_in_place(&mut self) -> anyhow::Result<String> {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(killed.success(), "the server could not be told to stop");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(self.url.trim_start_matches("http://").to_owned())
    }

    /// Lets it run on when this program ends; returns its process.
    pub(super) fn leave(self) -> u32 {
        let process = self.child.id();
        std::mem::forget(self);
        process
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After an error its server must not stay behind; after a stop there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks whether the log takes receipts.
fn is_ready(host: &str) -> std::io::Result<bool> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        bail!("the system gives no random bytes: {error}");
    }
    Ok(bytes)
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy_all(&item.path(), &target)?;
        } else {
            fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

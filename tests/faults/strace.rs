//! The real server, with its calls to the system failing or killing it; and the calls of its storage, held against what
//! the simulated disk takes for granted.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use counterfoil_tests::until;

use crate::{campaign::rounds, dice::Dice, subject::Subject};

/// Rounds, unless the environment says otherwise: so many are a small part of all cases.
const ROUNDS: u64 = 6;

/// The calls by which something is stored. Not all systems have the older ones; `?` leaves those out.
const CALLS: [&str; 9] = [
    "fsync",
    "openat",
    "write",
    "pwrite64",
    "?link,?linkat",
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "ftruncate",
    "?mkdir,?mkdirat",
];

/// What becomes of a call.
const FAULTS: [&str; 4] = ["error=EIO", "error=ENOSPC", "error=EINTR", "signal=SIGKILL"];

/// Each of so many calls of that kind that a thread makes.
const NTH: usize = 6;

/// A tracer that was told to let go has done so by then.
const DETACHED_WITHIN: Duration = Duration::from_secs(10);

/// A tracer of a running process.
struct Traced {
    strace: Child,
    /// It tells of new threads here, and would die of a closed pipe.
    _said: BufReader<ChildStderr>,
    log: PathBuf,
}

impl Traced {
    /// Attaches to all threads of a process.
    fn attach(process: u32, log: PathBuf, arguments: &[&str]) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-s", "64", "-p", &process.to_string(), "-o"])
            .arg(&log)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut first, mut said) = (String::new(), BufReader::new(strace.stderr.take().unwrap()));
        said.read_line(&mut first).unwrap();
        assert!(first.contains("attached"), "strace: {first}");
        Self { strace, _said: said, log }
    }

    /// Detaches, and returns what was traced.
    fn detach(mut self) -> String {
        let interrupted = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
        // If the process is gone, so is its tracer.
        drop(interrupted);
        // Unless it died at the wrong moment: then the tracer may wait for ever for a thread that it let go of.
        let deadline = Instant::now() + DETACHED_WITHIN;
        while self.strace.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.strace.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
        fs::read_to_string(self.log).unwrap()
    }
}

/// Whether processes can be traced here. Where the project's check runs, strace must be there.
fn can_trace() -> bool {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(tried) if tried.status.success() => true,
        Ok(tried) => {
            eprintln!("NOT TRIED: nothing can be traced here: {}", String::from_utf8_lossy(&tried.stderr));
            false
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace is missing: {error}");
            eprintln!("NOT TRIED: strace is missing ({error})");
            false
        }
    }
}

/// At each call of an append that stores something, the call fails, or the server is killed there: it comes back, and has
/// all that it acknowledged.
#[test]
fn failing_calls_lose_nothing() {
    if !can_trace() {
        return;
    }
    let mut subject = Subject::new("log.example/strace", 254);
    let (mut injected, cases) = (0, CALLS.len() * FAULTS.len() * NTH);
    rounds("failing calls", ROUNDS, |round, mut dice| {
        let case = usize::try_from(round).unwrap() * 101 % cases;
        injected += usize::from(fail(&mut subject, case, &mut dice));
    });
    println!("failing calls: {injected} rounds in which a call failed");
    subject.check(usize::MAX);
    subject.log.down();
    subject.log.server_run(&["fsck"]).exits(0);
}

/// One case. Returns whether a call failed.
fn fail(subject: &mut Subject, case: usize, dice: &mut Dice) -> bool {
    let calls = CALLS[case % CALLS.len()];
    let fault = FAULTS[case / CALLS.len() % FAULTS.len()];
    let nth = 1 + case / CALLS.len() / FAULTS.len() % NTH;
    let inject = format!("inject={calls}:{fault}:when={nth}");
    let trace = format!("trace={calls}");
    let log = subject.log.home().join("strace.log");
    let traced = Traced::attach(subject.log.process(), log, &["-e", &trace, "-e", &inject]);
    let mut unknown = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let receipt = subject.issuing.issue();
        unknown.extend(subject.send(receipt));
    }
    let said = traced.detach();
    subject.back();
    for receipt in unknown {
        until(|| subject.send(receipt.clone()).is_none(), "an unknown outcome becomes known");
    }
    subject.check(20);
    said.contains("INJECTED") || said.contains("killed by SIGKILL")
}

/// What the simulated disk takes for granted: nothing gets its name before its content was synced, and nobody hears of a
/// receipt before the name of its record was.
#[test]
fn the_servers_calls_are_those_of_the_simulated_disk() {
    if !can_trace() {
        return;
    }
    let mut subject = Subject::new("log.example/calls", 250);
    let log = subject.log.home().join("strace.log");
    let traced = Traced::attach(subject.log.process(), log, &["-e", "trace=%file,%desc,%net"]);
    for _ in 0..20 {
        let receipt = subject.issuing.issue();
        assert_eq!(subject.send(receipt), None);
    }
    subject.log.down();
    let calls = Calls::of(&traced.detach(), &subject.log.data());
    assert!(calls.commits >= 20, "{} records got their names", calls.commits);
    assert!(calls.objects >= 3, "{} tiles and bundles got their names", calls.objects);
}

/// What the calls of a server were, as far as it matters here.
#[derive(Default)]
struct Calls {
    /// Files that were written since they were synced.
    dirty: BTreeMap<PathBuf, ()>,
    /// Directories with a new name in them that was not synced.
    unsynced: BTreeMap<PathBuf, PathBuf>,
    commits: usize,
    objects: usize,
}

impl Calls {
    /// Reads a trace, and checks the order of its calls.
    fn of(trace: &str, data: &Path) -> Self {
        let data = data.canonicalize().unwrap();
        let mut calls = Self::default();
        let mut begun: BTreeMap<&str, String> = BTreeMap::new();
        for line in trace.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            // A call that another thread's came between is in two lines; what counts is its end.
            if let Some(start) = call.strip_suffix(" <unfinished ...>") {
                begun.insert(thread, start.to_owned());
                calls.begin(start, &data);
                continue;
            }
            let whole = match call.strip_prefix("<... ").and_then(|call| call.split_once(" resumed>")) {
                Some((_, rest)) => begun.remove(thread).unwrap_or_default() + rest,
                None => {
                    calls.begin(call, &data);
                    call.to_owned()
                }
            };
            if !whole.contains(" = -1 ") {
                calls.end(&whole, &data);
            }
        }
        calls
    }

    /// A call begins: a write makes its file dirty, and an answer says that a record is durable.
    fn begin(&mut self, call: &str, data: &Path) {
        let (name, rest) = call.split_once('(').unwrap_or((call, ""));
        match name {
            "write" | "pwrite64" | "ftruncate" => {
                if let Some(path) = descriptor(rest).filter(|path| path.starts_with(data)) {
                    self.dirty.insert(path, ());
                }
            }
            _ => {}
        }
        if call.contains("HTTP/1.1 201") {
            let commit = data.join("commit");
            let unsynced = self.unsynced.get(&commit);
            assert!(unsynced.is_none(), "a receipt was answered before the name of {unsynced:?} was synced");
        }
    }

    /// A call has succeeded.
    fn end(&mut self, call: &str, data: &Path) {
        let (name, rest) = call.split_once('(').unwrap_or((call, ""));
        let quoted: Vec<_> = rest.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
        match (name, &*quoted) {
            ("fsync" | "fdatasync", _) => {
                let Some(path) = descriptor(rest) else { return };
                self.dirty.remove(&path);
                self.unsynced.remove(&path);
            }
            ("link" | "linkat", [from, to]) if to.starts_with(data) => {
                assert!(!self.dirty.contains_key(from), "{} got its name before it was synced", to.display());
                let directory = to.parent().unwrap();
                self.unsynced.insert(directory.to_owned(), to.clone());
                let is_commit = directory.ends_with("commit");
                self.commits += usize::from(is_commit);
                self.objects += usize::from(!is_commit);
            }
            ("unlink" | "unlinkat", [path]) if path.starts_with(data) => {
                // A staging file goes when its object has its name for good.
                let object = path.to_string_lossy().split('#').next().map(PathBuf::from);
                let unsynced = path.parent().and_then(|directory| self.unsynced.get(directory));
                assert!(unsynced.is_none() || unsynced != object.as_ref(), "{unsynced:?} was not synced");
            }
            _ => {}
        }
    }
}

/// The path of a call's first argument, a descriptor.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    rest.split_once('>').map(|(path, _)| PathBuf::from(path))
}

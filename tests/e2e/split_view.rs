//! A split view: two people are shown two branches of one log, of different sizes, each cosigned by a witness of its own. The
//! second branch is offline by the time they gossip, and evidence comes out all the same.
//!
//! Who can convict whom: a monitor has the tiles of the branch that it followed, and with them convicts every smaller checkpoint
//! of the other branch at once, and every larger one as soon as its own branch has outgrown it. What only light clients saw, and
//! no branch ever outgrows, takes a receipt (`light.rs`); two bare checkpoints of different sizes prove nothing by themselves.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::{evidence::ForkEvidence, key::VerifierKey, policy::Policy};
use counterfoil_tests::{Deployment, Issuing, Person, Run, Witness};

use crate::PROGRAMS;

/// How many copies with one bit changed are tried.
const FLIPS: usize = 60;

/// Two branches of one log, and the witness of each.
struct Split {
    branches: [Deployment; 2],
    witnesses: [Witness; 2],
}

impl Split {
    /// Twenty receipts in common, then so many of its own on each branch.
    fn new(lengths: [usize; 2]) -> Self {
        let witnesses = [Witness::start("witness.example/one", 1), Witness::start("witness.example/two", 2)];
        let mut log = Deployment::init(PROGRAMS, "log.example/split", &["--open"]);
        let witnessed = |log: &Deployment, witness: &Witness| {
            let policy = format!("{}quorum {}\n", witness.policy_line(), witness.key().name());
            log.witnessed_by(&policy, "period_ms = 10\nclock_record_period_s = 0");
        };
        witnessed(&log, &witnesses[0]);
        log.up();
        log.append(&mut Issuing::new(&log.origin, 10), 20);
        log.down();
        let copy = log.copy();
        witnessed(&copy, &witnesses[1]);
        let mut branches = [log, copy];
        for ((branch, length), seed) in branches.iter_mut().zip(lengths).zip(11..) {
            branch.up();
            branch.append(&mut Issuing::new(&branch.origin, seed), length);
        }
        Self { branches, witnesses }
    }

    /// What a person who trusts a branch's witness demands.
    fn policy(&self, branch: usize) -> String {
        let Deployment { log_key, clock_key, .. } = &self.branches[branch];
        let witness = &self.witnesses[branch];
        let (line, name) = (witness.policy_line(), witness.key().name());
        format!("log {log_key}\nwitness clock {clock_key}\n{line}quorum {name}\n")
    }

    /// A person who is shown this branch, and finds nothing wrong with it.
    fn person(&self, branch: usize) -> Person {
        let person = Person::new(PROGRAMS);
        fs::write(person.home().join("policy.txt"), self.policy(branch)).unwrap();
        let Deployment { log_key, clock_key, .. } = &self.branches[branch];
        let url = self.branches[branch].url();
        let add = ["log", "add", "l", &url, log_key, "--clock", clock_key, "--policy", "policy.txt"];
        let _ = person.run(&add).exits(0);
        let _ = person.run(&["prove", "22"]).exits(0);
        person
    }

    /// The evidence that convicted the log for a person holds two checkpoints, neither witness saw both; it convinces whoever has
    /// the log's key, and nobody is convinced by a copy with one bit changed.
    fn check(&self, person: &Person, refused: &Run, name: &str) {
        let folder = person.home().join("config/counterfoil/logs/l/evidence");
        let file = fs::read_dir(folder).unwrap().next().expect("evidence").unwrap().path();
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains(&file.display().to_string()), "{said}");
        let text = fs::read_to_string(&file).unwrap();
        let evidence: ForkEvidence = text.parse().unwrap();
        let key: VerifierKey = self.branches[0].log_key.parse().unwrap();
        evidence.verify(&key).unwrap();
        assert_eq!(evidence.kind(), "consistency");
        assert!(evidence.a().unverified().head.size < evidence.b().unverified().head.size);
        // A monitor keeps the lines of witnesses that it knows, so that not both need to be there.
        let mut cosigned = 0;
        for (witness, branch) in self.witnesses.iter().zip(0..) {
            let policy: Policy = self.policy(branch).parse().unwrap();
            let notes = [evidence.a(), evidence.b()];
            cosigned += notes.iter().filter(|note| policy.check(note).is_ok()).count();
            assert!(evidence.verify_cosigner(witness.key()).is_err(), "no witness is to blame");
        }
        assert!((1..=2).contains(&cosigned), "{cosigned}");
        let verify = |file: &Path| {
            person.run(&["verify-evidence", file.to_str().unwrap(), "--log-key", &key.to_string()])
        };
        let _ = verify(&file).exits(0);
        let changed = person.home().join("changed.txt");
        for flip in 0..FLIPS {
            let mut bytes = text.clone().into_bytes();
            let bit = flip * 8 * bytes.len() / FLIPS + flip % 8;
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&changed, bytes).unwrap();
            let _ = verify(&changed).exits(1);
        }
        // For a verifier that is not ours.
        if let Some(folder) = env::var_os("COUNTERFOIL_EVIDENCE_DIR") {
            fs::create_dir_all(&folder).unwrap();
            let place = Path::new(&folder).join(name);
            fs::write(place.with_extension("txt"), text).unwrap();
            fs::write(place.with_extension("json"), evidence.to_json()).unwrap();
            fs::write(place.with_extension("vkey"), key.to_string()).unwrap();
        }
    }
}

/// A monitor that serves gossip, until it is dropped.
struct Monitor {
    process: Child,
    url: String,
}

impl Monitor {
    /// Watches the log that a person knows, and has seen what that person saw.
    fn of(person: &Person) -> Self {
        let mut process = Command::new(PROGRAMS.client)
            .args([
                "monitor",
                "--log",
                "l",
                "--state",
                "monitor",
                "--serve",
                "127.0.0.1:0",
                "--interval",
                "1",
            ])
            .current_dir(person.home())
            .env("XDG_CONFIG_HOME", person.home().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = out.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        // Read on, so that it can go on writing.
        thread::spawn(move || out.for_each(drop));
        let monitor = Self { process, url: url.expect("where it listens") };
        let _ = monitor.hears(person, 0);
        monitor
    }

    /// What a person hears who gossips with it, once that ends with this code.
    fn hears(&self, person: &Person, code: i32) -> Run {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let run = person.run(&["log", "gossip", &self.url]);
            if run.code == code || Instant::now() > deadline {
                return run.exits(code);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The branch that is gone is the smaller one: whoever followed the other convicts it at once.
#[test]
fn a_smaller_branch_that_is_gone_is_convicted() {
    let mut split = Split::new([120, 5]);
    let (one, two) = (split.person(0), split.person(1));
    let monitor = Monitor::of(&one);
    split.branches[1].down();
    let refused = monitor.hears(&two, 1);
    split.check(&two, &refused, "smaller");
    // And the first person hears of it from the same monitor, or finds out alone with the other's checkpoint.
    let seen = two.home().join("config/counterfoil/logs/l/checkpoint");
    let refused = one.run(&["consistency", seen.to_str().unwrap()]).exits(1);
    split.check(&one, &refused, "smaller-alone");
}

/// The branch that is gone is the larger one: a monitor that followed it still has its tiles.
#[test]
fn a_larger_branch_that_is_gone_is_convicted_by_who_followed_it() {
    let mut split = Split::new([5, 120]);
    let (one, two) = (split.person(0), split.person(1));
    let monitor = Monitor::of(&two);
    split.branches[1].down();
    let refused = monitor.hears(&one, 1);
    split.check(&one, &refused, "larger-followed");
}

/// The branch that is gone is the larger one, and nobody followed it: the other convicts it once it has outgrown it, for a
/// monitor forgets nothing that it was shown.
#[test]
fn a_larger_branch_that_is_gone_is_convicted_once_outgrown() {
    let mut split = Split::new([5, 120]);
    let (one, two) = (split.person(0), split.person(1));
    let monitor = Monitor::of(&one);
    split.branches[1].down();
    let unknown = monitor.hears(&two, 2);
    assert!(unknown.out.contains("cannot tell yet"), "{}", unknown.out);
    // At once: a monitor that saw it at just the other's size would have two checkpoints of one size.
    split.branches[0].append_at_once(&mut Issuing::new(&split.branches[0].origin, 13), 130);
    let refused = monitor.hears(&two, 1);
    split.check(&two, &refused, "larger-outgrown");
}

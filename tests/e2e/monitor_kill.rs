//! `kill -9` of a monitor at any moment: its state never goes back, and no finding is lost.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use counterfoil_merkle::bundle::parse_bundle;
use counterfoil_tests::evil::EvilDir;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 8;

/// How long is waited for a monitor to begin: this machine may be busy.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(20);

/// The monitor of a log that lies and grows is killed again and again. Whenever it is dead, its state has gone no further
/// than what it recorded; it never goes back; it always opens again; and in the end everything that was wrong was found, and
/// everything was kept.
///
/// `COUNTERFOIL_MONITOR_ROUNDS` and `COUNTERFOIL_MONITOR_SEED` repeat or prolong it.
#[test]
fn a_monitor_survives_kill_9() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let rounds = number("COUNTERFOIL_MONITOR_ROUNDS", ROUNDS);
    let mut dice = Dice(number("COUNTERFOIL_MONITOR_SEED", 1));
    let home = tempfile::tempdir().unwrap();
    let mut log = EvilDir::new(&home.path().join("log"), "log.example/kill");
    let watched = Watched { home: home.path().to_owned() };
    log.publish();
    let (mut known, mut evidence) = (Known::default(), 0);
    let mut partial = 0;
    for round in 0..rounds {
        let monitor = watched.start(&log);
        // Most rounds begin once it has kept something new, so that not all of them hit its start.
        let mut begun = dice.below(4) == 0;
        let started = Instant::now();
        let mut kill = started + Duration::from_millis(5 + dice.below(400));
        // It grows while it is read, at times by nothing.
        while !begun || Instant::now() < kill {
            if !begun && (watched.known().number > known.number || started.elapsed() > BEGIN_TIME_MAX) {
                (begun, kill) = (true, Instant::now() + Duration::from_millis(dice.below(400)));
            }
            if log.size() < 400 * (round + 1) {
                (0..dice.below(60)).for_each(|_| grow(&mut log, &mut dice));
                log.publish();
            }
            if begun && dice.below(8) == 0 && log.size() > 10 {
                log.show_other(1 + dice.below(log.size() - 1));
                thread::sleep(Duration::from_millis(dice.below(200)));
                log.publish();
            }
            thread::sleep(Duration::from_millis(dice.below(20)));
        }
        kill_9(monitor);
        let now = watched.check(&log);
        assert!(now.size >= known.size && now.number >= known.number, "{known:?}, then {now:?}");
        partial += u64::from(now.size < log.size());
        let files = fs::read_dir(watched.home.join("state/evidence")).map_or(0, Iterator::count);
        assert!(files >= evidence, "evidence is never lost");
        (known, evidence) = (now, files);
        eprintln!("round {round}: {} of {} entries, {evidence} proofs of a fork", known.size, log.size());
    }
    log.publish();
    let monitor = watched.start(&log);
    let deadline = Instant::now() + Duration::from_secs(120);
    let read_all = |known: Known| known.size == log.size() && known.waiting.is_empty();
    while !read_all(watched.known()) || !watched.home.join("state/log/checkpoint").exists() {
        assert!(Instant::now() < deadline, "{:?}", watched.known());
        thread::sleep(Duration::from_millis(50));
    }
    kill_9(monitor);
    watched.check(&log);
    assert!(log.faults().len() as u64 > rounds, "there was much to find");
    assert!(partial > 0, "some of the kills came before all was read");
    assert!(evidence == 0 || watched.recorded().iter().any(|line| line.starts_with("fork-")));
    watched.check_kept(&log);
    println!(
        "{rounds} rounds, {} entries, {} faults found, {evidence} forks proven, nothing lost",
        log.size(),
        log.faults().len()
    );
}

fn grow(log: &mut EvilDir, dice: &mut Dice) {
    match dice.below(24) {
        0 => log.unreadable(),
        1 => log.without_statement(false),
        2 => log.without_statement(true),
        _ => log.good(),
    }
}

fn kill_9(mut monitor: Child) {
    assert!(monitor.try_wait().unwrap().is_none(), "it ends only when it is killed");
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}

/// How far the state is.
#[derive(Clone, Debug, Default)]
struct Known {
    size: u64,
    number: u64,
    /// Entries whose slot is empty, which a record may still explain: the next look tells.
    waiting: BTreeSet<u64>,
}

/// A monitor's state directory and what it recorded.
struct Watched {
    home: PathBuf,
}

impl Watched {
    fn start(&self, log: &EvilDir) -> Child {
        let path = |name: &str| self.home.join(name);
        let errors = fs::File::options().create(true).append(true).open(path("errors")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_under-test-monitor"));
        command.args([path("state"), path("log")]).args([log.log_key(), log.clock_key()]);
        let mut monitor = command.arg(path("found")).stdin(Stdio::null()).stderr(errors).spawn().unwrap();
        // It may have ended: because it could not open its state, which is what must not happen.
        thread::sleep(Duration::from_millis(1));
        assert!(monitor.try_wait().unwrap().is_none(), "{}", self.errors());
        monitor
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.home.join("errors")).unwrap_or_default()
    }

    fn known(&self) -> Known {
        let Ok(text) = fs::read_to_string(self.home.join("state/monitor.json")) else {
            return Known::default();
        };
        let state: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let empty = state["erasures"]["empty"].as_array().unwrap().iter();
        let waiting = empty.map(|slot| slot[1].as_u64().unwrap()).collect();
        Known { size: state["size"].as_u64().unwrap(), number: state["number"].as_u64().unwrap(), waiting }
    }

    /// What was recorded, without lines that a kill cut off.
    fn recorded(&self) -> HashSet<String> {
        let text = fs::read_to_string(self.home.join("found")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_suffix(';')).map(str::to_owned).collect()
    }

    /// Everything that is wrong with the entries that the state has gone past was recorded, and nothing else of them.
    fn check(&self, log: &EvilDir) -> Known {
        let (known, recorded) = (self.known(), self.recorded());
        let index = |fault: &str| fault.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        for fault in log.faults().iter().filter(|fault| index(fault) < known.size) {
            let waits = fault.starts_with("statement-missing") && known.waiting.contains(&index(fault));
            assert!(
                recorded.contains(fault) || waits,
                "{fault} was lost; the state is at {known:?}\n{}",
                self.errors()
            );
        }
        let faults: HashSet<_> = log.faults().iter().collect();
        for found in recorded.iter().filter(|found| found.contains(" at entry ")) {
            let is_fault = faults.contains(found) || log.may_be_found(found);
            assert!(is_fault, "{found} is no fault of the log's");
        }
        known
    }

    /// The mirror has what the log has, save statements that are not their entries'.
    fn check_kept(&self, log: &EvilDir) {
        let kept = |path: &str, index: usize| {
            let folder = self.home.join("state/log").join(path);
            let (bundle, count) = (index / 256, log.items().len());
            let name = format!("{bundle:03}");
            let full = folder.join(&name);
            let partial = folder.join(format!("{name}.p/{}", count % 256));
            let bytes = fs::read(if Path::exists(&full) { full } else { partial }).unwrap();
            parse_bundle(&bytes).unwrap()[index % 256].to_vec()
        };
        for (index, (entry, statement)) in log.items().iter().enumerate() {
            assert_eq!(&kept("tile/entries", index), entry, "entry {index}");
            let statement: &[u8] = if statement == b"another" { b"" } else { statement };
            assert_eq!(kept("statement", index), statement, "statement {index}");
        }
    }
}

/// Numbers that look like chance and come again: a linear congruential generator (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

//! A monitor's state with all that it keeps, with the real program.

use std::{fs, path::Path};

use counterfoil_tests::{Person, Run, evil::EvilDir};

use super::{Damage, Tally};
use crate::{
    PROGRAMS,
    campaign::rounds,
    template::{Files, read},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 12;

/// Exit code for what could not be done.
const UNKNOWN: i32 = 2;

/// A log in a directory, and somebody who monitors it.
struct Watched {
    person: Person,
    keys: [String; 2],
}

impl Watched {
    /// One look at the log in that directory, with the state in that one; all is kept.
    fn look(&self, log: &str, state: &str) -> Run {
        let keys = ["--log-key", &self.keys[0], "--clock", &self.keys[1], "--stale-after", "1000000"];
        let arguments = ["monitor", "--once", "--keep", "--state", state, "--url", log];
        self.person.run(&[&arguments[..], &keys].concat())
    }

    fn state(&self) -> Files {
        read(&self.person.home().join("state"))
    }
}

/// What of a state says how far it went, of whatever log and whenever.
fn reached(files: &Files) -> serde_json::Value {
    let text = String::from_utf8(files[Path::new("monitor.json")].clone()).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    serde_json::json!({ "size": state["size"].take(), "root": state["root"].take() })
}

/// Whatever is damaged: the monitor names it, or an audit of what it keeps does; or it goes on as if nothing had been, and has
/// the same in the end.
#[test]
fn a_damaged_monitor_is_named_or_as_it_was() {
    let person = Person::new(PROGRAMS);
    let mut log = EvilDir::new(&person.home().join("log"), "log.example/damaged");
    let watched = Watched { person, keys: [log.log_key(), log.clock_key()] };
    let grow = |log: &mut EvilDir, to: u64| {
        while log.size() < to {
            log.good();
        }
        log.publish();
    };
    grow(&mut log, 300);
    watched.look("log", "state").exits(0);
    let before = watched.state();
    grow(&mut log, 420);
    watched.look("log", "state").exits(0);
    let after = watched.state();
    // What tells the time differs; nobody reads a partial tile or bundle once there is a wider one.
    let counts = |path: &Path| {
        let name = path.to_string_lossy().into_owned();
        let is_narrow = name.rsplit_once(".p/").is_some_and(|(whole, width)| {
            let width: u64 = width.parse().unwrap();
            (width + 1..256).any(|wider| after.contains_key(Path::new(&format!("{whole}.p/{wider}"))))
        });
        name != "monitor.json" && name != "mark" && !is_narrow
    };

    let mut tally = Tally::default();
    rounds("damaged monitors", ROUNDS, |_, mut dice| {
        let home = watched.person.home().to_owned();
        let damage = Damage::deal(&before, &home.join("state"), &mut dice);
        let looked = watched.look("log", "state");
        if looked.code != 0 {
            assert_ne!(looked.code, 101, "{damage}: it panicked: {}", looked.err);
            damage.assert_named(&format!("{}{}", looked.out, looked.err));
            assert_eq!(looked.code, UNKNOWN, "{damage}: the log is not to blame: {}", looked.out);
            return tally.count(true);
        }
        let now = watched.state();
        let differs: Vec<_> =
            after.iter().filter(|(path, bytes)| counts(path) && now.get(*path) != Some(bytes)).collect();
        if differs.is_empty() {
            assert_eq!(reached(&now), reached(&after), "{damage}");
            return tally.count(false);
        }
        if home.join("fresh").exists() {
            fs::remove_dir_all(home.join("fresh")).unwrap();
        }
        let audited = watched.look("state/log", "fresh");
        assert_ne!(audited.code, 0, "{damage}: neither named nor harmless: {:?}", differs[0].0);
        let said = format!("{}{}", audited.out, audited.err);
        let name = damage.path.strip_prefix("log").unwrap_or(&damage.path).to_string_lossy().into_owned();
        let whole = name.split_once(".p/").map_or(&*name, |(whole, _)| whole).to_owned();
        assert!(said.contains(&whole) || said.contains("entry "), "{damage}: not named in: {said}");
        tally.count(true);
    });
    println!("damaged monitors: {tally}");
}

//! Data directory and guard of a log.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, OnceLock},
};

use counterfoil_merkle::{Frontier, Hash, LeafIndex, TreeHead};
use counterfoil_server::{
    config::Config,
    log::{Log, Status},
    pace::Pace,
    recover::load,
    steps::Steps,
    tiles::Tiles,
};
use futures::executor::block_on;

use super::{Damage, Tally};
use crate::{
    campaign::rounds,
    life::{Answer, Ledger, Life, audit},
    locks,
    template::{FIRST, Files, PACE, directory, read, template, write},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 6;

/// As many receipts are appended to the template: a bundle is full then, and the next has a partial one.
const MORE: usize = 60;

/// A log that has files of every kind, made once.
struct Made {
    files: Files,
    ledger: Ledger,
    /// The leaf hash of each entry.
    leaves: Vec<Hash>,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let (first, home) = (template(), directory());
        write(home.path(), &first.files);
        let (config, mut ledger) = (first.config(home.path()), first.ledger.clone());
        // Many commits are covered by the partial bundle, and some are not.
        for (retained_max, numbers) in [(5, FIRST..FIRST + 40), (1000, FIRST + 40..FIRST + MORE)] {
            let life = Life::start(&config, &Steps::default(), Pace { retained_max, ..PACE }).unwrap();
            for number in numbers {
                life.append([number], &mut ledger);
            }
            assert!(life.stop(&mut ledger));
        }
        let files = read(home.path());
        let files =
            files.into_iter().filter(|(path, _)| path.starts_with("data") || path.starts_with("guard"));
        let files: Files = files.collect();
        for kind in ["data/commit/", "data/tile/0/", "data/tile/entries/", "data/statement/", ".p/", "guard"]
        {
            let there = files.keys().any(|path| path.to_string_lossy().contains(kind));
            assert!(there, "the template has no file of the kind {kind}");
        }
        Made { leaves: leaves(&config), files, ledger }
    })
}

/// The leaf hashes of a stopped log.
fn leaves(config: &Config) -> Vec<Hash> {
    let objects = Arc::new(locks::objects(&config.data, &Steps::default()).unwrap());
    let loaded = load(&objects).unwrap();
    let tiles = Tiles::new(objects);
    tiles.hold(loaded.filled.iter().cloned());
    let leaf = |index| {
        let item = block_on(tiles.item(&loaded.edge, LeafIndex::new(index).unwrap())).unwrap().unwrap();
        Hash::leaf(&item.entry)
    };
    (0..loaded.edge.size().get()).map(leaf).collect()
}

/// Whatever is damaged: the log does not start, or `fsck` finds it, and either names it; or all is as it was. Every head that
/// is signed afterwards goes on from all that were signed before.
#[test]
fn a_damaged_log_is_named_or_as_it_was() {
    let (mut tally, mut kinds) = (Tally::default(), BTreeSet::new());
    rounds("damaged logs", ROUNDS, |_, mut dice| {
        let (made, home) = (made(), directory());
        let damage = Damage::deal(&made.files, home.path(), &mut dice);
        let config = template().config(home.path());
        let mut ledger = made.ledger.clone();
        let named = match Life::start(&config, &Steps::default(), Pace { retained_max: 200, ..PACE }) {
            Ok(life) => run(life, &damage, made, &mut ledger),
            Err(error) => Some(error.to_string()),
        };
        // Where recovery cannot tell which object it is, it says who can.
        let named = named.filter(|said| !said.contains("`counterfoil-server fsck`"));
        let named = named.or_else(|| found_by_fsck(&config, &ledger));
        if let Some(said) = &named {
            assert!(is_named(&damage, said, home.path()), "{damage}: not named in: {said}");
        }
        kinds.insert(damage.path.parent().unwrap().to_owned());
        tally.count(named.is_some());
    });
    println!("damaged logs: {tally}, in {} directories", kinds.len());
}

/// What recovery builds upon is checked before it is: a statement beside the ragged entries, and a tile below them, which
/// `fsck` names for it.
#[test]
fn damage_is_not_built_upon() {
    let made = made();
    let widest = made
        .files
        .keys()
        .filter(|path| path.starts_with("data/statement/001.p"))
        .max_by_key(|path| path.file_name().and_then(|width| width.to_str()?.parse::<u64>().ok()));
    for (path, name) in
        [(widest.unwrap().as_path(), "statement/001"), (Path::new("data/tile/0/000"), "tile/0/000")]
    {
        let home = directory();
        write(home.path(), &made.files);
        let mut bytes = made.files[path].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(home.path().join(path), bytes).unwrap();
        let config = template().config(home.path());
        let life = Life::start(&config, &Steps::default(), PACE).unwrap();
        crate::life::until(|| matches!(life.log().status(), Status::Stopped { .. }), "the log is refused");
        let mut ledger = made.ledger.clone();
        assert!(!life.stop(&mut ledger));
        check_heads(&ledger, &made.leaves, &Damage::none(&Files::new(), &home.path().join("none")));
        let report = locks::fsck(&config, false).unwrap().to_string();
        assert!(report.contains(&format!("DAMAGE {name}")), "{name}: {report}");
    }
}

/// What a running log makes of it; `None` if it takes receipts as ever.
fn run(life: Life, damage: &Damage, made: &Made, ledger: &mut Ledger) -> Option<String> {
    let stopped = |log: &Log| match log.status() {
        Status::Stopped { reason } => Some(reason),
        _ => None,
    };
    let mut leaves = made.leaves.clone();
    let writes = life.wait(|| stopped(life.log()).is_some());
    let mut said = if writes { None } else { stopped(life.log()) };
    life.look(ledger);
    for number in FIRST + MORE..FIRST + MORE + 3 {
        if said.is_some() {
            break;
        }
        let Some(answers) = life.submit([number]) else {
            crate::life::until(|| stopped(life.log()).is_some(), "the log stops");
            said = stopped(life.log());
            break;
        };
        for (id, answer) in answers {
            match life.answer(id, answer, ledger) {
                Answer::At(index) => {
                    let view = life.log().view().unwrap();
                    let item = block_on(life.log().item(&view, index)).unwrap().unwrap();
                    assert_eq!(index.get(), leaves.len() as u64, "{damage}: an index is given twice");
                    leaves.push(Hash::leaf(&item.entry));
                }
                Answer::Unknown => {
                    crate::life::until(|| stopped(life.log()).is_some(), "the log stops");
                    said = stopped(life.log());
                }
            }
        }
    }
    life.stop(ledger);
    check_heads(ledger, &leaves, damage);
    said
}

/// All heads that were ever signed are of this one history.
fn check_heads(ledger: &Ledger, leaves: &[Hash], damage: &Damage) {
    let (mut frontier, mut roots) = (Frontier::new(), vec![TreeHead::EMPTY]);
    for leaf in leaves {
        frontier.push(*leaf, drop).unwrap();
        roots.push(frontier.head());
    }
    for head in ledger.heads() {
        let expected = roots.get(usize::try_from(head.size.get()).unwrap());
        assert_eq!(expected, Some(&head), "{damage}: a wrong head was signed");
    }
}

/// What `fsck` finds; `None` if nothing: then all is there that was ever acknowledged.
fn found_by_fsck(config: &Config, ledger: &Ledger) -> Option<String> {
    match locks::fsck(config, true) {
        Ok(report) if report.is_clean() => {
            audit(config, ledger, false);
            None
        }
        Ok(report) => Some(report.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// By its path, by the commit's number, or by an entry that it holds.
fn is_named(damage: &Damage, said: &str, home: &Path) -> bool {
    let path = damage.path.strip_prefix("data").unwrap_or(&damage.path);
    let name = path.to_string_lossy();
    let whole = name.split_once(".p/").map_or(&*name, |(whole, _)| whole);
    if said.contains(whole) || said.contains(&home.join(&damage.path).display().to_string()) {
        return true;
    }
    let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
    if name.starts_with("commit/") {
        return number.is_some_and(|number| said.contains(&format!("commit {number}")));
    }
    let bundle = whole.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
    let words: Vec<_> = said.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    words.windows(2).any(|pair| {
        let index = pair[1].parse::<u64>().ok();
        matches!(pair[0], "entry" | "index" | "leaf") && index.map(|index| index / 256) == bundle
    })
}

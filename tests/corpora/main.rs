//! The laws of `counterfoil_tests::laws` over the corpora of `tests/fuzz`, and over damaged copies of them, without a fuzzer.
//!
//! `COUNTERFOIL_CORPUS_DAMAGES` (24) says how many damaged copies of each input are tried, `COUNTERFOIL_CORPUS_SEED` (1) which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it tried"
)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use counterfoil_merkle::Hash;
use counterfoil_tests::laws::{LAWS, Law};

/// All corpora together are no larger than this.
const CORPORA_BYTES_MAX: usize = 1_000_000;

/// Bytes that mean something somewhere.
const ODD: &[u8] = b"\0\n\r\"\\ 09+-/=.,:{}[]Az\x80\xff";

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(home().join(directory)).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".rs").unwrap_or(&name).to_owned()
    };
    entries.map(name).collect()
}

/// The inputs of a law's corpus, with their names.
fn corpus(law: Law) -> Vec<(String, Vec<u8>)> {
    let folder = home().join("corpus").join(law.name);
    let mut inputs: Vec<_> = names(&format!("corpus/{}", law.name))
        .into_iter()
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Says which input it was, if its law is broken.
struct Told<'a>(&'a Law, &'a str, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} is broken by {}: {:?}", self.0.name, self.1, String::from_utf8_lossy(self.2));
        }
    }
}

/// Every law has a target and a corpus, there are no others, and all of it is small.
#[test]
fn every_law_is_fuzzed() {
    let laws: BTreeSet<String> = LAWS.iter().map(|law| law.name.to_owned()).collect();
    assert_eq!(names("targets"), laws);
    assert_eq!(names("corpus"), laws);
    let manifest = fs::read_to_string(home().join("Cargo.toml")).unwrap();
    let size: usize = LAWS.iter().flat_map(|law| corpus(*law)).map(|(_, bytes)| bytes.len()).sum();
    assert!(size < CORPORA_BYTES_MAX, "{size} bytes");
    for law in &laws {
        assert!(manifest.contains(&format!("\nname = \"{law}\"\npath = \"targets/{law}.rs\"\n")), "{law}");
        let target = fs::read_to_string(home().join("targets").join(law).with_extension("rs")).unwrap();
        assert!(target.contains(&format!("counterfoil_tests::laws::{law}(bytes);")), "{law}");
    }
}

/// What a fuzzer kept goes through its law; of every corpus something is accepted and something refused, or it would reach only
/// one half of what it is for.
#[test]
fn kept_inputs_obey_their_laws() {
    for law in LAWS {
        let inputs = corpus(law);
        let accepted = inputs.iter().filter(|(name, bytes)| {
            let _told = Told(&law, name, bytes);
            (law.check)(bytes)
        });
        let accepted = accepted.count();
        println!("{}: {accepted} of {} accepted", law.name, inputs.len());
        assert!((1..inputs.len()).contains(&accepted), "{}: {accepted} of {}", law.name, inputs.len());
    }
}

/// Nor does damage break a law: bytes changed, cut, doubled, or put in from another input.
#[test]
fn damaged_inputs_obey_their_laws() {
    let damages = from_environment("COUNTERFOIL_CORPUS_DAMAGES", 24);
    let seed = from_environment("COUNTERFOIL_CORPUS_SEED", 1);
    for law in LAWS {
        let inputs = corpus(law);
        for (name, bytes) in &inputs {
            for round in 0..damages {
                let digest = Hash::of(&[&seed.to_be_bytes(), &round.to_be_bytes(), name.as_bytes(), bytes]);
                let damaged = damage(bytes, &inputs, digest.as_bytes());
                let _told = Told(&law, name, &damaged);
                (law.check)(&damaged);
            }
        }
    }
}

/// The same bytes with one to four things done to them, as the dice say.
fn damage(bytes: &[u8], others: &[(String, Vec<u8>)], dice: &[u8; 32]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for dice in dice.chunks_exact(8).take(1 + usize::from(dice[0] % 4)) {
        let place =
            |dice: &[u8], length: usize| usize::from(u16::from_be_bytes([dice[0], dice[1]])) % (length + 1);
        let (at, to) = (place(&dice[1..], damaged.len()), place(&dice[3..], damaged.len()));
        let (start, end) = (at.min(to), at.max(to));
        match dice[0] / 4 % 6 {
            0 if at < damaged.len() => damaged[at] ^= 1 << (dice[5] % 8),
            1 if at < damaged.len() => damaged[at] = ODD[usize::from(dice[5]) % ODD.len()],
            2 => drop(damaged.drain(start..end.min(start + 40))),
            3 => damaged.truncate(at),
            4 => {
                let piece = damaged[start..end].to_vec();
                damaged.splice(at..at, piece);
            }
            _ => {
                let other = &others[usize::from(dice[5]) % others.len()].1;
                let from = place(&dice[6..], other.len());
                let piece = other[from..].iter().copied().take(60).collect::<Vec<_>>();
                damaged.splice(at..at, piece);
            }
        }
    }
    damaged
}

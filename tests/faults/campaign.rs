//! Rounds of a campaign.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use crate::dice::Dice;

/// A number that the environment may set.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Runs the rounds that the environment asks for, or the first `rounds`. A round that fails is named, so that it alone
/// can be run again.
pub(crate) fn rounds(name: &str, rounds: u64, mut round: impl FnMut(u64, Dice)) {
    let seed = number("COUNTERFOIL_FAULT_SEED", 1);
    let from = number("COUNTERFOIL_FAULT_FROM", 0);
    let rounds = number("COUNTERFOIL_FAULT_ROUNDS", rounds);
    let mut told = Instant::now();
    for number in from..from + rounds {
        let ended = catch_unwind(AssertUnwindSafe(|| round(number, Dice::new(seed, number))));
        if let Err(panic) = ended {
            eprintln!(
                "round {number} failed; repeat it with COUNTERFOIL_FAULT_SEED={seed} \
                 COUNTERFOIL_FAULT_FROM={number} COUNTERFOIL_FAULT_ROUNDS=1"
            );
            resume_unwind(panic);
        }
        if told.elapsed() >= Duration::from_secs(60) {
            eprintln!("{name}: through round {number}");
            told = Instant::now();
        }
    }
    println!("{name}: {rounds} rounds from {from}, seed {seed}: nothing lost, no fork");
}

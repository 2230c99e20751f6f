//! The newest commit record stays, even when all that it has is durable elsewhere: it alone says where the log ends.

use counterfoil_server::steps::Steps;

use crate::{
    life::{Life, audit},
    locks,
    template::{FIRST, PACE, SIZE, directory, template, write},
};

/// A log that ends with a full bundle keeps its newest commit through settling, and is found again by it.
#[test]
fn the_newest_commit_stays() {
    let (made, home) = (template(), directory());
    write(home.path(), &made.files);
    let config = made.config(home.path());
    let mut ledger = made.ledger.clone();
    let to_full = 256 - usize::try_from(SIZE).unwrap();

    let life = Life::start(&config, &Steps::default(), PACE).unwrap();
    life.append(FIRST..FIRST + to_full, &mut ledger);
    assert!(life.stop(&mut ledger));
    let numbers = locks::objects(&config.data, &Steps::default()).unwrap().commit_numbers().unwrap();
    assert_eq!(numbers.len(), 1, "{numbers:?}: the newest alone is needed");

    let life = Life::start(&config, &Steps::default(), PACE).unwrap();
    life.append([FIRST + to_full], &mut ledger);
    assert!(life.stop(&mut ledger));
    assert_eq!(audit(&config, &ledger, true).get(), 257);
}

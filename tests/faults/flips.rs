//! A bit flips between admission and the answer: nobody is told of such a record, no head is signed over it, and a person
//! can set it aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use counterfoil_server::{
    adopt::set_aside,
    log::Status,
    queue::Submission,
    steps::{Manner, Step, Steps, Watch},
};
use tokio::sync::oneshot;

use crate::{
    campaign::rounds,
    dice::Dice,
    life::{Answer, Life, audit, until},
    receipts::receipt,
    template::{FIRST, PACE, SIZE, directory, template, write},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 12;

/// Flips one bit of a commit record once it is in its place.
struct Flipping {
    data: PathBuf,
    /// How many records are left alone first, and whose choice the bit is.
    state: Mutex<(usize, Dice)>,
}

impl Flipping {
    fn flip(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let (left, dice) = &mut *state;
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        *left = usize::MAX;
        let mut bytes = fs::read(path)?;
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
        fs::write(path, bytes)
    }
}

impl Watch for Flipping {
    fn begin(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }

    fn end(&self, step: Step<'_>) -> io::Result<()> {
        match step {
            Step::Link { to, .. } => self.flip(to),
            Step::Put { name, manner: Manner::Create, .. } if name.starts_with("commit/") => {
                self.flip(&self.data.join(name))
            }
            _ => Ok(()),
        }
    }
}

/// Whichever bit of a record changes on its way to the disk, in a new file or in one that is used again.
#[test]
fn a_flipped_bit_on_the_disk_is_never_acknowledged() {
    rounds("flipped bits", ROUNDS, |_, mut dice| {
        let (made, home, first) = (template(), directory(), FIRST);
        write(home.path(), &made.files);
        let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());
        // The first record is recovery's own.
        let sound = dice.below(12);
        let state = Mutex::new((1 + sound, dice));
        let steps = Steps::watched(std::sync::Arc::new(Flipping { data: config.data.clone(), state }));
        let life = Life::start(&config, &steps, PACE).unwrap();
        for number in first..first + sound {
            life.append([number], &mut ledger);
        }
        stops(&life, receipt(first + sound));
        let number = newest_commit(&config.data);
        assert!(!life.stop(&mut ledger));
        assert!(!Life::start(&config, &Steps::default(), PACE).unwrap().wait_or_stop(&mut ledger));
        set_aside(&config, number).unwrap();
        let life = Life::start(&config, &Steps::default(), PACE).unwrap();
        life.append([first + sound], &mut ledger);
        assert!(life.stop(&mut ledger));
        assert_eq!(audit(&config, &ledger, false).get(), SIZE + sound as u64 + 1);
    });
}

/// A bit of a statement, or the entry that goes with it, changes in memory after admission has checked it.
#[test]
fn a_flipped_bit_in_memory_is_never_acknowledged() {
    for part in ["statement", "entry"] {
        let (made, home, first) = (template(), directory(), FIRST);
        write(home.path(), &made.files);
        let (config, mut ledger) = (made.config(home.path()), made.ledger.clone());
        let life = Life::start(&config, &Steps::default(), PACE).unwrap();
        life.append([first], &mut ledger);
        let mut admitted = receipt(first + 1);
        if part == "statement" {
            let mut statement = admitted.statement.to_vec();
            statement[60] ^= 1;
            admitted.statement = statement.into();
        } else {
            admitted.draft = receipt(first + 2).draft;
        }
        stops(&life, admitted);
        let number = newest_commit(&config.data);
        assert!(!life.stop(&mut ledger), "{part}");
        set_aside(&config, number).unwrap();
        let life = Life::start(&config, &Steps::default(), PACE).unwrap();
        life.append([first + 1], &mut ledger);
        assert!(life.stop(&mut ledger));
        assert_eq!(audit(&config, &ledger, false).get(), SIZE + 2);
    }
}

/// Sends a receipt, which nobody may be told of; then the log must have stopped with nothing more signed.
fn stops(life: &Life, admitted: counterfoil_server::sequencer::Admitted) {
    assert!(life.wait(|| false));
    let size = life.log().view().unwrap().head().size;
    let (reply, answer) = oneshot::channel();
    let id = admitted.id;
    life.log().queue.submit(vec![Submission { admitted, reply }]).unwrap();
    let answer = life.answer(id, answer, &mut crate::life::Ledger::default());
    assert_eq!(answer, Answer::Unknown, "a damaged record was acknowledged");
    until(|| matches!(life.log().status(), Status::Stopped { .. }), "the log stops");
    assert_eq!(life.log().view().unwrap().head().size, size, "a head was signed over a damaged record");
}

fn newest_commit(data: &Path) -> u64 {
    let names = fs::read_dir(data.join("commit")).unwrap().map(|name| name.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).max().unwrap()
}

//! One bit flips in a file of something that was stopped, or the file is cut: when it starts again, it names the file, or
//! nothing is the matter. It never goes on in silence, never panics, and signs nothing that contradicts what it signed.

mod log;
mod monitor;
mod spool;
mod witness;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    dice::Dice,
    template::{Files, write},
};

/// What was done to one file.
struct Damage {
    /// Which, relative to where all of them are.
    path: PathBuf,
    how: How,
}

enum How {
    Not,
    Flipped { byte: usize, bit: u32 },
    Cut { to: usize, of: usize },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Not => f.write_str("undamaged"),
            How::Flipped { byte, bit } => {
                write!(f, "{}: bit {bit} of byte {byte} flipped", self.path.display())
            }
            How::Cut { to, of } => write!(f, "{}: cut from {of} bytes to {to}", self.path.display()),
        }
    }
}

impl Damage {
    /// Puts files below a directory, in place of all that is there. What follows from that must be harmless.
    fn none(files: &Files, home: &Path) -> Self {
        if home.exists() {
            fs::remove_dir_all(home).unwrap();
        }
        write(home, files);
        Self { path: PathBuf::new(), how: How::Not }
    }

    /// Puts files below a directory, in place of all that is there, one of them damaged; two flips for each cut. Each
    /// directory has the same chances, however many files are in it. An empty file has nothing to damage.
    fn deal(files: &Files, home: &Path, dice: &mut Dice) -> Self {
        let mut full = BTreeMap::<_, Vec<_>>::new();
        for (path, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            full.entry(path.parent()).or_default().push((path, bytes));
        }
        let directories: Vec<_> = full.values().collect();
        let directory = *dice.pick(&directories);
        let (path, bytes) = dice.pick(directory);
        let mut damaged = (*bytes).clone();
        let how = if dice.one_in(3) {
            let to = dice.below(bytes.len());
            damaged.truncate(to);
            How::Cut { to, of: bytes.len() }
        } else {
            let (byte, bit) = (dice.below(bytes.len()), dice.below(8));
            damaged[byte] ^= 1 << bit;
            How::Flipped { byte, bit: u32::try_from(bit).unwrap() }
        };
        Self::none(files, home);
        fs::write(home.join(path), damaged).unwrap();
        Self { path: (*path).clone(), how }
    }

    /// What a message names the file by: its path, as far as it says which one it is.
    fn is_named_in(&self, message: &str) -> bool {
        let path = self.path.to_string_lossy();
        // A partial tile or bundle may be named without its width.
        let whole = path.split_once(".p/").map_or(&*path, |(whole, _)| whole);
        message.contains(whole)
    }

    /// Checks that a message names the file.
    fn assert_named(&self, message: &str) {
        assert!(!matches!(self.how, How::Not), "nothing is damaged: {message}");
        assert!(self.is_named_in(message), "{self}: not named in: {message}");
    }
}

/// How many of the rounds ended in which way.
#[derive(Default)]
struct Tally {
    named: usize,
    harmless: usize,
}

impl Tally {
    fn count(&mut self, named: bool) {
        *(if named { &mut self.named } else { &mut self.harmless }) += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} named, {} harmless", self.named, self.harmless)
    }
}

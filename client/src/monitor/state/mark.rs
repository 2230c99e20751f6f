//! Which state is the newest: a number and a digest beside the state, and elsewhere too if somebody gives a place for it.
//!
//! Each state names the digest of the one before it, so that a crash between the two files is told from an older state that
//! was put in place of a newer one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{Hash, TreeHead, TreeSize};

use super::{StateError, write_file};

const MARK_BYTES_MAX: u64 = 512;

/// One state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which one, counted from 1.
    pub(super) number: u64,
    /// Its digest.
    pub(super) digest: Hash,
    /// The tree that it had read.
    pub(super) head: TreeHead,
}

/// Where the newest state is marked.
#[derive(Debug)]
pub(super) struct Marks {
    own: PathBuf,
    elsewhere: Option<PathBuf>,
    newest: Option<Mark>,
}

impl Marks {
    pub(super) fn new(own: PathBuf, elsewhere: Option<&Path>) -> Self {
        Self { own, elsewhere: elsewhere.map(Path::to_owned), newest: None }
    }

    /// Whether there is a mark at the place elsewhere.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|path| path.try_exists().unwrap_or(true))
    }

    /// The number of the next state, and the digest of the one before it: of no state, that of nothing.
    pub(super) fn next(&self) -> (u64, Hash) {
        self.newest.map_or((1, Hash::of(&[])), |newest| (newest.number + 1, newest.digest))
    }

    /// Holds the state that was found against the marks: it must be the one they name, or the one right after it.
    ///
    /// Marks that lag, or are not there yet where they need not be, are brought up to it.
    pub(super) fn check(&mut self, found: Mark, previous: Hash, state: &Path) -> Result<(), StateError> {
        let mut lags = false;
        let places = [(Some(&self.own), true), (self.elsewhere.as_ref(), false)];
        for (path, due) in places.into_iter().filter_map(|(path, due)| path.map(|path| (path, due))) {
            let Some(mark) = read(path)? else {
                // The first state may have been written and its mark not.
                if due && found.number > 1 {
                    return Err(StateError::Lost { path: path.clone() });
                }
                lags = true;
                continue;
            };
            let newest = (mark.number, mark.digest) == (found.number, found.digest);
            let right_after = (mark.number + 1, mark.digest) == (found.number, previous);
            if !newest && !right_after {
                return Err(StateError::RolledBack {
                    path: state.to_owned(),
                    number: found.number,
                    size: found.head.size,
                    mark: path.clone(),
                    marked: mark.number,
                    marked_size: mark.head.size,
                });
            }
            lags |= !newest;
        }
        self.newest = Some(found);
        if lags { self.put(found) } else { Ok(()) }
    }

    /// Marks the state that was written.
    pub(super) fn put(&mut self, mark: Mark) -> Result<(), StateError> {
        let TreeHead { size, root } = mark.head;
        let line = format!("{} {} {size} {root}", mark.number, mark.digest);
        let text = format!("{line}\n{}\n", Hash::of(&[line.as_bytes()]));
        write_file(&self.own, text.as_bytes())?;
        if let Some(elsewhere) = &self.elsewhere {
            write_file(elsewhere, text.as_bytes())?;
        }
        self.newest = Some(mark);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Mark>, StateError> {
    let text = match fs::metadata(path).and_then(|file| match file.len() {
        0..=MARK_BYTES_MAX => fs::read_to_string(path),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| StateError::Io { path: path.to_owned(), source })?,
    };
    parse(&text).map(Some).ok_or_else(|| StateError::Damaged { path: path.to_owned() })
}

fn parse(text: &str) -> Option<Mark> {
    let (line, rest) = text.split_once('\n')?;
    if rest != format!("{}\n", Hash::of(&[line.as_bytes()])) {
        return None;
    }
    let mut words = line.split(' ');
    let mut word = || words.next();
    let number = word()?.parse().ok()?;
    let digest = word()?.parse().ok()?;
    let size = TreeSize::new(word()?.parse().ok()?).ok()?;
    Some(Mark { number, digest, head: TreeHead { size, root: word()?.parse().ok()? } })
}

//! The search index: which records have what, made from published entries and statements beside the log and never in its way.
//!
//! A thread ([`follow`]) reads what is published and takes each record apart ([`terms`]). The newest entries are kept in memory
//! ([`tail`]); every 65,536 become a [`run`], one file of sorted sets. Nothing is acknowledged by this index, and nothing waits for
//! it: answers say up to which tree size they are complete. Whatever is lost or damaged is made again from the log.
//!
//! What it finds are candidates. Each is confirmed against its entry and statement before it is given out, so that damage here
//! can hide a record for a while, but never pass one off as another. What a statement says stands in no file: terms are keyed
//! digests ([`digest`]), and when a statement is erased its terms are taken out ([`Search::forget`]).
//!
//! Memory: the tail, some 25 MB at most; some 30 bytes for every 16 KB of runs, that is, 3 KB for 65,536 entries. Disk: some 30 bytes
//! an entry.

pub mod cases;
pub mod cursor;
pub mod digest;
pub mod erased;
pub mod files;
pub mod follow;
pub mod index;
pub mod matter;
pub mod page;
pub mod positions;
pub mod query;
pub mod run;
pub mod summary;
pub mod tail;
pub mod terms;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::Timestamp;
use tracing::warn;

use self::{
    digest::Key,
    files::{Files, FilesError},
    index::{Begin, Candidates, Index},
    run::Run,
    summary::Summary,
    tail::Tail,
    terms::Facts,
};
use crate::index::runs::RUN_ENTRIES;

pub use query::{Order, Query};

/// The index as the thread that makes it and those that ask share it.
#[derive(Debug)]
pub struct Search {
    files: Arc<Files>,
    index: RwLock<Index>,
    /// Held by whoever changes the index, so that what is read for it is not outdated meanwhile.
    change: Mutex<Forgotten>,
}

/// Entries whose statements were erased while this process ran: bytes read before that must not be indexed after it.
type Forgotten = BTreeSet<u64>;

impl Search {
    /// Opens the index in a directory, or starts one. `node` as in [`Index::open`].
    pub fn open(directory: &Path, node: impl Fn(u64) -> Option<Hash>) -> Result<Self, FilesError> {
        let files = Arc::new(Files::open(directory)?);
        let (index, doubted) = Index::open(Arc::clone(&files), node)?;
        for number in doubted {
            warn!(
                run = number,
                "a run of the search index is damaged or of another history; it is made again"
            );
        }
        Ok(Self { files, index: RwLock::new(index), change: Mutex::default() })
    }

    /// Deletes all runs, for a log that makes them again; the key stays, so that the same log gives the same files.
    pub fn clear(directory: &Path) -> Result<(), FilesError> {
        let files = Files::open(directory)?;
        files.numbers()?.into_iter().try_for_each(|number| files.remove(number))
    }

    /// The key of the index.
    pub fn key(&self) -> &Key {
        self.files.key()
    }

    /// How many entries were taken.
    pub fn size(&self) -> u64 {
        self.read().size()
    }

    /// Up to which tree size answers are complete.
    pub fn complete(&self) -> u64 {
        self.read().complete()
    }

    /// The first run that has to be made again.
    pub fn missing(&self) -> Option<u64> {
        self.read().missing()
    }

    /// Takes what statements said out of the index, for entries whose statements are erased: no file of the index has a digest of
    /// it afterwards. Empty the slots first: what is read from them later is indexed as it is then. Can be repeated.
    ///
    /// Writes a run anew for each 65,536 entries among which one is; some 20 ms.
    pub fn forget(&self, indexes: &[LeafIndex]) -> Result<(), FilesError> {
        let mut forgotten = self.changing();
        forgotten.extend(indexes.iter().map(|index| index.get()));
        let mut runs: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
        for index in indexes {
            let place = u16::try_from(index.get() % RUN_ENTRIES as u64).expect("below 65,536");
            runs.entry(index.get() / RUN_ENTRIES as u64).or_default().push(place);
        }
        self.write().forget_in_tail(&indexes.iter().map(|index| index.get()).collect());
        let known = self.read().size() / RUN_ENTRIES as u64;
        for (number, places) in runs.range(..known) {
            let mut run = match self.files.load(*number) {
                Ok(run) => run,
                Err(error) => {
                    // Whatever the file has must not stay; it is made again without what is gone.
                    self.doubt(*number, &error);
                    self.files.remove(*number)?;
                    continue;
                }
            };
            if run.forget(places) {
                let mut index = self.write();
                let head = self.files.store(&run)?;
                index.put(head);
            }
        }
        Ok(())
    }

    /// As [`Index::candidates`]. A run that turns out to be damaged is left out, with all after it, until it is made again.
    pub fn candidates(
        &self,
        terms: &[terms::Term<'_>],
        range: Range<u64>,
        order: Order,
        max: usize,
    ) -> Result<Candidates, FilesError> {
        let terms: Vec<_> = terms.iter().map(|term| self.files.key().digest(term)).collect();
        self.believed(|index| index.candidates(&terms, range.clone(), order, max))
    }

    /// As [`Index::count`].
    pub fn count(&self, terms: &[terms::Term<'_>], range: Range<u64>) -> Result<u64, FilesError> {
        let terms: Vec<_> = terms.iter().map(|term| self.files.key().digest(term)).collect();
        self.believed(|index| index.count(&terms, range.clone()))
    }

    /// As [`Index::summaries`].
    pub fn summaries(&self, issuer: &str) -> Result<(u64, Vec<(u64, Summary)>), FilesError> {
        self.believed(|index| index.summaries(issuer))
    }

    /// As [`Index::begin`].
    pub fn begin(&self, at: Timestamp) -> Result<Begin, FilesError> {
        self.believed(|index| index.begin(at))
    }

    fn believed<T>(&self, ask: impl Fn(&Index) -> Result<T, FilesError>) -> Result<T, FilesError> {
        loop {
            let asked = ask(&self.read());
            match asked {
                Err(error @ FilesError::Damaged { number }) if self.doubt(number, &error) => {}
                asked => return asked,
            }
        }
    }

    /// Leaves a run out until it is made again; says whether it was not left out before.
    fn doubt(&self, number: u64, error: &FilesError) -> bool {
        let was_there = self.write().doubt(number);
        if was_there {
            warn!(%error, "the search index is complete up to there only, until that is made again");
        }
        was_there
    }

    /// Takes the records of a bundle that follow those that it has.
    fn take(&self, records: &[Facts<'_>], forgotten: &Forgotten) -> bool {
        let mut index = self.write();
        let mut full = false;
        for facts in records {
            assert!(!full, "a run ends with a bundle");
            let place = index.size();
            full = index.push(&without_forgotten(facts, place, forgotten));
        }
        full
    }

    /// Puts the full tail into a file.
    fn seal(&self, node: Hash) -> Result<(), FilesError> {
        let run = self.read().sealed(node);
        let head = self.files.store(&run)?;
        let former = self.write().seal(head);
        drop(former);
        Ok(())
    }

    /// Puts a run that was missing into its place.
    fn replace(&self, number: u64, node: Hash, tail: &Tail) -> Result<(), FilesError> {
        let run: Run = tail.to_run(number, node);
        let mut index = self.write();
        let head = self.files.store(&run)?;
        index.put(head);
        Ok(())
    }

    fn changing(&self) -> MutexGuard<'_, Forgotten> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The facts of the record at an index; less what its statement said, if that was erased meanwhile.
fn without_forgotten<'f, 'a>(facts: &'f Facts<'a>, index: u64, forgotten: &Forgotten) -> Cow<'f, Facts<'a>> {
    if !forgotten.contains(&index) {
        return Cow::Borrowed(facts);
    }
    let mut facts = facts.clone();
    facts.terms.retain(|term| !term.field.is_of_statement());
    Cow::Owned(facts)
}

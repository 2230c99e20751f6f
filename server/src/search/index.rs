//! All runs and the tail, and how a question is answered from them: with candidates, for the log itself to confirm.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use counterfoil_merkle::Hash;
use counterfoil_receipt::Timestamp;

use super::{
    digest::{Digest, Key, Remembered},
    files::{Files, FilesError},
    positions::Positions,
    query::Order,
    run::{Head, Run, STEP, find_positions, find_summary, times_of},
    summary::Summary,
    tail::Tail,
    terms::Facts,
};
use crate::index::runs::RUN_ENTRIES;

/// As many runs are gone through for one page: 16 million entries, and milliseconds. What is beyond is for the next page.
pub const RUNS_MAX: usize = 256;

const ENTRIES: u64 = RUN_ENTRIES as u64;

/// The index of a log's first entries.
#[derive(Debug)]
pub struct Index {
    files: Arc<Files>,
    /// None in the place of a run that has to be made again.
    runs: Vec<Option<Head>>,
    tail: Tail,
    remembered: Remembered,
}

/// Entries that may be what is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Their indexes, in the order asked for.
    pub indexes: Vec<u64>,
    /// What is left of the range; empty if all of it was gone through.
    pub rest: Range<u64>,
}

/// Where a time begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this index.
    At(u64),
    /// Somewhere in this bundle, or right after it.
    Within(u64),
}

impl Index {
    /// Starts with the runs that are there. `node` gives the tree node over a run of the log, or none if the log does not have it:
    /// runs of another history are left out, and made again. Says which those are.
    pub fn open(
        files: Arc<Files>,
        node: impl Fn(u64) -> Option<Hash>,
    ) -> Result<(Self, Vec<u64>), FilesError> {
        let (mut runs, mut doubted) = (Vec::new(), Vec::new());
        for number in files.numbers()? {
            let Some(due) = node(number) else {
                files.remove(number)?;
                continue;
            };
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            if runs.len() <= place {
                runs.resize(place + 1, None);
            }
            match files.head(number) {
                Ok(Some(head)) if head.node == due => runs[place] = Some(head),
                _ => doubted.push(number),
            }
        }
        Ok((Self { files, runs, tail: Tail::default(), remembered: Remembered::default() }, doubted))
    }

    /// The key of the index.
    pub fn key(&self) -> &Key {
        self.files.key()
    }

    /// How many entries were taken: all below that index, but for runs that are missing.
    pub fn size(&self) -> u64 {
        self.tail_start() + self.tail.len() as u64
    }

    /// Up to which size answers are complete.
    pub fn complete(&self) -> u64 {
        self.missing().map_or_else(|| self.size(), |number| number * ENTRIES)
    }

    /// The first run that has to be made again.
    pub fn missing(&self) -> Option<u64> {
        self.runs.iter().position(Option::is_none).map(|number| number as u64)
    }

    /// Takes the next entry; tells whether that makes up a run.
    pub fn push(&mut self, facts: &Facts<'_>) -> bool {
        self.tail.push(self.files.key(), &mut self.remembered, facts);
        self.tail.is_full()
    }

    /// The run that the tail makes up; `node` is the tree node over it.
    pub fn sealed(&self, node: Hash) -> Run {
        self.tail.to_run(self.runs.len() as u64, node)
    }

    /// Goes on with an empty tail: it is a run now. Gives the former one back, which takes a while to drop.
    ///
    /// # Panics
    /// If it was not full.
    #[must_use]
    pub fn seal(&mut self, head: Head) -> Tail {
        assert!(self.tail.is_full() && head.number == self.runs.len() as u64, "the next run");
        self.runs.push(Some(head));
        std::mem::take(&mut self.tail)
    }

    /// A missing run was made again, or one was written anew.
    pub fn put(&mut self, head: Head) {
        let place = usize::try_from(head.number).ok().and_then(|number| self.runs.get_mut(number));
        *place.expect("a run that there was") = Some(head);
    }

    /// A run cannot be believed: it is missing from here on. Tells whether it was there.
    pub fn doubt(&mut self, number: u64) -> bool {
        let place = usize::try_from(number).ok().and_then(|number| self.runs.get_mut(number));
        place.and_then(Option::take).is_some()
    }

    /// Takes entries of the tail out of every set that came from statements.
    pub fn forget_in_tail(&mut self, indexes: &BTreeSet<u64>) {
        let start = self.tail_start();
        let inside = |index: &u64| u16::try_from(index.checked_sub(start)?).ok();
        let places: BTreeSet<_> = indexes.iter().filter_map(inside).collect();
        if !places.is_empty() {
            self.tail.forget(&places);
        }
    }

    /// Entries in a range that may have all of these terms, at most `max`.
    pub fn candidates(
        &self,
        terms: &[Digest],
        range: Range<u64>,
        order: Order,
        max: usize,
    ) -> Result<Candidates, FilesError> {
        let mut rest = range.start..range.end.min(self.complete());
        let mut indexes = Vec::new();
        for _ in 0..RUNS_MAX {
            if rest.is_empty() || indexes.len() >= max {
                break;
            }
            let number = match order {
                Order::Newest => (rest.end - 1) / ENTRIES,
                Order::Oldest => rest.start / ENTRIES,
            };
            let start = number * ENTRIES;
            let inside = inside(&rest, start);
            let found = self.sets(number, terms)?;
            let found = found.iter().flat_map(|set| set.within(inside.clone(), order));
            let before = indexes.len();
            indexes.extend(found.take(max - before).map(|place| start + u64::from(place)));
            let full = indexes.len() >= max;
            match (order, indexes.last().filter(|_| full)) {
                (Order::Newest, Some(last)) => rest.end = *last,
                (Order::Oldest, Some(last)) => rest.start = last + 1,
                (Order::Newest, None) => rest.end = start.max(rest.start),
                (Order::Oldest, None) => rest.start = (start + ENTRIES).min(rest.end),
            }
        }
        Ok(Candidates { indexes, rest })
    }

    /// How many entries in a range may have all of these terms.
    pub fn count(&self, terms: &[Digest], range: Range<u64>) -> Result<u64, FilesError> {
        let range = range.start..range.end.min(self.complete());
        let mut count = 0;
        for number in range.start / ENTRIES..range.end.div_ceil(ENTRIES) {
            let set = self.sets(number, terms)?;
            let inside = inside(&range, number * ENTRIES);
            count +=
                set.iter().map(|set| set.within(inside.clone(), Order::Oldest).count() as u64).sum::<u64>();
        }
        Ok(count)
    }

    /// What an issuer did in each run, oldest first, with the index at which that begins; and below which size that is all.
    pub fn summaries(&self, issuer: &str) -> Result<(u64, Vec<(u64, Summary)>), FilesError> {
        let digest = self.key().summary(issuer);
        let mut summaries = Vec::new();
        for (number, head) in self.runs.iter().enumerate() {
            let Some(head) = head else { return Ok((self.complete(), summaries)) };
            let part = head.part(digest).map(|part| self.files.reader(head)?.part(part)).transpose()?;
            let found = part.and_then(|part| find_summary(&part, digest));
            summaries.extend(found.map(|summary| (number as u64 * ENTRIES, summary)));
        }
        summaries.extend(self.tail.summary(digest).map(|summary| (self.tail_start(), summary.clone())));
        Ok((self.size(), summaries))
    }

    /// Where entries of that time or later begin, among those that answers are complete for.
    pub fn begin(&self, at: Timestamp) -> Result<Begin, FilesError> {
        let at = at.millis();
        for (number, head) in self.runs.iter().enumerate() {
            let start = number as u64 * ENTRIES;
            let Some(head) = head else { return Ok(Begin::At(start)) };
            if head.span.1 < at {
                continue;
            }
            let damaged = FilesError::Damaged { number: head.number };
            let part = self.files.reader(head)?.part(head.times().ok_or(damaged)?)?;
            let earlier = times_of(&part).partition_point(|time| *time < at) as u64;
            return Ok(match earlier.checked_sub(1) {
                None => Begin::At(start),
                Some(bundle) => Begin::Within(start / STEP as u64 + bundle),
            });
        }
        let earlier = self.tail.times().partition_point(|time| *time < at);
        Ok(Begin::At(self.tail_start() + earlier as u64))
    }

    /// The entries of a run, or of the tail, that have all of these terms; none at all where one of them has none.
    fn sets(&self, number: u64, terms: &[Digest]) -> Result<Option<Positions>, FilesError> {
        if number >= self.runs.len() as u64 {
            return Ok(cut(terms.iter().map(|term| self.tail.positions(*term))));
        }
        let missing = FilesError::Damaged { number };
        let Some(Some(head)) = usize::try_from(number).ok().and_then(|number| self.runs.get(number)) else {
            return Err(missing);
        };
        let reader = self.files.reader(head)?;
        let mut sets = Vec::with_capacity(terms.len());
        for term in terms {
            let part = head.part(*term).map(|part| reader.part(part)).transpose()?;
            let Some(set) = part.and_then(|part| find_positions(&part, *term)) else { return Ok(None) };
            sets.push(Some(set));
        }
        Ok(cut(sets.into_iter()))
    }

    const fn tail_start(&self) -> u64 {
        self.runs.len() as u64 * ENTRIES
    }
}

/// What all of the sets have; everything if there are none.
fn cut(sets: impl Iterator<Item = Option<Positions>>) -> Option<Positions> {
    let mut sets: Vec<_> = sets.collect::<Option<_>>()?;
    sets.sort_by_key(Positions::count);
    let mut sets = sets.into_iter();
    let first = sets.next().unwrap_or_else(Positions::all);
    Some(sets.fold(first, |cut, set| cut.and(&set)))
}

/// The part of a range of indexes that lies in a run, as places of it.
fn inside(range: &Range<u64>, start: u64) -> Range<usize> {
    let place =
        |index: u64| usize::try_from(index.saturating_sub(start)).unwrap_or(usize::MAX).min(RUN_ENTRIES);
    place(range.start)..place(range.end)
}

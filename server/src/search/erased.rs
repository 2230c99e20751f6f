//! Erasures that the index has still to follow: a statement's terms go once its slot is empty.
//!
//! Whoever empties a slot calls [`Search::forget`] too. Should the process end between the two, this finds it: at every start all
//! erasure records are gone through again, and while the log runs each new one is looked after until its slot is empty.

use std::collections::{BTreeSet, VecDeque};

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{Entry, Kind};

use super::{
    Order, Search,
    follow::FollowError,
    terms::{Field, Term},
};
use crate::{log::Log, publish::View, tiles::ReadError};

/// As many are looked at in one go.
const LOOKS_MAX: usize = 256;

/// Records whose erasure was ordered and not seen yet.
#[derive(Debug, Default)]
pub struct Ordered {
    waiting: VecDeque<LeafIndex>,
    known: BTreeSet<LeafIndex>,
}

impl Ordered {
    /// Those that all erasure records in the index order.
    pub async fn all(search: &Search, log: &Log, view: &View) -> Result<Self, FollowError> {
        let mut ordered = Self::default();
        let mut range = 0..search.complete().min(view.head().size.get());
        while !range.is_empty() {
            let term = [Term::new(Field::Kind, Kind::Erasure.as_str())];
            let found = search.candidates(&term, range, Order::Oldest, LOOKS_MAX)?;
            for index in found.indexes {
                ordered.add(log, view, LeafIndex::new(index).map_err(ReadError::from)?).await?;
            }
            range = found.rest;
        }
        Ok(ordered)
    }

    /// Adds what an erasure record orders.
    pub async fn add(&mut self, log: &Log, view: &View, record: LeafIndex) -> Result<(), FollowError> {
        let item = log.item(view, record).await?.ok_or(ReadError::Entry { index: record })?;
        let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index: record })?;
        let about: Option<Hash> = entry.about.filter(|_| entry.kind == Kind::Erasure);
        let Some(leaf) = about else { return Ok(()) };
        let found = log.find_leaf(&view.edge, leaf).await?;
        if let Some(index) = found.filter(|index| self.known.insert(*index)) {
            self.waiting.push_back(index);
        }
        Ok(())
    }

    /// Lets the index forget those whose slots are empty by now, and says which those are.
    pub async fn follow(
        &mut self,
        search: &Search,
        log: &Log,
        view: &View,
    ) -> Result<Vec<LeafIndex>, FollowError> {
        let mut gone = Vec::new();
        for _ in 0..self.waiting.len().min(LOOKS_MAX) {
            let Some(index) = self.waiting.pop_front() else { break };
            match log.item(view, index).await? {
                Some(item) if item.statement.is_empty() => gone.push(index),
                _ => self.waiting.push_back(index),
            }
        }
        search.forget(&gone)?;
        Ok(gone)
    }
}

//! Everything about one matter, by the index: what a record is all about in the end, and all records about that.

use std::{collections::VecDeque, sync::Arc};

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Entry, Id, Kind, Timestamp,
    standing::{Docket, Found, Kept, Keys, Matter, Record},
    statement::{Predicate, Rules, Subject},
};

use super::{
    Query, Search,
    files::FilesError,
    follow::FollowError,
    page,
    terms::{Field, Term},
};
use crate::{commit::Item, log::Log, publish::View, tiles::ReadError};

/// A log as the index shows it up to a size: what dockets are put together from.
pub struct Asked<'l> {
    /// The index.
    pub search: &'l Arc<Search>,
    /// The log.
    pub log: &'l Log,
    /// What is published of it.
    pub view: &'l View,
    /// As if it had no more entries than this.
    pub size: u64,
}

/// All records of a matter, and their bytes.
pub struct Gathered {
    /// In index order.
    pub records: Vec<(Record, Item)>,
    /// Whether there are more than were asked for; these are not all then.
    pub more: bool,
}

impl Asked<'_> {
    /// What a record is all about: the receipt, or whatever its chain ends at.
    pub async fn matter_of(&self, index: LeafIndex) -> Result<Matter, FollowError> {
        let mut at = index;
        // A record is about an earlier one, so this ends.
        loop {
            let (record, _) = self.record(at).await?;
            let above = match record.entry.about {
                Some(leaf) => self.log.find_leaf(&self.view.edge, leaf).await?.filter(|above| *above < at),
                None => None,
            };
            match above {
                Some(above) => at = above,
                None => return Ok(matter(&record)),
            }
        }
    }

    /// Whether the index has all along been complete up to the size: else something may have been left out.
    pub fn check(&self) -> Result<(), FollowError> {
        match self.search.missing() {
            Some(number) if self.search.complete() < self.size => Err(FilesError::Damaged { number }.into()),
            _ => Ok(()),
        }
    }

    /// All records about a matter, and about those, at most `max`. [`Asked::check`] afterwards.
    pub async fn gather(&self, matter: &Matter, max: usize) -> Result<Gathered, FollowError> {
        let mut records = Vec::new();
        match matter {
            Matter::Record(leaf) => {
                let index = self.log.find_leaf(&self.view.edge, *leaf).await?;
                if let Some(index) = index.filter(|index| index.get() < self.size) {
                    records.push(self.record(index).await?);
                }
            }
            Matter::Promise(id) => {
                records = self.with(Term::new(Field::Promise, id.to_string()), 0, max).await?;
            }
            Matter::Elsewhere(leaf) => {
                records = self.with(Term::new(Field::Elsewhere, leaf.to_string()), 0, max).await?;
            }
        }
        let place = |(record, _): &(Record, Item)| (record.index, record.leaf);
        let mut waiting: VecDeque<(LeafIndex, Hash)> = records.iter().map(place).collect();
        while let Some((index, leaf)) = waiting.pop_front() {
            if records.len() > max {
                break;
            }
            // What is about a record comes after it.
            let about = Term::new(Field::About, leaf.to_string());
            let about = self.with(about, index.get() + 1, max + 1 - records.len()).await?;
            waiting.extend(about.iter().map(place));
            records.extend(about);
        }
        let more = records.len() > max;
        records.truncate(max);
        records.sort_by_key(|(record, _)| record.index);
        Ok(Gathered { records, more })
    }

    /// The docket of a matter; `keys` and `rules` are those of the same size.
    pub async fn docket(
        &self,
        matter: Matter,
        gathered: &Gathered,
        keys: Arc<Keys>,
        rules: Option<Rules>,
    ) -> Result<Docket, FollowError> {
        let size = counterfoil_merkle::TreeSize::new(self.size).map_err(ReadError::from)?;
        let kept = match &matter {
            Matter::Promise(id) => self.kept(*id, gathered).await?,
            _ => None,
        };
        let found = Found { size, last: self.last().await?, rules, keys, kept };
        let records = gathered.records.iter().map(|(record, _)| record.clone()).collect();
        Ok(Docket::assemble(matter, found, records))
    }

    /// The date of the last entry.
    pub async fn last(&self) -> Result<Option<Timestamp>, FollowError> {
        let Some(last) = self.size.checked_sub(1) else { return Ok(None) };
        let index = LeafIndex::new(last).map_err(ReadError::from)?;
        let item = self.log.item(self.view, index).await?.ok_or(ReadError::Entry { index })?;
        Ok(Some(super::terms::read(index, &item.entry, &[])?.at))
    }

    /// The receipt that keeps a promise.
    async fn kept(&self, promise: Id, gathered: &Gathered) -> Result<Option<Kept>, FollowError> {
        let promised =
            gathered.records.iter().find_map(|(record, _)| match &record.statement.as_ref()?.predicate {
                Predicate::Dispute(dispute) => dispute.promise().filter(|promised| promised.id() == promise),
                _ => None,
            });
        let Some(promised) = promised else { return Ok(None) };
        let Predicate::Promise(said) = &promised.statement().predicate else { return Ok(None) };
        let issuer = promised.envelope().key().clone();
        let terms = vec![
            Term::new(Field::Claim, said.claim.as_str().to_owned()),
            Term::new(Field::Issuer, issuer.as_str().to_owned()),
            Term::new(Field::Kind, Kind::Receipt.as_str()),
        ];
        let found = page::all(self.search, self.log, self.view, &Query::with(terms), 0..self.size, 1).await?;
        let Some((index, item)) = found.into_iter().next() else { return Ok(None) };
        let record = read(index, &item)?;
        Ok(Some(Kept { issuer, claim: said.claim.clone(), receipt: record.leaf, at: record.entry.at }))
    }

    /// Records with a term, from an index on.
    async fn with(
        &self,
        term: Term<'static>,
        from: u64,
        max: usize,
    ) -> Result<Vec<(Record, Item)>, FollowError> {
        let query = Query::with(vec![term]);
        let range = from..self.size.max(from);
        let found = page::all(self.search, self.log, self.view, &query, range, max).await?;
        found.into_iter().map(|(index, item)| Ok((read(index, &item)?, item))).collect()
    }

    async fn record(&self, index: LeafIndex) -> Result<(Record, Item), FollowError> {
        let item = self.log.item(self.view, index).await?.ok_or(ReadError::Entry { index })?;
        Ok((read(index, &item)?, item))
    }
}

/// Reads a record and its statement, signature included.
pub fn read(index: LeafIndex, item: &Item) -> Result<Record, FollowError> {
    let failed = |reason| FollowError::Record { index, reason };
    let entry = Entry::parse(&item.entry).map_err(failed)?;
    let statement = (!item.statement.is_empty()).then(|| entry.check_statement(&item.statement));
    let statement = statement.transpose().map_err(failed)?;
    Ok(Record { index, leaf: Hash::leaf(&item.entry), entry, statement })
}

fn matter(record: &Record) -> Matter {
    match record.statement.as_ref().map(|statement| &statement.subject) {
        Some(Subject::Promise(id)) => Matter::Promise(*id),
        Some(Subject::Elsewhere(leaf)) => Matter::Elsewhere(*leaf),
        _ => Matter::Record(record.leaf),
    }
}

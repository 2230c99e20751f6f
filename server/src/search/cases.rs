//! What is owed in disputes, kept by its deadline, and what the log says of keys: followed record by record, so that nobody has to
//! read the log to learn what is overdue.
//!
//! A matter is judged again whenever a record about it comes, by the same function that everybody else uses
//! ([`counterfoil_receipt::standing`]); time then only passes deadlines. All of it is in memory, a few hundred bytes for
//! each thing owed, and found again at every start from the disputes in the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Kind, PublicKey, Timestamp,
    standing::{Keys, Matter, Owed},
    statement::{Predicate, Revocation, Rules},
};

use super::{
    Order, Search,
    follow::{FollowError, Noted},
    matter::{Asked, read},
    page,
    terms::{Field, Term},
};
use crate::{log::Log, publish::View, tiles::ReadError};

/// Most records of a matter that is judged.
const RECORDS_MAX: usize = 10_000;

/// As many indexes are taken from the search index at once.
const TAKEN_MAX: usize = 4096;

/// What follows from the records below a size.
#[derive(Debug, Default)]
pub struct Cases {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    size: u64,
    keys: Arc<Keys>,
    rules: Option<Rules>,
    matters: BTreeMap<MatterKey, (Matter, Vec<(Timestamp, Hash)>)>,
    due: BTreeMap<(Timestamp, Hash), Due>,
    /// Matters with more records than are judged.
    unjudged: BTreeSet<MatterKey>,
}

type MatterKey = (u8, Hash);

/// Something owed, and in which matter.
#[derive(Clone, Debug)]
pub struct Due {
    /// What.
    pub owed: Owed,
    /// In which matter.
    pub matter: Matter,
}

/// What the log says of keys, up to a size.
#[derive(Clone, Debug)]
pub struct Known {
    /// The size.
    pub size: u64,
    /// Names, roles, revocations, policies.
    pub keys: Arc<Keys>,
    /// The rules in force.
    pub rules: Option<Rules>,
}

/// What is overdue.
#[derive(Clone, Debug)]
pub struct Overdue {
    /// Up to which size records were judged.
    pub size: u64,
    /// The longest overdue first.
    pub due: Vec<Due>,
    /// How many there are in all.
    pub total: usize,
    /// How many matters have more records than are judged.
    pub unjudged: usize,
}

impl Cases {
    /// What the log says of keys.
    pub fn known(&self) -> Known {
        let state = self.read();
        Known { size: state.size, keys: Arc::clone(&state.keys), rules: state.rules.clone() }
    }

    /// What is overdue at a moment, at most `max`, after where a page before ended.
    pub fn overdue(&self, at: Timestamp, after: Option<(Timestamp, Hash)>, max: usize) -> Overdue {
        let state = self.read();
        // What is due at that very moment is not late yet.
        let end = (at, Hash::new([0; Hash::BYTES]));
        let late = || state.due.range(..end);
        let rest = late().filter(|(place, _)| after.is_none_or(|after| **place > after));
        let due = rest.take(max).map(|(_, due)| due.clone()).collect();
        Overdue { size: state.size, due, total: late().count(), unjudged: state.unjudged.len() }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Follows the records of a log into [`Cases`].
#[derive(Debug, Default)]
pub struct Followed {
    keys: Arc<Keys>,
    rules: Option<Rules>,
}

impl Followed {
    /// Goes through all that the index knows.
    pub async fn begin(
        search: &Arc<Search>,
        log: &Log,
        view: &View,
        cases: &Cases,
    ) -> Result<Self, FollowError> {
        let size = search.complete().min(view.head().size.get());
        let mut noted = Vec::new();
        for kind in [Kind::Rules, Kind::Key, Kind::Revocation, Kind::Policy, Kind::Dispute] {
            let mut range = 0..size;
            while !range.is_empty() {
                let term = [Term::new(Field::Kind, kind.as_str())];
                let found = search.candidates(&term, range, Order::Oldest, TAKEN_MAX)?;
                for index in found.indexes {
                    noted.push(Noted { index: LeafIndex::new(index).map_err(ReadError::from)?, kind });
                }
                range = found.rest;
            }
        }
        noted.sort_by_key(|noted| noted.index);
        let mut followed = Self::default();
        followed.go_on(search, log, view, cases, &noted).await?;
        Ok(followed)
    }

    /// Follows the records that came since: `noted` names those that may matter here, in index order.
    pub async fn go_on(
        &mut self,
        search: &Arc<Search>,
        log: &Log,
        view: &View,
        cases: &Cases,
        noted: &[Noted],
    ) -> Result<(), FollowError> {
        let asked = Asked { search, log, view, size: search.complete().min(view.head().size.get()) };
        let of_keys = |noted: &&Noted| Keys::is_changed_by(noted.kind);
        // What fails half way is done again, from what was before.
        let (mut keys, mut rules) = (Arc::clone(&self.keys), self.rules.clone());
        let mut successors = false;
        for noted in noted.iter().filter(of_keys) {
            take_key(&asked, noted.index, Arc::make_mut(&mut keys), &mut rules).await?;
            successors |= noted.kind == Kind::Revocation;
        }
        let mut touched: BTreeMap<MatterKey, Matter> = BTreeMap::new();
        for noted in noted.iter().filter(|noted| !of_keys(noted)) {
            let matter = asked.matter_of(noted.index).await?;
            touched.insert(key(&matter), matter);
        }
        if successors {
            // Who acts for whom may have changed everywhere.
            let state = cases.read();
            touched.extend(state.matters.iter().map(|(key, (matter, _))| (*key, matter.clone())));
        }
        let mut judged = Vec::new();
        for (key, matter) in touched {
            let gathered = asked.gather(&matter, RECORDS_MAX).await?;
            let disputed = gathered.records.iter().any(|(record, _)| record.entry.kind == Kind::Dispute);
            let docket = asked.docket(matter.clone(), &gathered, Arc::clone(&keys), rules.clone()).await?;
            judged.push(Judged { key, matter, owed: docket.owed(), disputed, more: gathered.more });
        }
        asked.check()?;
        (self.keys, self.rules) = (keys, rules);
        cases.change(|state| {
            state.size = asked.size;
            (state.keys, state.rules) = (Arc::clone(&self.keys), self.rules.clone());
            judged.into_iter().for_each(|judged| state.judge(judged));
        });
        Ok(())
    }
}

/// A matter, judged anew.
struct Judged {
    key: MatterKey,
    matter: Matter,
    owed: Vec<Owed>,
    /// Whether it has any dispute.
    disputed: bool,
    /// Whether it has more records than are judged.
    more: bool,
}

impl State {
    fn judge(&mut self, judged: Judged) {
        let Judged { key, matter, owed, disputed, more } = judged;
        if let Some((_, former)) = self.matters.remove(&key) {
            former.iter().for_each(|due| drop(self.due.remove(due)));
        }
        if more {
            // Half of a matter would be judged wrongly.
            self.unjudged.insert(key);
        } else if disputed {
            let places = owed.iter().map(|owed| (owed.due, owed.record)).collect();
            let due = |owed: Owed| ((owed.due, owed.record), Due { owed, matter: matter.clone() });
            self.due.extend(owed.into_iter().map(due));
            self.matters.insert(key, (matter, places));
        }
    }
}

fn key(matter: &Matter) -> MatterKey {
    match matter {
        Matter::Record(leaf) => (0, *leaf),
        Matter::Elsewhere(leaf) => (1, *leaf),
        Matter::Promise(id) => (2, Hash::new(*id.as_bytes())),
    }
}

/// Takes a record that says something of keys.
async fn take_key(
    asked: &Asked<'_>,
    index: LeafIndex,
    keys: &mut Keys,
    rules: &mut Option<Rules>,
) -> Result<(), FollowError> {
    let item = asked.log.item(asked.view, index).await?.ok_or(ReadError::Entry { index })?;
    let record = read(index, &item)?;
    let Some(statement) = &record.statement else { return Ok(()) };
    let disowned = match &statement.predicate {
        Predicate::Revocation(Revocation { key, since: Some(since), .. }) => {
            signed_since(asked, key, *since, index).await?
        }
        Predicate::Rules(new) => {
            *rules = Some(new.clone());
            0
        }
        _ => 0,
    };
    keys.take(index.get(), record.leaf, &record.entry, statement, |_, _| disowned);
    Ok(())
}

/// How many records a key signed from a moment on, before an index.
async fn signed_since(
    asked: &Asked<'_>,
    key: &PublicKey,
    since: Timestamp,
    before: LeafIndex,
) -> Result<u64, FollowError> {
    let Asked { search, log, view, size } = asked;
    let start = page::begin(search, log, view, since, *size).await?;
    let term = [Term::new(Field::Issuer, key.as_str().to_owned())];
    Ok(search.count(&term, start..before.get().max(start))?)
}

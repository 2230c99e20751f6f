//! Everything in a log that concerns one receipt or promise.

use std::{collections::HashMap, sync::Arc};

use counterfoil_merkle::{Hash, LeafIndex, TreeSize};

use super::{
    disputes,
    fact::{Eraser, Fact, Owed, PromiseState, Said, Standing},
    keys::Keys,
    tally::Tally,
    verdicts,
};
use crate::{
    entry::Entry,
    envelope::Id,
    key::PublicKey,
    statement::{Dispute, Kind, Predicate, Rules, Statement, Subject},
    timestamp::Timestamp,
};

/// What a docket is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// A record of the log, by the leaf hash: a receipt, nearly always.
    Record(Hash),
    /// A receipt of another log, as disputes in this one speak of it.
    Elsewhere(Hash),
    /// A promise of a receipt.
    Promise(Id),
}

/// A record of the log, checked against its proof by whoever hands it over.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it is.
    pub index: LeafIndex,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its entry.
    pub entry: Entry,
    /// Its statement, which goes with the entry; `None` if it was erased or is not shown.
    pub statement: Option<Statement>,
}

/// What a log holds that concerns one matter, gathered from all of its records in index order.
///
/// Keeps the records about it, and what the log says of keys; of all others it counts how many each key signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Docket {
    matter: Matter,
    size: TreeSize,
    last: Option<Timestamp>,
    rules: Option<Rules>,
    pub(super) keys: Arc<Keys>,
    tally: Tally,
    pub(super) records: Vec<Record>,
    places: HashMap<Hash, usize>,
    /// The first receipts by issuer and claim key, where a promise is the matter.
    kept: HashMap<(PublicKey, PublicKey), (Hash, Timestamp)>,
}

impl Docket {
    /// An empty docket.
    pub fn new(matter: Matter) -> Self {
        Self {
            matter,
            size: TreeSize::ZERO,
            last: None,
            rules: None,
            keys: Arc::default(),
            tally: Tally::default(),
            records: Vec::new(),
            places: HashMap::new(),
            kept: HashMap::new(),
        }
    }

    /// A docket put together from what an index found, where a walk would read the whole log: it says the same as one that took
    /// every record. `records` are all that concern the matter, in index order; `found` is the rest.
    ///
    /// # Panics
    /// If the records are not in index order, or lie beyond the size.
    pub fn assemble(matter: Matter, found: Found, records: Vec<Record>) -> Self {
        let Found { size, last, rules, keys, kept } = found;
        let rising = records.windows(2).all(|pair| pair[0].index < pair[1].index);
        let inside = records.last().is_none_or(|record| record.index.get() < size.get());
        assert!(rising && inside, "the records of a log of that size, in index order");
        let places = records.iter().enumerate().map(|(place, record)| (record.leaf, place)).collect();
        let kept =
            kept.map(|kept| ((kept.issuer, kept.claim), (kept.receipt, kept.at))).into_iter().collect();
        Self { matter, size, last, rules, keys, tally: Tally::default(), records, places, kept }
    }

    /// How many records it has gone through.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// What it is about.
    pub const fn matter(&self) -> &Matter {
        &self.matter
    }

    /// The date of the last record.
    pub const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// The rules in force.
    pub const fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// The records that concern the matter, in index order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether the statement of the next record is needed: it concerns the matter, or says something of keys.
    pub fn needs(&self, leaf: Hash, entry: &Entry) -> bool {
        match entry.kind {
            Kind::Rules | Kind::Key | Kind::Revocation | Kind::Policy => true,
            // What it is about stands in its statement alone.
            Kind::Dispute if entry.about.is_none() && !matches!(self.matter, Matter::Record(_)) => true,
            _ => self.is_about(leaf, entry),
        }
    }

    fn is_about(&self, leaf: Hash, entry: &Entry) -> bool {
        self.matter == Matter::Record(leaf)
            || entry.about.is_some_and(|about| self.places.contains_key(&about))
    }

    /// Takes the next record of the log. Its statement may be left out if [`Docket::needs`] says no.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn take(&mut self, record: Record) {
        assert_eq!(record.index, self.size.next_index(), "records are taken in index order");
        let Record { index, leaf, entry, statement } = &record;
        self.size = index.size_through();
        self.last = Some(entry.at);
        if let (Matter::Promise(_), Kind::Receipt, Some(claim)) = (&self.matter, entry.kind, &entry.claim) {
            let promised = (entry.issuer.clone(), claim.clone());
            self.kept.entry(promised).or_insert((*leaf, entry.at));
        }
        if let Some(statement) = statement {
            if let Predicate::Rules(rules) = &statement.predicate {
                self.rules = Some(rules.clone());
            }
            let tally = &self.tally;
            let counted = |key: &PublicKey, since| tally.since(key, since);
            Arc::make_mut(&mut self.keys).take(index.get(), *leaf, entry, statement, counted);
        }
        self.tally.count(&entry.issuer, entry.at);
        let outside = statement.as_ref().is_some_and(|statement| self.is_outside(&statement.subject));
        if outside || self.is_about(*leaf, entry) {
            self.places.insert(*leaf, self.records.len());
            self.records.push(record);
        }
    }

    /// Goes past a record that cannot be read, such as one of a kind from a later version.
    pub fn pass(&mut self) {
        self.size = self.size.next_index().size_through();
    }

    /// Whether a subject is the matter, which lies outside this log.
    fn is_outside(&self, subject: &Subject) -> bool {
        match (subject, &self.matter) {
            (Subject::Elsewhere(leaf), Matter::Elsewhere(matter)) => leaf == matter,
            (Subject::Promise(id), Matter::Promise(matter)) => id == matter,
            _ => false,
        }
    }

    /// What stands at a moment.
    ///
    /// # Errors
    /// [`MomentError`] if the moment lies before the last record that was taken.
    pub fn standing(&self, moment: Timestamp) -> Result<Standing, MomentError> {
        if let Some(last) = self.last.filter(|last| moment < *last) {
            return Err(MomentError { moment, last });
        }
        let mut facts = Vec::new();
        for record in &self.records {
            self.of_record(record, &mut facts);
        }
        verdicts::facts(self, &mut facts);
        let turns = disputes::facts(self, moment, &mut facts);
        self.promise(moment, &mut facts);
        self.of_keys(&mut facts);
        facts.sort_by_key(|fact| (fact.at, fact.record, fact.said.rank()));
        Ok(Standing { size: self.size, moment, facts, turns })
    }

    /// What is still to be done in disputes, whenever it is due, the earliest first. What is due before a moment is what
    /// [`Docket::standing`] calls unanswered or overdue then.
    pub fn owed(&self) -> Vec<Owed> {
        disputes::owed(self)
    }

    fn of_record(&self, record: &Record, facts: &mut Vec<Fact>) {
        let Record { leaf, entry, statement, .. } = record;
        let predicate = statement.as_ref().map(|statement| &statement.predicate);
        let by = || self.keys.party(&entry.issuer);
        let said = match entry.kind {
            Kind::Receipt => {
                let says = predicate.and_then(|predicate| match predicate {
                    Predicate::Receipt(receipt) => Some((receipt.model.clone(), receipt.outcome)),
                    _ => None,
                });
                Some(Said::Claimed { by: by(), says })
            }
            Kind::Correction => {
                let says = predicate.and_then(|predicate| match predicate {
                    Predicate::Correction(correction) => Some((correction.fields.clone(), correction.cause)),
                    _ => None,
                });
                Some(Said::Corrected { by: by(), says })
            }
            Kind::Erasure => self.erased(record).map(|(erased, by)| {
                let basis = predicate.and_then(|predicate| match predicate {
                    Predicate::Erasure(erasure) => Some(erasure.basis),
                    _ => None,
                });
                Said::Erased { erased, by, basis }
            }),
            _ => None,
        };
        facts.extend(said.map(|said| Fact { at: entry.at, record: *leaf, said }));
        if entry.kind != Kind::Erasure {
            let disowning = self.keys.disowning(&entry.issuer, entry.at);
            let disowned = Said::Disowned { disowned: *leaf };
            facts.extend(disowning.into_iter().map(|(at, record)| Fact {
                at,
                record,
                said: disowned.clone(),
            }));
        }
    }

    /// The record that an erasure is about, and who ordered it.
    fn erased(&self, erasure: &Record) -> Option<(Hash, Eraser)> {
        let erased = self.above(erasure)?;
        let by = &erasure.entry.issuer;
        let eraser = if self.keys.acts_for(by, &erased.entry.issuer) {
            Eraser::Issuer
        } else if erased.entry.claim.as_ref() == Some(by) {
            Eraser::ClaimKey
        } else {
            Eraser::Log
        };
        Some((erased.leaf, eraser))
    }

    /// The record that another is about, if it is in the docket.
    pub(super) fn above(&self, record: &Record) -> Option<&Record> {
        let place = self.places.get(&record.entry.about?)?;
        self.records.get(*place)
    }

    /// The records of a kind that are about another.
    pub(super) fn below(&self, leaf: Hash, kind: Kind) -> impl Iterator<Item = &Record> {
        let about = move |record: &&Record| record.entry.about == Some(leaf) && record.entry.kind == kind;
        self.records.iter().filter(about)
    }

    fn promise(&self, moment: Timestamp, facts: &mut Vec<Fact>) {
        let Matter::Promise(promise) = &self.matter else { return };
        let dispute = self.records.iter().find_map(|record| Some((record, dispute_of(record)?.promise()?)));
        let Some((record, enclosed)) = dispute else { return };
        let Predicate::Promise(said) = &enclosed.statement().predicate else { return };
        let issuer = enclosed.envelope().key();
        let kept = self.kept.get(&(issuer.clone(), said.claim.clone())).copied();
        let state = PromiseState::at(moment, said.by, kept);
        let said = Said::Promised { by: self.keys.party(issuer), promise: *promise, state };
        facts.push(Fact { at: record.entry.at, record: record.leaf, said });
    }

    /// What the log says of the keys of all who are involved.
    fn of_keys(&self, facts: &mut Vec<Fact>) {
        let claim_keys = self.records.iter().filter_map(|record| record.entry.claim.as_ref());
        let claim_keys: Vec<&PublicKey> = claim_keys.collect();
        let mut involved: Vec<&PublicKey> = self.records.iter().map(|record| &record.entry.issuer).collect();
        involved.extend(self.records.iter().filter_map(dispute_of).flat_map(Dispute::outside_issuer));
        involved.sort();
        involved.dedup();
        for key in involved.into_iter().filter(|key| !claim_keys.contains(key)) {
            for (at, record, fact) in self.keys.facts(key) {
                facts.push(Fact { at, record, said: Said::Key { of: self.keys.party(key), fact } });
            }
        }
    }
}

/// What a [`Docket`] knows besides the records of its matter.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many records the log had.
    pub size: TreeSize,
    /// The date of the last of them.
    pub last: Option<Timestamp>,
    /// The rules in force.
    pub rules: Option<Rules>,
    /// What it says of keys.
    pub keys: Arc<Keys>,
    /// Where the matter is a promise: the first receipt by its issuer with its claim key.
    pub kept: Option<Kept>,
}

/// A receipt that keeps a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who promised it.
    pub issuer: PublicKey,
    /// The claim key that was promised.
    pub claim: PublicKey,
    /// The receipt.
    pub receipt: Hash,
    /// When it was logged.
    pub at: Timestamp,
}

/// What a record disputes, if it is a dispute whose statement is there.
pub(super) fn dispute_of(record: &Record) -> Option<&Dispute> {
    match record.statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Dispute(dispute)) => Some(dispute),
        _ => None,
    }
}

/// A moment before the last record: what stands then is a matter of a smaller tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the moment {moment} ms lies before the last record, which is of {last} ms: ask for a smaller size")]
pub struct MomentError {
    /// The moment that was asked for.
    pub moment: Timestamp,
    /// The date of the last record.
    pub last: Timestamp,
}

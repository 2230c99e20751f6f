//! Watch rules: which records the owner of a monitor wants to be told of, and which of those are known to be good.
//!
//! Pure: a [`Watch`] is shown entries in order and says which rules apply. What is wrong with a record is not decided
//! here: an audit does that for everybody. A rule says what somebody cares about.

pub(crate) mod describe;
pub mod known;
pub mod pattern;
pub mod rule;

pub use known::{KnownGood, KnownGoodTable};
pub use pattern::Pattern;
pub use rule::{Rule, RuleError, RuleTable};

use std::collections::BTreeMap;

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    Kind,
    audit::{Class, Code, Finding, Place},
    entry::Entry,
    standing::{Duty, Known},
    statement::Statement,
};

/// How many of the newest records in streams are kept in mind, so that what an audit finds about them can be laid at
/// their issuers' doors: a few MB.
pub const RECENT_MAX: usize = 1 << 16;

/// An entry of a log, and its statement if that is there and is the entry's.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its place.
    pub index: LeafIndex,
    /// The entry.
    pub entry: &'a Entry,
    /// What the issuer signed; without it all that the entry says of its issuer is the log's word.
    pub statement: Option<&'a Statement>,
    /// What is known of the record that it is about.
    pub about: Option<&'a Known>,
}

/// A rule that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The name of the rule; none if everybody is told.
    pub rule: Option<String>,
    /// Where, and why.
    pub finding: Finding,
}

/// The rules for one log, and what they have to remember.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    rules: Vec<Rule>,
    known_good: KnownGood,
    /// Of the newest records in streams: which rules about numbering are for them, and whether they are known to be good.
    recent: BTreeMap<LeafIndex, Recent>,
}

#[derive(Clone, Debug, Default)]
struct Recent {
    rules: Box<[usize]>,
    good: bool,
}

impl Watch {
    /// Reads all rules and lists, and takes those that are for the log of that name.
    ///
    /// # Errors
    /// Names the rule and the field that cannot be used, whichever log it is for.
    pub fn read(rules: &[RuleTable], known_good: &[KnownGoodTable], log: &str) -> Result<Self, RuleError> {
        if rules.len() > rule::RULES_MAX {
            return Err(RuleError::TooMany { got: rules.len() });
        }
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
        if let Some((_, name)) = twice {
            return Err(RuleError::Twice { rule: (*name).to_owned() });
        }
        let known_good = KnownGood::read(known_good, &names)?;
        let mut read = Vec::new();
        for table in rules {
            let rule = Rule::read(table)?;
            if table.logs.is_empty() || table.logs.iter().any(|name| name == log) {
                read.push(rule);
            }
        }
        Ok(Self { rules: read, known_good, recent: BTreeMap::new() })
    }

    /// Takes the next entry and says which rules apply to it. Costs a look at each rule.
    ///
    /// Every record about keys, and every change of the rules of the log, is told without a rule.
    pub fn observe(&mut self, record: Record<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        let mut numbering = Vec::new();
        let first = record.index.get() == 0;
        if (matches!(record.entry.kind, Kind::Key | Kind::Revocation)
            || record.entry.kind == Kind::Rules && !first)
            && !self.known_good.covers(record.entry, None)
        {
            let (place, message) = (Place::Entry(record.index), describe::of_keys(record));
            hits.push(Hit { rule: None, finding: Finding { code: Code::KeyRecord, place, message } });
        }
        for (place, rule) in self.rules.iter().enumerate() {
            if rule.numbering {
                if record.entry.position.is_some()
                    && rule.admits(record)
                    && !self.known_good.covers(record.entry, Some(&rule.name))
                {
                    numbering.push(place);
                }
            } else if let Some(finding) = rule.judge(record)
                && !self.known_good.covers(record.entry, Some(&rule.name))
            {
                hits.push(Hit { rule: Some(rule.name.clone()), finding });
            }
        }
        self.remember(record, numbering);
        hits
    }

    /// The rules that ask for a deadline that passed. Whoever is known to be good does not alert.
    pub fn lapsed(&mut self, duty: &Duty) -> Vec<Hit> {
        let respondent = &duty.summons.respondent;
        if self.known_good.covers_issuer(respondent, None) {
            self.recent.insert(duty.index, Recent { rules: Box::default(), good: true });
        }
        let asks = |rule: &&Rule| !self.known_good.covers_issuer(respondent, Some(&rule.name));
        let hit = |rule: &Rule| Some(Hit { rule: Some(rule.name.clone()), finding: rule.lapsed(duty)? });
        self.rules.iter().filter(asks).filter_map(hit).collect()
    }

    fn remember(&mut self, record: Record<'_>, rules: Vec<usize>) {
        if record.entry.position.is_none() {
            return;
        }
        let good = self.known_good.covers(record.entry, None);
        if rules.is_empty() && !good {
            return;
        }
        self.recent.insert(record.index, Recent { rules: rules.into(), good });
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }

    /// The rules that ask for what an audit found about the numbers of a stream.
    pub fn numbering(&self, finding: &Finding) -> Vec<Hit> {
        let Some(recent) = self.recent_of(finding).filter(|_| finding.code.is_numbering()) else {
            return Vec::new();
        };
        let hit = |place: &usize| {
            let rule = self.rules[*place].name.clone();
            let message = format!("rule {rule}: {}: {}", finding.code, finding.message);
            Hit {
                rule: Some(rule),
                finding: Finding { code: Code::WatchMatch, place: finding.place, message },
            }
        };
        recent.rules.iter().map(hit).collect()
    }

    /// Whether a finding about an issuer's doing is about one who is known to be good, so that it does not alert.
    ///
    /// Not for records that were read before this was made: what cannot be told does alert.
    pub fn is_known_good(&self, finding: &Finding) -> bool {
        self.recent_of(finding).is_some_and(|recent| recent.good)
    }

    fn recent_of(&self, finding: &Finding) -> Option<&Recent> {
        match finding.place {
            Place::Entry(index) if finding.class() == Class::Issuer => self.recent.get(&index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

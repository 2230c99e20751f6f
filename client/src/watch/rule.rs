//! One rule: what a record must be for its owner to want to be told.

use std::{collections::HashSet, fmt::Display, str::FromStr};

use counterfoil_receipt::{
    Kind, PublicKey,
    audit::{Code, Finding, Place},
    entry::Entry,
    standing::{Duty, ReceiptFacts},
    statement::{Predicate, Receipt, StreamId, receipt::Outcome},
};
use serde::Deserialize;

use super::{Pattern, Record, describe};

/// Most rules: each is looked at for every entry.
pub const RULES_MAX: usize = 256;

const NAME_BYTES_MAX: usize = 64;

/// One `[[watch]]` table. All that it says must hold of a record; where it lists several, one of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// What the rule is called, in findings and in lists of what is known to be good.
    pub name: String,
    /// The logs that it is for, by name; all, if there is none.
    #[serde(default)]
    pub logs: Vec<String>,
    /// Kinds of record, such as `receipt` or `dispute`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Issuers' keys: base64 of the SPKI.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// The issuers of whom this is expected: the rule is for all others.
    #[serde(default)]
    pub expected_issuers: Vec<String>,
    /// Keys that are concerned: those whose receipt a record is all about, who have to answer, or whose key record it is.
    #[serde(default)]
    pub concerns: Vec<String>,
    /// Streams: 32 hex digits.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Patterns for the model in any of its three roles. What is asked of models and outcomes is asked of receipts; of a rule that
    /// names kinds, also of the receipt that a record of such a kind is all about.
    #[serde(default)]
    pub models: Vec<String>,
    /// Patterns for the model that was asked for.
    #[serde(default)]
    pub requested: Vec<String>,
    /// Patterns for the model that the service said had answered.
    #[serde(default)]
    pub reported: Vec<String>,
    /// Patterns for the model that the issuer says it was.
    #[serde(default)]
    pub claimed: Vec<String>,
    /// How the exchange ended, such as `refused`.
    #[serde(default)]
    pub outcomes: Vec<String>,
    /// How far the issuer's times may be from the log's.
    pub window: Option<WindowTable>,
    /// Whether the rule is for numbers of streams that are missing or come again, instead of for records. Whose they are is
    /// known of records that were read since the monitor started; what it cannot lay at a door is still told as ISSUER.
    #[serde(default)]
    pub numbering: bool,
    /// Whether the rule is for answers and remedies that are overdue, instead of for records: those that `concerns` names have
    /// to give, or all about a receipt of theirs or of such a model.
    #[serde(default)]
    pub overdue: bool,
}

/// How far the times in a statement may be from the time at which the log took it. Sealed times are not looked at.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowTable {
    /// Seconds from the exchange's end to the log.
    pub late_s: u64,
    /// Seconds that the exchange may lie in the log's future.
    pub early_s: u64,
}

/// A rule, read and checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// Whether it is for what an audit finds about numbers.
    pub numbering: bool,
    /// Whether it is for deadlines that passed.
    pub overdue: bool,
    kinds: HashSet<Kind>,
    issuers: HashSet<PublicKey>,
    expected_issuers: HashSet<PublicKey>,
    concerns: HashSet<PublicKey>,
    streams: HashSet<StreamId>,
    models: Vec<Pattern>,
    requested: Vec<Pattern>,
    reported: Vec<Pattern>,
    claimed: Vec<Pattern>,
    outcomes: HashSet<Outcome>,
    window: Option<WindowTable>,
}

impl Rule {
    /// Reads a table.
    ///
    /// # Errors
    /// Names the rule and the field that cannot be used.
    pub fn read(table: &RuleTable) -> Result<Self, RuleError> {
        let error = |field, reason| RuleError::Rule { rule: table.name.clone(), field, reason };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
        if table.name.is_empty() || table.name.len() > NAME_BYTES_MAX || !table.name.chars().all(allowed) {
            let reason =
                format!("1 to {NAME_BYTES_MAX} letters, digits, spaces, dots, hyphens and underscores");
            return Err(error("name", reason));
        }
        let rule = Self {
            name: table.name.clone(),
            numbering: table.numbering,
            overdue: table.overdue,
            kinds: codes(&table.kinds, Kind::from_code, Kind::ALL)
                .map_err(|reason| error("kinds", reason))?,
            issuers: parsed(&table.issuers).map_err(|reason| error("issuers", reason))?,
            expected_issuers: parsed(&table.expected_issuers)
                .map_err(|reason| error("expected_issuers", reason))?,
            concerns: parsed(&table.concerns).map_err(|reason| error("concerns", reason))?,
            streams: parsed(&table.streams).map_err(|reason| error("streams", reason))?,
            models: parsed(&table.models).map_err(|reason| error("models", reason))?,
            requested: parsed(&table.requested).map_err(|reason| error("requested", reason))?,
            reported: parsed(&table.reported).map_err(|reason| error("reported", reason))?,
            claimed: parsed(&table.claimed).map_err(|reason| error("claimed", reason))?,
            outcomes: codes(&table.outcomes, Outcome::from_code, Outcome::ALL)
                .map_err(|reason| error("outcomes", reason))?,
            window: table.window,
        };
        rule.check().map_err(|(field, reason)| error(field, reason.to_owned()))?;
        Ok(rule)
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.kinds.iter().any(|kind| !kind.is_logged()) {
            return Err(("kinds", "promises and refusals are never logged"));
        }
        if !self.issuers.is_empty() && !self.expected_issuers.is_empty() {
            return Err(("expected_issuers", "is for all but these; issuers is for these alone: say one"));
        }
        if self.numbering && (self.window.is_some() || !self.expected_issuers.is_empty()) {
            return Err(("numbering", "goes with neither window nor expected_issuers"));
        }
        if self.window.is_some() && !self.expected_issuers.is_empty() {
            return Err(("window", "and expected_issuers are two rules"));
        }
        let of_records = !self.kinds.is_empty() || !self.issuers.is_empty() || !self.streams.is_empty();
        let otherwise = self.numbering || self.window.is_some() || !self.expected_issuers.is_empty();
        if self.overdue && (of_records || otherwise) {
            return Err((
                "overdue",
                "goes with concerns, and with what is asked of models and outcomes, alone",
            ));
        }
        let says_nothing = self.kinds.is_empty()
            && self.issuers.is_empty()
            && self.expected_issuers.is_empty()
            && self.concerns.is_empty()
            && self.streams.is_empty()
            && !self.asks_the_statement()
            && self.window.is_none()
            && !self.numbering
            && !self.overdue;
        if says_nothing {
            return Err(("name", "the rule says nothing but its name, and would be for every record"));
        }
        Ok(())
    }

    fn asks_the_statement(&self) -> bool {
        let patterns = [&self.models, &self.requested, &self.reported, &self.claimed];
        patterns.into_iter().any(|patterns| !patterns.is_empty()) || !self.outcomes.is_empty()
    }

    /// What the rule finds in a record.
    pub fn judge(&self, record: Record<'_>) -> Option<Finding> {
        if self.overdue || !self.admits(record) {
            return None;
        }
        let said = describe::in_a_line(record);
        let (code, message) = match self.window {
            Some(window) => (Code::WatchTime, format!("{}; {said}", outside(window, record)?)),
            None if self.expected_issuers.is_empty() => (Code::WatchMatch, said),
            None => (Code::WatchIssuer, said),
        };
        let message = format!("rule {}: {message}", self.name);
        Some(Finding { code, place: Place::Entry(record.index), message })
    }

    /// What the rule finds in a deadline that passed.
    pub fn lapsed(&self, duty: &Duty) -> Option<Finding> {
        let accountable = duty.summons.accountable.as_ref().map(|(accountable, _)| &accountable.key);
        let receipt = duty.receipt.as_deref();
        let mut concerned = std::iter::once(&duty.summons.respondent)
            .chain(accountable)
            .chain(receipt.map(|receipt| &receipt.issuer));
        let concerns = self.concerns.is_empty() || concerned.any(|key| self.concerns.contains(key));
        let asked = !self.asks_the_statement() || receipt.is_some_and(|receipt| self.wants_of(receipt));
        let message = format!("rule {}: {}", self.name, describe::duty(duty));
        let finding = Finding { code: Code::WatchMatch, place: Place::Entry(duty.index), message };
        (self.overdue && concerns && asked).then_some(finding)
    }

    /// Whether a record is one that the rule is for, times and numbers aside.
    pub(super) fn admits(&self, record: Record<'_>) -> bool {
        let Entry { issuer, kind, position, .. } = record.entry;
        let stream = position.map(|position| position.stream);
        let about_entry = (self.kinds.is_empty() || self.kinds.contains(kind))
            && (self.issuers.is_empty() || self.issuers.contains(issuer))
            && !self.expected_issuers.contains(issuer)
            && (self.streams.is_empty() || stream.is_some_and(|stream| self.streams.contains(&stream)));
        let concerns =
            || self.concerns.is_empty() || describe::concerned(record).any(|key| self.concerns.contains(key));
        about_entry && (!self.asks_the_statement() || self.wants(record)) && concerns()
    }

    /// Whether the receipt, or the one that a record is all about, has the models and the outcome that are asked for.
    fn wants(&self, record: Record<'_>) -> bool {
        if let Some(receipt) = receipt(record) {
            return self.fits(receipt.model.names(), receipt.outcome);
        }
        let about = record.about.filter(|_| !self.kinds.is_empty());
        about.and_then(|about| about.receipt.as_deref()).is_some_and(|receipt| self.wants_of(receipt))
    }

    fn wants_of(&self, receipt: &ReceiptFacts) -> bool {
        let names = receipt.models.each_ref().map(Option::as_deref);
        receipt.outcome.is_some_and(|outcome| self.fits(names, outcome))
    }

    fn fits(&self, [requested, reported, claimed]: [Option<&str>; 3], outcome: Outcome) -> bool {
        let any = |patterns: &[Pattern], name: Option<&str>| {
            name.is_some_and(|name| patterns.iter().any(|pattern| pattern.fits(name)))
        };
        let one = |patterns: &[Pattern], name| patterns.is_empty() || any(patterns, name);
        let of_any = [requested, reported, claimed].into_iter().any(|name| any(&self.models, name));
        one(&self.requested, requested)
            && one(&self.reported, reported)
            && one(&self.claimed, claimed)
            && (self.models.is_empty() || of_any)
            && (self.outcomes.is_empty() || self.outcomes.contains(&outcome))
    }
}

pub(super) fn receipt<'a>(record: Record<'a>) -> Option<&'a Receipt> {
    match &record.statement?.predicate {
        Predicate::Receipt(receipt) => Some(receipt),
        _ => None,
    }
}

/// How the exchange's end lies outside the window, if it does.
fn outside(window: WindowTable, record: Record<'_>) -> Option<String> {
    let timing = receipt(record)?.timing.as_ref()?.open()?;
    let ended = timing.completed.or(timing.first_byte).or(timing.received)?.millis();
    let at = record.entry.at.millis();
    let (late, early) = (at.saturating_sub(ended), ended.saturating_sub(at));
    if late > window.late_s.saturating_mul(1000) {
        return Some(format!("logged {late} ms after the exchange ended, by the issuer's clock"));
    }
    let early = (early > window.early_s.saturating_mul(1000)).then_some(early)?;
    Some(format!("logged {early} ms before the exchange ended, by the issuer's clock"))
}

fn parsed<T: FromStr<Err: Display>, C: FromIterator<T>>(texts: &[String]) -> Result<C, String> {
    texts.iter().map(|text| text.parse().map_err(|error| format!("{text:?}: {error}"))).collect()
}

fn codes<T: Copy + Display + Eq + std::hash::Hash>(
    texts: &[String],
    read: fn(&str) -> Option<T>,
    all: &[T],
) -> Result<HashSet<T>, String> {
    let one = |text: &String| {
        read(text).ok_or_else(|| {
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            format!("{text:?} is none of {}", all.join(", "))
        })
    };
    texts.iter().map(one).collect()
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A field of a rule.
    #[error("watch {rule:?}, {field}: {reason}")]
    Rule {
        /// The rule's name.
        rule: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two rules of one name.
    #[error("watch {rule:?}, name: there are two rules of this name")]
    Twice {
        /// The name.
        rule: String,
    },
    /// Above [`RULES_MAX`].
    #[error("there are {got} watch rules; at most {RULES_MAX} are looked at for every entry")]
    TooMany {
        /// How many there are.
        got: usize,
    },
    /// A field of a list of what is known to be good.
    #[error("known_good number {number}, {field}: {reason}")]
    KnownGood {
        /// Which table, from 1.
        number: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

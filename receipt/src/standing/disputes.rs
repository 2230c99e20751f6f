//! Disputes: whether they were answered, by whom, in time; how they were decided; and whether what was undertaken was done.

use super::{
    RESPOND_WITHIN_DEFAULT_S,
    docket::{Docket, Record, dispute_of},
    fact::{Answer, Capacity, Complainant, Deadline, DueBy, Fact, Party, Said, Subject, Turn},
    turn,
};
use crate::{
    key::PublicKey,
    statement::{
        Dispute, Kind, Policy, Predicate, Undertaking, groups::Accountable, resolution::Resolution,
        response::Response,
    },
    timestamp::Timestamp,
};

/// Adds the facts of every dispute on the docket; returns whose turn it is in each.
pub(super) fn facts(docket: &Docket, moment: Timestamp, facts: &mut Vec<Fact>) -> Vec<Turn> {
    let disputes = docket.records.iter().filter(|record| record.entry.kind == Kind::Dispute);
    let cases = disputes.filter_map(|record| Case::of(docket, record));
    let mut turns = Vec::new();
    for case in cases {
        case.facts(moment, facts);
        turns.push((case.record.entry.at, case.turn(moment)));
    }
    turns.sort_by_key(|(at, turn)| (*at, turn.dispute));
    turns.into_iter().map(|(_, turn)| turn).collect()
}

/// One dispute with all that followed.
pub(super) struct Case<'d> {
    docket: &'d Docket,
    pub(super) record: &'d Record,
    subject: Subject,
    respondent: &'d PublicKey,
    policy: Option<&'d Policy>,
    accountable: Option<&'d Accountable>,
    due: Deadline,
}

/// Something undertaken or ordered, and what came of it.
pub(super) struct Duty<'d> {
    pub(super) undertaking: Undertaking,
    /// The response or resolution that says so.
    pub(super) under: &'d Record,
    /// The record that says it was done.
    pub(super) done: Option<&'d Record>,
}

impl<'d> Case<'d> {
    /// None if it cannot be seen what is disputed.
    fn of(docket: &'d Docket, record: &'d Record) -> Option<Self> {
        let dispute = dispute_of(record);
        let disputed = docket.above(record);
        let (subject, respondent, before) = match (disputed, dispute) {
            (Some(disputed), _) => {
                (Subject::Record(disputed.leaf), &disputed.entry.issuer, disputed.index.get())
            }
            (None, Some(dispute)) => (outside(dispute)?, dispute.outside_issuer()?, record.index.get()),
            (None, None) => return None,
        };
        let policy = docket.keys.policy(respondent, before);
        let (accountable, by) = accountable(docket, disputed, dispute);
        let within = match (policy, accountable) {
            (Some(policy), _) => (policy.respond_within_s, DueBy::Policy),
            (None, Some(accountable)) => (accountable.respond_within, by),
            (None, None) => (RESPOND_WITHIN_DEFAULT_S, DueBy::Default),
        };
        let at = record.entry.at.plus(within.0.saturating_mul(1000));
        let due = Deadline { at, by: within.1 };
        Some(Self { docket, record, subject, respondent, policy, accountable, due })
    }

    fn facts(&self, moment: Timestamp, facts: &mut Vec<Fact>) {
        let grounds = dispute_of(self.record).map(|dispute| dispute.grounds.clone());
        let subject = self.subject.clone();
        let respondent = self.party(self.respondent);
        let said = Said::Disputed { by: self.complainant(), subject, grounds, respondent, due: self.due };
        facts.push(Fact { at: self.record.entry.at, record: self.record.leaf, said });
        self.silence(moment, facts);
        for record in self.responses() {
            facts.push(fact(record, self.said_by_response(record)));
        }
        for record in self.resolutions() {
            facts.extend(self.said_by_resolution(record).map(|said| fact(record, said)));
        }
        for duty in self.duties() {
            self.duty(&duty, moment, facts);
        }
    }

    /// Whether the respondent was silent when it should have answered.
    fn silence(&self, moment: Timestamp, facts: &mut Vec<Fact>) {
        let (leaf, due) = (self.record.leaf, self.due.at);
        let ended = self.answered_at().into_iter().chain(self.resolutions().map(|it| it.entry.at)).min();
        match ended {
            Some(ended) if ended <= due => {}
            None if moment <= due => {
                facts.push(Fact { at: self.record.entry.at, record: leaf, said: Said::Open { until: due } });
            }
            until => facts.push(Fact { at: due, record: leaf, said: Said::Unanswered { until } }),
        }
    }

    /// When the respondent, or who answers for it, first answered.
    pub(super) fn answered_at(&self) -> Option<Timestamp> {
        self.responses()
            .filter(|record| self.capacity(&record.entry.issuer).is_some())
            .map(|it| it.entry.at)
            .min()
    }

    pub(super) fn responses(&self) -> impl Iterator<Item = &'d Record> {
        self.docket.below(self.record.leaf, Kind::Response)
    }

    pub(super) fn resolutions(&self) -> impl Iterator<Item = &'d Record> {
        self.docket.below(self.record.leaf, Kind::Resolution)
    }

    /// As what a key speaks for the respondent; none if it does not.
    pub(super) fn capacity(&self, signer: &PublicKey) -> Option<Capacity> {
        if signer == self.respondent {
            return Some(Capacity::Respondent);
        }
        let acts_for = |key: &PublicKey| self.docket.keys.acts_for(signer, key);
        if acts_for(self.respondent) {
            return Some(Capacity::Successor);
        }
        self.accountable.filter(|accountable| acts_for(&accountable.key)).map(|_| Capacity::Accountable)
    }

    fn said_by_response(&self, record: &Record) -> Said {
        let by = self.party(&record.entry.issuer);
        let Some(capacity) = self.capacity(&record.entry.issuer) else { return Said::Remark { by } };
        let response = response_of(record);
        Said::Answered(Answer {
            dispute: self.record.leaf,
            by,
            capacity,
            position: response.map(|response| response.position),
            remedy: response.and_then(|response| response.remedy),
            late: self.due.at < record.entry.at,
        })
    }

    fn said_by_resolution(&self, record: &Record) -> Option<Said> {
        let resolution = resolution_of(record)?;
        let by = &record.entry.issuer;
        let accepted = self.policy.filter(|policy| !policy.arbiters.is_empty());
        Some(Said::Resolved {
            dispute: self.record.leaf,
            by: self.party(by),
            role: resolution.role,
            findings: resolution.findings.clone(),
            remedy: resolution.remedy,
            appeal_until: resolution.appeal_until,
            accepted: accepted.map(|policy| policy.arbiters.contains(by)),
        })
    }

    /// What the respondent undertook, and what it was told to do.
    pub(super) fn duties(&self) -> Vec<Duty<'d>> {
        let undertaken = self.responses().filter(|record| self.capacity(&record.entry.issuer).is_some());
        let undertaken = undertaken.filter_map(|record| Some((record, response_of(record)?.remedy?)));
        let ordered = self.resolutions().filter_map(|record| Some((record, resolution_of(record)?.remedy?)));
        let duty = |(under, undertaking): (&'d Record, Undertaking)| {
            let mut done = self.docket.below(under.leaf, Kind::Remedy);
            let done = done.find(|record| self.is_done_by(record, undertaking));
            Duty { undertaking, under, done }
        };
        undertaken.chain(ordered).map(duty).collect()
    }

    fn is_done_by(&self, record: &Record, undertaking: Undertaking) -> bool {
        let said = record.statement.as_ref().map(|statement| &statement.predicate);
        self.capacity(&record.entry.issuer).is_some()
            && matches!(said, Some(Predicate::Remedy(remedy)) if remedy.remedy == undertaking.remedy)
    }

    fn duty(&self, duty: &Duty<'_>, moment: Timestamp, facts: &mut Vec<Fact>) {
        let Duty { undertaking, under, done } = duty;
        facts.push(match done {
            Some(record) => {
                let late = undertaking.due < record.entry.at;
                let by = self.party(&record.entry.issuer);
                fact(record, Said::Remedied { remedy: undertaking.remedy, by, late })
            }
            None if moment <= undertaking.due => fact(under, Said::Due(*undertaking)),
            None => Fact { at: undertaking.due, record: under.leaf, said: Said::Overdue(*undertaking) },
        });
    }

    fn turn(&self, moment: Timestamp) -> Turn {
        let (task, until) = turn::task(self, moment);
        Turn { dispute: self.record.leaf, task, until }
    }

    /// Until when an answer is due.
    pub(super) const fn due(&self) -> Timestamp {
        self.due.at
    }

    /// Who has to answer.
    pub(super) fn respondent(&self) -> Party {
        self.party(self.respondent)
    }

    /// Whose decisions the respondent accepts, by its policy.
    pub(super) fn arbiters(&self) -> Vec<Party> {
        self.policy.into_iter().flat_map(|policy| &policy.arbiters).map(|key| self.party(key)).collect()
    }

    fn party(&self, key: &PublicKey) -> Party {
        self.docket.keys.party(key)
    }

    fn complainant(&self) -> Complainant {
        let signer = &self.record.entry.issuer;
        let is_claim_key = |record: &Record| record.entry.claim.as_ref() == Some(signer);
        // What lies outside is disputed by its claim key, or not at all.
        let outside = !matches!(self.subject, Subject::Record(_));
        if outside || self.docket.records.iter().any(is_claim_key) {
            return Complainant::ClaimKey;
        }
        Complainant::Party(self.party(signer))
    }
}

fn fact(record: &Record, said: Said) -> Fact {
    Fact { at: record.entry.at, record: record.leaf, said }
}

fn outside(dispute: &Dispute) -> Option<Subject> {
    if let Some(promise) = dispute.promise() {
        return Some(Subject::Promise(promise.id()));
    }
    let elsewhere = dispute.elsewhere()?;
    Some(Subject::Elsewhere { log: elsewhere.log.to_string(), leaf: elsewhere.leaf() })
}

/// Who answers for a receipt besides its issuer: as the receipt says, or as the dispute has copied it when the receipt is erased.
fn accountable<'d>(
    docket: &'d Docket,
    disputed: Option<&'d Record>,
    dispute: Option<&'d Dispute>,
) -> (Option<&'d Accountable>, DueBy) {
    let copy = dispute.and_then(|dispute| dispute.accountable.as_ref());
    let receipt = match disputed {
        Some(record) if record.entry.kind == Kind::Correction => docket.above(record),
        Some(record) if record.entry.kind == Kind::Receipt => Some(record),
        Some(_) => return (None, DueBy::Receipt),
        None => return (copy, DueBy::Copy),
    };
    match receipt.and_then(|record| record.statement.as_ref()).map(|statement| &statement.predicate) {
        Some(Predicate::Receipt(receipt)) => {
            (receipt.accountable.as_ref().and_then(|group| group.open()), DueBy::Receipt)
        }
        _ => (copy, DueBy::Copy),
    }
}

pub(super) fn response_of(record: &Record) -> Option<&Response> {
    match record.statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Response(response)) => Some(response),
        _ => None,
    }
}

pub(super) fn resolution_of(record: &Record) -> Option<&Resolution> {
    match record.statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Resolution(resolution)) => Some(resolution),
        _ => None,
    }
}

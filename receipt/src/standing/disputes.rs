//! Disputes: whether they were answered, by whom, in time; how they were decided; and whether what was undertaken was done.

use super::{
    docket::{Docket, Record, dispute_of},
    fact::{Answer, Capacity, Complainant, Deadline, Fact, Owed, Owing, Party, Said, Subject, Turn},
    known::{Known, Summons},
    turn,
};
use crate::{
    key::PublicKey,
    statement::{Dispute, Kind, Policy, Predicate, Undertaking, resolution::Resolution, response::Response},
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

/// What is still to be done, the earliest first.
pub(super) fn owed(docket: &Docket) -> Vec<Owed> {
    let disputes = docket.records.iter().filter(|record| record.entry.kind == Kind::Dispute);
    let mut owed: Vec<_> =
        disputes.filter_map(|record| Case::of(docket, record)).flat_map(|case| case.owed()).collect();
    owed.sort_by_key(|owed| (owed.due, owed.record));
    owed
}

/// One dispute with all that followed.
pub(super) struct Case<'d> {
    docket: &'d Docket,
    pub(super) record: &'d Record,
    subject: Subject,
    summons: Summons,
    policy: Option<&'d Policy>,
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
        let (subject, before) = match (disputed, dispute) {
            (Some(disputed), _) => (Subject::Record(disputed.leaf), disputed.index.get()),
            (None, Some(dispute)) => (outside(dispute)?, record.index.get()),
            (None, None) => return None,
        };
        let known = disputed.map(|disputed| known(docket, disputed));
        let summons = Summons::of(known.as_ref(), dispute)?;
        let policy = docket.keys.policy(&summons.respondent, before);
        let due = summons.due(record.entry.at, policy.map(|policy| policy.respond_within_s));
        Some(Self { docket, record, subject, summons, policy, due })
    }

    fn facts(&self, moment: Timestamp, facts: &mut Vec<Fact>) {
        let grounds = dispute_of(self.record).map(|dispute| dispute.grounds.clone());
        let subject = self.subject.clone();
        let respondent = self.respondent();
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
        self.summons.capacity(signer, |signer, key| self.docket.keys.acts_for(signer, key))
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

    fn owed(&self) -> Vec<Owed> {
        let dispute = self.record.leaf;
        let owed = |due, record, owing| Owed { due, by: self.respondent(), owing, dispute, record };
        let silent = self.answered_at().is_none() && self.resolutions().next().is_none();
        let answer = silent.then(|| owed(self.due.at, dispute, Owing::Answer));
        let undone = self.duties().into_iter().filter(|duty| duty.done.is_none());
        let remedies = undone.map(|Duty { undertaking, under, .. }| {
            owed(undertaking.due, under.leaf, Owing::Remedy(undertaking.remedy))
        });
        answer.into_iter().chain(remedies).collect()
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
        self.party(&self.summons.respondent)
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

/// What is known of a record of the docket, with what it is about.
fn known(docket: &Docket, record: &Record) -> Known {
    let about = docket.above(record).map(|above| known(docket, above));
    Known::of(record.index, &record.entry, record.statement.as_ref(), about.as_ref())
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

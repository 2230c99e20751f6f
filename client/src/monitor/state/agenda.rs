//! What is due, as JSON.

use std::sync::Arc;

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    PublicKey, Timestamp,
    standing::{Agenda, AgendaParts, DueBy, Duty, ReceiptFacts, Summons},
    statement::{RemedyKind, groups::Accountable, receipt::Outcome},
};
use serde::{Deserialize, Serialize};

/// An agenda.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgendaDocument {
    /// Keys; index and seconds of each of their policies.
    policies: Vec<(String, Vec<(u64, u64)>)>,
    /// Keys and their successors.
    successors: Vec<(String, String)>,
    duties: Vec<DutyDocument>,
    overflowed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DutyDocument {
    leaf: String,
    index: u64,
    /// In ms.
    until: u64,
    remedy: Option<String>,
    respondent: String,
    accountable: Option<AccountableDocument>,
    receipt: Option<ReceiptDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountableDocument {
    key: String,
    respond_within: u64,
    by: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptDocument {
    issuer: String,
    models: [Option<String>; 3],
    outcome: Option<String>,
}

impl AgendaDocument {
    pub(super) fn of(agenda: &Agenda) -> Self {
        let AgendaParts { policies, successors, duties, overflowed } = agenda.parts();
        let pair = |(key, successor): (PublicKey, PublicKey)| (key.to_string(), successor.to_string());
        Self {
            policies: policies.into_iter().map(|(key, policies)| (key.to_string(), policies)).collect(),
            successors: successors.into_iter().map(pair).collect(),
            duties: duties.iter().map(DutyDocument::of).collect(),
            overflowed,
        }
    }

    /// None if it is none.
    pub(super) fn read(self) -> Option<Agenda> {
        let Self { policies, successors, duties, overflowed } = self;
        let policies = policies.into_iter().map(|(key, policies)| Some((key.parse().ok()?, policies)));
        let pair = |(key, successor): (String, String)| Some((key.parse().ok()?, successor.parse().ok()?));
        let successors = successors.into_iter().map(pair).collect::<Option<_>>()?;
        let duties = duties.into_iter().map(DutyDocument::read).collect::<Option<_>>()?;
        let parts =
            AgendaParts { policies: policies.collect::<Option<_>>()?, successors, duties, overflowed };
        Some(Agenda::from_parts(parts))
    }
}

impl DutyDocument {
    fn of(duty: &Duty) -> Self {
        let accountable = |(accountable, by): &(Accountable, DueBy)| AccountableDocument {
            key: accountable.key.to_string(),
            respond_within: accountable.respond_within,
            by: by.to_string(),
        };
        let receipt = |receipt: &ReceiptFacts| ReceiptDocument {
            issuer: receipt.issuer.to_string(),
            models: receipt.models.clone(),
            outcome: receipt.outcome.map(|outcome| outcome.to_string()),
        };
        Self {
            leaf: duty.leaf.to_string(),
            index: duty.index.get(),
            until: duty.until.millis(),
            remedy: duty.remedy.map(|remedy| remedy.to_string()),
            respondent: duty.summons.respondent.to_string(),
            accountable: duty.summons.accountable.as_ref().map(accountable),
            receipt: duty.receipt.as_deref().map(receipt),
        }
    }

    fn read(self) -> Option<Duty> {
        let remedy = coded(self.remedy, RemedyKind::from_code)?;
        let accountable = match self.accountable {
            Some(AccountableDocument { key, respond_within, by }) => {
                let key = key.parse().ok()?;
                Some((Accountable { key, respond_within }, DueBy::from_code(&by)?))
            }
            None => None,
        };
        let receipt = match self.receipt {
            Some(ReceiptDocument { issuer, models, outcome }) => {
                let outcome = coded(outcome, Outcome::from_code)?;
                Some(Arc::new(ReceiptFacts { issuer: issuer.parse().ok()?, models, outcome }))
            }
            None => None,
        };
        Some(Duty {
            leaf: self.leaf.parse().ok()?,
            index: LeafIndex::new(self.index).ok()?,
            until: Timestamp::from_millis(self.until)?,
            remedy,
            summons: Summons { respondent: self.respondent.parse().ok()?, accountable },
            receipt,
        })
    }
}

fn coded<T>(text: Option<String>, read: fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| read(&text).map(Some))
}

//! Verdicts, and what they come to claim by claim.

use std::collections::BTreeMap;

use counterfoil_merkle::Hash;

use super::{
    docket::{Docket, Record},
    fact::{ClaimStanding, Fact, Said, VerdictSays},
};
use crate::{
    statement::{
        Kind, Predicate, Verdict,
        verdict::{ClaimKind, VerdictResult},
    },
    timestamp::Timestamp,
};

/// The verdicts on the docket, and for each claim of each receipt what those that stand come to.
pub(super) fn facts(docket: &Docket, facts: &mut Vec<Fact>) {
    let verdicts = || docket.records.iter().filter(|record| record.entry.kind == Kind::Verdict);
    let mut claims: BTreeMap<(Hash, ClaimKind), Count> = BTreeMap::new();
    for record in verdicts() {
        let superseded_by =
            verdicts().find(|later| supersedes(docket, later, record)).map(|later| later.leaf);
        let says = verdict_of(record);
        if let (Some(verdict), Some(receipt), None) = (says, record.entry.about, superseded_by) {
            claims.entry((receipt, verdict.claim)).or_default().add(verdict.result, record);
        }
        let by = docket.keys.party(&record.entry.issuer);
        let said = Said::Verdict { by, says: says.map(shown), superseded_by };
        facts.push(Fact { at: record.entry.at, record: record.leaf, said });
    }
    for ((_, claim), count) in claims {
        let Count { supported, contradicted, newest: Some((at, record)) } = count else { continue };
        let standing = match (supported, contradicted) {
            (_, 0) => ClaimStanding::Supported,
            (0, _) => ClaimStanding::Contradicted,
            _ => ClaimStanding::Contested,
        };
        facts.push(Fact { at, record, said: Said::Claim { claim, standing, supported, contradicted } });
    }
}

/// How many verdicts say what of one claim, and the newest of them.
#[derive(Default)]
struct Count {
    supported: usize,
    contradicted: usize,
    newest: Option<(Timestamp, Hash)>,
}

impl Count {
    fn add(&mut self, result: VerdictResult, record: &Record) {
        match result {
            VerdictResult::Supported => self.supported += 1,
            VerdictResult::Contradicted => self.contradicted += 1,
            VerdictResult::Inconclusive | VerdictResult::Error => return,
        }
        self.newest = self.newest.max(Some((record.entry.at, record.leaf)));
    }
}

/// Whether a verdict replaces another: a later one of the same verifier, on the same claim of the same receipt, that says so.
fn supersedes(docket: &Docket, later: &Record, earlier: &Record) -> bool {
    let (Some(new), Some(old)) = (verdict_of(later), verdict_of(earlier)) else { return false };
    new.supersedes == Some(earlier.leaf)
        && later.index > earlier.index
        && later.entry.about == earlier.entry.about
        && new.claim == old.claim
        && docket.keys.acts_for(&later.entry.issuer, &earlier.entry.issuer)
}

fn verdict_of(record: &Record) -> Option<&Verdict> {
    match record.statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Verdict(verdict)) => Some(verdict),
        _ => None,
    }
}

fn shown(verdict: &Verdict) -> VerdictSays {
    VerdictSays {
        claim: verdict.claim,
        result: verdict.result,
        method: verdict.method.clone(),
        limits: verdict.limits.clone(),
        paid_by: verdict.paid_by.clone(),
        conflicts: verdict.conflicts.clone(),
    }
}

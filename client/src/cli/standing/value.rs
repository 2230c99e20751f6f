//! What stands, for programs: every fact as it is, none of them summed up.

use counterfoil_receipt::{
    Timestamp,
    standing::{Complainant, Fact, KeyFact, Matter, Party, PromiseState, Said, Subject, Task, Turn},
    statement::Undertaking,
};
use serde_json::{Value, json};

use super::Stands;

/// Everything that stands in each log.
pub(super) fn print(logs: &[Stands]) -> Value {
    let logs: Vec<_> = logs
        .iter()
        .map(|stands| {
            let Stands { origin, docket, standing, head, withheld } = stands;
            json!({
                "log": origin,
                "matter": match docket.matter() {
                    Matter::Record(leaf) => json!({ "record": leaf.to_string() }),
                    Matter::Elsewhere(leaf) => json!({ "elsewhere": leaf.to_string() }),
                    Matter::Promise(id) => json!({ "promise": id.to_string() }),
                },
                "size": standing.size.get(),
                "moment": standing.moment.millis(),
                "signed": { "size": head.size.get(), "root": head.root.to_string() },
                "statements_withheld": withheld,
                "facts": standing.facts.iter().map(|it| fact(stands, it)).collect::<Vec<_>>(),
                "turns": standing.turns.iter().map(|it| turn(stands, it)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "logs": logs })
}

fn fact(stands: &Stands, fact: &Fact) -> Value {
    let (what, mut value) = said(&fact.said);
    value["fact"] = what.into();
    value["at"] = fact.at.millis().into();
    value["record"] = fact.record.to_string().into();
    value["index"] = json!(stands.index(fact.record).map(|index| index.get()));
    value
}

fn said(said: &Said) -> (&'static str, Value) {
    match said {
        Said::Claimed { by, says } => {
            let says = says.as_ref().map(|(model, outcome)| {
                json!({
                    "requested": model.requested,
                    "reported": model.reported.as_ref().map(|reported| &reported.value),
                    "claimed": model.claimed.as_ref().and_then(|claimed| claimed.name.as_ref()),
                    "outcome": outcome.as_str(),
                })
            });
            ("claimed", json!({ "by": party(by), "says": says }))
        }
        Said::Promised { by, promise, state } => {
            let (state, moment) = match state {
                PromiseState::Kept { at, late: false, .. } => ("kept", at),
                PromiseState::Kept { at, late: true, .. } => ("kept late", at),
                PromiseState::Pending { by } => ("pending", by),
                PromiseState::Broken { since } => ("broken", since),
            };
            let promise = promise.to_string();
            let value =
                json!({ "by": party(by), "promise": promise, "state": state, "moment": moment.millis() });
            ("promised", value)
        }
        Said::Verdict { by, says, superseded_by } => {
            let says = says.as_ref().map(|says| {
                json!({
                    "claim": says.claim.as_str(),
                    "result": says.result.as_str(),
                    "method": says.method.scheme.as_str(),
                    "limits": codes(&says.limits, |it| it.as_str()),
                    "paid_by": { "who": says.paid_by.who.as_str(), "key": says.paid_by.key.as_ref().map(|key| key.as_str()) },
                    "conflicts": codes(&says.conflicts, |it| it.as_str()),
                })
            });
            let superseded_by = superseded_by.map(|leaf| leaf.to_string());
            ("verdict", json!({ "by": party(by), "says": says, "superseded_by": superseded_by }))
        }
        Said::Claim { claim, standing, supported, contradicted } => {
            let value = json!({
                "claim": claim.as_str(), "standing": standing.as_str(),
                "supported": supported, "contradicted": contradicted,
            });
            ("claim", value)
        }
        Said::Corrected { by, says } => {
            let says = says.as_ref().map(
                |(fields, cause)| json!({ "fields": codes(fields, |it| it.as_str()), "cause": cause.as_str() }),
            );
            ("corrected", json!({ "by": party(by), "says": says }))
        }
        Said::Key { of, fact } => key(of, fact),
        Said::Disowned { disowned } => ("disowned", json!({ "disowned": disowned.to_string() })),
        Said::Erased { erased, by, basis } => {
            let basis = basis.map(|basis| basis.as_str());
            ("erased", json!({ "erased": erased.to_string(), "by": by.as_str(), "basis": basis }))
        }
        _ => of_dispute(said),
    }
}

fn of_dispute(said: &Said) -> (&'static str, Value) {
    match said {
        Said::Disputed { by, subject, grounds, respondent, due } => {
            let by = match by {
                Complainant::ClaimKey => json!("claim key"),
                Complainant::Party(it) => party(it),
            };
            let subject = match subject {
                Subject::Record(leaf) => json!({ "record": leaf.to_string() }),
                Subject::Promise(id) => json!({ "promise": id.to_string() }),
                Subject::Elsewhere { log, leaf } => json!({ "log": log, "elsewhere": leaf.to_string() }),
            };
            let grounds = grounds.as_ref().map(|grounds| codes(grounds, |it| it.as_str()));
            let value = json!({
                "by": by, "subject": subject, "grounds": grounds, "respondent": party(respondent),
                "due": due.at.millis(), "due_by": due.by.as_str(),
            });
            ("disputed", value)
        }
        Said::Open { until } => ("open", json!({ "until": until.millis() })),
        Said::Unanswered { until } => ("unanswered", json!({ "until": until.map(Timestamp::millis) })),
        Said::Answered(answer) => {
            let value = json!({
                "dispute": answer.dispute.to_string(), "by": party(&answer.by),
                "capacity": answer.capacity.as_str(), "position": answer.position.map(|it| it.as_str()),
                "remedy": answer.remedy.map(undertaking), "late": answer.late,
            });
            ("answered", value)
        }
        Said::Remark { by } => ("remark", json!({ "by": party(by) })),
        Said::Resolved { dispute, by, role, findings, remedy, appeal_until, accepted } => {
            let findings: Vec<_> = findings
                .iter()
                .map(|it| json!({ "ground": it.ground.as_str(), "finding": it.outcome.as_str() }))
                .collect();
            let value = json!({
                "dispute": dispute.to_string(), "by": party(by), "role": role.as_str(), "findings": findings,
                "remedy": remedy.map(undertaking), "appeal_until": appeal_until.map(Timestamp::millis),
                "accepted_by_policy": accepted,
            });
            ("resolved", value)
        }
        Said::Due(it) => ("due", undertaking(*it)),
        Said::Overdue(it) => ("overdue", undertaking(*it)),
        Said::Remedied { remedy, by, late } => {
            ("remedied", json!({ "remedy": remedy.as_str(), "by": party(by), "late": late }))
        }
        _ => unreachable!("every other fact is printed before"),
    }
}

fn key(of: &Party, fact: &KeyFact) -> (&'static str, Value) {
    match fact {
        KeyFact::Registered { roles } => {
            ("registered", json!({ "of": party(of), "roles": codes(roles, |it| it.as_str()) }))
        }
        KeyFact::Revoked { by, own, reason, since, disowned, successor } => {
            let value = json!({
                "of": party(of), "by": by.as_str(), "own": own, "reason": reason.as_str(),
                "since": since.map(Timestamp::millis), "disowned": disowned,
                "successor": successor.as_ref().map(|key| key.as_str()),
            });
            ("revoked", value)
        }
    }
}

fn turn(stands: &Stands, turn: &Turn) -> Value {
    let (task, who) = match &turn.task {
        Task::Answer(it) => ("answer", json!([party(it)])),
        Task::Remedy(it, _) => ("remedy", json!([party(it)])),
        Task::ShowMore => ("show more", json!([])),
        Task::Decide(arbiters) => ("decide", arbiters.iter().map(party).collect()),
        Task::Appeal => ("appeal", json!([])),
        Task::Nothing => ("nothing", json!([])),
    };
    let remedy = if let Task::Remedy(_, remedy) = &turn.task { Some(remedy.as_str()) } else { None };
    let overdue = turn.until.is_some_and(|until| until < stands.standing.moment);
    json!({
        "dispute": turn.dispute.to_string(), "task": task, "who": who, "remedy": remedy,
        "until": turn.until.map(Timestamp::millis), "overdue": overdue && task != "appeal",
    })
}

fn party(party: &Party) -> Value {
    json!({
        "key": party.key.as_str(),
        "name": party.name.as_ref().map(|name| name.as_str()),
        "contact": party.contact.as_ref().map(|contact| contact.as_str()),
        "registered_by": party.registered_by.as_ref().map(|key| key.as_str()),
    })
}

fn undertaking(undertaking: Undertaking) -> Value {
    json!({ "remedy": undertaking.remedy.as_str(), "due": undertaking.due.millis() })
}

fn codes<T: Copy>(list: &[T], code: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    list.iter().map(|it| code(*it)).collect()
}

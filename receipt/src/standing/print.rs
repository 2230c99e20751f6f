//! What stands, in JSON: every fact as it is, none of them summed up. Servers answer it, command lines print it.

use counterfoil_merkle::{Hash, LeafIndex};

use super::{
    docket::{Docket, Matter},
    fact::{Complainant, Fact, KeyFact, Party, PromiseState, Said, Standing, Subject, Task, Turn},
};
use crate::{
    json::write::{ObjectWriter, array, object, string, write_object},
    statement::Undertaking,
    timestamp::Timestamp,
};

type Members<'w, 'o> = &'w mut ObjectWriter<'o>;

/// An object with the members `size`, `moment`, `facts` and `turns`; `docket` is the one that this stands in.
pub fn print_standing(standing: &Standing, docket: &Docket) -> String {
    object(|it| {
        it.integer("size", standing.size.get());
        it.integer("moment", standing.moment.millis());
        array(it.member("facts"), &standing.facts, |out, fact| {
            write_object(out, |it| print_fact(it, fact, docket));
        });
        array(it.member("turns"), &standing.turns, |out, turn| {
            write_object(out, |it| print_turn(it, turn, standing.moment));
        });
    })
}

/// What a docket is about: an object with one member, `record`, `elsewhere` or `promise`.
pub fn print_matter(matter: &Matter) -> String {
    object(|it| match matter {
        Matter::Record(leaf) => it.display("record", leaf),
        Matter::Elsewhere(leaf) => it.display("elsewhere", leaf),
        Matter::Promise(id) => it.display("promise", id),
    })
}

/// A key, and what its holder calls itself: `key`, `name`, `contact`, `registered_by`.
pub fn print_party(party: &Party) -> String {
    object(|it| {
        it.string("key", party.key.as_str());
        text(it, "name", party.name.as_ref().map(|name| name.as_str()));
        text(it, "contact", party.contact.as_ref().map(|contact| contact.as_str()));
        text(it, "registered_by", party.registered_by.as_ref().map(|key| key.as_str()));
    })
}

/// What the log says of a key, and which record of it says so.
pub fn print_said_of_key(at: Timestamp, record: Hash, fact: &KeyFact) -> String {
    object(|it| {
        it.string("fact", key_fact(fact));
        it.integer("at", at.millis());
        it.display("record", record);
        print_key_fact(it, fact);
    })
}

fn print_fact(it: Members<'_, '_>, fact: &Fact, docket: &Docket) {
    let mut records = docket.records().iter();
    let index = records.find(|record| record.leaf == fact.record).map(|record| record.index);
    it.string("fact", name(&fact.said));
    it.integer("at", fact.at.millis());
    it.display("record", fact.record);
    integer(it, "index", index.map(LeafIndex::get));
    match &fact.said {
        Said::Disputed { .. } | Said::Open { .. } | Said::Unanswered { .. } | Said::Answered(_) => {
            print_dispute(it, &fact.said);
        }
        Said::Remark { .. } | Said::Resolved { .. } => print_dispute(it, &fact.said),
        Said::Due(_) | Said::Remedied { .. } | Said::Overdue(_) => print_duty(it, &fact.said),
        said => print_record(it, said),
    }
}

const fn name(said: &Said) -> &'static str {
    match said {
        Said::Claimed { .. } => "claimed",
        Said::Promised { .. } => "promised",
        Said::Verdict { .. } => "verdict",
        Said::Claim { .. } => "claim",
        Said::Disputed { .. } => "disputed",
        Said::Open { .. } => "open",
        Said::Unanswered { .. } => "unanswered",
        Said::Answered(_) => "answered",
        Said::Remark { .. } => "remark",
        Said::Resolved { .. } => "resolved",
        Said::Due(_) => "due",
        Said::Remedied { .. } => "remedied",
        Said::Overdue(_) => "overdue",
        Said::Corrected { .. } => "corrected",
        Said::Key { fact, .. } => key_fact(fact),
        Said::Disowned { .. } => "disowned",
        Said::Erased { .. } => "erased",
    }
}

const fn key_fact(fact: &KeyFact) -> &'static str {
    match fact {
        KeyFact::Registered { .. } => "registered",
        KeyFact::Revoked { .. } => "revoked",
    }
}

/// Facts about receipts, promises, verdicts, corrections, erasures and keys.
fn print_record(it: Members<'_, '_>, said: &Said) {
    match said {
        Said::Claimed { by, says } => {
            put_party(it, "by", by);
            nullable(it, "says", says.as_ref(), |it, (model, outcome)| {
                text(it, "requested", model.requested.as_deref());
                text(it, "reported", model.reported.as_ref().map(|reported| reported.value.as_str()));
                let claimed = model.claimed.as_ref().and_then(|claimed| claimed.name.as_deref());
                text(it, "claimed", claimed);
                it.string("outcome", outcome.as_str());
            });
        }
        Said::Promised { by, promise, state } => {
            let (state, moment) = match state {
                PromiseState::Kept { at, late: false, .. } => ("kept", at),
                PromiseState::Kept { at, late: true, .. } => ("kept late", at),
                PromiseState::Pending { by } => ("pending", by),
                PromiseState::Broken { since } => ("broken", since),
            };
            put_party(it, "by", by);
            it.display("promise", promise);
            it.string("state", state);
            it.integer("moment", moment.millis());
        }
        Said::Verdict { by, says, superseded_by } => {
            put_party(it, "by", by);
            nullable(it, "says", says.as_ref(), |it, says| {
                it.string("claim", says.claim.as_str());
                it.string("result", says.result.as_str());
                it.string("method", says.method.scheme.as_str());
                codes(it, "limits", &says.limits, |limit| limit.as_str());
                it.object("paid_by", |it| {
                    it.string("who", says.paid_by.who.as_str());
                    text(it, "key", says.paid_by.key.as_ref().map(|key| key.as_str()));
                });
                codes(it, "conflicts", &says.conflicts, |conflict| conflict.as_str());
            });
            leaf(it, "superseded_by", *superseded_by);
        }
        Said::Claim { claim, standing, supported, contradicted } => {
            it.string("claim", claim.as_str());
            it.string("standing", standing.as_str());
            it.integer("supported", *supported as u64);
            it.integer("contradicted", *contradicted as u64);
        }
        Said::Corrected { by, says } => {
            put_party(it, "by", by);
            nullable(it, "says", says.as_ref(), |it, (fields, cause)| {
                codes(it, "fields", fields, |field| field.as_str());
                it.string("cause", cause.as_str());
            });
        }
        Said::Key { of, fact } => {
            put_party(it, "of", of);
            print_key_fact(it, fact);
        }
        Said::Disowned { disowned } => it.display("disowned", disowned),
        Said::Erased { erased, by, basis } => {
            it.display("erased", erased);
            it.string("by", by.as_str());
            text(it, "basis", basis.map(|basis| basis.as_str()));
        }
        _ => unreachable!("facts of disputes are printed elsewhere"),
    }
}

fn print_dispute(it: Members<'_, '_>, said: &Said) {
    match said {
        Said::Disputed { by, subject, grounds, respondent, due } => {
            match by {
                Complainant::ClaimKey => it.string("by", "claim key"),
                Complainant::Party(party) => put_party(it, "by", party),
            }
            it.object("subject", |it| match subject {
                Subject::Record(leaf) => it.display("record", leaf),
                Subject::Promise(id) => it.display("promise", id),
                Subject::Elsewhere { log, leaf } => {
                    it.string("log", log);
                    it.display("elsewhere", leaf);
                }
            });
            match grounds {
                Some(grounds) => codes(it, "grounds", grounds, |ground| ground.as_str()),
                None => it.null("grounds"),
            }
            put_party(it, "respondent", respondent);
            it.integer("due", due.at.millis());
            it.string("due_by", due.by.as_str());
        }
        Said::Open { until } => it.integer("until", until.millis()),
        Said::Unanswered { until } => integer(it, "until", until.map(Timestamp::millis)),
        Said::Answered(answer) => {
            it.display("dispute", answer.dispute);
            put_party(it, "by", &answer.by);
            it.string("capacity", answer.capacity.as_str());
            text(it, "position", answer.position.map(|position| position.as_str()));
            nullable(it, "remedy", answer.remedy, print_undertaking);
            it.boolean("late", answer.late);
        }
        Said::Remark { by } => put_party(it, "by", by),
        Said::Resolved { dispute, by, role, findings, remedy, appeal_until, accepted } => {
            it.display("dispute", dispute);
            put_party(it, "by", by);
            it.string("role", role.as_str());
            array(it.member("findings"), findings, |out, finding| {
                write_object(out, |it| {
                    it.string("ground", finding.ground.as_str());
                    it.string("finding", finding.outcome.as_str());
                });
            });
            nullable(it, "remedy", *remedy, print_undertaking);
            integer(it, "appeal_until", appeal_until.map(Timestamp::millis));
            match accepted {
                Some(accepted) => it.boolean("accepted_by_policy", *accepted),
                None => it.null("accepted_by_policy"),
            }
        }
        _ => unreachable!("other facts are printed elsewhere"),
    }
}

fn print_duty(it: Members<'_, '_>, said: &Said) {
    match said {
        Said::Due(undertaking) | Said::Overdue(undertaking) => print_undertaking(it, *undertaking),
        Said::Remedied { remedy, by, late } => {
            it.string("remedy", remedy.as_str());
            put_party(it, "by", by);
            it.boolean("late", *late);
        }
        _ => unreachable!("other facts are printed elsewhere"),
    }
}

fn print_key_fact(it: Members<'_, '_>, fact: &KeyFact) {
    match fact {
        KeyFact::Registered { roles } => codes(it, "roles", roles, |role| role.as_str()),
        KeyFact::Revoked { by, own, reason, since, disowned, successor } => {
            it.string("by", by.as_str());
            it.boolean("own", *own);
            it.string("reason", reason.as_str());
            integer(it, "since", since.map(Timestamp::millis));
            it.integer("disowned", *disowned);
            text(it, "successor", successor.as_ref().map(|key| key.as_str()));
        }
    }
}

fn print_turn(it: Members<'_, '_>, turn: &Turn, moment: Timestamp) {
    let (task, who) = match &turn.task {
        Task::Answer(party) => ("answer", std::slice::from_ref(party)),
        Task::Remedy(party, _) => ("remedy", std::slice::from_ref(party)),
        Task::ShowMore => ("show more", &[][..]),
        Task::Decide(arbiters) => ("decide", arbiters.as_slice()),
        Task::Appeal => ("appeal", &[][..]),
        Task::Nothing => ("nothing", &[][..]),
    };
    let remedy = if let Task::Remedy(_, remedy) = &turn.task { Some(remedy.as_str()) } else { None };
    let passed = turn.until.is_some_and(|until| until < moment);
    it.display("dispute", turn.dispute);
    it.string("task", task);
    array(it.member("who"), who, |out, party| out.push_str(&print_party(party)));
    text(it, "remedy", remedy);
    integer(it, "until", turn.until.map(Timestamp::millis));
    it.boolean("overdue", passed && task != "appeal");
}

fn print_undertaking(it: Members<'_, '_>, undertaking: Undertaking) {
    it.string("remedy", undertaking.remedy.as_str());
    it.integer("due", undertaking.due.millis());
}

fn put_party(it: Members<'_, '_>, member: &str, party: &Party) {
    it.member(member).push_str(&print_party(party));
}

fn text(it: Members<'_, '_>, member: &str, value: Option<&str>) {
    match value {
        Some(value) => it.string(member, value),
        None => it.null(member),
    }
}

fn integer(it: Members<'_, '_>, member: &str, value: Option<u64>) {
    match value {
        Some(value) => it.integer(member, value),
        None => it.null(member),
    }
}

fn leaf(it: Members<'_, '_>, member: &str, value: Option<Hash>) {
    match value {
        Some(value) => it.display(member, value),
        None => it.null(member),
    }
}

fn nullable<T>(
    it: Members<'_, '_>,
    member: &str,
    value: Option<T>,
    print: impl FnOnce(&mut ObjectWriter<'_>, T),
) {
    match value {
        Some(value) => it.object(member, |it| print(it, value)),
        None => it.null(member),
    }
}

fn codes<T: Copy>(it: Members<'_, '_>, member: &str, list: &[T], code: impl Fn(T) -> &'static str) {
    array(it.member(member), list, |out, item| string(out, code(*item)));
}

//! Records and deadlines in a line, and whom they concern.

use counterfoil_receipt::{
    PublicKey,
    entry::Entry,
    standing::{Duty, ReceiptFacts},
    statement::{Key, Predicate, Revocation, Rules},
};

use super::{Record, rule::receipt};

/// A record in a line.
pub(super) fn in_a_line(record: Record<'_>) -> String {
    let Entry { id, issuer, kind, .. } = record.entry;
    let mut text = format!("{kind} {id} of issuer {}", issuer.as_str());
    if let Some(receipt) = record.about.and_then(|about| about.receipt.as_deref()) {
        text = format!("{text}, about {}", receipt_in_a_line(receipt));
    }
    let Some(_) = record.statement else {
        return text + ", all by the log's word: its statement is not there";
    };
    if let Some(receipt) = receipt(record) {
        text = models(text, receipt.model.names());
        text = format!("{text}, outcome {}", receipt.outcome);
    }
    text
}

/// A record about keys, or about who may write, in a line.
pub(super) fn of_keys(record: Record<'_>) -> String {
    let issuer = &record.entry.issuer;
    let roles = |roles: &[_]| roles.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
    match record.statement.map(|statement| &statement.predicate) {
        Some(Predicate::Key(Key::Card(card))) => format!("{issuer} calls itself {:?}", card.name.as_str()),
        Some(Predicate::Key(Key::Registration(registration))) => {
            let (key, name) = (registration.key(), registration.card().name.as_str());
            format!(
                "{issuer} registers {key}, which calls itself {name:?}, as {}",
                roles(&registration.roles)
            )
        }
        Some(Predicate::Revocation(Revocation { key, reason, since, successor })) => {
            let mut text = format!("{issuer} revokes {key}: {reason}");
            if let Some(since) = since {
                text = format!("{text}, its records from {since} ms on are disowned");
            }
            if let Some(successor) = successor {
                text = format!("{text}, {successor} acts for it");
            }
            text
        }
        Some(Predicate::Rules(Rules { mode, registrars, operator })) => {
            let registrars: Vec<_> = registrars.iter().map(ToString::to_string).collect();
            format!("other rules: {mode}, operator {operator}, registrars {}", registrars.join(", "))
        }
        _ => in_a_line(record),
    }
}

/// A deadline that passed, in a line.
pub(crate) fn duty(duty: &Duty) -> String {
    let (respondent, until) = (&duty.summons.respondent, duty.until);
    let mut text = match duty.remedy {
        None => format!("{respondent} did not answer by {until} ms"),
        Some(remedy) => format!("{respondent} did not make good by {until} ms: {remedy}"),
    };
    if let Some((accountable, _)) = &duty.summons.accountable {
        text = format!("{text}, nor did {}", accountable.key);
    }
    match duty.receipt.as_deref() {
        Some(receipt) => format!("{text}; it is about {}", receipt_in_a_line(receipt)),
        None => text + "; it is about something outside this log",
    }
}

/// The keys that a record concerns: whose receipt it is all about, who has to answer, whose key record it is.
pub(super) fn concerned<'a>(record: Record<'a>) -> impl Iterator<Item = &'a PublicKey> {
    let mut keys = Vec::new();
    if let Some(about) = record.about {
        keys.push(&about.issuer);
        keys.extend(about.receipt.as_deref().map(|receipt| &receipt.issuer));
        keys.extend(about.summons.as_ref().map(|summons| &summons.respondent));
    }
    match record.statement.map(|statement| &statement.predicate) {
        Some(Predicate::Dispute(dispute)) => keys.extend(dispute.outside_issuer()),
        Some(Predicate::Key(Key::Card(_)) | Predicate::Policy(_)) => keys.push(&record.entry.issuer),
        Some(Predicate::Key(Key::Registration(registration))) => keys.push(registration.key()),
        Some(Predicate::Revocation(revocation)) => {
            keys.push(&revocation.key);
            keys.extend(&revocation.successor);
        }
        Some(Predicate::Rules(rules)) => {
            keys.push(&rules.operator);
            keys.extend(&rules.registrars);
        }
        _ => {}
    }
    keys.into_iter()
}

fn receipt_in_a_line(receipt: &ReceiptFacts) -> String {
    let names = receipt.models.each_ref().map(Option::as_deref);
    models(format!("a receipt of {}", receipt.issuer), names)
}

fn models(mut text: String, names: [Option<&str>; 3]) -> String {
    for (role, name) in ["requested", "reported", "claimed"].into_iter().zip(names) {
        if let Some(name) = name {
            text = format!("{text}, {role} model {name}");
        }
    }
    text
}

//! What stands, on one screen, for somebody who knows no cryptography.

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Kind, PublicKey, Timestamp,
    standing::{
        Answer, Capacity, ClaimStanding, Complainant, Deadline, DueBy, Fact, KeyFact, Matter, Party,
        PromiseState, Said, Subject, Task, Turn, VerdictSays,
    },
    statement::{Undertaking, receipt::Model, resolution::Finding, rules::Mode},
};

use super::Stands;
use crate::cli::{
    Terminal,
    terminal::{Tone, moment, shown},
};

/// Prints what stands in each log.
pub(super) fn print(logs: &[Stands], terminal: &Terminal) {
    for (n, stands) in logs.iter().enumerate() {
        if n > 0 {
            terminal.line("");
        }
        Screen { stands, terminal }.print();
    }
}

struct Screen<'s> {
    stands: &'s Stands,
    terminal: &'s Terminal,
}

impl Screen<'_> {
    fn print(&self) {
        self.title();
        self.claimed();
        self.checked();
        self.disputed();
        self.turns();
        self.rest();
        self.footing();
    }

    fn line(&self, text: impl std::fmt::Display) {
        self.terminal.line(format_args!("  {text}"));
    }

    fn heading(&self, text: &str) {
        self.terminal.line("");
        self.terminal.line(text);
    }

    fn bad(&self, text: impl std::fmt::Display) -> String {
        self.terminal.paint(Tone::Bad, text)
    }

    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.stands.standing.facts.iter()
    }

    fn title(&self) {
        let Stands { origin, docket, standing, .. } = self.stands;
        let origin = shown(origin);
        let what = match docket.matter() {
            Matter::Record(leaf) => {
                let record = docket.records().iter().find(|record| record.leaf == *leaf);
                let kind = record.map_or(Kind::Receipt, |record| record.entry.kind);
                let id = record.map_or_else(|| leaf.to_string(), |record| record.entry.id.to_string());
                format!("{} {} in {origin}", capital(kind.as_str()), short(&id))
            }
            Matter::Promise(id) => {
                format!("Promise {} of a receipt in {origin}", short(&id.to_string()))
            }
            Matter::Elsewhere(leaf) => {
                format!("In {origin}, about the receipt {} of another log", short(&leaf.to_string()))
            }
        };
        self.terminal.line(what);
        self.terminal.line(format_args!("as of {}, with {} entries", moment(standing.moment), standing.size));
    }

    fn claimed(&self) {
        if matches!(self.stands.docket.matter(), Matter::Elsewhere(_)) {
            return;
        }
        self.heading("WHO CLAIMED WHAT");
        for fact in self.facts() {
            match &fact.said {
                Said::Claimed { by, says: Some((model, outcome)) } => {
                    self.dated(fact, format_args!("{} says:", self.party(by)));
                    self.line(format_args!("    {}", models(model)));
                    self.line(format_args!("    how it ended: {}", outcome.meaning()));
                }
                Said::Claimed { by, says: None } => {
                    self.dated(
                        fact,
                        format_args!("{} issued it; what it said is not here any more", self.party(by)),
                    );
                }
                Said::Promised { by, state, .. } => self.promised(by, state),
                _ => {}
            }
        }
    }

    fn promised(&self, by: &Party, state: &PromiseState) {
        let who = self.party(by);
        match state {
            PromiseState::Kept { at, late: false, .. } => {
                self.line(format_args!(
                    "{who} promised a receipt, and logged it in time, on {}",
                    moment(*at)
                ));
            }
            PromiseState::Kept { at, late: true, .. } => {
                self.line(format_args!("{who} promised a receipt, and logged it LATE, on {}", moment(*at)));
            }
            PromiseState::Pending { by } => {
                self.line(format_args!("{who} promised a receipt by {}; it is not due yet", moment(*by)));
            }
            PromiseState::Broken { since } => {
                let broken = self.bad("there is none");
                self.line(format_args!("{who} promised a receipt by {}; {broken}", moment(*since)));
            }
        }
    }

    fn checked(&self) {
        self.heading("WHAT WAS CHECKED");
        let mut any = false;
        for fact in self.facts() {
            if let Said::Claim { claim, standing, supported, contradicted } = &fact.said {
                any = true;
                let word = match standing {
                    ClaimStanding::Supported => self.terminal.paint(Tone::Good, "supported"),
                    ClaimStanding::Contradicted => self.bad("CONTRADICTED"),
                    ClaimStanding::Contested => self.bad("CONTESTED"),
                };
                let counts = match (supported, contradicted) {
                    (0, n) => format!("{n} contradict it, none supports it"),
                    (n, 0) => format!("{n} support it, none contradicts it"),
                    (s, c) => format!("{s} support it, {c} contradict it"),
                };
                self.line(format_args!("{}: {word} ({counts})", claim.meaning()));
            }
        }
        for fact in self.facts() {
            if let Said::Verdict { by, says, superseded_by } = &fact.said {
                any = true;
                self.verdict(fact, by, says.as_ref(), superseded_by.is_some());
            }
        }
        if !any {
            self.line("nobody has checked anything, or said so here");
        }
    }

    fn verdict(&self, fact: &Fact, by: &Party, says: Option<&VerdictSays>, superseded: bool) {
        let Some(says) = says else {
            return self.dated(fact, format_args!("{} found something; what, is erased", self.party(by)));
        };
        let since = if superseded { ", and has replaced that since" } else { "" };
        self.dated(
            fact,
            format_args!("{} found: {}, {}{since}", self.party(by), says.claim, says.result.as_str()),
        );
        let payer = match &says.paid_by.key {
            Some(key) => format!("{} ({})", says.paid_by.who.meaning(), key_text(key)),
            None => says.paid_by.who.meaning().to_owned(),
        };
        self.line(format_args!(
            "    how: {}. Who pays, by its own word: {payer}",
            says.method.scheme.meaning()
        ));
        let limits: Vec<_> = says.limits.iter().map(|limit| limit.meaning()).collect();
        if !limits.is_empty() {
            self.line(format_args!("    its limits: {}", limits.join("; ")));
        }
        let conflicts: Vec<_> = says.conflicts.iter().map(|conflict| conflict.meaning()).collect();
        if !conflicts.is_empty() {
            self.line(format_args!("    its other interests: {}", conflicts.join("; ")));
        }
    }

    fn disputed(&self) {
        self.heading("WHAT IS DISPUTED");
        let disputes: Vec<&Fact> =
            self.facts().filter(|fact| matches!(fact.said, Said::Disputed { .. })).collect();
        if disputes.is_empty() {
            self.line("nothing");
        }
        for dispute in disputes {
            self.dispute(dispute);
        }
    }

    fn dispute(&self, fact: &Fact) {
        let Said::Disputed { by, subject, grounds, respondent, due } = &fact.said else { return };
        let who = match by {
            Complainant::ClaimKey => "whoever holds the claim key that came with the answer".to_owned(),
            Complainant::Party(party) => self.party(party),
        };
        let what = match subject {
            Subject::Record(leaf) => self.entry(*leaf),
            Subject::Promise(_) => "the promise".to_owned(),
            Subject::Elsewhere { log, .. } => format!("the receipt in {}", shown(log)),
        };
        self.dated(fact, format_args!("{who} disputes {what}:"));
        match grounds {
            Some(grounds) => {
                grounds.iter().for_each(|ground| self.line(format_args!("    \"{}\"", ground.meaning())));
            }
            None => self.line("    why, is erased"),
        }
        self.line(format_args!("    {} has to answer by {}", self.party(respondent), deadline(*due)));
        let about = |other: &&Fact| self.belongs(other, fact.record);
        self.facts().filter(about).for_each(|fact| self.step(fact));
    }

    /// Whether a fact is a step in a dispute.
    fn belongs(&self, fact: &Fact, dispute: Hash) -> bool {
        let under = |leaf: Hash| {
            let records = self.stands.docket.records();
            records.iter().find(|record| record.leaf == leaf).and_then(|record| record.entry.about)
        };
        match &fact.said {
            Said::Open { .. } | Said::Unanswered { .. } => fact.record == dispute,
            Said::Answered(answer) => answer.dispute == dispute,
            Said::Resolved { dispute: of, .. } => *of == dispute,
            Said::Remark { .. } | Said::Due(_) | Said::Overdue(_) => under(fact.record) == Some(dispute),
            Said::Remedied { .. } => under(fact.record).and_then(under) == Some(dispute),
            _ => false,
        }
    }

    fn step(&self, fact: &Fact) {
        match &fact.said {
            Said::Open { until } => self.line(format_args!("    OPEN until {}", moment(*until))),
            Said::Unanswered { until } => {
                let silence = self.bad("NO ANSWER CAME IN TIME");
                let until = until.map_or_else(
                    || "and none has come since".to_owned(),
                    |until| format!("silence lasted until {}", moment(until)),
                );
                self.dated(fact, format_args!("{silence}; {until}"));
            }
            Said::Answered(answer) => self.answered(fact, answer),
            Said::Remark { by } => {
                self.dated(fact, format_args!("{} spoke too, who was not asked", self.party(by)));
            }
            Said::Resolved { by, role, findings, remedy, appeal_until, accepted, .. } => {
                let accepted = match accepted {
                    Some(true) => ", whom the respondent's policy accepts",
                    Some(false) => ", whom the respondent's policy does NOT name",
                    None => "",
                };
                self.dated(fact, format_args!("{} decided ({}{accepted}):", self.party(by), role.meaning()));
                self.line(format_args!("    {}", found(findings)));
                if let Some(remedy) = remedy {
                    self.line(format_args!("    {}", ordered(*remedy)));
                }
                if let Some(until) = appeal_until {
                    self.line(format_args!("    an appeal is possible until {}", moment(*until)));
                }
            }
            Said::Due(Undertaking { remedy, due }) => {
                self.line(format_args!("    still to be done: {remedy}, by {}", moment(*due)));
            }
            Said::Overdue(Undertaking { remedy, .. }) => {
                self.dated(fact, self.bad(format_args!("{remedy} was due, and is NOT DONE")));
            }
            Said::Remedied { remedy, by, late } => {
                let late = if *late { ", LATE" } else { "" };
                self.dated(fact, format_args!("{} says it is done{late}: {remedy}", self.party(by)));
            }
            _ => {}
        }
    }

    fn answered(&self, fact: &Fact, answer: &Answer) {
        let late = if answer.late { self.bad(", LATE") } else { String::new() };
        let capacity = match answer.capacity {
            Capacity::Respondent => "",
            Capacity::Successor => ", which acts for the revoked key",
            Capacity::Accountable => ", which the receipt names as accountable",
        };
        let position = answer.position.map_or("what, is erased", |position| position.meaning());
        self.dated(fact, format_args!("{}{capacity} answered{late}: {position}", self.party(&answer.by)));
        if let Some(remedy) = answer.remedy {
            self.line(format_args!("    {}", ordered(remedy)));
        }
    }

    fn turns(&self) {
        let turns = &self.stands.standing.turns;
        if turns.is_empty() {
            return;
        }
        self.heading("WHOSE TURN IT IS");
        for Turn { dispute, task, until } in turns {
            let task = match task {
                Task::Answer(party) => format!("{} has to answer", self.party(party)),
                Task::Remedy(party, remedy) => format!("{} has to see to it: {remedy}", self.party(party)),
                Task::ShowMore => "the disputant should show more".to_owned(),
                Task::Decide(arbiters) if arbiters.is_empty() => "somebody has to decide".to_owned(),
                Task::Decide(arbiters) => {
                    let named: Vec<_> = arbiters.iter().map(|party| self.party(party)).collect();
                    format!("to be decided, by {}", named.join(" or "))
                }
                Task::Appeal => "either side may appeal".to_owned(),
                Task::Nothing => "nobody's: nothing is left to do".to_owned(),
            };
            let until = match until {
                Some(until) if *until < self.stands.standing.moment => {
                    self.bad(format_args!(", OVERDUE since {}", moment(*until)))
                }
                Some(until) => format!(", until {}", moment(*until)),
                None => String::new(),
            };
            self.line(format_args!("dispute at {}: {task}{until}", self.entry(*dispute)));
        }
    }

    /// Corrections, erasures, and what became of keys: only if there is anything.
    fn rest(&self) {
        let mut headed = false;
        let mut head = |text: &str| {
            if !std::mem::replace(&mut headed, true) {
                self.heading(text);
            }
        };
        for fact in self.facts() {
            match &fact.said {
                Said::Corrected { by, says } => {
                    head("WHAT ELSE HAPPENED");
                    let what = says.as_ref().map_or_else(
                        || "something; what, is erased".to_owned(),
                        |(fields, cause)| {
                            let fields: Vec<_> = fields.iter().map(|field| field.as_str()).collect();
                            format!("{}: wrong because: {}", fields.join(", "), cause.meaning())
                        },
                    );
                    self.dated(fact, format_args!("{} takes back {what}", self.party(by)));
                }
                Said::Erased { erased, by, basis } => {
                    head("WHAT ELSE HAPPENED");
                    let why = basis.map_or("", |basis| basis.meaning());
                    self.dated(
                        fact,
                        format_args!(
                            "{} was erased, by order of: {}. {why}",
                            self.entry(*erased),
                            by.meaning()
                        ),
                    );
                }
                Said::Disowned { disowned } => {
                    head("WHAT ELSE HAPPENED");
                    let entry = self.entry(*disowned);
                    self.dated(
                        fact,
                        format_args!(
                            "{} {entry}: whoever signed it no longer stands behind it",
                            self.bad("DISOWNED")
                        ),
                    );
                }
                Said::Key { of, fact: key @ KeyFact::Revoked { .. } } => {
                    head("WHAT ELSE HAPPENED");
                    self.revoked(fact, of, key);
                }
                _ => {}
            }
        }
    }

    fn revoked(&self, fact: &Fact, of: &Party, key: &KeyFact) {
        let KeyFact::Revoked { own, reason, since, disowned, successor, .. } = key else { return };
        let by = if *own { "its own holder" } else { "a registrar" };
        self.dated(
            fact,
            format_args!("the key of {} was revoked by {by}: {}", self.party(of), reason.meaning()),
        );
        if let Some(since) = since {
            let word = if *own { "disowns" } else { "calls doubtful" };
            self.line(format_args!(
                "    {by} {word} its records since {}: {disowned} of them. They stay as they were, and so do its duties",
                moment(*since)
            ));
        }
        if let Some(successor) = successor {
            self.line(format_args!("    {} acts for it now", key_text(successor)));
        }
    }

    fn footing(&self) {
        let Stands { standing, head, withheld, docket, .. } = self.stands;
        self.heading("WHAT THIS RESTS ON");
        self.line(format_args!(
            "All {} entries were read; they are those of the tree of {} that the log signed.",
            standing.size, head.size
        ));
        self.line("That something stands here does not make it true; what is in no log does not stand here.");
        if *withheld {
            self.line(
                self.bad(
                    "The log shows its statements to others only: most of what they say is missing here.",
                ),
            );
        }
        if docket.rules().is_some_and(|rules| rules.mode == Mode::Open) {
            self.line("Anybody may write into this log: a name tells only who somebody says they are.");
        }
    }

    fn dated(&self, fact: &Fact, text: impl std::fmt::Display) {
        let place = self.stands.index(fact.record).map(|index| format!("  [entry {index}]"));
        self.line(format_args!("{}  {text}{}", seconds(fact.at), place.unwrap_or_default()));
    }

    fn entry(&self, leaf: Hash) -> String {
        self.stands.index(leaf).map_or_else(|| short(&leaf.to_string()), |index| format!("entry {index}"))
    }

    /// A party as people know it. A name that no registrar saw is marked.
    fn party(&self, party: &Party) -> String {
        match (&party.name, &party.registered_by) {
            (Some(name), Some(_)) => shown(name.as_str()),
            (Some(name), None) => format!("{} (self-styled, {})", shown(name.as_str()), key_text(&party.key)),
            (None, _) => format!("a key that nobody registered ({})", key_text(&party.key)),
        }
    }
}

fn models(model: &Model) -> String {
    let said = |name: Option<&str>| name.map_or_else(|| "none".to_owned(), shown);
    let mut text = format!("the model asked for was {}", said(model.requested.as_deref()));
    if let Some(reported) = &model.reported {
        text += &format!("; the service called it {}", shown(&reported.value));
    }
    if let Some(claimed) = &model.claimed {
        text += &format!("; the issuer says it was {}", said(claimed.name.as_deref()));
    }
    text
}

fn deadline(due: Deadline) -> String {
    let by = match due.by {
        DueBy::Policy => "as its policy promises",
        DueBy::Receipt => "as the receipt says",
        DueBy::Copy => "as the receipt said, by the dispute's copy of it",
        DueBy::Default => "30 days, since nothing was promised",
    };
    format!("{} ({by})", moment(due.at))
}

fn found(findings: &[Finding]) -> String {
    let found = findings.iter().map(|finding| format!("{}: {}", finding.ground, finding.outcome));
    found.collect::<Vec<_>>().join(", ")
}

fn ordered(undertaking: Undertaking) -> String {
    format!("to be done: {}, by {}", undertaking.remedy, moment(undertaking.due))
}

/// The end of a key's text, by which people tell keys apart.
fn key_text(key: &PublicKey) -> String {
    let text = key.as_str();
    format!("key …{}", &text[text.len().saturating_sub(12)..])
}

fn short(hex: &str) -> String {
    hex.chars().take(32).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

/// A moment to the second.
fn seconds(at: Timestamp) -> String {
    let whole = Timestamp::from_millis(at.seconds() * 1000).unwrap_or(at);
    moment(whole)
}

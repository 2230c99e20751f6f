//! What verifying a bundle showed, for people and for programs: each claim apart, never one tick.

use counterfoil_merkle::{LeafIndex, policy::Accepted};
use counterfoil_receipt::{
    Statement,
    bundle::BundleError,
    commitment::{Checked, Finding},
    statement::{
        Predicate, Receipt,
        receipt::{Claimed, Engine},
    },
    verify::{Bound, Bounds, ContentsCheck, IssuerCheck, Report, StatementCheck, TimeCheck},
};
use serde_json::{Value, json};

use super::{
    Exit, Terminal,
    history::History,
    terminal::{Tone, moment, moment_s, shown},
};

/// Prints a report.
pub(super) fn print(report: &Report, history: &History, terminal: &Terminal) {
    if terminal.is_json() {
        return terminal.value(&value(report, history));
    }
    let say = |claim: &str, (tone, text): (Tone, String)| {
        terminal.line(format_args!("{claim}: {}", terminal.paint(tone, text)));
    };
    terminal.line(format_args!("{}: {}", report.entry.kind, report.entry.id));
    if let Some(statement) = report.statement() {
        says(statement, terminal);
    }
    say("signed", signed(report));
    say("issuer", issuer(report));
    say("logged", logged(report));
    say("time", time(report));
    say("bounds", bounds(&report.bounds));
    say("witnessed", witnessed(&report.checkpoint));
    say("history", history.text());
    for (claim, text) in contents(&report.contents) {
        say(&claim, text);
    }
    say("evidence, verdicts, disputes", (Tone::Dim, "not looked up offline".to_owned()));
    let failures = report.failures();
    for failure in &failures {
        terminal.line(format_args!(
            "{} {}: {}",
            terminal.paint(Tone::Bad, "NO"),
            failure.part(),
            shown(&failure.to_string())
        ));
    }
    if history.exit(report) == Exit::YES {
        terminal.line(format_args!("{}: all that you asked for holds", terminal.paint(Tone::Good, "yes")));
    }
}

/// Prints that bytes are no bundle.
pub(super) fn print_malformed(malformed: &BundleError, terminal: &Terminal) {
    let text = shown(&malformed.to_string());
    terminal.line(format_args!("{} malformed: {text}", terminal.paint(Tone::Bad, "NO")));
    let failure = json!({ "part": "bundle", "message": malformed.to_string() });
    terminal.value(&json!({ "holds": false, "failures": [failure] }));
}

/// What a receipt says, in a few words.
fn says(statement: &Statement, terminal: &Terminal) {
    let Predicate::Receipt(receipt) = &statement.predicate else { return };
    let Receipt { api, model, outcome, .. } = receipt.as_ref();
    terminal.line(format_args!("says: {} {}, {outcome}", api.protocol, shown(&api.path)));
    let reported = model.reported.as_ref().map(|reported| reported.value.as_str());
    let claimed = model.claimed.as_ref().and_then(|claimed| claimed.name.as_deref());
    let named = |name: Option<&str>| shown(name.unwrap_or("none"));
    terminal.line(format_args!(
        "model: requested {}, reported {}, claimed {}",
        named(model.requested.as_deref()),
        named(reported),
        named(claimed)
    ));
    if let Some(claims) = model.claimed.as_ref().and_then(claims) {
        terminal.line(format_args!("claimed: {}", shown(&claims)));
    }
}

/// What the issuer claims of a model besides its name, and how it says that it knows.
fn claims(claimed: &Claimed) -> Option<String> {
    let Claimed { weights, engine, quantization, basis, .. } = claimed;
    let engine = engine.as_ref().map(|Engine { name, version }| match version {
        Some(version) => format!("engine {name} {version}"),
        None => format!("engine {name}"),
    });
    let weights = weights.map(|weights| format!("weights {weights}"));
    let quantization = quantization.as_ref().map(|quantization| format!("quantization {quantization}"));
    let claims: Vec<_> = [weights, engine, quantization].into_iter().flatten().collect();
    (!claims.is_empty()).then(|| format!("{} (basis: {})", claims.join(", "), basis.as_str()))
}

fn signed(report: &Report) -> (Tone, String) {
    match &report.statement {
        StatementCheck::Matches(_) => {
            (Tone::Good, "yes, and the entry says what the statement says".to_owned())
        }
        StatementCheck::Erased => (
            Tone::Warn,
            "no statement here, erased or left out; what the entry says is the log's word".to_owned(),
        ),
        StatementCheck::Differs(reason) => (Tone::Bad, format!("NO, {}", shown(&reason.to_string()))),
        StatementCheck::OtherLog(statement) => {
            (Tone::Bad, format!("yes, but for another log: {}", shown(statement.frame.log.as_str())))
        }
    }
}

fn issuer(report: &Report) -> (Tone, String) {
    let key = &report.entry.issuer;
    let (tone, word) = match report.statement {
        StatementCheck::Matches(_) | StatementCheck::OtherLog(_) => (Tone::Good, ""),
        StatementCheck::Erased => (Tone::Warn, ", by the log's word"),
        StatementCheck::Differs(_) => (Tone::Bad, ", which nothing proves"),
    };
    match &report.issuer {
        IssuerCheck::Named { name } => (tone, format!("{}{word} ({key})", shown(name))),
        IssuerCheck::NotNamed => (Tone::Warn, format!("NOT NAMED BY YOU{word} ({key})")),
        IssuerCheck::OtherRole { name } => {
            (Tone::Bad, format!("{}, whom you do not trust as an issuer ({key})", shown(name)))
        }
        IssuerCheck::NotValid { name, .. } => {
            (Tone::Bad, format!("{}, but the key was not valid at the time ({key})", shown(name)))
        }
    }
}

fn logged(report: &Report) -> (Tone, String) {
    let origin = shown(&report.origin);
    let place = format!("index {} in a tree of size {} of {origin}", report.index, report.head.size);
    match (&report.checkpoint, &report.inclusion) {
        (Ok(_), Ok(())) => (Tone::Good, place),
        (Err(reason), Ok(())) => (Tone::Bad, format!("NOT PROVEN, {} ({place})", shown(&reason.to_string()))),
        (Ok(_), Err(reason)) => (Tone::Bad, format!("NO, {reason} ({place})")),
        (Err(bad), Err(reason)) => {
            (Tone::Bad, format!("NO, {}; {reason} ({place})", shown(&bad.to_string())))
        }
    }
}

fn time(report: &Report) -> (Tone, String) {
    let at = moment(report.entry.at);
    match report.time {
        TimeCheck::Attested { clock_s } => {
            (Tone::Good, format!("{at} by the log, not after its checkpoint's {}", moment_s(clock_s)))
        }
        TimeCheck::Unattested => (Tone::Dim, format!("{at}, the log's word")),
        TimeCheck::NoClock => (Tone::Bad, format!("{at}, but the log's clock did not sign the checkpoint")),
        TimeCheck::AfterCheckpoint { clock_s } => {
            (Tone::Bad, format!("{at}, after its own checkpoint, which is of {}", moment_s(clock_s)))
        }
    }
}

/// Between which times of witnesses the entry was appended.
fn bounds(bounds: &Bounds) -> (Tone, String) {
    let said = |side: &str, bound: &Option<Bound>| {
        let Bound { witness, time_s, record } = bound.as_ref()?;
        let from = record.map_or_else(|| "its own checkpoint".to_owned(), |index| format!("record {index}"));
        Some(format!("{side} {} ({}, {from})", moment_s(*time_s), shown(witness.as_str())))
    };
    let sides = [said("not before", &bounds.not_before), said("not after", &bounds.not_after)];
    match sides.into_iter().flatten().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => (Tone::Dim, "none from witnesses that you listed".to_owned()),
        some => (Tone::Good, some),
    }
}

fn witnessed<E>(checkpoint: &Result<Accepted, E>) -> (Tone, String) {
    let Ok(accepted) = checkpoint else { return (Tone::Dim, "not known".to_owned()) };
    if accepted.witnesses.is_empty() {
        return (Tone::Dim, "by nobody that you listed".to_owned());
    }
    let seen = accepted
        .witnesses
        .iter()
        .map(|witness| format!("{} at {}", shown(witness.name.as_str()), moment_s(witness.time_s)));
    (Tone::Good, seen.collect::<Vec<_>>().join(", "))
}

fn contents(contents: &ContentsCheck) -> Vec<(String, (Tone, String))> {
    let one = |tone, text: &str| vec![("contents".to_owned(), (tone, text.to_owned()))];
    match contents {
        ContentsCheck::NotGiven => one(Tone::Dim, "not given"),
        ContentsCheck::NoStatement => one(Tone::Bad, "cannot be checked without a statement that matches"),
        ContentsCheck::OtherRecord { openings } => {
            one(Tone::Bad, &format!("the openings are those of {openings}"))
        }
        ContentsCheck::Checked(checked) => checked
            .iter()
            .map(|Checked { label, finding }| {
                let (tone, text) = finding_text(*finding);
                (label.to_string(), (tone, text.to_owned()))
            })
            .collect(),
    }
}

const fn finding_text(finding: Finding) -> (Tone, &'static str) {
    match finding {
        Finding::Opened => (Tone::Good, "matches"),
        Finding::NoOpening => (Tone::Dim, "stays closed, no opening"),
        Finding::NoBody => (Tone::Dim, "not given"),
        Finding::Differs => (Tone::Bad, "DIFFERS"),
        Finding::Malformed => (Tone::Bad, "matches, but is not what it should be"),
        Finding::NotCommitted => (Tone::Bad, "cannot be checked: commitment or opening is missing"),
    }
}

fn value(report: &Report, history: &History) -> Value {
    let failures: Vec<_> = report
        .failures()
        .iter()
        .map(|failure| json!({ "part": failure.part().as_str(), "message": failure.to_string() }))
        .collect();
    let statement = match report.statement {
        StatementCheck::Matches(_) => "matches",
        StatementCheck::Erased => "absent",
        StatementCheck::Differs(_) => "differs",
        StatementCheck::OtherLog(_) => "for another log",
    };
    let (status, name) = match &report.issuer {
        IssuerCheck::Named { name } => ("named", Some(name)),
        IssuerCheck::NotNamed => ("not named by you", None),
        IssuerCheck::OtherRole { name } => ("not an issuer", Some(name)),
        IssuerCheck::NotValid { name, .. } => ("not valid", Some(name)),
    };
    let (time, clock) = match report.time {
        TimeCheck::Attested { clock_s } => ("attested", Some(clock_s)),
        TimeCheck::Unattested => ("the log's word", None),
        TimeCheck::NoClock => ("clock missing", None),
        TimeCheck::AfterCheckpoint { clock_s } => ("after its checkpoint", Some(clock_s)),
    };
    let witnesses: Vec<_> = report
        .checkpoint
        .iter()
        .flat_map(|accepted| &accepted.witnesses)
        .map(|witness| json!({ "name": witness.name.as_str(), "time": witness.time_s }))
        .collect();
    json!({
        "holds": history.exit(report) == Exit::YES,
        "failures": failures,
        "kind": report.entry.kind.as_str(),
        "id": report.entry.id.to_string(),
        "leaf": report.leaf.to_string(),
        "statement": statement,
        "issuer": { "key": report.entry.issuer.as_str(), "status": status, "name": name, "proven": report.statement().is_some() },
        "logged": {
            "origin": report.origin, "index": report.index.get(), "size": report.head.size.get(),
            "root": report.head.root.to_string(),
            "included": report.inclusion.is_ok(), "checkpoint_accepted": report.checkpoint.is_ok(),
        },
        "time": {
            "at": report.entry.at.millis(), "status": time, "clock": clock,
            "not_before": bound(&report.bounds.not_before), "not_after": bound(&report.bounds.not_after),
        },
        "witnesses": witnesses,
        "history": history.value(),
        "contents": contents_value(&report.contents),
        "follow_ups": "not looked up offline",
    })
}

fn bound(bound: &Option<Bound>) -> Value {
    bound.as_ref().map_or(Value::Null, |Bound { witness, time_s, record }| {
        json!({ "witness": witness.as_str(), "time": time_s, "record": record.map(LeafIndex::get) })
    })
}

fn contents_value(contents: &ContentsCheck) -> Value {
    match contents {
        ContentsCheck::NotGiven => Value::Null,
        ContentsCheck::NoStatement => json!("no statement"),
        ContentsCheck::OtherRecord { .. } => json!("openings of another record"),
        ContentsCheck::Checked(checked) => checked
            .iter()
            .map(|it| (it.label.to_string(), Value::from(finding_code(it.finding))))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

const fn finding_code(finding: Finding) -> &'static str {
    match finding {
        Finding::Opened => "matches",
        Finding::NoOpening => "closed",
        Finding::NoBody => "not given",
        Finding::Differs => "differs",
        Finding::Malformed => "malformed",
        Finding::NotCommitted => "not committed",
    }
}

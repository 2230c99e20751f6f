//! Records: JSON, entries, envelopes, statements, offline bundles, and the files that go out with an answer.

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Entry, Envelope, Id, Statement, Timestamp, VerifiedEnvelope,
    admission::{Candidate, Chain, Ledger},
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    claim::{Claim, PrintedClaim},
    commitment::{Bodies, Openings},
    entry::{ENTRY_BYTES_MAX, EntryDraft},
    envelope::{ENVELOPE_BYTES_MAX, STATEMENT_BYTES_MAX},
    json::{DEPTH_MAX, Data, Value, write},
    trust::Trust,
    verify::{StatementCheck, verify},
};

use super::{texts::was_signed, vectors};

/// When everything is logged here.
fn now() -> Timestamp {
    Timestamp::from_millis(1_763_712_345_678).expect("a time")
}

/// What is accepted, another reader accepts too, and reads alike; it nests no deeper than it may, and printed anew it is read as
/// the same.
pub fn json(bytes: &[u8]) -> bool {
    let Ok(value) = Value::parse(bytes) else { return false };
    let other: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(other) => other,
        // Numbers stay text here, of any size; what asks for one states its range.
        Err(error) if error.to_string().starts_with("number out of range") => return true,
        Err(error) => panic!("another reader refuses it: {error}"),
    };
    assert!(is_same(&value, &other), "two readers read different things");
    assert!(depth(&value) <= DEPTH_MAX);
    assert!(Value::parse_within(bytes, depth(&value)).is_ok());
    assert!(depth(&value) == 0 || Value::parse_within(bytes, depth(&value) - 1).is_err());
    let mut printed = String::new();
    print(&mut printed, &value);
    let again = Value::parse(printed.as_bytes()).expect("what was printed");
    let mut twice = String::new();
    print(&mut twice, &again);
    assert_eq!(printed, twice);
    assert!(is_same(&again, &other));
    true
}

fn depth(value: &Value<'_>) -> usize {
    match value.data() {
        Data::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Data::Object(members) => 1 + members.iter().map(|member| depth(&member.value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn print(out: &mut String, value: &Value<'_>) {
    match value.data() {
        Data::Array(items) => write::array(out, items, print),
        Data::Object(members) => write::write_object(out, |object| {
            for member in members {
                print(object.member(&member.name), &member.value);
            }
        }),
        Data::String(text) => write::string(out, text),
        _ => out.push_str(value.raw()),
    }
}

fn is_same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
    match (ours.data(), theirs) {
        (Data::Null, serde_json::Value::Null) => true,
        (Data::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Data::Number, serde_json::Value::Number(number)) => {
            // The other reader rounds long numbers in a hurry.
            let pair = ours.raw().parse::<f64>().ok().zip(number.as_f64());
            pair.is_some_and(|(a, b)| (a - b).abs() <= 4.0 * f64::EPSILON * a.abs())
        }
        (Data::String(a), serde_json::Value::String(b)) => a == b,
        (Data::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Data::Object(a), serde_json::Value::Object(b)) => {
            let member = |member: &counterfoil_receipt::json::Member<'_>| {
                b.get(member.name.as_ref()).is_some_and(|value| is_same(&member.value, value))
            };
            a.len() == b.len() && a.iter().all(member)
        }
        _ => false,
    }
}

/// An entry has one form, which is JSON to everybody; its leaf hash is that of its bytes.
pub fn entry(bytes: &[u8]) -> bool {
    let Ok(entry) = Entry::parse(bytes) else { return false };
    assert_eq!(entry.to_bytes(), bytes);
    assert_eq!(entry.leaf_hash(), Hash::leaf(bytes));
    assert!(bytes.len() <= ENTRY_BYTES_MAX && bytes.is_ascii());
    let other: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(other.to_string().as_bytes(), bytes, "another writer of sorted members prints it otherwise");
    assert_eq!(EntryDraft::digest_of(bytes, entry.at), EntryDraft::digest_of(&entry.to_bytes(), entry.at));
    assert!(entry.check_statement(b"{}").is_err(), "it goes with any statement");
    true
}

/// An envelope printed anew is read as the same, and has the id that its statement gives it. If it verifies, entry and statement
/// give it back.
pub fn envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::parse(bytes) else { return false };
    assert!(bytes.len() <= ENVELOPE_BYTES_MAX && envelope.statement_bytes().len() <= STATEMENT_BYTES_MAX);
    assert_eq!(Envelope::parse(envelope.to_json().as_bytes()).as_ref(), Ok(&envelope));
    assert_eq!(envelope.id(), Id::of_statement(envelope.statement_bytes()));
    let Ok(verified) = envelope.clone().verify() else { return true };
    assert_eq!(verified.id(), envelope.id());
    if let Ok(statement) = Statement::parse(&verified) {
        assert_eq!(statement.frame.issuer.key, *envelope.key());
        logged(&verified, &statement);
    }
    true
}

/// Whatever its issuer signs: what is read as a statement prints as the same statement, makes an entry that goes with it, and
/// is judged by admission.
pub fn statement(bytes: &[u8]) -> bool {
    let Ok(signed) = VerifiedEnvelope::sign(bytes.to_vec(), vectors::issuer()) else { return false };
    let Ok(statement) = Statement::parse(&signed) else { return false };
    let again = statement.sign(vectors::issuer()).expect("what was read can be said");
    assert_eq!(Statement::parse(&again).as_ref(), Ok(&statement), "printed, it says something else");
    logged(&signed, &statement);
    let ledger = Ledger::new(vectors::LOG.parse().expect("an origin"));
    let judged =
        ledger.judge(&Candidate::new(&statement), &Chain::of_statement(&statement).fill(|_| None), now());
    if let Err(refused) = judged {
        assert!(!refused.to_string().is_empty());
    }
    // Nobody has openings of it, and that is said of each commitment.
    assert!(Openings::new(signed.id()).check(&statement, Bodies::default()).len() < 1000);
    true
}

/// The entry of a record is one, and goes with its statement.
fn logged(signed: &VerifiedEnvelope, statement: &Statement) {
    if !statement.kind().is_logged() {
        return;
    }
    let bytes = EntryDraft::new(signed, statement).stamp(now());
    let entry = Entry::parse(&bytes).expect("a canonical entry");
    let sent = signed.envelope();
    assert_eq!(entry.check_statement(sent.statement_bytes()).as_ref(), Ok(statement));
    assert_eq!(entry.envelope(sent.statement_bytes().to_vec()).as_ref(), Ok(sent));
}

/// A bundle printed anew is read as the same. One that proves everything under the vectors' policy has a checkpoint that the log
/// signed and a statement that the entry goes with.
pub fn bundle(bytes: &[u8]) -> bool {
    let Ok(bundle) = Bundle::parse(bytes) else { return false };
    assert!(bytes.len() <= BUNDLE_BYTES_MAX);
    assert_eq!(Bundle::parse(bundle.to_json().as_bytes()).as_ref(), Ok(&bundle));
    let policy = counterfoil_merkle::policy::log_alone(vectors::log(), vectors::clock());
    let trust = Trust::in_policy(policy.parse().expect("a policy"));
    let report = verify(&bundle, &trust, None);
    assert_eq!((report.leaf, report.index), (bundle.leaf(), bundle.proof.index()));
    if report.failures().is_empty() {
        assert!(was_signed(bundle.proof.checkpoint().note().text()), "a signature that nobody made");
        assert!(report.inclusion.is_ok());
        match report.statement {
            StatementCheck::Matches(_) => assert_eq!(
                bundle.entry.id,
                Id::of_statement(bundle.statement.as_deref().expect("what matches is there"))
            ),
            StatementCheck::Erased => assert!(bundle.statement.is_none()),
            StatementCheck::Differs(_) | StatementCheck::OtherLog(_) => {
                panic!("a failure, and not told as one")
            }
        }
    }
    true
}

/// Openings and claims printed anew are read as the same; a claim's printable form holds its key.
pub fn disclosure(bytes: &[u8]) -> bool {
    let openings = Openings::parse(bytes);
    if let Ok(openings) = &openings {
        assert_eq!(Openings::parse(openings.to_json().as_bytes()).as_ref(), Ok(openings));
        let signed = VerifiedEnvelope::sign(record("statement").into(), vectors::issuer()).expect("short");
        let statement = Statement::parse(&signed).expect("a statement");
        let found = openings.check(&statement, Bodies { request: Some(bytes), response: None });
        assert!(found.len() >= openings.labels().count());
    }
    let claim = Claim::parse(bytes);
    if let Ok(claim) = &claim {
        assert_eq!(Claim::parse(claim.to_json().as_bytes()).as_ref(), Ok(claim));
        let printed = PrintedClaim::parse(&claim.to_printable()).expect("what was printed");
        assert!(printed.key == claim.key && printed.matches(&claim.id));
    }
    let printed = str::from_utf8(bytes).ok().and_then(|text| PrintedClaim::parse(text).ok());
    if let Some(printed) = &printed {
        let lower = bytes.to_ascii_lowercase();
        let again = PrintedClaim::parse(str::from_utf8(&lower).expect("ASCII")).expect("the same");
        assert!(again.key == printed.key && again.id_start == printed.id_start);
    }
    openings.is_ok() || claim.is_ok() || printed.is_some()
}

/// A member of the vectors' first record.
fn record(name: &str) -> &'static str {
    vectors::all()["records"][0][name].as_str().expect("a text")
}

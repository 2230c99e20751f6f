//! The records that follow receipts: every kind, with everything it can say.

use super::*;
use crate::{
    bundle::Bundle,
    json::Data,
    statement::{
        correction::{Cause, Found, Range, ReceiptField},
        dispute::{Elsewhere, Harm, Outside},
        epoch::VoidReason,
        erasure::Basis,
        policy::{OnLogFailure, Retention},
        resolution::{self, Decider},
        response::{ResponseReason, Stance},
        revocation::RevocationReason,
        verdict::{
            ClaimKind, Conflict, Limit, Measure, Method, Payer, PayerKind, Reference, Scheme, VerdictResult,
        },
    },
};

const RECORDS: &str = include_str!("../../../RECORDS.md");

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn key(name: &str) -> PublicKey {
    vectors::key(name).public().clone()
}

fn record(subject: Subject, predicate: Predicate) -> Statement {
    let issuer = Issuer { key: key("issuer"), software: None };
    let frame = Frame { nonce: Nonce::new([1; 16]), log: log(), issuer, numbering: None };
    Statement { subject, frame, predicate }
}

fn log() -> Origin {
    "log.example/2026".parse().unwrap()
}

fn about() -> Subject {
    Subject::Record(Hash::leaf(b"a record"))
}

fn commitment() -> Commitment {
    Commitment::new([3; 32])
}

fn card() -> Statement {
    let card = Card {
        name: "Bank of Nowhere".parse().unwrap(),
        contact: Some("mailto:complaints@bank.example".parse().unwrap()),
        roles: vec![Role::Issuer, Role::Verifier],
    };
    record(Subject::Log, Predicate::Key(Key::Card(card)))
}

fn registration() -> Statement {
    let card = card().sign(&vectors::key("issuer")).unwrap().into_envelope();
    let mut registration = Registration::new(card, &log()).unwrap();
    assert_eq!(registration.key(), &key("issuer"));
    registration.roles = vec![Role::Issuer];
    (registration.not_before, registration.not_after) = (Some(at(5)), Some(at(6)));
    registration.evidence = Some(Hash::EMPTY_ROOT);
    record(Subject::Log, Predicate::Key(Key::Registration(Box::new(registration))))
}

fn revocation() -> Statement {
    let revocation = Revocation {
        key: key("issuer"),
        reason: RevocationReason::Compromised,
        since: Some(at(7)),
        successor: Some(key("verifier")),
    };
    record(about(), Predicate::Revocation(revocation))
}

fn policy() -> Statement {
    let policy = Policy {
        respond_within_s: 86_400,
        grounds: Ground::ALL.to_vec(),
        remedies: RemedyKind::ALL.to_vec(),
        arbiters: vec![key("verifier")],
        coverage: vec![Protocol::OpenaiChat],
        on_log_failure: OnLogFailure::Answer,
        retention: Some(Retention { statements_s: Some(9), openings_s: Some(8) }),
    };
    record(Subject::Log, Predicate::Policy(policy))
}

fn verdict() -> Statement {
    let decimal = |text: &str| Some(text.parse().unwrap());
    let verdict = Verdict {
        claim: ClaimKind::ModelIdentity,
        result: VerdictResult::Contradicted,
        method: Method { scheme: Scheme::RerunTokens, software: Some(Hash::EMPTY_ROOT) },
        reference: Some(Reference { weights: Some(Hash::EMPTY_ROOT), engine: Some(Hash::EMPTY_ROOT) }),
        sample: Some(Sample { count: 3, root: Hash::EMPTY_ROOT }),
        measure: Some(Measure {
            statistic: "0.42".parse().unwrap(),
            threshold: "-0.9".parse().unwrap(),
            false_positive: decimal("0.001"),
            false_negative: decimal("0.02"),
        }),
        as_of: Some(at(11)),
        evidence: vec![commitment(), Commitment::new([4; 32])],
        limits: Limit::ALL.to_vec(),
        paid_by: Payer { who: PayerKind::Caller, key: Some(key("claim")) },
        conflicts: Conflict::ALL.to_vec(),
        supersedes: Some(Hash::EMPTY_ROOT),
    };
    record(about(), Predicate::Verdict(Box::new(verdict)))
}

fn dispute() -> Dispute {
    Dispute {
        grounds: vec![Ground::WrongModel, Ground::Billing],
        harm: Some(Harm::Access),
        remedy: Some(RemedyKind::NewDecision),
        statement: Some(commitment()),
        evidence: vec![commitment()],
        accountable: Some(Accountable { key: key("verifier"), respond_within: 3600 }),
        outside: None,
    }
}

fn promise() -> Statement {
    record(Subject::Log, Predicate::Promise(Promise { claim: key("issuer"), by: at(99) }))
}

fn dispute_of_a_promise() -> Statement {
    let enclosed = Enclosed::open(promise().sign(&vectors::key("issuer")).unwrap().into_envelope()).unwrap();
    let subject = Subject::Promise(enclosed.id());
    let outside = Some(Outside::Promise(Box::new(enclosed)));
    let dispute = Dispute { grounds: vec![Ground::MissingReceipt], outside, ..dispute() };
    record(subject, Predicate::Dispute(Box::new(dispute)))
}

/// The second record of the vectors, with a claim key and a tree of its own: signed by nobody, which is not looked at.
fn dispute_elsewhere() -> Statement {
    let Bundle { entry, .. } = vectors::bundle();
    let entry = crate::Entry { claim: Some(key("issuer")), ..entry };
    let proof = format!(
        "c2sp.org/tlog-proof@v1\nindex 0\n\nother.example\n1\n{}\n\n— other.example AAAAAAA=\n",
        entry.leaf_hash().to_base64()
    );
    let elsewhere = Elsewhere { log: "other.example".parse().unwrap(), proof: proof.parse().unwrap(), entry };
    let subject = Subject::Elsewhere(elsewhere.leaf());
    let dispute = Dispute { outside: Some(Outside::Elsewhere(Box::new(elsewhere))), ..dispute() };
    record(subject, Predicate::Dispute(Box::new(dispute)))
}

fn response() -> Statement {
    let response = Response {
        position: Stance::Partly,
        reasons: ResponseReason::ALL.to_vec(),
        statement: Some(commitment()),
        evidence: vec![commitment()],
        remedy: Some(Undertaking { remedy: RemedyKind::Refund, due: at(77) }),
    };
    record(about(), Predicate::Response(response))
}

fn resolution() -> Statement {
    let finding = |ground, outcome| resolution::Finding { ground, outcome };
    let resolution = Resolution {
        role: Decider::Arbiter,
        findings: vec![
            finding(Ground::WrongModel, resolution::Outcome::Upheld),
            finding(Ground::Billing, resolution::Outcome::Rejected),
        ],
        remedy: Some(Undertaking { remedy: RemedyKind::Correction, due: at(78) }),
        appeal_until: Some(at(79)),
        reference: Some(commitment()),
        statement: Some(commitment()),
        dissent: Some(1),
    };
    record(about(), Predicate::Resolution(resolution))
}

fn correction() -> Statement {
    let range = Range { stream: StreamId::new([5; 16]), from: Number::FIRST, to: Number::new(9).unwrap() };
    let correction = Correction {
        fields: ReceiptField::ALL.to_vec(),
        values: Some(commitment()),
        cause: Cause::Configuration,
        found: Found::Dispute,
        range: Some(range),
        sample: Some(Sample { count: 1, root: Hash::EMPTY_ROOT }),
        notified: true,
    };
    record(about(), Predicate::Correction(correction))
}

fn epoch() -> Statement {
    let next = Number::new(18).unwrap();
    let last = Some(Id::new(Hash::EMPTY_ROOT));
    let epoch = Epoch { stream: StreamId::new([5; 16]), next, last, from: at(1), to: at(2) };
    record(Subject::Log, Predicate::Epoch(epoch))
}

fn void() -> Statement {
    let void = record(Subject::Log, Predicate::Void(Void { reason: VoidReason::Crash }));
    Statement { frame: frame(), ..void }
}

fn refusal() -> Statement {
    let id = Id::new(Hash::EMPTY_ROOT);
    let size = counterfoil_merkle::TreeSize::new(9).unwrap();
    record(Subject::Log, Predicate::Refusal(Refusal { id, rule: Rule::KeyRole, size, at: at(3) }))
}

/// One record of every form, with everything it can say.
fn every_form() -> Vec<Statement> {
    let remedy = Remedy { remedy: RemedyKind::Refund, evidence: vec![commitment()] };
    vec![
        card(),
        registration(),
        revocation(),
        policy(),
        verdict(),
        record(about(), Predicate::Dispute(Box::new(dispute()))),
        dispute_of_a_promise(),
        dispute_elsewhere(),
        response(),
        resolution(),
        record(about(), Predicate::Remedy(remedy)),
        correction(),
        record(about(), Predicate::Erasure(Erasure { basis: Basis::RightsRequest })),
        epoch(),
        void(),
        promise(),
        refusal(),
    ]
}

#[test]
fn every_kind_is_printed_and_read() {
    let mut kinds = std::collections::BTreeSet::from([Kind::Receipt, Kind::Rules, Kind::Clock]);
    for statement in every_form() {
        let json = statement.to_json();
        let read = parse(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(read, statement);
        assert_eq!(read.about(), (statement.subject == about()).then(|| Hash::leaf(b"a record")));
        kinds.insert(statement.kind());
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
}

/// Where every object of a JSON text begins, and where every string stands and what it says.
fn walk(value: &Value<'_>, text: &str, objects: &mut Vec<usize>, strings: &mut Vec<(usize, usize)>) {
    let start = value.raw().as_ptr() as usize - text.as_ptr() as usize;
    match value.data() {
        Data::Object(members) => {
            objects.push(start + 1);
            members.iter().for_each(|member| walk(&member.value, text, objects, strings));
        }
        Data::Array(items) => items.iter().for_each(|item| walk(item, text, objects, strings)),
        Data::String(_) => strings.push((start, start + value.raw().len())),
        _ => {}
    }
}

/// Whatever text somebody puts where a code, a key, a commitment or a digest belongs, it is refused, and so is a member that no
/// table knows. The one text is the name on a card.
#[test]
fn there_is_no_room_for_text() {
    for statement in every_form() {
        let json = statement.to_json();
        let (mut objects, mut strings) = (vec![], vec![]);
        walk(&Value::parse(json.as_bytes()).unwrap(), &json, &mut objects, &mut strings);
        for at in objects {
            let changed = format!("{}\"remark\":\"John Doe lies\",{}", &json[..at], &json[at..]);
            let error = parse(&changed).expect_err(&changed).to_string();
            assert!(error.contains("remark: unknown member") || error.contains("is refused"), "{error}");
        }
        for (start, end) in strings {
            let changed = format!("{}\"John Doe lies\"{}", &json[..start], &json[end..]);
            let allowed = ["\"Bank of Nowhere\"", "\"gateway 1.0\""].contains(&&json[start..end]);
            assert_eq!(parse(&changed).is_ok(), allowed, "{changed}");
        }
    }
}

/// Every member is needed or known to be optional, as the table says: `!` in RECORDS.md.
#[test]
fn required_members_are_those_of_the_table() {
    let table = RECORDS.split("## Members").nth(1).unwrap().split("```").nth(1).unwrap();
    for statement in every_form() {
        let json = statement.to_json();
        let value = Value::parse(json.as_bytes()).unwrap();
        let predicate = value.member("predicate").unwrap();
        let kind = statement.kind();
        let row = row(table, kind);
        for member in predicate.members().unwrap() {
            let name = member.name.as_ref();
            if ["nonce", "log", "issuer", "number", "previous"].contains(&name)
                || (name == "stream" && kind == Kind::Void)
            {
                continue;
            }
            let required = row.contains(&format!("{name}!:"));
            assert!(required || row.contains(&format!("{name}:")), "{kind} {name}");
            let gone = json.replacen(&format!(",\"{name}\":{}", member.value.raw()), "", 1);
            assert_ne!(gone, json, "{kind} {name}");
            match parse(&gone) {
                Ok(_) => assert!(!required, "{kind} {name}"),
                Err(error) => {
                    let error = error.to_string();
                    let missing = error.contains("required, but not there");
                    let together = error.contains("go together");
                    let subject = error.contains("subject[0]") || error.contains("the only ground");
                    let other_form = kind == Kind::Key && name == "card";
                    assert!(
                        (missing && (required || other_form)) || together || subject,
                        "{kind} {name}: {error}"
                    );
                }
            }
        }
    }
}

/// The lines of a kind in the table of members.
fn row(table: &str, kind: Kind) -> String {
    let mut lines = table.lines().skip_while(|line| line.split(' ').next() != Some(kind.as_str()));
    let first = lines.next().unwrap_or_else(|| panic!("{kind} is in the table"));
    let more = lines.take_while(|line| line.starts_with(' '));
    more.fold(first.to_owned(), |row, line| row + line)
}

/// The closed lists of RECORDS.md are those of the code.
#[test]
fn codes_are_those_of_the_page() {
    fn list<T: Copy>(codes: &[(&'static str, T)]) -> String {
        codes.iter().map(|(code, _)| *code).collect::<Vec<_>>().join(" ")
    }
    for (name, codes) in [
        ("role", list(Role::CODES)),
        ("mode", list(Mode::CODES)),
        ("revocation.reason", list(RevocationReason::CODES)),
        ("policy.on_log_failure", list(OnLogFailure::CODES)),
        ("verdict.claim", list(ClaimKind::CODES)),
        ("verdict.result", list(VerdictResult::CODES)),
        ("verdict.method.scheme", list(Scheme::CODES)),
        ("verdict.limits", list(Limit::CODES)),
        ("verdict.paid_by.who", list(PayerKind::CODES)),
        ("verdict.conflicts", list(Conflict::CODES)),
        ("ground", list(Ground::CODES)),
        ("dispute.harm", list(Harm::CODES)),
        ("response.position", list(Stance::CODES)),
        ("response.reasons", list(ResponseReason::CODES)),
        ("resolution.role", list(Decider::CODES)),
        ("resolution.finding", list(resolution::Outcome::CODES)),
        ("remedy", list(RemedyKind::CODES)),
        ("correction.fields", list(ReceiptField::CODES)),
        ("correction.cause", list(Cause::CODES)),
        ("correction.found", list(Found::CODES)),
        ("erasure.basis", list(Basis::CODES)),
        ("void.reason", list(VoidReason::CODES)),
        ("rule", list(Rule::CODES)),
    ] {
        assert!(RECORDS.contains(&format!("\n{name}: {codes}\n")), "{name}: {codes}");
    }
    for rule in Rule::ALL {
        assert!(RECORDS.contains(&format!("\n| `{rule}` |")), "{rule}");
    }
    let groups = ReceiptField::ALL.iter().filter(|field| GroupName::from_code(field.as_str()).is_some());
    assert_eq!(groups.count(), GroupName::ALL.len());
}

fn refused(statement: &Statement, old: &str, new: &str) -> String {
    let json = statement.to_json();
    let changed = json.replacen(old, new, 1);
    assert_ne!(changed, json, "{old}");
    parse(&changed).expect_err(new).to_string()
}

#[test]
fn what_does_not_go_together_is_refused() {
    let (own, successor) = (key("issuer"), key("verifier"));
    let cases = [
        (policy(), "86400", "0", "predicate.respond_within: must be 1 second to 366 days"),
        (policy(), "86400", "31622401", "predicate.respond_within: must be 1 second to 366 days"),
        (revocation(), successor.as_str(), own.as_str(), "predicate.successor: is the key itself"),
        (
            response(),
            "partly",
            "reject",
            "predicate.remedy: a remedy goes with the position accept or partly",
        ),
        (response(), ",\"due\":77", "", "predicate.remedy: remedy and due go together: all or none"),
        (resolution(), "billing", "wrong_model", "predicate.findings: finds on one ground twice"),
        (correction(), "\"from\":0", "\"from\":10", "predicate.range.to: lies before from"),
        (correction(), "\"count\":1", "\"count\":0", "predicate.sample.count: must not be 0"),
        (
            correction(),
            "[\"request\",",
            "[\"request\",\"request\",",
            "predicate.fields: has 25 elements, at most 24 are allowed",
        ),
        (
            verdict(),
            "\"competitor\",\"customer\"",
            "\"competitor\",\"competitor\"",
            "predicate.conflicts[1]: is listed twice",
        ),
        (epoch(), "\"next\":18", "\"next\":0", "predicate.last: must be null if next is 0, and only then"),
        (epoch(), "\"from\":1", "\"from\":3", "predicate.to: lies before from"),
        (registration(), "\"not_after\":6", "\"not_after\":4", "predicate.not_after: lies before not_before"),
        (
            registration(),
            "\"roles\":[\"issuer\"]",
            "\"roles\":[\"arbiter\"]",
            "predicate.roles: gives a role that the card does not ask for",
        ),
        (card(), "[\"issuer\",\"verifier\"]", "[]", "predicate.roles: has 0 elements, at least 1 are due"),
        (refusal(), "\"size\":9", "\"size\":1099511627777", "predicate.size: must be the size of a tree"),
    ];
    for (statement, old, new, message) in cases {
        check_refused(&statement, old, new, message);
    }
}

fn check_refused(statement: &Statement, old: &str, new: &str, message: &str) {
    let error = refused(statement, old, new);
    assert!(error.starts_with(&format!("statement, {message}")), "{error}\nis not\n{message}");
}

#[test]
fn disputes_fit_what_they_are_about() {
    let cases = [
        (
            dispute_of_a_promise(),
            "missing_receipt",
            "privacy",
            "predicate.grounds: missing_receipt is the only ground",
        ),
        (
            record(about(), Predicate::Dispute(Box::new(dispute()))),
            "billing",
            "missing_receipt",
            "predicate.grounds: miss",
        ),
        (
            dispute_elsewhere(),
            "\"log\":\"other.example\"",
            "\"log\":\"third.example\"",
            "predicate.elsewhere.proof: must be",
        ),
        (
            dispute_elsewhere(),
            "\"log\":\"other.example\"",
            "\"log\":\"log.example/2026\"",
            "predicate.elsewhere.log: is this",
        ),
        (dispute_elsewhere(), "index 0", "index 1", "predicate.elsewhere.proof: "),
        (
            dispute_elsewhere(),
            "\\\"number\\\":1",
            "\\\"number\\\":2",
            "predicate.elsewhere.proof: the proof is refused: ",
        ),
    ];
    for (statement, old, new, message) in cases {
        check_refused(&statement, old, new, message);
    }
}

/// A registration stands on a card that the key itself signed, for this log; a dispute of a promise on the promise.
#[test]
fn enclosed_envelopes_are_verified() {
    let sign = |statement: &Statement| statement.sign(&vectors::key("issuer")).unwrap().into_envelope();
    let enclosing = |statement: &Statement, old: &Statement, new: &str| {
        let json = statement.to_json();
        let changed = json.replacen(&sign(old).to_json(), new, 1);
        assert_ne!(changed, json);
        parse(&changed).expect_err(new).to_string()
    };
    let mut elsewhere = card();
    elsewhere.frame.log = "other.example".parse().unwrap();
    let signature = sign(&card()).to_json();
    let forged = signature.replace(&signature[signature.len() - 20..signature.len() - 10], "AAAAAAAAAA");
    for (new, message) in [
        (sign(&elsewhere).to_json(), "predicate.card: must be log.example/2026, is other.example"),
        (sign(&registration()).to_json(), "predicate.card: must be a card, signed by the key that it names"),
        (sign(&policy()).to_json(), "predicate.card: must be https://counterfoil.dev/key/v1"),
        (forged, "predicate.card: the envelope is refused: the signature does not verify"),
        ("{}".to_owned(), "predicate.card: the envelope is refused: envelope, payloadType: required"),
    ] {
        let error = enclosing(&registration(), &card(), &new);
        assert!(error.starts_with(&format!("statement, {message}")), "{error}\nis not\n{message}");
    }

    let mut other = promise();
    other.predicate = Predicate::Promise(Promise { claim: key("claim"), by: at(99) });
    let error = enclosing(&dispute_of_a_promise(), &promise(), &sign(&other).to_json());
    assert_eq!(error, "statement, predicate.promise: must be disputed by its own claim key");
    other.predicate = Predicate::Promise(Promise { claim: key("issuer"), by: at(98) });
    let error = enclosing(&dispute_of_a_promise(), &promise(), &sign(&other).to_json());
    assert!(error.starts_with("statement, subject: must be "), "{error}");
}

/// Who made a record with which program is nobody's business where persons make records.
#[test]
fn persons_records_name_no_software() {
    for statement in every_form() {
        let json = statement.to_json();
        let issuer = format!("\"issuer\":{{\"key\":\"{}\"", key("issuer"));
        let with = json.replacen(&issuer, &format!("{issuer},\"software\":\"p 1\""), 1);
        if with == json || json.contains("\"software\":\"gateway") {
            continue;
        }
        let read = parse(&with);
        assert_eq!(read.is_ok(), statement.kind().names_software(), "{read:?}");
    }
}

proptest! {
    /// Nothing that is done to one byte of a record makes the reader panic, or read something that it prints otherwise.
    #[test]
    fn one_changed_byte_of_a_record(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let forms = every_form();
        let mut json = forms[which.index(forms.len())].to_json().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(read) = Statement::parse_as(&json, &key("issuer")) {
            prop_assert_eq!(parse(&read.to_json()), Ok(read));
        }
    }
}

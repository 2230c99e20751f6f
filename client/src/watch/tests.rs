use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Statement, Timestamp,
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    entry::EntryDraft,
    exchange::{End, Exchange},
    key::SigningKey,
    standing::Agenda,
    statement::{
        Card, Dispute, Frame, Ground, Issuer, Key, Nonce, Number, Numbering, Predicate, Revocation, Role,
        Rules, Sealable, StreamId, Subject, groups::Timing, revocation::RevocationReason, rules::Mode,
    },
};

use super::*;
use crate::testlog;

const AT_MS: u64 = 1_763_712_345_678;

/// A receipt of an issuer for a model, with the time at which the exchange ended.
struct Made {
    entry: Entry,
    statement: Statement,
}

fn made(seed: u8, model: &str, number: u64, ended_ms: Option<u64>) -> Made {
    let key = SigningKey::from_ed25519_seed(&[seed; 32]);
    let request = format!(r#"{{"model":"{model}","messages":[]}}"#);
    let request = request.as_bytes();
    let exchange = Exchange { path: "/v1/chat/completions", request, response: None, end: End::Timeout };
    let previous = (number > 0).then(|| counterfoil_receipt::Id::of_statement(b"before"));
    let terms = Terms {
        log: testlog::ORIGIN.parse().unwrap(),
        issuer: Issuer { key: key.public().clone(), software: None },
        claim: ClaimSource::Nobody,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let place = Numbering { stream: StreamId::new([1; 16]), number: Number::new(number).unwrap(), previous };
    let bodies = WireBodies { request, response: None };
    let facts = exchange.facts().unwrap();
    let draft = Draft::new(facts, bodies, terms, place, &mut |bytes| bytes.fill(9)).unwrap();
    let verified = draft.sign(&key).unwrap().into_envelope().verify().unwrap();
    let mut statement = Statement::parse(&verified).unwrap();
    if let Predicate::Receipt(receipt) = &mut statement.predicate {
        let completed = ended_ms.and_then(Timestamp::from_millis);
        receipt.timing = Some(Sealable::Open(Timing { completed, ..Timing::default() }));
    }
    let verified = statement.sign(&key).unwrap();
    let entry = EntryDraft::new(&verified, &statement).stamp(Timestamp::from_millis(AT_MS).unwrap());
    Made { entry: Entry::parse(&entry).unwrap(), statement }
}

impl Made {
    fn at(&self, index: u64) -> Record<'_> {
        let index = LeafIndex::new(index).unwrap();
        Record { index, entry: &self.entry, statement: Some(&self.statement), about: None }
    }

    fn issuer(&self) -> String {
        self.entry.issuer.as_str().to_owned()
    }
}

/// The rules of a piece of configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    watch: Vec<RuleTable>,
    #[serde(default)]
    known_good: Vec<KnownGoodTable>,
}

fn watch(text: &str) -> Result<Watch, String> {
    let tables: Tables = toml::from_str(text).map_err(|error| error.to_string())?;
    Watch::read(&tables.watch, &tables.known_good, "main").map_err(|error| error.to_string())
}

fn hits(text: &str, record: Record<'_>) -> Vec<(String, Code)> {
    let hits = watch(text).unwrap().observe(record);
    hits.into_iter().map(|hit| (hit.rule.unwrap(), hit.finding.code)).collect()
}

/// Every condition alone decides, for and against.
#[test]
fn each_condition_counts() {
    let record = made(1, "gpt-4o-mini", 0, Some(AT_MS - 10_000));
    let other = made(2, "claude-3", 5, Some(AT_MS + 10_000));
    let (key, theirs) = (record.issuer(), other.issuer());
    for (condition, code) in [
        ("kinds = ['receipt']".to_owned(), Code::WatchMatch),
        (format!("issuers = ['{key}']"), Code::WatchMatch),
        (format!("expected_issuers = ['{theirs}']"), Code::WatchIssuer),
        (format!("expected_issuers = ['{theirs}']\nmodels = ['gpt-*']"), Code::WatchIssuer),
        ("streams = ['01010101010101010101010101010101']".to_owned(), Code::WatchMatch),
        ("models = ['x', 'gpt-*']".to_owned(), Code::WatchMatch),
        ("requested = ['gpt-4o-mini']".to_owned(), Code::WatchMatch),
        ("outcomes = ['refused', 'timeout']".to_owned(), Code::WatchMatch),
        ("window = { late_s = 9, early_s = 9 }".to_owned(), Code::WatchTime),
    ] {
        let text = format!("[[watch]]\nname = 'r'\n{condition}");
        assert_eq!(hits(&text, record.at(7)), [("r".to_owned(), code)], "{condition}");
    }
    for condition in [
        "kinds = ['dispute']".to_owned(),
        format!("issuers = ['{theirs}']"),
        format!("expected_issuers = ['{key}']"),
        "streams = ['02020202020202020202020202020202']".to_owned(),
        "models = ['gpt-4o']".to_owned(),
        "requested = ['claude*']".to_owned(),
        "reported = ['*']".to_owned(),
        "claimed = ['*']".to_owned(),
        "outcomes = ['complete']".to_owned(),
        "window = { late_s = 10, early_s = 0 }".to_owned(),
        format!("issuers = ['{key}']\noutcomes = ['complete']"),
    ] {
        let text = format!("[[watch]]\nname = 'r'\n{condition}");
        assert_eq!(hits(&text, record.at(7)), [], "{condition}");
    }
    let early = "[[watch]]\nname = 'r'\nwindow = { late_s = 0, early_s = 9 }";
    assert_eq!(hits(early, other.at(7)), [("r".to_owned(), Code::WatchTime)]);
    assert_eq!(hits(&early.replace('9', "10"), other.at(7)), []);
    let sealed = made(1, "m", 0, None);
    assert_eq!(hits("[[watch]]\nname = 'r'\nwindow = { late_s = 0, early_s = 0 }", sealed.at(0)), []);
}

/// Without a statement nothing is known of models, and of the issuer only what the log says.
#[test]
fn entries_without_statement_are_the_logs_word() {
    let record = made(1, "gpt-4o", 0, None);
    let alone = Record { statement: None, ..record.at(3) };
    assert_eq!(hits("[[watch]]\nname = 'r'\nmodels = ['*']", alone), []);
    let text = format!("[[watch]]\nname = 'r'\nissuers = ['{}']", record.issuer());
    let found = watch(&text).unwrap().observe(alone);
    assert!(found[0].finding.message.contains("the log's word"), "{found:?}");
    assert!(!watch(&text).unwrap().observe(record.at(3))[0].finding.message.contains("word"));
}

/// What is known to be good does not alert: by issuer, id or leaf, for all rules or for some.
#[test]
fn what_is_known_to_be_good_is_silent() {
    let record = made(1, "gpt-4o", 0, None);
    let rules = "[[watch]]\nname = 'a'\nkinds = ['receipt']\n[[watch]]\nname = 'b'\nmodels = ['*']\n";
    let both = ["a", "b"].map(|rule| (rule.to_owned(), Code::WatchMatch)).to_vec();
    let (key, id, leaf) = (record.issuer(), record.entry.id, record.entry.leaf_hash());
    for (list, left) in [
        (format!("issuers = ['{key}']"), vec![]),
        (format!("ids = ['{id}']"), vec![]),
        (format!("leaves = ['{leaf}']\nnote = 'asked for'"), vec![]),
        (format!("ids = ['{id}']\nrules = ['a']"), both[1..].to_vec()),
        (format!("leaves = ['{}']", Hash::leaf(b"another")), both.clone()),
    ] {
        assert_eq!(hits(&format!("{rules}[[known_good]]\n{list}"), record.at(0)), left, "{list}");
    }
    assert_eq!(hits(rules, record.at(0)), both);
}

/// What an audit finds about numbers goes to the rules about the stream's issuer, wherever in the stream it is found.
#[test]
fn numbering_is_laid_at_its_issuers_door() {
    let (ours, theirs) = (made(1, "m", 3, None), made(2, "m", 4, None));
    let text = format!("[[watch]]\nname = 'ours'\nnumbering = true\nissuers = ['{}']", ours.issuer());
    let mut watching = watch(&text).unwrap();
    assert_eq!(watching.observe(ours.at(10)), []);
    assert_eq!(watching.observe(theirs.at(11)), []);
    let found = |index, code| {
        let place = Place::Entry(LeafIndex::new(index).unwrap());
        Finding { code, place, message: "numbers 0 to 2 of the stream are missing".to_owned() }
    };
    let hits = watching.numbering(&found(10, Code::NumberGap));
    assert_eq!((hits[0].rule.as_deref().unwrap(), hits[0].finding.code), ("ours", Code::WatchMatch));
    assert!(hits[0].finding.message.contains("number-gap"), "{hits:?}");
    for (index, code) in [(11, Code::NumberGap), (12, Code::NumberGap), (10, Code::AtBack)] {
        assert_eq!(watching.numbering(&found(index, code)), []);
    }
    assert!(!watching.is_known_good(&found(10, Code::NumberGap)));

    let mut quiet = watch(&format!("[[known_good]]\nissuers = ['{}']", theirs.issuer())).unwrap();
    quiet.observe(ours.at(10));
    quiet.observe(theirs.at(11));
    assert!(quiet.is_known_good(&found(11, Code::NumberGap)));
    for (index, code) in [(10, Code::NumberGap), (12, Code::NumberGap), (11, Code::StatementSignature)] {
        assert!(!quiet.is_known_good(&found(index, code)), "{index} {code}");
    }
}

/// A record that is about a receipt for that model, by this issuer; signed by another.
fn follow(predicate: Predicate) -> Made {
    let key = SigningKey::from_ed25519_seed(&[5; 32]);
    let issuer = Issuer { key: key.public().clone(), software: None };
    let log = testlog::ORIGIN.parse().unwrap();
    let frame = Frame { nonce: Nonce::new([6; 16]), log, issuer, numbering: None };
    let subject =
        if predicate.kind() == Kind::Dispute { Subject::Record(Hash::leaf(b"it")) } else { Subject::Log };
    let statement = Statement { subject, frame, predicate };
    let verified = statement.sign(&key).unwrap();
    let entry = EntryDraft::new(&verified, &statement).stamp(Timestamp::from_millis(AT_MS).unwrap());
    Made { entry: Entry::parse(&entry).unwrap(), statement }
}

fn dispute() -> Predicate {
    Predicate::Dispute(Box::new(Dispute {
        grounds: vec![Ground::Billing],
        harm: None,
        remedy: None,
        statement: None,
        evidence: vec![],
        accountable: None,
        outside: None,
    }))
}

fn known(made: &Made) -> Known {
    Known::of(LeafIndex::new(3).unwrap(), &made.entry, Some(&made.statement), None)
}

/// A rule about what others say of a receipt asks the receipt for its issuer and models; a rule that names no kinds is for receipts.
#[test]
fn followers_are_judged_by_their_receipt() {
    let (receipt, dispute) = (made(1, "gpt-4o-mini", 0, None), follow(dispute()));
    let about = known(&receipt);
    let record = Record { about: Some(&about), ..dispute.at(9) };
    let (issuer, signer) = (receipt.issuer(), dispute.issuer());
    for (condition, applies) in [
        ("kinds = ['dispute']".to_owned(), true),
        (format!("concerns = ['{issuer}']"), true),
        (format!("concerns = ['{signer}']"), false),
        (format!("concerns = ['{issuer}']\nkinds = ['verdict']"), false),
        (format!("issuers = ['{issuer}']"), false),
        ("kinds = ['dispute', 'verdict']\nmodels = ['gpt-*']".to_owned(), true),
        ("kinds = ['dispute']\nmodels = ['claude-*']".to_owned(), false),
        ("kinds = ['dispute']\noutcomes = ['timeout']".to_owned(), true),
        ("models = ['gpt-*']".to_owned(), false),
        (format!("models = ['gpt-*']\nexpected_issuers = ['{issuer}']"), false),
    ] {
        let found = hits(&format!("[[watch]]\nname = 'r'\n{condition}"), record);
        assert_eq!(found.len(), usize::from(applies), "{condition}");
    }
    let told = watch("[[watch]]\nname = 'r'\nkinds = ['dispute']")
        .unwrap()
        .observe(record)
        .remove(0)
        .finding
        .message;
    assert!(told.contains(&format!("about a receipt of {issuer}, requested model gpt-4o-mini")), "{told}");
}

/// Deadlines that passed are told to rules about them, by who has to answer and about what; and to nobody for whoever is known to be good.
#[test]
fn rules_for_what_is_overdue() {
    let (receipt, dispute) = (made(1, "gpt-4o", 0, None), follow(dispute()));
    let mut agenda = Agenda::default();
    let (index, leaf) = (LeafIndex::new(9).unwrap(), dispute.entry.leaf_hash());
    let _ = agenda.take(index, leaf, &dispute.entry, Some(&dispute.statement), Some(&known(&receipt)));
    let duty = agenda.lapse(Timestamp::from_millis(AT_MS + 31 * 86_400_000).unwrap()).remove(0);
    let (issuer, signer) = (receipt.issuer(), dispute.issuer());
    for (condition, applies) in [
        ("overdue = true".to_owned(), true),
        (format!("overdue = true\nconcerns = ['{issuer}']"), true),
        (format!("overdue = true\nconcerns = ['{signer}']"), false),
        ("overdue = true\nmodels = ['gpt-*']".to_owned(), true),
        ("overdue = true\nmodels = ['claude-*']".to_owned(), false),
        ("kinds = ['dispute']".to_owned(), false),
        (format!("overdue = true\n[[known_good]]\nissuers = ['{issuer}']"), false),
        (format!("overdue = true\n[[known_good]]\nissuers = ['{signer}']"), true),
    ] {
        let mut watching = watch(&format!("[[watch]]\nname = 'r'\n{condition}")).unwrap();
        let hits = watching.lapsed(&duty);
        assert_eq!(hits.len(), usize::from(applies), "{condition}");
        assert!(hits.iter().all(|hit| hit.finding.message.contains("did not answer")), "{hits:?}");
        let place = Place::Entry(index);
        let finding = Finding { code: Code::AnswerOverdue, place, message: String::new() };
        let good = condition.contains("known_good") && !applies;
        assert_eq!(watching.is_known_good(&finding), good, "{condition}");
        assert_eq!(watching.numbering(&finding), []);
    }
}

/// Every record about keys is told, without a rule, and so are other rules of the log; but not the first, which every log has.
#[test]
fn records_about_keys_are_always_told() {
    let card = Card { name: "Lab".parse().unwrap(), contact: None, roles: vec![Role::Verifier] };
    let card = follow(Predicate::Key(Key::Card(card)));
    let other = SigningKey::from_ed25519_seed(&[6; 32]).public().clone();
    let rules = Rules { mode: Mode::Open, registrars: vec![other.clone()], operator: other.clone() };
    let rules = follow(Predicate::Rules(rules));
    let revoked =
        Revocation { key: other.clone(), reason: RevocationReason::Lost, since: None, successor: None };
    let revoked = follow(Predicate::Revocation(revoked));
    let told = |text: &str, record| {
        let mut found = watch(text).unwrap().observe(record);
        found.retain(|hit| hit.rule.is_none());
        found.into_iter().map(|hit| (hit.finding.code, hit.finding.message)).collect::<Vec<_>>()
    };
    for (made, says) in
        [(&card, "calls itself \"Lab\""), (&rules, "other rules: open"), (&revoked, "revokes")]
    {
        let found = told("", made.at(1));
        let [(Code::KeyRecord, message)] = &found[..] else { panic!("{found:?}") };
        assert!(message.contains(says), "{message}");
        let good = format!("[[known_good]]\nissuers = ['{}']", made.issuer());
        assert_eq!(told(&good, made.at(1)), []);
        let without = told("", Record { statement: None, ..made.at(1) });
        assert!(without[0].1.contains("the log's word"), "{without:?}");
    }
    assert_eq!(told("", rules.at(0)), []);
    assert_eq!(told("", made(1, "m", 0, None).at(1)), []);
    let concerns = |text: &str, made: &Made| {
        let rule = format!("[[watch]]\nname = 'r'\nconcerns = ['{text}']");
        watch(&rule).unwrap().observe(made.at(1)).iter().filter(|hit| hit.rule.is_some()).count()
    };
    assert_eq!(concerns(other.as_str(), &revoked), 1);
    assert_eq!(concerns(other.as_str(), &rules), 1);
    assert_eq!(concerns(other.as_str(), &card), 0);
}

/// Mistakes are refused, and named by rule and field.
#[test]
fn mistakes_are_named() {
    let key = made(1, "m", 0, None).issuer();
    for (text, message) in [
        ("[[watch]]\nname = 'r'".to_owned(), "watch \"r\", name: the rule says nothing"),
        ("[[watch]]\nkinds = ['receipt']".to_owned(), "missing field `name`"),
        ("[[watch]]\nname = ''\nkinds = ['receipt']".to_owned(), "watch \"\", name: 1 to 64"),
        ("[[watch]]\nname = 'r'\nkinds = ['recipe']".to_owned(), "watch \"r\", kinds: \"recipe\" is none of"),
        ("[[watch]]\nname = 'r'\nkinds = ['promise']".to_owned(), "watch \"r\", kinds: promises"),
        ("[[watch]]\nname = 'r'\nissuers = ['abc']".to_owned(), "watch \"r\", issuers: \"abc\""),
        ("[[watch]]\nname = 'r'\nstreams = ['01']".to_owned(), "watch \"r\", streams: \"01\""),
        ("[[watch]]\nname = 'r'\nmodels = ['']".to_owned(), "watch \"r\", models: \"\""),
        ("[[watch]]\nname = 'r'\noutcomes = ['won']".to_owned(), "watch \"r\", outcomes: \"won\" is none of"),
        (
            format!("[[watch]]\nname = 'r'\nissuers = ['{key}']\nexpected_issuers = ['{key}']"),
            "watch \"r\", expected_issuers",
        ),
        (
            format!("[[watch]]\nname = 'r'\nnumbering = true\nexpected_issuers = ['{key}']"),
            "watch \"r\", numbering",
        ),
        ("[[watch]]\nname = 'r'\nconcerns = ['x']".to_owned(), "watch \"r\", concerns: \"x\""),
        ("[[watch]]\nname = 'r'\noverdue = true\nkinds = ['dispute']".to_owned(), "watch \"r\", overdue"),
        ("[[watch]]\nname = 'r'\noverdue = true\nnumbering = true".to_owned(), "watch \"r\", overdue"),
        (format!("[[watch]]\nname = 'r'\noverdue = true\nissuers = ['{key}']"), "watch \"r\", overdue"),
        ("[[watch]]\nname = 'r'\nmodel = ['m']".to_owned(), "unknown field `model`"),
        ("[[watch]]\nname = 'r'\nwindow = { late_s = 1 }".to_owned(), "missing field `early_s`"),
        ("[[watch]]\nname = 'r'\nnumbering = true\n".repeat(2), "watch \"r\", name: there are two"),
        ("[[known_good]]\nnote = 'x'".to_owned(), "known_good number 1, issuers: name at least one"),
        ("[[known_good]]\nids = ['x']".to_owned(), "known_good number 1, ids: \"x\""),
        (
            "[[known_good]]\nids = []\nrules = ['r']".to_owned(),
            "known_good number 1, rules: no rule is called \"r\"",
        ),
    ] {
        let error = watch(&text).unwrap_err();
        assert!(error.contains(message), "{text}\n{error}");
    }
}

/// A rule for other logs is not looked at here.
#[test]
fn rules_are_for_their_logs() {
    let record = made(1, "m", 0, None);
    let rule = |logs| format!("[[watch]]\nname = 'r'\nkinds = ['receipt']\nlogs = {logs}");
    assert_eq!(hits(&rule("['main', 'x']"), record.at(0)).len(), 1);
    assert_eq!(hits(&rule("['x']"), record.at(0)).len(), 0);
}

//! From the first verdict to the correction.

use counterfoil_tests::until;

use super::*;
use crate::alerts::{LINES, table, told, watching::Watching};

/// The steps of a story, with what stood at each.
#[derive(Default)]
struct Told(Vec<(String, Value)>);

impl Told {
    fn note(&mut self, step: &str, standing: &Value) {
        self.0.push((step.to_owned(), standing.clone()));
    }

    /// Asks again for each size and moment: what stood then stands there for ever.
    fn again(&self, town: &Town, id: &str) {
        for (step, then) in &self.0 {
            let (size, moment) = (then["size"].to_string(), then["moment"].to_string());
            let now = town.stands(id, &["--size", &size, "--at", &moment]);
            assert_eq!((&now["facts"], &now["turns"]), (&then["facts"], &then["turns"]), "{step}");
        }
    }
}

/// What somebody who cares for the bank's answers is told of.
const RULES: &str = r#"
[[watch]]
name = "checked"
kinds = ["verdict"]
concerns = ["BANK"]
[[watch]]
name = "disputed"
kinds = ["dispute", "response", "resolution"]
models = ["m-1"]
[[watch]]
name = "taken back"
kinds = ["correction"]
concerns = ["BANK"]
[[watch]]
name = "silence"
overdue = true
concerns = ["BANK"]
[[watch]]
name = "of others"
kinds = ["verdict", "dispute", "correction"]
models = ["m-2"]
"#;

/// A monitor with these rules, which watches the log and is running.
fn watched(town: &Town) -> Watching {
    let rules = RULES.replace("BANK", &public(town, "bank"));
    let mut watching = Watching::new(&format!("{}{rules}{LINES}", table("main", &town.log)));
    watching.up();
    watching
}

/// The places at which a rule applied, in the order in which they were told.
fn places(watching: &Watching, rule: &str) -> Vec<String> {
    let alerts = watching.lines("alerts.jsonl");
    let of_rule = alerts.iter().filter(|alert| alert["rule"] == rule);
    of_rule.map(|alert| alert["place"].as_str().unwrap().to_owned()).collect()
}

/// A receipt is logged; a verifier contradicts it, and that is shown, unopposed; another supports it, and it is contested; whoever holds
/// the claim key disputes it; the operator is silent past its own deadline, and the monitor alerts though nothing is logged; then it
/// answers, late; an arbiter decides; the operator corrects. Every record verifies offline, and what stood at each size and moment can
/// be asked for ever. Somebody's monitor, killed and started again on the way, tells each step once.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn the_whole_story() {
    let mut town = Town::new("log.example/story");
    town.records(&[
        "policy",
        "--key",
        "bank.pem",
        "--respond-within",
        "2s",
        "--ground",
        "wrong_model",
        "--arbiter",
        &public(&town, "arbiter"),
        "--remedy",
        "correction",
        "--on-log-failure",
        "answer",
    ]);
    let mut watching = watched(&town);
    let (id, claim) = town.answers();
    let claim = claim.to_str().unwrap().to_owned();
    let mut told = Told::default();
    let first = town.stands(&id, &[]);
    assert_eq!(fact(&first, "claimed")["by"]["name"], "bank Ltd");
    assert!(facts(&first, "verdict").is_empty() && facts(&first, "disputed").is_empty());
    told.note("logged", &first);

    let verdict = |key: &str, result: &str| {
        let arguments = [
            "verdict",
            &id,
            "--key",
            key,
            "--claim",
            "model_identity",
            "--result",
            result,
            "--method",
            "rerun_tokens",
            "--paid-by",
            "caller",
            "--limit",
            "one_exchange",
        ];
        town.records(&arguments)
    };
    verdict("lab1.pem", "contradicted");
    let contradicted = town.stands(&id, &[]);
    assert_eq!(fact(&contradicted, "claim")["standing"], "contradicted");
    assert_eq!(fact(&contradicted, "verdict")["by"]["name"], "lab1 Ltd");
    assert_eq!(fact(&contradicted, "verdict")["says"]["paid_by"]["who"], "caller");
    told.note("contradicted", &contradicted);

    verdict("lab2.pem", "supported");
    let contested = town.stands(&id, &[]);
    assert_eq!(fact(&contested, "claim")["standing"], "contested");
    told.note("contested", &contested);

    let dispute = town.records(&[
        "dispute",
        "--claim",
        &claim,
        "--ground",
        "wrong_model",
        "--say",
        "not what I paid for",
    ]);
    let disputed = town.stands(&id, &[]);
    let said = fact(&disputed, "disputed");
    assert_eq!((&said["by"], &said["due_by"]), (&"claim key".into(), &"policy".into()));
    assert_eq!(said["due"], dispute.at + 2_000);
    told.note("disputed", &disputed);
    watching.until("the dispute is told", || places(&watching, "disputed").len() == 1);
    killed(&mut watching);

    until(|| !facts(&town.stands(&id, &[]), "unanswered").is_empty(), "silence");
    let silent = town.stands(&id, &[]);
    assert_eq!(fact(&silent, "unanswered")["until"], Value::Null);
    assert_eq!(
        (&silent["turns"][0]["task"], &silent["turns"][0]["overdue"]),
        (&"answer".into(), &true.into())
    );
    told.note("unanswered", &silent);
    silence_is_told(&mut watching, &silent);

    town.records(&[
        "respond",
        &dispute.leaf,
        "--key",
        "bank.pem",
        "--position",
        "reject",
        "--reason",
        "no_error_found",
    ]);
    let answered = town.stands(&id, &[]);
    assert_eq!(fact(&answered, "answered")["late"], true);
    assert!(fact(&answered, "unanswered")["until"].is_u64(), "the silence is not undone");
    assert_eq!(answered["turns"][0]["who"][0]["name"], "arbiter Ltd");
    told.note("answered late", &answered);

    let resolution = town.records(&[
        "resolve",
        &dispute.leaf,
        "--key",
        "arbiter.pem",
        "--role",
        "arbiter",
        "--finding",
        "wrong_model=upheld",
        "--remedy",
        "correction",
        "--due",
        "+1h",
    ]);
    let resolved = town.stands(&id, &[]);
    let decided = fact(&resolved, "resolved");
    assert_eq!((&decided["by"]["name"], &decided["role"]), (&"arbiter Ltd".into(), &"arbiter".into()));
    assert_eq!(decided["accepted_by_policy"], true);
    assert_eq!(resolved["turns"][0]["task"], "remedy");
    told.note("resolved", &resolved);

    town.records(&[
        "correct",
        &id,
        "--key",
        "bank.pem",
        "--field",
        "model.reported",
        "--cause",
        "wrong_model",
        "--found",
        "resolution",
        "--notified",
    ]);
    town.records(&["remedy", &resolution.leaf, "--key", "bank.pem", "--remedy", "correction"]);
    let corrected = town.stands(&id, &[]);
    assert_eq!(fact(&corrected, "corrected")["says"]["fields"], serde_json::json!(["model.reported"]));
    assert_eq!(fact(&corrected, "remedied")["late"], false);
    assert_eq!(corrected["turns"][0]["task"], "nothing");
    told.note("corrected", &corrected);

    told.again(&town, &id);
    all_is_told(&mut watching, &corrected);
    screen_says(&town.screen(&id));
    history_is_whole(&town, &id);
    town.log.down();
    town.log.server_run(&["fsck", "--admission"]).exits(0);
}

/// Kills the monitor where it stands, but not amid a line, which it would say again; and starts it again.
fn killed(watching: &mut Watching) {
    watching.until("the sink is told", || watching.status()["sinks"][0]["behind"] == 0);
    watching.kill();
    watching.up();
}

/// Nothing is logged after the dispute, and the monitor says all the same that the bank is silent, once, over a kill.
fn silence_is_told(watching: &mut Watching, silent: &Value) {
    let place = format!("entry {}", silent["size"].as_u64().unwrap() - 1);
    watching.until("the silence is told", || places(watching, "silence") == [place.clone()]);
    killed(watching);
    watching.until_looked();
    let alerts = watching.lines("alerts.jsonl");
    assert_eq!(told(&alerts, "answer-overdue").into_values().collect::<Vec<_>>(), [1]);
    let overdue = alerts.iter().find(|alert| alert["code"] == "answer-overdue").unwrap();
    assert_eq!((&overdue["class"], &overdue["place"]), (&"ISSUER".into(), &place.into()));
    assert!(overdue["message"].as_str().unwrap().contains("did not answer by"), "{overdue}");
}

/// Each step was told to whom it concerns, once; and every record about keys, to everybody.
fn all_is_told(watching: &mut Watching, corrected: &Value) {
    let size = corrected["size"].as_u64().unwrap();
    let entry = |back: u64| format!("entry {}", size - back);
    watching.until("the correction is told", || places(watching, "taken back") == [entry(2)]);
    watching.until_looked();
    // From the end: remedy, correction, resolution, response, dispute, two verdicts.
    assert_eq!(places(watching, "checked"), [entry(7), entry(6)]);
    assert_eq!(places(watching, "disputed"), [entry(5), entry(4), entry(3)]);
    assert_eq!(places(watching, "silence"), [entry(5)]);
    assert!(places(watching, "of others").is_empty());
    let alerts = watching.lines("alerts.jsonl");
    let keys = told(&alerts, "key-record");
    assert_eq!(keys.into_values().collect::<Vec<_>>(), [1; 4], "bank, lab1, lab2 and arbiter");
    assert!(
        alerts.iter().any(|alert| alert["message"].as_str().unwrap().contains("\"bank Ltd\", as issuer"))
    );
    assert_eq!(watching.down(), 0, "what issuers do is no fault of the log");
}

/// What a person reads who knows no cryptography.
fn screen_says(screen: &str) {
    for line in [
        "WHO CLAIMED WHAT",
        "the model asked for was m-1; the service called it m-1-0626",
        "CONTESTED (1 support it, 1 contradict it)",
        "whoever holds the claim key that came with the answer disputes entry",
        "\"Another model answered than the receipt says\"",
        "bank Ltd has to answer by",
        "NO ANSWER CAME IN TIME; silence lasted until",
        "bank Ltd answered, LATE: It is not",
        "arbiter Ltd decided (An arbiter, whom the respondent's policy accepts):",
        "wrong_model: upheld",
        "bank Ltd says it is done: correction",
        "nobody's: nothing is left to do",
        "bank Ltd takes back model.reported",
    ] {
        assert!(screen.contains(line), "{line}\n{screen}");
    }
    let (lines, widest) = (screen.lines().count(), screen.lines().map(|line| line.chars().count()).max());
    assert!(lines <= 50 && widest <= Some(140), "{lines} lines of {widest:?}\n{screen}");
    assert!(!screen.contains("leaf") && !screen.contains("SPKI"), "{screen}");
}

/// Every record about the receipt is listed, and its bundle verifies with nothing but the log's policy, the log being down or not.
fn history_is_whole(town: &Town, id: &str) {
    let listed = town.does(&["--json", "history", id, "--log", "l", "--out", "history"]).out;
    let records: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    let expected =
        ["receipt", "verdict", "verdict", "dispute", "response", "resolution", "correction", "remedy"];
    assert_eq!(kinds, expected);
    for record in &records {
        town.verifies(&town.log.home().join(record["bundle"].as_str().unwrap()));
    }
}

/// A key as it was printed when it was made.
fn public(town: &Town, name: &str) -> String {
    let pem = fs::read_to_string(town.log.home().join(format!("{name}.pem"))).unwrap();
    counterfoil_receipt::SigningKey::from_pkcs8_pem(&pem).unwrap().public().to_string()
}

/// A claim key can be printed, handed on as a piece of paper, and used by whoever has it; it lets nobody dispute another receipt.
#[test]
fn a_claim_is_handed_on_on_paper() {
    let town = Town::new("log.example/paper");
    let (id, claim) = town.answers();
    let (other, _) = town.answers();
    let page = town.does(&["claim", "export", claim.to_str().unwrap()]).out;
    assert!(page.contains("cf1") && page.contains(&id), "{page}");
    fs::write(town.log.home().join("page.txt"), &page).unwrap();
    town.does(&["claim", "import", "page.txt", "--log", "l", "-o", "mine.claim.json"]);
    let back = fs::read(town.log.home().join("mine.claim.json")).unwrap();
    assert_eq!(back, fs::read(&claim).unwrap());

    town.records(&[
        "dispute",
        "--claim",
        "page.txt",
        "--ground",
        "harmful_or_wrong_decision",
        "--harm",
        "access",
    ]);
    let foreign = ["dispute", &other, "--claim", "page.txt", "--ground", "billing", "--log", "l"];
    let refused = town.log.client(&foreign).exits(2);
    assert!(refused.err.contains("the claim key is that of another receipt"), "{}", refused.err);
    let printed = page.split_whitespace().find(|word| word.starts_with("cf1")).unwrap();
    let wrong = if printed.ends_with('q') { "p" } else { "q" };
    let typo = page.replace(printed, &format!("{}{wrong}", &printed[..printed.len() - 1]));
    fs::write(town.log.home().join("typo.txt"), typo).unwrap();
    let misread = town.log.client(&["claim", "import", "typo.txt", "--log", "l"]);
    assert!(misread.err.contains("typing error"), "{}", misread.err);
}

/// What may not enter is refused by name, and the refusal is judged again by anybody: it holds at its size, and shows itself wrong if its
/// record is another.
#[test]
fn refusals_can_be_published() {
    let town = Town::new("log.example/refused");
    let (id, claim) = town.answers();
    let refused = town.log.client(&[
        "--json",
        "verdict",
        &id,
        "--key",
        "bank.pem",
        "--claim",
        "output",
        "--result",
        "supported",
        "--method",
        "rerun_text",
        "--paid-by",
        "nobody",
        "--log",
        "l",
        "--out",
        "records",
    ]);
    let refused = refused.exits(1).json();
    assert_eq!((&refused["status"], &refused["rule"]), (&"refused".into(), &"key_role".into()));
    let (refusal, record) = (
        refused["refusal"].as_str().unwrap(),
        format!("records/{}.envelope.json", refused["id"].as_str().unwrap()),
    );
    let checked = town.does(&["--json", "refusal", "check", refusal, &record, "--log", "l"]).json();
    assert_eq!((&checked["holds"], &checked["rule"]), (&true.into(), &"key_role".into()));

    let dispute = town.records(&["dispute", "--claim", claim.to_str().unwrap(), "--ground", "billing"]);
    let other = format!("records/{}.envelope.json", dispute.id);
    let wrong = town.log.client(&["refusal", "check", refusal, &other, "--log", "l"]).exits(2);
    assert!(wrong.err.contains("the refusal is of"), "{}", wrong.err);
    // The record could be admitted now; what it broke then, it broke.
    town.registers("bank", "verifier", "bank.second.card.json");
    town.does(&["refusal", "check", refusal, &record, "--log", "l"]);
}

/// A flood from one key is bounded, and the key is told when the next may come.
#[test]
fn floods_are_told_when_to_come_back() {
    let mut town = Town::new("log.example/flood");
    let (_, claim) = town.answers();
    let claim = claim.to_str().unwrap();
    let dispute = ["dispute", "--claim", claim, "--ground", "billing", "--log", "l", "--out", "records"];
    for _ in 0..16 {
        town.does(&dispute);
    }
    let signed = [&dispute[..], &["--sign-only", "--json"]].concat();
    let envelope = town.does(&signed).json()["envelope"].as_str().unwrap().to_owned();
    let envelope = fs::read(town.log.home().join(envelope)).unwrap();
    let reply = town.log.http().post("/v1/receipts", &envelope).unwrap();
    assert_eq!(reply.status, 429, "{}", reply.text());
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 86_000, "{wait}");
    assert!(reply.text().contains("has appended 16 records of this kind within a day"), "{}", reply.text());
    let metrics = town.log.http().get("/metrics").unwrap();
    assert!(metrics.text().contains("counterfoil_rejects_total{reason=\"quota\"} 1"), "{}", metrics.text());
    // A restart frees nobody who flooded the log, and holds back nobody else.
    town.log.down();
    town.log.up();
    assert_eq!(town.log.http().post("/v1/receipts", &envelope).unwrap().status, 429);
    let disputant = counterfoil_receipt::SigningKey::from_ed25519_seed(&[7; 32]);
    town.log.register(&disputant, "Another", &[counterfoil_receipt::statement::Role::Disputant]);
}

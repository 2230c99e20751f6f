//! Verdicts from re-execution, by the command line: what is run again, what is compared, and what is recorded of it.

mod hostile;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use counterfoil_receipt::statement::Sample;
use counterfoil_tests::{
    Deployment, Run,
    upstream::{Upstream, chat_stream, json},
};
use serde_json::Value;

use crate::PROGRAMS;

const EMBEDDINGS: &str = "/v1/embeddings";
const INPUT: &str = r#"{"model":"m-1","input":["a","b"]}"#;
const VECTORS: &str = r#"{"object":"list","data":[{"index":0,"embedding":[0.6,0.8]},{"index":1,"embedding":[1,0]}],"model":"m-1"}"#;

/// An open log, an issuer, and a verifier.
struct Case {
    log: Deployment,
}

impl Case {
    fn new() -> Self {
        let case = Self { log: Deployment::start(PROGRAMS, "log.example/rerun") };
        case.does(&["log", "add", "l", &case.log.url(), &case.log.log_key, "--clock", &case.log.clock_key]);
        for name in ["issuer", "verifier"] {
            case.does(&["keygen", "-o", &format!("{name}.pem")]);
        }
        case
    }

    fn does(&self, arguments: &[&str]) -> Run {
        self.log.client(arguments).exits(0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.log.home().join(name)
    }

    /// Logs the receipt of an exchange; its id. Openings and bodies are in `receipts`.
    fn receipt(&self, path: &str, request: &str, response: &[u8]) -> String {
        fs::write(self.path("request"), request).unwrap();
        fs::write(self.path("response"), response).unwrap();
        let kind = if response.starts_with(b"data:") { "text/event-stream" } else { "application/json" };
        let made = self.does(&[
            "receipt",
            "new",
            "--json",
            "--bodies",
            "--key",
            "issuer.pem",
            "--log",
            "l",
            "--path",
            path,
            "--request",
            "request",
            "--response",
            "response",
            "--status",
            "200",
            "--content-type",
            kind,
            "--out",
            "receipts",
        ]);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        self.does(&["append", "--log", "l", &format!("receipts/{id}.envelope.json")]);
        id
    }

    /// Runs receipts again; records go to `records`.
    fn rerun(&self, ids: &[&str], more: &[&str]) -> Run {
        let openings: Vec<String> = ids.iter().map(|id| format!("receipts/{id}.openings.json")).collect();
        let openings: Vec<&str> = openings.iter().map(String::as_str).collect();
        let before = [
            "--json",
            "verdict",
            "rerun",
            "--key",
            "verifier.pem",
            "--paid-by",
            "caller",
            "--log",
            "l",
            "--out",
            "records",
        ];
        self.log.client(&[&before, openings.as_slice(), more].concat())
    }

    /// The number of entries.
    fn size(&self) -> u64 {
        self.does(&["checkpoint", "--log", "l", "--json"]).json()["size"].as_u64().unwrap()
    }

    /// How many files lie where records go.
    fn files(&self) -> usize {
        fs::read_dir(self.path("records")).map_or(0, Iterator::count)
    }

    /// What the log says of a receipt's output.
    fn stands(&self, id: &str) -> String {
        let standing = self.does(&["--json", "standing", id, "--log", "l"]).json();
        let facts = standing["logs"][0]["facts"].as_array().unwrap().clone();
        let claim = facts.iter().find(|fact| fact["fact"] == "claim").expect("a claim was checked");
        assert_eq!(claim["claim"], "output");
        claim["standing"].as_str().unwrap().to_owned()
    }
}

/// The lines that a run printed for programs.
fn lines(run: &Run) -> Vec<Value> {
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A service that answers every embedding with this.
fn service(vectors: &str) -> Upstream {
    Upstream::saying(json(200, vectors))
}

/// The request goes out byte for byte, to the receipt's path; what comes back supports or contradicts; the record says how it was
/// found, verifies, and opens to the answer that it rests on.
#[test]
fn an_answer_supports_or_contradicts() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let same = service(VECTORS);
    let run = case.rerun(&[&id], &["--endpoint", &same.url(), "--weights", &"ab".repeat(32)]).exits(0);
    let said = lines(&run);
    assert_eq!((&said[0]["result"], &said[0]["method"]), (&"supported".into(), &"rerun_embedding".into()));
    assert_eq!(said[0]["measure"], serde_json::json!({ "statistic": "0", "threshold": "0.001" }));
    assert_eq!(said[0]["limits"], serde_json::json!(["one_exchange"]));
    assert_eq!(said[1]["status"], "proven", "{}", run.out);
    assert_eq!(case.stands(&id), "supported");

    let asked = same.asked();
    assert_eq!((asked.len(), asked[0].path(), asked[0].body.as_slice()), (1, EMBEDDINGS, INPUT.as_bytes()));
    assert!(!asked[0].head.to_lowercase().contains("authorization"), "{}", asked[0].head);

    let bundle = said[1]["bundle"].as_str().unwrap();
    let openings = bundle.replace(".counterfoil.", ".openings.");
    let policy = case.log.policy();
    case.does(&["verify", bundle, "--policy", policy.to_str().unwrap(), "--openings", &openings]);
    let opened: Value = serde_json::from_slice(&fs::read(case.path(&openings)).unwrap()).unwrap();
    assert!(opened["openings"]["verdict/evidence/0"]["value"].is_string(), "the answer is kept");

    // Within the tolerance that is asked for, and beyond the one that is the default.
    let near = service(&VECTORS.replace("0.6", "0.61"));
    let wide = case.rerun(&[&id], &["--endpoint", &near.url(), "--tolerance", "0.02"]).exits(0);
    assert_eq!(lines(&wide)[0]["result"], "supported");
    let far = case.rerun(&[&id], &["--endpoint", &near.url()]).exits(0);
    let far = lines(&far);
    assert_eq!((&far[0]["result"], &far[1]["status"]), (&"contradicted".into(), &"proven".into()));
    assert_eq!(far[0]["limits"], serde_json::json!(["one_exchange", "weights_assumed"]));
    assert_eq!(case.stands(&id), "contested", "both stand");
}

/// Several receipts are one sample, whatever order they are named in; each gets a verdict of its own, which names them all.
#[test]
fn several_receipts_are_a_sample() {
    let case = Case::new();
    let request = |text: &str| INPUT.replace("\"a\"", &format!("\"{text}\""));
    let ids: Vec<String> =
        ["x", "y", "z"].map(|text| case.receipt(EMBEDDINGS, &request(text), VECTORS.as_bytes())).into();
    let partly = Upstream::start(|asked, stream| {
        let is_other = asked.body.windows(3).any(|bytes| bytes == b"\"y\"");
        let vectors = if is_other { VECTORS.replace("0.8", "0.9") } else { VECTORS.to_owned() };
        std::io::Write::write_all(stream, &json(200, &vectors)).map(|()| true)
    });
    let named = [ids[2].as_str(), &ids[0], &ids[1]];
    let run = case.rerun(&named, &["--endpoint", &partly.url()]).exits(0);
    let said = lines(&run);
    let (compared, proven): (Vec<&Value>, Vec<&Value>) =
        said.iter().partition(|line| line["status"] == "compared");
    assert_eq!(proven.len(), 3, "{}", run.out);
    let list = ids.iter().map(|id| counterfoil_receipt::Id::new(id.parse().unwrap())).collect::<Vec<_>>();
    let root = Sample::of(&list).unwrap().root.to_string();
    for (line, (id, result)) in
        compared.iter().zip(ids.iter().zip(["supported", "contradicted", "supported"]))
    {
        assert_eq!((&line["receipt"], &line["result"]), (&id.as_str().into(), &result.into()));
        assert_eq!(line["sample"], serde_json::json!({ "count": 3, "root": root }));
        assert!(!line["limits"].as_array().unwrap().contains(&"one_exchange".into()));
        assert_eq!(case.stands(id), result);
    }
    let twice = case.rerun(&[&ids[0], &ids[0]], &["--endpoint", &partly.url()]).exits(2);
    assert!(twice.err.contains("is named twice"), "{}", twice.err);
}

/// Words are compared exactly, streamed or not; where they were sampled, a difference shows nothing.
#[test]
fn words_are_compared_exactly() {
    let case = Case::new();
    let fixed =
        r#"{"model":"m-1","messages":[{"role":"user","content":"Hi"}],"temperature":0,"stream":true}"#;
    let sampled = &fixed.replace("\"temperature\":0,", "");
    let events: String = counterfoil_tests::upstream::EVENTS.concat();
    let chat = "/v1/chat/completions";
    let (fixed, sampled) =
        (case.receipt(chat, fixed, events.as_bytes()), case.receipt(chat, sampled, events.as_bytes()));
    let same = Upstream::saying(chat_stream());
    let other = Upstream::saying(json(200, &counterfoil_tests::upstream::CHAT.replace("Hello.", "Hello!")));
    for (id, upstream, result) in [
        (&fixed, &same, "supported"),
        (&fixed, &other, "contradicted"),
        (&sampled, &same, "supported"),
        (&sampled, &other, "inconclusive"),
    ] {
        let base = format!("{}/v1", upstream.url());
        let run = case.rerun(&[id], &["--endpoint", &base, "--dry-run"]).exits(0);
        let said = &lines(&run)[0];
        assert_eq!((&said["result"], &said["method"]), (&result.into(), &"rerun_text".into()), "{said}");
        let limits = said["limits"].as_array().unwrap();
        assert_eq!(limits.contains(&"nondeterministic".into()), result == "inconclusive", "{said}");
        assert_eq!(upstream.asked().last().unwrap().path(), chat);
    }
}

/// A dry run sends the request and records nothing; it needs no key.
#[test]
fn a_dry_run_records_nothing() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let (size, same) = (case.size(), service(VECTORS));
    let openings = format!("receipts/{id}.openings.json");
    let run =
        case.does(&["verdict", "rerun", &openings, "--log", "l", "--endpoint", &same.url(), "--dry-run"]);
    assert!(run.out.contains("result: supported") && run.out.contains("nothing was recorded"), "{}", run.out);
    assert_eq!((case.size(), case.files(), same.asked().len()), (size, 0, 1));
}

/// A program does as well as a service: the request on its standard input, the answer on its standard output.
#[test]
fn a_program_answers_too() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let response = format!("receipts/{id}.response");
    let script = format!("cat > seen && cat {response}");
    let run = case.rerun(&[&id], &["--", "sh", "-c", &script]).exits(0);
    assert_eq!((&lines(&run)[0]["result"], lines(&run).len()), (&"supported".into(), 2));
    assert_eq!(fs::read(case.path("seen")).unwrap(), INPUT.as_bytes());
    let size = case.size();
    let failed = case.rerun(&[&id], &["--", "sh", "-c", "exit 7"]).exits(2);
    assert!(failed.err.contains("nothing was recorded") && failed.err.contains('7'), "{}", failed.err);
    assert_eq!(case.size(), size);
}

/// A credential goes out in the header, from a file that nobody else can read; another model's name goes into the request, and
/// the verdict says that the weights are assumed.
#[test]
fn credentials_and_model_are_the_verifiers_own() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let same = service(VECTORS);
    fs::write(case.path("credential"), "of-the-verifier\n").unwrap();
    let mode = |mode| fs::set_permissions(case.path("credential"), fs::Permissions::from_mode(mode)).unwrap();
    let url = same.url();
    let more = ["--endpoint", &url, "--api-key-file", "credential", "--model", "m-2", "--dry-run"];
    mode(0o644);
    let open = case.rerun(&[&id], &more).exits(2);
    assert!(open.err.contains("others can read it"), "{}", open.err);
    assert!(same.asked().is_empty());
    mode(0o600);
    let run = case.rerun(&[&id], &[&more[..], &["--weights", &"ab".repeat(32)]].concat()).exits(0);
    assert!(lines(&run)[0]["limits"].as_array().unwrap().contains(&"weights_assumed".into()), "{}", run.out);
    let asked = &same.asked()[0];
    assert!(asked.head.contains("authorization: Bearer of-the-verifier"), "{}", asked.head);
    assert_eq!(String::from_utf8_lossy(&asked.body), INPUT.replace("m-1", "m-2"));
}

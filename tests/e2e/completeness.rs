//! An issuer that drops receipts is caught by its own numbers, its own words, and what others hold; one that keeps its promises is not.

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope, Id, PublicKey, SigningKey, Statement, Timestamp,
    statement::{Epoch, Number, Predicate, Promise, StreamId, Subject},
};
use counterfoil_tests::{Deployment, Issuing, Run, records::record};
use serde_json::Value;

use crate::PROGRAMS;

/// How many receipts the issuer signs: two runs over the recorded exchanges.
const SIGNED: usize = 32;

/// An issuer with a stream of receipts, signed and not logged yet, and the log that they are for.
struct Town {
    log: Deployment,
    key: SigningKey,
    receipts: Vec<Issued>,
}

/// A receipt that was signed.
struct Issued {
    id: Id,
    envelope: PathBuf,
    claim: PublicKey,
}

impl Town {
    fn new(origin: &str) -> Self {
        let log = Deployment::start(PROGRAMS, origin);
        let does = |arguments: &[&str]| log.client(arguments).exits(0);
        does(&["log", "add", "l", &log.url(), &log.log_key, "--clock", &log.clock_key]);
        does(&["keygen", "-o", "issuer.pem"]);
        let exchanges = concat!(env!("CARGO_MANIFEST_DIR"), "/data/exchanges.jsonl");
        let new = [
            "receipt",
            "new",
            "--key",
            "issuer.pem",
            "--log",
            "l",
            "--exchange",
            exchanges,
            "--out",
            "signed",
            "--json",
        ];
        for _ in 0..SIGNED {
            if fs::read_dir(log.home().join("signed")).map_or(0, Iterator::count) >= 3 * SIGNED {
                break;
            }
            does(&new);
        }
        let pem = fs::read_to_string(log.home().join("issuer.pem")).unwrap();
        let mut town = Self { log, key: SigningKey::from_pkcs8_pem(&pem).unwrap(), receipts: Vec::new() };
        town.receipts = town.signed();
        town
    }

    /// What was signed, in the order of its numbers.
    fn signed(&self) -> Vec<Issued> {
        let mut numbered = Vec::new();
        for file in fs::read_dir(self.log.home().join("signed")).unwrap() {
            let path = file.unwrap().path();
            if !path.to_str().unwrap().ends_with(".envelope.json") {
                continue;
            }
            let envelope = Envelope::parse(&fs::read(&path).unwrap()).unwrap().verify().unwrap();
            let statement = Statement::parse(&envelope).unwrap();
            let Predicate::Receipt(receipt) = &statement.predicate else { panic!("{statement:?}") };
            let (claim, number) = (receipt.claim.clone().unwrap(), statement.frame.numbering.unwrap().number);
            numbered.push((number, Issued { id: envelope.id(), envelope: path, claim }));
        }
        numbered.sort_by_key(|(number, _)| *number);
        let numbers = numbered.iter().map(|(number, _)| number.get());
        assert!(numbers.eq(0..numbered.len() as u64), "one stream without a gap");
        let mut receipts: Vec<_> = numbered.into_iter().map(|(_, issued)| issued).collect();
        receipts.truncate(SIGNED);
        assert_eq!(receipts.len(), SIGNED);
        receipts
    }

    fn stream(&self) -> StreamId {
        let envelope = Envelope::parse(&fs::read(&self.receipts[0].envelope).unwrap()).unwrap();
        Statement::parse(&envelope.verify().unwrap()).unwrap().frame.numbering.unwrap().stream
    }

    /// Appends the receipts with these numbers, then one of somebody else, so that the log's time goes on.
    fn appends(&self, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            let envelope = fs::read(&self.receipts[number].envelope).unwrap();
            assert_eq!(self.log.http().post("/v1/receipts", &envelope).unwrap().status, 201, "{number}");
        }
        self.goes_on();
    }

    fn goes_on(&self) {
        let root = || self.log.http().get("/checkpoint").unwrap().body;
        let before = Hash::of(&[&root()]);
        let seed = u64::from_be_bytes(*before.as_bytes().first_chunk().unwrap());
        self.log.append(&mut Issuing::new(&self.log.origin, seed), 1);
    }

    /// The issuer says that its stream went so far.
    fn says(&self, next: usize) {
        let (from, to) = (Timestamp::from_millis(0).unwrap(), Timestamp::from_millis(1).unwrap());
        let last = Some(self.receipts[next - 1].id);
        let epoch = Epoch { stream: self.stream(), next: Number::new(next as u64).unwrap(), last, from, to };
        self.log.put(&record(&self.log.origin, &self.key, Subject::Log, Predicate::Epoch(epoch)));
        self.goes_on();
    }

    /// The promise that came with an answer, in a file.
    fn promise(&self, name: &str, origin: &str, claim: &PublicKey, by: Timestamp) -> String {
        let promise = Predicate::Promise(Promise { claim: claim.clone(), by });
        let envelope = record(origin, &self.key, Subject::Log, promise);
        fs::write(self.log.home().join(name), envelope.to_json()).unwrap();
        name.to_owned()
    }

    fn audit(&self, more: &[&str]) -> Run {
        let issuer = self.key.public().to_string();
        let all = ["--json", "audit", "stream", "--issuer", &issuer, "--log", "l", "--grace", "0"];
        self.log.client(&[&all, more].concat())
    }

    fn file(&self, number: usize) -> String {
        self.receipts[number].envelope.to_str().unwrap().to_owned()
    }
}

fn codes(audit: &Value) -> Vec<&str> {
    audit["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

fn past() -> Timestamp {
    Timestamp::from_millis(1_000).unwrap()
}

fn future() -> Timestamp {
    Timestamp::from_millis(4_000_000_000_000).unwrap()
}

/// Receipt 17 never reaches the log. Its number is missing there; its promise is broken, and that can be shown to anybody who has a
/// copy of the log, when the log is gone. What was found at which record is kept in bundles that verify by themselves.
#[test]
fn a_dropped_receipt_is_caught() {
    let mut town = Town::new("log.example/dropped");
    town.appends((0..SIGNED).filter(|number| *number != 17));
    let found = town.audit(&["--out", "proof"]).exits(1).json();
    assert_eq!((codes(&found), &found["complete"]), (vec!["number-gap"], &false.into()));
    assert_eq!(found["findings"][0]["message"], "numbers 17 to 17 of the stream are missing");
    assert_eq!((&found["streams"][0]["records"], &found["streams"][0]["next"]), (&31.into(), &17.into()));
    let policy = town.log.policy();
    for file in
        found["files"].as_array().unwrap().iter().filter(|file| file.as_str() != Some("proof/checkpoint"))
    {
        let file = file.as_str().unwrap();
        assert!(file.contains(&town.receipts[18].id.to_string()), "{file}: the record after the gap");
        town.log.client(&["verify", file, "--policy", policy.to_str().unwrap()]).exits(0);
    }

    let promise = town.promise("promise", &town.log.origin, &town.receipts[17].claim, past());
    let held = town.file(17);
    let found = town.audit(&["--promise", &promise, "--receipt", &held]).exits(1).json();
    assert_eq!(codes(&found), ["number-gap", "record-missing", "promise-broken"]);
    let check = ["--json", "promise", "check", &promise, "--log", "l", "--out", "broken.json"];
    let broken = town.log.client(&check).exits(1).json();
    assert_eq!((&broken["state"], &broken["proof"]), (&"broken".into(), &"broken.json".into()));

    // The log is gone; whoever has a mirror and the proof sees it all the same.
    town.log.client(&["monitor", "--once", "--keep", "--state", "mirror", "--log", "l"]).exits(0);
    town.log.down();
    let (key, clock) = (town.log.log_key.clone(), town.log.clock_key.clone());
    let with = |clock: &str| {
        let all = [
            "--json",
            "promise",
            "check",
            "--proof",
            "broken.json",
            "--url",
            "mirror/log",
            "--log-key",
            &key,
            "--clock",
            clock,
        ];
        town.log.client(&all)
    };
    assert_eq!(with(&clock).exits(1).json()["state"], "broken");
    let text = fs::read_to_string(town.log.home().join("broken.json")).unwrap();
    for (what, bad) in [
        ("another time", text.replace("\\n— ", "\\n— x")),
        ("another promise", text.replacen("\"payload\":\"e", "\"payload\":\"f", 1)),
        ("another format", text.replace("promise/v1", "promise/v2")),
    ] {
        assert_ne!(bad, text);
        fs::write(town.log.home().join("broken.json"), bad).unwrap();
        let refused = with(&clock);
        assert!(refused.code != 0 && !refused.out.contains("\"state\""), "{what}: {refused:?}");
    }
}

/// The last five are cut off. The log alone shows nothing of that; one word of the issuer's, one receipt or one promise is enough.
#[test]
fn a_cut_tail_is_caught_by_whatever_speaks_of_it() {
    let town = Town::new("log.example/tail");
    town.appends(0..SIGNED - 5);
    let alone = town.audit(&[]).exits(0).json();
    assert_eq!((codes(&alone), &alone["streams"][0]["next"]), (vec![], &27.into()));
    let (held, promise) =
        (town.file(30), town.promise("promise", &town.log.origin, &town.receipts[29].claim, past()));
    let found = town.audit(&["--receipt", &held]).exits(1).json();
    assert_eq!(codes(&found), ["tail-missing", "record-missing"]);
    assert!(found["findings"][0]["message"].as_str().unwrap().starts_with("numbers 27 to 30 of stream"));
    assert_eq!(codes(&town.audit(&["--promise", &promise]).exits(1).json()), ["promise-broken"]);
    town.says(SIGNED);
    let found = town.audit(&[]).exits(1).json();
    assert_eq!(codes(&found), ["tail-missing"]);
    assert!(found["findings"][0]["message"].as_str().unwrap().starts_with("numbers 27 to 31 of stream"));
    // Late is late, but it is there.
    town.appends(SIGNED - 5..SIGNED);
    town.audit(&["--receipt", &held]).exits(0);
    assert_eq!(codes(&town.audit(&["--promise", &promise]).exits(1).json()), ["promise-late"]);
}

/// Who logs all that it signed passes, by whatever its customers hold; a promise that is not due yet is no broken one.
#[test]
fn who_keeps_its_promises_passes() {
    let town = Town::new("log.example/kept");
    town.appends(0..SIGNED);
    town.says(SIGNED);
    let origin = town.log.origin.clone();
    let kept = town.promise("kept", &origin, &town.receipts[17].claim, future());
    let stranger = SigningKey::from_ed25519_seed(&[8; 32]).public().clone();
    let pending = town.promise("pending", &origin, &stranger, future());
    let files: Vec<_> = (0..SIGNED).map(|number| town.file(number)).collect();
    let held: Vec<&str> = files.iter().flat_map(|file| ["--receipt", file.as_str()]).collect();
    let whole =
        town.audit(&[&["--promise", &kept, "--promise", &pending], &held[..]].concat()).exits(0).json();
    assert_eq!((codes(&whole), &whole["complete"]), (vec![], &true.into()));
    let states: Vec<_> =
        whole["promises"].as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["kept", "pending"]);
    let check = |promise: &str| {
        town.log.client(&["--json", "promise", "check", promise, "--log", "l", "--out", "none"])
    };
    assert_eq!(check(&kept).exits(0).json()["state"], "kept");
    // As it stood in the header of the answer.
    let header = BASE64.encode(fs::read(town.log.home().join(&kept)).unwrap());
    fs::write(town.log.home().join("header"), header + "\n").unwrap();
    assert_eq!(check("header").exits(0).json()["state"], "kept");
    assert_eq!(check(&pending).exits(2).json()["state"], "pending");
    assert!(!town.log.home().join("none").exists());
    let person =
        town.log.client(&["audit", "stream", "--issuer", town.key.public().as_str(), "--log", "l"]).exits(0);
    assert!(
        person.out.contains("complete, by all that the log and what you hold can show"),
        "{}",
        person.out
    );

    // What says nothing about this issuer's streams in this log is refused by the rule that it breaks.
    let foreign = town.promise("foreign", "other.example", &stranger, past());
    let refused = town.audit(&["--promise", &foreign]).exits(2);
    assert!(refused.err.contains("rule log: the promise"), "{}", refused.err);
    let refused = check(&foreign).exits(2);
    assert!(refused.err.contains("rule log: the promise"), "{}", refused.err);
    let other = SigningKey::from_ed25519_seed(&[9; 32]);
    let theirs =
        record(&origin, &other, Subject::Log, Predicate::Promise(Promise { claim: stranger, by: past() }));
    fs::write(town.log.home().join("theirs"), theirs.to_json()).unwrap();
    let refused = town.audit(&["--promise", "theirs"]).exits(2);
    assert!(refused.err.contains("rule signer: the promise"), "{}", refused.err);
    let issuer = other.public().to_string();
    let nobody = town.log.client(&["audit", "stream", "--issuer", &issuer, "--log", "l"]).exits(2);
    assert!(nobody.out.contains("the log has no stream of this issuer"), "{}", nobody.out);
}

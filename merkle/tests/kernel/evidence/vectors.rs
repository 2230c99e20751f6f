//! `tests/vectors/evidence`: evidence made by code that is not this crate's, good and bad.

use std::{fs, path::PathBuf};

use counterfoil_merkle::{evidence::ForkEvidence, key::Algorithm, key::VerifierKey};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/evidence"))
}

fn judge(file: &str, key: &VerifierKey) -> Result<ForkEvidence, String> {
    let text =
        String::from_utf8(fs::read(folder().join(file)).unwrap()).map_err(|error| error.to_string())?;
    let evidence = ForkEvidence::from_either(&text).map_err(|error| error.to_string())?;
    let printed = if file.ends_with(".json") { evidence.to_json() } else { evidence.to_string() };
    assert_eq!(printed, text, "{file}: what parses prints back");
    let is_log = key.algorithm() == Algorithm::Ed25519;
    let proven = if is_log { evidence.verify(key) } else { evidence.verify_cosigner(key) };
    proven.map(|()| evidence).map_err(|error| error.to_string())
}

/// Every case is judged as it is meant to be, and the JSON of good evidence is that of its text.
#[test]
fn published_evidence_is_judged_as_it_should_be() {
    let cases: Value = serde_json::from_slice(&fs::read(folder().join("cases.json")).unwrap()).unwrap();
    let mut proven = 0;
    for case in cases["cases"].as_array().unwrap() {
        let (file, why) = (case["file"].as_str().unwrap(), &case["why"]);
        let key = cases["keys"][case["key"].as_str().unwrap()].as_str().unwrap().parse().unwrap();
        let judged = judge(file, &key);
        assert_eq!(judged.is_ok(), case["proven"].as_bool().unwrap(), "{file}, {why}: {judged:?}");
        let Ok(evidence) = judged else { continue };
        proven += 1;
        if let Ok(json) = fs::read_to_string(folder().join(file.replace(".txt", ".json"))) {
            assert_eq!(evidence.to_json(), json, "{file}");
        }
    }
    assert!(proven > 20, "{proven}");
}

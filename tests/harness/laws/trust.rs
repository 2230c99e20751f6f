//! What people write to say whom they trust: policies, trust files, lists of logs.

use counterfoil_client::witness::list;
use counterfoil_merkle::{
    checkpoint::SignedCheckpoint,
    policy::{POLICY_BYTES_MAX, Policy, log_alone},
};
use counterfoil_receipt::trust::{Issuers, PolicyPlace, TrustFile};

use super::vectors;

/// No quorum is lost by one more witness. Who accepts a checkpoint has a log that signed it and a quorum that is met.
pub fn policy(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(policy) = text.parse::<Policy>() else { return false };
    assert!(text.len() <= POLICY_BYTES_MAX);
    let names: Vec<String> = policy.witnesses().map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() <= text.lines().count());
    let met_by =
        |count: usize| policy.is_met_by(|name, _| names[..count].iter().any(|listed| listed == name));
    let met: Vec<bool> = (0..=names.len()).map(met_by).collect();
    assert!(met.is_sorted(), "one more witness, and the quorum is lost: {met:?}");
    let signed: SignedCheckpoint = vectors::text("checkpoint").parse().expect("a checkpoint");
    if let Ok(accepted) = policy.check(&signed) {
        assert!(policy.logs().iter().any(|log| log.key == *accepted.checkpoint.log_key()));
        let cosigned = |_: &str, listed: &counterfoil_merkle::policy::Listed| {
            accepted.witnesses.iter().any(|witness| witness.name == *listed.key.name())
        };
        assert!(policy.is_met_by(cosigned), "accepted without a quorum");
    }
    true
}

/// Issuers are the same, read as part of a trust file or alone. A policy is in the file or named, never both.
pub fn trust_file(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let alone = Issuers::parse(text);
    let Ok(file) = TrustFile::parse(text) else { return alone.is_ok() };
    assert!(alone.is_err(), "a list of issuers has no policy");
    let known = file.issuers.find(vectors::issuer().public()).map(|issuer| issuer.name().to_owned());
    assert!(known.is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)));
    let policy = match &file.policy {
        PolicyPlace::Here(policy) => policy.clone(),
        PolicyPlace::File(_) => log_alone(vectors::log(), vectors::clock()),
    };
    let count = file.issuers.len();
    if let Ok(trust) = file.with_policy(&policy) {
        assert_eq!(trust.issuers.len(), count);
        // Not to be judged by it, only to be survived.
        let bundle = counterfoil_receipt::bundle::Bundle::parse(vectors::text("bundle_1").as_bytes());
        counterfoil_receipt::verify::verify(&bundle.expect("a bundle"), &trust, None).failures();
    }
    true
}

/// Each log of a list has its keys and may ask for something.
pub fn witness_list(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(logs) = list::parse(text) else { return false };
    assert!(logs.len() <= text.lines().count() / 3);
    assert!(logs.iter().all(|log| log.keys().len() == 1 && (1..1 << 31).contains(&log.per_day())));
    true
}

//! Who may sign what about what, exhaustively: every kind of follow-up by every party about every kind of record.

use super::*;

const SIGNERS: [&str; 12] = [
    "issuer",
    "issuer2",
    "verifier",
    "verifier2",
    "disputant",
    "disputant2",
    "arbiter",
    "arbiter2",
    "claim",
    "stranger",
    "registrar",
    "operator",
];

/// The table of RECORDS.md, written down once more: who may, of those above, in the world below.
fn may(kind: &str, about: &str) -> &'static [&'static str] {
    match (kind, about) {
        ("verdict", "receipt") => &["verifier", "verifier2"],
        ("dispute", "receipt" | "correction") => &["claim", "disputant", "disputant2"],
        ("dispute", "verdict" | "resolution") => &["claim", "disputant", "disputant2", "issuer"],
        ("response", "dispute") => &["issuer", "issuer2"],
        ("response", "dispute of verdict") => &["issuer", "issuer2", "verifier"],
        ("arbiter", "dispute") => &["arbiter", "arbiter2"],
        ("arbiter", "dispute of verdict") => &["arbiter", "arbiter2"],
        ("respondent", "dispute") => &["issuer"],
        ("respondent", "dispute of verdict") => &["verifier"],
        ("agreed", "dispute" | "dispute of verdict") => &["claim"],
        ("remedy", "resolution" | "response") => &["issuer", "issuer2"],
        ("correction", "receipt") => &["issuer"],
        ("erasure", "receipt") => &["issuer", "claim", "operator"],
        ("erasure", "verdict") => &["verifier", "operator"],
        ("erasure", "dispute" | "dispute of verdict") => &["claim", "operator"],
        ("erasure", "response" | "correction") => &["issuer", "operator"],
        _ => &[],
    }
}

/// A world in which there is one record of every kind to be about.
fn world() -> (World, Vec<(&'static str, Option<Hash>)>) {
    let mut world = World::registered();
    let card = world.records[1].leaf;
    let receipt = world.receipt("issuer", "claim");
    let checked = verdict(ClaimKind::Output, VerdictResult::Contradicted, None);
    let checked = world.about("verifier", receipt, checked).unwrap();
    let disputed = world.about("claim", receipt, dispute(Ground::Billing)).unwrap();
    let of_verdict = world.about("claim", checked, dispute(Ground::VerdictWrong)).unwrap();
    let answered = world.about("issuer", disputed, response(Stance::Reject, None)).unwrap();
    let decided = resolution(Decider::Arbiter, Ground::Billing, None);
    let decided = world.about("arbiter", disputed, decided).unwrap();
    let done = world.about("issuer", decided, remedy()).unwrap();
    let corrected = world.about("issuer", receipt, correction()).unwrap();
    let promised = world.append("issuer", Subject::Log, policy(60)).unwrap();
    let abouts = vec![
        ("nothing", None),
        ("key", Some(card)),
        ("receipt", Some(receipt)),
        ("verdict", Some(checked)),
        ("dispute", Some(disputed)),
        ("dispute of verdict", Some(of_verdict)),
        ("response", Some(answered)),
        ("resolution", Some(decided)),
        ("remedy", Some(done)),
        ("correction", Some(corrected)),
        ("policy", Some(promised)),
        ("a leaf that is not there", Some(Hash::leaf(b"none"))),
    ];
    (world, abouts)
}

fn record(kind: &str, about: &str) -> Predicate {
    let ground = match about {
        "verdict" | "dispute of verdict" => Ground::VerdictWrong,
        "resolution" => Ground::ResolutionWrong,
        _ => Ground::Billing,
    };
    match kind {
        "verdict" => verdict(ClaimKind::Output, VerdictResult::Supported, None),
        "dispute" => dispute(ground),
        "response" => response(Stance::Reject, None),
        "arbiter" => resolution(Decider::Arbiter, ground, None),
        "respondent" => resolution(Decider::Respondent, ground, None),
        "agreed" => resolution(Decider::Agreed, ground, None),
        "remedy" => remedy(),
        "correction" => correction(),
        "erasure" => erasure(),
        other => panic!("{other}"),
    }
}

#[test]
fn nobody_may_what_the_table_does_not_say() {
    let (world, abouts) = world();
    let kinds = [
        "verdict",
        "dispute",
        "response",
        "arbiter",
        "respondent",
        "agreed",
        "remedy",
        "correction",
        "erasure",
    ];
    for kind in kinds {
        for &(about, leaf) in abouts.iter().filter(|(_, leaf)| leaf.is_some()) {
            for signer in SIGNERS {
                let outcome = world.clone().about(signer, leaf.unwrap(), record(kind, about));
                let allowed = may(kind, about).contains(&signer);
                assert_eq!(outcome.is_ok(), allowed, "{kind} about {about} by {signer}: {outcome:?}");
                if may(kind, about).is_empty() {
                    let expected =
                        if about.starts_with("a leaf") { Rule::AboutMissing } else { Rule::AboutKind };
                    assert_eq!(rule(outcome), Some(expected), "{kind} about {about} by {signer}");
                }
            }
        }
    }
}

/// What is about nothing: receipts and policies are for issuers, rules and clock for the operator.
#[test]
fn records_about_nothing_have_their_signers() {
    let (world, _) = world();
    for signer in SIGNERS {
        let issues = signer.starts_with("issuer");
        let receipt = world.clone().append(signer, exchange(), receipt(None));
        assert_eq!(receipt.is_ok(), issues, "{signer}: {receipt:?}");
        let promised = world.clone().append(signer, Subject::Log, policy(60));
        assert_eq!(promised.is_ok(), issues, "{signer}: {promised:?}");
        let ruled = world.clone().append(signer, Subject::Log, rules(Mode::Open));
        assert_eq!(ruled.is_ok(), signer == "operator", "{signer}: {ruled:?}");
    }
}

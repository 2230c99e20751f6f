use counterfoil_merkle::{
    TreeSize,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner},
    policy::log_alone,
    proof::InclusionProof,
    tile::TileTree,
    tlogproof::TlogProof,
};

use super::*;
use crate::{
    SigningKey,
    bundle::BundleError,
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    entry::EntryDraft,
    exchange::{End, Exchange, Response},
    statement::{GroupName, Issuer, Number, Numbering, StreamId},
    trust::Issuers,
};

const REQUEST: &[u8] = br#"{"model":"m-1","messages":[{"role":"user","content":"May I have the loan?"}]}"#;
const RESPONSE: &[u8] = br#"{"model":"m-1-0626","choices":[{"message":{"content":"denied"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
const AT_MS: u64 = 1_763_712_345_678;

fn note_key(name: &str, algorithm: Algorithm, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
}

fn log_key() -> NoteSigner {
    note_key("log.example/2026", Algorithm::Ed25519, 1)
}

fn clock_key() -> NoteSigner {
    note_key("log.example/2026/clock", Algorithm::CosignatureV1, 2)
}

fn issuer() -> SigningKey {
    SigningKey::from_ed25519_seed(&[3; 32])
}

fn draft(log: &str) -> Draft {
    let response =
        Response { status: 200, content_type: Some("application/json"), request_id: None, body: RESPONSE };
    let exchange = Exchange {
        path: "/v1/chat/completions",
        request: REQUEST,
        response: Some(response),
        end: End::Finished,
    };
    let terms = Terms {
        log: log.parse().unwrap(),
        issuer: Issuer { key: issuer().public().clone(), software: None },
        claim: ClaimSource::Fresh,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let mut counter = 0;
    let mut random = |bytes: &mut [u8]| {
        counter += 1;
        bytes.fill(counter);
    };
    let bodies = WireBodies { request: REQUEST, response: Some(RESPONSE) };
    let place = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
    Draft::new(exchange.facts().unwrap(), bodies, terms, place, &mut random).unwrap()
}

/// The record of a draft, logged as leaf 2 of 5, under a checkpoint that `cosign` may sign further.
fn logged(draft: &Draft, cosign: impl FnOnce(&mut SignedCheckpoint)) -> Bundle {
    let envelope = draft.sign(&issuer()).unwrap();
    let statement = envelope.envelope().statement_bytes().to_vec();
    let at = Timestamp::from_millis(AT_MS).unwrap();
    let entry = EntryDraft::new(&envelope, &draft.statement).stamp(at);
    let leaves = [b"a".as_slice(), b"b", &entry, b"d", b"e"];
    let tile = TileTree::from_hashes(leaves.iter().map(|leaf| Hash::leaf(leaf)));
    let (index, size) = (LeafIndex::new(2).unwrap(), TreeSize::new(5).unwrap());
    let hashes = |nodes: Vec<_>| -> Vec<Hash> {
        nodes.into_iter().map(|node| tile.tree_node(node).unwrap()).collect()
    };
    let proof = InclusionProof::from_nodes(index, size, &hashes(InclusionProof::nodes(index, size).unwrap()))
        .unwrap();
    let whole = counterfoil_merkle::tree::Subtree::whole(size);
    let root = counterfoil_merkle::tree::Subtree::fold(&hashes(whole.cover()));
    let origin = Origin::new("log.example/2026").unwrap();
    let mut signed = Checkpoint::new(origin, TreeHead { size, root }).sign(&log_key());
    cosign(&mut signed);
    let proof = TlogProof::new(proof, signed).unwrap();
    Bundle::from_parts(Some(statement), std::str::from_utf8(&entry).unwrap(), &proof.to_string()).unwrap()
}

fn timed(signed: &mut SignedCheckpoint) {
    signed.cosign(&clock_key(), AT_MS / 1000);
}

fn real() -> Bundle {
    logged(&draft("log.example/2026"), timed)
}

/// What `init` writes.
fn trust() -> Trust {
    Trust::in_policy(log_alone(log_key().public(), clock_key().public()).parse().unwrap())
}

fn naming(table: &str) -> Trust {
    let issuers =
        Issuers::parse(&format!("[[issuer]]\nname = \"Bank\"\nkey = \"{}\"\n{table}", issuer().public()));
    Trust { issuers: issuers.unwrap(), ..trust() }
}

fn parts(report: &Report) -> Vec<Part> {
    report.failures().iter().map(Failure::part).collect()
}

#[test]
fn a_real_bundle_holds() {
    let report = verify(&real(), &trust(), None);
    assert_eq!(report.failures(), []);
    assert_eq!(report.issuer, IssuerCheck::NotNamed);
    assert_eq!(report.time, TimeCheck::Attested { clock_s: AT_MS / 1000 });
    assert_eq!((report.index.get(), report.head.size.get()), (2, 5));
    assert!(report.checkpoint.as_ref().unwrap().witnesses.is_empty());
    assert!(report.statement().is_some());
}

/// No file that differs in one bit is believed.
#[test]
fn every_changed_bit_is_refused() {
    let (json, trust) = (real().to_json().into_bytes(), trust());
    for at in 0..json.len() {
        for bit in 0..8 {
            let mut changed = json.clone();
            changed[at] ^= 1 << bit;
            if let Ok(bundle) = Bundle::parse(&changed) {
                let report = verify(&bundle, &trust, None);
                assert!(!report.holds(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&changed));
            }
        }
    }
}

/// Whatever byte changes, the part that it is in is named.
#[test]
fn the_part_that_does_not_match_is_named() {
    let (bundle, trust) = (real(), trust());
    let statement = bundle.statement.clone().unwrap();
    for at in 0..statement.len() {
        let mut changed = statement.clone();
        changed[at] ^= 1;
        let report = verify(&Bundle { statement: Some(changed), ..bundle.clone() }, &trust, None);
        assert_eq!(parts(&report), [Part::Statement], "byte {at} of the statement");
    }

    let proof = bundle.proof.to_string();
    let entry = String::from_utf8(bundle.entry.to_bytes()).unwrap();
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes)
    };
    for at in 0..entry.len() {
        let Ok(changed) = flipped(&entry, at) else { continue };
        match Bundle::from_parts(Some(statement.clone()), &changed, &proof) {
            Ok(bundle) => assert!(parts(&verify(&bundle, &trust, None)).contains(&Part::Proof), "{changed}"),
            Err(refused) => assert!(matches!(refused, BundleError::Entry(_)), "{refused}"),
        }
    }
    let checkpoint = proof.find("\n\n").unwrap() + 2;
    for at in 0..proof.len() {
        let Ok(changed) = flipped(&proof, at) else { continue };
        match Bundle::from_parts(Some(statement.clone()), &entry, &changed) {
            Ok(bundle) => {
                let parts = parts(&verify(&bundle, &trust, None));
                let expected: &[Part] =
                    if at < checkpoint { &[Part::Proof] } else { &[Part::Checkpoint, Part::Time] };
                assert!(parts.iter().any(|part| expected.contains(part)), "{parts:?}: {changed}");
            }
            Err(refused) => assert!(matches!(refused, BundleError::Proof(_)), "{refused}"),
        }
    }
}

#[test]
fn issuers_are_demanded_where_any_is_named() {
    let bundle = real();
    let named = IssuerCheck::Named { name: "Bank".to_owned() };
    let report = verify(&bundle, &naming("not_before = 2025-11-21\nnot_after = 2025-11-21\n"), None);
    assert_eq!((report.failures(), report.issuer), (vec![], named));

    let late = verify(&bundle, &naming("not_before = 2025-11-22\n"), None);
    assert!(matches!(late.failures()[..], [Failure::NotValid { .. }]), "{:?}", late.failures());

    let role = verify(&bundle, &naming("roles = [\"arbiter\"]\n"), None);
    assert!(matches!(role.failures()[..], [Failure::OtherRole { .. }]), "{:?}", role.failures());

    let other = SigningKey::from_ed25519_seed(&[9; 32]);
    let other = format!("[[issuer]]\nname = \"Other\"\nkey = \"{}\"\n", other.public());
    let stranger = verify(&bundle, &Trust { issuers: Issuers::parse(&other).unwrap(), ..trust() }, None);
    assert!(matches!(stranger.failures()[..], [Failure::NotNamed { .. }]), "{:?}", stranger.failures());

    // An erased statement leaves the issuer to the log's word: fine, unless a named one is asked for.
    let erased = Bundle { statement: None, ..bundle };
    assert!(verify(&erased, &trust(), None).holds());
    assert_eq!(verify(&erased, &naming(""), None).failures(), [Failure::NotProven]);
}

#[test]
fn times_are_held_against_the_clock() {
    let draft = draft("log.example/2026");
    let early = logged(&draft, |signed| signed.cosign(&clock_key(), AT_MS / 1000 - 1));
    assert!(matches!(verify(&early, &trust(), None).failures()[..], [Failure::AfterCheckpoint { .. }]));

    let untimed = logged(&draft, |_| ());
    assert_eq!(verify(&untimed, &trust(), None).failures(), [Failure::NoClock]);
    let key_alone = format!("log {}\nquorum none\n", log_key().public()).parse().unwrap();
    let report = verify(&untimed, &Trust::in_policy(key_alone), None);
    assert_eq!((report.failures(), report.time), (vec![], TimeCheck::Unattested));
}

#[test]
fn witnesses_are_counted_apart_from_the_clock() {
    let witness = note_key("witness.example", Algorithm::CosignatureV1, 5);
    let policy = format!(
        "log {}\nwitness clock {}\nwitness w {}\nquorum w\n",
        log_key().public(),
        clock_key().public(),
        witness.public()
    );
    let trust = Trust::in_policy(policy.parse().unwrap());
    let draft = draft("log.example/2026");
    let witnessed = logged(&draft, |signed| {
        timed(signed);
        signed.cosign(&witness, AT_MS / 1000 + 7);
    });
    let report = verify(&witnessed, &trust, None);
    assert_eq!(report.failures(), []);
    let names: Vec<_> =
        report.checkpoint.unwrap().witnesses.into_iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["witness.example"]);
    let alone = verify(&real(), &trust, None);
    assert!(matches!(alone.failures()[..], [Failure::Checkpoint(PolicyError::NoQuorum { witnesses: 0 })]));
}

#[test]
fn a_receipt_for_another_log_is_refused() {
    let report = verify(&logged(&draft("log.example/2025"), timed), &trust(), None);
    assert!(matches!(report.failures()[..], [Failure::OtherLog { .. }]), "{:?}", report.failures());
}

#[test]
fn contents_are_held_against_their_commitments() {
    let draft = draft("log.example/2026");
    let bundle = logged(&draft, timed);
    let check = |bundle: &Bundle, openings, request, response| {
        let bodies = Bodies { request, response };
        verify(bundle, &trust(), Some(Contents { openings, bodies }))
    };
    let whole = check(&bundle, &draft.openings, Some(REQUEST), Some(RESPONSE));
    assert_eq!(whole.failures(), []);
    let ContentsCheck::Checked(checked) = &whole.contents else { panic!("checked") };
    assert!(checked.iter().all(|it| it.finding == Finding::Opened), "{checked:?}");
    assert!(checked.iter().any(|it| it.label == Label::Group(GroupName::Usage)));

    assert!(check(&bundle, &draft.openings, None, None).holds());
    let differs = check(&bundle, &draft.openings, Some(b"other"), Some(RESPONSE));
    assert_eq!(differs.failures(), [Failure::Contents { label: Label::Request, finding: Finding::Differs }]);

    let mut without = draft.openings.clone();
    without.remove(Label::Response);
    assert!(check(&bundle, &without, Some(REQUEST), None).holds());
    assert_eq!(parts(&check(&bundle, &without, None, Some(RESPONSE))), [Part::Contents]);

    let foreign = Openings::new(Id::of_statement(b"another"));
    assert_eq!(parts(&check(&bundle, &foreign, Some(REQUEST), None)), [Part::Contents]);
    let erased = Bundle { statement: None, ..bundle };
    assert_eq!(check(&erased, &draft.openings, Some(REQUEST), None).failures(), [Failure::NoStatement]);
}

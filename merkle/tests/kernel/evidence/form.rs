//! The one form that evidence has as text, and the one as JSON: nothing of either can be changed.

use counterfoil_merkle::evidence::{EVIDENCE_BYTES_MAX, EVIDENCE_JSON_BYTES_MAX};

use super::*;

/// One of each kind; with cosignatures, which prove nothing and are carried along.
fn evidence_of_all_kinds() -> [ForkEvidence; 3] {
    let (honest, forked) = (History::forked_at(u64::MAX), History::forked_at(2));
    let cosigned = |history: &History, n: usize| {
        let mut signed = history.signed[n].clone();
        signed.cosign(&clock(), 1_700_000_000);
        signed
    };
    let proven = |history: &History, n| {
        let (proof, leaf) = history.leaf_at(3, n);
        (TlogProof::new(proof.proof().clone(), cosigned(history, n)).unwrap(), leaf)
    };
    let ((one, leaf), (other, other_leaf)) = (proven(&honest, 6), proven(&forked, 9));
    [
        ForkEvidence::same_size(cosigned(&honest, 6), cosigned(&forked, 6)),
        ForkEvidence::grown(cosigned(&honest, 6), cosigned(&forked, 9), forked.growth(6, 9)),
        ForkEvidence::two_leaves((&one, leaf), (&other, other_leaf)).unwrap(),
    ]
}

/// The text with another digest: what somebody would write who changes more than he may.
fn digested(body: &str) -> String {
    format!("{body}sha256 {}\n", Hash::of(&[body.as_bytes()]))
}

fn body(text: &str) -> &str {
    &text[..text.rfind("sha256 ").unwrap()]
}

/// Any flipped bit, in lines that prove nothing too, makes evidence unreadable, in either form.
#[test]
fn no_bit_of_the_evidence_can_be_changed() {
    for evidence in evidence_of_all_kinds() {
        assert_eq!(evidence.verify(log().public()), Ok(()));
        for text in [evidence.to_string(), evidence.to_json()] {
            assert_eq!(ForkEvidence::from_either(&text), Ok(evidence.clone()));
            for bit in 0..8 * text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(changed) = std::str::from_utf8(&bytes) else { continue };
                assert!(ForkEvidence::from_either(changed).is_err(), "bit {bit}: {changed}");
            }
        }
    }
}

/// Whoever changes a byte and the digest with it may exchange what proves nothing, and no more.
#[test]
fn only_lines_of_other_keys_can_be_changed_with_the_digest() {
    let clock_name = clock().public().name().to_string();
    for evidence in evidence_of_all_kinds() {
        let text = evidence.to_string();
        let mut at = 0;
        for line in body(&text).split_inclusive('\n') {
            let others = line.starts_with("— ") && line.contains(&clock_name);
            for offset in (0..line.len()).step_by(3) {
                let mut bytes = body(&text).as_bytes().to_vec();
                bytes[at + offset] ^= 1 << (offset % 7);
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let Ok(read) = digested(&changed).parse::<ForkEvidence>() else { continue };
                assert!(others || read.verify(log().public()).is_err(), "byte {}: {changed}", at + offset);
            }
            at += line.len();
        }
    }
}

/// Text and JSON are two spellings of one evidence: each gives the other, to the byte.
#[test]
fn text_and_json_stand_for_one_another() {
    for evidence in evidence_of_all_kinds() {
        let (text, json) = (evidence.to_string(), evidence.to_json());
        assert_eq!(text.parse::<ForkEvidence>().unwrap().to_json(), json);
        assert_eq!(ForkEvidence::from_json(&json).unwrap().to_string(), text);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["a"], evidence.a().to_string());
        assert_eq!(value["sha256"], evidence.id().to_string());
        assert!(text.ends_with(&format!("sha256 {}\n", evidence.id())));
        for changed in [
            format!(" {json}"),
            format!("{json}\n"),
            json.replace(",\"b\"", ", \"b\""),
            json.replace("{\"format\"", "{\"more\":1,\"format\""),
            json.replace("{\"format\"", "{\"format\":\"\",\"format\""),
            json.replace('—', "\\u2014"),
            json.replace("\"kind\":", "\"kind\":null,\"was\":"),
            json.trim_end().to_owned(),
        ] {
            assert_ne!(changed, json);
            assert!(ForkEvidence::from_json(&changed).is_err(), "{changed}");
        }
    }
}

/// One text for one pair of checkpoints: notes in order, sizes that fit the kind, nothing before or after.
#[test]
fn evidence_has_one_text() {
    let [same, grown, index] = evidence_of_all_kinds().map(|evidence| evidence.to_string());
    let evidence: ForkEvidence = same.parse().unwrap();
    let (a, b) = (evidence.a().to_string(), evidence.b().to_string());
    assert!(a < b);
    let note = |name, note: &str| format!("note {name} {}\n{note}", note.len());
    let swapped = same.replace(&(note("a", &a) + &note("b", &b)), &(note("a", &b) + &note("b", &a)));
    assert_ne!(swapped, same);
    assert_eq!(digested(body(&swapped)).parse::<ForkEvidence>(), Err(EvidenceError::NotCanonical));
    let relabelled = body(&grown).replace("kind consistency", "kind same-size");
    assert_eq!(digested(&relabelled).parse::<ForkEvidence>(), Err(EvidenceError::NotCanonical));
    let (bare, _) = relabelled.split_once("frontier ").unwrap();
    let read: ForkEvidence = digested(bare).parse().unwrap();
    assert_eq!(read.verify(log().public()), Err(EvidenceError::Sizes));

    for text in [same, grown, index] {
        for (from, to) in [
            ("fork-evidence/v1\n", "fork-evidence/v2\n"),
            ("kind ", "kind  "),
            ("kind same-size\n", "kind index\n"),
            ("kind consistency\n", "kind same-size\n"),
            ("kind index\n", "kind consistency\n"),
            ("origin log.example", "origin lag.example"),
            ("note a ", "note a 0"),
            ("note a ", "note a +"),
            ("note a ", "note b "),
            ("note a ", "note a 2"),
            ("note a ", "note a 99999999999999999999"),
            ("frontier ", "frontier 0"),
            ("frontier ", "frontier 18446744073709551615\nfrontier "),
            ("right ", "right 18446744073709551615\nright "),
            ("right ", "right 1\nright "),
            ("index 3\n", "index 03\n"),
            ("index 3\n", "index 1099511627776\n"),
            ("path a ", "path a 42\npath a "),
            ("leaf b ", "leaf a "),
        ] {
            let changed = digested(&body(&text).replacen(from, to, 1));
            assert!(changed == text || changed.parse::<ForkEvidence>().is_err(), "{changed}");
        }
        for changed in [format!("{text}\n"), format!("\n{text}"), format!("{text}{text}"), String::new()] {
            assert!(changed.parse::<ForkEvidence>().is_err());
            assert!(digested(&changed).parse::<ForkEvidence>().is_err());
        }
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            assert!(text[..end].parse::<ForkEvidence>().is_err(), "cut at {end}");
        }
    }
}

/// What is too long is not read.
#[test]
fn evidence_has_a_limit() {
    let long = "x".repeat(EVIDENCE_JSON_BYTES_MAX + 1);
    assert!(matches!(ForkEvidence::from_json(&long), Err(EvidenceError::TooLong { .. })));
    let long = &long[..=EVIDENCE_BYTES_MAX];
    assert_eq!(long.parse::<ForkEvidence>(), Err(EvidenceError::TooLong { got: EVIDENCE_BYTES_MAX + 1 }));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert_eq!(ForkEvidence::from_either(&deep), Err(EvidenceError::Form { expected: "a JSON object" }));
}

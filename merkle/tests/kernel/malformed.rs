//! Tables of what is not a checkpoint, and not a tlog-proof, though nearly one.

use counterfoil_merkle::{
    checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint},
    note::{NOTE_BYTES_MAX, Note, NoteError, SIGNATURES_MAX},
    tlogproof::{TlogProof, TlogProofError},
};

use crate::vectors::PROOF_3_OF_7;

const ROOT: &str = "LvCkAL8kdZkKzn8cPKeavQCfRkUk97yN6cq/kVscJ0s=";
const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

#[test]
fn checkpoints_that_are_none() {
    use CheckpointError::{EmptyRoot, Form, Origin, Root, Size};
    let unpadded = ROOT.trim_end_matches('=');
    let url_safe = EMPTY.replace('+', "-").replace('/', "_");
    let stray_bits = ROOT.replace("J0s=", "J0t=");
    let long = "o".repeat(256);
    for (text, expected) in [
        (String::new(), Form),
        ("\n".into(), Form),
        ("\n\n\n".into(), Size),
        ("o\n7\n".into(), Form),
        (format!("o\n7\n{ROOT}"), Form),
        (format!("\n7\n{ROOT}\n"), Origin),
        (format!("{long}\n7\n{ROOT}\n"), Origin),
        (format!("o\r\n7\n{ROOT}\n"), Origin),
        (format!("o\t\n7\n{ROOT}\n"), Origin),
        (format!("o\n\n{ROOT}\n"), Size),
        (format!("o\n07\n{ROOT}\n"), Size),
        (format!("o\n00\n{EMPTY}\n"), Size),
        (format!("o\n+7\n{ROOT}\n"), Size),
        (format!("o\n-7\n{ROOT}\n"), Size),
        (format!("o\n-0\n{EMPTY}\n"), Size),
        (format!("o\n 7\n{ROOT}\n"), Size),
        (format!("o\n7 \n{ROOT}\n"), Size),
        (format!("o\n7\r\n{ROOT}\n"), Size),
        (format!("o\n0x7\n{ROOT}\n"), Size),
        (format!("o\n7.0\n{ROOT}\n"), Size),
        (format!("o\n٧\n{ROOT}\n"), Size),
        (format!("o\n1099511627777\n{ROOT}\n"), Size),
        (format!("o\n9223372036854775808\n{ROOT}\n"), Size),
        (format!("o\n18446744073709551616\n{ROOT}\n"), Size),
        ("o\n7\n\n".into(), Root),
        (format!("o\n7\n{unpadded}\n"), Root),
        (format!("o\n7\n{url_safe}\n"), Root),
        (format!("o\n7\n{stray_bits}\n"), Root),
        (format!("o\n7\n{ROOT} \n"), Root),
        (format!("o\n7\n {ROOT}\n"), Root),
        (format!("o\n7\n{ROOT}=\n"), Root),
        (format!("o\n7\n{ROOT}{ROOT}\n"), Root),
        ("o\n7\nLvCk\n".into(), Root),
        (format!("o\n0\n{ROOT}\n"), EmptyRoot),
        (format!("o\n7\n{ROOT}\n\n"), Form),
        (format!("o\n7\n{ROOT}\nextension\n\n"), Form),
        (format!("o\n7\n{ROOT}\n\nextension\n"), Form),
        (format!("o\n7\n{ROOT}\nextension"), Form),
        (format!("o\n7\n{ROOT}\nextension\r\n"), Form),
        (format!("o\n7\n{ROOT}\nextension\0\n"), Form),
    ] {
        assert_eq!(text.parse::<Checkpoint>(), Err(expected), "{text:?}");
    }
}

/// What is allowed though unusual is kept as it came.
#[test]
fn checkpoints_that_are_unusual() {
    let longest = "o".repeat(Origin::BYTES_MAX);
    for text in [
        format!("o\n0\n{EMPTY}\n"),
        format!("o\n1099511627776\n{ROOT}\n"),
        format!("{longest}\n7\n{ROOT}\n"),
        format!("origin with spaces + a plus — and a dash\n7\n{ROOT}\n"),
        format!("o\n7\n{ROOT}\nextension\n other \u{a0}extension\n"),
    ] {
        let parsed: Checkpoint = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
    }
}

/// Every checkpoint that parses can be signed: its text is a note's.
#[test]
fn whatever_parses_can_be_signed() {
    let log = crate::roles::log();
    for byte in 0..=0x7f_u8 {
        let odd = char::from(byte);
        for text in [format!("o{odd}\n7\n{ROOT}\n"), format!("o\n7\n{ROOT}\nextension {odd}\n")] {
            if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                let signed = checkpoint.sign(&log);
                assert_eq!(signed.to_string().parse::<SignedCheckpoint>(), Ok(signed));
            }
        }
    }
}

#[test]
fn notes_have_limits() {
    let (_, note) = PROOF_3_OF_7.split_once("\n\n").unwrap();
    let line = note.lines().last().unwrap();
    let filler = |length: usize| format!("{}\n\n{line}\n", "a".repeat(length - line.len() - 3));
    assert_eq!(filler(NOTE_BYTES_MAX).parse::<Note>().unwrap().to_string().len(), NOTE_BYTES_MAX);
    assert_eq!(
        filler(NOTE_BYTES_MAX + 1).parse::<Note>(),
        Err(NoteError::TooLong { got: NOTE_BYTES_MAX + 1 })
    );
    let many = |lines: usize| format!("a\n\n{}", format!("{line}\n").repeat(lines));
    assert!(many(SIGNATURES_MAX).parse::<Note>().is_ok());
    assert_eq!(many(SIGNATURES_MAX + 1).parse::<Note>(), Err(NoteError::TooManySignatures));
}

/// Each row is one change to a good proof, and why it is none any more.
#[test]
fn tlog_proofs_that_are_none() {
    use TlogProofError::{Form, Header, Index};
    const FIRST: &str = "VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=\n";
    for (from, to, expected) in [
        ("@v1\n", "@v2\n", Header),
        ("c2sp", "C2SP", Header),
        ("c2sp", "\u{feff}c2sp", Header),
        ("@v1\n", "@v1 \n", Header),
        ("@v1\n", "@v1\r\n", Header),
        ("index 3\n", "", Form),
        ("index 3", "index  3", Index),
        ("index 3", "index 03", Index),
        ("index 3", "index +3", Index),
        ("index 3", "index -3", Index),
        ("index 3", "index ", Index),
        ("index 3", "index 3 ", Index),
        ("index 3", "index 7", Index),
        ("index 3", "index 1099511627776", Index),
        ("index 3", "index 18446744073709551619", Index),
        ("index 3", "Index 3", Form),
        ("index 3\n", "index 3\nindex 3\n", Form),
        ("index 3\n", "index 3\nextra AAAA\n", Form),
        ("index 3\n", "extra\nindex 3\n", Form),
        ("index 3\n", "extra AAA\nindex 3\n", Form),
        ("index 3\n", "extra AAB=\nindex 3\n", Form),
        ("index 3\n", "extra AAAA \nindex 3\n", Form),
        ("index 3\n", "extra AAAA\nextra AAAA\nindex 3\n", Form),
        ("VGL/", "VGL_", Form),
        ("N4k=\n", "N4k\n", Form),
        ("N4k=\n", "N4l=\n", Form),
        ("N4k=\n", "N4k= \n", Form),
        ("N4k=\n", "N4k=\r\n", Form),
        (FIRST, &FIRST.repeat(42), Form),
        (FIRST, "AAAA\n", Form),
    ] {
        let changed = PROOF_3_OF_7.replacen(from, to, 1);
        assert_ne!(changed, PROOF_3_OF_7);
        assert_eq!(changed.parse::<TlogProof>(), Err(expected), "{changed}");
    }
    for (from, to) in [
        (FIRST, "\n"),
        ("2oA=\n\n", "2oA=\n"),
        ("2oA=\n\n", "2oA=\n\n\n"),
        ("receipts\n7\n", "receipts\n07\n"),
        ("receipts\n7\n", "receipts\n1099511627777\n"),
        ("receipts\n7\n", "receipts\n7\n\n"),
        ("\n\n— log", "\n— log"),
    ] {
        let changed = PROOF_3_OF_7.replacen(from, to, 1);
        assert_ne!(changed, PROOF_3_OF_7);
        assert!(changed.parse::<TlogProof>().is_err(), "{changed}");
    }
    for end in (0..PROOF_3_OF_7.len()).filter(|&end| PROOF_3_OF_7.is_char_boundary(end)) {
        let cut = &PROOF_3_OF_7[..end];
        // Cut between its lines, a proof has lost a signature and is still one.
        assert!(cut.parse::<TlogProof>().is_err() || PROOF_3_OF_7[end..].starts_with("— witness"), "{cut}");
    }
}

/// Extra data is kept, an empty one too, and a wrong number of hashes is for verification to refuse.
#[test]
fn tlog_proofs_that_are_unusual() {
    for (from, to) in [
        ("index 3\n", "extra \nindex 3\n"),
        ("index 3\n", "extra AAA=\nindex 3\n"),
        ("VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=\n", ""),
    ] {
        let changed = PROOF_3_OF_7.replacen(from, to, 1);
        let parsed: TlogProof = changed.parse().unwrap();
        assert_eq!(parsed.to_string(), changed);
    }
}

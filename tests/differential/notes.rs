//! Notes, keys and checkpoints, signed by one side and verified by the other.

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::{Algorithm, KeyName, NoteSigner, VerifierKey},
    note::{Note, SignatureLine},
};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};

use crate::{
    dice::Dice,
    oracle::{size, theirs},
};

const NAMES: [&str; 4] = ["log.example/2026", "a", "лог.example", "log.example/with-dash_and.dot"];

fn ours(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn known(key: &VerifierKey) -> VerifierList {
    VerifierList::new(vec![Box::new(StandardVerifier::new(&key.to_string()).unwrap())])
}

fn they_verify(note: &str, key: &VerifierKey) -> bool {
    signed_note::Note::from_bytes(note.as_bytes()).is_ok_and(|note| note.verify(&known(key)).is_ok())
}

fn we_verify(note: &str, key: &VerifierKey) -> bool {
    note.parse::<Note>().is_ok_and(|note| note.verify(key).is_ok())
}

/// Keys in their text forms, and signatures byte for byte.
#[test]
fn notes_are_the_same_both_ways() {
    for (name, seed) in NAMES.into_iter().zip(1..) {
        let signer = ours(name, seed);
        let key = signer.public();
        let encoded = signed_note::key_id(name, &[&[1], key.as_bytes().as_slice()].concat());
        assert_eq!(format!("{encoded:08x}"), key.id().to_string());
        for text in ["text\n", "\n", "a\n\nb\n", "ünïcödé — \u{2028}\n", "\n\n\n"] {
            let mut note = Note::new(text.to_owned()).unwrap();
            note.sign(&signer);
            let mut other = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
            other.add_sigs(&[&StandardSigner::new(&signer.to_text()).unwrap()]).unwrap();
            let other = String::from_utf8(other.to_bytes()).unwrap();
            assert_eq!(note.to_string(), other);
            assert!(they_verify(&other, key) && we_verify(&other, key));
            let stranger = ours(name, 99);
            assert!(!they_verify(&other, stranger.public()) && !we_verify(&other, stranger.public()));
        }
    }
}

/// Every bit of a note flipped: both accept or both refuse. Theirs alone takes a DEL in the name of an unknown key.
#[test]
fn changed_notes_are_refused_alike() {
    let signer = ours("log.example", 7);
    let mut note = Note::new("one\n\ntwo\n".to_owned()).unwrap();
    note.sign(&signer);
    note.sign(&ours("other.example", 8));
    let text = note.to_string();
    for bit in 0..8 * text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = std::str::from_utf8(&bytes) else { continue };
        let (mine, other) = (we_verify(changed, signer.public()), they_verify(changed, signer.public()));
        assert!(mine == other || changed.contains('\u{7f}'), "bit {bit}: {changed:?}");
    }
}

/// Where they part: of several lines of one key theirs reads the first alone, as Go's does; here all must be good, as
/// C2SP signed-note demands.
#[test]
fn repeated_lines_are_judged_differently() {
    let signer = ours("log.example", 7);
    let mut note = Note::new("text\n".to_owned()).unwrap();
    note.sign(&signer);
    let good = note.signatures()[0].clone();
    note.push(SignatureLine { signature: vec![0; 64], ..good });
    let text = note.to_string();
    assert!(they_verify(&text, signer.public()) && !we_verify(&text, signer.public()));
}

/// Keys that one side refuses, the other does too.
#[test]
fn changed_keys_are_refused_alike() {
    let text = ours("log.example", 7).public().to_string();
    for at in 0..text.len() {
        for odd in ["", "+", " ", "0", "A", "a", "=", "/", "\u{a0}"] {
            let changed = [&text[..at], odd, &text[at + 1..]].concat();
            let (mine, other) = (changed.parse::<VerifierKey>(), StandardVerifier::new(&changed));
            // Theirs reads the id's hexadecimal digits in either case.
            let same_id = changed.eq_ignore_ascii_case(&text) && changed != text;
            assert!(mine.is_ok() == other.is_ok() || same_id, "{changed}");
        }
    }
}

/// Checkpoints of any size and root read the same on both sides, and print the same.
#[test]
fn checkpoints_are_the_same_both_ways() {
    let mut dice = Dice::new("checkpoints");
    let signer = ours("log.example/2026", 3);
    let origin = Origin::new("log.example/2026").unwrap();
    for _ in 0..100 {
        let (n, root) = (dice.size(1 << 40), Hash::leaf(&dice.below(u64::MAX).to_be_bytes()));
        let made = Checkpoint::new(origin.clone(), TreeHead { size: size(n), root });
        let other = tlog_tiles::Checkpoint::new(origin.as_str(), n, theirs(root), "").unwrap();
        assert_eq!(made.to_string().into_bytes(), other.to_bytes());
        assert_eq!(tlog_tiles::Checkpoint::from_bytes(made.to_string().as_bytes()).unwrap(), other);
        let signed = made.sign(&signer).to_string();
        assert!(they_verify(&signed, signer.public()));

        let mut note = signed_note::Note::new(&other.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&StandardSigner::new(&signer.to_text()).unwrap()]).unwrap();
        let read: SignedCheckpoint = String::from_utf8(note.to_bytes()).unwrap().parse().unwrap();
        assert_eq!(read.verify(signer.public()).unwrap().head(), made.head);
    }
}

/// A checkpoint that we read, they read alike; what they refuse, we refuse.
#[test]
fn changed_checkpoints_mean_the_same() {
    let root = Hash::leaf(b"root");
    let text = format!("log.example\n1234\n{}\nextension\n", root.to_base64());
    let odd = ["", "\n", "\n\n", "0", "9", "+", "-", "=", " ", "A", "B", "—"];
    for (at, _) in text.char_indices() {
        for replacement in odd {
            for end in [at, at + 1] {
                let changed = [&text[..at], replacement, &text[end..]].concat();
                let Ok(mine) = changed.parse::<Checkpoint>() else { continue };
                let other = tlog_tiles::Checkpoint::from_bytes(changed.as_bytes()).unwrap();
                assert_eq!(mine.origin.as_str(), other.origin());
                assert_eq!(mine.head.size.get(), other.size());
                assert_eq!(*other.hash(), theirs(mine.head.root));
                let extensions: String = mine.extensions().iter().map(|line| format!("{line}\n")).collect();
                assert_eq!(extensions, other.extension());
            }
        }
    }
}

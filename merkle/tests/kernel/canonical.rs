//! One text for one meaning: whatever parses prints back identically, however valid input was mutated.

use std::{fmt::Display, rc::Rc, str::FromStr};

use counterfoil_merkle::{
    Hash,
    checkpoint::{Checkpoint, SignedCheckpoint},
    evidence::ForkEvidence,
    growth::Growth,
    key::{NoteSigner, VerifierKey},
    note::Note,
    policy::Policy,
    tile::TilePath,
    tlogproof::TlogProof,
};
use proptest::{prelude::*, sample::Index};

use crate::{
    naive::{Tree, leaf, size},
    roles::{checkpoint, clock, log},
    vectors::PROOF_3_OF_7,
};

fn holds<T: FromStr + Display>(text: &str) {
    if let Ok(parsed) = text.parse::<T>() {
        assert_eq!(parsed.to_string(), text);
    }
}

fn hold_all(text: &str) {
    holds::<Note>(text);
    holds::<Checkpoint>(text);
    holds::<SignedCheckpoint>(text);
    holds::<TlogProof>(text);
    holds::<ForkEvidence>(text);
    holds::<TilePath>(text);
    holds::<VerifierKey>(text);
    holds::<Hash>(text);
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
    }
    if let Ok(signer) = text.parse::<NoteSigner>() {
        assert_eq!(*signer.to_text(), text);
    }
    // A policy has many texts; reading one must only not panic.
    let _ = text.parse::<Policy>();
}

fn fork() -> [ForkEvidence; 2] {
    let (one, other) = (Tree::of((0..5).map(leaf)), Tree::of((3..12).map(leaf)));
    let signed = |tree: &Tree| {
        let mut signed = checkpoint(tree.head()).sign(&log());
        signed.cosign(&clock(), 1);
        signed
    };
    let nodes = Growth::nodes(size(5), size(9)).unwrap();
    let growth = Growth::from_nodes(size(5), size(9), &other.nodes(&nodes)).unwrap();
    [
        ForkEvidence::same_size(signed(&one), signed(&Tree::of((3..8).map(leaf)))),
        ForkEvidence::grown(signed(&one), signed(&other), growth),
    ]
}

type Check = fn(&str);

/// Valid texts, each with the check of what it is.
fn valid_texts() -> Vec<(String, Check)> {
    let (_, note) = PROOF_3_OF_7.split_once("\n\n").unwrap();
    let [same_size, grown] = fork().map(|evidence| evidence.to_string());
    vec![
        ("text\n\nmore text\n\n— example.com/foo Uw2QOkn8srU=\n".to_owned(), holds::<Note>),
        (note.to_owned(), holds::<SignedCheckpoint>),
        (format!("{}\n", note.split_once("\n\n").unwrap().0), holds::<Checkpoint>),
        (note.replacen("0s=\n", "0s=\nextension\n", 1), holds::<SignedCheckpoint>),
        (PROOF_3_OF_7.to_owned(), holds::<TlogProof>),
        (PROOF_3_OF_7.replacen("index", "extra AAA=\nindex", 1), holds::<TlogProof>),
        (same_size, holds::<ForkEvidence>),
        (grown, holds::<ForkEvidence>),
        (log().public().to_string(), holds::<VerifierKey>),
        (log().to_text().to_string(), hold_all),
        (leaf(0).to_string(), holds::<Hash>),
        (leaf(0).to_base64(), hold_all),
        ("tile/0/x001/x234/067.p/8".to_owned(), holds::<TilePath>),
        ("tile/5/000.p/1".to_owned(), holds::<TilePath>),
        ("tile/entries/x001/000".to_owned(), holds::<TilePath>),
        ("statement/999.p/255".to_owned(), holds::<TilePath>),
        (
            format!("log {}\nwitness w {}\ngroup g 1 w\nquorum g\n", log().public(), clock().public()),
            hold_all,
        ),
    ]
}

const ODD: [&str; 24] = [
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    "+",
    "-",
    "=",
    "/",
    "0",
    "1",
    "9",
    "A",
    "B",
    "x",
    ".",
    "—",
    "\u{a0}",
    "\u{85}",
    "\u{2028}",
    "\n\n",
    "\n— a AAAAAAA=\n",
    "index ",
    "x000/",
];

/// Every position of every valid text: the character removed, doubled, and replaced by or preceded by odd ones.
#[test]
fn single_mutations_print_back() {
    for (text, check) in valid_texts() {
        hold_all(&text);
        for (at, old) in text.char_indices() {
            let (before, after) = (&text[..at], &text[at + old.len_utf8()..]);
            check(&format!("{before}{after}"));
            check(&format!("{before}{old}{old}{after}"));
            // In long texts every position meets some of them.
            let step = 1 + text.len() / 200;
            for odd in ODD.iter().skip(at % step).step_by(step) {
                check(&format!("{before}{odd}{after}"));
                check(&format!("{before}{odd}{old}{after}"));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Mutation {
    Remove(Index, Index),
    Insert(Index, Index),
    Copy(Index, Index, Index),
    Replace(Index, char),
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index()).prop_map(|(a, b)| Mutation::Remove(a, b)),
        (index(), index()).prop_map(|(a, b)| Mutation::Insert(a, b)),
        (index(), index(), index()).prop_map(|(a, b, c)| Mutation::Copy(a, b, c)),
        (index(), any::<char>()).prop_map(|(a, c)| Mutation::Replace(a, c)),
        (index(), index(), index()).prop_map(|(a, b, c)| Mutation::Splice(a, b, c)),
    ]
}

fn mutated(text: &str, mutation: &Mutation, corpus: &[String]) -> String {
    let boundaries: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let place = |index: &Index| boundaries[index.index(boundaries.len())];
    let span = |a: &Index, b: &Index| {
        let (a, b) = (place(a), place(b));
        (a.min(b), a.max(b))
    };
    match mutation {
        Mutation::Remove(a, b) => {
            let (start, end) = span(a, b);
            [&text[..start], &text[end..]].concat()
        }
        Mutation::Insert(at, odd) => {
            let (before, after) = text.split_at(place(at));
            [before, ODD[odd.index(ODD.len())], after].concat()
        }
        Mutation::Copy(at, a, b) => {
            let (before, after) = text.split_at(place(at));
            let (start, end) = span(a, b);
            [before, &text[start..end], after].concat()
        }
        Mutation::Replace(at, new) => {
            let (before, after) = text.split_at(place(at));
            let mut after = after.chars();
            after.next();
            format!("{before}{new}{}", after.as_str())
        }
        Mutation::Splice(which, at, from) => {
            let other: Vec<_> = corpus[which.index(corpus.len())].split_inclusive('\n').collect();
            let mut lines: Vec<_> = text.split_inclusive('\n').collect();
            lines.insert(at.index(lines.len() + 1), other[from.index(other.len())]);
            lines.concat()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_mutations_print_back(
        which in any::<Index>(),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        let corpus = CORPUS.with(Clone::clone);
        let mut text = corpus[which.index(corpus.len())].clone();
        for mutation in &mutations {
            text = mutated(&text, mutation, &corpus);
        }
        hold_all(&text);
    }

    #[test]
    fn tile_paths_have_one_text(path in "(tile/([0-6]|entries)|statement)(/x[0-9]{3}){0,3}/[0-9]{3}(\\.p/[0-9]{1,3})?") {
        holds::<TilePath>(&path);
    }
}

thread_local! {
    static CORPUS: Rc<Vec<String>> = Rc::new(valid_texts().into_iter().map(|(text, _)| text).collect());
}

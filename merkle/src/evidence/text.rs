//! Evidence as text. What parses prints back identically.
//!
//! ```text
//! fork-evidence/v1
//! kind consistency
//! origin <origin>
//! note a <bytes>
//! <signed note, verbatim>
//! note b <bytes>
//! <signed note, verbatim>
//! frontier <count>
//! <base64 of a hash, a line each>
//! right <count>
//! <base64 of a hash, a line each>
//! sha256 <hex of the digest of all lines above>
//! ```
//!
//! Of kind `same-size` the two lists are missing; in their place kind `index` has
//!
//! ```text
//! index <index>
//! leaf a <base64 of its hash>
//! path a <count>
//! <base64 of a hash, a line each>
//! leaf b <base64 of its hash>
//! path b <count>
//! <base64 of a hash, a line each>
//! ```
//!
//! Signature lines of keys other than the one that is convicted are carried along, for they tell who saw which history.
//! They prove nothing and nobody checks them; the digest makes a change to them a damaged file like any other.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use super::{
    Conflict, EVIDENCE_BYTES_MAX, EvidenceError, ForkEvidence, Growth, Hash, LeafIndex, LeafPath,
    PROOF_HASHES_MAX, SignedCheckpoint,
};

pub(super) const FORMAT: &str = "fork-evidence/v1";

/// Everything but the last line.
pub(super) fn body(evidence: &ForkEvidence) -> String {
    let mut text = String::new();
    write_body(evidence, &mut text).expect("a string takes whatever is written");
    text
}

fn write_body(evidence: &ForkEvidence, text: &mut String) -> fmt::Result {
    let ForkEvidence { a, b, conflict } = evidence;
    writeln!(text, "{FORMAT}\nkind {}\norigin {}", evidence.kind(), a.unverified().origin)?;
    for (name, note) in [("a", a), ("b", b)] {
        let note = note.to_string();
        write!(text, "note {name} {}\n{note}", note.len())?;
    }
    match conflict {
        Conflict::Roots => Ok(()),
        Conflict::Growth(growth) => {
            write_hashes(text, "frontier", growth.frontier())?;
            write_hashes(text, "right", growth.right())
        }
        Conflict::Leaves { index, a, b } => {
            writeln!(text, "index {index}")?;
            for (name, LeafPath { leaf, hashes }) in [("a", a), ("b", b)] {
                writeln!(text, "leaf {name} {}", leaf.to_base64())?;
                write_hashes(text, &format!("path {name}"), hashes)?;
            }
            Ok(())
        }
    }
}

fn write_hashes(text: &mut String, name: &str, hashes: &[Hash]) -> fmt::Result {
    writeln!(text, "{name} {}", hashes.len())?;
    hashes.iter().try_for_each(|hash| writeln!(text, "{}", hash.to_base64()))
}

impl fmt::Display for ForkEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = body(self);
        writeln!(f, "{body}sha256 {}", Hash::of(&[body.as_bytes()]))
    }
}

impl FromStr for ForkEvidence {
    type Err = EvidenceError;

    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        if text.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLong { got: text.len() });
        }
        let mut rest = text;
        if line(&mut rest) != Some(FORMAT) {
            return Err(form("the line fork-evidence/v1"));
        }
        let body = checked_body(text)?;
        let mut rest = &body[FORMAT.len() + 1..];
        let parsed = parse(&mut rest)?;
        if rest.is_empty() && self::body(&parsed) == body {
            Ok(parsed)
        } else {
            Err(EvidenceError::NotCanonical)
        }
    }
}

/// What comes before the last line, if that is its digest.
fn checked_body(text: &str) -> Result<&str, EvidenceError> {
    let missing = || form("the last line, sha256");
    let end = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).ok_or_else(missing)?;
    let (body, last) = text.split_at(end + 1);
    let stated = last.trim_end_matches('\n').strip_prefix("sha256 ").ok_or_else(missing)?;
    let computed = Hash::of(&[body.as_bytes()]);
    if stated != computed.to_string() {
        return Err(EvidenceError::Digest { stated: stated.to_owned(), computed });
    }
    Ok(body)
}

fn parse(rest: &mut &str) -> Result<ForkEvidence, EvidenceError> {
    let kind = after(rest, "kind ", "the kind")?;
    after(rest, "origin ", "the origin")?;
    let (a, b) = (note(rest, 'a')?, note(rest, 'b')?);
    match kind {
        "same-size" => Ok(ForkEvidence::same_size(a, b)),
        "consistency" => {
            let (old, new) = (a.unverified().head.size, b.unverified().head.size);
            let (frontier, right) = (hashes(rest, "frontier ")?, hashes(rest, "right ")?);
            Ok(ForkEvidence::grown(a, b, Growth::new(old, new, frontier, right)?))
        }
        "index" => {
            let index = number(after(rest, "index ", "the index")?, "the index")?;
            let index = LeafIndex::new(index)?;
            let in_a = leaf_path(rest, "leaf a ", "path a ")?;
            let in_b = leaf_path(rest, "leaf b ", "path b ")?;
            Ok(ForkEvidence::leaves(index, (a, in_a), (b, in_b)))
        }
        _ => Err(form("a kind that is known")),
    }
}

fn note(rest: &mut &str, name: char) -> Result<SignedCheckpoint, EvidenceError> {
    let length = number(after(rest, &format!("note {name} "), "a note")?, "a note's length")?;
    let length = usize::try_from(length).map_err(|_| form("a note's length"))?;
    let (note, after) = rest.split_at_checked(length).ok_or_else(|| form("the end of a note"))?;
    *rest = after;
    note.parse().map_err(|reason| EvidenceError::Note { note: name, reason })
}

fn leaf_path(rest: &mut &str, leaf: &str, path: &'static str) -> Result<LeafPath, EvidenceError> {
    let leaf = hash(after(rest, leaf, "a leaf")?)?;
    Ok(LeafPath { leaf, hashes: hashes(rest, path)? })
}

fn hashes(rest: &mut &str, name: &'static str) -> Result<Vec<Hash>, EvidenceError> {
    let count = number(after(rest, name, name)?, "a number of hashes")?;
    let got = usize::try_from(count).unwrap_or(usize::MAX);
    if got > PROOF_HASHES_MAX {
        return Err(EvidenceError::Hashes { got });
    }
    (0..got).map(|_| hash(line(rest).ok_or_else(|| form("a hash"))?)).collect()
}

fn hash(text: &str) -> Result<Hash, EvidenceError> {
    Hash::from_base64(text).map_err(|_| form("a hash"))
}

fn number(text: &str, expected: &'static str) -> Result<u64, EvidenceError> {
    text.parse().map_err(|_| form(expected))
}

fn after<'a>(rest: &mut &'a str, prefix: &str, expected: &'static str) -> Result<&'a str, EvidenceError> {
    line(rest).and_then(|line| line.strip_prefix(prefix)).ok_or_else(|| form(expected))
}

fn line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (line, after) = rest.split_once('\n')?;
    *rest = after;
    Some(line)
}

const fn form(expected: &'static str) -> EvidenceError {
    EvidenceError::Form { expected }
}

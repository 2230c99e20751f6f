//! Evidence as JSON, for machines: the same members in the same order, the notes as strings, one line.
//!
//! What parses prints back identically, so that text and JSON stand for one another byte for byte. The digest is that of
//! the text.

use serde_json::{Map, Value};

use super::{
    Conflict, EVIDENCE_JSON_BYTES_MAX, EvidenceError, ForkEvidence, Growth, Hash, LeafIndex, LeafPath,
    PROOF_HASHES_MAX, SignedCheckpoint, text::FORMAT,
};

impl ForkEvidence {
    /// The evidence as one line of JSON.
    pub fn to_json(&self) -> String {
        let string = |text: &str| Value::from(text);
        let hash = |hash: &Hash| Value::from(hash.to_base64());
        let list = |hashes: &[Hash]| hashes.iter().map(hash).collect::<Value>();
        let mut members = vec![
            ("format", string(FORMAT)),
            ("kind", string(self.kind())),
            ("origin", string(self.a.unverified().origin.as_str())),
            ("a", string(&self.a.to_string())),
            ("b", string(&self.b.to_string())),
        ];
        match &self.conflict {
            Conflict::Roots => {}
            Conflict::Growth(growth) => {
                members.extend([("frontier", list(growth.frontier())), ("right", list(growth.right()))]);
            }
            Conflict::Leaves { index, a, b } => members.extend([
                ("index", index.get().into()),
                ("leaf_a", hash(&a.leaf)),
                ("path_a", list(&a.hashes)),
                ("leaf_b", hash(&b.leaf)),
                ("path_b", list(&b.hashes)),
            ]),
        }
        members.push(("sha256", string(&self.id().to_string())));
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", members.join(","))
    }

    /// Reads what [`ForkEvidence::to_json`] prints, and nothing else.
    pub fn from_json(json: &str) -> Result<Self, EvidenceError> {
        if json.len() > EVIDENCE_JSON_BYTES_MAX {
            return Err(EvidenceError::TooLong { got: json.len() });
        }
        let value: Value = serde_json::from_str(json).map_err(|_| form("a JSON object"))?;
        let object = value.as_object().ok_or_else(|| form("a JSON object"))?;
        let parsed = parse(object)?;
        let computed = parsed.id();
        match text(object, "sha256")? {
            stated if stated != computed.to_string() => {
                Err(EvidenceError::Digest { stated: stated.to_owned(), computed })
            }
            _ if parsed.to_json() != json => Err(EvidenceError::NotCanonical),
            _ => Ok(parsed),
        }
    }

    /// Reads evidence in either form: JSON begins with a brace, and no text does.
    pub fn from_either(evidence: &str) -> Result<Self, EvidenceError> {
        if evidence.starts_with('{') { Self::from_json(evidence) } else { evidence.parse() }
    }
}

fn parse(object: &Map<String, Value>) -> Result<ForkEvidence, EvidenceError> {
    if text(object, "format")? != FORMAT {
        return Err(form("the format fork-evidence/v1"));
    }
    let (a, b) = (note(object, 'a', "a")?, note(object, 'b', "b")?);
    match text(object, "kind")? {
        "same-size" => Ok(ForkEvidence::same_size(a, b)),
        "consistency" => {
            let (old, new) = (a.unverified().head.size, b.unverified().head.size);
            let (frontier, right) = (hashes(object, "frontier")?, hashes(object, "right")?);
            Ok(ForkEvidence::grown(a, b, Growth::new(old, new, frontier, right)?))
        }
        "index" => {
            let index = object.get("index").and_then(Value::as_u64).ok_or_else(|| form("index"))?;
            let path = |leaf, path| -> Result<LeafPath, EvidenceError> {
                let leaf = Hash::from_base64(text(object, leaf)?).map_err(|_| form(leaf))?;
                Ok(LeafPath { leaf, hashes: hashes(object, path)? })
            };
            let (in_a, in_b) = (path("leaf_a", "path_a")?, path("leaf_b", "path_b")?);
            Ok(ForkEvidence::leaves(LeafIndex::new(index)?, (a, in_a), (b, in_b)))
        }
        _ => Err(form("a kind that is known")),
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, EvidenceError> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| form(name))
}

fn note(
    object: &Map<String, Value>,
    note: char,
    name: &'static str,
) -> Result<SignedCheckpoint, EvidenceError> {
    text(object, name)?.parse().map_err(|reason| EvidenceError::Note { note, reason })
}

fn hashes(object: &Map<String, Value>, name: &'static str) -> Result<Vec<Hash>, EvidenceError> {
    let list = object.get(name).and_then(Value::as_array).ok_or_else(|| form(name))?;
    if list.len() > PROOF_HASHES_MAX {
        return Err(EvidenceError::Hashes { got: list.len() });
    }
    let hash = |value: &Value| Hash::from_base64(value.as_str()?).ok();
    list.iter().map(|value| hash(value).ok_or_else(|| form(name))).collect()
}

const fn form(expected: &'static str) -> EvidenceError {
    EvidenceError::Form { expected }
}

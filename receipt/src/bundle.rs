//! The offline bundle: statement, entry and proof in one file that verifies for ever (`<id>.counterfoil.json`).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_merkle::{
    Hash,
    note::NOTE_BYTES_MAX,
    tlogproof::{TlogProof, TlogProofError},
};

use crate::{
    entry::{Entry, EntryError},
    envelope::STATEMENT_BYTES_MAX,
    json::{
        JsonError, Value,
        field::{Field, FieldError, Reason},
        write,
    },
};

/// The media type of a bundle, which also stands in it.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.counterfoil.bundle.v1+json";

/// Most bytes of a bundle: the longest statement in base64, and twice the longest checkpoint for its escapes.
pub const BUNDLE_BYTES_MAX: usize = 2 * STATEMENT_BYTES_MAX + 2 * NOTE_BYTES_MAX;

/// A record and the proof that a log has it. Only its form is checked: see [`crate::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The statement, byte for byte as it was signed; `None` if it was erased.
    pub statement: Option<Vec<u8>>,
    /// The leaf.
    pub entry: Entry,
    /// That a tree has the leaf, and the checkpoint of that tree.
    pub proof: TlogProof,
}

impl Bundle {
    /// Reads any JSON of a bundle: exactly its members, in any order; what they hold is canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLong { got: bytes.len() });
        }
        let value = Value::parse(bytes)?;
        let root = Field::root(&value);
        let mut members = root.object()?;
        members.required("mediaType")?.exactly(BUNDLE_MEDIA_TYPE)?;
        let statement = members.required("statement")?.nullable(read_statement)?;
        let (entry, proof) = (members.required("entry")?, members.required("proof")?);
        members.finish()?;
        Self::from_parts(statement, entry.string()?, proof.string()?)
    }

    /// Puts a bundle together from what a log answers.
    pub fn from_parts(statement: Option<Vec<u8>>, entry: &str, proof: &str) -> Result<Self, BundleError> {
        let entry = Entry::parse(entry.as_bytes())?;
        let proof: TlogProof = proof.parse()?;
        if proof.extra().is_some() {
            return Err(BundleError::Extra);
        }
        Ok(Self { statement, entry, proof })
    }

    /// Prints it as compact JSON.
    pub fn to_json(&self) -> String {
        write::object(|members| {
            members.string("mediaType", BUNDLE_MEDIA_TYPE);
            match &self.statement {
                Some(statement) => members.string("statement", &BASE64.encode(statement)),
                None => members.null("statement"),
            }
            members.string("entry", &String::from_utf8_lossy(&self.entry.to_bytes()));
            members.string("proof", &self.proof.to_string());
        })
    }

    /// The hash of the leaf.
    pub fn leaf(&self) -> Hash {
        self.entry.leaf_hash()
    }
}

fn read_statement(field: &Field<'_, '_>) -> Result<Vec<u8>, FieldError> {
    let bytes = BASE64.decode(field.string()?);
    let bytes = bytes.map_err(|_| field.error(Reason::Rule("must be standard base64 with padding")))?;
    if bytes.len() > STATEMENT_BYTES_MAX {
        return Err(field.error(Reason::TooLong { bytes_max: STATEMENT_BYTES_MAX, got: bytes.len() }));
    }
    Ok(bytes)
}

/// Why bytes are not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Too long to be one.
    #[error("a bundle has at most {BUNDLE_BYTES_MAX} bytes, this has {got}")]
    TooLong {
        /// How many bytes it has.
        got: usize,
    },
    /// It is no JSON that we read.
    #[error("bundle, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("bundle, {0}")]
    Field(#[from] FieldError),
    /// Its entry is none.
    #[error("bundle, entry: {0}")]
    Entry(#[from] EntryError),
    /// Its proof, or the checkpoint in it, is none.
    #[error("bundle, proof: {0}")]
    Proof(#[from] TlogProofError),
    /// Its proof has a line that nothing authenticates.
    #[error("bundle, proof: has an extra line, which bundles never have")]
    Extra,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    /// What the vectors' maker wrote is read, and printed the same up to the order of members.
    #[test]
    fn prints_what_it_reads() {
        let bundle = vectors::bundle();
        let json = bundle.to_json();
        assert_eq!(Bundle::parse(json.as_bytes()), Ok(bundle.clone()));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(Bundle::parse(pretty.as_bytes()), Ok(bundle.clone()));
        let erased = Bundle { statement: None, ..bundle };
        assert_eq!(Bundle::parse(erased.to_json().as_bytes()), Ok(erased));
    }

    #[test]
    fn malformed_bundles_say_where() {
        let good = vectors::bundle().to_json();
        let cases = [
            (good.replace("vnd.", "x."), "bundle, mediaType: must be application/vnd."),
            (
                good.replace("\"statement\":\"", "\"statement\":\"-"),
                "bundle, statement: must be standard base64",
            ),
            (good.replace("\"statement\"", "\"statements\""), "bundle, statement: required, but not there"),
            (good.replace("{\"mediaType\"", "{\"x\":1,\"mediaType\""), "bundle, x: unknown member"),
            (
                good.replace("\\\"about\\\":null", "\\\"about\\\": null"),
                "bundle, entry: the entry is not in canonical form",
            ),
            (good.replace("tlog-proof@v1", "tlog-proof@v2"), "bundle, proof: a tlog-proof begins with"),
            (
                good.replace("tlog-proof@v1\\n", "tlog-proof@v1\\nextra AA==\\n"),
                "bundle, proof: has an extra line",
            ),
            (good.replace("index ", "index 0"), "bundle, proof: a tlog-proof's index"),
            (good.clone() + "x", "bundle, byte "),
            (good.clone() + &" ".repeat(BUNDLE_BYTES_MAX), "a bundle has at most "),
        ];
        for (text, message) in cases {
            let refused = Bundle::parse(text.as_bytes()).expect_err(message).to_string();
            assert!(refused.starts_with(message), "{refused} is not {message}");
        }
    }
}

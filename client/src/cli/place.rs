//! How a person names a record: by index, by id or its beginning, or by leaf hash.

use std::str::FromStr;

use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Entry,
    bundle::{BUNDLE_BYTES_MAX, Bundle},
};

use super::No;
use crate::log::Log;

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its index.
    Index(LeafIndex),
    /// 64 hex digits: its id or its leaf hash.
    Hash(Hash),
    /// The first 32 hex digits of its id.
    IdStart(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(hash) = text.parse() {
            return Ok(Self::Hash(hash));
        }
        if text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self::IdStart(text.to_owned()));
        }
        let index = text.parse().ok().and_then(|index| LeafIndex::new(index).ok());
        index.map(Self::Index).ok_or_else(|| {
            "a record is named by its index, its id (64 hex digits, or the first 32), or its leaf hash"
                .to_owned()
        })
    }
}

impl Place {
    /// Fetches the bundle from the log. Nothing is checked but that it is of the record asked for.
    pub(super) async fn fetch(&self, log: &Log) -> anyhow::Result<Bundle> {
        let Some(api) = log.source().api() else { return self.assemble(log).await };
        let paths = match self {
            Self::Index(index) => vec![format!("v1/entries/{index}")],
            Self::Hash(hash) => vec![format!("v1/receipts/{hash}"), format!("v1/leaves/{hash}")],
            Self::IdStart(start) => vec![format!("v1/receipts/{start}")],
        };
        for path in paths {
            if let Some(bytes) = api.find(&path, BUNDLE_BYTES_MAX).await? {
                let bundle = Bundle::parse(&bytes)?;
                self.check(&bundle)?;
                return Ok(bundle);
            }
        }
        Err(No(format!("the log has no {self}")).into())
    }

    /// Puts the bundle together from the log's files.
    async fn assemble(&self, log: &Log) -> anyhow::Result<Bundle> {
        let Self::Index(index) = self else {
            anyhow::bail!("a directory finds records by index only; ids and leaf hashes take a server");
        };
        let checkpoint = log.checkpoint().await?.checkpoint;
        let head = checkpoint.head();
        if index.get() >= head.size.get() {
            return Err(No(format!("the log has no {self}, its size is {}", head.size)).into());
        }
        let entry = log.entry(*index, head.size).await?;
        let proof = log.prove(*index, Hash::leaf(&entry), head).await?;
        let statement = log.statement(*index, head.size).await?;
        let proof = counterfoil_merkle::tlogproof::TlogProof::new(proof, checkpoint.signed().clone())?;
        let entry = String::from_utf8_lossy(&entry);
        let statement = (!statement.is_empty()).then_some(statement);
        Ok(Bundle::from_parts(statement, &entry, &proof.to_string())?)
    }

    /// Whether this is the record at an index, with that leaf hash and entry.
    pub(super) fn is(&self, index: LeafIndex, leaf: Hash, entry: &Entry) -> bool {
        match self {
            Self::Index(own) => *own == index,
            Self::Hash(hash) => entry.id.as_bytes() == hash.as_bytes() || leaf == *hash,
            Self::IdStart(start) => entry.id.to_string().starts_with(start),
        }
    }

    fn check(&self, bundle: &Bundle) -> Result<(), No> {
        if self.is(bundle.proof.index(), bundle.leaf(), &bundle.entry) {
            Ok(())
        } else {
            Err(No(format!("the log answers with another record than {self}")))
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "record at index {index}"),
            Self::Hash(hash) => write!(f, "record with id or leaf hash {hash}"),
            Self::IdStart(start) => write!(f, "record whose id begins with {start}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_three_names() {
        assert_eq!("17".parse(), Ok(Place::Index(LeafIndex::new(17).unwrap())));
        assert_eq!("ab".repeat(32).parse(), Ok(Place::Hash(Hash::new([0xab; 32]))));
        assert_eq!("0".repeat(32).parse(), Ok(Place::IdStart("0".repeat(32))));
        for text in ["", "-1", "AB", "1099511627776", &"AB".repeat(32), &"g".repeat(32)] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}

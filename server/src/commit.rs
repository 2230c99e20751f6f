//! Commit records: one batch of entries with their statements, bound to the record before it.
//!
//! `counterfoil-commit/v1` LF, a header in canonical JSON, LF, then for each entry its length and bytes and the
//! statement's length and bytes, then the SHA-256 of all before.

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, TreeHead, TreeSize,
    bundle::{push_item, split_item},
};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"counterfoil-commit/v1\n";
const HEADER_BYTES_MAX: usize = 512;

/// The digest that the first record names as that of the record before it.
pub const NO_DIGEST: Hash = Hash::new([0; Hash::BYTES]);

/// What a record says of its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position in the chain, from 1.
    pub number: u64,
    /// Digest of the record before.
    pub previous: Hash,
    /// Fresh for each attempt, so that two attempts at one batch never have the same bytes.
    pub nonce: [u8; 16],
    /// The tree before.
    pub old: TreeHead,
    /// The tree after.
    pub new: TreeHead,
}

/// One entry and the statement it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The leaf's bytes.
    pub entry: Bytes,
    /// The statement's bytes; empty if it was erased.
    pub statement: Bytes,
}

/// A parsed commit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// Its place in the chain.
    pub header: Header,
    /// Its entries in the order of their indexes.
    pub items: Vec<Item>,
    /// SHA-256 of all before it: what the next record names.
    pub digest: Hash,
}

impl CommitRecord {
    /// The bytes of the record with this header and these items, and their digest.
    ///
    /// # Panics
    /// If the items are not as many as the header says, or one is longer than 65,535 bytes.
    pub fn format<'a>(header: &Header, items: impl Iterator<Item = &'a Item> + Clone) -> (Vec<u8>, Hash) {
        let grown = header.new.size.get() - header.old.size.get();
        assert_eq!(items.clone().count() as u64, grown, "a commit has one item a leaf");
        let length: usize = items.clone().map(|item| 4 + item.entry.len() + item.statement.len()).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + HEADER_BYTES_MAX + length + Hash::BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&format_header(header));
        bytes.push(b'\n');
        for item in items {
            push_item(&mut bytes, &item.entry);
            push_item(&mut bytes, &item.statement);
        }
        let digest = Hash::of(&[&bytes]);
        bytes.extend_from_slice(digest.as_bytes());
        (bytes, digest)
    }

    /// Reads a record; its items share the memory of `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Self, CommitError> {
        let Parts { header, items, digest } = Parts::parse(bytes)?;
        let share = |(entry, statement)| Item {
            entry: bytes.slice_ref(entry),
            statement: bytes.slice_ref(statement),
        };
        Ok(Self { header, items: items.into_iter().map(share).collect(), digest })
    }
}

/// A commit record taken apart where it lies.
pub struct Parts<'a> {
    /// Its place in the chain.
    pub header: Header,
    /// Its entries in the order of their indexes, each with the statement it is about.
    pub items: Vec<(&'a [u8], &'a [u8])>,
    /// SHA-256 of all before it.
    pub digest: Hash,
}

impl<'a> Parts<'a> {
    /// Reads a record.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CommitError> {
        let (body, digest) = bytes.split_last_chunk::<{ Hash::BYTES }>().ok_or(CommitError::Form)?;
        let digest = Hash::new(*digest);
        if Hash::of(&[body]) != digest {
            return Err(CommitError::Digest);
        }
        let rest = body.strip_prefix(MAGIC).ok_or(CommitError::Form)?;
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(CommitError::Form)?;
        let header = parse_header(&rest[..end])?;
        let mut rest = &rest[end + 1..];
        let mut items = Vec::new();
        while !rest.is_empty() {
            let (entry, after) = split_item(rest).ok_or(CommitError::Form)?;
            let (statement, after) = split_item(after).ok_or(CommitError::Form)?;
            items.push((entry, statement));
            rest = after;
        }
        let expected = header.new.size.get().checked_sub(header.old.size.get());
        if expected != Some(items.len() as u64) {
            return Err(CommitError::Count { got: items.len() });
        }
        Ok(Self { header, items, digest })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadJson {
    size: u64,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderJson {
    number: u64,
    previous: String,
    nonce: String,
    old: HeadJson,
    new: HeadJson,
}

fn format_header(header: &Header) -> Vec<u8> {
    let head = |head: TreeHead| HeadJson { size: head.size.get(), root: head.root.to_string() };
    let json = HeaderJson {
        number: header.number,
        previous: header.previous.to_string(),
        nonce: format!("{:032x}", u128::from_be_bytes(header.nonce)),
        old: head(header.old),
        new: head(header.new),
    };
    serde_json::to_vec(&json).expect("a header is plain JSON")
}

fn parse_header(bytes: &[u8]) -> Result<Header, CommitError> {
    let json: HeaderJson = serde_json::from_slice(bytes).map_err(|_| CommitError::Header)?;
    let head = |json: &HeadJson| {
        let size = TreeSize::new(json.size).map_err(|_| CommitError::Header)?;
        let root = json.root.parse().map_err(|_| CommitError::Header)?;
        Ok::<_, CommitError>(TreeHead { size, root })
    };
    let nonce = u128::from_str_radix(&json.nonce, 16).map_err(|_| CommitError::Header)?;
    let header = Header {
        number: json.number,
        previous: json.previous.parse().map_err(|_| CommitError::Header)?,
        nonce: nonce.to_be_bytes(),
        old: head(&json.old)?,
        new: head(&json.new)?,
    };
    // Canonical: what parses prints back identically.
    if format_header(&header) == bytes { Ok(header) } else { Err(CommitError::Header) }
}

/// Why bytes are not a commit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Torn, or something else.
    #[error("not a commit record")]
    Form,
    /// The digest is not that of the bytes.
    #[error("the commit record's digest does not match its bytes")]
    Digest,
    /// The header is not canonical, or not a header.
    #[error("the commit record's header is malformed")]
    Header,
    /// Not one item a leaf.
    #[error("the commit record has {got} entries, another number than its sizes say")]
    Count {
        /// How many it has.
        got: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let item = |entry, statement| Item {
            entry: Bytes::from_static(entry),
            statement: Bytes::from_static(statement),
        };
        let items = [item(b"entry 0", b"statement 0"), item(b"entry 1", b"")];
        let root = Hash::node(Hash::leaf(b"entry 0"), Hash::leaf(b"entry 1"));
        let header = Header {
            number: 1,
            previous: NO_DIGEST,
            nonce: [7; 16],
            old: TreeHead::EMPTY,
            new: TreeHead { size: TreeSize::new(2).unwrap(), root },
        };
        CommitRecord::format(&header, items.iter()).0
    }

    /// No byte can be changed, dropped or added unnoticed.
    #[test]
    fn the_digest_covers_everything() {
        let bytes = record();
        let parsed = CommitRecord::parse(&Bytes::from(bytes.clone())).unwrap();
        assert_eq!(CommitRecord::format(&parsed.header, parsed.items.iter()), (bytes.clone(), parsed.digest));
        for offset in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 1;
            assert!(CommitRecord::parse(&Bytes::from(damaged)).is_err(), "byte {offset}");
            assert!(
                CommitRecord::parse(&Bytes::copy_from_slice(&bytes[..offset])).is_err(),
                "cut at {offset}"
            );
        }
    }

    /// A header that means the same but is written otherwise is refused, with a right digest too.
    #[test]
    fn headers_have_one_form() {
        let text = String::from_utf8_lossy(&record()).into_owned();
        let header = text.lines().nth(1).unwrap();
        assert!(parse_header(header.as_bytes()).is_ok());
        for (from, to) in [
            ("{\"number\"", "{ \"number\""),
            ("\"number\":1", "\"number\":1,\"number\":1"),
            ("0707", "0G07"),
            ("\"size\":2", "\"size\":2,\"more\":0"),
            ("\"size\":2", "\"size\":1099511627777"),
        ] {
            let other = header.replacen(from, to, 1);
            assert_ne!(other, header);
            assert_eq!(parse_header(other.as_bytes()), Err(CommitError::Header), "{other}");
        }
    }
}

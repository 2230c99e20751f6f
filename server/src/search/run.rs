//! One run of the index as a file: what 65,536 consecutive entries can be found by.
//!
//! A head that says which entries it is of (by the tree node over them) and where each part begins; then parts of some 16 KB, each
//! with its digest in the head, so that a look-up reads one part and knows that it is whole:
//! the first is the time of every 256th entry, the others hold records sorted by digest, `digest | u16 length | set or summary`.

use counterfoil_merkle::Hash;

use super::{digest::Digest, positions::Positions, summary::Summary};
use crate::index::runs::RUN_ENTRIES;

const MAGIC: &[u8; 22] = b"counterfoil-search/v1\n";

/// Bytes of a head before its parts: magic, number, tree node, first and last time, number of parts.
pub const HEAD_BYTES: usize = MAGIC.len() + 8 + Hash::BYTES + 8 + 8 + 4;

const PART_BYTES_MAX: usize = 16 * 1024;
const PART_DIGEST_BYTES: usize = 16;
const PLACE_BYTES: usize = Digest::BYTES + 4 + PART_DIGEST_BYTES;

/// More parts than any run has: each record takes 12 bytes at least, and an entry has at most a dozen and a summary.
const PARTS_MAX: u32 = 1 << 14;

/// Entries between two times.
pub const STEP: usize = 256;

/// A run in memory, as it goes into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its place in the log, counted in runs.
    pub number: u64,
    /// The tree node over its entries.
    pub node: Hash,
    /// The times of its first and last entry.
    pub span: (u64, u64),
    /// The time of each 256th entry.
    pub times: Vec<u64>,
    /// Sets of places by digest of terms, and summaries of issuers: bytes, sorted by digest.
    pub records: Vec<(Digest, Vec<u8>)>,
}

impl Run {
    /// Its bytes.
    ///
    /// # Panics
    /// If the records are not sorted.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(self.records.is_sorted_by(|a, b| a.0 < b.0), "records are sorted, none twice");
        let times: Vec<u8> = self.times.iter().flat_map(|time| time.to_be_bytes()).collect();
        let mut parts = vec![(Digest([0; Digest::BYTES]), times)];
        let mut open: Option<(Digest, Vec<u8>)> = None;
        for (digest, payload) in &self.records {
            let (_, part) = open.get_or_insert_with(|| (*digest, Vec::new()));
            part.extend_from_slice(&digest.0);
            part.extend_from_slice(&u16::try_from(payload.len()).expect("8 KB at most").to_be_bytes());
            part.extend_from_slice(payload);
            if part.len() >= PART_BYTES_MAX {
                parts.extend(open.take());
            }
        }
        parts.extend(open);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(self.node.as_bytes());
        bytes.extend_from_slice(&self.span.0.to_be_bytes());
        bytes.extend_from_slice(&self.span.1.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(parts.len()).expect("few").to_be_bytes());
        for (first, part) in &parts {
            bytes.extend_from_slice(&first.0);
            bytes.extend_from_slice(&u32::try_from(part.len()).expect("some 24 KB").to_be_bytes());
            bytes.extend_from_slice(&part_digest(part));
        }
        let digest = Hash::of(&[&bytes]);
        bytes.extend_from_slice(digest.as_bytes());
        parts.iter().for_each(|(_, part)| bytes.extend_from_slice(part));
        bytes
    }

    /// Reads a whole file.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, parts) = Head::read(bytes)?;
        let all: Option<Vec<&[u8]>> =
            head.parts.iter().map(|part| part.check(parts.get(part.range())?)).collect();
        let all = all?;
        let times = times_of(all.first()?);
        let records = all[1..]
            .iter()
            .flat_map(|part| records(part))
            .map(|(digest, payload)| (digest, payload.to_vec()));
        Some(Self {
            number: head.number,
            node: head.node,
            span: head.span,
            times,
            records: records.collect(),
        })
    }

    /// Takes places out of every set that came from statements; says whether there was any.
    pub fn forget(&mut self, places: &[u16]) -> bool {
        let mut any = false;
        for (digest, payload) in &mut self.records {
            if *digest < Digest::OF_STATEMENTS || *digest >= Digest::OF_SUMMARIES {
                continue;
            }
            let Some(mut set) = Positions::read(payload) else { continue };
            // Every one of them, not just the first.
            let gone = places.iter().filter(|place| set.remove(**place)).count();
            if gone > 0 {
                any = true;
                payload.clear();
                set.write(payload);
            }
        }
        self.records.retain(|(_, payload)| !payload.is_empty());
        any
    }
}

/// What is kept of a run in memory: some 28 bytes for every 16 KB of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its place in the log, counted in runs.
    pub number: u64,
    /// The tree node over its entries.
    pub node: Hash,
    /// The times of its first and last entry.
    pub span: (u64, u64),
    parts: Vec<Part>,
    /// Bytes of head and places.
    length: usize,
}

/// Where a part is, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    first: Digest,
    start: u32,
    length: u32,
    digest: [u8; PART_DIGEST_BYTES],
}

impl Head {
    /// How long the head is, by its first [`HEAD_BYTES`].
    pub fn length(start: &[u8; HEAD_BYTES]) -> Option<usize> {
        let parts = u32::from_be_bytes(*start.last_chunk()?);
        (start.starts_with(MAGIC) && parts <= PARTS_MAX)
            .then(|| HEAD_BYTES + parts as usize * PLACE_BYTES + Hash::BYTES)
    }

    /// Reads a head, and gives what follows it.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = Self::length(bytes.first_chunk()?)?;
        let (head, rest) = bytes.split_at_checked(length)?;
        let (said, digest) = head.split_last_chunk::<{ Hash::BYTES }>()?;
        if Hash::of(&[said]).as_bytes() != digest {
            return None;
        }
        let said = &said[MAGIC.len()..];
        let (number, said) = said.split_first_chunk()?;
        let (node, said) = said.split_first_chunk()?;
        let (from, said) = said.split_first_chunk()?;
        let (to, said) = said.split_first_chunk()?;
        let (_, places) = said.split_first_chunk::<4>()?;
        let mut start = 0;
        let mut parts = Vec::new();
        for place in places.as_chunks::<PLACE_BYTES>().0 {
            let (first, place) = place.split_first_chunk()?;
            let (bytes, digest) = place.split_first_chunk()?;
            let length = u32::from_be_bytes(*bytes);
            parts.push(Part { first: Digest(*first), start, length, digest: *digest.first_chunk()? });
            start = start.checked_add(length)?;
        }
        let span = (u64::from_be_bytes(*from), u64::from_be_bytes(*to));
        let head = Self { number: u64::from_be_bytes(*number), node: Hash::new(*node), span, parts, length };
        Some((head, rest))
    }

    /// The part that holds the times.
    pub fn times(&self) -> Option<&Part> {
        self.parts.first()
    }

    /// The part that a digest would be in.
    pub fn part(&self, digest: Digest) -> Option<&Part> {
        let parts = self.parts.get(1..)?;
        parts[..parts.partition_point(|part| part.first <= digest)].last()
    }

    /// Where a part begins in the file, and how long it is.
    pub fn place(&self, part: &Part) -> (u64, usize) {
        (self.length as u64 + u64::from(part.start), part.length as usize)
    }
}

impl Part {
    /// The bytes, if they are those that were written.
    pub fn check<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        (part_digest(bytes) == self.digest).then_some(bytes)
    }

    const fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

/// What a part has under a digest.
pub fn find(part: &[u8], digest: Digest) -> Option<&[u8]> {
    records(part).find(|(found, _)| *found == digest).map(|(_, payload)| payload)
}

/// What a part has under a digest, as a set of places.
pub fn find_positions(part: &[u8], digest: Digest) -> Option<Positions> {
    find(part, digest).and_then(Positions::read)
}

/// What a part has under a digest, as a summary.
pub fn find_summary(part: &[u8], digest: Digest) -> Option<Summary> {
    find(part, digest).and_then(Summary::read)
}

/// The times in the first part.
pub fn times_of(part: &[u8]) -> Vec<u64> {
    part.as_chunks().0.iter().map(|time| u64::from_be_bytes(*time)).collect()
}

fn records(part: &[u8]) -> impl Iterator<Item = (Digest, &[u8])> {
    let mut rest = part;
    std::iter::from_fn(move || {
        let (digest, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (payload, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some((Digest(*digest), payload))
    })
}

fn part_digest(bytes: &[u8]) -> [u8; PART_DIGEST_BYTES] {
    *Hash::of(&[bytes]).as_bytes().first_chunk().expect("16 of 32 bytes")
}

const _: () = assert!(RUN_ENTRIES.is_multiple_of(STEP), "times are those of whole bundles");

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let records = |n: u32| {
            let mut digest: [u8; 8] = *Hash::leaf(&n.to_be_bytes()).as_bytes().first_chunk().unwrap();
            let mut payload = Vec::new();
            match n % 3 {
                0 => digest[0] &= 0x7f,
                1 => digest[0] = digest[0] & 0x3f | 0x80,
                _ => digest[0] |= 0xc0,
            }
            let places: Vec<u16> =
                (0..=u16::try_from(n % 5).unwrap()).map(|k| u16::try_from(n).unwrap() + k).collect();
            Positions::of(&places).write(&mut payload);
            (Digest(digest), payload)
        };
        let mut records: Vec<_> = (0..9_000).map(records).collect();
        records.sort();
        Run { number: 7, node: Hash::leaf(b"node"), span: (3, 900), times: (0..256).collect(), records }
    }

    /// A run reads back; each record is found in the part that the head names; whatever byte is changed is noticed.
    #[test]
    fn runs_read_back_and_notice_damage() {
        let run = run();
        let mut bytes = run.to_bytes();
        assert_eq!(Run::from_bytes(&bytes).as_ref(), Some(&run));
        let (head, rest) = Head::read(&bytes).unwrap();
        assert_eq!(Head::length(bytes.first_chunk().unwrap()), Some(bytes.len() - rest.len()));
        for (digest, payload) in &run.records {
            let part = head.part(*digest).unwrap();
            let (start, length) = head.place(part);
            let start = usize::try_from(start).unwrap();
            let part = part.check(&bytes[start..start + length]).unwrap();
            assert_eq!(find(part, *digest), Some(payload.as_slice()));
        }
        assert_eq!(head.part(Digest([0; 8])), None);
        let length = bytes.len();
        for at in (0..length).step_by(467).chain([length - 1]) {
            bytes[at] ^= 0x10;
            assert_eq!(Run::from_bytes(&bytes), None, "byte {at}");
            bytes[at] ^= 0x10;
        }
        assert_eq!(Run::from_bytes(&bytes[..length - 1]), None);
    }

    /// What came from a statement goes, and nothing else does.
    #[test]
    fn forgetting_takes_a_place_out_of_statements_terms() {
        let mut forgotten = run();
        assert!(forgotten.forget(&[100, 4_000]));
        assert!(!forgotten.forget(&[100, 4_000]), "it is gone");
        let before = run();
        for (digest, payload) in &before.records {
            let now = forgotten.records.iter().find(|record| record.0 == *digest).map(|(_, payload)| payload);
            if *digest < Digest::OF_STATEMENTS || *digest >= Digest::OF_SUMMARIES {
                assert_eq!(now, Some(payload));
                continue;
            }
            let list = |bytes: &[u8]| {
                let set = Positions::read(bytes).unwrap();
                set.within(0..RUN_ENTRIES, crate::search::Order::Oldest).collect::<Vec<_>>()
            };
            let mut expected = list(payload);
            expected.retain(|place| ![100, 4_000].contains(place));
            assert_eq!(now.map(|bytes| list(bytes)).unwrap_or_default(), expected);
        }
    }
}

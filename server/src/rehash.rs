//! Hashing the stored log again: each full bundle's entries up to the hash tiles, each statement to its entry's id.
//!
//! Backup and scrubber are shells over it: they say where objects are read from and how fast. No signature is checked, which
//! is for [`crate::fsck`]: what was admitted and reads back as the same bytes is still what was admitted.

use std::fmt;

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, TreeHead,
    bundle::{BundleError, parse_bundle},
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use counterfoil_receipt::{Entry, Id};

use crate::tiles::ReadError;

/// The first so many full bundles of a log, hashed again.
#[derive(Clone, Debug, Default)]
pub struct Rehash {
    frontier: Frontier,
    bundles: u64,
}

/// What was read for one bundle, and is as it must be.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The bundles of entries and statements, and the hash tiles that they complete, lowest first.
    pub objects: Vec<(TilePath, Bytes)>,
    /// The entries whose statements are gone. Whether they were ordered to go is for the caller to say.
    pub empty: Vec<LeafIndex>,
}

impl Checked {
    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

impl Rehash {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bundles were taken.
    pub const fn bundles(&self) -> u64 {
        self.bundles
    }

    /// Size and root of what was taken, with further entries above it.
    pub fn head_with<'a>(&self, ragged: impl IntoIterator<Item = &'a [u8]>) -> Result<TreeHead, ReadError> {
        let mut frontier = self.frontier.clone();
        for entry in ragged {
            frontier.push(Hash::leaf(entry), |_| {})?;
        }
        Ok(frontier.head())
    }

    /// Takes the next bundle. On an error nothing changes, and it can be tried again.
    ///
    /// Costs some 800 hashes, and memory for the bundle: 12 MB at most.
    pub fn next(
        &mut self,
        mut read: impl FnMut(TilePath) -> Result<Bytes, ReadError>,
    ) -> Result<Checked, Fault> {
        let index = self.bundles;
        let entries = read_bundle(TilePath::full(TileKind::Entries, index), &mut read)?;
        let statements = read_bundle(TilePath::full(TileKind::Statements, index), &mut read)?;
        let (mut frontier, mut filled) = (self.frontier.clone(), Vec::new());
        for entry in &entries.items {
            frontier.push(Hash::leaf(entry), |tile| filled.push(tile)).map_err(ReadError::from)?;
        }
        let mut objects = vec![(entries.path, entries.bytes), (statements.path, statements.bytes)];
        for tile in filled {
            let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
            let (stored, expected) = (read(path)?, tile.tree.to_bytes(TILE_WIDTH));
            if *stored != *expected {
                return Err(Damage::of_tile(path, &stored, &expected).into());
            }
            objects.push((path, stored));
        }
        let mut empty = Vec::new();
        for (slot, (entry, statement)) in entries.items.iter().zip(&statements.items).enumerate() {
            let leaf = LeafIndex::new(index * TILE_WIDTH + slot as u64).map_err(ReadError::from)?;
            if statement.is_empty() {
                empty.push(leaf);
            } else if Entry::parse(entry).is_ok_and(|entry| entry.id != Id::of_statement(statement)) {
                return Err(Damage { path: statements.path, how: How::Statement { leaf } }.into());
            }
        }
        (self.frontier, self.bundles) = (frontier, index + 1);
        Ok(Checked { objects, empty })
    }
}

struct Bundle {
    path: TilePath,
    bytes: Bytes,
    items: Vec<Bytes>,
}

fn read_bundle(
    path: TilePath,
    read: &mut impl FnMut(TilePath) -> Result<Bytes, ReadError>,
) -> Result<Bundle, Fault> {
    let bytes = read(path)?;
    let items = parse_bundle(&bytes).map_err(|error| Damage { path, how: How::Bundle(error) })?;
    if items.len() as u64 != TILE_WIDTH {
        return Err(Damage { path, how: How::Items { got: items.len() } }.into());
    }
    let items = items.into_iter().map(|item| bytes.slice_ref(item)).collect();
    Ok(Bundle { path, bytes, items })
}

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An object is missing or could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An object is not what it must be.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// An object that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is damaged: {how}")]
pub struct Damage {
    /// Which.
    pub path: TilePath,
    /// How.
    pub how: How,
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// Not a bundle.
    Bundle(BundleError),
    /// A bundle of another number of items.
    Items {
        /// How many.
        got: usize,
    },
    /// A hash tile of another length.
    Length {
        /// How many bytes.
        got: usize,
    },
    /// A hash is not what lies below gives.
    Hash {
        /// Which of the tile, from 0.
        position: usize,
        /// The object that the hash is of, if it is one of entries: that may be the damaged one as well.
        below: TilePath,
    },
    /// A statement is not the one that its entry names.
    Statement {
        /// Whose.
        leaf: LeafIndex,
    },
    /// A slot is empty, and no record orders that.
    Unexplained {
        /// Whose.
        leaf: LeafIndex,
    },
}

impl Damage {
    fn of_tile(path: TilePath, stored: &[u8], expected: &[u8]) -> Self {
        let differs = stored.iter().zip(expected).position(|(stored, expected)| stored != expected);
        let how = match differs.filter(|_| stored.len() == expected.len()) {
            Some(byte) => {
                let position = byte / Hash::BYTES;
                let below = match path.kind {
                    TileKind::Hashes(level @ 1..) => {
                        let below = path.index * TILE_WIDTH + position as u64;
                        TilePath::full(TileKind::Hashes(level - 1), below)
                    }
                    _ => TilePath::full(TileKind::Entries, path.index),
                };
                How::Hash { position, below }
            }
            None => How::Length { got: stored.len() },
        };
        Self { path, how }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(error) => error.fmt(f),
            Self::Items { got } => write!(f, "it has {got} items, not {TILE_WIDTH}"),
            Self::Length { got } => write!(f, "it has {got} bytes, not those of {TILE_WIDTH} hashes"),
            Self::Hash { position, below } => {
                write!(
                    f,
                    "its hash {position} is not that of what {below} holds; if not this one, that one is"
                )
            }
            Self::Statement { leaf } => {
                write!(f, "the statement of entry {leaf} is not the one that it names")
            }
            Self::Unexplained { leaf } => {
                write!(f, "the statement of entry {leaf} is gone, and no record orders that")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        recover::grow,
        sequencer::Sequencer,
        testing::{admitted, at},
        tiles::Edge,
    };

    /// The objects of a log of two full bundles and a ragged one, and its edge.
    fn log() -> (BTreeMap<TilePath, Bytes>, Edge) {
        let sequencer = Sequencer::new(Frontier::new(), 0, crate::commit::NO_DIGEST, at(5));
        let sealed = sequencer.seal(at(5), [1; 16], (0..520).map(admitted).collect()).unwrap();
        let (mut edge, mut objects) = (Edge::default(), BTreeMap::new());
        for leaf in sealed.leaves {
            objects.extend(grow(&mut edge, leaf.item, leaf.hash).unwrap());
        }
        (objects, edge)
    }

    fn take(objects: &BTreeMap<TilePath, Bytes>) -> Result<(Rehash, Vec<LeafIndex>), Fault> {
        let (mut rehash, mut empty) = (Rehash::new(), Vec::new());
        for _ in 0..2 {
            let read = |path| objects.get(&path).cloned().ok_or(ReadError::Missing { path });
            empty.extend(rehash.next(read)?.empty);
        }
        Ok((rehash, empty))
    }

    /// What is as it was written leads to the log's own root.
    #[test]
    fn a_log_in_order_gives_its_root() {
        let (objects, edge) = log();
        let (rehash, empty) = take(&objects).unwrap();
        let ragged = edge.items.iter().map(|item| &*item.entry);
        assert_eq!(rehash.head_with(ragged).unwrap(), edge.frontier.head());
        assert!(empty.is_empty());
    }

    /// Whatever bit is flipped in whatever object, or wherever it is cut, that is found, and the message names the object.
    #[test]
    fn any_flipped_bit_is_found_and_named() {
        let (objects, _) = log();
        for (path, bytes) in &objects {
            for offset in (0..bytes.len()).step_by(bytes.len() / 11) {
                let mut damaged = bytes.to_vec();
                damaged[offset] ^= 1 << (offset % 8);
                for damaged in [damaged, bytes[..offset].to_vec()] {
                    let mut objects = objects.clone();
                    objects.insert(*path, damaged.into());
                    let fault = take(&objects).map(drop).expect_err("damage");
                    let Fault::Damaged(damage) = &fault else { panic!("{path}, byte {offset}: {fault}") };
                    assert!(damage.to_string().contains(&path.to_string()), "byte {offset}: {damage}");
                }
            }
        }
    }

    /// An object that is not there is told from one that is damaged.
    #[test]
    fn a_missing_object_is_named() {
        let (objects, _) = log();
        for path in objects.keys() {
            let mut objects = objects.clone();
            objects.remove(path);
            let fault = take(&objects).map(drop).expect_err("a missing object");
            assert!(matches!(&fault, Fault::Read(ReadError::Missing { path: missing }) if missing == path));
        }
    }

    /// An empty slot is handed out, and is no damage by itself.
    #[test]
    fn empty_slots_are_handed_out() {
        let (mut objects, _) = log();
        let path = TilePath::full(TileKind::Statements, 1);
        let left = counterfoil_merkle::bundle::empty_items(&objects[&path], |slot| slot == 7).unwrap();
        objects.insert(path, left.into());
        assert_eq!(take(&objects).unwrap().1, [LeafIndex::new(263).unwrap()]);
    }
}

//! One bundle of entries with its statements and its hash tile: all that can be done with it before its turn comes.

use bytes::Bytes;
use counterfoil_merkle::{
    Hash,
    tile::{TileKind, TilePath, TileTree},
};
use counterfoil_receipt::audit::{Code, Leaf, Place, Report, Slot, served};

use super::{
    outline::Expected,
    reader::{Answer, Reader},
};

/// Which bundle, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its index.
    pub(super) index: u64,
    /// How many entries it has.
    pub(super) width: u64,
    /// How many of them were verified before.
    pub(super) known: usize,
    /// Whether statements are asked for.
    pub(super) statements: bool,
}

/// A bundle as it was served.
#[derive(Debug)]
pub(super) struct Fetched {
    wanted: Wanted,
    entries: Bytes,
    /// None if they are shown to others only.
    statements: Option<Bytes>,
    hashes: Bytes,
}

/// A bundle whose leaves were read.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) wanted: Wanted,
    /// The hashes of all its leaves.
    pub(super) tree: TileTree,
    /// Those of its leaves that were not verified before.
    pub(super) leaves: Vec<Leaf>,
    pub(super) entries: Bytes,
    /// None if they are shown to others only.
    pub(super) statements: Option<Bytes>,
    hashes: Bytes,
}

impl Wanted {
    pub(super) const fn path(self, kind: TileKind) -> TilePath {
        TilePath { kind, index: self.index, width: self.width }
    }

    /// Reads entries, statements and hashes side by side; none if the report says why.
    pub(super) async fn fetch(self, reader: &Reader, report: &mut Report) -> Option<Fetched> {
        let [mut second, mut third] = [Report::new(), Report::new()];
        let statements = async {
            if self.statements {
                reader.tile(self.path(TileKind::Statements), &mut second).await
            } else {
                Answer::Withheld
            }
        };
        let (entries, statements, hashes) = tokio::join!(
            reader.public_tile(self.path(TileKind::Entries), report),
            statements,
            reader.public_tile(self.path(TileKind::Hashes(0)), &mut third),
        );
        report.absorb(second);
        report.absorb(third);
        let statements = match statements {
            Answer::Bytes(bytes) => Some(bytes),
            Answer::Withheld => None,
            Answer::Failed => return None,
        };
        Some(Fetched { wanted: self, entries: entries?, statements, hashes: hashes? })
    }
}

impl Fetched {
    /// Reads the leaves, signatures included: some 15 ms for 256. None if the bundles are malformed.
    pub(super) fn read(self, report: &mut Report) -> Option<Bundle> {
        let Self { wanted, entries, statements, hashes } = self;
        let items = served::bundle_items(wanted.path(TileKind::Entries), &entries, report)?;
        let slots = match &statements {
            None => vec![Slot::Withheld; items.len()],
            Some(bytes) => {
                let slots = served::bundle_items(wanted.path(TileKind::Statements), bytes, report)?;
                slots.into_iter().map(Slot::Served).collect()
            }
        };
        let tree = TileTree::from_hashes(items.iter().map(|entry| Hash::leaf(entry)));
        let new = items.iter().zip(slots).skip(wanted.known);
        let leaves = new.map(|(entry, slot)| Leaf::read(entry, slot)).collect();
        Some(Bundle { wanted, tree, leaves, entries, statements, hashes })
    }
}

impl Bundle {
    /// Holds the leaves against the signed tree, and then the served hash tile against the leaves.
    ///
    /// `leaves` are those of the signed tree, if they are at hand: they tell which entry is wrong.
    pub(super) fn check(&self, expected: &Expected, leaves: Option<&TileTree>, report: &mut Report) -> bool {
        if expected.is(&self.tree) {
            served::check_tile(self.wanted.path(TileKind::Hashes(0)), &self.hashes, &self.tree, report);
            return true;
        }
        let first = self.wanted.index * counterfoil_merkle::tile::TILE_WIDTH;
        let differs = leaves.and_then(|signed| {
            let position = (0..256).find(|&position| signed.hash(position) != self.tree.hash(position))?;
            let index = counterfoil_merkle::LeafIndex::new(first + u64::from(position)).ok()?;
            Some((usize::from(position), index))
        });
        let entries = Place::Tile(self.wanted.path(TileKind::Entries));
        match differs {
            Some((position, index)) if position < self.wanted.known => {
                report.push(Code::EntryChanged, Place::Entry(index), "not the entry that was verified");
            }
            Some((_, index)) => {
                let message = "not the entry that the signed root has here";
                report.push(Code::RootMismatch, Place::Entry(index), message);
            }
            None => {
                report.push(Code::RootMismatch, entries, "the entries do not lead to the signed root");
            }
        }
        false
    }
}

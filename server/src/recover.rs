//! How the log is found again at every start, and after any error whose outcome is unknown.
//!
//! [`load`] only reads: the retained commits from the newest back along their digests, the full tiles and bundles
//! below them, and the edge that they lead to. [`recover`] then makes durable what it found, checks the guard, and
//! settles the end of the chain with an empty commit of its own.

use std::sync::Arc;

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, TreeHead, TreeSize,
    bundle::parse_bundle,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::{Entry, Id, Timestamp};
use futures::executor::block_on;

use crate::{
    commit::{CommitError, CommitRecord, Header, Item},
    guard::{Guard, GuardError, Mark},
    objects::{Created, Objects, StoreError, commit_name, never_told_name},
    publish::shown::ShownError,
    rehash::{Damage, How},
    sequencer::Sequencer,
    tiles::{Edge, ReadError, Tiles},
};

/// How often another writer's commit is followed before giving up.
const ATTEMPTS: usize = 3;

/// A commit record that is still in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Its number.
    pub number: u64,
    /// The log's size before it; zero if it is not known.
    pub old: TreeSize,
    /// The log's size after it.
    pub size: TreeSize,
}

/// Full tiles and bundles.
pub type Filled = Vec<(TilePath, Bytes)>;

/// The log as its objects have it. Nothing was written.
pub struct Loaded {
    /// The chain of retained commits, oldest first. Never empty.
    pub chain: Vec<Retained>,
    /// Commits below a gap of the chain, whose deletion a power cut undid.
    pub leftovers: Vec<u64>,
    /// Digest of the newest commit.
    pub digest: Hash,
    /// The edge after the newest commit.
    pub edge: Edge,
    /// Full tiles and bundles that the retained commits fill: all that may not be durable yet.
    pub filled: Filled,
    /// The latest time in the retained entries.
    pub at: Option<Timestamp>,
}

impl Loaded {
    /// The newest commit.
    pub fn newest(&self) -> Retained {
        *self.chain.last().expect("a log has a commit")
    }

    /// Its tiles, in the store or from the retained commits.
    fn tiles(&self, objects: &Arc<Objects>) -> Tiles {
        let tiles = Tiles::new(Arc::clone(objects));
        tiles.hold(self.filled.iter().cloned());
        tiles
    }
}

/// Reads the log from a store.
pub fn load(objects: &Arc<Objects>) -> Result<Loaded, RecoverError> {
    let mut numbers = objects.commit_numbers()?;
    let newest = numbers.pop().ok_or(RecoverError::Empty)?;
    if objects.get(&never_told_name(newest))?.is_some() {
        return Err(RecoverError::NeverTold { number: newest });
    }
    let mut records = vec![read_commit(objects, newest)?];
    while let Some(number) = numbers.pop_if(|number| *number + 1 == records[records.len() - 1].header.number)
    {
        let record = read_commit(objects, number);
        let next = &records[records.len() - 1].header;
        match record {
            Ok(record) if record.digest == next.previous => records.push(record),
            // On a shared store: the stray of a writer that others had gone past, or what one of them has settled since
            // it was listed. If the log does not begin above it, what is missing is found below.
            Ok(_) | Err(RecoverError::Commit { .. } | RecoverError::Chain { .. }) if objects.is_shared() => {
                numbers.push(number);
                break;
            }
            Ok(_) => return Err(RecoverError::Chain { number: next.number }),
            Err(error) => return Err(error),
        }
    }
    records.reverse();
    assemble(objects, &records, numbers)
}

/// The log that a chain of commits, oldest first, makes up with the tiles below it.
///
/// # Panics
/// If there is no commit.
pub fn assemble(
    objects: &Arc<Objects>,
    records: &[CommitRecord],
    leftovers: Vec<u64>,
) -> Result<Loaded, RecoverError> {
    let mut edge = block_on(edge_below(&Tiles::new(Arc::clone(objects)), records[0].header.old))?;
    let (filled, at) = replay_all(records, &mut edge)?;
    let chain = records
        .iter()
        .map(|CommitRecord { header, .. }| Retained {
            number: header.number,
            old: header.old.size,
            size: header.new.size,
        })
        .collect();
    let digest = records[records.len() - 1].digest;
    Ok(Loaded { chain, leftovers, digest, edge, filled, at })
}

/// Grows the edge below a chain of commits, oldest first, by all of them. Returns the full tiles and bundles that they fill,
/// and the latest time in them.
pub fn replay_all(
    records: &[CommitRecord],
    edge: &mut Edge,
) -> Result<(Filled, Option<Timestamp>), RecoverError> {
    let (mut filled, mut at) = (Filled::new(), None);
    for record in records {
        replay(record, edge, &mut filled, &mut at)?;
    }
    Ok((filled, at))
}

fn read_commit(objects: &Objects, number: u64) -> Result<CommitRecord, RecoverError> {
    let bytes = objects.get(&commit_name(number))?.ok_or(RecoverError::Chain { number })?;
    parse_commit(&bytes, number)
}

/// Reads a record that must have that number.
pub fn parse_commit(bytes: &Bytes, number: u64) -> Result<CommitRecord, RecoverError> {
    let record = CommitRecord::parse(bytes).map_err(|error| RecoverError::Commit { number, error })?;
    if record.header.number == number { Ok(record) } else { Err(RecoverError::Chain { number }) }
}

/// The edge below the oldest retained commit, from full tiles and from the full or partial bundle at its end.
async fn edge_below(tiles: &Tiles, head: TreeHead) -> Result<Edge, RecoverError> {
    let mut ragged = Vec::new();
    let mut items = Vec::new();
    for (tile, width) in TileId::ragged(head.size) {
        ragged.push(if tile.level == 0 {
            items = ragged_items(tiles, tile.index, width).await?;
            TileTree::from_hashes(items.iter().map(|item| Hash::leaf(&item.entry)))
        } else {
            let mut tree = TileTree::new();
            for below in tile.index * TILE_WIDTH..tile.index * TILE_WIDTH + width {
                let path = TilePath::full(TileKind::Hashes(tile.level - 1), below);
                let bytes = tiles.full(path.kind, below).await?;
                let full = TileTree::from_bytes(&bytes).map_err(|error| ReadError::Tile { path, error })?;
                tree.push(full.root().ok_or(ReadError::Missing { path })?);
            }
            tree
        });
    }
    let frontier =
        Frontier::from_tiles(head.size, ragged).map_err(|_| RecoverError::Root { size: head.size })?;
    if frontier.head() != head {
        return Err(RecoverError::Root { size: head.size });
    }
    Ok(Edge::new(frontier, items))
}

/// The first `width` entries and statements of a bundle that is full by now, or was put as a partial of that width or more.
async fn ragged_items(tiles: &Tiles, index: u64, width: u64) -> Result<Vec<Item>, RecoverError> {
    let entries = bundle_slots(tiles, TilePath { kind: TileKind::Entries, index, width }).await?;
    let statements = bundle_slots(tiles, TilePath { kind: TileKind::Statements, index, width }).await?;
    let items: Vec<_> =
        entries.into_iter().zip(statements).map(|(entry, statement)| Item { entry, statement }).collect();
    for (slot, Item { entry, statement }) in items.iter().enumerate() {
        // The root is over entries alone.
        let is_other = Entry::parse(entry).is_ok_and(|entry| entry.id != Id::of_statement(statement));
        if !statement.is_empty() && is_other {
            let leaf = LeafIndex::new(index * TILE_WIDTH + slot as u64).map_err(ReadError::from)?;
            let path = TilePath { kind: TileKind::Statements, index, width };
            return Err(Damage { path, how: How::Statement { leaf } }.into());
        }
    }
    Ok(items)
}

async fn bundle_slots(tiles: &Tiles, path: TilePath) -> Result<Vec<Bytes>, RecoverError> {
    let mut found = tiles.objects().fetch(&path.to_full().to_string()).await?;
    // Partial ones are put for the newest commit, and whoever then deletes the others may be stopped halfway.
    for width in path.width..TILE_WIDTH {
        if found.is_some() {
            break;
        }
        found = tiles.objects().fetch(&TilePath { width, ..path }.to_string()).await?;
    }
    let bundle = found.ok_or(ReadError::Missing { path })?;
    let slots = parse_bundle(&bundle).map_err(|error| ReadError::Bundle { path, error })?;
    let width = usize::try_from(path.width).expect("at most 256");
    let slots = slots.get(..width).ok_or(ReadError::Missing { path })?;
    Ok(slots.iter().map(|slot| bundle.slice_ref(slot)).collect())
}

/// Grows the edge by one record, checking all that the record says of itself.
fn replay(
    record: &CommitRecord,
    edge: &mut Edge,
    filled: &mut Vec<(TilePath, Bytes)>,
    at: &mut Option<Timestamp>,
) -> Result<(), RecoverError> {
    let number = record.header.number;
    if edge.frontier.head() != record.header.old {
        return Err(RecoverError::Chain { number });
    }
    for item in &record.items {
        let index = edge.size().get();
        let entry = Entry::parse(&item.entry).map_err(|_| RecoverError::Entry { index })?;
        let intact = item.statement.is_empty() || Id::of_statement(&item.statement) == entry.id;
        if !intact || at.is_some_and(|at| entry.at < at) {
            return Err(RecoverError::Entry { index });
        }
        *at = Some(entry.at);
        filled
            .extend(grow(edge, item.clone(), Hash::leaf(&item.entry)).ok_or(RecoverError::Entry { index })?);
    }
    if edge.frontier.head() != record.header.new {
        return Err(RecoverError::Root { size: record.header.new.size });
    }
    Ok(())
}

/// Appends one item to an edge and returns the tiles and bundles that it fills; `None` if the log is full.
pub fn grow(edge: &mut Edge, item: Item, leaf: Hash) -> Option<Vec<(TilePath, Bytes)>> {
    let mut filled = Vec::new();
    edge.frontier
        .push(leaf, |tile| {
            let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
            filled.push((path, Bytes::from(tile.tree.to_bytes(TILE_WIDTH))));
        })
        .ok()?;
    filled.extend(edge.push_item(item).into_iter().flatten());
    Some(filled)
}

/// A log that is ready to be written to.
pub struct Recovered {
    /// Where the next batch goes.
    pub sequencer: Sequencer,
    /// The edge that readers see.
    pub edge: Edge,
    /// Commits to delete once all they hold is durable elsewhere, oldest first.
    pub retained: Vec<Retained>,
}

/// Finds the log, makes durable what it found, holds it against the guard, and settles the end of the chain.
///
/// `seen` holds it against what others saw of it, before anything is written.
pub fn recover(
    objects: &Arc<Objects>,
    guard: &mut Guard,
    origin: &str,
    seen: impl Fn(&Tiles, &Frontier) -> Result<(), ShownError>,
    mut nonce: impl FnMut() -> [u8; 16],
) -> Result<Recovered, RecoverError> {
    for attempt in 1..=ATTEMPTS {
        let loaded = match load(objects) {
            // Another writer may have settled the newest commit since it was listed.
            Err(RecoverError::Commit { .. } | RecoverError::Chain { .. })
                if objects.is_shared() && attempt < ATTEMPTS =>
            {
                continue;
            }
            loaded => loaded?,
        };
        check_guard(&loaded, guard.mark(), origin, objects)?;
        seen(&loaded.tiles(objects), &loaded.edge.frontier)?;
        // Found is not durable: whatever a former life may have left unsynced is synced before a commit can go.
        for (path, bytes) in &loaded.filled {
            put_full(objects, *path, bytes.clone())?;
        }
        for retained in &loaded.chain {
            objects.sync_found(&commit_name(retained.number))?;
        }
        let at = loaded.at.unwrap_or(guard.mark().time).max(guard.mark().time);
        let newest = loaded.newest();
        let mut sequencer = Sequencer::new(loaded.edge.frontier.clone(), newest.number, loaded.digest, at);
        let sealed = sequencer.seal(at, nonce(), Vec::new()).expect("an empty batch fits any log");
        let name = commit_name(sealed.header.number);
        // A marker of that number is of a commit that was set aside.
        objects.delete_durably(&never_told_name(sealed.header.number))?;
        if objects.create_commit(sealed.header.number, sealed.record.clone())? == Created::Found {
            // A late write of a former life won this number: it is part of the log, so begin again with it.
            continue;
        }
        if is_overtaken(objects, &sealed.header)? {
            // Somebody has settled the commit that this one was built on: it is a stray.
            continue;
        }
        if objects.get(&name)?.as_ref() != Some(&sealed.record) {
            return Err(RecoverError::Chain { number: sealed.header.number });
        }
        sequencer.committed(&sealed);
        let head = sequencer.head();
        guard.advance(Mark { origin: origin.to_owned(), commit: sequencer.number(), head, time: at })?;
        let mut retained: Vec<_> = loaded
            .leftovers
            .iter()
            .map(|&number| Retained { number, old: TreeSize::ZERO, size: TreeSize::ZERO })
            .chain(loaded.chain)
            .collect();
        retained.push(Retained { number: sequencer.number(), old: head.size, size: head.size });
        return Ok(Recovered { sequencer, edge: loaded.edge, retained });
    }
    Err(RecoverError::Contended)
}

/// Puts a full tile or bundle durably, or makes the one that is there durable, if it is the same but for erased slots.
pub fn put_full(objects: &Objects, path: TilePath, bytes: Bytes) -> Result<(), StoreError> {
    match path.kind {
        TileKind::Statements => objects.create_or_compare_statements(&path.to_string(), bytes),
        TileKind::Hashes(_) | TileKind::Entries => objects.create_or_compare(&path.to_string(), bytes),
    }
}

/// Whether somebody has gone past a commit that was just created: then the one before it, on which it was built, is no
/// longer there. In a directory a lock keeps other writers away.
///
/// Names are taken in order and set free in order, the newest never: as long as the commit before is there, nobody else
/// had the number of this one.
pub fn is_overtaken(objects: &Objects, header: &Header) -> Result<bool, StoreError> {
    if !objects.is_shared() {
        return Ok(false);
    }
    let before = objects.get(&commit_name(header.number - 1))?;
    let record = before.and_then(|bytes| CommitRecord::parse(&bytes).ok());
    // A record's digest is checked when it is parsed: one that has it is the same, byte for byte.
    Ok(record.is_none_or(|record| record.digest != header.previous))
}

/// Whether the store is what the guard last saw, or has grown from it.
pub fn check_guard(
    loaded: &Loaded,
    mark: &Mark,
    origin: &str,
    objects: &Arc<Objects>,
) -> Result<(), RecoverError> {
    if mark.origin != origin {
        return Err(RecoverError::GuardOrigin { guard: mark.origin.clone() });
    }
    let (newest, head) = (loaded.newest(), loaded.edge.frontier.head());
    if mark.commit > newest.number || mark.head.size > head.size {
        return Err(RecoverError::Behind { guard: mark.head.size, store: head.size });
    }
    let tiles = loaded.tiles(objects);
    let root = block_on(tiles.root_at(&loaded.edge.frontier, mark.head.size))?;
    if root != mark.head.root {
        return Err(RecoverError::Forked { size: mark.head.size, guard: mark.head.root, store: root });
    }
    Ok(())
}

/// Why the log cannot be written to. It is never signed over; reads may go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// Reading or writing the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tile or bundle that the log must have cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The guard cannot be used.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// There is no log in the data directory.
    #[error("the data directory holds no log; `counterfoil-server init` makes one")]
    Empty,
    /// A commit record cannot be read.
    #[error("commit {number}: {error}")]
    Commit {
        /// Which.
        number: u64,
        /// What is wrong with it.
        error: CommitError,
    },
    /// The newest commit read back other than it was admitted, and nobody was told of it.
    #[error(
        "commit {number} read back other than it was admitted, and nobody was told of it; \
         `counterfoil-server adopt --set-aside {number}` sets it aside"
    )]
    NeverTold {
        /// Which.
        number: u64,
    },
    /// The commits do not follow one another.
    #[error("commit {number} does not follow the one before it")]
    Chain {
        /// Which.
        number: u64,
    },
    /// An entry is malformed, dated before the one before it, or not about its statement.
    #[error("entry {index} in the retained commits is damaged")]
    Entry {
        /// Which.
        index: u64,
    },
    /// Tiles or entries lead to another root than a commit states.
    #[error(
        "tiles and commits give the tree of size {size} another root than was committed; `counterfoil-server fsck` \
         says which object is damaged"
    )]
    Root {
        /// At which size.
        size: TreeSize,
    },
    /// A bundle is not what it must be.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The guard is of another log.
    #[error("the guard is of log {guard}")]
    GuardOrigin {
        /// Which.
        guard: String,
    },
    /// The store is older than the guard: an old copy was restored.
    #[error(
        "the data directory is an old copy: it holds {store} entries, and the guard saw {guard}; restore the newest \
         one, for signing over what was published would fork the log"
    )]
    Behind {
        /// Size that the guard saw.
        guard: TreeSize,
        /// Size of the store.
        store: TreeSize,
    },
    /// The store has another history than the guard saw.
    #[error("at size {size} the data directory has root {store}, and the guard saw {guard}: another history")]
    Forked {
        /// The guard's size.
        size: TreeSize,
        /// The guard's root.
        guard: Hash,
        /// The store's root there.
        store: Hash,
    },
    /// A witness saw what this log does not have.
    #[error(transparent)]
    Shown(#[from] ShownError),
    /// Other writers keep committing.
    #[error("another writer keeps committing to this store")]
    Contended,
}

impl RecoverError {
    /// Whether trying again later may help without a person's doing.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Store(
                StoreError::Object { .. }
                    | StoreError::Commit { .. }
                    | StoreError::Sync { .. }
                    | StoreError::Directory { .. }
            )
        ) || matches!(self, Self::Guard(GuardError::Io { .. }))
            || matches!(
                self,
                Self::Read(ReadError::Store(_)) | Self::Shown(ShownError::Read(ReadError::Store(_)))
            )
    }
}

//! The monitor's own hash tiles: every full tile of the tree that it read, one file each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, NodeId, TreeSize,
    frontier::FullTile,
    growth::Growth,
    tile::{TILE_LEVEL_MAX, TILE_LEVELS, TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
    tree::TreeError,
};

use super::state::StateError;

/// Where they lie, at the paths at which a log serves its tiles.
#[derive(Clone, Debug)]
pub struct OwnTiles {
    directory: PathBuf,
}

impl OwnTiles {
    /// The tiles in a directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Checks every full tile of a tree of that size against the level above it, from the ragged edge down.
    ///
    /// Reads 32 MB for a million entries.
    pub fn check(&self, frontier: &Frontier) -> Result<(), StateError> {
        let mut above: Vec<Hash> = Vec::new();
        for level in (0..=TILE_LEVEL_MAX).rev() {
            let mut hashes = Vec::new();
            for (index, expected) in above.iter().enumerate() {
                let id = TileId { level, index: index as u64 };
                let tile = self.read(id)?;
                if tile.root() != Some(*expected) {
                    return Err(StateError::Damaged { path: self.path(id) });
                }
                if level > 0 {
                    hashes.extend(lowest(&tile));
                }
            }
            hashes.extend(frontier.tile(level).into_iter().flat_map(lowest));
            above = hashes;
        }
        Ok(())
    }

    /// Where the paths start.
    pub fn root(&self) -> &Path {
        &self.directory
    }

    /// How the tree that was read contains its own first `old` leaves.
    pub fn growth(&self, old: TreeSize, frontier: &Frontier) -> Result<Growth, StateError> {
        let new = frontier.size();
        let nodes = Growth::nodes(old, new)?;
        let mut read = BTreeMap::new();
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            hashes.push(match frontier.node(node) {
                Some(hash) => hash,
                None => self.node(node, &mut read)?,
            });
        }
        let growth = Growth::from_nodes(old, new, &hashes)?;
        if growth.new_root() != frontier.root() {
            return Err(StateError::Damaged { path: self.directory.join("tile") });
        }
        Ok(growth)
    }

    /// The leaf hashes of a bundle, as far as it was read.
    pub(super) fn bundle(&self, index: u64, frontier: &Frontier) -> Result<TileTree, StateError> {
        let id = TileId { level: 0, index };
        if id.width(frontier.size()) == TILE_WIDTH {
            return self.read(id);
        }
        Ok(frontier.tile(0).cloned().unwrap_or_default())
    }

    /// The hash of a leaf that was read.
    pub(super) fn leaf(&self, index: LeafIndex, frontier: &Frontier) -> Result<Hash, StateError> {
        let bundle = self.bundle(index.get() / TILE_WIDTH, frontier)?;
        let position = u16::try_from(index.get() % TILE_WIDTH).expect("below 256");
        Ok(bundle.hash(position).ok_or(TreeError::OutOfRange { index, size: frontier.size() })?)
    }

    /// Where these leaves are in the tree that was read. Reads 32 MB for a million entries.
    pub(super) fn find(
        &self,
        leaves: &BTreeSet<Hash>,
        frontier: &Frontier,
    ) -> Result<BTreeMap<Hash, LeafIndex>, StateError> {
        let mut found = BTreeMap::new();
        for index in 0..frontier.size().get().div_ceil(TILE_WIDTH) {
            let bundle = self.bundle(index, frontier)?;
            for (hash, position) in lowest(&bundle).zip(index * TILE_WIDTH..) {
                if leaves.contains(&hash) {
                    found.insert(hash, LeafIndex::new(position)?);
                }
            }
        }
        Ok(found)
    }

    /// Where a leaf is, in the tree that was read: the newest place, if it is there twice.
    ///
    /// Reads the leaves' tiles from the newest back: some 20 us for 256 leaves.
    pub(super) fn newest(&self, leaf: Hash, frontier: &Frontier) -> Result<Option<LeafIndex>, StateError> {
        let at = |bundle: u64, position: usize| {
            let index = LeafIndex::new(bundle * TILE_WIDTH + position as u64)?;
            Ok::<_, TreeError>(Some(index))
        };
        let full = frontier.size().get() / TILE_WIDTH;
        let ragged = frontier.tile(0).filter(|_| !frontier.size().get().is_multiple_of(TILE_WIDTH));
        if let Some(position) = ragged.and_then(|tile| lowest(tile).position(|hash| hash == leaf)) {
            return Ok(at(full, position)?);
        }
        for bundle in (0..full).rev() {
            let path = self.path(TileId { level: 0, index: bundle });
            let read = match fs::read(&path) {
                // One that this step has written gets its place when the step is over.
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::read(temporary(&path)),
                read => read,
            };
            let bytes = read.map_err(|source| StateError::Io { path, source })?;
            let mut hashes = bytes.chunks_exact(leaf.as_bytes().len());
            if let Some(position) = hashes.position(|hash| hash == leaf.as_bytes()) {
                return Ok(at(bundle, position)?);
            }
        }
        Ok(None)
    }

    fn node(&self, node: NodeId, read: &mut BTreeMap<TileId, TileTree>) -> Result<Hash, StateError> {
        let id = TileId::of(node);
        if let std::collections::btree_map::Entry::Vacant(vacant) = read.entry(id) {
            vacant.insert(self.read(id)?);
        }
        read[&id].tree_node(node).ok_or_else(|| StateError::Damaged { path: self.path(id) })
    }

    fn read(&self, id: TileId) -> Result<TileTree, StateError> {
        let path = self.path(id);
        let bytes = fs::read(&path).map_err(|source| StateError::Io { path: path.clone(), source })?;
        TileTree::from_bytes(&bytes)
            .ok()
            .filter(|tile| tile.width() == TILE_WIDTH)
            .ok_or(StateError::Damaged { path })
    }

    fn path(&self, id: TileId) -> PathBuf {
        self.directory.join(tile_path(id).to_string())
    }

    /// Writes a full tile of the tree. It is there once `written` was made durable.
    pub(super) fn put(&self, tile: &FullTile, written: &mut Written) -> Result<(), StateError> {
        written.write(self.path(tile.id), &tile.tree.to_bytes(TILE_WIDTH))
    }
}

fn tile_path(id: TileId) -> TilePath {
    TilePath::full(TileKind::Hashes(id.level), id.index)
}

fn lowest(tile: &TileTree) -> impl Iterator<Item = Hash> {
    (0..=u16::from(u8::MAX)).map_while(|position| tile.hash(position))
}
const _: () = assert!(1 << TILE_LEVELS == u8::MAX as usize + 1, "a position in a tile is a byte");

/// Files that were written under names of their own, and get their places together, once all of them are durable.
///
/// Those that never get there are written over by the next that belong there; nothing depends on them.
#[derive(Debug, Default)]
pub(super) struct Written {
    files: Vec<PathBuf>,
    bytes: usize,
}

impl Written {
    /// Writes a file that belongs at `path`.
    pub(super) fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), StateError> {
        let temporary = temporary(&path);
        let written = match fs::write(&temporary, bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&temporary, bytes))
            }
            written => written,
        };
        written.map_err(|source| StateError::Io { path: path.clone(), source })?;
        self.files.push(path);
        self.bytes += bytes.len();
        Ok(())
    }

    /// How many bytes they have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes all of them durable, and puts them in their places below `root`.
    pub(super) fn make_durable(self, root: &Path) -> Result<(), StateError> {
        let mut touched = BTreeSet::new();
        for path in self.files {
            let temporary = temporary(&path);
            let moved = File::open(&temporary)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&temporary, &path));
            moved.map_err(|source| StateError::Io { path: path.clone(), source })?;
            let above = path.ancestors().skip(1).take_while(|above| above.starts_with(root));
            touched.extend(above.map(Path::to_owned));
        }
        touched.iter().try_for_each(|directory| sync_directory(directory))
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    temporary.into()
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StateError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StateError::Io { path: path.to_owned(), source })
}

/// Writes a file so that it is there whole and durably, or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = temporary(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|source| StateError::Io { path: path.to_owned(), source })?;
    path.parent().map_or(Ok(()), sync_directory)
}

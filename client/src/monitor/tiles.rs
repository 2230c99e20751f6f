//! The monitor's own hash tiles: every full tile of the tree that it verified, one file each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, Hash, NodeId, TreeSize,
    frontier::FullTile,
    growth::Growth,
    tile::{TILE_LEVEL_MAX, TILE_LEVELS, TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};

use super::state::StateError;

/// Where verified tiles lie, and where those wait that are not verified yet.
#[derive(Clone, Debug)]
pub struct OwnTiles {
    directory: PathBuf,
}

impl OwnTiles {
    /// The tiles in a state directory.
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

    /// How the verified tree contains its own first `old` leaves.
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

    /// A place for tiles of a tree that is still to be verified. What an earlier attempt left there is thrown away.
    pub fn stage(&self) -> Result<Staging, StateError> {
        let directory = self.directory.join("staging");
        match fs::remove_dir_all(&directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { path: directory, source })
            }
            _ => Ok(Staging { tiles: self.clone(), directory, staged: Vec::new() }),
        }
    }
}

fn tile_path(id: TileId) -> TilePath {
    TilePath::full(TileKind::Hashes(id.level), id.index)
}

fn lowest(tile: &TileTree) -> impl Iterator<Item = Hash> {
    (0..=u16::from(u8::MAX)).map_while(|position| tile.hash(position))
}
const _: () = assert!(1 << TILE_LEVELS == u8::MAX as usize + 1, "a position in a tile is a byte");

/// Tiles of a tree that is still to be verified. They are swept when the next growth is read, or dropped with this.
#[derive(Debug)]
pub struct Staging {
    tiles: OwnTiles,
    directory: PathBuf,
    staged: Vec<TileId>,
}

impl Staging {
    /// Puts a tile aside, durably.
    pub fn put(&mut self, tile: &FullTile) -> Result<(), StateError> {
        let path = self.directory.join(tile_path(tile.id).to_string());
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = File::create(&path)?;
            file.write_all(&tile.tree.to_bytes(TILE_WIDTH))?;
            file.sync_all()
        });
        written.map_err(|source| StateError::Io { path, source })?;
        self.staged.push(tile.id);
        Ok(())
    }

    /// Puts all tiles in their places: the tree that they belong to was verified.
    ///
    /// After this they are durable. The state may then say so.
    pub fn keep(mut self) -> Result<(), StateError> {
        let mut touched = BTreeSet::new();
        for id in std::mem::take(&mut self.staged) {
            let (from, to) = (self.directory.join(tile_path(id).to_string()), self.tiles.path(id));
            let parent = to.parent().unwrap_or(&self.tiles.directory);
            let moved = fs::create_dir_all(parent).and_then(|()| fs::rename(from, &to));
            moved.map_err(|source| StateError::Io { path: to.clone(), source })?;
            let inside = parent.ancestors().take_while(|above| above.starts_with(&self.tiles.directory));
            touched.extend(inside.map(Path::to_owned));
        }
        for path in touched {
            sync_directory(&path)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is swept by the next growth: nothing depends on it.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StateError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StateError::Io { path: path.to_owned(), source })
}

/// Writes a file so that it is there whole and durably, or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|source| StateError::Io { path: path.to_owned(), source })?;
    path.parent().map_or(Ok(()), sync_directory)
}

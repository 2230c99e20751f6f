//! The log's files as a monitor keeps them, so that a log that vanishes leaves its records behind.
//!
//! They lie in `log/` of the state directory, at the paths at which a log serves them, and can be served or copied as they
//! are:
//!
//! ```text
//! log/tile/<L>/<N>                   hash tiles; full ones are kept by every monitor
//! log/tile/entries/<N>, statement/<N>   entries and statements, with `--keep`
//! log/….p/<W>                        the right edge of the tree in `checkpoint`, and of the one before
//! log/checkpoint                     the newest checkpoint all of whose tree is there
//! erased                             what was erased here: it is erased again at every start
//! ```
//!
//! Nothing is written but what was found under a root that the log signed, and of statements only those that their entries
//! name: a hostile log can fill no more disk than its tree has entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, LeafIndex, TreeSize,
    bundle::{empty_items, format_bundle, parse_bundle},
    checkpoint::SignedCheckpoint,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath},
};

use super::{
    bundle::Bundle,
    state::StateError,
    tiles::{Written, sync_directory, write_file},
};

/// Entries and statements in a directory.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    root: PathBuf,
}

impl Kept {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Writes the entries of a bundle that was verified, and those of its statements that are its entries'.
    pub(super) fn put(&self, bundle: &Bundle, written: &mut Written) -> Result<(), StateError> {
        let path = |kind| self.root.join(bundle.wanted.path(kind).to_string());
        written.write(path(TileKind::Entries), &bundle.entries)?;
        let Some(statements) = &bundle.statements else { return Ok(()) };
        let served = parse_bundle(statements).unwrap_or_default();
        let before = self.statements_before(bundle)?;
        let before = parse_bundle(&before).unwrap_or_default();
        // What is erased later is emptied here by its record: see `Kept::erase`.
        let slot = |position: usize| -> &[u8] {
            let new = position.checked_sub(bundle.wanted.known);
            match new.map(|new| bundle.leaves.get(new).is_some_and(|leaf| leaf.names_statement())) {
                None => before.get(position).copied().unwrap_or_default(),
                Some(true) => served.get(position).copied().unwrap_or_default(),
                Some(false) => &[],
            }
        };
        written.write(path(TileKind::Statements), &format_bundle((0..served.len()).map(slot)))
    }

    /// The statements of the entries that were verified before, as they were kept then.
    fn statements_before(&self, bundle: &Bundle) -> Result<Vec<u8>, StateError> {
        if bundle.wanted.known == 0 {
            return Ok(Vec::new());
        }
        let width = bundle.wanted.known as u64;
        let path = TilePath { width, ..bundle.wanted.path(TileKind::Statements) };
        let path = self.root.join(path.to_string());
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| StateError::Io { path, source }),
        }
    }

    /// Writes the hash tiles at the right edge of a tree that was read to its end.
    pub(super) fn put_edge(&self, edge: &Frontier, written: &mut Written) -> Result<(), StateError> {
        for (id, width) in TileId::ragged(edge.size()) {
            let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
            let tile = edge.tile(id.level).expect("what is ragged is there");
            written.write(self.root.join(path.to_string()), &tile.to_bytes(width))?;
        }
        Ok(())
    }

    /// Empties the slots of statements that records of the log erased, in every form of their bundles that is here. On
    /// return nothing of them comes back.
    pub(super) fn erase(&self, statements: &BTreeSet<LeafIndex>) -> Result<(), StateError> {
        let mut all = self.erased_before()?;
        all.extend(statements);
        let lines: String = all.iter().map(|index| format!("{index}\n")).collect();
        // First of all, so that it is done again if this is stopped halfway, or an older copy is put here.
        write_file(&self.erased(), lines.as_bytes())?;
        self.empty(statements)
    }

    /// Erases again what was erased before.
    pub(super) fn erase_again(&self) -> Result<(), StateError> {
        self.empty(&self.erased_before()?)
    }

    fn erased_before(&self) -> Result<BTreeSet<LeafIndex>, StateError> {
        let path = self.erased();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            text => text.map_err(|source| StateError::Io { path: path.clone(), source })?,
        };
        let index = |line: &str| line.parse().ok().and_then(|index| LeafIndex::new(index).ok());
        text.lines().map(index).collect::<Option<_>>().ok_or(StateError::Damaged { path })
    }

    fn empty(&self, statements: &BTreeSet<LeafIndex>) -> Result<(), StateError> {
        let mut bundles: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for index in statements {
            bundles.entry(index.get() / TILE_WIDTH).or_default().insert(index.get() % TILE_WIDTH);
        }
        for (index, slots) in bundles {
            let full = TilePath::full(TileKind::Statements, index);
            let partial = self.root.join(TilePath { width: 1, ..full }.to_string());
            let full = self.root.join(full.to_string());
            let mut forms = files_in(partial.parent())?;
            forms.extend([full.with_added_extension("new"), full]);
            for path in forms {
                empty_file(&path, |slot| slots.contains(&(slot as u64)))?;
            }
        }
        Ok(())
    }

    /// The list of what was erased here, beside the files that are served.
    fn erased(&self) -> PathBuf {
        self.root.with_file_name("erased")
    }

    /// Shows a checkpoint, all of whose tree is there and durable, and lets go of the edges before the last one shown.
    pub(super) fn show(&self, checkpoint: &SignedCheckpoint) -> Result<(), StateError> {
        let path = self.root.join("checkpoint");
        let before = match fs::read_to_string(&path) {
            Ok(text) => text.parse::<SignedCheckpoint>().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StateError::Io { path, source }),
        };
        if before.as_ref() == Some(checkpoint) {
            return Ok(());
        }
        write_file(&path, checkpoint.to_string().as_bytes())?;
        let sizes = [Some(checkpoint), before.as_ref()].into_iter().flatten();
        let sizes: Vec<_> = sizes.map(|shown| shown.unverified().head.size).collect();
        for size in &sizes {
            let ragged = TileId::ragged(*size);
            let hashes = ragged.iter().map(|(id, _)| (TileKind::Hashes(id.level), id.index));
            let bundles = ragged.iter().filter(|(id, _)| id.level == 0);
            let bundles =
                bundles.flat_map(|(id, _)| [(TileKind::Entries, id.index), (TileKind::Statements, id.index)]);
            for (kind, index) in hashes.chain(bundles) {
                let width = |size: &TreeSize| TilePath::full(kind, index).width_at(*size);
                // Once there is the full one, its first part stands for every partial one.
                let full = sizes.first().is_some_and(|newest| width(newest) == TILE_WIDTH);
                let widths: Vec<_> = if full { Vec::new() } else { sizes.iter().map(width).collect() };
                self.prune(kind, index, &widths)?;
            }
        }
        Ok(())
    }

    /// Removes the partial forms of a tile or bundle, but those of the given widths.
    fn prune(&self, kind: TileKind, index: u64, widths: &[u64]) -> Result<(), StateError> {
        let partial = TilePath { kind, index, width: 1 };
        let one = self.root.join(partial.to_string());
        let Some(directory) = one.parent() else { return Ok(()) };
        let failed = |source| StateError::Io { path: directory.to_owned(), source };
        let files = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files.map_err(failed)?,
        };
        for file in files {
            let file = file.map_err(failed)?;
            let width = file.file_name().to_str().and_then(|name| name.parse().ok());
            if width.is_some_and(|width: u64| !widths.contains(&width)) {
                fs::remove_file(file.path()).map_err(failed)?;
            }
        }
        if widths.is_empty() {
            // Files that never got their places may be left in it; they do no harm.
            drop(fs::remove_dir(directory));
        }
        Ok(())
    }
}

/// The files of a directory; none if there is no such directory.
fn files_in(directory: Option<&Path>) -> Result<Vec<PathBuf>, StateError> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    let failed = |source| StateError::Io { path: directory.to_owned(), source };
    let files = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.map_err(failed)?,
    };
    files.map(|file| file.map(|file| file.path()).map_err(failed)).collect()
}

/// Empties slots of a bundle of statements, if it is there; what never got its place goes altogether.
fn empty_file(path: &Path, emptied: impl Fn(usize) -> bool) -> Result<(), StateError> {
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let before = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(failed)?,
    };
    if path.extension().is_some_and(|extension| extension == "new") {
        fs::remove_file(path).map_err(failed)?;
        return path.parent().map_or(Ok(()), sync_directory);
    }
    let left = empty_items(&before, emptied).map_err(|_| StateError::Damaged { path: path.to_owned() })?;
    if left == before { Ok(()) } else { write_file(path, &left) }
}

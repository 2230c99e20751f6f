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
//! ```
//!
//! Nothing is written but what was found under a root that the log signed, and of statements only those that their entries
//! name: a hostile log can fill no more disk than its tree has entries.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use counterfoil_merkle::{
    Frontier, TreeSize,
    bundle::{format_bundle, parse_bundle},
    checkpoint::SignedCheckpoint,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath},
};

use super::{
    bundle::Bundle,
    state::StateError,
    tiles::{Written, write_file},
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
        // Erasures come as records of their own: once there are such records, they empty the slot here too.
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

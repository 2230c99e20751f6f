//! What is damaged in a log that cannot be found again: recovery sees that roots differ, not why.

use std::sync::Arc;

use counterfoil_merkle::{
    TreeSize,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use futures::executor::block_on;

use crate::{
    objects::Objects,
    recover::RecoverError,
    rehash::{Fault, Rehash},
    tiles::{ReadError, Tiles},
};

/// Hashes all full bundles again, and says which object is the first that is not what it must be. Reads the whole log.
pub(super) fn name_damage(objects: &Arc<Objects>, error: &RecoverError) -> Option<String> {
    let (tiles, mut rehash) = (Tiles::new(Arc::clone(objects)), Rehash::new());
    loop {
        let end = TilePath::full(TileKind::Entries, rehash.bundles());
        match rehash.next(|path| block_on(tiles.full(path.kind, path.index))) {
            Ok(_) => {}
            Err(Fault::Read(ReadError::Missing { path })) if path == end => break,
            Err(fault) => return Some(fault.to_string()),
        }
    }
    // All that is full is in order: what is left is the bundle that was put when it was not.
    let RecoverError::Root { size } = error else { return None };
    ragged(*size)
        .filter(|path| path.index == rehash.bundles())
        .map(|path| format!("{path} is damaged: its entries do not lead to the root that was committed"))
}

fn ragged(size: TreeSize) -> Option<TilePath> {
    let (index, width) = (size.get() / TILE_WIDTH, size.get() % TILE_WIDTH);
    (width > 0).then_some(TilePath { kind: TileKind::Entries, index, width })
}

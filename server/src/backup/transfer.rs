//! Putting a log's objects into another directory: tiles and bundles first, each hashed again on the way, then the
//! commits, then the copy of the checkpoint. Whatever stops it, what is in the directory then is a log, the one before
//! or a newer one, or nothing yet.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use counterfoil_merkle::{
    bundle::{empty_items, format_bundle, parse_bundle, same_but_erased},
    tile::{TILE_WIDTH, TileKind, TilePath},
};

use super::{BackupError, gather::Gathered};
use crate::{
    objects::{CHECKPOINT, Created, Objects, StoreError, commit_name},
    rehash::Rehash,
    tiles::ReadError,
};

/// What was copied, and what was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Objects that are new.
    pub new: u64,
    /// Objects that were there, as they are in the log.
    pub same: u64,
    /// Bundles of which statements were emptied.
    pub emptied: u64,
}

/// From a log to another directory.
pub(super) struct Transfer {
    from: Arc<Objects>,
    to: Arc<Objects>,
    rehash: Rehash,
    /// As many bundles are durable there: a commit above them is.
    durable: u64,
    pub(super) copied: Copied,
}

impl Transfer {
    /// `durable` is how many full bundles the newest log there has.
    pub(super) fn new(from: Arc<Objects>, to: Arc<Objects>, durable: u64) -> Self {
        Self { from, to, rehash: Rehash::new(), durable, copied: Copied::default() }
    }

    /// Copies all that the log has in full tiles and bundles below the commits, as far as it is not copied yet. Whether
    /// there was any.
    pub(super) fn bundles(&mut self, gathered: &Gathered) -> Result<bool, BackupError> {
        let full = gathered.below() / TILE_WIDTH;
        let any = self.rehash.bundles() < full;
        while self.rehash.bundles() < full {
            let index = self.rehash.bundles();
            let from = &self.from;
            let read = |path: TilePath| from.get(&path.to_string())?.ok_or(ReadError::Missing { path });
            for (path, bytes) in self.rehash.next(read)?.objects {
                self.put(path, bytes, index < self.durable)?;
            }
        }
        Ok(any)
    }

    /// Copies the rest: the bundle that the oldest commit begins in, the commits, the checkpoint.
    pub(super) fn finish(&mut self, gathered: &Gathered) -> Result<(), BackupError> {
        self.ragged(gathered)?;
        for (number, bytes) in &gathered.commits {
            self.commit(*number, bytes)?;
        }
        let first = gathered.commits[0].0;
        let mut settled = self.to.commit_numbers()?;
        settled.retain(|number| *number < first);
        self.to.forget_commits(&settled)?;
        if let Some(checkpoint) = &gathered.checkpoint {
            self.to.replace_durably(CHECKPOINT, checkpoint.clone())?;
        }
        Ok(())
    }

    /// The bundle that the oldest commit begins in, as far as it lies below that. It is put as a partial one of just that
    /// width: what is above it is in the commits.
    fn ragged(&mut self, gathered: &Gathered) -> Result<(), BackupError> {
        let (index, width) = (gathered.below() / TILE_WIDTH, gathered.below() % TILE_WIDTH);
        if width == 0 {
            return Ok(());
        }
        for kind in [TileKind::Entries, TileKind::Statements] {
            let path = TilePath { kind, index, width };
            let bytes = self.prefix(path)?;
            self.put(path, bytes, false)?;
        }
        Ok(())
    }

    /// The first items of a bundle, of the full one or of a partial one that has as many.
    fn prefix(&self, path: TilePath) -> Result<Bytes, BackupError> {
        let partial = self.from.partial_widths(path.kind, path.index)?;
        let widths = partial.into_iter().filter(|width| *width >= path.width).chain([TILE_WIDTH]);
        let (slots, mut found) = (usize::try_from(path.width).expect("below 256"), None);
        // Of several the one with the fewest statements: where one was erased, others may be on their way out.
        for width in widths {
            let wider = TilePath { width, ..path };
            let Some(bundle) = self.from.get(&wider.to_string())? else { continue };
            let items = parse_bundle(&bundle).map_err(|error| ReadError::Bundle { path: wider, error })?;
            let items = items.get(..slots).ok_or(ReadError::Missing { path: wider })?;
            let bytes = format_bundle(items.iter().copied());
            if found.as_ref().is_none_or(|found: &Vec<u8>| bytes.len() < found.len()) {
                found = Some(bytes);
            }
        }
        Ok(found.ok_or(ReadError::Missing { path })?.into())
    }

    fn put(&mut self, path: TilePath, bytes: Bytes, durable: bool) -> Result<(), BackupError> {
        let name = path.to_string();
        let Some(there) = self.to.get(&name)? else {
            return match self.to.create(&name, bytes)? {
                Created::Made => {
                    self.copied.new += 1;
                    Ok(())
                }
                Created::Found => Err(StoreError::Differs { name }.into()),
            };
        };
        let left = if there == bytes {
            there.clone()
        } else if path.kind == TileKind::Statements && same_but_erased(&there, &bytes) {
            emptied_too(path, &there, &bytes)?
        } else {
            return Err(BackupError::Differs { path });
        };
        if left != there {
            self.to.replace_durably(&name, left)?;
            self.copied.emptied += 1;
        } else {
            // Found is not durable, unless a commit above it is there, which came later.
            if !durable {
                self.to.sync_found(&name)?;
            }
            self.copied.same += 1;
        }
        Ok(())
    }

    fn commit(&mut self, number: u64, bytes: &Bytes) -> Result<(), BackupError> {
        match self.to.create_or_compare(&commit_name(number), bytes.clone()) {
            Err(StoreError::Differs { .. }) => Err(BackupError::OtherCommit { number }),
            done => Ok(done?),
        }
    }

    /// Deletes partial bundles that the log there does not need: they may have statements in them that are gone by now.
    pub(super) fn forget_partials(&self, gathered: &Gathered) -> Result<(), BackupError> {
        let (index, width) = (gathered.below() / TILE_WIDTH, gathered.below() % TILE_WIDTH);
        let stored = self.to.tile_paths()?;
        let partial = stored.iter().filter(|path| !path.is_full()).map(|path| (path.kind, path.index));
        for (kind, of) in partial.collect::<BTreeSet<_>>() {
            let needed = of == index && width > 0 && matches!(kind, TileKind::Entries | TileKind::Statements);
            self.to.forget_partials(kind, of, needed.then_some(width))?;
        }
        Ok(())
    }
}

/// The bundle that is there, without the statements that are gone from the other one.
fn emptied_too(path: TilePath, there: &Bytes, other: &Bytes) -> Result<Bytes, BackupError> {
    let failed = |error| BackupError::Read(ReadError::Bundle { path, error });
    let gone: Vec<bool> = parse_bundle(other).map_err(failed)?.iter().map(|item| item.is_empty()).collect();
    Ok(empty_items(there, |slot| gone.get(slot).copied().unwrap_or(false)).map_err(failed)?.into())
}

//! Whether what was erased was ordered, by whom, and whether what was ordered is gone.

use std::{collections::BTreeMap, sync::Arc};

use counterfoil_merkle::{
    Hash, LeafIndex,
    tile::{TILE_WIDTH, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::{Entry, audit::Erasures};
use futures::executor::block_on;

use super::{Check, FsckError};
use crate::{
    order::Order,
    tiles::{Edge, Tiles},
};

impl Check {
    /// Once all leaves were taken: looks up what orders are about, and reports empty slots without one.
    pub(super) fn erasures(&mut self, edge: &Edge) -> Result<(), FsckError> {
        let orders = std::mem::take(&mut self.audit.erasures_mut().orders);
        let tiles = Tiles::new(Arc::clone(&self.objects));
        tiles.hold(self.unsettled.clone());
        let mut targets: BTreeMap<Hash, Option<LeafIndex>> =
            orders.iter().map(|order| (order.about, None)).collect();
        if !orders.is_empty() {
            self.find(edge, &mut targets)?;
        }
        for order in &orders {
            let index = targets[&order.about].filter(|index| *index < order.record);
            let item = match index {
                Some(index) => block_on(tiles.item(edge, index))?.map(|item| (index, item)),
                None => None,
            };
            let Some((index, item)) = item else {
                Erasures::judge_missing(order, &mut self.report.audit);
                continue;
            };
            if let Ok(target) = Entry::parse(&item.entry) {
                self.audit.erasures().judge_target(order, index, &target, &mut self.report.audit);
            }
            let (bundle, slot) = Order { target: index, record: order.record }.place();
            let left = !item.statement.is_empty() || self.objects.has_statement(bundle, slot)?;
            self.report.erasures.1 += u64::from(left);
        }
        self.audit.erasures_mut().report_unexplained(|_| true, &mut self.report.audit);
        Ok(())
    }

    /// Looks up leaves by their hashes, in one pass over all entries.
    fn find(&self, edge: &Edge, targets: &mut BTreeMap<Hash, Option<LeafIndex>>) -> Result<(), FsckError> {
        let mut look = |index: u64, hash: Hash| {
            if let Some(found) = targets.get_mut(&hash) {
                *found = LeafIndex::new(index).ok();
            }
        };
        for bundle in 0..edge.ragged_start() / TILE_WIDTH {
            let path = TilePath::full(TileKind::Hashes(0), bundle);
            let stored = self.objects.get(&path.to_string())?;
            let tile = stored.as_ref().or_else(|| self.unsettled.get(&path));
            // One that is missing or damaged was reported when its leaves were taken.
            let Some(tile) = tile.and_then(|bytes| TileTree::from_bytes(bytes).ok()) else { continue };
            for (position, index) in (0..=u16::from(u8::MAX)).zip(bundle * TILE_WIDTH..) {
                if let Some(hash) = tile.hash(position) {
                    look(index, hash);
                }
            }
        }
        for (item, index) in edge.items.iter().zip(edge.ragged_start()..) {
            look(index, Hash::leaf(&item.entry));
        }
        Ok(())
    }
}

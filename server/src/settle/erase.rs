//! Carrying out erasures. The order of steps is the design: whatever stops it halfway, the next start finds the order in the
//! log, and what is left of the statement in the store, and goes on.
//!
//! 1. the record is committed, and published: nobody is shown an empty slot before the record that explains it;
//! 2. the slot is empty in memory: no reader is shown the statement any more;
//! 3. the ragged edge below the newest commit is put durably, with the slot empty;
//! 4. the commits that it covers are deleted, with the spare files of earlier ones, for good;
//! 5. the other partial forms of the bundle are deleted;
//! 6. its full form is replaced;
//! 7. what was set aside with the statement in it is deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Arc, Bytes, Edge, Instant, Log, Settling, Stop, TILE_WIDTH, TileKind, TilePath, TreeSize, put_ragged,
};
use crate::{order::Order, tiles::ReadError};
use counterfoil_merkle::bundle::empty_items;
use counterfoil_receipt::Entry;
use futures::executor::block_on;

/// As many orders are looked at in one go: batches wait for it if many do.
const ORDERS_AT_ONCE: usize = 64;

impl Settling {
    /// Whether there are orders that can be carried out now.
    pub(super) fn may_erase(&self) -> bool {
        let size = self.erasable_size();
        self.orders.front().is_some_and(|order| order.is_in(size))
    }

    /// Carries out some orders whose records are published. Whether there were any.
    pub(super) fn erase(&mut self) -> Result<bool, Stop> {
        let size = self.erasable_size();
        let mut due = Vec::new();
        // They come in the order of their records.
        while due.len() < ORDERS_AT_ONCE
            && let Some(order) = self.orders.pop_front_if(|order| order.is_in(size))
        {
            due.push(order);
        }
        let mut left = Vec::new();
        for order in &due {
            if self.is_left(order)? {
                left.push(*order);
            }
        }
        if !left.is_empty() {
            self.carry_out(&left)?;
        }
        for order in &due {
            self.log.erased(order);
        }
        Ok(!due.is_empty())
    }

    /// Orders in a log of this size can be carried out: it is published, and settled here.
    fn erasable_size(&self) -> TreeSize {
        let published = self.log.view().map_or(TreeSize::ZERO, |view| view.head().size);
        published.min(self.edges[1].size())
    }

    /// Where the oldest retained commit begins: what lies before is in bundles alone.
    fn retained_from(&self) -> TreeSize {
        self.retained.front().map_or(self.edges[0].size(), |oldest| oldest.old)
    }

    /// Whether anything is left of a statement that was ordered to go.
    fn is_left(&self, order: &Order) -> Result<bool, Stop> {
        if order.target.get() >= self.retained_from().get() {
            return Ok(true);
        }
        let (index, slot) = order.place();
        let objects = self.log.tiles.objects();
        Ok(objects.has_statement(index, slot)? || !objects.set_aside_with(&self.id_of(order)?)?.is_empty())
    }

    fn carry_out(&mut self, orders: &[Order]) -> Result<(), Stop> {
        let first = self.retained_from().get() / TILE_WIDTH;
        let reached = orders.iter().any(|order| order.place().0 >= first);
        let mut numbers = Vec::new();
        if reached {
            let mut below = Edge::clone(&self.edges[0]);
            for order in orders {
                below.erase(order.target);
            }
            self.edges[0] = Arc::new(below);
            put_ragged(&self.log, &self.edges[0])?;
            replace_ragged_statements(&self.log, &self.edges[0])?;
            self.guard_due = Instant::now();
            self.advance_guard(self.guard_due)?;
            numbers = self.let_go_through(self.edges[0].size());
        }
        // Earlier commits may lie about as spare files, whether or not any is deleted now.
        self.log.tiles.objects().forget_commits(&numbers)?;
        let mut bundles: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for order in orders {
            let (index, slot) = order.place();
            bundles.entry(index).or_default().insert(slot);
        }
        for (index, slots) in bundles {
            self.empty_slots(index, &slots)?;
        }
        for order in orders {
            let objects = self.log.tiles.objects();
            for name in objects.set_aside_with(&self.id_of(order)?)? {
                objects.delete_durably(&name)?;
            }
        }
        Ok(())
    }

    /// Takes commits up to a size off those that are retained, as [`Settling::drop_through`] does; they are still to be
    /// deleted.
    fn let_go_through(&mut self, size: TreeSize) -> Vec<u64> {
        let guarded = self.guarded();
        let mut numbers = Vec::new();
        while self.retained.len() > 1 {
            match self.retained.pop_front_if(|oldest| oldest.size <= size && oldest.number < guarded) {
                Some(oldest) => numbers.push(oldest.number),
                None => break,
            }
        }
        numbers
    }

    /// Deletes the partial forms of a bundle, but the one that recovery needs, and empties slots of its full form.
    fn empty_slots(&self, index: u64, slots: &BTreeSet<usize>) -> Result<(), Stop> {
        let objects = self.log.tiles.objects();
        let path = TilePath::full(TileKind::Statements, index);
        let needed = path.width_at(self.edges[0].size());
        let keep = (0 < needed && needed < TILE_WIDTH).then_some(needed);
        objects.forget_partials(path.kind, index, keep)?;
        let Some(full) = objects.get(&path.to_string())? else { return Ok(()) };
        let left = empty_items(&full, |slot| slots.contains(&slot));
        let left = left.map_err(|error| ReadError::Bundle { path, error })?;
        if left != full {
            objects.replace_durably(&path.to_string(), left.into())?;
        }
        Ok(())
    }

    /// The id of an erased record, as its entry has it.
    fn id_of(&self, order: &Order) -> Result<Vec<u8>, Stop> {
        let missing = || ReadError::Entry { index: order.target };
        let item = block_on(self.log.tiles.item(&self.edges[1], order.target))?.ok_or_else(missing)?;
        let entry = Entry::parse(&item.entry).map_err(|_| missing())?;
        Ok(entry.id.to_string().into_bytes())
    }
}

/// The partial bundle of statements of this very edge: whatever lay there may have more in it.
fn replace_ragged_statements(log: &Log, edge: &Edge) -> Result<(), Stop> {
    let (index, width) = (edge.size().get() / TILE_WIDTH, edge.size().get() % TILE_WIDTH);
    if width == 0 {
        return Ok(());
    }
    let path = TilePath { kind: TileKind::Statements, index, width };
    let bytes: Bytes = block_on(log.tiles.file(edge, path))?.ok_or(ReadError::Missing { path })?;
    Ok(log.tiles.objects().replace_durably(&path.to_string(), bytes)?)
}

#[cfg(test)]
mod tests;

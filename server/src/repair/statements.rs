//! Statements: each has to be the one that its entry names, or its slot empty by order of a record.

use std::collections::BTreeSet;

use bytes::Bytes;
use counterfoil_merkle::{
    bundle::{format_bundle, parse_bundle},
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use counterfoil_receipt::{Entry, Id};

use super::{Base, From, Repair, RepairError, Why, tree::slots};
use crate::{commit::Item, order::Order, tiles::ReadError};

/// Statements, and where those came from that were not found here, if there were any.
type Mended = (Vec<Bytes>, Option<From>);

impl Repair<'_> {
    /// Mends all statements below a tree's head, and returns entries and statements above its last full bundle; `None` if not
    /// all of them are sound then.
    pub(super) fn all_statements(
        &mut self,
        base: &Base,
        orders: &[Order],
    ) -> Result<Option<Vec<Item>>, RepairError> {
        let ordered = orders.iter().map(|order| order.target.get()).collect();
        let left = self.left.len();
        for index in 0..base.bundles() {
            let of = TilePath::full(TileKind::Entries, index);
            let entries = self.stored(&of.to_string())?.and_then(|bytes| slots(&bytes, TILE_WIDTH));
            let entries = entries.ok_or(ReadError::Missing { path: of })?;
            let path = TilePath { kind: TileKind::Statements, ..of };
            let stored = self.stored(&path.to_string())?;
            let found = stored.as_ref().and_then(|bytes| slots(bytes, TILE_WIDTH));
            if let Some((statements, Some(from))) = self.statements(path, path, &entries, &ordered, found)? {
                let bytes = format_bundle(statements.iter().map(|statement| &**statement)).into();
                self.put(path, bytes, stored.as_ref(), from)?;
            }
        }
        let mut items = Vec::new();
        if let Some(path) = base.ragged_path(TileKind::Statements) {
            let (place, found) = self.ragged_slots(path)?;
            let mended = self.statements(path, place, &base.ragged, &ordered, found)?;
            let (statements, from) = mended.unwrap_or_default();
            let pairs = base.ragged.iter().cloned().zip(statements);
            items.extend(pairs.map(|(entry, statement)| Item { entry, statement }));
            self.ragged.extend(from.map(|from| (path, from)));
        }
        Ok((self.left.len() == left).then_some(items))
    }

    /// The statements of these entries, and where what was not found here came from. What is sound of a bundle stays; what was
    /// ordered to go is not brought back. `None` if that is not all of them; then `place` is named.
    fn statements(
        &mut self,
        path: TilePath,
        place: TilePath,
        entries: &[Bytes],
        ordered: &BTreeSet<u64>,
        found: Option<Vec<Bytes>>,
    ) -> Result<Option<Mended>, RepairError> {
        let first = path.index * TILE_WIDTH;
        let mut statements = found.unwrap_or_default();
        let whole = statements.len() == entries.len();
        statements.resize(entries.len(), Bytes::new());
        let (mut needed, mut changed) = (Vec::new(), !whole);
        for (slot, (entry, statement)) in entries.iter().zip(&mut statements).enumerate() {
            let leaf = first + slot as u64;
            if !statement.is_empty() && !matches(entry, statement) {
                (*statement, changed) = (Bytes::new(), true);
            }
            if statement.is_empty() && !ordered.contains(&leaf) {
                needed.push((slot, leaf));
            }
        }
        if needed.is_empty() && !changed {
            return Ok(Some((statements, None)));
        }
        let from = if needed.is_empty() { From::Here } else { From::Mirror };
        if let Err(why) = self.fetch_statements(path, entries, &needed, &mut statements) {
            self.leave(place, why);
            return Ok(None);
        }
        Ok(Some((statements, Some(from))))
    }

    /// Fills slots, whose positions and leaves are given, with what the mirror has.
    fn fetch_statements(
        &mut self,
        path: TilePath,
        entries: &[Bytes],
        needed: &[(usize, u64)],
        statements: &mut [Bytes],
    ) -> Result<(), Why> {
        if needed.is_empty() {
            return Ok(());
        }
        let mirrored = slots(&self.mirror.tile(path)?, path.width).ok_or(Why::Refused)?;
        for &(slot, leaf) in needed {
            let statement = &mirrored[slot];
            if statement.is_empty() {
                return Err(Why::NoStatement { leaf });
            }
            if !matches(&entries[slot], statement) {
                return Err(Why::RefusedStatement { leaf });
            }
            statements[slot] = statement.clone();
        }
        Ok(())
    }
}

/// Whether a statement is the one that an entry names.
pub(super) fn matches(entry: &[u8], statement: &[u8]) -> bool {
    Entry::parse(entry).is_ok_and(|entry| entry.id == Id::of_statement(statement))
}

/// Whether a bundle of statements is what it must be, but for statements that were ordered to go and are still there: the
/// next start takes them out.
pub(super) fn is_same(stored: &[u8], expected: &[u8]) -> bool {
    let (Ok(stored), Ok(expected)) = (parse_bundle(stored), parse_bundle(expected)) else { return false };
    let same = |(stored, expected): (&&[u8], &&[u8])| stored == expected || expected.is_empty();
    stored.len() == expected.len() && stored.iter().zip(&expected).all(same)
}

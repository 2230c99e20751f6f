//! Erasures: who ordered them, whether the log carries them out, and carrying them out in what is kept here.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, LeafIndex,
    bundle::parse_bundle,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use counterfoil_receipt::{
    Timestamp,
    audit::{Code, Erasures, Place, Report, erasures::Order, served::bundle_items},
    entry as leaf,
};

use super::{
    reader::{Answer, Reader, Readers},
    round::Monitor,
    state::StateError,
};

/// How long a log may take to carry out an erasure that it has logged.
pub const ERASED_WITHIN: Duration = Duration::from_secs(600);

/// So many bundles are read again in a round, at most, to see whether statements are gone.
const LOOKS_MAX: usize = 64;

impl Monitor {
    /// Follows the orders that are known: judges them, erases what is kept here, and lets those go that the log has carried
    /// out.
    pub(super) async fn follow_erasures(
        &mut self,
        now: Timestamp,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let mut orders = std::mem::take(&mut self.state.audit.erasures_mut().orders);
        if orders.is_empty() {
            return Ok(());
        }
        let before = orders.clone();
        let followed = self.follow(&mut orders, now, report).await;
        self.dirty |= orders != before;
        self.state.audit.erasures_mut().orders = orders;
        followed
    }

    async fn follow(
        &self,
        orders: &mut Vec<Order>,
        now: Timestamp,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let new = self.judge_orders(orders, report).await?;
        // Before the state goes past them: what is stopped here is done again.
        if let Some(kept) = self.kept().filter(|_| !new.is_empty()) {
            kept.erase(&new)?;
        }
        self.look_after(orders, now, report).await;
        Ok(())
    }

    /// Looks up what orders are about, and judges who signed them; those that the log had no right to take are let go. Those
    /// whose targets cannot be had now stay as they are. Gives what is to be erased and was not known before.
    async fn judge_orders(
        &self,
        orders: &mut Vec<Order>,
        report: &mut Report,
    ) -> Result<BTreeSet<LeafIndex>, StateError> {
        let wanted: BTreeSet<_> =
            orders.iter().filter(|order| order.target.is_none()).map(|order| order.about).collect();
        let mut new = BTreeSet::new();
        if wanted.is_empty() {
            return Ok(new);
        }
        let targets = self.directory.tiles().find(&wanted, self.state.audit.frontier())?;
        let mut entries = BTreeMap::new();
        for mut order in std::mem::take(orders) {
            if order.target.is_some() {
                orders.push(order);
                continue;
            }
            let Some(index) = targets.get(&order.about).copied().filter(|index| *index < order.record) else {
                Erasures::judge_missing(&order, report);
                continue;
            };
            let bundle = index.get() / TILE_WIDTH;
            if let Entry::Vacant(empty) = entries.entry(bundle) {
                empty.insert(self.entries(bundle, report).await?);
            }
            let Some(entry) = entries[&bundle].as_ref().and_then(|items: &Bytes| item(items, index)) else {
                orders.push(order);
                continue;
            };
            let judged = leaf::Entry::parse(entry)
                .is_ok_and(|target| self.state.audit.erasures().judge_target(&order, index, &target, report));
            if judged {
                order.target = Some(index);
                new.insert(index);
                orders.push(order);
            }
        }
        Ok(new)
    }

    /// Reads a bundle of statements again that was read before: what has vanished since must be explained by a record.
    pub(super) async fn statements_again(
        &mut self,
        reader: &Reader,
        index: LeafIndex,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let bundle = index.get() / TILE_WIDTH;
        let path = self.bundle_path(TileKind::Statements, bundle);
        // One that does not know all that is gone cannot tell what is new.
        if self.state.audit.erasures().overflowed {
            return Ok(());
        }
        let Answer::Bytes(bytes) = self.statements(reader, bundle, report).await else { return Ok(()) };
        let Some(items) = bundle_items(path, &bytes, report) else { return Ok(()) };
        let leaves = self.directory.tiles().bundle(bundle, self.state.audit.frontier())?;
        let known = |leaf: &Hash| self.state.audit.erasures().is_known(leaf);
        let empty = (0_u16..).zip(&items).filter(|(_, item)| item.is_empty());
        let empty = empty.filter_map(|(slot, _)| Some((slot, leaves.hash(slot)?)));
        let new: Vec<_> = empty.filter(|(_, leaf)| !known(leaf)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let Some(entries) = self.entries(bundle, report).await? else { return Ok(()) };
        for (slot, leaf) in new {
            let index = LeafIndex::new(bundle * TILE_WIDTH + u64::from(slot))?;
            // What cannot be read as an entry has no statement to lose.
            let Some(Ok(entry)) = item(&entries, index).map(leaf::Entry::parse) else { continue };
            self.state.audit.erasures_mut().found_empty(index, leaf, &entry, report);
            (self.dirty, self.unexplained) = (true, true);
        }
        Ok(())
    }

    /// The entries of a bundle, as they were verified; none if the report says why.
    async fn entries(&self, index: u64, report: &mut Report) -> Result<Option<Bytes>, StateError> {
        let path = self.bundle_path(TileKind::Entries, index);
        let leaves = self.directory.tiles().bundle(index, self.state.audit.frontier())?;
        let accept = |bytes: &[u8], report: &mut Report| {
            let items = bundle_items(path, bytes, report)?;
            let same = (0_u16..).zip(&items).all(|(slot, item)| leaves.hash(slot) == Some(Hash::leaf(item)));
            if !same {
                report.push(Code::EntryChanged, Place::Tile(path), "not the entries that were verified");
            }
            same.then(|| Bytes::copy_from_slice(bytes))
        };
        Ok(Readers::new(&self.readers, Place::Log).tile(path, report, accept).await)
    }

    /// Lets orders go whose statements the log no longer shows, or does not show to us; reports those that it still shows when
    /// it had time enough.
    async fn look_after(&self, orders: &mut Vec<Order>, now: Timestamp, report: &mut Report) {
        let Some(reader) = Readers::new(&self.readers, Place::Log).first().cloned() else { return };
        let mut shown: BTreeMap<u64, Option<Answer>> = BTreeMap::new();
        let mut left = Vec::new();
        for order in orders.drain(..) {
            let Some(target) = order.target else {
                left.push(order);
                continue;
            };
            let bundle = target.get() / TILE_WIDTH;
            if !shown.contains_key(&bundle) {
                let answer = if shown.len() < LOOKS_MAX {
                    Some(self.statements(&reader, bundle, report).await)
                } else {
                    None
                };
                shown.insert(bundle, answer);
            }
            match &shown[&bundle] {
                Some(Answer::Withheld) => {}
                Some(Answer::Bytes(bytes)) if item(bytes, target).is_some_and(<[u8]>::is_empty) => {}
                Some(Answer::Bytes(_)) => {
                    let for_ms = now.millis().saturating_sub(order.at.millis());
                    if Duration::from_millis(for_ms) > ERASED_WITHIN {
                        let message = format_args!(
                            "entry {} orders its erasure, and {} s later it is still served",
                            order.record,
                            for_ms / 1000
                        );
                        report.push(Code::StatementNotErased, Place::Entry(target), message);
                    }
                    left.push(order);
                }
                Some(Answer::Failed) | None => left.push(order),
            }
        }
        *orders = left;
    }

    async fn statements(&self, reader: &Reader, bundle: u64, report: &mut Report) -> Answer {
        reader.tile(self.bundle_path(TileKind::Statements, bundle), report).await
    }

    /// A bundle, as far as the tree was read.
    fn bundle_path(&self, kind: TileKind, index: u64) -> TilePath {
        let width = TilePath::full(kind, index).width_at(self.state.head().size);
        TilePath { kind, index, width }
    }
}

/// The item of a bundle that is at this index of the log.
fn item(bundle: &[u8], index: LeafIndex) -> Option<&[u8]> {
    let slot = usize::try_from(index.get() % TILE_WIDTH).ok()?;
    parse_bundle(bundle).ok()?.get(slot).copied()
}

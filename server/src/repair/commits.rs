//! The commits that a repair goes by, the orders to erase that the log has, and commit records that are damaged themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, LeafIndex, TreeHead,
    tile::{TILE_WIDTH, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::{Entry, Kind};

use super::{Base, Fate, Repair, RepairError, Why, statements::matches, tree::slots};
use crate::{
    commit::{CommitRecord, Header, Item},
    objects::{commit_name, never_told_name},
    order::Order,
    recover::{RecoverError, parse_commit},
    tiles::Edge,
};

/// The newest commits that follow one another unbroken.
pub(super) struct Chain {
    /// Oldest first; never empty.
    pub(super) records: Vec<CommitRecord>,
    /// The record below them, if it is damaged: what it held has to be in tiles and bundles.
    below: Option<u64>,
    /// The newest record of all, if it is damaged.
    newest: Option<u64>,
}

impl Chain {
    /// The tree that has to be in tiles and bundles.
    pub(super) fn base(&self) -> TreeHead {
        self.records[0].header.old
    }
}

impl Repair<'_> {
    /// Reads the commits from the newest back, as far as they are sound.
    pub(super) fn chain(&mut self) -> Result<Option<Chain>, RepairError> {
        let mut numbers = self.objects.commit_numbers()?;
        let last = *numbers.last().ok_or(RecoverError::Empty)?;
        if self.objects.get(&never_told_name(last))?.is_some() {
            return Err(RecoverError::NeverTold { number: last }.into());
        }
        let newest = self.record(last)?.is_none().then_some(last);
        if newest.is_some() {
            numbers.pop();
        }
        let (mut records, mut below) = (Vec::<CommitRecord>::new(), None);
        let mut number = numbers.last().copied().unwrap_or(0);
        // A gap is where settled commits begin whose deletion a power cut undid.
        while numbers.pop_if(|next| *next == number).is_some() {
            let follows = |record: &CommitRecord| {
                records.last().is_none_or(|next| next.header.previous == record.digest)
            };
            match self.record(number)?.filter(follows) {
                Some(record) => records.push(record),
                None => {
                    below = Some(number);
                    break;
                }
            }
            number = number.saturating_sub(1);
        }
        records.reverse();
        if records.last().is_none_or(|record| newest.is_some_and(|newest| newest != record.header.number + 1))
        {
            self.leave(commit_name(newest.unwrap_or(last)), Why::Unknown);
            return Ok(None);
        }
        Ok(Some(Chain { records, below, newest }))
    }

    fn record(&self, number: u64) -> Result<Option<CommitRecord>, RepairError> {
        let stored = self.stored(&commit_name(number))?;
        Ok(stored.and_then(|bytes| parse_commit(&bytes, number).ok()))
    }

    /// Remembers which of these entries, the first of which has that index, order an erasure.
    pub(super) fn note_erasures(&mut self, first: u64, entries: &[Bytes]) -> Result<(), RepairError> {
        for (bytes, index) in entries.iter().zip(first..) {
            let Ok(entry) = Entry::parse(bytes) else { continue };
            if let Some(about) = entry.about.filter(|_| entry.kind == Kind::Erasure) {
                self.erasures.push((LeafIndex::new(index)?, about));
            }
        }
        Ok(())
    }

    /// All erasures that the log orders. Its tiles are sound.
    pub(super) fn orders(&mut self, base: &Base, chain: &Chain) -> Result<Vec<Order>, RepairError> {
        let (size, first) = (base.head.size.get(), base.bundles() * TILE_WIDTH);
        let above: Vec<_> =
            chain.records.iter().flat_map(|record| &record.items).map(|item| item.entry.clone()).collect();
        self.note_erasures(first, &base.ragged)?;
        self.note_erasures(size, &above)?;
        if self.erasures.is_empty() {
            return Ok(Vec::new());
        }
        let mut targets: BTreeMap<Hash, Option<u64>> =
            self.erasures.iter().map(|(_, about)| (*about, None)).collect();
        let mut look = |hash: Hash, index: u64| {
            if let Some(found) = targets.get_mut(&hash) {
                *found = Some(index);
            }
        };
        for index in 0..base.bundles() {
            let path = TilePath::full(TileKind::Hashes(0), index);
            let Some(bytes) = self.stored(&path.to_string())? else { continue };
            let Ok(tile) = TileTree::from_bytes(&bytes) else { continue };
            let hashes = (0..=u16::from(u8::MAX)).map_while(|position| tile.hash(position));
            hashes.zip(index * TILE_WIDTH..).for_each(|(hash, index)| look(hash, index));
        }
        base.ragged.iter().zip(first..).for_each(|(entry, index)| look(Hash::leaf(entry), index));
        above.iter().zip(size..).for_each(|(entry, index)| look(Hash::leaf(entry), index));
        let mut orders = Vec::new();
        for (record, about) in &self.erasures {
            let target = targets[about].map(LeafIndex::new).transpose()?;
            orders.extend(
                target.filter(|target| target < record).map(|target| Order { target, record: *record }),
            );
        }
        Ok(orders)
    }

    /// Commit records that are damaged: one below the others is not needed any more; the newest is made again, if the guard
    /// saw what it led to.
    pub(super) fn commits(&mut self, chain: &Chain, edge: &Edge) -> Result<(), RepairError> {
        if let Some(number) = chain.below {
            // With what it may have held of statements it is not kept.
            self.objects.delete_durably(&commit_name(number))?;
            self.done(commit_name(number), Fate::Dropped);
        }
        let (Some(number), Some(before)) = (chain.newest, chain.records.last()) else { return Ok(()) };
        let name = commit_name(number);
        let seen = self
            .mark
            .as_ref()
            .filter(|mark| mark.commit == number && mark.origin == self.identity.origin.as_str());
        let Some(new) = seen.map(|mark| mark.head).filter(|new| new.size >= edge.size()) else {
            self.leave(name, Why::Unknown);
            return Ok(());
        };
        let items = match self.items_above(edge, new) {
            Ok(items) => items,
            Err(why) => {
                self.leave(name, why);
                return Ok(());
            }
        };
        let fate =
            if items.is_empty() { Fate::Remade { aside: None } } else { Fate::Fetched { aside: None } };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).expect("the system gives random bytes");
        let header = Header { number, previous: before.digest, nonce, old: edge.frontier.head(), new };
        let (record, _) = CommitRecord::format(&header, items.iter());
        self.objects.replace_durably(&name, record.into())?;
        self.objects.sync_found(&name)?;
        self.done(name, fate);
        Ok(())
    }

    /// What the mirror has above an edge, if that leads to the head.
    fn items_above(&mut self, edge: &Edge, new: TreeHead) -> Result<Vec<Item>, Why> {
        let (mut frontier, mut items) = (edge.frontier.clone(), Vec::new());
        for index in edge.size().get() / TILE_WIDTH..new.size.get().div_ceil(TILE_WIDTH) {
            let width = TilePath::full(TileKind::Entries, index).width_at(new.size);
            let skip =
                usize::try_from(edge.size().get().saturating_sub(index * TILE_WIDTH)).expect("at most 256");
            if skip as u64 >= width {
                continue;
            }
            let [entries, statements] = [TileKind::Entries, TileKind::Statements].map(|kind| {
                let bytes = self.mirror.tile(TilePath { kind, index, width })?;
                slots(&bytes, width).ok_or(Why::Refused)
            });
            let pairs = entries?.into_iter().zip(statements?).skip(skip);
            for ((entry, statement), leaf) in pairs.zip(index * TILE_WIDTH + skip as u64..) {
                frontier.push(Hash::leaf(&entry), |_| {}).map_err(|_| Why::Refused)?;
                if statement.is_empty() {
                    return Err(Why::NoStatement { leaf });
                }
                if !matches(&entry, &statement) {
                    return Err(Why::RefusedStatement { leaf });
                }
                items.push(Item { entry, statement });
            }
        }
        if frontier.head() == new { Ok(items) } else { Err(Why::Refused) }
    }
}

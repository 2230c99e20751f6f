//! Reading what a larger checkpoint adds, all of it, before a word of it is believed.

use std::time::{Duration, Instant};

use counterfoil_merkle::{
    TreeHead, TreeSize,
    checkpoint::SignedCheckpoint,
    evidence::ForkEvidence,
    frontier::FullTile,
    growth::Growth,
    hash::Hash,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::audit::{Audit, Code, Leaf, Place, Report, Slot, served};

use super::{
    GROWTH_MAX, Larger, Outside, judge_larger,
    reader::{Answer, Reader, refuse_withheld},
    state::{State, StateError},
    tiles::Staging,
};

/// What reading may take, and a second more for each bundle: a log that is slower keeps its monitors from seeing.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of following a larger checkpoint.
pub(super) enum Followed {
    /// All of it was read and recomputed; the staged tiles may be kept.
    Verified(Staging),
    /// The log signed another history.
    Forked(Box<ForkEvidence>),
    /// It cannot be followed now; why is in the report.
    Stopped,
}

/// One growth being read.
struct Reading<'a, 'o> {
    reader: &'a Reader,
    outside: &'a mut Outside<'o>,
    audit: &'a mut Audit,
    report: &'a mut Report,
    staging: Staging,
    old: TreeSize,
    new: TreeSize,
    statements: bool,
}

/// Follows `seen`, a verified checkpoint of a larger tree, on `audit`, which is a copy of the state's that took `seen`.
pub(super) async fn follow(
    state: &State,
    audit: &mut Audit,
    seen: &SignedCheckpoint,
    reader: &Reader,
    staging: Staging,
    outside: &mut Outside<'_>,
    report: &mut Report,
) -> Result<Followed, StateError> {
    let (old, head) = (audit.size(), seen.unverified().head);
    let place = Place::Checkpoint(head.size);
    let wanted = Growth::nodes(old, head.size)?;
    let Some(hashes) = reader.nodes(&wanted, head.size, report).await else {
        return Ok(Followed::Stopped);
    };
    let growth = Growth::from_nodes(old, head.size, &hashes)?;
    let folded = growth.new_root();
    match judge_larger(seen.clone(), state.newest.clone(), growth) {
        Larger::Grown => {}
        Larger::Forked(evidence) => return Ok(Followed::Forked(evidence)),
        Larger::Unfolded => {
            let message = format_args!("the tiles give root {folded}, signed is {}", head.root);
            report.push(Code::RootMismatch, place, message);
            return Ok(Followed::Stopped);
        }
    }
    if head.size.get() - old.get() > GROWTH_MAX {
        let message = format_args!(
            "{} entries more; at most {GROWTH_MAX} are read at once",
            head.size.get() - old.get()
        );
        report.push(Code::GrowthTooLarge, place, message);
        return Ok(Followed::Stopped);
    }
    let reading = Reading { reader, outside, audit, report, staging, old, new: head.size, statements: true };
    reading.read(head).await
}

impl Reading<'_, '_> {
    async fn read(mut self, head: TreeHead) -> Result<Followed, StateError> {
        let bundles = self.old.get() / TILE_WIDTH..self.new.get().div_ceil(TILE_WIDTH);
        let limit = PATIENCE + Duration::from_secs(bundles.end - bundles.start);
        let started = Instant::now();
        for index in bundles.clone() {
            if started.elapsed() > limit {
                let message =
                    format_args!("read {} of {} bundles", index - bundles.start, bundles.end - bundles.start);
                self.report.push(Code::TooSlow, Place::Checkpoint(self.new), message);
                return Ok(Followed::Stopped);
            }
            if !self.bundle(index).await? {
                return Ok(Followed::Stopped);
            }
            (self.outside.progress)(self.audit.size(), self.new);
        }
        if self.audit.head() != head {
            self.audit.check_head(head, self.report);
            return Ok(Followed::Stopped);
        }
        for (id, width) in TileId::ragged(self.new) {
            let tile = self.audit.frontier().tile(id.level).cloned();
            if id.level > 0 && !self.compare(id, width, &tile.unwrap_or_default()).await {
                return Ok(Followed::Stopped);
            }
        }
        self.audit.check_gaps((self.outside.now)(), self.report);
        Ok(Followed::Verified(self.staging))
    }

    /// Takes one bundle with its statements, and compares every tile that it fills. Whether all of it could be read.
    async fn bundle(&mut self, index: u64) -> Result<bool, StateError> {
        let path = |kind| {
            let path = TilePath::full(kind, index);
            TilePath { width: path.width_at(self.new), ..path }
        };
        let paths = [TileKind::Entries, TileKind::Statements, TileKind::Hashes(0)].map(path);
        let [entry_path, statement_path, hash_path] = paths;
        let [entries, statements, hashes] = self.reader.bundle(paths, self.statements, self.report).await;
        if statements == Answer::Withheld && std::mem::replace(&mut self.statements, false) {
            let message = "the log shows statements to token holders only: they are not checked";
            self.report.push(Code::StatementsWithheld, Place::Log, message);
        }
        let entries = refuse_withheld(entry_path, entries, self.report);
        let hashes = refuse_withheld(hash_path, hashes, self.report);
        let (Answer::Bytes(entries), Answer::Bytes(hashes)) = (entries, hashes) else { return Ok(false) };
        let Some(entries) = served::bundle_items(entry_path, &entries, self.report) else { return Ok(false) };
        let slots = match &statements {
            Answer::Withheld => vec![Slot::Withheld; entries.len()],
            Answer::Failed => return Ok(false),
            Answer::Bytes(bytes) => match served::bundle_items(statement_path, bytes, self.report) {
                Some(items) => items.into_iter().map(Slot::Served).collect(),
                None => return Ok(false),
            },
        };
        let filled = self.leaves(index * TILE_WIDTH, &entries, &slots)?;
        let computed = match filled.first() {
            Some(tile) => tile.tree.clone(),
            None => self.audit.frontier().tile(0).cloned().unwrap_or_default(),
        };
        served::check_tile(hash_path, &hashes, &computed, self.report);
        for tile in &filled {
            if tile.id.level > 0 && !self.compare(tile.id, TILE_WIDTH, &tile.tree).await {
                return Ok(false);
            }
            self.staging.put(tile)?;
        }
        Ok(true)
    }

    /// Takes the leaves that are new, and holds those that are not against the verified tree.
    fn leaves(
        &mut self,
        first: u64,
        entries: &[&[u8]],
        slots: &[Slot<'_>],
    ) -> Result<Vec<FullTile>, StateError> {
        let now = (self.outside.now)();
        let mut filled = Vec::new();
        let known = if first < self.old.get() { self.audit.frontier().tile(0).cloned() } else { None };
        for (position, (entry, slot)) in (0_u16..).zip(entries.iter().zip(slots)) {
            match known.as_ref().and_then(|known| known.hash(position)) {
                Some(known) => {
                    let index = counterfoil_merkle::LeafIndex::new(first + u64::from(position))?;
                    if Hash::leaf(entry) != known {
                        self.report.push(
                            Code::EntryChanged,
                            Place::Entry(index),
                            "not the entry that was verified",
                        );
                    }
                }
                None => {
                    let index = self.audit.size().next_index();
                    let leaf = Leaf::read(entry, *slot);
                    self.audit.take(&leaf, now, self.report, |tile| filled.push(tile))?;
                    if let Some(entry) = leaf.entry() {
                        (self.outside.observe)(index, entry, leaf.statement(), self.report);
                    }
                }
            }
        }
        Ok(filled)
    }

    /// Compares a served hash tile with the recomputed one. Whether it could be had.
    async fn compare(&mut self, id: TileId, width: u64, computed: &TileTree) -> bool {
        let path = TilePath { kind: TileKind::Hashes(id.level), index: id.index, width };
        let answer = self.reader.tile(path, self.report).await;
        let Answer::Bytes(bytes) = refuse_withheld(path, answer, self.report) else { return false };
        served::check_tile(path, &bytes, computed, self.report);
        true
    }
}

//! What a record is about, found below the monitor's own tiles and read from the log again if it is no longer in mind.

use std::collections::{HashMap, HashSet};

use counterfoil_merkle::{Hash, LeafIndex, tile::TILE_WIDTH};
use counterfoil_receipt::{
    admission::CHAIN_MAX,
    audit::{Code, Leaf, Place},
    standing::Known,
};

use super::{
    bundle::{Bundle, Wanted},
    found::Found,
    pipeline::fetch_one,
    reading::Reading,
    state::StateError,
    subjects::has_subject,
};

/// The records that those of a bundle are about, as far as they come before it, and what is known of them: nothing of one that this
/// program cannot read.
pub(super) type Abouts = HashMap<Hash, Option<Known>>;

/// What came of looking for a record.
enum Sought {
    /// It is there.
    Found(Option<Known>),
    /// It is not in the tree that was read.
    Nowhere,
    /// It could not be read now; why is in the report.
    Unavailable,
}

impl Reading<'_> {
    /// Looks for what the records of a bundle are about. None if some of that cannot be read now.
    pub(super) async fn abouts(
        &mut self,
        bundle: &Bundle,
        found: &mut Found,
    ) -> Result<Option<Abouts>, StateError> {
        let (mut abouts, mut passed) = (Abouts::new(), HashSet::new());
        for leaf in &bundle.leaves {
            let about = leaf.entry().filter(|entry| has_subject(entry.kind)).and_then(|entry| entry.about);
            if let Some(about) = about.filter(|about| !passed.contains(about) && !abouts.contains_key(about))
            {
                match self.seek(about, found).await? {
                    Sought::Found(known) => drop(abouts.insert(about, known)),
                    Sought::Nowhere => {}
                    Sought::Unavailable => return Ok(None),
                }
            }
            passed.insert(leaf.hash());
        }
        Ok(Some(abouts))
    }

    /// Looks for a record of the tree that was read, and for those that it is about in turn.
    async fn seek(&mut self, leaf: Hash, found: &mut Found) -> Result<Sought, StateError> {
        let (mut wanted, mut chain, mut known) = (Some(leaf), Vec::new(), None);
        while let Some(leaf) = wanted.take().filter(|_| chain.len() <= CHAIN_MAX) {
            if let Some(kept) = self.monitor.subjects.get(leaf) {
                known = Some(kept.clone());
                break;
            }
            let tiles = self.monitor.directory.tiles();
            let Some(index) = tiles.newest(leaf, self.audit.frontier())? else {
                if chain.is_empty() {
                    return Ok(Sought::Nowhere);
                }
                break;
            };
            let Some(read) = self.reread(index, leaf, found).await else { return Ok(Sought::Unavailable) };
            wanted = read.entry().filter(|entry| has_subject(entry.kind)).and_then(|entry| entry.about);
            chain.push((index, read));
        }
        for (index, leaf) in chain.into_iter().rev() {
            known = leaf.entry().map(|entry| Known::of(index, entry, leaf.statement(), known.as_ref()));
            if let Some(known) = &known {
                self.monitor.subjects.put(leaf.hash(), known.clone());
            }
        }
        Ok(Sought::Found(known))
    }

    /// Reads an old record again, from whoever has it.
    async fn reread(&mut self, index: LeafIndex, leaf: Hash, found: &mut Found) -> Option<Leaf> {
        let bundle = index.get() / TILE_WIDTH;
        let position = usize::try_from(index.get() % TILE_WIDTH).expect("below 256");
        for reader in self.readers.in_turn() {
            let wanted = Wanted { known: 0, ..self.pipeline.wanted(bundle) };
            let (report, read) = fetch_one(wanted, reader).await;
            found.fresh.absorb(report);
            let Some(read) = read else { continue };
            match read.leaves.into_iter().nth(position) {
                Some(read) if read.hash() == leaf => return Some(read),
                _ => {
                    let message = "not the entry that was verified";
                    found.fresh.push(Code::EntryChanged, Place::Entry(index), message);
                }
            }
        }
        None
    }
}

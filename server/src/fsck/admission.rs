//! Admission over again: whether every record of the log was let in rightly, judged from entries and statements alone.

use std::sync::Arc;

use counterfoil_merkle::{Hash, TreeSize};
use counterfoil_receipt::{
    Entry,
    admission::{Chain, Link, NotAdmitted, Pass, Replay},
    audit::{Code, Leaf, Place, Report},
    statement::Origin,
};
use futures::executor::block_on;

use crate::{
    index::Index,
    tiles::{Edge, ReadError, Tiles},
};

/// A replay of admission beside the check of everything else.
pub(super) struct AdmissionCheck {
    replay: Replay,
    /// Where leaves are, of those before the one that is judged.
    index: Index,
    tiles: Tiles,
    edge: Arc<Edge>,
    in_part: u64,
}

impl AdmissionCheck {
    /// A check from entry 0 on; `tiles` and `edge` are where records are read again that others are about.
    pub(super) fn new(log: Origin, tiles: Tiles, edge: Arc<Edge>) -> Self {
        Self { replay: Replay::new(log), index: Index::new(), tiles, edge, in_part: 0 }
    }

    /// How many records were judged.
    pub(super) const fn size(&self) -> TreeSize {
        self.replay.size()
    }

    /// How many of them on their entries alone, or part of what they say, for a statement was erased.
    pub(super) const fn in_part(&self) -> u64 {
        self.in_part
    }

    /// Judges the next leaf.
    pub(super) fn leaf(&mut self, leaf: &Leaf, report: &mut Report) -> Result<(), ReadError> {
        let index = self.size().next_index();
        let place = Place::Entry(index);
        let Some(entry) = leaf.entry() else {
            // It is reported as what it is; what comes after it is judged without it.
            self.replay.pass();
            return Ok(());
        };
        let mut chain = Chain::of(entry.about);
        while let Some(about) = chain.wants() {
            chain.put(self.look_up(about)?);
        }
        match self.replay.next(entry, leaf.hash(), leaf.statement(), &chain) {
            Ok(Pass::Whole) => {}
            Ok(Pass::InPart(_)) => self.in_part += 1,
            Err(error @ NotAdmitted::Blind(_)) => report.push(Code::AdmissionUnseen, place, error),
            Err(error) => report.push(Code::NotAdmitted, place, error),
        }
        self.index.push(&entry.id, leaf.hash(), entry.kind);
        // Runs are for the disk; here they would only take memory.
        while self.index.take_run(TreeSize::MAX).is_some() {}
        Ok(())
    }

    fn look_up(&self, leaf: Hash) -> Result<Option<Link>, ReadError> {
        for index in self.index.leaves(leaf) {
            let Some(item) = block_on(self.tiles.item(&self.edge, index))? else { continue };
            if Hash::leaf(&item.entry) == leaf {
                let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
                return Ok(Some(Link::new(index, leaf, entry, &item.statement)));
            }
        }
        Ok(None)
    }
}

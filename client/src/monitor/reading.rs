//! Reading what the newest checkpoint adds: every entry, in steps that are kept as they come.
//!
//! Each bundle is held against the signed root before a word of it is believed. So a step moves over nothing but entries of
//! a tree that the log signed, and what was read need not be read again, whatever comes next.

use std::time::Instant;

use counterfoil_merkle::{Hash, LeafIndex, TreeSize, frontier::FullTile, tile::TILE_WIDTH};
use counterfoil_receipt::{
    Entry, Statement, Timestamp,
    audit::{Audit, Code, Place},
    standing::Agenda,
};
use tokio::task::spawn_blocking;

use super::{
    bundle::Bundle,
    found::Found,
    lookup::Abouts,
    outline::Outline,
    pipeline::{Pipeline, fetch_one},
    reader::Readers,
    round::{Monitor, Outside, Settings, Sight, tell_lapsed},
    state::{Newest, StateError},
    subjects::has_subject,
    tiles::Written,
};
use crate::watch;

/// Most entries between two times that the state is kept.
const STEP_ENTRIES_MAX: u64 = 1 << 16;

/// So many bytes end a step early: what is on its way to the disk is less than what is left free there.
const STEP_BYTES_MAX: usize = 64 << 20;

/// So many findings end a step early: what was found is handed on before much of it gathers.
const STEP_FINDINGS_MAX: usize = 1024;

/// One reading.
pub(super) struct Reading<'m> {
    pub(super) monitor: &'m mut Monitor,
    newest: Newest,
    /// The audit as far as it was read; the state's follows with each step.
    pub(super) audit: Audit,
    /// What is due, as far as was read; likewise.
    agenda: Agenda,
    outline: Outline,
    pub(super) pipeline: Pipeline,
    pub(super) readers: Readers,
    written: Written,
    /// Entries since the last step.
    entries: u64,
}

impl Monitor {
    /// Reads on, up to the newest checkpoint or for as long as a round may.
    pub(super) async fn read(
        &mut self,
        outline: Option<Outline>,
        mut readers: Readers,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) -> Result<(), StateError> {
        let Some(newest) = self.state.newest.clone().filter(|_| self.state.backlog() > 0) else {
            return Ok(());
        };
        let outline = match outline {
            Some(outline) => Some(outline),
            None => Outline::open(newest.head(), &mut readers, &mut found.fresh).await,
        };
        let (Some(outline), Some(reader)) = (outline, readers.first()) else { return Ok(()) };
        let (audit, agenda) = (self.state.audit.clone(), self.state.agenda.clone());
        let pipeline = Pipeline::new(std::sync::Arc::clone(reader), audit.size(), newest.head().size);
        let (written, entries) = (Written::default(), 0);
        let reading =
            Reading { monitor: self, newest, audit, agenda, outline, pipeline, readers, written, entries };
        reading.run(outside, found).await
    }
}

impl Reading<'_> {
    async fn run(mut self, outside: &mut Outside<'_>, found: &mut Found) -> Result<(), StateError> {
        let (started, old, new) = (Instant::now(), self.audit.size(), self.newest.head().size);
        let Settings { reading_time_max, reading_entries_max, .. } = self.monitor.settings;
        while self.audit.size() < new {
            if self.entries == 0 && !self.monitor.has_room(found)? {
                return Ok(());
            }
            let Some(bundle) = self.next(found).await else { break };
            let Some(abouts) = self.abouts(&bundle, found).await? else { break };
            self.take(&bundle, &abouts, outside, found)?;
            (outside.progress)(self.audit.size(), new);
            let read = self.audit.size().get() - old.get();
            let late = started.elapsed() >= reading_time_max || read >= reading_entries_max;
            let full = self.entries >= STEP_ENTRIES_MAX
                || self.written.bytes() >= STEP_BYTES_MAX
                || found.fresh.findings().len() >= STEP_FINDINGS_MAX
                || self.audit.size() == new;
            if late || full {
                let kept = self.step(outside, found).await?;
                if late || !kept {
                    return Ok(());
                }
            }
        }
        self.step(outside, found).await.map(drop)
    }

    /// The next bundle, from whoever has the one that belongs there; none if nobody has.
    async fn next(&mut self, found: &mut Found) -> Option<Bundle> {
        let index = self.audit.size().get() / TILE_WIDTH;
        let (report, mut bundle) = self.pipeline.next().await?;
        found.fresh.absorb(report);
        let report = &mut found.fresh;
        let expected = self.outline.bundle(index, &mut self.readers, report).await?;
        let mut others = self.readers.in_turn().into_iter().skip(1);
        loop {
            if let Some(bundle) = bundle {
                if bundle.statements.is_none() && bundle.wanted.statements {
                    self.pipeline.without_statements();
                    let message = "the log shows statements to token holders only: they are not checked";
                    report.push(Code::StatementsWithheld, Place::Log, message);
                }
                let leaves = match expected.is(&bundle.tree) {
                    true => None,
                    false => self.outline.leaves(index, &mut self.readers, report).await,
                };
                if bundle.check(&expected, leaves.as_ref(), report) {
                    return Some(bundle);
                }
            }
            let reader = others.next()?;
            let (tried, next) = fetch_one(self.pipeline.wanted(index), reader).await;
            report.absorb(tried);
            bundle = next;
        }
    }

    /// Takes the leaves of a bundle that was held against the signed root.
    fn take(
        &mut self,
        bundle: &Bundle,
        abouts: &Abouts,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) -> Result<(), StateError> {
        let now = self.first_seen((outside.now)());
        let mut filled: Vec<FullTile> = Vec::new();
        for leaf in &bundle.leaves {
            let index = self.audit.size().next_index();
            self.audit.take(leaf, now, &mut found.fresh, |tile| filled.push(tile))?;
            if let Some(entry) = leaf.entry() {
                self.look_at(index, leaf.hash(), entry, leaf.statement(), abouts, outside, found);
            }
        }
        for tile in &filled {
            self.monitor.directory.tiles().put(tile, &mut self.written)?;
        }
        if let Some(kept) = self.monitor.kept() {
            kept.put(bundle, &mut self.written)?;
        }
        self.entries += bundle.leaves.len() as u64;
        Ok(())
    }

    /// Looks at a record: what has become due before it, what it is about, and what follows from it.
    #[expect(clippy::too_many_arguments, reason = "a record, and where what is found goes")]
    fn look_at(
        &mut self,
        index: LeafIndex,
        leaf: Hash,
        entry: &Entry,
        statement: Option<&Statement>,
        abouts: &Abouts,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) {
        for duty in self.agenda.lapse(entry.at) {
            tell_lapsed(&duty, outside, found);
        }
        let wanted = entry.about.filter(|_| has_subject(entry.kind));
        let kept = wanted.and_then(|about| self.monitor.subjects.get(about).cloned());
        let sought = wanted.and_then(|about| abouts.get(&about));
        if let Some(missing) = wanted.filter(|_| kept.is_none() && sought.is_none()) {
            let message = format_args!("it is about {missing}: no record before it that it can be about");
            found.fresh.push(Code::NotAdmitted, Place::Entry(index), message);
        }
        let about = kept.or_else(|| sought.cloned().flatten());
        let known = self.agenda.take(index, leaf, entry, statement, about.as_ref());
        self.monitor.subjects.put(leaf, known);
        let record = watch::Record { index, entry, statement, about: about.as_ref() };
        (outside.observe)(Sight::Record(record), &mut found.fresh);
    }

    /// When the entries were first seen to be there: with the checkpoint that has them.
    fn first_seen(&self, now: Timestamp) -> Timestamp {
        now.min(self.newest.seen)
    }

    /// Keeps what was read: first the files, then what was found, then how far it went. Whether that could be done.
    async fn step(&mut self, outside: &mut Outside<'_>, found: &mut Found) -> Result<bool, StateError> {
        if self.entries == 0 {
            return Ok(true);
        }
        let report = &mut found.fresh;
        let frontier = self.audit.frontier();
        let Some(ahead) = self.outline.growth_of(frontier, &mut self.readers, report).await else {
            return Ok(false);
        };
        let whole = self.audit.size() == self.newest.head().size;
        if whole {
            self.audit.check_gaps((outside.now)(), report);
            if let Some(kept) = self.monitor.kept() {
                kept.put_edge(self.audit.frontier(), &mut self.written)?;
            }
        }
        let (written, root) =
            (std::mem::take(&mut self.written), self.monitor.directory.tiles().root().to_owned());
        spawn_blocking(move || written.make_durable(&root)).await.expect("writing files does not panic")?;
        found.record(outside)?;
        let monitor = &mut *self.monitor;
        monitor.state.audit = self.audit.clone();
        monitor.state.agenda = self.agenda.clone();
        monitor.state.newest = Some(Newest { ahead, ..self.newest.clone() });
        monitor.state.advanced = Some((outside.now)());
        self.entries = 0;
        monitor.save(outside, found)?;
        Ok(true)
    }
}

/// How far behind a monitor was after its last rounds.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    last: Vec<u64>,
}

impl Backlogs {
    /// Rounds after which a backlog that grew each time is reported.
    const ROUNDS: usize = 3;

    /// Takes what is still to be read after a round, and says whether it grows and grows.
    pub(super) fn take(&mut self, backlog: u64, size: TreeSize, found: &mut Found) {
        let grows = self.last.last().is_none_or(|last| backlog > *last);
        if backlog == 0 || !grows {
            self.last.clear();
        }
        self.last.push(backlog);
        if self.last.len() > Self::ROUNDS {
            let first = self.last[0];
            let message = format_args!(
                "{backlog} entries are still to be read, and {first} were {} rounds ago: the log grows faster than it is read",
                self.last.len() - 1
            );
            found.fresh.push(Code::TooSlow, Place::Checkpoint(size), message);
            let excess = self.last.len() - 1 - Self::ROUNDS;
            self.last.drain(..excess);
        }
    }
}

//! One look at the log, and what is kept of it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use counterfoil_merkle::{
    LeafIndex, TreeHead, TreeSize, checkpoint::SignedCheckpoint, evidence::ForkEvidence, key::VerifierKey,
    policy::Policy,
};
use counterfoil_receipt::{
    Timestamp,
    audit::{Audit, Code, Finding, Ids, Place, Report},
    entry::Entry,
    statement::Statement,
};
use tokio::sync::watch;

use super::{
    Relation, STALE_AFTER_S,
    forks::Forks,
    growth::{self, Followed},
    judge_smaller,
    reader::{FETCH_TIME_MAX, Reader},
    snapshot::Snapshot,
    staleness,
    state::{State, StateDir, StateError, stripped},
    vantage::Vantage,
};
use crate::log::KnownLog;

/// How many records are remembered while the monitor runs, so as to find one that is logged twice.
const IDS_MAX: usize = 1 << 18;

/// What a monitor is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How old, in seconds, the newest attested time may be.
    pub stale_after_s: u64,
    /// The longest wait for one file.
    pub fetch_time_max: Duration,
    /// Whose cosignatures the log's checkpoints must have, if that is demanded.
    pub policy: Option<Policy>,
    /// Whether entries and statements are kept too, for a mirror.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { stale_after_s: STALE_AFTER_S, fetch_time_max: FETCH_TIME_MAX, policy: None, keep: false }
    }
}

/// Who looks at entries as they are read.
pub type Observe<'a> = dyn FnMut(LeafIndex, &Entry, Option<&Statement>, &mut Report) + Send + 'a;

/// Who makes findings durable.
pub type Record<'a> = dyn FnMut(&[Finding]) -> Result<(), StateError> + Send + 'a;

/// What a round takes from outside, and hands out.
pub struct Outside<'a> {
    /// The wall clock.
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
    /// Told, while a growth is read, how far that is: the size read and the size to reach.
    pub progress: &'a (dyn Fn(TreeSize, TreeSize) + Sync),
    /// Checkpoints of the log that somebody else was shown. None of them is trusted.
    pub notes: &'a [String],
    /// Shown each entry that can be read, in the order of their indexes, with its statement if that is there and the
    /// entry's own. What it finds goes into the report. An entry comes again only if the round ended, by an error or a
    /// crash, before the state went past it.
    pub observe: &'a mut Observe<'a>,
    /// Makes findings durable. Called before the state goes past what they are about; if it fails, the round ends with its
    /// error and the state stays where it was. The same finding may come again, in a later round or after a crash.
    pub record: &'a mut Record<'a>,
}

/// A monitor of one log.
#[derive(Debug)]
pub struct Monitor {
    directory: StateDir,
    state: State,
    forks: Forks,
    log: VerifierKey,
    clock: Option<VerifierKey>,
    vantages: Vec<Watched>,
    stale_after_s: u64,
    snapshots: watch::Sender<Snapshot>,
    /// How many findings of this round were recorded.
    recorded: usize,
}

/// A vantage point and its reader.
#[derive(Debug)]
struct Watched {
    vantage: Vantage,
    reader: Reader,
}

impl Monitor {
    /// Opens the state directory and checks all that is in it.
    ///
    /// `vantages` are the places from which this log is looked at.
    pub fn open(
        directory: &Path,
        known: &KnownLog,
        vantages: Vec<Vantage>,
        settings: Settings,
    ) -> Result<Self, StateError> {
        let directory = StateDir::open(directory)?;
        let mut state = directory.load(&known.key, known.clock.as_ref())?;
        let clock = state.audit.clock_key().cloned();
        state.audit = state.audit.with_ids(Ids::newest(IDS_MAX));
        let forks = Forks::open(directory.path(), &known.key)?;
        let watched = |vantage: Vantage| {
            let reader = Reader::new(vantage.source.clone(), settings.fetch_time_max);
            Watched { vantage, reader }
        };
        let vantages = vantages.into_iter().map(watched).collect();
        let log = known.key.clone();
        let snapshots = watch::Sender::new(snapshot(&directory, &state, &log, clock.as_ref()));
        let stale_after_s = settings.stale_after_s;
        Ok(Self { directory, state, forks, log, clock, vantages, stale_after_s, snapshots, recorded: 0 })
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.log.name().as_str()
    }

    /// What has been verified so far.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Forks that were proven.
    pub const fn forks(&self) -> &Forks {
        &self.forks
    }

    /// What the monitor knows, from now on: a new value whenever it has kept something new.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// Looks at the log once, from everywhere, and keeps what it learnt.
    ///
    /// # Errors
    /// If the monitor's own state cannot be read or written. Whatever the log does is in the report.
    pub async fn round(&mut self, outside: &mut Outside<'_>) -> Result<Report, StateError> {
        let mut report = Report::new();
        self.recorded = 0;
        if let Some(first) = self.forks.proven().first() {
            let (count, file) = (self.forks.proven().len(), first.path.display());
            report.push(
                Code::ForkKnown,
                Place::Log,
                format_args!("proven before, {count} times; see {file}"),
            );
        }
        if self.clock.is_none() {
            report.push(Code::ClockUnchecked, Place::Log, "the key of the log's clock was not given");
        }
        for index in 0..self.vantages.len() {
            let watched = &self.vantages[index];
            if let Some(note) = watched.reader.checkpoint(&watched.vantage, &self.log, &mut report).await {
                self.look(&note, index, outside, &mut report).await?;
            }
        }
        for note in outside.notes {
            self.look(note.as_bytes(), 0, outside, &mut report).await?;
        }
        self.reconcile(outside, &mut report)?;
        self.record(outside, &report)?;
        Ok(report)
    }

    /// Takes a checkpoint of whatever size.
    async fn look(
        &mut self,
        note: &[u8],
        vantage: usize,
        outside: &mut Outside<'_>,
        report: &mut Report,
    ) -> Result<(), StateError> {
        // On a copy: a checkpoint of another history must leave no trace in the state.
        let mut audit = self.state.audit.clone();
        let Some(seen) = audit.checkpoint(note, (outside.now)(), report) else { return Ok(()) };
        let newest_s = audit.times().newest_s().max(seen.time_s);
        let signed = stripped(&seen.checkpoint, self.clock.as_ref());
        match Relation::of(seen.head(), self.state.head()) {
            // Nothing new is not written again.
            Relation::Same
                if self.state.newest.as_ref() == Some(&signed)
                    && audit.times() == self.state.audit.times() => {}
            Relation::Same => self.adopt(audit, signed, outside, report)?,
            Relation::OtherRoot => self.same_size(signed, report)?,
            Relation::Smaller => {
                if self.smaller(signed, report)? {
                    self.state.audit = audit;
                    self.save(outside, report)?;
                }
            }
            Relation::Larger => self.larger(audit, signed, vantage, outside, report).await?,
        }
        let stale = newest_s.and_then(|newest_s| staleness(newest_s, (outside.now)(), self.stale_after_s));
        if let Some(age_s) = stale {
            let message = format_args!("the newest time that the log attests is {age_s} s old");
            report.push(Code::ClockStale, Place::Checkpoint(seen.head().size), message);
        }
        Ok(())
    }

    fn same_size(&mut self, signed: SignedCheckpoint, report: &mut Report) -> Result<(), StateError> {
        let head = signed.unverified().head;
        let Some(newest) = self.state.newest.clone() else { return Ok(()) };
        self.convict(head, Code::ForkSameSize, &ForkEvidence::same_size(newest, signed), report)
    }

    /// Looks a smaller checkpoint up in the verified tree, without the log's help. Whether it is of that tree.
    fn smaller(&mut self, signed: SignedCheckpoint, report: &mut Report) -> Result<bool, StateError> {
        let head = signed.unverified().head;
        let growth = self.directory.tiles().growth(head.size, self.state.audit.frontier())?;
        let Some(newest) = self.state.newest.clone() else { return Ok(true) };
        let Some(evidence) = judge_smaller(signed, newest, growth) else { return Ok(true) };
        self.convict(head, Code::ForkSmaller, &evidence, report)?;
        Ok(false)
    }

    async fn larger(
        &mut self,
        mut audit: Audit,
        signed: SignedCheckpoint,
        vantage: usize,
        outside: &mut Outside<'_>,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let staging = self.directory.tiles().stage()?;
        let (state, reader) = (&self.state, &self.vantages[vantage].reader);
        match growth::follow(state, &mut audit, &signed, reader, staging, outside, report).await? {
            Followed::Verified(staging) => {
                staging.keep()?;
                self.state.advanced = Some((outside.now)());
                self.adopt(audit, signed, outside, report)
            }
            Followed::Forked(evidence) => {
                self.convict(signed.unverified().head, Code::ForkLarger, &evidence, report)
            }
            Followed::Stopped => {
                if self.state.postpone(signed) {
                    self.save(outside, report)?;
                }
                Ok(())
            }
        }
    }

    /// Looks again at checkpoints whose trees the log had not shown when it showed them.
    fn reconcile(&mut self, outside: &mut Outside<'_>, report: &mut Report) -> Result<(), StateError> {
        let verified = self.state.head();
        let (later, due): (Vec<_>, Vec<_>) = std::mem::take(&mut self.state.pending)
            .into_iter()
            .partition(|pending| Relation::of(pending.unverified().head, verified) == Relation::Larger);
        self.state.pending = later;
        if due.is_empty() {
            return Ok(());
        }
        for signed in due {
            match Relation::of(signed.unverified().head, verified) {
                Relation::OtherRoot => self.same_size(signed, report)?,
                Relation::Smaller => drop(self.smaller(signed, report)?),
                Relation::Same | Relation::Larger => {}
            }
        }
        self.save(outside, report)
    }

    /// Reports a proven fork and files the evidence, once for each head that convicts the log.
    fn convict(
        &mut self,
        head: TreeHead,
        code: Code,
        evidence: &ForkEvidence,
        report: &mut Report,
    ) -> Result<(), StateError> {
        evidence.verify(&self.log).expect("what was judged a fork is proven by its evidence");
        let file: Option<PathBuf> = match self.forks.of(head) {
            Some(proven) => Some(proven.path.clone()),
            None => self.forks.add(evidence)?,
        };
        let place = Place::Checkpoint(head.size);
        let ours = self.state.head();
        let heads = format!(
            "the log signed root {} and, verified here, {} at size {}",
            head.root, ours.root, ours.size
        );
        match file {
            Some(file) => report.push(code, place, format_args!("{heads}: evidence in {}", file.display())),
            None => report.push(code, place, format_args!("{heads}: there is evidence enough already")),
        }
        Ok(())
    }

    fn adopt(
        &mut self,
        audit: Audit,
        newest: SignedCheckpoint,
        outside: &mut Outside<'_>,
        report: &Report,
    ) -> Result<(), StateError> {
        self.state.audit = audit;
        self.state.newest = Some(newest);
        self.save(outside, report)
    }

    /// Hands on what was found since this was last called.
    fn record(&mut self, outside: &mut Outside<'_>, report: &Report) -> Result<(), StateError> {
        let found = &report.findings()[self.recorded..];
        if !found.is_empty() {
            (outside.record)(found)?;
        }
        self.recorded = report.findings().len();
        Ok(())
    }

    /// Keeps the state, once all that was found is recorded.
    fn save(&mut self, outside: &mut Outside<'_>, report: &Report) -> Result<(), StateError> {
        self.record(outside, report)?;
        self.directory.save(&self.state, &self.log, self.clock.as_ref())?;
        let snapshot = snapshot(&self.directory, &self.state, &self.log, self.clock.as_ref());
        self.snapshots.send_replace(snapshot);
        Ok(())
    }
}

fn snapshot(directory: &StateDir, state: &State, log: &VerifierKey, clock: Option<&VerifierKey>) -> Snapshot {
    Snapshot {
        log: log.clone(),
        clock: clock.cloned(),
        frontier: state.audit.frontier().clone(),
        newest: state.newest.clone(),
        tiles: directory.tiles().clone(),
        attested_s: state.audit.times().newest_s(),
        advanced: state.advanced,
    }
}

//! One look at the log from everywhere, and what is kept of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use counterfoil_merkle::{
    Hash, TreeHead, TreeSize, evidence::ForkEvidence, key::VerifierKey, policy::Policy,
};
use counterfoil_receipt::{
    Timestamp,
    audit::{ClockLine, Code, Finding, Ids, Place, Report},
    standing::{DUTIES_MAX, Duty},
};
use tokio::{sync::watch as channel, task::JoinSet};

use super::{
    STALE_AFTER_S,
    cosigners::{Cosigners, WITNESS_MISSED_MAX},
    forks::Forks,
    found::Found,
    judge::{Judged, Shown, not_expected},
    kept::Kept,
    outline::Outline,
    reader::{ATTEMPTS, FETCH_TIME_MAX, Patience, Reader, Readers},
    reading::Backlogs,
    snapshot::Snapshot,
    state::{State, StateDir, StateError},
    subjects::Subjects,
    vantage::{Shows, Vantage},
    views::{CACHE_S, Delays},
};
use crate::{log::KnownLog, watch};

/// How many records are remembered while the monitor runs, so as to find one that is logged twice.
const IDS_MAX: usize = 1 << 18;

/// How long a round reads, unless somebody says otherwise: then it is time to look around again.
pub const READING_TIME_MAX: Duration = Duration::from_secs(60);

/// How many entries a round reads, unless somebody says otherwise.
pub const READING_ENTRIES_MAX: u64 = 1 << 22;

/// How much room is left on the disk, unless somebody says otherwise.
pub const FREE_BYTES_MIN: u64 = 256 << 20;

/// What a monitor is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How old, in seconds, the newest attested time may be, and cosignatures that make up a quorum.
    pub stale_after_s: u64,
    /// How long, in seconds, a cache may be the reason for a smaller tree than was shown before.
    pub cache_s: u64,
    /// The longest wait for one file.
    pub fetch_time_max: Duration,
    /// How often a file is asked for that is missing or not answered for.
    pub attempts: u32,
    /// How long a round reads before it looks around again.
    pub reading_time_max: Duration,
    /// How many entries a round reads at most: what one round can add to the disk is bounded by it.
    pub reading_entries_max: u64,
    /// In how many looks, one after the other, a witness of the policy may be missing.
    pub witness_missed_max: u32,
    /// A tree that the log's must start with, known from elsewhere: without one, the first look is trusted.
    pub expect: Option<TreeHead>,
    /// Whether entries and statements are kept too, for a mirror: all of them or none.
    pub keep: bool,
    /// A file elsewhere that marks the newest state, so that the whole directory cannot be rolled back unnoticed.
    pub mark: Option<PathBuf>,
    /// How many bytes are left free on the disk.
    pub free_bytes_min: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stale_after_s: STALE_AFTER_S,
            cache_s: CACHE_S,
            fetch_time_max: FETCH_TIME_MAX,
            attempts: ATTEMPTS,
            reading_time_max: READING_TIME_MAX,
            reading_entries_max: READING_ENTRIES_MAX,
            witness_missed_max: WITNESS_MISSED_MAX,
            expect: None,
            keep: false,
            mark: None,
            free_bytes_min: FREE_BYTES_MIN,
        }
    }
}

/// What is seen while a log is read.
#[derive(Clone, Copy, Debug)]
pub enum Sight<'a> {
    /// A record.
    Record(watch::Record<'a>),
    /// A deadline has passed, and what was due by then was not done.
    Lapsed(&'a Duty),
}

/// Who looks at entries as they are read.
pub type Observe<'a> = dyn FnMut(Sight<'_>, &mut Report) + Send + 'a;

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
    /// entry's own, and each deadline that passes between them or after the last. It is of a tree that the log signed. What
    /// it finds goes into the report. A sight comes again only if the round ended, by an error or a crash, before the state
    /// went past it.
    pub observe: &'a mut Observe<'a>,
    /// Makes findings durable. Called before the state goes past what they are about; if it fails, the round ends with its
    /// error and the state stays where it was. The same finding may come again, in a later round or after a crash.
    pub record: &'a mut Record<'a>,
}

/// A monitor of one log.
///
/// A round that ended with an error, or was dropped halfway, has kept what it had verified and recorded; the next goes on
/// from there.
#[derive(Debug)]
pub struct Monitor {
    pub(super) directory: StateDir,
    pub(super) state: State,
    pub(super) forks: Forks,
    pub(super) log: VerifierKey,
    pub(super) clock: Option<VerifierKey>,
    /// Whose cosignatures the log's checkpoints must have, if that is demanded.
    pub(super) policy: Option<Policy>,
    /// Whose lines are kept beside the log's.
    pub(super) cosigners: Vec<VerifierKey>,
    pub(super) settings: Settings,
    /// Whether the state has changed since it was kept.
    pub(super) dirty: bool,
    /// Whether the last round came to its end. If not, what is in memory may be ahead of what was recorded.
    settled: bool,
    pub(super) readers: Vec<Arc<Reader>>,
    kept: Option<Kept>,
    backlogs: Backlogs,
    /// Whether the last round saw an empty slot that a record may still explain: another look tells.
    pub(super) unexplained: bool,
    /// What is known of records that later ones may be about.
    pub(super) subjects: Subjects,
    snapshots: channel::Sender<Snapshot>,
}

impl Monitor {
    /// Opens the state directory and checks all that is in it.
    ///
    /// `vantages` are the places from which this log is looked at, the log itself first.
    pub fn open(
        directory: &Path,
        known: &KnownLog,
        vantages: Vec<Vantage>,
        settings: Settings,
    ) -> Result<Self, StateError> {
        check_vantages(&vantages)?;
        let mut directory = StateDir::open(directory, settings.mark.as_deref())?;
        let mut state = directory.load(&known.key, known.clock.as_ref(), settings.keep)?;
        let log = known.key.clone();
        let clock = state.audit.clock_key().cloned();
        state.audit = state.audit.with_ids(Ids::newest(IDS_MAX));
        state.views.retain(|name, _| vantages.iter().any(|vantage| vantage.name == *name));
        let forks = Forks::open(directory.path(), &log)?;
        let patience = Patience { time_max: settings.fetch_time_max, attempts: settings.attempts };
        let reader = |(position, vantage)| Arc::new(Reader::new(vantage, position, patience));
        let readers = vantages.into_iter().enumerate().map(reader).collect();
        let policy = known.policy.as_ref().map(|policy| policy.policy().clone());
        let witnesses = policy.iter().flat_map(Policy::witnesses).map(|(_, listed)| &listed.key);
        let mut cosigners: Vec<VerifierKey> = Vec::new();
        for key in clock.iter().chain(witnesses) {
            if !cosigners.contains(key) {
                cosigners.push(key.clone());
            }
        }
        let kept = settings.keep.then(|| Kept::new(directory.tiles().root()));
        if let Some(kept) = &kept {
            kept.erase_again()?;
        }
        let snapshots = channel::Sender::new(Snapshot::of(&directory, &state, &log, &cosigners));
        Ok(Self {
            directory,
            state,
            forks,
            log,
            clock,
            policy,
            cosigners,
            settings,
            dirty: false,
            settled: true,
            readers,
            kept,
            backlogs: Backlogs::default(),
            unexplained: false,
            subjects: Subjects::default(),
            snapshots,
        })
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

    /// Entries and statements, if they are kept.
    pub(super) const fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Files evidence that somebody else has, if it proves a fork of this log and is new: rounds report it from then on.
    pub fn believe(&mut self, evidence: &ForkEvidence) -> Result<(), StateError> {
        let heads = [evidence.a(), evidence.b()].map(|note| note.unverified().head);
        let known = self.forks.proven().iter().any(|proven| proven.heads == heads);
        if !known && evidence.verify(&self.log).is_ok() {
            self.forks.add(evidence)?;
        }
        Ok(())
    }

    /// What the monitor knows, from now on: a new value whenever it has kept something new.
    pub fn snapshots(&self) -> channel::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// Looks at the log again and again, until all of it was read or nothing more comes.
    pub async fn catch_up(&mut self, outside: &mut Outside<'_>) -> Result<Report, StateError> {
        let mut before = self.state.head().size;
        let mut report = self.round(outside).await?;
        while self.state.backlog() > 0 && self.state.head().size > before {
            before = self.state.head().size;
            report.absorb(self.round(outside).await?);
        }
        // A log shows a slot empty once it has published the record: another look must find it.
        if self.unexplained {
            report.absorb(self.round(outside).await?);
        }
        Ok(report)
    }

    /// Looks at the log once, from everywhere, reads on for as long as a round may, and keeps what it learnt.
    ///
    /// # Errors
    /// If the monitor's own state cannot be read or written. Whatever the log does is in the report.
    pub async fn round(&mut self, outside: &mut Outside<'_>) -> Result<Report, StateError> {
        if !std::mem::replace(&mut self.settled, false) {
            self.reload()?;
        }
        let report = self.look_around(outside).await?;
        self.settled = true;
        Ok(report)
    }

    /// Takes the state as it was kept: a round that did not come to its end may have left another one in memory.
    fn reload(&mut self) -> Result<(), StateError> {
        self.state = self.directory.load(&self.log, self.clock.as_ref(), self.settings.keep)?;
        self.state.audit = self.state.audit.clone().with_ids(Ids::newest(IDS_MAX));
        self.forks = Forks::open(self.directory.path(), &self.log)?;
        self.subjects = Subjects::default();
        self.dirty = false;
        Ok(())
    }

    async fn look_around(&mut self, outside: &mut Outside<'_>) -> Result<Report, StateError> {
        let mut found = Found::new();
        self.standing(&mut found.fresh)?;
        let old = self.state.head();
        let asked: BTreeSet<Hash> = self.state.audit.erasures().empty.keys().copied().collect();
        let mut outline = None;
        let mut shown = self.look(&mut *outside, &mut found).await;
        let served = |place| self.readers.iter().any(|it| it.shows() == Shows::Log && it.place() == place);
        let looked = shown.iter().any(|shown| served(shown.place));
        // The largest first: it tells most about the others.
        shown.sort_by_key(|shown| std::cmp::Reverse(shown.seen.head().size));
        for shown in shown {
            let mut readers = Readers::new(&self.readers, shown.place);
            let postponed = shown.clone();
            if self.judge(shown, &mut readers, &mut outline, outside, &mut found).await? == Judged::Open {
                let checkpoint = super::state::stripped(&postponed.seen.checkpoint, &self.cosigners);
                self.dirty |= self.state.postpone(checkpoint, (outside.now)());
            }
        }
        self.reconcile(&mut outline, outside, &mut found).await?;
        let readers = Readers::new(&self.readers, Place::Log);
        self.read(
            outline.filter(|outline| outline.head() == self.state.known()),
            readers,
            outside,
            &mut found,
        )
        .await?;
        self.reconcile(&mut None, outside, &mut found).await?;
        let empty = &self.state.audit.erasures().empty;
        self.unexplained = empty.keys().any(|leaf| !asked.contains(leaf));
        self.lapse(outside, &mut found);
        self.after_reading(old, &mut found).await?;
        if self.state.backlog() == 0 {
            self.follow_erasures((outside.now)(), &mut found.fresh).await?;
            // What was seen before this look at the log, all of which was read since.
            if looked {
                let erasures = self.state.audit.erasures_mut();
                self.dirty |= erasures.report_unexplained(|leaf| asked.contains(leaf), &mut found.fresh);
            }
        }
        self.withheld((outside.now)(), &mut found.fresh);
        let (backlog, size) = (self.state.backlog(), self.state.known().size);
        self.backlogs.take(backlog, size, &mut found);
        found.record(outside)?;
        if self.dirty {
            self.save(outside, &mut found)?;
        }
        Ok(found.into_report())
    }

    /// What holds whatever the log shows.
    fn standing(&self, report: &mut Report) -> Result<(), StateError> {
        if let Some(first) = self.forks.proven().first() {
            let (count, file) = (self.forks.proven().len(), first.path.display());
            let message = format_args!("proven before, {count} times; see {file}");
            report.push(Code::ForkKnown, Place::Log, message);
        }
        if self.clock.is_none() {
            report.push(Code::ClockUnchecked, Place::Log, "the key of the log's clock was not given");
        }
        if self.state.agenda.has_overflowed() {
            let message = format_args!(
                "more than {DUTIES_MAX} disputes, remedies or policies at once: some are not followed"
            );
            report.push(Code::DutiesUntracked, Place::Log, message);
        }
        if let Some(expected) =
            self.settings.expect.filter(|expected| expected.size <= self.state.head().size)
        {
            let growth = self.directory.tiles().growth(expected.size, self.state.audit.frontier())?;
            if growth.old_root() != expected.root {
                not_expected(expected, growth.old_root(), report);
            }
        }
        Ok(())
    }

    /// Reads the checkpoint at every vantage point, all at once, and what strangers hand on; takes those that the log signed.
    async fn look(&mut self, outside: &mut Outside<'_>, found: &mut Found) -> Vec<Shown> {
        let mut looks = JoinSet::new();
        for (position, reader) in self.readers.iter().enumerate() {
            let (reader, log) = (Arc::clone(reader), self.log.clone());
            looks.spawn(async move {
                let mut report = Report::new();
                let note = reader.checkpoint(&log, &mut report).await;
                (position, note, report)
            });
        }
        let mut looks = looks.join_all().await;
        looks.sort_by_key(|(position, ..)| *position);
        let now = (outside.now)();
        let policy = self.policy.clone();
        let mut cosigners = policy.as_ref().map(Cosigners::new);
        let mut shown = Vec::new();
        let known = self.state.known().size;
        for (position, note, report) in looks {
            found.fresh.absorb(report);
            let reader = Arc::clone(&self.readers[position]);
            let Some(seen) = note.and_then(|note| self.read_note(&note, &reader, &mut found.fresh)) else {
                continue;
            };
            let report = &mut found.fresh;
            let timely = self.state.audit.check_time(&seen, now, report);
            let Settings { stale_after_s, cache_s, .. } = self.settings;
            let view = self.state.views.entry(reader.name().to_owned()).or_default();
            let before = view.clone();
            view.look(&seen, known, &reader, now, Delays { stale_after_s, cache_s }, report);
            self.dirty |= *view != before;
            if let Some(cosigners) = &mut cosigners {
                let (due, witnesses) = (reader.place() == Place::Log, &mut self.state.witnesses);
                cosigners.look(&seen.checkpoint, due, now, stale_after_s, witnesses, report);
            }
            shown.push(Shown { seen, timely, place: reader.place() });
        }
        if let Some(cosigners) = cosigners {
            let before = self.state.witnesses.clone();
            let missed_max = self.settings.witness_missed_max;
            cosigners.finish(&self.log, missed_max, &mut self.state.witnesses, &mut found.fresh);
            self.dirty |= self.state.witnesses != before;
        }
        for note in outside.notes {
            // What strangers send that is not the log's says nothing about the log.
            let read =
                self.state.audit.read_checkpoint(note.as_bytes(), ClockLine::Optional, &mut Report::new());
            if let Some(seen) = read {
                let timely = self.state.audit.check_time(&seen, now, &mut found.fresh);
                shown.push(Shown { seen, timely, place: Place::Log });
            }
        }
        shown
    }

    /// Reads what a vantage point shows as the log's checkpoint.
    fn read_note(
        &self,
        note: &[u8],
        reader: &Reader,
        report: &mut Report,
    ) -> Option<counterfoil_receipt::audit::Seen> {
        let clock = if reader.place() == Place::Log { ClockLine::Due } else { ClockLine::Optional };
        let mut read = Report::new();
        let seen = self.state.audit.read_checkpoint(note, clock, &mut read);
        for Finding { code, place, message } in read.findings() {
            let place = if *place == Place::Log { reader.place() } else { *place };
            report.push(*code, place, format_args!("{}: {message}", reader.name()));
        }
        seen
    }

    /// Looks again at checkpoints whose trees the log had not shown when it showed them.
    async fn reconcile(
        &mut self,
        outline: &mut Option<Outline>,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) -> Result<(), StateError> {
        found.record(outside)?;
        for pending in self.state.pending.clone() {
            let text = pending.checkpoint.to_string();
            let read =
                self.state.audit.read_checkpoint(text.as_bytes(), ClockLine::Optional, &mut Report::new());
            let Some(seen) = read else { continue };
            let mut readers = Readers::new(&self.readers, Place::Log).once();
            let shown = Shown { seen, timely: false, place: Place::Log };
            if self.judge(shown, &mut readers, outline, outside, found).await? == Judged::Open {
                // That its tiles are missing was reported when it was seen.
                found.forget();
            } else {
                found.record(outside)?;
                self.state.pending.retain(|other| other != &pending);
                self.dirty = true;
            }
        }
        Ok(())
    }

    /// Holds other things that the log says against the tree, if it has grown from `old`, and shows what is kept of it.
    async fn after_reading(&mut self, old: TreeHead, found: &mut Found) -> Result<(), StateError> {
        let Some(newest) = self.state.newest.clone().filter(|_| self.state.backlog() == 0) else {
            return Ok(());
        };
        // Whoever reads from here shall not see a slot empty before the record that explains it.
        if let Some(kept) = self.kept.as_ref().filter(|_| !self.unexplained) {
            kept.show(&newest.checkpoint)?;
        }
        if self.state.head().size > old.size {
            let mut any = [0; 8];
            // Without randomness the log knows which entry is asked for; that is no reason not to ask.
            let _ = getrandom::fill(&mut any);
            let reader = Readers::new(&self.readers, Place::Log).first().cloned();
            if let Some(reader) = reader {
                self.cross_check(&reader, old, u64::from_be_bytes(any), &mut found.fresh).await?;
            }
        }
        Ok(())
    }

    /// Says which deadlines have passed, once all was read that the log shows.
    ///
    /// The time is the log's own, as attested for the tree that was read: whatever comes later is dated later. Without the key of
    /// its clock it is the monitor's.
    fn lapse(&mut self, outside: &mut Outside<'_>, found: &mut Found) {
        if self.state.backlog() > 0 || self.state.newest.is_none() {
            return;
        }
        let size = self.state.head().size;
        let attested = self.state.audit.times().attested.iter().filter(|attested| attested.size == size);
        let attested_s = attested.map(|attested| attested.latest_s).max();
        let moment = match &self.clock {
            Some(_) => attested_s.and_then(|time_s| Timestamp::from_millis(time_s.saturating_mul(1000))),
            None => Some((outside.now)()),
        };
        for duty in moment.into_iter().flat_map(|moment| self.state.agenda.lapse(moment)) {
            tell_lapsed(&duty, outside, found);
            self.dirty = true;
        }
    }

    /// Reports checkpoints whose trees nobody has shown for too long.
    fn withheld(&self, now: Timestamp, report: &mut Report) {
        for pending in &self.state.pending {
            let for_s = now.millis().saturating_sub(pending.seen.millis()) / 1000;
            let head = pending.checkpoint.unverified().head;
            if for_s > self.settings.stale_after_s {
                let message = format_args!(
                    "the log signed root {} at this size, and has not shown the tree for {for_s} s",
                    head.root
                );
                report.push(Code::TreeWithheld, Place::Checkpoint(head.size), message);
            }
        }
    }

    /// Whether there is room on the disk for another step.
    pub(super) fn has_room(&self, found: &mut Found) -> Result<bool, StateError> {
        let path = self.directory.path();
        let disk = rustix::fs::statvfs(path)
            .map_err(|error| StateError::Io { path: path.to_owned(), source: error.into() })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.settings.free_bytes_min {
            let message = format_args!(
                "{free} bytes are free on the monitor's disk, and {} are to stay free: nothing more is read",
                self.settings.free_bytes_min
            );
            found.fresh.push(Code::DiskFull, Place::Log, message);
        }
        Ok(free >= self.settings.free_bytes_min)
    }

    /// Keeps the state, once all that was found is recorded.
    pub(super) fn save(&mut self, outside: &mut Outside<'_>, found: &mut Found) -> Result<(), StateError> {
        found.record(outside)?;
        self.directory.save(&self.state, &self.log, self.clock.as_ref())?;
        self.dirty = false;
        let snapshot = Snapshot::of(&self.directory, &self.state, &self.log, &self.cosigners);
        self.snapshots.send_replace(snapshot);
        Ok(())
    }
}

/// Says that a deadline has passed.
pub(super) fn tell_lapsed(duty: &Duty, outside: &mut Outside<'_>, found: &mut Found) {
    (outside.observe)(Sight::Lapsed(duty), &mut found.fresh);
    let code = if duty.remedy.is_some() { Code::RemedyOverdue } else { Code::AnswerOverdue };
    found.fresh.push(code, Place::Entry(duty.index), watch::describe::duty(duty));
}

/// Some vantage point must have the log's tiles, and each a name of its own: what it has shown is remembered by that.
fn check_vantages(vantages: &[Vantage]) -> Result<(), StateError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = vantages.iter().find(|vantage| !names.insert(&vantage.name)) {
        return Err(StateError::NameTwice { name: twice.name.clone() });
    }
    match vantages.iter().any(|vantage| vantage.shows == Shows::Log) {
        true => Ok(()),
        false => Err(StateError::NothingToRead),
    }
}

//! The one place that gives numbers: a thread that signs what is over, writes it down, and says so when it lasts.
//!
//! What came while it wrote is written together, with one `fsync`. A number is given in the write that carries its receipt:
//! if that fails, the number was not given, so none is ever spent on nothing.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use counterfoil_receipt::{
    Id, SigningKey, Timestamp,
    draft::{Draft, Unnumbered},
    statement::Numbering,
};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{
    Shared, SpoolError,
    record::{ExchangeId, Head, Record, Spooled},
    state::{Duties, Place},
};

/// The most jobs that are written together.
const BATCH_MAX: usize = 256;

/// From how many bytes on a batch waits for no more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// An exchange that is over.
#[derive(Debug)]
pub struct Over {
    /// Its name.
    pub exchange: ExchangeId,
    /// HMAC-SHA256 of the caller's credential.
    pub credential: [u8; 32],
    /// When it was over.
    pub completed: Timestamp,
    /// Its receipt.
    pub receipt: Unnumbered,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Write an exchange down, and say when it lasts.
    Exchange(Box<Over>, oneshot::Sender<Result<Id, SpoolError>>),
    /// Write marks down, and say when they count. They may be lost: then the work they stand for is done again.
    Marks(Vec<Record>, oneshot::Sender<Result<(), SpoolError>>),
    /// Make marks last, remove what is done with, and say when that is done.
    Sweep(Sweep, oneshot::Sender<()>),
}

/// What may go.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// What was over before may go.
    pub expired: Timestamp,
    /// The present time.
    pub now: Timestamp,
}

/// How the spool is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// From how many bytes on a segment is followed by the next.
    pub segment_bytes: u64,
    /// After how many milliseconds it is.
    pub segment_ms: u64,
    /// What is done with an exchange before it may go.
    pub duties: Duties,
}

/// The writer: owns the newest segment and the issuer's key.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    key: SigningKey,
    keeping: Keeping,
    file: File,
    segment: u64,
    /// Where the next record goes.
    offset: u64,
    /// Whether something was written that does not last yet.
    is_dirty: bool,
    opened: Option<Timestamp>,
}

impl Writer {
    /// Takes over the newest segment, or creates the first.
    pub(super) fn new(shared: Arc<Shared>, key: SigningKey, keeping: Keeping) -> Result<Self, SpoolError> {
        let newest = shared.state().newest_segment();
        let (file, segment, offset) = match newest {
            Some(segment) => {
                let bytes = shared.state().segment_bytes(segment);
                (shared.segments.append(segment)?, segment, bytes)
            }
            None => {
                let mut state = shared.state();
                let head = state.head().clone();
                let (file, place) = shared.segments.create(1, &head)?;
                state.take(&Record::Head(head), place);
                (file, 1, u64::from(place.length))
            }
        };
        Ok(Self { shared, key, keeping, file, segment, offset, is_dirty: true, opened: None })
    }

    /// Begins a stream of its own: the receipts so far were another issuer's, or for another log.
    pub(super) fn begin_stream(&mut self, head: Head) -> Result<(), SpoolError> {
        let sequence = self.shared.state().head().sequence;
        self.roll_to(Head { sequence, ..head })
    }

    #[cfg(test)]
    pub(super) fn on(self, file: File) -> Self {
        Self { file, ..self }
    }

    /// Works until nobody can ask for anything any more.
    pub fn run(mut self, jobs: &mut mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            let mut batch = batch.into_iter().peekable();
            while batch.peek().is_some() {
                self.write(&mut batch);
            }
        }
        self.sync_marks();
        // Without this, damage to what came after the last sweep would pass for a write that was cut short.
        if let Err(error) = self.shared.note_acknowledged() {
            error!(error = &error as &dyn std::error::Error, "how far the spool lasts is not written down");
        }
    }

    /// Writes jobs down until there are none, or the batch is long enough.
    fn write(&mut self, jobs: &mut impl Iterator<Item = Job>) {
        if self.shared.has_failed() {
            return jobs.for_each(|job| answer(job, SpoolError::Failed));
        }
        if let Err(error) = self.roll_if_due() {
            self.shared.fail();
            error!(
                error = &error as &dyn std::error::Error,
                "the spool cannot be written: restart when it can"
            );
            return jobs.for_each(|job| answer(job, SpoolError::Failed));
        }
        let mut batch = Batch::after(self.shared.state().head());
        let mut sweep = None;
        for job in jobs {
            match job {
                Job::Exchange(over, done) => self.add(&mut batch, *over, done),
                Job::Marks(records, done) => {
                    records.into_iter().for_each(|record| batch.push(record, self.segment, self.offset));
                    batch.marked.push(done);
                }
                Job::Sweep(asked, done) => sweep = Some((asked, done)),
            }
            if batch.bytes.len() >= BATCH_BYTES || sweep.is_some() {
                break;
            }
        }
        self.commit(batch);
        if let Some((sweep, done)) = sweep {
            self.opened.get_or_insert(sweep.now);
            self.sync_marks();
            self.sweep(sweep);
            // Who does not wait any more needs no answer.
            let _ = done.send(());
        }
    }

    /// Numbers and signs a receipt, and adds it to the batch.
    fn add(&self, batch: &mut Batch, over: Over, done: oneshot::Sender<Result<Id, SpoolError>>) {
        let Over { exchange, credential, completed, receipt } = over;
        let signed = batch.next.ok_or(SpoolError::Numbers).and_then(|place| {
            let draft = receipt.number(place);
            let envelope = draft.sign(&self.key).map_err(SpoolError::Sign)?;
            Ok((draft, place, envelope.envelope().to_json()))
        });
        let (Draft { openings, claim, .. }, place, envelope) = match signed {
            Ok(signed) => signed,
            Err(error) => return drop(done.send(Err(error))),
        };
        let id = openings.id();
        let spooled = Spooled {
            sequence: batch.sequence,
            exchange,
            credential,
            completed,
            number: place.number,
            id,
            envelope,
            openings: openings.to_json(),
            claim: claim.map(|claim| claim.to_json()),
        };
        batch.push(Record::Exchange(spooled), self.segment, self.offset);
        batch.done.push((done, id));
        batch.sequence += 1;
        batch.next = place.number.next().map(|number| Numbering { number, previous: Some(id), ..place });
    }

    /// Writes a batch and tells who waits for it: all of it lasts, or nothing of it is there.
    fn commit(&mut self, batch: Batch) {
        if batch.records.is_empty() {
            return;
        }
        let must_last = !batch.done.is_empty();
        if let Err(error) = self.file.write_all_at(&batch.bytes, self.offset) {
            error!(%error, "the spool cannot be written");
            // What was written in part must not be taken for a record later.
            if let Err(error) = self.file.set_len(self.offset) {
                self.shared.fail();
                error!(%error, "the spool's state is unknown: restart when its disk is well");
            }
            return batch.refuse(|| SpoolError::Full);
        }
        if must_last && let Err(error) = self.file.sync_data() {
            // After a failed sync nobody knows what is on the disk, and asking again does not tell.
            self.shared.fail();
            error!(%error, "the spool's state is unknown: restart when its disk is well");
            return batch.refuse(|| SpoolError::Failed);
        }
        self.offset += batch.bytes.len() as u64;
        self.is_dirty = !must_last;
        let mut state = self.shared.state();
        for (record, place) in &batch.records {
            state.take(record, *place);
        }
        drop(state);
        if must_last {
            self.shared.acknowledge(self.segment, self.offset);
            self.shared.written.notify_waiters();
        }
        // Who does not wait any more needs no answer.
        batch.done.into_iter().for_each(|(done, id)| drop(done.send(Ok(id))));
        batch.marked.into_iter().for_each(|done| drop(done.send(Ok(()))));
    }

    fn sync_marks(&mut self) {
        if !self.is_dirty || self.shared.has_failed() {
            return;
        }
        match self.file.sync_data() {
            Ok(()) => {
                self.is_dirty = false;
                self.shared.acknowledge(self.segment, self.offset);
            }
            Err(error) => {
                self.shared.fail();
                error!(%error, "the spool's state is unknown: restart when its disk is well");
            }
        }
    }

    /// Begins the next segment if this one is long or old enough.
    fn roll_if_due(&mut self) -> Result<(), SpoolError> {
        if self.offset < self.keeping.segment_bytes {
            return Ok(());
        }
        self.roll()
    }

    fn roll(&mut self) -> Result<(), SpoolError> {
        let head = self.shared.state().head().clone();
        self.roll_to(head)
    }

    fn roll_to(&mut self, head: Head) -> Result<(), SpoolError> {
        self.file.sync_data().map_err(|source| SpoolError::Write { source })?;
        let (file, place) = self.shared.segments.create(self.segment + 1, &head)?;
        self.shared.state().take(&Record::Head(head), place);
        (self.file, self.segment, self.offset) = (file, place.segment, u64::from(place.length));
        (self.is_dirty, self.opened) = (false, None);
        self.shared.acknowledge(self.segment, self.offset);
        Ok(())
    }

    /// Removes what is done with. A segment with exchanges in it that is old is closed, so that it can go in its turn.
    fn sweep(&mut self, Sweep { expired, now }: Sweep) {
        let is_old =
            self.opened.is_some_and(|opened| opened.millis() + self.keeping.segment_ms < now.millis());
        let is_used = self.shared.state().segment_has_exchanges(self.segment);
        if is_old
            && is_used
            && let Err(error) = self.roll()
        {
            self.shared.fail();
            error!(
                error = &error as &dyn std::error::Error,
                "the spool cannot be written: restart when it can"
            );
        }
        let gone = self.shared.state().forget(expired, self.keeping.duties);
        for segment in gone {
            if let Err(error) = self.shared.segments.remove(segment) {
                error!(error = &error as &dyn std::error::Error, "an expired segment cannot be removed");
            }
        }
    }
}

/// Records that are written together.
struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Record, Place)>,
    done: Vec<(oneshot::Sender<Result<Id, SpoolError>>, Id)>,
    marked: Vec<oneshot::Sender<Result<(), SpoolError>>>,
    next: Option<Numbering>,
    sequence: u64,
}

impl Batch {
    fn after(head: &Head) -> Self {
        let (next, sequence) = (Some(head.next), head.sequence);
        let (done, marked) = (Vec::new(), Vec::new());
        Self { bytes: Vec::new(), records: Vec::new(), done, marked, next, sequence }
    }

    /// Tells all who wait that nothing of it is there.
    fn refuse(self, error: fn() -> SpoolError) {
        // Who does not wait any more needs no answer.
        self.done.into_iter().for_each(|(done, _)| drop(done.send(Err(error()))));
        self.marked.into_iter().for_each(|done| drop(done.send(Err(error()))));
    }

    /// Adds a record to a batch that is written at `start` of a segment.
    fn push(&mut self, record: Record, segment: u64, start: u64) {
        let offset = start + self.bytes.len() as u64;
        let length = record.frame(segment, offset, &mut self.bytes);
        self.records.push((record, Place { segment, offset, length }));
    }
}

fn answer(job: Job, error: SpoolError) {
    // Who does not wait any more needs no answer.
    match job {
        Job::Exchange(_, done) => drop(done.send(Err(error))),
        Job::Marks(_, done) => drop(done.send(Err(error))),
        Job::Sweep(_, done) => drop(done),
    }
}

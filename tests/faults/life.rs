//! A log in this process, from one start to the next, and what was promised in its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use counterfoil_merkle::{Hash, LeafIndex, TreeHead, TreeSize};
use counterfoil_receipt::{Entry, Id, Timestamp, admission::Admitted};
use counterfoil_server::{
    clock::{Clock, wall_now},
    config::Config,
    guard::Guard,
    log::{Log, Status},
    objects::Objects,
    pace::Pace,
    publish::View,
    queue::{Outcome, Submission},
    recover::{grow, load},
    steps::Steps,
    tiles::{Edge, Tiles},
};
use counterfoil_tests::inside;
use futures::executor::block_on;
use tokio::sync::oneshot;

use crate::{
    locks,
    receipts::{erasure, receipt},
};

/// What is waited for comes in this time, or never.
const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "s3") { 300 } else { 60 });

/// What was promised: acknowledged receipts, and signed heads with the times that they attest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    acks: BTreeMap<u64, Id>,
    /// Entries whose statements were ordered to go, by orders that were acknowledged.
    erased: BTreeSet<u64>,
    heads: Vec<(TreeHead, Timestamp)>,
}

impl Ledger {
    /// What somebody else promised too.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (&index, &id) in &other.acks {
            self.acknowledge(LeafIndex::new(index).unwrap(), id);
        }
        self.erased.extend(&other.erased);
        self.heads.extend(&other.heads);
    }

    /// Whether the receipt with that number was acknowledged.
    pub(crate) fn has(&self, number: usize) -> bool {
        let id = receipt(number).id;
        self.acks.values().any(|acknowledged| *acknowledged == id)
    }

    /// A receipt was acknowledged.
    pub(crate) fn acknowledge(&mut self, index: LeafIndex, id: Id) {
        let before = self.acks.insert(index.get(), id);
        assert!(before.is_none_or(|before| before == id), "two receipts were acknowledged at index {index}");
    }

    /// An order to erase a statement was acknowledged.
    pub(crate) fn erase(&mut self, target: LeafIndex) {
        self.erased.insert(target.get());
    }

    /// All heads that were shown.
    pub(crate) fn heads(&self) -> impl Iterator<Item = TreeHead> {
        self.heads.iter().map(|(head, _)| *head)
    }

    /// A head was shown.
    pub(crate) fn saw(&mut self, view: &View) {
        let newest = (view.head(), view.time);
        if self.heads.last() != Some(&newest) {
            self.heads.push(newest);
        }
    }
}

/// Why a log did not start: its data directory or its guard cannot be opened.
pub(crate) type StartError = Box<dyn std::error::Error>;

/// A log that runs.
pub(crate) struct Life {
    log: Arc<Log>,
    driver: JoinHandle<bool>,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is at that index.
    At(LeafIndex),
    /// Nobody knows.
    Unknown,
}

impl Life {
    /// Starts the log of a configuration, wired as the server does it, without HTTP and without an index on disk.
    pub(crate) fn start(config: &Config, steps: &Steps, pace: Pace) -> Result<Self, StartError> {
        let objects = locks::objects(&config.data, steps)?;
        let guard = locks::guard(&config.guard, steps)?;
        Ok(Self::start_with(config, objects, guard, pace, Clock::start().unwrap()))
    }

    /// Starts a log from a store, a guard and a clock.
    pub(crate) fn start_with(
        config: &Config,
        objects: Objects,
        guard: Guard,
        pace: Pace,
        clock: Clock,
    ) -> Self {
        let driver = inside::driver(config, objects, guard, clock, pace);
        let log = Arc::clone(&driver.log);
        let driver = thread::Builder::new().name("sequence".into()).spawn(move || driver.run()).unwrap();
        Self { log, driver }
    }

    /// What its threads share.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Waits until the log takes receipts, or has stopped for good, or `given_up` says so. Returns whether it takes them.
    pub(crate) fn wait(&self, given_up: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.log.status() == Status::Writing {
                return true;
            }
            if self.driver.is_finished() || given_up() {
                return false;
            }
            assert!(Instant::now() < deadline, "the log does not take receipts: {:?}", self.log.status());
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Hands receipts over as one batch; none if the log does not take them.
    pub(crate) fn submit(
        &self,
        numbers: impl IntoIterator<Item = usize>,
    ) -> Option<Vec<(Id, oneshot::Receiver<Outcome>)>> {
        let (submissions, answers) = numbers
            .into_iter()
            .map(|number| {
                let (reply, answer) = oneshot::channel();
                let admitted = receipt(number);
                let id = admitted.id;
                (Submission { admitted, reply }, (id, answer))
            })
            .unzip();
        self.log.queue.submit(submissions).ok().map(|()| answers)
    }

    /// Hands over the issuer's order to erase a statement; none if the log does not take it.
    pub(crate) fn submit_erasure(&self, target: LeafIndex) -> Option<(Id, oneshot::Receiver<Outcome>)> {
        let view = self.log.view()?;
        let item = block_on(self.log.tiles.item(&view.edge, target)).ok()??;
        let (envelope, statement) = erasure(Hash::leaf(&item.entry));
        let judged = block_on(self.log.admission.judge_new(&self.log, &statement, wall_now().unwrap()));
        let chain = judged.ok()??.expect("an issuer may have its statements erased");
        let (reply, answer) = oneshot::channel();
        let id = envelope.id();
        let admitted = Admitted::new(envelope, statement, chain).into();
        self.log.queue.submit(vec![Submission { admitted, reply }]).ok()?;
        Some((id, answer))
    }

    /// Waits for an answer and writes down what it promises.
    pub(crate) fn answer(&self, id: Id, answer: oneshot::Receiver<Outcome>, ledger: &mut Ledger) -> Answer {
        let Ok(outcome) = answer.blocking_recv() else { return Answer::Unknown };
        let index = match outcome {
            Outcome::Appended { batch, position } => {
                let leaf = &batch.leaves[position];
                assert_eq!(leaf.id, id, "an answer from another batch");
                assert_eq!(Entry::parse(&leaf.item.entry).unwrap().id, id);
                let (proof, view) = batch.proof(position).expect("published with its batch");
                proof.verify(leaf.hash, view.head().root).unwrap();
                ledger.saw(view);
                leaf.index
            }
            Outcome::Known { index, .. } => index,
            Outcome::NoRoom => panic!("there is no floor"),
            Outcome::Refused { refused, .. } => panic!("{id} was refused: {:?}", refused.refused),
        };
        ledger.acknowledge(index, id);
        Answer::At(index)
    }

    /// Appends receipts in one batch and waits for all answers.
    ///
    /// # Panics
    /// If the log does not take and acknowledge them.
    pub(crate) fn append(&self, numbers: impl IntoIterator<Item = usize>, ledger: &mut Ledger) {
        assert!(self.wait(|| matches!(self.log.status(), Status::Stopped { .. })), "{:?}", self.log.status());
        self.look(ledger);
        let answers = self.submit(numbers).expect("the log takes receipts");
        for (id, answer) in answers {
            let answer = self.answer(id, answer, ledger);
            assert_ne!(answer, Answer::Unknown, "{id} was not acknowledged: {:?}", self.log.status());
        }
    }

    /// Writes down the head that is shown.
    pub(crate) fn look(&self, ledger: &mut Ledger) {
        if let Some(view) = self.log.view() {
            ledger.saw(&view);
        }
    }

    /// Waits until the log takes receipts or has stopped, and ends it. Returns whether it took them.
    pub(crate) fn wait_or_stop(self, ledger: &mut Ledger) -> bool {
        let writing = self.wait(|| matches!(self.log.status(), Status::Stopped { .. }));
        self.stop(ledger);
        writing
    }

    /// Ends it. Returns whether it ended in order.
    pub(crate) fn stop(self, ledger: &mut Ledger) -> bool {
        self.log.queue.shut_down();
        let in_order = self.driver.join().expect("the sequencer does not panic");
        if let Some(view) = self.log.view() {
            ledger.saw(&view);
        }
        in_order
    }
}

/// Waits until something is so.
pub(crate) fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Checks a stopped log against all that was promised in its name; if asked, as `fsck` does too, every signature
/// included, which takes ten times as long.
pub(crate) fn audit(config: &Config, ledger: &Ledger, whole: bool) -> TreeSize {
    if whole {
        let report = locks::fsck(config, true).unwrap();
        assert!(report.is_clean(), "{report}");
    }
    audit_objects(&Arc::new(locks::objects(&config.data, &Steps::default()).unwrap()), ledger)
}

/// Checks all entries, statements, tiles and bundles of a log, and whether it has all that was promised in its name.
pub(crate) fn audit_objects(objects: &Arc<Objects>, ledger: &Ledger) -> TreeSize {
    let loaded = load(objects).unwrap();
    let tiles = Tiles::new(Arc::clone(objects));
    tiles.hold(loaded.filled.iter().cloned());
    let size = loaded.edge.size();
    let (mut edge, mut at, mut roots) =
        (Edge::default(), Timestamp::from_millis(0).unwrap(), BTreeMap::new());
    let mut times = Vec::new();
    let mut ids = BTreeSet::new();
    for index in 0..size.get() {
        roots.insert(edge.size(), edge.frontier.head().root);
        let found = block_on(tiles.item(&loaded.edge, LeafIndex::new(index).unwrap())).unwrap();
        let item = found.expect("below the log's size");
        let entry = Entry::parse(&item.entry).unwrap();
        if ledger.erased.contains(&index) {
            assert!(item.statement.is_empty(), "the statement of entry {index} is still there");
        } else {
            assert_eq!(Id::of_statement(&item.statement), entry.id, "the statement of entry {index}");
        }
        assert!(entry.at >= at, "entry {index} is dated before the one before it");
        assert!(ids.insert(entry.id), "{} is there twice", entry.id);
        if let Some(id) = ledger.acks.get(&index) {
            assert_eq!(entry.id, *id, "another receipt is at {index} than was acknowledged");
        }
        at = entry.at;
        times.push(at);
        let hash = Hash::leaf(&item.entry);
        for (path, bytes) in grow(&mut edge, item, hash).unwrap() {
            let stored = objects.get(&path.to_string()).unwrap();
            let stored = stored.or_else(|| {
                let unsettled = loaded.filled.iter().find(|(unsettled, _)| *unsettled == path);
                unsettled.map(|(_, bytes)| bytes.clone())
            });
            assert!(stored == Some(bytes), "{path} is not what the entries give");
        }
    }
    roots.insert(edge.size(), edge.frontier.head().root);
    let last = ledger.acks.last_key_value().map_or(0, |(index, _)| index + 1);
    assert!(last <= size.get(), "{last} entries were acknowledged, and {size} are there");
    for (head, time) in &ledger.heads {
        assert_eq!(roots.get(&head.size), Some(&head.root), "a head of size {} is not this log's", head.size);
        if let Some(next) = times.get(usize::try_from(head.size.get()).unwrap()) {
            let attested = time.seconds() * 1000;
            assert!(next.millis() >= attested, "entry {} is dated before the head under it", head.size);
        }
    }
    size
}

//! A log in this process, wired as the server wires it, over storage that can die at any step.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use counterfoil_merkle::{LeafIndex, key::VerifierKey};
use counterfoil_server::{
    clock::Clock,
    commit::Item,
    config::Config,
    guard::Guard,
    log::{Log, Status},
    objects::Objects,
    pace::Pace,
    publish::View,
    queue::{Outcome, Submission},
    steps::{Step, Steps, Watch},
};
use counterfoil_tests::inside;
use futures::executor::block_on;
use tokio::sync::oneshot;

use crate::records::Record;

/// The log's origin.
pub(crate) const ORIGIN: &str = "model.invalid/log";

/// What is waited for comes in this time, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// What waits for nothing, and settles soon.
const PACE: Pace = Pace {
    renew: Duration::from_secs(30),
    retry: Duration::ZERO,
    guard_lag: Duration::ZERO,
    checkpoint: Duration::ZERO,
    retained_max: 5,
    tombstone: Duration::from_secs(3600),
};

/// Where a log is.
pub(crate) struct Home {
    config: Config,
    _directory: tempfile::TempDir,
}

impl Home {
    /// A new log.
    pub(crate) fn new() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let directory =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let (log, guard) = (directory.path().join("log"), directory.path().join("guard"));
        Self { config: inside::new_log(ORIGIN, &log, &guard), _directory: directory }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn log_key(&self) -> VerifierKey {
        self.config.log_vkey().unwrap()
    }
}

/// When storage dies: from then on every step fails, as for a process that was killed.
pub(crate) struct Death {
    /// How many steps are still taken, and whether the one after them is taken, although it is reported failed; none: for ever.
    left: Mutex<Option<(usize, bool)>>,
    dead: AtomicBool,
}

impl Death {
    pub(crate) fn never() -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(None), dead: AtomicBool::new(false) })
    }

    pub(crate) fn after(&self, steps: usize, persisted: bool) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((steps, persisted));
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn die(&self) -> io::Error {
        self.dead.store(true, Ordering::SeqCst);
        io::Error::other("the process was killed")
    }
}

impl Watch for Death {
    fn begin(&self, _: Step<'_>) -> io::Result<()> {
        if self.is_dead() {
            return Err(self.die());
        }
        match &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((0, false)) => Err(self.die()),
            Some((steps @ 1.., _)) => {
                *steps -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&self, _: Step<'_>) -> io::Result<()> {
        let last = *self.left.lock().unwrap_or_else(PoisonError::into_inner) == Some((0, true));
        if last || self.is_dead() { Err(self.die()) } else { Ok(()) }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is at that index.
    At(u64),
    /// Nobody knows.
    Unknown,
}

/// A log that runs.
pub(crate) struct Life {
    log: Arc<Log>,
    driver: JoinHandle<bool>,
    death: Arc<Death>,
}

impl Life {
    /// Starts a log, and waits until it takes records.
    pub(crate) fn start(home: &Home, death: Arc<Death>) -> Self {
        let (config, steps) = (&home.config, Steps::watched(Arc::clone(&death) as Arc<dyn Watch>));
        let objects = Objects::open_watched(&config.data, steps.clone()).unwrap();
        let guard = Guard::open_watched(&config.guard, steps).unwrap();
        let driver = inside::driver(config, objects, guard, Clock::start().unwrap(), PACE);
        let log = Arc::clone(&driver.log);
        let driver = thread::spawn(move || driver.run());
        let life = Self { log, driver, death };
        life.until(|| life.log.status() == Status::Writing);
        life
    }

    fn until(&self, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline && !self.driver.is_finished(), "{:?}", self.log.status());
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Hands records over as one batch, and waits for the answers.
    pub(crate) fn submit(&self, records: &[Record]) -> Vec<Answer> {
        let (submissions, answers): (Vec<_>, Vec<_>) = records
            .iter()
            .map(|record| {
                let (reply, answer) = oneshot::channel();
                (Submission { admitted: record.admitted().into(), reply }, answer)
            })
            .unzip();
        if self.log.queue.submit(submissions).is_err() {
            // It died beside the batch, before it was handed over.
            assert!(self.death.is_dead(), "nothing is taken: {:?}", self.log.status());
            return vec![Answer::Unknown; records.len()];
        }
        records.iter().zip(answers).map(|(record, answer)| self.answer(record, answer)).collect()
    }

    fn answer(&self, record: &Record, answer: oneshot::Receiver<Outcome>) -> Answer {
        let Ok(outcome) = answer.blocking_recv() else {
            assert!(self.death.is_dead(), "no answer: {:?}", self.log.status());
            return Answer::Unknown;
        };
        match outcome {
            Outcome::Appended { batch, position } => {
                let leaf = &batch.leaves[position];
                assert_eq!(leaf.id, record.id(), "an answer about another record");
                let (proof, view) = batch.proof(position).expect("published with its batch");
                proof.verify(leaf.hash, view.head().root).unwrap();
                Answer::At(leaf.index.get())
            }
            Outcome::Known { index, .. } => Answer::At(index.get()),
            Outcome::NoRoom => panic!("there is room for {}", record.id()),
            Outcome::Refused { refused, .. } => panic!("{} was refused: {:?}", record.id(), refused.refused),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.log.view().expect("it runs")
    }

    pub(crate) fn size(&self) -> u64 {
        self.view().head().size.get()
    }

    /// Entry and statement at an index, if there are any.
    pub(crate) fn item(&self, index: u64) -> Option<Item> {
        block_on(self.log.item(&self.view(), LeafIndex::new(index).unwrap())).unwrap()
    }

    /// The record that it began with.
    pub(crate) fn first(&self) -> Item {
        self.item(0).expect("the rules")
    }

    /// Ends it. Returns whether it ended in order.
    pub(crate) fn stop(self) -> bool {
        self.log.queue.shut_down();
        self.driver.join().expect("the sequencer does not panic")
    }
}

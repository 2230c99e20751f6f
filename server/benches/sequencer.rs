//! The sequencer's thread alone, on a real data directory, fed with admitted receipts and no HTTP: how many a second,
//! and what each costs that thread and the one that settles.
//!
//!     cargo bench -p counterfoil-server --bench sequencer [-- ROUNDS [RECEIPTS [AIM]]]
//!
//! The receipts of a round are signed before it is measured. Exits 1 if the median is below the aim.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints what it measured"
)]

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use counterfoil_receipt::{
    Id, SigningKey, Statement,
    admission::{self, Chain},
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        receipt::{Api, Model, Outcome as Ended, Protocol},
    },
};
use counterfoil_server::{
    clock::{Clock, wall_now},
    config::{AdmissionMode, Config},
    driver::Driver,
    guard::Guard,
    index::runs::Runs,
    init::{NewLog, init},
    log::{Log, Status},
    metrics::Metrics,
    objects::Objects,
    pace::Pace,
    publish::{Publisher, heads::Heads, shown::EvidencePlace},
    queue::{Outcome, Submission},
    room::Room,
    rules::WantedRules,
    sequencer::Admitted,
    signers::Signers,
};
use tokio::sync::oneshot;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ORIGIN: &str = "bench.invalid/sequencer";

/// As many wait in the queue at most: two full batches.
const WAITING_MAX: usize = 4096;

/// Submissions are handed over in pieces of this size, as a batch request would.
const PIECE: usize = 64;

fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let number = |position, default| numbers.get(position).copied().unwrap_or(default);
    let (rounds, receipts, aim) = (number(0, 5), number(1, 200_000), number(2, 100_000));
    let directory = tempfile::tempdir().unwrap();
    let (log, driver) = start(directory.path());
    let mut rates = Vec::new();
    for round in 0..rounds {
        let admitted = sign(round as u64, receipts);
        let before = Threads::now();
        let started = Instant::now();
        let last = feed(&log, admitted);
        let elapsed = started.elapsed();
        let spent = Threads::now();
        let us = |part: fn(&Threads) -> Duration| {
            (part(&spent) - part(&before)).as_secs_f64() * 1e6 / receipts as f64
        };
        let rate = receipts as f64 / elapsed.as_secs_f64();
        println!(
            "{receipts} receipts in {:.3} s: {rate:.0} a second; processor time a receipt: sequence {:.2} us, settle {:.2} us; tree of {last}",
            elapsed.as_secs_f64(),
            us(|threads| threads.sequence),
            us(|threads| threads.settle),
        );
        rates.push(rate);
    }
    log.queue.shut_down();
    assert!(driver.join().unwrap(), "the log ended in order");
    rates.sort_by(f64::total_cmp);
    let median = rates[rates.len() / 2];
    println!("median of {rounds}: {median:.0} a second (aim: {aim})");
    if median >= aim as f64 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A new log with its sequencer, wired as the server does it, without HTTP.
fn start(directory: &Path) -> (Arc<Log>, JoinHandle<bool>) {
    let new = NewLog {
        origin: ORIGIN.to_owned(),
        directory: directory.join("log"),
        guard: directory.join("guard"),
        mode: AdmissionMode::Open,
        registrars: Vec::new(),
        pkcs11: None,
        listen: None,
        store: None,
    };
    let made = init(&new, wall_now().unwrap()).unwrap();
    let config = Config::read(&made.config).unwrap();
    let objects = Arc::new(Objects::open(&config.data).unwrap());
    let (runs, _) = Runs::open(&config.index).unwrap();
    let Signers { log: log_key, clock: clock_key, operator } = Signers::open(&config).unwrap();
    let publisher = Publisher::new(log_key, clock_key, made.log_key, made.clock_key);
    let rules = WantedRules::new(ORIGIN.parse().unwrap(), operator, &config.admission);
    let log = Arc::new(Log::new(objects, Some(runs), config.limits.queue_max));
    let driver = Driver {
        log: Arc::clone(&log),
        guard: Arc::new(Mutex::new(Guard::open(&config.guard).unwrap())),
        heads: Heads::Alone(Box::new(publisher.unwrap())),
        evidence: EvidencePlace::beside(&config.data),
        clock: Clock::start().unwrap(),
        clock_gap_max: Duration::MAX,
        room: Room::new(0),
        rules: Arc::new(rules.unwrap()),
        metrics: Arc::new(Metrics::new()),
        pace: Pace::default(),
    };
    let driver = thread::Builder::new().name("sequence".into()).spawn(move || driver.run()).unwrap();
    while log.status() != Status::Writing {
        assert!(!driver.is_finished(), "the log stopped: {:?}", log.status());
        thread::yield_now();
    }
    (log, driver)
}

/// Receipts as admission lets them in, signed on all processors.
fn sign(round: u64, receipts: usize) -> Vec<Admitted> {
    let signers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let sign = |signer: usize| {
            move || {
                let key = SigningKey::from_ed25519_seed(&[u8::try_from(signer).unwrap(); 32]);
                let numbers = (0..receipts).skip(signer).step_by(signers);
                numbers.map(|number| admitted(&key, round, number as u64)).collect::<Vec<_>>()
            }
        };
        let signers: Vec<_> = (0..signers).map(|signer| scope.spawn(sign(signer))).collect();
        signers.into_iter().flat_map(|signer| signer.join().unwrap()).collect()
    })
}

fn admitted(key: &SigningKey, round: u64, number: u64) -> Admitted {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
    let model = Model { requested: Some("m-1".into()), reported: None, alias: None, claimed: None };
    let statement = Statement {
        subject: Subject::Exchange {
            request: Commitment::new([7; 32]),
            response: Some(Commitment::new([8; 32])),
        },
        frame: Frame {
            nonce: Nonce::new(u128::from(number).to_be_bytes()),
            log: ORIGIN.parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: Some(Numbering {
                stream: StreamId::new(u128::from(round).to_be_bytes()),
                number: Number::new(number).unwrap(),
                previous: (number > 0).then(|| Id::of_statement(&number.to_be_bytes())),
            }),
        },
        predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Ended::Complete))),
    };
    admission::Admitted::new(statement.sign(key).unwrap(), statement, Chain::default()).into()
}

/// Hands all of them over as fast as the queue takes them, waits for every answer, and returns the tree's size.
fn feed(log: &Log, admitted: Vec<Admitted>) -> u64 {
    let mut waiting = VecDeque::new();
    let mut admitted = admitted.into_iter();
    loop {
        let (submissions, answers): (Vec<_>, Vec<_>) = admitted
            .by_ref()
            .take(PIECE)
            .map(|admitted| {
                let (reply, answer) = oneshot::channel();
                (Submission { admitted, reply }, answer)
            })
            .unzip();
        if submissions.is_empty() {
            break;
        }
        while log.queue.depth() + submissions.len() > WAITING_MAX {
            finish(&mut waiting);
        }
        log.queue.submit(submissions).unwrap();
        waiting.extend(answers);
    }
    let mut last = 0;
    while !waiting.is_empty() {
        last = finish(&mut waiting);
    }
    last
}

/// Waits for the oldest piece's answers.
fn finish(waiting: &mut VecDeque<oneshot::Receiver<Outcome>>) -> u64 {
    let mut last = 0;
    for answer in waiting.drain(..PIECE.min(waiting.len())) {
        match answer.blocking_recv().unwrap() {
            Outcome::Appended { batch, position } => last = batch.leaves[position].index.size_through().get(),
            Outcome::Known { index, .. } => panic!("{index} was there before"),
            Outcome::NoRoom => panic!("there is no floor"),
            Outcome::Refused { id, .. } => panic!("{id} is refused"),
        }
    }
    last
}

/// Processor time of the log's threads so far; zero where the system does not tell.
#[derive(Default)]
struct Threads {
    sequence: Duration,
    settle: Duration,
}

impl Threads {
    fn now() -> Self {
        let mut threads = Self::default();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let ns = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            match read("comm").trim_end() {
                "sequence" => threads.sequence += Duration::from_nanos(ns),
                "settle" => threads.settle += Duration::from_nanos(ns),
                _ => {}
            }
        }
        threads
    }
}

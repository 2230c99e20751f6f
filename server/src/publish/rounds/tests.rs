//! A log and its witnesses in a box: whatever witnesses do, and in whatever order, the laws of publishing hold.

use std::collections::BTreeMap;

use counterfoil_merkle::{
    Hash, TreeSize,
    checkpoint::{Checkpoint, Origin},
    key::{Algorithm, KeyName, NoteSigner},
    note::SignatureLine,
    witness::Answer,
};
use proptest::prelude::*;

use super::*;
use crate::publish::{Identity, panel::Endpoint, witness::Failure};

const WALL_S: u64 = 1_700_000_000;
const PERIOD: Duration = Duration::from_secs(1);

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
}

/// The head of the one history that this log has.
fn head(size: u64) -> TreeHead {
    let root = if size == 0 { Hash::EMPTY_ROOT } else { Hash::leaf(&size.to_be_bytes()) };
    TreeHead { size: TreeSize::new(size).unwrap(), root }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000).unwrap()
}

/// What a witness does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Honest,
    /// Never answers in time.
    Silent,
    /// 422 to everything.
    Refuses,
    /// 409 with a size that has nothing to do with anything.
    Conflicts(u64),
    /// Another key.
    Stranger,
    /// The right key, over another tree.
    OtherTree,
    /// The right key, at an impossible time.
    OtherTime,
    Rubbish,
}

impl Mood {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => Just(Self::Honest),
            1 => Just(Self::Silent),
            1 => Just(Self::Refuses),
            1 => (0..200_u64).prop_map(Self::Conflicts),
            1 => Just(Self::Stranger),
            1 => Just(Self::OtherTree),
            1 => Just(Self::OtherTime),
            1 => Just(Self::Rubbish),
        ]
    }
}

/// A witness that keeps what it cosigned, as the protocol has it.
struct Peer {
    signer: NoteSigner,
    size: u64,
    mood: Mood,
    question: Option<Question>,
}

impl Peer {
    fn line(&self, head: TreeHead, signer: &NoteSigner, time_s: u64) -> SignatureLine {
        let origin = Origin::new("log.example").unwrap();
        let mut signed = Checkpoint::new(origin, head).sign(&signer_of_log());
        signed.cosign(signer, time_s);
        signed.note().signatures()[1].clone()
    }

    fn reply(&mut self, submission: &Submission, old: TreeSize) -> Reply {
        let head = submission.checkpoint.unverified().head;
        let cosigned = |line| Reply::Answer(Answer::Cosigned(vec![line]), None);
        match self.mood {
            Mood::Honest if old.get() != self.size => {
                Reply::Answer(Answer::Conflict { size: TreeSize::new(self.size).unwrap() }, None)
            }
            Mood::Honest => {
                self.size = head.size.get();
                cosigned(self.line(head, &self.signer, WALL_S))
            }
            Mood::Silent => Reply::Nothing(Failure::Timeout),
            Mood::Refuses => Reply::Answer(Answer::Refused { status: 422 }, None),
            Mood::Conflicts(size) => {
                Reply::Answer(Answer::Conflict { size: TreeSize::new(size).unwrap() }, None)
            }
            Mood::Stranger => {
                let name = self.signer.public().name().as_str();
                cosigned(self.line(head, &signer(name, Algorithm::CosignatureV1, 99), WALL_S))
            }
            Mood::OtherTree => {
                let other = TreeHead { root: Hash::leaf(b"another"), ..head };
                cosigned(self.line(other, &self.signer, WALL_S))
            }
            Mood::OtherTime => cosigned(self.line(head, &self.signer, WALL_S + 601)),
            Mood::Rubbish => Reply::Nothing(Failure::Malformed),
        }
    }
}

fn signer_of_log() -> NoteSigner {
    signer("log.example", Algorithm::Ed25519, 1)
}

/// The loop's shell, with peers in place of the network.
struct World {
    rounds: Rounds,
    peers: Vec<Peer>,
    needed: usize,
    now: Duration,
    committed: u64,
    time: Timestamp,
    signed: Vec<(TreeHead, Timestamp, Duration)>,
    published: Vec<(SignedCheckpoint, Timestamp)>,
}

impl World {
    fn new(count: u8, needed: usize) -> Self {
        let peers: Vec<_> = (0..count)
            .map(|n| Peer {
                signer: signer(&format!("w{n}"), Algorithm::CosignatureV1, 10 + n),
                size: 0,
                mood: Mood::Honest,
                question: None,
            })
            .collect();
        let log = signer_of_log().public().clone();
        let clock = signer("log.example/clock", Algorithm::CosignatureV1, 2).public().clone();
        let names: Vec<_> = (0..count).map(|n| format!("w{n}")).collect();
        let lines: String = peers
            .iter()
            .zip(&names)
            .map(|(peer, name)| format!("witness {name} {} http://{name}.example\n", peer.signer.public()))
            .collect();
        let policy = format!("log {log}\n{lines}group g {needed} {}\nquorum g\n", names.join(" "));
        let identity = Identity { origin: Origin::new("log.example").unwrap(), log, clock };
        let panel = Panel::new(policy.parse().unwrap(), &identity, &BTreeMap::new()).unwrap().unwrap();
        assert!(panel.witnesses.iter().map(|it: &Endpoint| &it.name).eq(&names));
        Self {
            rounds: Rounds::new(&identity.log, &panel, PERIOD),
            peers,
            needed,
            now: Duration::ZERO,
            committed: 0,
            time: at(WALL_S),
            signed: Vec::new(),
            published: Vec::new(),
        }
    }

    /// What the loop does whenever something happened.
    fn turn(&mut self) {
        self.publish();
        let head = head(self.committed);
        if self.rounds.sign_from(head, self.time).is_some_and(|due| due <= self.now) {
            let mut checkpoint =
                Checkpoint::new(Origin::new("log.example").unwrap(), head).sign(&signer_of_log());
            checkpoint.cosign(&signer("log.example/clock", Algorithm::CosignatureV1, 2), self.time.seconds());
            self.signed.push((head, self.time, self.now));
            self.rounds.signed(checkpoint, self.time, self.now);
        }
        for (n, question) in self.rounds.questions(self.now) {
            let before = self.peers[n].question.replace(question);
            assert!(before.is_none(), "witness {n} is asked one thing at a time");
        }
        self.publish();
    }

    fn publish(&mut self) {
        while let Some(publication) = self.rounds.publication(self.now) {
            self.published.push(publication);
        }
    }

    /// Witness `n` answers what it was asked, if it was.
    fn answer(&mut self, n: usize) {
        match self.peers[n].question.take() {
            Some(Question::Cosign { submission, old }) => {
                let reply = self.peers[n].reply(&submission, old);
                self.rounds.heard(n, reply, self.now, WALL_S);
            }
            Some(Question::Show) => self.rounds.shown(n),
            None => {}
        }
        self.turn();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// Everybody answers and time passes, until nothing changes.
    fn settle(&mut self) {
        for _ in 0..40 {
            (0..self.peers.len()).for_each(|n| self.answer(n));
            self.pass(Duration::from_secs(1));
        }
    }

    fn newest(&self) -> u64 {
        self.published.last().map_or(0, |(note, _)| note.unverified().head.size.get())
    }

    /// The laws, held against all that was signed and published so far.
    fn check(&self) {
        for pair in self.signed.windows(2) {
            let ((old, early, then), (new, late, now)) = (pair[0], pair[1]);
            assert!(new.size > old.size || new == old, "only a larger tree, or the same again");
            assert!(late >= early && now >= then + PERIOD);
        }
        let mut last = (TreeSize::ZERO, at(0));
        for (note, time) in &self.published {
            let head = note.unverified().head;
            assert!(self.signed.iter().any(|(signed, at, _)| *signed == head && at == time));
            assert!((head.size, *time) >= last, "what is published does not go back");
            last = (head.size, *time);
            let verified = note.verify(signer_of_log().public()).unwrap();
            let good = self.peers.iter().filter(|peer| verified.cosignature(peer.signer.public()).is_ok());
            let good = good.count();
            assert!(good >= self.needed, "{good} of {} cosigned", self.needed);
            assert_eq!(note.note().signatures().len(), 2 + good, "and nobody else");
        }
    }
}

/// What happens next in the box.
#[derive(Clone, Debug)]
enum Event {
    Commit(u64),
    Renew,
    Answer(usize),
    Mood(usize, Mood),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (1..50_u64).prop_map(Event::Commit),
        1 => Just(Event::Renew),
        5 => (0..4_usize).prop_map(Event::Answer),
        1 => (0..4_usize, Mood::any()).prop_map(|(n, mood)| Event::Mood(n, mood)),
        3 => (0..2500_u64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever witnesses do and in whatever order it happens: nothing is published without its quorum of good
    /// cosignatures, nothing smaller is signed, no witness is asked two things at once; and once enough of them are honest
    /// again, the newest head gets out.
    #[test]
    fn nothing_is_published_without_its_quorum_and_all_is_in_the_end(
        needed in 1..=4_usize,
        events in events(),
        liars in prop::collection::vec(Mood::any(), 4),
    ) {
        let mut world = World::new(4, needed);
        world.turn();
        for event in events {
            match event {
                Event::Commit(leaves) => {
                    world.committed += leaves;
                    world.turn();
                }
                Event::Renew => {
                    world.time = Timestamp::from_millis(world.time.millis() + 1).unwrap();
                    world.turn();
                }
                Event::Answer(n) => world.answer(n),
                Event::Mood(n, mood) => world.peers[n].mood = mood,
                Event::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
            world.check();
        }
        // As many as are needed are honest from here on; the others are whatever they are.
        for (n, peer) in world.peers.iter_mut().enumerate() {
            peer.mood = if n < needed { Mood::Honest } else { liars[n] };
        }
        world.settle();
        world.check();
        prop_assert_eq!(world.newest(), world.committed);
        prop_assert_eq!(world.published.last().unwrap().1, world.time);
        prop_assert_eq!(world.rounds.missing_since(), None);
    }

    /// One that lies, of three of which two are needed, changes nothing about what is published, and when.
    #[test]
    fn a_liar_gains_nothing(mood in Mood::any(), sizes in prop::collection::vec(1..50_u64, 1..20)) {
        let run = |mood: Mood| {
            let mut world = World::new(3, 2);
            world.peers[2].mood = mood;
            let mut heads = Vec::new();
            for leaves in &sizes {
                world.committed += leaves;
                world.turn();
                for _ in 0..4 {
                    (0..3).for_each(|n| world.answer(n));
                }
                world.pass(PERIOD);
                heads.push(world.newest());
            }
            world.check();
            heads
        };
        prop_assert_eq!(run(mood), run(Mood::Silent));
    }
}

/// A witness that needs longer than a period still votes: its head waits for it.
#[test]
fn a_slow_vote_that_is_needed_is_waited_for() {
    let mut world = World::new(2, 2);
    for round in 1..=5_u64 {
        world.committed += 10;
        world.turn();
        world.answer(0);
        for _ in 0..3 {
            world.committed += 1;
            world.pass(Duration::from_millis(900));
        }
        assert_eq!(world.signed.len() as u64, round, "nothing else is signed meanwhile");
        world.answer(1);
        assert_eq!(world.published.len() as u64, round);
    }
    world.check();
}

/// A witness that nobody needs is not waited for, and its late cosignature joins the published note.
#[test]
fn a_late_cosignature_joins_the_note() {
    let mut world = World::new(3, 2);
    world.committed = 7;
    world.turn();
    world.answer(0);
    world.answer(1);
    let signatures = |world: &World| world.published.last().unwrap().0.note().signatures().len();
    assert_eq!((world.published.len(), signatures(&world)), (1, 4));
    world.answer(2);
    assert_eq!((world.published.len(), signatures(&world)), (2, 5));
    world.check();
}

/// The size in a 409 is followed twice for one submission; then the witness is left alone, longer each time, and asked
/// what it saw of us, not more than once a minute.
#[test]
fn conflicts_do_not_loop() {
    let mut world = World::new(2, 1);
    world.peers[1].mood = Mood::Conflicts(0);
    world.committed = 100;
    world.turn();
    world.answer(0);
    let (mut asked, mut shown) = (0, 0);
    for step in 0..600_u64 {
        match &world.peers[1].question {
            Some(Question::Cosign { .. }) => asked += 1,
            Some(Question::Show) => shown += 1,
            None => {}
        }
        world.peers[1].mood = Mood::Conflicts(step % 3);
        world.answer(1);
        world.answer(0);
        world.committed += 1;
        world.pass(Duration::from_millis(100));
    }
    assert!((4..40).contains(&asked), "{asked} in a minute");
    assert_eq!(shown, 1);
    world.check();
}

/// What could not be published is tried again, and a later note takes its place.
#[test]
fn a_note_that_was_not_published_comes_back() {
    let mut world = World::new(1, 1);
    world.committed = 5;
    world.turn();
    let Some(Question::Cosign { submission, old }) = world.peers[0].question.take() else { panic!("asked") };
    let reply = world.peers[0].reply(&submission, old);
    world.rounds.heard(0, reply, world.now, WALL_S);
    let (first, _) = world.rounds.publication(world.now).unwrap();
    world.rounds.not_published(world.now);
    assert!(world.rounds.publication(world.now).is_none());
    assert_eq!(world.rounds.due(), Some(world.now + PERIOD));
    let (again, _) = world.rounds.publication(world.now + PERIOD).unwrap();
    assert_eq!(again, first);
}

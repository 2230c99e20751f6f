use counterfoil_merkle::{
    Hash, NodeId,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    key::{Algorithm, NoteSigner},
    proof::InclusionProof,
    tile::TileTree,
    tlogproof::TlogProof,
    tree::Subtree,
};

use super::*;
use crate::{
    SigningKey, Statement, Timestamp,
    entry::EntryDraft,
    statement::{Clock, Frame, Issuer, Nonce, Rules, Subject, rules::Mode},
    verify::{Part, verify},
};

const ORIGIN: &str = "log.example/2026";
const T: u64 = 1_763_712_000;

fn key(name: &str, seed: u8) -> NoteSigner {
    let algorithm = if name == ORIGIN { Algorithm::Ed25519 } else { Algorithm::CosignatureV1 };
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
}

fn witness(n: u8) -> NoteSigner {
    key(&format!("w{n}"), 10 + n)
}

/// Any two of three witnesses.
fn trust(quorum: &str) -> Trust {
    let witnesses: String = (1..=3).map(|n| format!("witness w{n} {}\n", witness(n).public())).collect();
    let log = key(ORIGIN, 1);
    Trust::in_policy(format!("log {}\n{witnesses}{quorum}\n", log.public()).parse().unwrap())
}

fn two_of_three() -> Trust {
    trust("group two 2 w1 w2 w3\nquorum two")
}

/// A log in the making: entries with their statements.
#[derive(Default)]
struct Log {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Log {
    fn push(&mut self, at_s: u64, predicate: Predicate) -> usize {
        let operator = SigningKey::from_ed25519_seed(&[3; 32]);
        let frame = Frame {
            nonce: Nonce::new([u8::try_from(self.entries.len()).unwrap(); 16]),
            log: ORIGIN.parse().unwrap(),
            issuer: Issuer { key: operator.public().clone(), software: None },
            numbering: None,
        };
        let statement = Statement { subject: Subject::Log, frame, predicate };
        let envelope = statement.sign(&operator).unwrap();
        let at = Timestamp::from_millis(at_s * 1000).unwrap();
        let entry = EntryDraft::new(&envelope, &statement).stamp(at);
        self.entries.push((entry, envelope.into_envelope().into_statement()));
        self.entries.len() - 1
    }

    fn any(&mut self, at_s: u64) -> usize {
        let operator = SigningKey::from_ed25519_seed(&[3; 32]).public().clone();
        self.push(at_s, Predicate::Rules(Rules { mode: Mode::Open, registrars: Vec::new(), operator }))
    }

    fn clock(&mut self, checkpoint: SignedCheckpoint) -> usize {
        self.push(T, Predicate::Clock(Box::new(Clock { checkpoint })))
    }

    fn node(&self) -> impl Fn(NodeId) -> Hash {
        let tile = TileTree::from_hashes(self.entries.iter().map(|(entry, _)| Hash::leaf(entry)));
        move |node| tile.tree_node(node).unwrap()
    }

    /// The checkpoint of the first `size` entries, cosigned by these at those times.
    fn checkpoint(&self, size: usize, witnesses: &[(u8, u64)]) -> SignedCheckpoint {
        let size = TreeSize::new(size as u64).unwrap();
        let hashes: Vec<_> = Subtree::whole(size).cover().into_iter().map(self.node()).collect();
        let head = TreeHead { size, root: Subtree::fold(&hashes) };
        let mut signed = Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).sign(&key(ORIGIN, 1));
        witnesses.iter().for_each(|&(n, time_s)| signed.cosign(&witness(n), time_s));
        signed
    }

    /// The bundle of an entry under the checkpoint of all.
    fn bundle(&self, index: usize, witnesses: &[(u8, u64)]) -> Bundle {
        let signed = self.checkpoint(self.entries.len(), witnesses);
        let (index_, size) = (LeafIndex::new(index as u64).unwrap(), signed.unverified().head.size);
        let nodes = InclusionProof::nodes(index_, size).unwrap();
        let hashes: Vec<_> = nodes.into_iter().map(self.node()).collect();
        let proof = InclusionProof::from_nodes(index_, size, &hashes).unwrap();
        let proof = TlogProof::new(proof, signed).unwrap().to_string();
        let (entry, statement) = &self.entries[index];
        Bundle::from_parts(Some(statement.clone()), str::from_utf8(entry).unwrap(), &proof).unwrap()
    }
}

fn bound(name: &str, time_s: u64, record: Option<usize>) -> Option<Bound> {
    let record = record.map(|index| LeafIndex::new(index as u64).unwrap());
    Some(Bound { witness: KeyName::new(name).unwrap(), time_s, record })
}

/// A log with a clock record before and one after an entry: the bundles of record, entry, record.
fn three(entry_s: u64) -> (Log, [Bundle; 3]) {
    let mut log = Log::default();
    log.any(T);
    let before = log.clock(log.checkpoint(1, &[(1, T + 10), (2, T + 14)]));
    let entry = log.any(entry_s);
    let after = log.clock(log.checkpoint(3, &[(2, T + 35), (3, T + 31)]));
    let now = [(1, T + 90), (2, T + 95)];
    let bundles = [before, entry, after].map(|index| log.bundle(index, &now));
    (log, bundles)
}

/// The entry's own checkpoint bounds it from above; a record before it from below, one after it from above and nearer.
#[test]
fn records_close_in_on_an_entry() {
    let (_, [before, entry, after]) = three(T + 20);
    let trust = two_of_three();
    let mut report = verify(&entry, &trust, None);
    assert_eq!((&report.bounds.not_before, &report.bounds.not_after), (&None, &bound("w1", T + 90, None)));
    report.bound_by(&[before.clone(), after], &trust);
    assert_eq!(report.bounds.not_before, bound("w2", T + 14, Some(1)));
    assert_eq!(report.bounds.not_after, bound("w3", T + 31, Some(3)));
    assert!(report.holds(), "{:?}", report.failures());

    // Who knows no witness knows no bound.
    let alone = trust_alone();
    let mut report = verify(&entry, &alone, None);
    assert_eq!(report.bounds, Bounds::default());
    report.bound_by(&[before], &alone);
    assert_eq!(report.bounds.refused[0].1, ClockError::NoWitness);
}

fn trust_alone() -> Trust {
    Trust::in_policy(format!("log {}\nquorum none\n", key(ORIGIN, 1).public()).parse().unwrap())
}

/// An entry that the log dated out of its bounds is named, in both directions.
#[test]
fn a_date_out_of_bounds_is_named() {
    for (dated, said) in [
        (T + 14 - SKEW_S_MAX, ""),
        (T + 13 - SKEW_S_MAX, "was not appended before 1763712014, by the clock of w2"),
        (T + 31 + SKEW_S_MAX, ""),
        (T + 32 + SKEW_S_MAX, "was there at 1763712031, by the clock of w3"),
    ] {
        let (_, [before, entry, after]) = three(dated);
        let trust = two_of_three();
        let mut report = verify(&entry, &trust, None);
        report.bound_by(&[before, after], &trust);
        let failures = report.failures();
        assert_eq!(failures.len(), usize::from(!said.is_empty()), "{failures:?}");
        if let Some(failure) = failures.first() {
            assert_eq!(failure.part(), Part::Time);
            assert!(failure.to_string().ends_with(said), "{failure}");
        }
    }
}

/// What a record does not bear out is refused, and never a bound.
#[test]
fn records_that_say_nothing_are_refused() {
    let (mut log, [before, entry, after]) = three(T + 20);
    let trust = two_of_three();
    let refused = |record: &Bundle| {
        let mut report = verify(&entry, &trust, None);
        let own = report.bounds.clone();
        report.bound_by(std::slice::from_ref(record), &trust);
        let reason = report.bounds.refused.pop().expect("a reason").1;
        assert_eq!(report.bounds, own);
        reason
    };
    assert_eq!(refused(&entry), ClockError::NoClock);
    assert_eq!(refused(&Bundle { statement: None, ..before.clone() }), ClockError::NoClock);
    let swapped = Bundle { statement: after.statement.clone(), ..before.clone() };
    assert!(matches!(refused(&swapped), ClockError::Statement(_)));
    let elsewhere = Bundle { entry: after.entry, ..before.clone() };
    assert!(matches!(refused(&elsewhere), ClockError::Inclusion(_)));
    assert!(matches!(refused(&log.bundle(1, &[(1, T)])), ClockError::Checkpoint(_)), "one witness of two");

    // A record whose checkpoint does not have the entry, or is not acceptable itself.
    let small = log.clock(log.checkpoint(2, &[(1, T), (2, T)]));
    let lone = log.clock(log.checkpoint(3, &[(3, T)]));
    let now = [(1, T + 90), (2, T + 95)];
    let size = TreeSize::new(2).unwrap();
    assert_eq!(refused(&log.bundle(small, &now)), ClockError::TooSmall { size });
    assert!(matches!(refused(&log.bundle(lone, &now)), ClockError::Clock(_)));

    // A clock record does not bound itself; another log's does not bound ours.
    let mut own = verify(&before, &trust, None);
    own.bound_by(std::slice::from_ref(&before), &trust);
    assert_eq!(own.bounds.refused[0].1, ClockError::Itself);
}

/// Another history of the log, with witnesses of its own, bounds nothing: no witness saw both.
#[test]
fn a_record_of_another_history_is_refused() {
    let (log, [_, entry, _]) = three(T + 20);
    let one = trust("group one any w1 w2 w3\nquorum one");
    let mut other = Log::default();
    other.any(T + 1);
    let early = other.clock(other.checkpoint(1, &[(3, T + 900)]));
    other.any(T + 2);
    let late = other.clock(other.checkpoint(3, &[(3, T + 1)]));
    for record in [early, late] {
        let mut report = verify(&entry, &one, None);
        report.bound_by(&[other.bundle(record, &[(3, T + 1000)])], &one);
        assert_eq!(report.bounds.refused[0].1, ClockError::Unlinked);
        assert_eq!(report.bounds.not_after, bound("w1", T + 90, None));
    }
    // One that saw both would have to have lied, and is named.
    let mut report = verify(&entry, &one, None);
    report.bound_by(&[other.bundle(early, &[(2, T + 1000)])], &one);
    assert_eq!(report.bounds.not_before, bound("w3", T + 900, Some(1)));
    assert_eq!(log.entries.len(), 4);
}
